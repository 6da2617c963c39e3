"""onggi inside a container of its own: without any privilege (proot), and where a filter lets it
make a user namespace. Both as alice, who has no privilege either."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .machine import SITE, SOURCE, User, machine

pytestmark = pytest.mark.root
MAIN = f"{SOURCE}/onggi/__main__.py"
PROOT = shutil.which("proot")
TALLOC = next(Path("/usr/lib").glob("*/libtalloc.so.2"), None)
NO_ISOLATION = "WARNING: NO ISOLATION"
Inner = Any


@pytest.fixture(scope="module")
def alice(
    tmp_path_factory: pytest.TempPathFactory, base_image: Callable[[str], Path]
) -> Iterator[User]:
    if sys.version_info[:2] != (3, 11) or not PROOT or not TALLOC:
        pytest.skip("the image's Python is 3.11, and it borrows our proot")
    with machine(tmp_path_factory.mktemp("machine")) as host:
        user = host.user("alice")
        user("load", "-q", "-i", user.copy_in(base_image("python:3.11")))
        user.copy_in(base_image("busybox:latest"))
        yield user


@pytest.fixture(scope="module", params=["confined", "nested"])
def inner(request: pytest.FixtureRequest, alice: User, base_image: Callable[[str], Path]) -> Inner:
    """`inner("run", …)` is onggi in a container; `inner.tier` is what it has to find."""
    name = request.param
    shown = [str(SOURCE), SITE, str(PROOT), str(TALLOC)]
    binds = [word for path in shown for word in ("-v", f"{path}:{path}:ro")]
    archive = f"/home/alice/{base_image('busybox:latest').name}"
    filtered = ("--security-opt", "seccomp=unconfined") if name == "nested" else ()
    words = ("--name", name, *binds, "-v", f"{archive}:/busybox.tar:ro", *filtered)
    alice("run", "-d", *words, "python:3.11", "sleep", "3600")

    class Command:
        tier = 2 if name == "nested" else 4
        network = ("--network", "host") if name == "nested" else ()

        def __call__(self, *arguments: str, code: int = 0) -> Any:
            python = ("/usr/bin/python3", "-I", "-S", MAIN, SITE, "onggi")
            return alice("exec", name, *python, *arguments, code=code)

        def out(self, *arguments: str) -> str:
            return str(self(*arguments).stdout).removesuffix("\n")

        def shell(self, script: str) -> str:
            return str(alice("exec", name, "sh", "-c", script).stdout)

    command = Command()
    command("load", "-q", "-i", "/busybox.tar")
    return command


def test_it_knows_where_it_is(inner: Inner) -> None:
    found = inner("doctor", "--format", "{{.Tier}}", code=1)  # it has no network of its own
    assert found.stdout == f"{inner.tier}\n"
    assert "raise it: " in inner("doctor", code=1).stdout


def test_no_isolation_is_announced(inner: Inner) -> None:
    done = inner("run", "--rm", *inner.network, "busybox", "sh", "-c", "id -u; exit 3", code=3)
    assert done.stdout == "0\n"
    assert (NO_ISOLATION in done.stderr) == (inner.tier == 4)


def test_a_container_lives_and_ends(inner: Inner) -> None:
    serve = "echo up; while :; do echo hello | nc -l -p 8077; done"
    ports = ("-p", "8077:8077") if inner.tier == 4 else ()
    words = ("run", "-d", "--name", "web", *inner.network, *ports, "busybox", "sh", "-c", serve)
    short = inner.out(*words)[:12]
    assert inner.out("ps", "-q") == short
    script = (
        "import socket, time\n"
        "for _ in range(600):\n"
        "    try: print(socket.create_connection(('127.0.0.1', 8077)).recv(9).decode()); break\n"
        "    except OSError: time.sleep(0.1)\n"
    )
    assert inner.shell(f'python3 -c "{script}"') == "hello\n\n"
    if inner.tier == 4:
        assert inner.out("port", "web") == "8077/tcp -> 0.0.0.0:8077"
        other = ("run", "-d", "--name", "other", "-p", "9000:80", "busybox", "true")
        assert "published as 9000" in inner(*other, code=125).stderr
        inner("rm", "other")
    assert inner.out("exec", "web", "cat", "/etc/hostname") == inner.out(
        "inspect", "-f", "{{.Config.Hostname}}", "web"
    )
    inner("exec", "web", "sh", "-c", "echo new > /new; rm /bin/vi")
    assert inner.out("diff", "web").splitlines()[-3:] == ["C /bin", "D /bin/vi", "A /new"]
    inner("stop", "-t", "5", "web")
    assert inner.out("logs", "web") == "up"
    assert inner.out("commit", "web", "mine").startswith("sha256:")
    inner("rm", "web")
    script = "cat /new; test -e /bin/vi || echo gone"
    assert inner.out("run", "--rm", *inner.network, "mine", "sh", "-c", script) == "new\ngone"
    assert inner.out("ps", "-aq") == ""
    assert "nc -l" not in inner.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_a_build(inner: Inner) -> None:
    inner.shell(
        "mkdir -p /context && echo page > /context/page && printf 'FROM busybox\\n"
        "RUN mkdir /made && chown 5:6 /made && rm /bin/vi\\nCOPY --chown=7:8 page /made/\\n"
        "RUN cp /made/page /copy && rm -r /made\\n' > /context/Dockerfile"
    )
    inner("build", "-q", *inner.network, "-t", "built", "/context")
    script = "cat /copy; ls -d /made /bin/vi 2>/dev/null; true"
    assert inner.out("run", "--rm", *inner.network, "built", "sh", "-c", script) == "page"
