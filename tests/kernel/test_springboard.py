"""The last step before a container's command, executed for real."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from onggi.linux import bpf, process, seccomp, springboard

SHOW = ["sh", "-c", 'readlink /proc/self/exe; echo "$0 $1 $A"; ls /proc/self/fd', "zero", "one"]


def spring(
    path: str, args: list[str], before: Callable[[], None] = lambda: None
) -> tuple[int, bytes, bytes]:
    """Exit code, output, report."""
    out_r, out_w = os.pipe()
    report_r, report_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            before()
            os.dup2(out_w, 1)
            process.close_range(3, min(out_w, report_w) - 1)
            process.close_range_cloexec(3)
            fd = springboard.make(report_w)
            os.set_inheritable(report_w, True)
            os.execve(fd, [path, *args], {"A": "a", "PATH": "/bin:/usr/bin"})
        finally:
            os._exit(99)
    os.close(out_w)
    os.close(report_w)
    with open(out_r, "rb") as out, open(report_r, "rb") as report:
        texts = out.read(), report.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), *texts


def test_the_command_gets_its_arguments_and_no_report() -> None:
    code, out, report = spring("/bin/sh", SHOW)
    assert (code, report) == (0, b"")
    lines = out.decode().split("\n")
    assert os.path.basename(lines[0]) in ("readlink", "coreutils", "busybox")
    assert lines[1] == "zero one a"
    assert lines[2:-1] == ["0", "1", "2", "3"]  # 3 is ls's own


@pytest.mark.parametrize(("path", "number"), [("/nonexistent/x" * 20, 2), ("/etc/passwd", 13)])
def test_a_failure_is_reported(path: str, number: int) -> None:
    code, out, report = spring(path, ["x"])
    found = springboard.failure(report)
    assert code == 1 and out == b"" and found is not None
    assert (found[0].errno, found[1]) == (number, path)


def test_other_reports_are_none_of_ours() -> None:
    assert springboard.failure(b"") is None
    assert springboard.failure(b"Enot-found\0step\0002\0text") is None


@pytest.mark.sec("A1")
def test_the_program_that_executes_is_the_sealed_file(tmp_path: Path) -> None:
    """Executing /proc/self/exe from there means the springboard, which cannot be written."""
    fd = springboard.make(1)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    code, out, report = spring("/proc/self/exe", ["/proc/self/exe", "/bin/echo", "echo", "x"])
    assert b"x" in out and code == 0, (out, report)


def test_a_limit_on_file_sizes_is_an_error_and_no_signal() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try:
            springboard.make(1)
        except OSError:
            os._exit(42)

    assert spring("/bin/true", ["true"], limit)[0] == 42


def test_filters(tmp_path: Path) -> None:
    allow = bpf.Assembler()
    assert springboard.passes(allow.finish(allow.ret(0x7FFF0000)))
    refuse = bpf.Assembler()
    assert not springboard.passes(refuse.finish(refuse.ret(0x50001)))
    assert springboard.passes(b"")
    assert springboard.passes(seccomp.cached_program(str(tmp_path), "", frozenset()))
