"""`make demo` itself: the Django project from its Dockerfile to a page, twice."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from ports import free_port

from .conftest import Onggi

CHECKOUT = Path(__file__).parents[2]


def demo(onggi: Onggi, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CHECKOUT / "tools/demo", "--port", str(port)],
        # This machine's own pip configuration is part of the test.
        env={**os.environ, **onggi.environment, "HOME": os.environ["HOME"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


def page(url: str) -> str:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
        url, timeout=60
    ) as answer:
        return str(answer.read().decode())


@pytest.mark.root
def test_the_page_answers_and_a_second_run_replaces_it(lone_onggi: Onggi) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    done = demo(lone_onggi, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"The guestbook answers on {url}" in done.stdout
    assert "Nobody has written yet" in page(url)
    assert "--clay" in page(f"{url}static/guestbook/style.css")
    first = lone_onggi.out("ps", "-q")

    done = demo(lone_onggi, port)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Using cache" in done.stdout + done.stderr
    assert "Successfully installed" not in done.stdout + done.stderr
    assert "Nobody has written yet" in page(url)
    assert lone_onggi.out("ps", "-q") != first
    lone_onggi("stop", "onggi-demo")


@pytest.mark.root
def test_a_port_that_is_taken_is_said_before_anything_is_built(lone_onggi: Onggi) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        done = demo(lone_onggi, port)
    assert done.returncode == 1
    assert f"make demo PORT={port + 1}" in done.stderr
    assert lone_onggi.out("images", "-q") == ""
