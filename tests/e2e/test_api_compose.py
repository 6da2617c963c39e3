"""Debian's docker-compose 1.29 against the socket: the guestbook with PostgreSQL behind it."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api_server import ApiServer

from .conftest import Onggi
from .test_api_testcontainers import POSTGRES_START

COMPOSE = shutil.which("docker-compose", path="/usr/bin")
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(COMPOSE is None, reason="no docker-compose of Debian"),
]
GUESTBOOK = Path(__file__).parents[2] / "examples/django"
SETTINGS = """\
import os
from config.settings import *

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "db",
        "NAME": "guests",
        "USER": "guests",
        "PASSWORD": os.environ["DB_PASSWORD"],
    }
}
"""
PROJECT = """\
services:
  db:
    build: ./db
    environment:
      POSTGRES_USER: guests
      POSTGRES_DB: guests
      POSTGRES_PASSWORD: ${DB_PASSWORD}
    volumes:
      - data:/data
    healthcheck:
      test: pg_isready -h /tmp
      interval: 200ms
      retries: 300
    shm_size: 64m
  web:
    build:
      context: ./web
      args:
        PIP_NO_INDEX: "1"
        PIP_FIND_LINKS: /app/wheels
    command: sh -c "python manage.py migrate && exec python manage.py runserver --noreload 0:8000"
    environment:
      DJANGO_SETTINGS_MODULE: config.postgres
      DB_PASSWORD: ${DB_PASSWORD}
    ports:
      - "127.0.0.1::8000"
    depends_on:
      db:
        condition: service_healthy
  idle:
    image: busybox
    command: sleep 1000
    networks: [default, back]
    labels:
      role: idle
  once:
    image: busybox
    command: echo said once
    profiles: [once]
volumes:
  data:
networks:
  back:
    internal: true
"""


class Compose:
    def __init__(self, api: ApiServer, project: Path) -> None:
        self.api = api
        self.project = project

    def __call__(self, *arguments: str, code: int | None = 0) -> str:
        assert COMPOSE is not None
        done = subprocess.run(
            [COMPOSE, "--ansi", "never", "-p", "guests", *arguments],
            cwd=self.project,
            env={
                **self.api.environment,
                "DB_PASSWORD": "secret",
                "COMPOSE_INTERACTIVE_NO_CLI": "1",
                "COMPOSE_HTTP_TIMEOUT": "600",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if code is not None:
            assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Django and a driver, fetched as this machine's pip does it: no build reaches out."""
    target = tmp_path_factory.mktemp("wheels")
    wanted = ["-r", str(GUESTBOOK / "requirements.txt"), "psycopg2-binary>=2.9"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--retries", "10",
         "-d", str(target), *wanted,
         "--python-version", "3.11", "--only-binary", ":all:"],
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def compose(
    api: ApiServer, onggi: Onggi, busybox: str, loaded: Callable[[str], str], wheels: Path,
    tmp_path: Path,
) -> Iterator[Compose]:  # fmt: skip
    loaded("postgres:15")
    loaded("python:3.11")
    project = tmp_path / "guests"
    shutil.copytree(GUESTBOOK, project / "web")
    shutil.copytree(wheels, project / "web/wheels")
    (project / "web/config/postgres.py").write_text(SETTINGS)
    (project / "web/Dockerfile").write_text(
        "FROM python:3.11\nARG PIP_NO_INDEX\nARG PIP_FIND_LINKS\nWORKDIR /app\nCOPY . /app/\n"
        "RUN pip install --no-cache-dir -r requirements.txt psycopg2-binary\n"
    )
    (project / "db").mkdir()
    start = project / "db/start"
    start.write_text(POSTGRES_START)
    start.chmod(0o755)
    (project / "db/Dockerfile").write_text(
        'FROM postgres:15\nCOPY start /start\nENTRYPOINT ["/start"]\nEXPOSE 5432\n'
    )
    (project / "docker-compose.yml").write_text(PROJECT)
    found = Compose(api, project)
    yield found
    found("down", "-v", "--rmi", "local", "-t", "1", code=None)


def page(compose: Compose) -> str:
    """What the web service answers, on the port that it has now."""
    where = compose("port", "web", "8000").strip()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            with opener.open(f"http://{where}/", timeout=60) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline, compose("logs")
            time.sleep(0.1)


def test_the_guestbook_with_a_database(compose: Compose, api: ApiServer, onggi: Onggi) -> None:
    compose("config", "-q")
    compose("up", "-d", "--build")
    listed = compose("ps")
    for name in ("guests_db_1", "guests_web_1", "guests_idle_1"):
        assert name in listed
    assert "Up (healthy)" in listed
    assert "Nobody has written yet" in page(compose)

    said = compose("logs", "--tail", "100", "web")
    assert "Applying guestbook" in said or "Apply all migrations" in said
    asked = "from django.db import connection; print(connection.vendor)"
    assert "postgresql" in compose("exec", "-T", "web", "python", "manage.py", "shell", "-c", asked)
    tables = compose("exec", "-T", "-e", "PGPASSWORD=secret", "db", "psql", "-h", "127.0.0.1",
                     "-U", "guests", "-Atc", "select count(*) from django_migrations")  # fmt: skip
    assert int(tables.strip()) > 0
    # By its status: this compose attaches only after the start, and then the output may be gone.
    compose("run", "--rm", "-T", "idle", "nslookup", "db")
    compose("run", "--rm", "-T", "idle", "nslookup", "nosuch", code=1)
    assert "sleep 1000" in compose("top", "idle")

    compose("up", "-d", "--scale", "idle=3", "--no-recreate")
    assert compose("ps", "-q", "idle").count("\n") == 3
    compose("up", "-d", "--scale", "idle=1", "--no-recreate", "-t", "1")
    assert compose("ps", "-q", "idle").count("\n") == 1
    assert "up-to-date" in compose("up", "-d", "web")

    compose("restart", "-t", "1", "web")
    assert "Nobody has written yet" in page(compose)
    compose("pause", "idle")
    compose("unpause", "idle")
    compose("kill", "idle")
    compose("rm", "-f", "idle")
    compose("stop", "-t", "1")
    assert onggi.out("ps", "-q") == ""
    compose("start", "db")
    assert onggi.out("ps", "--format", "{{.Names}}") == "guests_db_1"

    volumes = json.loads(onggi.out("volume", "inspect", "guests_data"))
    assert volumes[0]["Labels"]["com.docker.compose.project"] == "guests"
    compose("down", "-v", "-t", "1")
    assert onggi.out("ps", "-aq") == ""
    assert "guests" not in onggi.out("network", "ls") + onggi.out("volume", "ls")


def test_what_compose_does_in_the_foreground(compose: Compose, onggi: Onggi) -> None:
    said = compose("build", "--build-arg", "X=1", "db")
    assert "Successfully tagged guests_db:latest" in said
    said = compose("up", "--abort-on-container-exit", "once")
    assert "once_1  | said once" in said
    compose("up", "--no-start", "idle")
    assert "busybox" in compose("images")
    assert "No such service: nosuch" in compose("up", "nosuch", code=1)
    compose("down", "--rmi", "local")
    assert onggi.out("ps", "-aq") == ""
