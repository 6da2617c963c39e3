from django.contrib.staticfiles import finders
from django.test import TestCase

from .models import Entry


class IndexTests(TestCase):
    def test_empty_book(self) -> None:
        page = self.client.get("/")
        self.assertContains(page, "Nobody has written yet")

    def test_writing(self) -> None:
        answer = self.client.post("/", {"author": "Mina", "message": "<b>hello</b>"})
        self.assertRedirects(answer, "/")
        self.assertEqual(Entry.objects.get().author, "Mina")
        self.assertContains(self.client.get("/"), "&lt;b&gt;hello&lt;/b&gt;")

    def test_refuses_what_is_too_long(self) -> None:
        page = self.client.post("/", {"author": "Mina", "message": "x" * 281})
        self.assertContains(page, "at most 280 characters")
        self.assertFalse(Entry.objects.exists())

    def test_static_files_are_found(self) -> None:
        self.assertIsNotNone(finders.find("guestbook/style.css"))
