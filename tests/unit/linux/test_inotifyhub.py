"""Many watches over one instance."""

import os
import select
from pathlib import Path

from onggi.linux import inotify
from onggi.linux.inotifyhub import Hub


def readable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def test_everybody_who_watches_is_woken(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    hub = Hub()
    hub.start()
    watchers = [hub.watch(str(here)) for _ in range(200)]
    other = hub.watch(str(there))
    (here / "file").touch()
    assert all(readable(fd, 60) for fd in watchers)
    assert not readable(other, 0)
    inotify.drain(watchers[0])
    assert hub.release(watchers[1])
    assert not hub.release(watchers[1])
    (here / "another").touch()
    assert readable(watchers[0], 60)
    before = len(os.listdir("/proc/self/fd"))
    for fd in (watchers[0], *watchers[2:], other):
        assert hub.release(fd)
    assert len(os.listdir("/proc/self/fd")) == before - 200
    again = hub.watch(str(here))
    (here / "third").touch()
    assert readable(again, 60)
    assert hub.release(again)


def test_a_directory_that_goes(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    hub = Hub()
    hub.start()
    watcher = hub.watch(str(gone))
    gone.rmdir()
    assert hub.release(watcher)
