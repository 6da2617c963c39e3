"""The engine in a Python program: `onggi.connect()`, and the fixtures for pytest."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import onggi as package
from onggi.errors import CommandNotFound, Conflict, InvalidInput, NotFound
from onggi.library.client import Client
from onggi.library.result import CommandFailed, TimedOut

from .conftest import Onggi

pytestmark = pytest.mark.root

SOURCES = str(Path(package.__file__).parents[1])


@pytest.fixture
def client(onggi: Onggi, busybox: str) -> Iterator[Client]:
    with package.connect(environ=onggi.environment) as made:
        yield made


def test_run(client: Client, onggi: Onggi, busybox: str) -> None:
    done = client.run(busybox, ["sh", "-c", "echo out; echo err >&2; echo $A"], env={"A": "b"})
    assert (done.exit_code, done.stdout, done.stderr) == (0, b"out\nb\n", b"err\n")
    assert client.run(busybox, "sh -c 'exit 3'", check=False).exit_code == 3
    with pytest.raises(CommandFailed, match="exit code 3: why") as failed:
        client.run(busybox, ["sh", "-c", "echo why >&2; exit 3"])
    assert failed.value.result.stderr == b"why\n"
    with pytest.raises(CommandNotFound):
        client.run(busybox, "nope")
    with pytest.raises(NotFound, match="No such image"):
        client.run("localhost/missing", "true", pull="never")
    assert onggi.out("ps", "-aq") == ""


def test_input_and_output_at_once(client: Client, busybox: str) -> None:
    data = os.urandom(3 << 20)
    assert client.run(busybox, "cat", stdin=data).stdout == data
    done = client.run(busybox, "head -c 100000 /dev/zero", max_output=1000)
    assert (len(done.stdout), done.truncated) == (1000, True)


def test_run_for_so_long(client: Client, onggi: Onggi, busybox: str) -> None:
    for limit_s in (0.5, 5, 50):  # a busy machine may not come to the echo in the first
        with pytest.raises(TimedOut, match=f"not done after {limit_s} s") as late:
            client.run(busybox, ["sh", "-c", "echo began; sleep 600"], timeout_s=limit_s)
        if late.value.result is not None and late.value.result.stdout:
            break
    assert late.value.result is not None
    assert late.value.result.stdout == b"began\n"
    assert onggi.out("ps", "-aq") == ""


def test_exec(client: Client, busybox: str) -> None:
    with client.start(busybox, "sleep 600", init=True) as box:  # which reaps what we kill
        done = box.exec(["sh", "-c", "cat; pwd; echo $A >&2; id -u"], env={"A": "b"}, user="1234",
                        workdir="/tmp", stdin=b"in\n")  # fmt: skip
        assert (done.stdout, done.stderr) == (b"in\n/tmp\n1234\n", b"b\n")
        with pytest.raises(CommandFailed, match="false: exit code 1"):
            box.exec("false", check=True)
        with pytest.raises(TimedOut):
            box.exec(["sh", "-c", "sleep 600 & sleep 700"], timeout_s=0.5)
        deadline = time.monotonic() + 60
        while len(box.exec("pidof sleep").text.split()) != 1:  # neither of the two is left
            assert time.monotonic() < deadline
        with pytest.raises(CommandNotFound):
            box.exec("nope")


def test_files(client: Client, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("A")
    with client.start(busybox, "sleep 600") as box:
        box.put("/tmp/one", b"1", mode=0o750, owner=(7, 8))
        assert box.get("/tmp/one") == b"1"
        assert box.exec("stat -c '%a %u %g' /tmp/one").text == "750 7 8"
        box.put("/tmp/tree", tmp_path / "tree")
        assert box.exec("cat /tmp/tree/a").text == "A"
        box.get_tree("/tmp/tree", tmp_path / "back")
        assert (tmp_path / "back" / "tree" / "a").read_text() == "A"
        with pytest.raises(NotFound):
            box.get("/nowhere")
        with pytest.raises(InvalidInput, match="no regular file"):
            box.get("/tmp/tree")
        with pytest.raises(InvalidInput, match="no absolute path"):
            box.put("relative", b"")
        box.exec("ln -s /etc/passwd /tmp/tree/link", check=True)
        box.get_tree("/tmp/tree", tmp_path / "back")
        assert (tmp_path / "back" / "tree" / "link").is_symlink()


def test_waiting(client: Client, busybox: str) -> None:
    serve = ["sh", "-c", "echo ready; exec httpd -f -p 80"]
    with client.start(busybox, serve, ports={80: None}, healthcheck="true",
                      health_interval_s=0.2) as web:  # fmt: skip
        assert web.wait_log("ready").wait_healthy().wait_port(80).health == "healthy"
        assert web.port(80)[0] == "127.0.0.1"
        with pytest.raises(NotFound, match="port 81 is not published"):
            web.port(81)
        with pytest.raises(TimedOut, match="still runs"):
            web.wait(timeout_s=0.1)
        web.stop(timeout_s=1)
        assert web.status == "exited"
    with client.start(busybox, ["sh", "-c", "echo oh no; exit 4"]) as short:
        with pytest.raises(Conflict, match="has ended with exit code 4: oh no"):
            short.wait_log("never")
        with pytest.raises(Conflict):
            short.wait_healthy()
        assert short.wait() == 4


def test_build(client: Client, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nARG A\nRUN echo built $A > /built\n")
    events: list[object] = []
    image = client.build(tmp_path, tag="made:1", build_args={"A": "x"}, report=events.append)
    assert image.startswith("sha256:")
    assert client.run("made:1", "cat /built").text == "built x"
    assert any("RUN" in str(event) for event in events)
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nRUN exit 3\n")
    with pytest.raises(InvalidInput, match="returned a non-zero code: 3"):
        client.build(tmp_path)
    client.remove_image("made:1")
    assert "docker.io/library/made:1" not in client.images()


def test_threads(client: Client, busybox: str) -> None:
    found: list[str] = []

    def work(number: int) -> None:
        found.append(client.run(busybox, f"echo {number}").text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [str(number) for number in range(8)]


def test_what_stays_and_what_goes(onggi: Onggi, busybox: str) -> None:
    with package.connect(environ=onggi.environment) as client:
        client.start(busybox, "sleep 600", name="goes")
        client.start(busybox, "sleep 600", name="stays", keep=True)
    assert onggi.out("ps", "-a", "--format", "{{.Names}}") == "stays"


def test_a_killed_program_leaves_nothing(onggi: Onggi, busybox: str) -> None:
    program = (
        "import onggi, os\n"
        "client = onggi.connect()\n"
        f"client.start({busybox!r}, 'sleep 600', volumes={{}})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    python = [sys.executable, "-c", program]
    environ = {**onggi.environment, "PYTHONPATH": SOURCES}
    assert subprocess.run(python, env=environ, timeout=120).returncode == -9
    end = time.monotonic() + 60
    while onggi.out("ps", "-aq"):
        assert time.monotonic() < end
        time.sleep(0.1)


TESTS = """
def test_a_service(onggi_container, onggi_session_container):
    box = onggi_container("busybox", "sleep 600", name="of-the-test")
    shared = onggi_session_container("busybox", "sleep 600", name="of-the-session")
    assert box.exec("echo hi").text == shared.exec("echo hi").text == "hi"

def test_it_is_gone(onggi_client):
    assert [box.name for box in onggi_client.containers()] == ["of-the-session"]
"""


def test_fixtures_for_pytest(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "test_service.py").write_text(TESTS)
    environ = {
        **onggi.environment, "PYTHONPATH": SOURCES, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-p", "onggi.library.pytest_plugin",
               "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert onggi.out("ps", "-aq") == ""


def test_needs_root(busybox: str) -> None:
    program = "import onggi, os; connect = onggi.connect; os.setuid(65534); connect()"
    done = subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": SOURCES},
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert "onggi.connect() needs root" in done.stderr
