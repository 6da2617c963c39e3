"""Events: written by anybody at once, read in order across rotations, docker's filters."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from onggi.engine import eventlog, events
from onggi.engine.events import Events
from onggi.errors import InvalidInput
from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    Process,
)
from steps import steps


@pytest.fixture
def log(tmp_path: Path) -> Events:
    return Events(str(tmp_path))


def past(log: Events, **filters: list[str]) -> list[dict[str, Any]]:
    return list(eventlog.read(log, since_ns=1, until_ns=time.time_ns(), filters=filters))


def actions(found: list[dict[str, Any]]) -> list[str]:
    return [event["Action"] for event in found]


def container(purpose: Any = "run") -> Container:
    options = ContainerOptions("busybox", purpose=purpose)
    config = ContainerConfig(
        options, Process((), (), "/", "", False), "sha256:1", (), "", "", labels={"a": "b"}
    )
    return Container("c" * 64, "web", 0, config, ContainerState())


def test_a_container_tells_its_image_name_and_labels(log: Events) -> None:
    log.container(container(), "die", exitCode="3")
    (event,) = past(log)
    attributes = {"a": "b", "exitCode": "3", "image": "busybox", "name": "web"}
    assert event["Actor"] == {"ID": "c" * 64, "Attributes": attributes}
    assert (event["Type"], event["Action"], event["scope"]) == ("container", "die", "local")
    assert (event["status"], event["id"], event["from"]) == ("die", "c" * 64, "busybox")
    assert event["time"] == event["timeNano"] // 10**9


def test_build_steps_tell_nothing(log: Events) -> None:
    log.container(container("build"), "create")
    assert not os.path.exists(log.directory)
    assert past(log) == []


def test_a_command_never_fails_for_its_event(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("not a directory")
    Events(str(tmp_path)).emit("image", "pull", "x", {})
    Events("/proc/none").emit("image", "pull", "x", {})


def test_an_event_costs_little(log: Events) -> None:
    log.container(container(), "start")
    assert steps(lambda: log.container(container(), "start")) < 200


def test_the_log_rotates_and_keeps_one_old_generation(
    log: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_BYTES", 2000)
    for number in range(100):
        log.image("tag", str(number), "x")
    sizes = {name: os.path.getsize(f"{log.directory}/{name}") for name in os.listdir(log.directory)}
    assert set(sizes) == {"log", "log.1"} and max(sizes.values()) < 2400
    kept = [int(event["Actor"]["ID"]) for event in past(log)]
    assert kept == list(range(kept[0], 100)) and len(kept) >= 10


def test_many_writers_lose_and_tear_nothing(log: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers at once, and rotations; a follower sees every event once. It may be late by one
    rotation, for one old generation is kept: each round of writing waits until it is there."""
    monkeypatch.setattr(events, "MAX_BYTES", 20_000)
    seen: list[str] = []
    following = threading.Event()

    def follow() -> None:
        for event in eventlog.read(log, waiting=following.set):
            if event["Action"] == "end":
                return
            seen.append(event["Actor"]["ID"])

    reader = threading.Thread(target=follow)
    reader.start()
    assert following.wait(60)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from onggi.engine import events\n"
        "events.MAX_BYTES = 20000; log = events.Events(sys.argv[2])\n"
        "for n in range(150):\n"
        "    n % 15 or sys.stdin.read(1); log.image('tag', sys.argv[3] + str(n), 'x')"
    )
    source = str(Path(events.__file__).parents[2])
    run = os.path.dirname(log.directory)
    with ExitStack() as running:
        writers = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, source, run, f"{w}-"], stdin=subprocess.PIPE
                )
            )
            for w in range(4)
        ]
        for number in range(1, 11):
            for writer in writers:
                assert writer.stdin is not None
                writer.stdin.write(b".")
                writer.stdin.flush()
            deadline = time.monotonic() + 60
            while len(seen) < number * 60:
                assert time.monotonic() < deadline, f"{len(seen)} events in round {number}"
                time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0] * 4
    log.image("end", "", "")
    reader.join(60)
    assert not reader.is_alive()
    assert sorted(seen) == sorted(f"{w}-{n}" for w in range(4) for n in range(150))


def test_without_bounds_only_what_comes(log: Events) -> None:
    log.image("pull", "old", "old")
    ready = threading.Event()
    stream = eventlog.read(log, waiting=ready.set)
    writer = threading.Thread(target=lambda: (ready.wait(60), log.image("pull", "new", "new")))
    writer.start()
    assert next(stream)["Actor"]["ID"] == "new"
    writer.join()


def test_until_ends_the_stream(log: Events) -> None:
    log.image("pull", "a", "a")
    start = time.monotonic()
    found = list(eventlog.read(log, until_ns=time.time_ns() + 200_000_000))
    assert len(found) == 1 and 0.15 < time.monotonic() - start < 50
    middle = found[0]["timeNano"]
    assert list(eventlog.read(log, since_ns=middle + 1, until_ns=middle + 2)) == []
    with pytest.raises(InvalidInput, match=r"`since` time .* cannot be after `until` time"):
        next(eventlog.read(log, since_ns=2, until_ns=1))


def test_a_torn_line_hides_no_other(log: Events) -> None:
    log.image("pull", "a", "a")
    with open(f"{log.directory}/log", "a", encoding="utf-8") as file:
        file.write('{"Type":"ima\n[1]\n{"timeNano":"x"}\n')
    log.image("pull", "b", "b")
    assert [event["Actor"]["ID"] for event in past(log)] == ["a", "b"]


def filled(log: Events) -> Events:
    log.container(container(), "create")
    log.container(container(), "health_status: healthy")
    log.container(container(), "exec_create: ls -l")
    log.container(container(), "archive-path")
    log.image("pull", "busybox:1.36", "busybox")
    log.network("connect", "n" * 64, "bridge", "bridge", container="c" * 64)
    log.volume("create", "data")
    return log


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({}, 7),
        ({"type": ["container"]}, 4),
        ({"type": ["image", "volume"]}, 2),
        ({"event": ["create"]}, 2),
        ({"event": ["health_status"]}, 1),
        ({"event": ["health_status: healthy"]}, 1),
        ({"event": ["exec_create"]}, 1),
        ({"event": ["exec_start"]}, 0),
        ({"event": ["copy"]}, 1),
        ({"container": ["web"]}, 4),
        ({"container": ["c" * 12]}, 4),
        ({"container": ["other"]}, 0),
        ({"image": ["busybox"]}, 5),
        ({"image": ["busybox:1.36"]}, 1),
        ({"label": ["a"]}, 4),
        ({"label": ["a=b"]}, 4),
        ({"label": ["a=b", "c"]}, 0),
        ({"network": ["bridge"]}, 1),
        ({"volume": ["data"]}, 1),
        ({"scope": ["local"]}, 7),
        ({"scope": ["swarm"]}, 0),
        ({"type": ["container"], "event": ["create"]}, 1),
    ],
)
def test_filters(log: Events, filters: dict[str, list[str]], count: int) -> None:
    assert len(past(filled(log), **filters)) == count


def test_an_unknown_filter_is_refused(log: Events) -> None:
    with pytest.raises(InvalidInput, match="invalid filter 'colour'"):
        past(log, colour=["red"])


def test_lines_are_json(log: Events) -> None:
    log.image("pull", 'odd "name"\n\udcff', "x")
    with open(f"{log.directory}/log", "rb") as file:
        assert json.loads(file.read())["Actor"]["ID"] == 'odd "name"\n?'
    assert len(past(log)) == 1


def test_a_listener_that_goes_ends_the_stream(log: Events) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        log.volume("create", "first")
        stream = eventlog.read(log, since_ns=1, listener=ours.fileno())
        assert next(stream)["Actor"]["ID"] == "first"
        theirs.close()
        assert list(stream) == []
