"""Django's development server, which here applies the migrations instead of asking for it."""

from django.contrib.staticfiles.management.commands import runserver
from django.core.management import call_command


class Command(runserver.Command):
    def check_migrations(self) -> None:
        call_command("migrate", interactive=False, verbosity=1)
