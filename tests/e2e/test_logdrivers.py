"""--log-driver and --log-opt: rotation, the other drivers, and what `logs` says."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root
COUNT = "i=0; while [ $i -lt 2000 ]; do echo line $i of many; i=$((i+1)); done"


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotation_with_compression(onggi: Onggi, busybox: str, driver: str) -> None:
    options = ["--log-driver", driver, "--log-opt", "max-size=20k", "--log-opt", "max-file=3",
               "--log-opt", "compress=true"]  # fmt: skip
    onggi("run", "-d", "--name", "rotated", *options, busybox, "sh", "-c", COUNT)
    onggi("wait", "rotated")
    (found,) = json.loads(onggi.out("inspect", "rotated"))
    directory = onggi.root / "containers" / found["Id"]
    logs = [path for path in directory.iterdir() if ".log" in path.name and path.is_file()]
    assert len([path for path in logs if path.name.endswith(".gz")]) == 2
    lines = onggi.out("logs", "rotated").splitlines()
    assert lines[-1] == "line 1999 of many" and 500 < len(lines) < 2000
    assert lines == [f"line {n} of many" for n in range(2000 - len(lines), 2000)]
    assert onggi.out("logs", "--tail", "600", "rotated").splitlines() == lines[-600:]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_following_loses_nothing_at_a_rotation(onggi: Onggi, busybox: str, driver: str) -> None:
    options = ["--log-driver", driver, "--log-opt", "max-size=30k", "--log-opt", "max-file=9",
               "--log-opt", "compress=true"]  # fmt: skip
    script = COUNT.replace("echo", "[ $((i % 100)) = 0 ] && sleep 0.02; echo")
    onggi("run", "-d", "--name", "followed", *options, busybox, "sh", "-c", f"sleep 0.5; {script}")
    lines = onggi.out("logs", "-f", "followed").splitlines()
    assert lines == [f"line {number} of many" for number in range(2000)]


def test_streams_and_times_of_local(onggi: Onggi, busybox: str) -> None:
    onggi(
        "run", "--name", "local", "--log-driver", "local", busybox, "sh", "-c", "echo o; echo e >&2"
    )
    done = onggi("logs", "-t", "local")
    assert done.stdout.endswith("Z o\n") and done.stderr.endswith("Z e\n")


def test_details(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--name", "detail", "-l", "team=a b", "-e", "X=1", "--log-opt", "labels=team",
          "--log-opt", "env=X", "--log-opt", "tag={{.Name}}", busybox, "echo", "hi")  # fmt: skip
    assert onggi.out("logs", "--details", "detail") == "X=1,tag=detail,team=a+b hi"


def test_none_cannot_be_read(onggi: Onggi, busybox: str) -> None:
    out = onggi.out("run", "--name", "none", "--log-driver", "none", busybox, "echo", "hi")
    assert out == "hi"
    done = onggi("logs", "none", code=1)
    assert "configured logging driver does not support reading" in done.stderr


@contextmanager
def receiver(path: Path, kind: int = socket.SOCK_DGRAM) -> Iterator[socket.socket]:
    """A unix socket to which logs are sent; its directory is made when it is missing."""
    made = []
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir()
            made.append(parent)
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(path))
        server.settimeout(60)
        try:
            yield server
        finally:
            os.unlink(path)
            for parent in reversed(made):
                parent.rmdir()


def test_journald(onggi: Onggi, busybox: str) -> None:
    path = Path("/run/systemd/journal/socket")
    if path.exists():
        pytest.skip("the journal of this host is not a test's")
    flags = ["--log-driver", "journald", "--log-opt", "tag=t/{{.Name}}"]
    done = onggi("run", "--rm", *flags, busybox, "true", code=125)
    assert "journald is not enabled on this host" in done.stderr
    with receiver(path) as server:
        onggi("run", "--name", "journal", *flags, busybox, "sh", "-c", "echo hello; echo bad >&2")
        messages = [dict(line.partition(b"=")[::2] for line in server.recv(1 << 16).splitlines())
                    for _ in range(2)]  # fmt: skip
    by_text = {message[b"MESSAGE"]: message for message in messages}
    assert by_text[b"hello"][b"PRIORITY"] == b"6" and by_text[b"bad"][b"PRIORITY"] == b"3"
    assert by_text[b"hello"][b"CONTAINER_NAME"] == b"journal"
    assert by_text[b"hello"][b"CONTAINER_TAG"] == b"t/journal"
    assert onggi.out("logs", "journal") == "hello"


@pytest.mark.parametrize("scheme", ["udp", "tcp", "unixgram", "unix"])
def test_syslog(onggi: Onggi, busybox: str, tmp_path: Path, scheme: str) -> None:
    stream = scheme in ("tcp", "unix")
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    family = socket.AF_UNIX if scheme.startswith("unix") else socket.AF_INET
    with socket.socket(family, kind) as server:
        server.bind(str(tmp_path / "s") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        server.settimeout(60)
        if stream:
            server.listen()
        place = (
            f"{tmp_path}/s" if family == socket.AF_UNIX else f"127.0.0.1:{server.getsockname()[1]}"
        )
        options = (
            f"syslog-address={scheme}://{place}", "syslog-format=rfc5424",
            "syslog-facility=local3", "tag={{.Name}}",
        )  # fmt: skip
        flags = [word for option in options for word in ("--log-opt", option)]
        onggi(
            "run", "--rm", "--name", "web", "--log-driver", "syslog", *flags, busybox, "echo", "hi"
        )
        source = server.accept()[0] if stream else server
        line = source.recv(1 << 16).decode()
        source.close()
    assert line.startswith("<158>1 ") and line.endswith(" web - hi\n")


def test_a_receiver_that_reads_nothing_does_not_stop_the_container(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    with receiver(tmp_path / "s", socket.SOCK_STREAM) as server:
        server.listen()
        script = "yes 0123456789012345678901234567890123456789 | head -n 100000; echo end >&2"
        done = onggi(
            "run", "--name", "flood", "--log-driver", "syslog", "--log-opt",
            f"syslog-address=unix://{tmp_path}/s", busybox, "sh", "-c", script, timeout_s=300,
        )  # fmt: skip
        assert done.stderr == "end\n"
    (found,) = json.loads(onggi.out("inspect", "flood"))
    notes = (onggi.root / "containers" / found["Id"] / "monitor.log").read_text()
    assert "log messages were lost" in notes
    assert len(onggi.out("logs", "flood").splitlines()) == 100_000, "the local copy has them"


@pytest.mark.sec("25")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--log-driver", "nope"], "logger: no log driver named 'nope' is registered"),
        (["--log-opt", "foo=1"], "unknown log opt 'foo' for json-file log driver"),
        (["--log-opt", "max-size=-5"], "invalid size"),
        (["--log-opt", "max-file=0"], "max-file cannot be less than 1"),
        (["--log-driver", "none", "--log-opt", "a=b"], "invalid logging opts for driver none"),
        (["--log-driver", "syslog", "--log-opt", "syslog-address=tcp://127.0.0.1:1"],
         "failed to initialize logging driver: dial tcp 127.0.0.1:1: connect: connection refused"),
    ],
)  # fmt: skip
def test_refusals(onggi: Onggi, busybox: str, flags: list[str], words: str) -> None:
    assert words in onggi("run", "--rm", *flags, busybox, "true", code=125).stderr
    assert onggi.out("ps", "-aq") == ""


def test_following_ends_at_the_moment_that_is_asked_for(onggi: Onggi, busybox: str) -> None:
    script = "echo first; sleep 600"
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", script)
    onggi.until("first", "logs", "box")
    assert onggi.out("logs", "-f", "--until", f"{time.time() + 0.5:.3f}", "box") == "first"
    assert onggi.out("logs", "-f", "--until", "1h", "box") == ""
