"""A build on a terminal: the live view, and a shell where a step failed."""

import re
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import context, fails, run

pytestmark = pytest.mark.root
WAIT_S = 60


def test_the_live_view(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    name = f"live-{tmp_path.name}"
    text = f"""FROM {busybox} AS one
RUN --mount=type=cache,target=/c,id={name} printf 'said\\033[2Jone\\n'; \\
    until test -e /c/go; do sleep 0.05; done
FROM {busybox}
RUN --mount=type=cache,target=/c,id={name} echo said two; \\
    until test -e /c/go; do sleep 0.05; done
COPY --from=one /etc/passwd /x
"""
    top = context(tmp_path / "c", text)
    with onggi.terminal("build", "-t", "made", str(top), columns=70) as terminal:
        terminal.expect("[+] Building", WAIT_S)
        for said in (" => => # saidone", " => => # said two"):
            while said not in terminal.text:
                terminal.expect("[+] Building", WAIT_S)
        assert "\x1b[2J" not in terminal.text
        (notes,) = [
            p for p in (onggi.root / "buildcache-mounts").glob("*.id") if p.read_text() == name
        ]
        # the clock goes on though no step says anything
        seen = {terminal.expect("[+] Building", WAIT_S) and terminal.expect("s (", WAIT_S)
                for _ in range(8)}  # fmt: skip
        assert len(seen) > 2
        notes.with_suffix("").joinpath("go").touch()
        terminal.expect("Successfully built", WAIT_S)
        assert terminal.wait(WAIT_S) == 0
    lines = [re.sub(r"\x1b\[[0-9]*[AJ]", "", line) for line in terminal.text.split("\r\n")]
    assert all(len(line.split("\r")[-1]) < 70 for line in lines)
    assert lines[-2].startswith("5 steps, 0 from cache")
    with onggi.terminal("build", "-t", "made", str(top)) as terminal:
        terminal.expect("=> CACHED [", WAIT_S)
        assert terminal.wait(WAIT_S) == 0


def test_a_failure_tells_the_whole_output(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN seq 30 | sed s/^/line-/; exit 3\n")
    with onggi.terminal("build", "--progress", "tty", str(top)) as terminal:
        assert terminal.wait(WAIT_S) == 1
    end = terminal.text.rpartition("------\r\n > ")[2]
    assert all(f"line-{n}\r\n" in end for n in range(1, 31))
    assert "returned a non-zero code: 3" in end
    with onggi.terminal("build", "--progress", "plain", str(top)) as terminal:
        assert terminal.wait(WAIT_S) == 1
    assert "[+]" not in terminal.text and "line-30" in terminal.text


def test_who_has_no_terminal_gets_lines(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\n")
    assert "\x1b" not in onggi.out("build", str(top))
    assert "needs a terminal" in fails(onggi, top, "--progress", "tty")
    assert onggi("build", str(top), BUILDKIT_PROGRESS="rawjson").stderr.startswith('{"vertexes"')


def test_ctrl_c_ends_the_view(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN echo begun; sleep 600\n")
    with onggi.terminal("build", str(top)) as terminal:
        terminal.expect("=> => # begun", WAIT_S)
        terminal.send("\x03")
        assert terminal.wait(WAIT_S) == 130


def test_a_shell_where_the_step_failed(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
ENV WHO=me
WORKDIR /srv
RUN echo before > /before
RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/c,id=shell-{tmp_path.name} \\
    --mount=type=secret,id=pin,env=PIN --mount=type=secret,id=pin --mount=type=tmpfs,target=/t \\
    echo half > /half; echo kept > /c/kept; exit 7
"""
    top = context(tmp_path / "c", text)
    (top / "seen").write_text("context\n")
    (tmp_path / "pin").write_text("1234")
    secret = f"id=pin,src={tmp_path}/pin"
    before = onggi.out("images", "-aq")
    with onggi.terminal("build", "--on-error", "shell", "--secret", secret, str(top)) as terminal:
        terminal.expect("returned a non-zero code: 7", WAIT_S)
        terminal.expect("/srv #", WAIT_S)
        terminal.send(
            "echo $WHO $(cat /before /half /ctx/seen /c/kept) $PIN:$(cat /run/secrets/*);"
        )
        terminal.send("stat -fc fs=%T /t; touch /new; exit 4\n")
        terminal.expect("me before half context kept 1234:1234", WAIT_S)
        terminal.expect("fs=tmpfs", WAIT_S)
        assert terminal.wait(WAIT_S) == 1
    assert onggi.out("images", "-aq") == before and onggi.out("ps", "-aq") == ""
    # without a terminal it is a build that fails
    assert "returned a non-zero code: 7" in fails(onggi, top, "--on-error=shell")
    assert "invalid --on-error" in fails(onggi, top, "--on-error=sell")
    (top / "Dockerfile").write_text(text.replace("; exit 7", ""))
    onggi("build", "-t", "made", "--on-error", "shell", str(top))
    assert run(onggi, "cat", "/half") == "half"
