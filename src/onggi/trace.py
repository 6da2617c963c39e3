"""Where a command's time goes: `onggi --trace run …` prints what each process did and for how long.

All processes of one command append to one file in memory that they inherit; the command shows it
when it ends. Off, a mark costs 50 nanoseconds.
"""

import os
import time

_fd = -1
_who = "command"


def start(began_ns: int, used_ns: int) -> None:
    """Trace from now on; our interpreter and our launcher had taken `used_ns` of CPU time when they
    came to our first line at `began_ns` (CLOCK_MONOTONIC)."""
    global _fd
    _fd = os.memfd_create("onggi-trace", os.MFD_CLOEXEC)
    _write(began_ns - used_ns, "")
    _write(began_ns, "interpreter started")
    mark("tracing")


def mark(phase: str) -> None:
    """`phase` is done: it took the time since this process's mark before, or since its birth."""
    if _fd >= 0:
        _write(time.monotonic_ns(), phase)


def born(who: str) -> None:
    """First thing in a child: its marks are its own."""
    global _who
    if _fd >= 0:
        _who = who
        _write(time.monotonic_ns(), "")


def descriptors() -> tuple[int, ...]:
    """What a child must not close."""
    return (_fd,) if _fd >= 0 else ()


def _write(now_ns: int, phase: str) -> None:
    os.write(_fd, f"{now_ns}\t{_who}\t{phase}\n".encode())


def table() -> list[tuple[float, float, str, str]]:
    """(milliseconds since the start, milliseconds it took, process, phase) in order of time; empty
    when nothing is traced. Processes that go on may have more to tell later."""
    if _fd < 0:
        return []
    text = os.pread(_fd, os.fstat(_fd).st_size, 0).decode()
    marks = sorted(
        (int(at), who, phase) for at, who, phase in (line.split("\t") for line in text.splitlines())
    )
    last: dict[str, int] = {}
    rows = []
    for at, who, phase in marks:
        if phase:
            rows.append(((at - marks[0][0]) / 1e6, (at - last[who]) / 1e6, who, phase))
        last[who] = at
    return rows
