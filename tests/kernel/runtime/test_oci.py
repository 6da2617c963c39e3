"""onggi-runtime as engines call it: a bundle, the verbs, one-line errors, nothing left."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_bundle import PROGRAM, Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def runtime(busybox_rootfs: Path, tmp_path: Path) -> Iterator[Runtime]:
    found = Runtime(tmp_path / "state", tmp_path / "bundle", busybox_rootfs)
    try:
        yield found
    finally:
        for name in found("list", "-q").split():
            found("delete", "--force", name)
        assert found("list", "-q") == ""


def test_run_to_the_end(runtime: Runtime) -> None:
    runtime.args("sh", "-c", "id -u; hostname; echo err >&2; exit 7")
    done = runtime.raw("run", "c1")
    assert (done.returncode, done.stdout, done.stderr) == (7, "0\nonggi\n", "err\n")
    assert runtime("list", "-q") == ""


def test_standard_input(runtime: Runtime) -> None:
    runtime.args("cat")
    done = subprocess.run(
        [str(PROGRAM), "--root", str(runtime.root), "run", "c1"],
        cwd=runtime.bundle, input="typed", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "typed")


def test_the_life_of_a_container(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sleep", "60")
    runtime.detached("create", "--pid-file", str(tmp_path / "pid"), "c1")
    state = json.loads(runtime("state", "c1"))
    assert state["status"] == "created"
    assert state["pid"] == int((tmp_path / "pid").read_text())
    assert state["bundle"] == str(runtime.bundle)
    assert "already exists" in runtime.raw("create", "c1").stderr
    runtime("start", "c1")
    assert runtime.status("c1") == "running"
    assert "cannot start" in runtime.raw("start", "c1").stderr
    assert "sleep" in runtime("ps", "c1")
    assert json.loads(runtime("ps", "--format", "json", "c1")) == [state["pid"]]
    assert json.loads(runtime("list", "--format", "json"))[0]["id"] == "c1"
    assert "that is not stopped" in runtime.raw("delete", "c1").stderr
    runtime("pause", "c1")
    assert runtime.status("c1") == "paused"
    runtime("resume", "c1")
    runtime("kill", "c1", "KILL")
    pidfd_wait(state["pid"])
    assert json.loads(runtime("state", "c1"))["pid"] == 0
    assert "container not running" in runtime.raw("kill", "c1").stderr
    runtime("delete", "c1")
    assert "does not exist" in runtime.raw("state", "c1").stderr


def pidfd_wait(pid: int) -> None:
    from onggi.linux import process

    try:
        pidfd = process.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert process.pidfd_wait(pidfd, 60)
    os.close(pidfd)


def test_exec(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sleep", "60")
    runtime.detached("run", "--detach", "c1")
    words = ("exec", "--env", "A=b", "--cwd", "/etc", "--user", "1000:50", "c1")
    assert runtime(*words, "sh", "-c", "echo $A; pwd; id -u; id -g") == "b\n/etc\n1000\n50\n"
    runtime("exec", "c1", "sh", "-c", "exit 9", code=9)
    runtime("exec", "c1", "sh", "-c", "kill -9 $$", code=137)
    done = runtime.raw("exec", "c1", "nope")
    assert done.returncode == 1
    assert done.stderr == 'onggi-runtime: exec: "nope": executable file not found in $PATH\n'
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["pwd"], "cwd": "/bin", "env": ["PATH=/bin"]}))
    assert runtime("exec", "--process", str(process), "c1") == "/bin\n"


def test_a_foreground_container_gets_our_signals(runtime: Runtime) -> None:
    runtime.args("sh", "-c", "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.05; done")
    child = subprocess.Popen(
        [str(PROGRAM), "--root", str(runtime.root), "run", "c1"],
        cwd=runtime.bundle, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.terminate()
    assert child.communicate(timeout=120)[0] == "got\n"
    assert child.returncode == 5


def test_a_console_socket(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sh", "-c", "tty; read x; echo [$x]", terminal=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.settimeout(60)
    with listener:
        runtime.detached("create", "--console-socket", str(tmp_path / "s"), "c1")
        connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    runtime("start", "c1")
    os.write(fds[0], b"hi\n")
    seen = b""
    while b"[hi]" not in seen:
        seen += os.read(fds[0], 1000)
    os.close(fds[0])
    assert b"/dev/pts/0\r\n" in seen  # the echo of what was typed may come first


def test_a_console_socket_in_the_foreground(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sh", "-c", "echo hi; exit 4", terminal=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.settimeout(60)
    with listener:
        words = ("--root", str(runtime.root), "run", "--console-socket", str(tmp_path / "s"), "c1")
        with subprocess.Popen(
            [PROGRAM, *words],
            cwd=runtime.bundle, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        ) as child:  # fmt: skip
            connection, _ = listener.accept()
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 100, 1)
            assert child.communicate(timeout=120)[1] == ""
    assert os.read(fds[0], 100) == b"hi\r\n"
    os.close(fds[0])
    assert child.returncode == 4


def test_a_console_socket_that_nobody_listens_at_leaves_nothing(runtime: Runtime) -> None:
    runtime.args("sleep", "60", terminal=True)
    runtime("create", "--console-socket", "/nowhere", "c1", code=1)
    assert "c1" not in runtime("list", "-q")


def test_a_terminal_in_the_foreground(runtime: Runtime) -> None:
    import pty

    runtime.args("sh", "-c", "stty size; read x; echo [$x]; exit 3", terminal=True)
    pid, master = pty.fork()
    if pid == 0:
        os.chdir(runtime.bundle)
        os.execv(PROGRAM, [str(PROGRAM), "--root", str(runtime.root), "run", "c1"])
    from onggi.linux import pty as ours

    ours.set_size(master, 33, 99)
    os.write(master, b"hello\n")
    seen = b""
    while True:
        try:
            seen += os.read(master, 1000)
        except OSError:
            break
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    assert b"[hello]" in seen


@pytest.mark.parametrize("hook", ["prestart", "createRuntime", "poststart", "poststop"])
def test_hooks(runtime: Runtime, tmp_path: Path, hook: str) -> None:
    target = tmp_path / "hooked"
    script = f'cat > {target}; printf %s "$1" >> {target}'
    runtime.config["hooks"] = {hook: [{"path": "/bin/sh", "args": ["sh", "-c", script, "-", "!"]}]}
    runtime.args("true")
    runtime("run", "c1")
    text = target.read_text()
    assert text.endswith("!")
    assert json.loads(text[:-1])["id"] == "c1"
    runtime.config["hooks"] = {hook: [{"path": "/bin/false"}]}
    runtime.write()
    failed = runtime.raw("run", "c2")
    assert (failed.returncode != 0) == (hook != "poststop")
    assert runtime("list", "-q") == ""


def test_limits_and_update(runtime: Runtime) -> None:
    runtime.config["linux"]["resources"]["pids"] = {"limit": 30}
    runtime.config["linux"]["resources"]["memory"] = {"limit": 32 << 20}
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    runtime("update", "--pids-limit", "31", "--memory", str(64 << 20), "c1")
    runtime("update", "--pids-limit", "x", "c1", code=1)


def test_a_seccomp_profile(runtime: Runtime) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    runtime.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    runtime.args("sh", "-c", "mkdir /tmp/x; grep Seccomp: /proc/self/status", noNewPrivileges=False)
    done = runtime.raw("run", "c1")
    assert "Function not implemented" in done.stderr
    assert done.stdout.split() == ["Seccomp:", "2"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("bogus",), "no such command 'bogus'"),
        (("stat",), "no such command 'stat'"),
        (("run",), "run wants: ID"),
        (("run", "--nope", "c"), "flag provided but not defined: --nope"),
        (("run", "--bundle"), "flag needs an argument: --bundle"),
        (("run", "../x"), "invalid id format: '../x'"),
        (("run", ".."), "invalid id format: '..'"),
        (("run", "a/b"), "invalid id format: 'a/b'"),
        (("state", "nosuch"), "container 'nosuch' does not exist"),
        (("kill", "nosuch", "BOGUS"), "container 'nosuch' does not exist"),
        (("delete", "nosuch"), "container 'nosuch' does not exist"),
        (("run", "--bundle", "/nowhere", "c"), "/nowhere/config.json not found"),
        (("run", "--preserve-fds", "x", "c"), "invalid value 'x' for --preserve-fds"),
        (("--cgroup-manager", "systemd", "list"), "the systemd cgroup manager is not supported"),
        (("events", "--interval", "x", "c"), "container 'c' does not exist"),
        (("run", "--no-pivot", "c"), "--no-pivot is not supported"),
    ],
)
def test_errors_are_one_line(runtime: Runtime, words: tuple[str, ...], text: str) -> None:
    done = runtime.raw(*words)
    assert done.returncode == 1
    first, *rest = done.stderr.splitlines()
    assert first.startswith("onggi-runtime: ") and text in first
    assert all(line.startswith("hint: ") for line in rest)


def test_an_error_goes_to_the_log_too(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runtime.raw("--log", str(log), "--log-format", "json", "state", "nosuch")
    entry = json.loads(log.read_text())
    assert (entry["level"], entry["msg"]) == ("error", "container 'nosuch' does not exist")


def test_a_failed_create_leaves_nothing(runtime: Runtime) -> None:
    runtime.args("nope")
    done = runtime.raw("create", "c1")
    assert 'exec: "nope": executable file not found in $PATH' in done.stderr
    assert runtime("list", "-q") == ""
    assert not (runtime.root / "c1").exists()


def test_delete_force_of_nothing(runtime: Runtime) -> None:
    runtime("delete", "--force", "nosuch")


def test_features_and_version(runtime: Runtime) -> None:
    features = json.loads(runtime("features"))
    assert "mount" in features["linux"]["namespaces"]
    assert "onggi-runtime version" in runtime("--version")
    assert "create" in runtime("--help")
