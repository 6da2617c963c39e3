"""Terminals: made in the container's own devpts, controlling, resizable."""

from typing import Any

import pytest

from onggi.linux import mount, pty

pytestmark = pytest.mark.root
Box = Any


def test_a_terminal(box: Box) -> None:
    script = "tty; stty size; ls -l /dev/console; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo all"
    result = box.sh(script, tty=True, rows=31, columns=91)
    assert result.out.startswith("/dev/pts/0\r\n31 91\r\n")
    assert result.out.splitlines()[2].split()[3:6] == ["5", "136,", "0"]
    assert result.out.endswith("all\r\n")


def test_a_user_owns_the_terminal(box: Box) -> None:
    result = box.sh("stat -c '%u %g' /dev/pts/0; echo ok > /dev/tty", tty=True, user="1000")
    assert result.out == "1000 5\r\nok\r\n"


def test_resize_is_signalled(box: Box) -> None:
    running = box.start("sh", "-c", "trap 'stty size; exit 0' WINCH; echo up; "
                        "while :; do sleep 0.05; done", tty=True)  # fmt: skip
    running.read_until("up\r\n")
    pty.set_size(running.started.pty_fd, 17, 71)
    running.read_until("17 71\r\n")
    assert running.finish().code == 0


def test_control_c_reaches_the_foreground_process(box: Box) -> None:
    import os

    running = box.start("sh", "-c", "trap 'echo caught; exit 9' INT; echo up; "
                        "while :; do sleep 0.05; done", tty=True)  # fmt: skip
    running.read_until("up\r\n")
    os.write(running.started.pty_fd, b"\x03")
    running.read_until("caught\r\n")
    assert running.finish().code == 9


def test_a_terminal_of_an_exec(box: Box) -> None:
    first = box.start("sleep", "60")
    second = box.enter(first, "sh", "-c", "tty; stty size; ps", tty=True, rows=5, columns=7)
    result = second.finish()
    assert result.out.startswith("/dev/pts/0\r\n5 7\r\n")
    assert "python" not in result.out


@pytest.mark.sec("A12")
def test_the_callers_terminal_is_out_of_reach(box: Box) -> None:
    result = box.sh("cat /proc/self/stat | cut -d' ' -f7; echo x > /dev/tty")
    assert result.out.startswith("0\n")
    assert "No such device" in result.err


@pytest.mark.sec("A4")
def test_only_a_devpts_makes_terminals() -> None:
    import os

    fake = mount.fsmount("tmpfs")
    try:
        with pytest.raises(OSError, match="not a devpts"):
            pty.openpty(fake)
    finally:
        os.close(fake)


def test_terminals_of_two_mounts_are_apart() -> None:
    import os

    first, second = (mount.fsmount("devpts", (("newinstance", None),)) for _ in range(2))
    terminals = [pty.openpty(first), pty.openpty(second)]
    try:
        assert [terminal.name for terminal in terminals] == ["0", "0"]
        pty.set_size(terminals[0].master, 5, 6)
        assert pty.get_size(terminals[0].slave) == (5, 6)
        before = pty.set_raw(terminals[0].slave)
        os.write(terminals[0].master, b"a\r")
        assert os.read(terminals[0].slave, 10) == b"a\r"
        pty.restore(terminals[0].slave, before)
    finally:
        for fd in (first, second, *(fd for t in terminals for fd in t[:2])):
            os.close(fd)
