"""A log file that is rotated by size: FILE, FILE.1, FILE.2 … from the newest to the oldest.

With compression an older generation becomes FILE.N.gz, made by a child of its own so that nobody
waits for it. The gzip header carries the inode number of the plain file as its name: a reader that
still holds that file finds its place among the generations.
"""

import os
import select

from ..linux.process import close_range, pidfd_send_signal

PATIENCE_S = 1.0  # how long a rotation may wait for the compression before


class RotatedFile:
    """Appends to `path`; keeps at most `max_files` files of about `max_bytes` (0: no limit)."""

    def __init__(
        self, path: str, max_bytes: int, max_files: int, *, compress: bool = False
    ) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._compress = compress
        self._child: tuple[int, int] | None = None  # pid, pidfd
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o640)

    def append(self, data: bytes) -> None:
        """Whole records: a rotation follows them, it never cuts them."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:  # a full disk loses log lines, never the container, and tears none
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - (len(data) - len(view)))
            return
        self._size += len(data)
        if 0 < self._max_bytes <= self._size:
            self._rotate()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes fit without a rotation."""
        return not self._max_bytes or self._size + size < self._max_bytes

    def close(self) -> None:
        self._await_compression()
        os.close(self._fd)

    def _rotate(self) -> None:
        self._await_compression()
        try:
            if self._max_files <= 1:
                _unlink(self._path)
            for number in range(self._max_files - 1, 0, -1):
                self._shift(number)
            fresh = self._open()
        except OSError:
            self._size = 0  # the open file goes on, and is rotated when so much more has come
            return
        os.close(self._fd)
        self._fd = fresh
        self._size = os.fstat(self._fd).st_size
        if self._compress and self._max_files > 1:
            self._start_compression(f"{self._path}.1")

    def _shift(self, number: int) -> None:
        """Make the generation `number` of the one that is newer by one."""
        newer = f"{self._path}.{number - 1}" if number > 1 else self._path
        older = f"{self._path}.{number}"
        for suffix in ("", ".gz"):
            _unlink(older + suffix)
        for suffix in ("", ".gz"):
            try:
                os.rename(newer + suffix, older + suffix)
            except FileNotFoundError:
                continue

    def _start_compression(self, path: str) -> None:
        try:
            pid = os.fork()
        except OSError:
            return  # the generation stays as it is
        if pid == 0:
            _compress_and_exit(path)
        self._child = (pid, os.pidfd_open(pid))

    def _await_compression(self) -> None:
        """Let the child finish; one that takes too long is stopped, its file stays plain."""
        if self._child is None:
            return
        pid, pidfd = self._child
        self._child = None
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(PATIENCE_S * 1000):
            pidfd_send_signal(pidfd, 9)
        os.waitpid(pid, 0)
        os.close(pidfd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _compress_and_exit(path: str) -> None:
    """The child: never returns, holds nothing of its parent's."""
    status = 1
    try:
        close_range(3)
        compress_file(path)
        status = 0
    finally:
        os._exit(status)


def compress_file(path: str) -> None:
    """`path` becomes `path`.gz, complete or not at all."""
    import zlib

    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    target = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o640)
    name = str(os.fstat(source).st_ino).encode()
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    crc = size = 0
    with open(target, "wb", closefd=False) as out:
        out.write(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + name + b"\0")
        while data := os.read(source, 1 << 18):
            crc, size = zlib.crc32(data, crc), size + len(data)
            out.write(packer.compress(data))
        out.write(packer.flush())
        out.write(crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))
    here = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    # A directory descriptor makes Python call linkat, the only form that can follow the link.
    os.link(str(target), f"{path}.gz", src_dir_fd=here, follow_symlinks=True)
    os.unlink(path)
    for fd in (source, target, here):
        os.close(fd)


def inode_in_header(head: bytes) -> int:
    """The inode number that a compressed generation carries; 0 when it is not one of ours."""
    if head[:4] != b"\x1f\x8b\x08\x08":
        return 0
    name = head[10:].partition(b"\0")[0]
    return int(name) if name.isdigit() else 0
