"""Processes by pid and start time, never by a number alone."""

import os

from onggi.linux import process


def test_the_root_of_exactly_that_process() -> None:
    me = os.getpid()
    start = process.start_time(me)
    assert start is not None
    root = process.open_root(me, start)
    assert root is not None
    try:
        assert os.path.samestat(os.fstat(root), os.stat("/"))
    finally:
        os.close(root)
    assert process.open_root(me, start + 1) is None, "the number is another's by now"
    assert process.open_root(0, 0) is None


def test_an_ended_process_has_none() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    start = process.start_time(pid) or 0
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process.open_root(pid, start) is None
    os.waitpid(pid, 0)
