from django.db import models


class Entry(models.Model):
    """What one visitor wrote."""

    author = models.CharField(max_length=40)
    message = models.CharField(max_length=280)
    written_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering = ("-written_at", "-pk")
        verbose_name_plural = "entries"

    def __str__(self) -> str:
        return f"{self.author}: {self.message}"
