"""`onggi exec`: a second process in a running container."""

import signal

import pytest

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root


@pytest.fixture
def box(onggi: Onggi, busybox: str) -> str:
    return onggi.out(
        "run", "-d", "--name", "box", "-e", "A=1", "-w", "/var", busybox, "sleep", "600"
    )


def test_streams_and_exit_code(onggi: Onggi, box: str) -> None:
    done = onggi("exec", box[:7], "sh", "-c", "echo out; echo err >&2; exit 5", code=5)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    onggi("exec", "box", "sh", "-c", "sh -c 'kill -9 $$'; exit $?", code=137)


def test_it_is_in_the_containers_namespaces_and_limits(onggi: Onggi, box: str) -> None:
    assert "sleep 600" in onggi.out("exec", box, "ps")
    script = "for k in net pid mnt uts ipc cgroup; do readlink /proc/$1/ns/$k; done"
    mine = onggi.out("exec", box, "sh", "-c", script, "x", "self")
    assert mine == onggi.out("exec", box, "sh", "-c", script, "x", "1")
    groups = onggi.out("exec", "--privileged", box, "cat", "/proc/self/cgroup")
    assert groups == onggi.out("exec", "--privileged", box, "cat", "/proc/1/cgroup")
    status = onggi.out("exec", box, "cat", "/proc/self/status")
    for row in ("CapEff:\t00000000a80425fb", "Seccomp:\t2"):
        assert row in status
    assert "CapEff:\t00000000a80425fb" not in onggi.out(
        "exec", "--privileged", box, "cat", "/proc/self/status"
    )


def test_environment_user_and_directory(onggi: Onggi, box: str) -> None:
    assert onggi.out("exec", box, "pwd") == "/var"
    assert onggi.out("exec", "-w", "/tmp", box, "pwd") == "/tmp"
    found = onggi.out("exec", "-e", "B=2", "-e", "A=3", box, "env").splitlines()
    assert {"A=3", "B=2", "HOME=/root"} <= set(found)
    assert "A=1" in onggi.out("exec", box, "env").splitlines()
    assert onggi.out("exec", "-u", "www-data", box, "id", "-un") == "www-data"
    assert onggi.out("exec", "--user", "5:7", box, "id").startswith("uid=5 gid=7")


def test_stdin(onggi: Onggi, box: str) -> None:
    assert onggi("exec", "-i", box, "cat", stdin="through\n").stdout == "through\n"
    assert onggi("exec", box, "cat", stdin="not wanted").stdout == ""
    assert onggi("exec", "-i", box, "wc", "-c", stdin="x" * 3_000_000).stdout == "3000000\n"
    onggi("exec", "-i", box, "true", stdin="never read" * 100_000)


def test_a_large_output_is_whole(onggi: Onggi, box: str) -> None:
    done = onggi("exec", box, "sh", "-c", "yes 0123456789 | head -c 10000000")
    assert len(done.stdout) == 10_000_000


def test_a_terminal(onggi: Onggi, box: str) -> None:
    with onggi.terminal("exec", "-it", "box", "sh", rows=20, columns=90) as terminal:
        terminal.expect("# ")
        terminal.send("stty size; tty; echo $TERM\n")
        terminal.expect("20 90")
        terminal.expect("/dev/pts/")
        terminal.expect("xterm")
        terminal.resize(30, 100)
        terminal.send("until stty size | grep '30 100'; do sleep 0.05; done\n")
        terminal.expect("\n30 100")
        terminal.send("\x10\x11")  # docker: the process goes on without us
        terminal.wait()
    assert onggi.out("exec", "box", "sh", "-c", "ps | grep -c '[ ]sh$'") == "1"


def test_detached(onggi: Onggi, box: str) -> None:
    assert onggi.out("exec", "-d", box, "sh", "-c", "echo done > /tmp/mark; exec sleep 500") == ""
    onggi.until("done", "exec", box, "cat", "/tmp/mark")
    assert "sleep 500" in onggi.out("top", box)


def test_what_cannot_be_executed(onggi: Onggi, box: str) -> None:
    done = onggi("exec", box, "nothing", code=127)
    assert done.stderr.startswith(
        "OCI runtime exec failed: exec failed: unable to start container process: "
        'exec: "nothing": executable file not found in $PATH'
    )
    done = onggi("exec", box, "/etc/passwd", code=126)
    assert 'exec: "/etc/passwd": permission denied' in done.stderr
    done = onggi("exec", "-u", "ghost", box, "true", code=126)
    assert "unable to find user ghost: no matching entries in passwd file" in done.stderr
    done = onggi("exec", "-it", box, "sh", code=1)
    assert done.stderr == "the input device is not a TTY\n"
    done = onggi("exec", box, code=1)
    assert "'onggi exec' requires at least 2 arguments" in done.stderr


def test_containers_that_do_not_run(onggi: Onggi, box: str) -> None:
    done = onggi("exec", "nowhere", "true", code=1)
    assert done.stderr.splitlines()[0] == "Error response from daemon: No such container: nowhere"
    onggi("pause", box)
    done = onggi("exec", box, "true", code=1)
    assert "Container box is paused, unpause the container before exec" in done.stderr
    onggi("unpause", box)
    onggi("kill", box)
    onggi("wait", box)
    done = onggi("exec", box, "true", code=1)
    assert (
        done.stderr.splitlines()[0] == f"Error response from daemon: container {box} is not running"
    )


def test_it_ends_with_its_container(onggi: Onggi, box: str) -> None:
    process = onggi.popen("exec", box, "sh", "-c", "echo ready; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    onggi("kill", box)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + signal.SIGKILL


def test_signals_reach_it(onggi: Onggi, box: str) -> None:
    with onggi.terminal("exec", "-it", box, "sleep", "77") as terminal:
        onggi.until("sleep 77", "top", box)
        terminal.send("\x03")
        assert terminal.wait() == 130
