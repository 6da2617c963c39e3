"""`events` as a user sees them: docker's lines, in docker's order."""

import json
import re
import time

import pytest

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root


def told(onggi: Onggi, since: float, *flags: str) -> list[str]:
    """ "type action" of everything since then."""
    return onggi.out(
        "events", "--since", f"{since:.6f}", "--until", "0s", "--format", "{{.Type}} {{.Action}}",
        *flags,
    ).splitlines()  # fmt: skip


def test_a_run_from_create_to_destroy(onggi: Onggi, busybox: str) -> None:
    since = time.time()
    onggi(
        "run", "--rm", "--label", "a=b", "-v", "data:/data", busybox, "sh", "-c", "exit 3", code=3
    )
    assert told(onggi, since) == [
        "volume create",
        "container create",
        "container attach",
        "volume mount",
        "network connect",
        "container start",
        "container die",
        "network disconnect",
        "volume unmount",
        "container destroy",
    ]
    line = onggi.out("events", "--since", f"{since:.6f}", "--until", "0s", "--filter", "event=die")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)"
    attributes = r"\(a=b, execDuration=\d+, exitCode=3, image=busybox, name=\w+\)"
    assert re.fullmatch(rf"{stamp} container die [0-9a-f]{{64}} {attributes}", line)
    onggi("volume", "rm", "data")
    assert told(onggi, since)[-1] == "volume destroy"


def test_a_life_with_everything_in_it(onggi: Onggi, busybox: str) -> None:
    since = time.time()
    onggi("run", "-d", "--network", "none", "--name", "box", busybox, "sleep", "600")
    onggi("exec", "box", "true")
    onggi("top", "box")
    onggi("pause", "box")
    onggi("unpause", "box")
    onggi("rename", "box", "other")
    onggi("cp", "other:/etc/passwd", "-")
    onggi("export", "-o", str(onggi.root.parent / "x.tar"), "other")
    onggi("commit", "other", "kept")
    onggi("restart", "-t", "0", "other")
    onggi("kill", "other")
    onggi.out("wait", "other")
    onggi("start", "other")
    onggi("stop", "-t", "0", "other")
    onggi("rm", "other")
    seen = told(onggi, since, "--filter", "type=container")
    assert [line.removeprefix("container ") for line in seen] == [
        "create", "start", "exec_create: true", "exec_start: true", "exec_die", "top", "pause",
        "unpause", "rename", "archive-path", "export", "commit",
        "kill", "kill", "die", "stop", "start", "restart",
        "kill", "die", "start", "kill", "kill", "die", "stop", "destroy",
    ]  # fmt: skip
    said = onggi.out(
        "events", "--since", f"{since:.6f}", "--until", "0s", "--filter", "event=rename",
        "--format", "json",
    )  # fmt: skip
    renamed = json.loads(said)
    assert renamed["Actor"]["Attributes"] == {
        "oldName": "/box", "image": "busybox", "name": "other",
    }  # fmt: skip
    assert (renamed["status"], renamed["from"], renamed["scope"]) == ("rename", "busybox", "local")
    onggi("rmi", "kept")


def test_images(onggi: Onggi, busybox: str) -> None:
    since = time.time()
    archive = str(onggi.root.parent / "saved.tar")
    onggi("tag", busybox, "second:1")
    onggi("save", "-o", archive, "second:1")
    onggi("rmi", "second:1")
    onggi("load", "-q", "-i", archive)
    onggi("rmi", "second:1")
    assert [line.removeprefix("image ") for line in told(onggi, since)] == [
        "tag", "save", "untag", "load", "untag",
    ]  # fmt: skip


def test_a_terminal_tells_its_size(onggi: Onggi, busybox: str) -> None:
    asked = ("events", "--since", f"{time.time():.6f}", "--until", "0s", "--filter", "event=resize")
    words = ("run", "-it", "--rm", busybox, "sh", "-c", "read line")
    with onggi.terminal(*words, rows=33, columns=99) as terminal:
        assert "width=99" in onggi.until("height=33", *asked)
        terminal.send("\n")
        assert terminal.wait() == 0


def test_following_ends_with_the_reader(onggi: Onggi, busybox: str) -> None:
    follower = onggi.popen(
        "events", "--filter", "event=start", "--format", "{{.Actor.Attributes.name}}"
    )
    try:
        assert follower.stdout is not None
        for number in range(3):
            deadline = time.monotonic() + DEADLINE_S
            while True:  # it may not listen yet: without --since it only sees what comes
                onggi("run", "--name", f"box{number}", busybox, "true")
                onggi("rm", f"box{number}")
                if number or ready(follower) or time.monotonic() > deadline:
                    break
            while (line := follower.stdout.readline()) != f"box{number}\n":
                assert line == "box0\n"  # of another attempt
    finally:
        follower.kill()
        follower.communicate()


def ready(process: object) -> bool:
    import select

    return bool(select.select([process.stdout], [], [], 0.2)[0])  # type: ignore[attr-defined]


def test_until_ends_it(onggi: Onggi) -> None:
    start = time.monotonic()
    onggi("events", "--until", f"{time.time() + 0.5:.6f}")
    assert 0.3 < time.monotonic() - start < 50


def test_refusals(onggi: Onggi) -> None:
    done = onggi("events", "--format", "{{.x", code=64)
    assert done.stderr == "Error parsing format: template: :1: unclosed action\n"
    done = onggi("events", "--since", "zzz", code=1)
    assert done.stderr == 'failed to parse value as time or duration: "zzz"\n'
    done = onggi("events", "--filter", "foo", code=125)
    assert 'invalid argument "foo" for "-f, --filter" flag: bad format of filter' in done.stderr
    assert "invalid filter 'colour'" in onggi("events", "--filter", "colour=x", code=1).stderr
    done = onggi("events", "--since", "1s", "--until", "1h", code=1)
    assert "cannot be after `until` time" in done.stderr
