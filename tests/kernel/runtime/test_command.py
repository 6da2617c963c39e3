"""How a command is found, executed and ends: docker's words and exit codes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onggi.errors import CommandNotExecutable, CommandNotFound, InvalidInput, OnggiError

pytestmark = pytest.mark.root
Box = Any


@pytest.mark.parametrize(
    ("command", "error", "words"),
    [
        ("nope", CommandNotFound, 'exec: "nope": executable file not found in $PATH'),
        ("", CommandNotFound, 'exec: "": executable file not found in $PATH'),
        ("/x/y", CommandNotFound, 'exec: "/x/y": stat /x/y: no such file or directory'),
        ("/etc", CommandNotExecutable, 'exec: "/etc": is a directory'),
        ("/plain", CommandNotExecutable, 'exec: "/plain": permission denied'),
        ("/garbage", CommandNotExecutable, "exec /garbage: exec format error"),
        ("/no-interpreter", CommandNotFound, "exec /no-interpreter: no such file or directory"),
        ("/proc/self/exe", CommandNotExecutable, "magic link"),
        ("/through-self", CommandNotExecutable, "magic link"),
        ("/proc/self/fd/1", CommandNotExecutable, "exec:"),
    ],
)
@pytest.mark.sec("A1")
def test_what_cannot_be_executed(
    box: Box, layer: Callable[[str], Path], command: str, error: type[OnggiError], words: str
) -> None:
    files = layer("files")
    for name, content, mode in (
        ("plain", "x", 0o644),
        ("garbage", "\x01\x02garbage", 0o755),
        ("no-interpreter", "#!/bin/nope\n", 0o755),
        ("through-self", "#!/proc/self/exe\n", 0o755),
    ):
        (files / name).write_text(content)
        (files / name).chmod(mode)
    box.layers = (files,)
    with pytest.raises(error) as caught:
        box.run(command)
    assert words in caught.value.message
    assert caught.value.message.startswith("failed to create task for container: ")
    assert caught.value.exit_code == (127 if error is CommandNotFound else 126)


def test_a_user_may_not_execute_what_only_root_may(box: Box, layer: Callable[[str], Path]) -> None:
    files = layer("files")
    (files / "mine").write_text("#!/bin/sh\necho yes\n")
    (files / "mine").chmod(0o700)
    box.layers = (files,)
    assert box.run("/mine").out == "yes\n"
    with pytest.raises(CommandNotExecutable, match="permission denied"):
        box.run("/mine", user="1000")


def test_exit_codes_and_signals(box: Box) -> None:
    assert box.sh("exit 7").code == 7
    assert box.sh("kill -TERM $$; exit 3", init=False).code == 3  # process 1 ignores it
    assert box.sh("sh -c 'kill -9 $$'; echo $?").out == "137\n"


def test_killed_from_outside(box: Box) -> None:
    running = box.start("sleep", "60")
    os.kill(running.pid, 9)
    assert running.finish().code == -9


def test_streams(box: Box) -> None:
    result = box.sh("cat; echo err >&2")
    assert (result.out, result.err) == ("", "err\n")  # no stdin asked for: /dev/null
    assert box.run("cat", stdin=b"hello").out == "hello"


def test_a_user_owns_its_streams(box: Box) -> None:
    result = box.sh("echo out > /dev/stdout; echo err > /dev/stderr; stat -L -c %u /dev/stdout",
                    user="1000")  # fmt: skip
    assert result.out == "out\n1000\n"
    assert result.err == "err\n"


def test_working_directory(box: Box) -> None:
    assert box.run("/bin/pwd", cwd="/new/deep").out == "/new/deep\n"
    assert box.run("/bin/pwd", cwd="").out == "/\n"


@pytest.mark.sec("A2")
@pytest.mark.parametrize("number", range(0, 64, 7))
@pytest.mark.parametrize("rest", ["", "/../..", "/etc"])
def test_working_directory_through_a_descriptor_is_refused(
    box: Box, number: int, rest: str
) -> None:
    with pytest.raises(OnggiError, match="chdir to cwd"):
        box.run("/bin/pwd", cwd=f"/proc/self/fd/{number}{rest}")


def test_working_directory_that_is_a_file(box: Box) -> None:
    with pytest.raises(OnggiError, match=r"chdir to cwd .*not a directory"):
        box.run("/bin/pwd", cwd="/etc/passwd")


@pytest.mark.parametrize("user", ["", "0", "root", "1000", "1000:1000"])
def test_known_users(box: Box, user: str) -> None:
    result = box.sh("id -u; id -g", user=user)
    assert result.code == 0
    assert result.out.split()[0] == ("1000" if user.startswith("1000") else "0")


@pytest.fixture
def accounts(box: Box, layer: Callable[[str], Path]) -> Path:
    etc = layer("accounts") / "etc"
    etc.mkdir()
    (etc / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"
        "4294967296:x:0:0::/:/bin/sh\n"
    )
    (etc / "group").write_text("root:x:0:\nbob:x:1000:\nwheel:x:10:root,bob\nstaff:x:50:\n")
    box.layers = (etc.parent,)
    return etc


@pytest.mark.sec("B9")
def test_groups_are_exactly_the_images(box: Box, accounts: Path) -> None:
    who = "id -u; id -g; id -G; echo $HOME"
    assert box.sh(who, user="bob").out == "1000\n1000\n1000 10\n/home/bob\n"
    assert box.sh(who, user="bob:staff").out == "1000\n50\n50\n/home/bob\n"
    assert box.sh(who, user="bob", group_add=("staff", "77")).out.split("\n")[2] == "1000 10 50 77"
    assert box.sh(who, user="4000").out == "4000\n0\n0\n/\n"
    assert box.sh(who).out == "0\n0\n0 10\n/root\n"
    assert box.sh(who, user="bob", env=("HOME=/h", "PATH=/bin")).out.endswith("/h\n")


@pytest.mark.sec("C11")
@pytest.mark.parametrize(
    "user",
    ["1_0", "+1", "-1", "4294967295", "4294967296", " 0", "0 ", "a:b:c", "nosuch", "bob:nosuch",
     "0x0", "٣", "0\n", "bob:", ":", "00000000000", "99999999999999999999"],
)  # fmt: skip
def test_odd_users_are_refused(box: Box, accounts: Path, user: str) -> None:
    with pytest.raises(InvalidInput):
        box.run("true", user=user)


@pytest.mark.sec("A16")
@pytest.mark.parametrize("kind", ["fifo", "device", "huge", "many", "link", "directory"])
def test_hostile_passwd_files(box: Box, layer: Callable[[str], Path], kind: str) -> None:
    etc = layer("hostile") / "etc"
    etc.mkdir()
    passwd = etc / "passwd"
    match kind:
        case "fifo":
            os.mkfifo(passwd)
        case "device":
            os.mknod(passwd, 0o20666, os.makedev(1, 5))
        case "huge":
            with passwd.open("wb") as file:
                file.truncate(1 << 30)
        case "many":
            passwd.write_bytes(b"u:x:1:1:::\n" * 200_000)
        case "link":
            passwd.symlink_to("/proc/self/environ")
        case "directory":
            passwd.mkdir()
    box.layers = (etc.parent,)
    with pytest.raises(InvalidInput):
        box.run("true", user="somebody")
    assert box.run("true").code == 0  # root needs no passwd


def test_rlimits_are_set_and_clamped(box: Box) -> None:
    limits = (("nofile", 100, 200), ("core", 0, 0))
    assert box.sh("ulimit -Sn; ulimit -Hn; ulimit -c", rlimits=limits).out == "100\n200\n0\n"
    assert box.run("true", rlimits=(("nofile", 1 << 30, 1 << 30),)).code == 0


def test_oom_score(box: Box) -> None:
    assert box.sh("cat /proc/self/oom_score_adj", oom_score_adj=500).out == "500\n"


def test_no_new_privileges(box: Box) -> None:
    out = box.sh("grep NoNewPrivs /proc/self/status", no_new_privileges=True).out
    assert out.split() == ["NoNewPrivs:", "1"]
