"""Log drivers: options in docker's words (SECURITY row 25), tags, and reading both formats."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.engine import logdriver, logfiles
from onggi.engine.logdriver import Address, FileOptions
from onggi.engine.paths import Paths
from onggi.errors import InvalidInput, Unavailable, Unsupported
from onggi.monitor.locallog import LocalWriter
from onggi.monitor.log import LogWriter
from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    HostOptions,
    Process,
)


def config(driver: str, **options: str) -> ContainerConfig:
    named = {name.replace("_", "-"): value for name, value in options.items()}
    host = HostOptions(log_driver=driver, log_options=named)
    process = Process(("sh", "-c"), ("A=1", "B=2", "PATH=/bin"), "/", "", tty=False)
    return ContainerConfig(
        ContainerOptions("web:1", host=host), process, "sha256:" + "ab" * 32, (), "h", "SIGTERM",
        labels={"l": "x", "com.example": "y"},
    )  # fmt: skip


def container(driver: str, **options: str) -> Container:
    return Container("c0ffee" + "0" * 58, "name", 1, config(driver, **options), ContainerState())


@pytest.mark.sec("25")
@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("nope", {}, "logger: no log driver named 'nope' is registered"),
        ("json-file", {"foo": ""}, "unknown log opt 'foo' for json-file log driver"),
        ("local", {"labels": "a"}, "unknown log opt 'labels' for local log driver"),
        ("journald", {"max_size": "1"}, "unknown log opt 'max-size' for journald log driver"),
        ("json-file", {"max_size": "-5"}, "invalid size: '-5'"),
        ("json-file", {"max_size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max_size": "x"}, "invalid size: 'x'"),
        ("json-file", {"max_file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max_file": "-1"}, "max-file cannot be less than 1"),
        ("json-file", {"max_file": "x"}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"compress": "true", "max_file": "1"}, "compress cannot be true when"),
        ("json-file", {"compress": "maybe"}, "strconv.ParseBool"),
        ("json-file", {"mode": "x"}, "logger: logging mode not supported: x"),
        ("json-file", {"max_buffer_size": "1m"}, "only supported with 'mode=non-blocking'"),
        ("local", {"mode": "non-blocking", "max_buffer_size": "q"}, "error parsing option max-buf"),
        ("json-file", {"labels_regex": "("}, "error parsing regexp"),
        ("json-file", {"tag": "{{.Nope}}"}, "can't evaluate field Nope"),
        ("json-file", {"tag": "{{ if }}"}, "only fields such as"),
        ("syslog", {"syslog_facility": "x"}, "invalid syslog facility"),
        ("syslog", {"syslog_facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog_format": "x"}, "Invalid syslog format"),
        ("syslog", {"syslog_address": "x"}, "should be in form proto://address, got x"),
        ("syslog", {"syslog_address": "tcp://h:0"}, "should be in form proto://address"),
        ("syslog", {"syslog_address": "unix:///none"}, "stat /none: no such file or directory"),
        ("syslog", {"cache_max_file": "0"}, "max-file cannot be less than 1"),
    ],
)
def test_refused_at_create(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        logdriver.check(config(driver, **options))
    assert words in caught.value.message


@pytest.mark.parametrize("driver", ["fluentd", "gelf", "awslogs", "splunk"])
def test_dockers_other_drivers(driver: str) -> None:
    with pytest.raises(Unsupported, match="no log driver named"):
        logdriver.check(config(driver))


def test_good_options() -> None:
    for good in (
        config(
            "json-file", max_size="10m", max_file="3", compress="true", tag="{{.Name}}/{{ .ID }}"
        ),
        config("json-file", max_size="-1", mode="non-blocking", max_buffer_size="4m"),
        config("local", max_size="1k", max_file="1"),
        config("syslog", syslog_address="udp://[::1]:99", syslog_facility="local0"),
        config("journald", labels="a,b", env_regex="^X"),
        config("none"),
    ):
        logdriver.check(good)


def test_values() -> None:
    assert logdriver.file_options(config("json-file")) == FileOptions(10 << 20, 3, False)
    assert logdriver.file_options(config("json-file", max_size="1m")).max_bytes == 1 << 20
    assert logdriver.file_options(config("json-file", max_size="-1")).max_bytes == 0
    assert logdriver.file_options(config("local")) == FileOptions(20 << 20, 5, True)
    assert logdriver.syslog_address("tcp://h") == Address("tcp", host="h", port=514)
    assert logdriver.syslog_address("udp://[::1]:5") == Address("udp", host="::1", port=5)
    assert logdriver.syslog_facility("") == 3 and logdriver.syslog_facility("local7") == 23
    assert logdriver.tag(container("json-file"), "") == "c0ffee000000"
    assert logdriver.tag(container("json-file"), "{{.ImageName}}|{{ .Name }}") == "web:1|name"
    found = logdriver.attributes(config("json-file", labels="l", env_regex="^[AB]$"))
    assert found == {"l": "x", "A": "1", "B": "2"}


def test_which_logs_can_be_read(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path), str(tmp_path))
    assert logdriver.path_of(paths, container("json-file")).endswith("-json.log")
    assert logdriver.path_of(paths, container("syslog")).endswith("/container.log")
    for driver, options in (("none", {}), ("syslog", {"cache_disabled": "true"})):
        with pytest.raises(InvalidInput) as caught:
            logdriver.path_of(paths, container(driver, **options))
        assert caught.value.message == "configured logging driver does not support reading"


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("syslog", {"syslog_address": "tcp://127.0.0.1:1"}, "dial tcp 127.0.0.1:1: connect: conn"),
    ],
)
def test_what_cannot_be_reached(
    tmp_path: Path, driver: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(Unavailable) as caught:
        logdriver.open_log(Paths(str(tmp_path), str(tmp_path)), container(driver, **options))
    prefix = "failed to create task for container: failed to initialize logging driver: "
    assert caught.value.message.startswith(prefix + words)


# -- reading


def read(path: Path, layout: logfiles.Format) -> tuple[list[bytes], list[bytes]]:
    """All data forwards, and backwards."""
    files = logfiles.generations(str(path))
    try:
        fds = [file.plain(str(path.parent)) for file in files]
        forwards = [e.data for fd in fds for e in layout.forwards(fd)]
        backwards = [e.data for fd in reversed(fds) for e in layout.backwards(fd)]
    finally:
        for file in files:
            file.close()
    return forwards, backwards


@pytest.fixture(params=["json-file", "local"])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def layout_of(kind: str) -> logfiles.Format:
    return logfiles.JsonLines() if kind == "json-file" else logfiles.Frames()


def test_both_ways_over_compressed_generations(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    writer = LogWriter if kind == "json-file" else LocalWriter
    log = writer(str(path), 2000, 5, compress=True)
    lines = [b"line %d\n" % number for number in range(100)]
    for line in lines:
        log.write("stdout", line)
    log.close()
    assert [p for p in tmp_path.iterdir() if p.name.endswith(".gz")]
    forwards, backwards = read(path, layout_of(kind))
    assert forwards == lines[-len(forwards) :] and len(forwards) > 40
    assert backwards == forwards[::-1]


def test_an_unfinished_entry_waits(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "log"
    log = (LogWriter if kind == "json-file" else LocalWriter)(str(path))
    log.write("stdout", b"one\n")
    log.write("stdout", b"two\n")
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    layout = layout_of(kind)
    assert read(path, layout) == ([b"one\n"], [b"one\n"])
    with path.open("rb+") as file:
        assert [e.data for e in layout.forwards(file.fileno())] == [b"one\n"]
        here = os.lseek(file.fileno(), 0, os.SEEK_CUR)
        path.write_bytes(whole)
        os.lseek(file.fileno(), here, os.SEEK_SET)
        assert [e.data for e in layout.forwards(file.fileno())] == [b"two\n"]


def test_damage_hides_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(
        b'garbage\n{"log":"a\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n{}\n'
    )
    assert read(path, logfiles.JsonLines()) == ([b"a\n"], [b"a\n"])
    (tmp_path / "log.1.gz").write_bytes(gzip.compress(b'{"log":"old"')[:-4] + b"xxxx")
    assert read(path, logfiles.JsonLines())[0] == [b"a\n"]
    path.write_bytes(b"\xff" * 100)
    (tmp_path / "log.1.gz").unlink()
    assert read(path, logfiles.Frames()) == ([], [])
