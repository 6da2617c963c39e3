"""Files between a client and us: fsutil's protocol on a stream, a tar archive on our side.

    they: STAT, STAT, … an empty STAT          what there is, in order
    we:   REQ 3, REQ 7, …                      whose contents we want
    they: DATA 3, DATA 7, DATA 3, DATA 3 ""    an empty one ends a file
    we:   FIN    they: FIN

Received names are only ever names in an archive: nothing here makes a file of them. An archive is
written in one pass, every content at the place that its STAT's size gives it; a file that turns
out to have another size is an error. Sending is the other way round.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable

from ...errors import InvalidInput, OnggiError, Unavailable
from ...store import tarindex, tarwrite
from ...typed import NamedTuple
from .grpc import Outgoing
from .http2 import Headers
from .messages_pb2 import Packet, Stat
from .sessions import Session
from .wire import parsed

STAT, REQ, DATA, FIN, ERR = range(5)
DIRECTORY, SYMLINK, PIPE, SOCKET, DEVICE = 1 << 31, 1 << 27, 1 << 25, 1 << 24, 1 << 26
_SETUID, _SETGID, _CHARACTER, _STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_TYPES = DIRECTORY | SYMLINK | PIPE | SOCKET | DEVICE | _CHARACTER | (1 << 19)
MAX_ENTRIES = 2_000_000
MAX_FILE_BYTES = 1 << 40
MAX_PATH = 4096
_ASKED = 64  # files under way at once
_PIECE = 32 << 10
_TOP = tarwrite.header(b"./", tarindex.DIRECTORY, mode=0o755)  # an archive also of no files
_RECEIVE = "/moby.filesync.v1.FileSync/DiffCopy"
_SEND = "/moby.filesync.v1.FileSend/DiffCopy"


class Wanted(NamedTuple):
    """A client's directory by its name, and what of it."""

    name: str
    follow: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


def receive(session: Session, wanted: Wanted, fd: int, progress: Callable[[int], None]) -> int:
    """The files as an archive in `fd`, from its start; how many bytes came. Raises InvalidInput
    with what the client says, Failed, Gone."""
    if not session.offers(_RECEIVE):
        raise InvalidInput("no local sources enabled")
    call = session.caller.call(_RECEIVE, _metadata(wanted))
    receiving = _Receiving(call, fd, progress)
    try:
        return receiving.run()
    except OnggiError as error:
        _tell(call, error.message)
        raise
    except OSError as error:
        _tell(call, "cannot keep the files")
        raise Unavailable(f"cannot keep the build context: {error.strerror}") from error


def _metadata(wanted: Wanted) -> Headers:
    found: Headers = []
    for name, values in (
        ("dir-name", (wanted.name,)),
        ("followpaths", wanted.follow),
        ("exclude-patterns", wanted.excludes),
    ):
        if any(not value.isascii() or not value.isprintable() for value in values):
            from urllib.parse import quote_plus

            found.append((f"{name}-encoded", "1"))
            values = tuple(map(quote_plus, values))
        found += [(name, value) for value in values]
    return found


def _tell(call: Outgoing, text: str) -> None:
    """The client gives up too."""
    from ...httpd.exchange import Gone

    try:
        call.send(Packet(type=ERR, data=text[:2000].encode()).SerializeToString())
        call.give_up()
    except Gone:
        pass


class _Open:
    """A file whose contents come: where the next bytes belong, and how many are missing."""

    __slots__ = ("at", "left", "path")

    def __init__(self, path: str, at: int, left: int) -> None:
        self.path = path
        self.at = at
        self.left = left


class _Receiving:
    def __init__(self, call: Outgoing, fd: int, progress: Callable[[int], None]) -> None:
        self._call = call
        self._fd = fd
        self._progress = progress
        self._waiting: deque[tuple[int, _Open]] = deque()
        self._open: dict[int, _Open] = {}
        self._count = 0
        self._at = 0  # the end of the archive so far
        self._got = 0
        self._last: list[str] = []

    def run(self) -> int:
        listed = False
        self._at = len(_TOP)
        self._write(_TOP, 0)
        while not (listed and not self._waiting and not self._open):
            packet = self._next()
            if packet.type == STAT and not packet.HasField("stat"):
                listed = True
            elif packet.type == STAT and not listed:
                self._stat(packet.stat)
            elif packet.type == DATA:
                self._data(packet)
            else:
                raise InvalidInput(f"unexpected packet {packet.type} while files were sent")
            self._ask()
        self._write(tarwrite.END_OF_ARCHIVE, self._at)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._call.send(Packet(type=FIN).SerializeToString())
        while self._call.receive() is not None:
            pass
        self._call.close()
        return self._got

    def _next(self) -> Packet:
        message = self._call.receive()
        if message is None:
            raise InvalidInput("the client stopped in the middle of its files")
        packet = parsed(Packet, message)
        if packet.type == ERR:
            raise InvalidInput(f"error from sender: {packet.data[:2000].decode(errors='replace')}")
        self._got += len(message)
        return packet

    def _stat(self, stat: Stat) -> None:
        number = self._count
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise InvalidInput(f"the build context has more than {MAX_ENTRIES} files")
        self._check(stat.path)
        entry = _entry(stat)
        if entry is None:
            return
        kind, size, link = entry
        head = tarwrite.header(
            stat.path.encode("utf-8", "surrogateescape"), kind,
            mode=permissions(stat.mode), uid=stat.uid, gid=stat.gid, size=size,
            mtime_ns=stat.modTime, link=link, xattrs=_xattrs(stat),
        )  # fmt: skip
        self._write(head, self._at)
        start = self._at + len(head)
        self._at = start + size + len(tarwrite.padding(size))
        if size:
            self._write(tarwrite.padding(size), start + size)
            self._waiting.append((number, _Open(stat.path, start, size)))

    def _check(self, path: str) -> None:
        """In order and below the root, as a walk gives them. Raises InvalidInput."""
        parts = path.split("/")
        if len(path) > MAX_PATH or any(p in ("", ".", "..") or "\0" in p for p in parts):
            raise InvalidInput(f"invalid name of a file in the build context: {path[:200]!r}")
        if parts <= self._last:
            raise InvalidInput(f"the files of the build context are out of order at {path[:200]!r}")
        self._last = parts

    def _ask(self) -> None:
        while self._waiting and len(self._open) < _ASKED:
            number, file = self._waiting.popleft()
            self._open[number] = file
            self._call.send(Packet(type=REQ, ID=number).SerializeToString())

    def _data(self, packet: Packet) -> None:
        file = self._open.get(packet.ID)
        if file is None:
            raise InvalidInput(f"invalid file request {packet.ID}")
        if len(packet.data) > file.left or (file.left and not packet.data):
            raise InvalidInput(f"{file.path} changed while it was sent: build again")
        if not packet.data:
            del self._open[packet.ID]
            return
        self._write(packet.data, file.at)
        file.at += len(packet.data)
        file.left -= len(packet.data)
        self._progress(self._got)

    def _write(self, data: bytes, at: int) -> None:
        while data:
            done = os.pwrite(self._fd, data, at)
            data, at = data[done:], at + done


def permissions(mode: int) -> int:
    """Unix' bits of Go's."""
    special = (_SETUID, 0o4000), (_SETGID, 0o2000), (_STICKY, 0o1000)
    return (mode & 0o777) | sum(bit for flag, bit in special if mode & flag)


def go_mode(entry: tarindex.TarEntry) -> int:
    """Go's bits of what a tar has."""
    kinds = {
        tarindex.DIRECTORY: DIRECTORY,
        tarindex.SYMLINK: SYMLINK,
        tarindex.FIFO: PIPE,
        tarindex.BLOCK: DEVICE,
        tarindex.CHARACTER: DEVICE | _CHARACTER,
    }
    special = (_SETUID, 0o4000), (_SETGID, 0o2000), (_STICKY, 0o1000)
    bits = sum(flag for flag, bit in special if entry.mode & bit)
    return kinds.get(entry.kind, 0) | (entry.mode & 0o777) | bits


def _entry(stat: Stat) -> tuple[bytes, int, bytes] | None:
    """Kind, size and link of an archive's member; None for a socket. Raises InvalidInput."""
    kind = stat.mode & _TYPES
    link = stat.linkname.encode("utf-8", "surrogateescape")
    if len(link) > MAX_PATH:
        raise InvalidInput(f"{stat.path[:200]}: its link is longer than {MAX_PATH} bytes")
    if kind == DIRECTORY:
        return tarindex.DIRECTORY, 0, b""
    if kind == SYMLINK:
        return tarindex.SYMLINK, 0, link
    if kind == PIPE:
        return tarindex.FIFO, 0, b""
    if kind == SOCKET:
        return None
    if kind:
        raise InvalidInput(
            f"{stat.path[:200]} in the build context is a device node, which layers may not have",
            hint="exclude it in .dockerignore",
        )
    if link:
        return tarindex.HARDLINK, 0, link
    if not 0 <= stat.size <= MAX_FILE_BYTES:
        raise InvalidInput(f"{stat.path[:200]}: a file of {stat.size} bytes")
    return tarindex.REGULAR, stat.size, b""


def _xattrs(stat: Stat) -> tarwrite.Xattrs:
    """Those that a layer keeps."""
    kept = [
        name
        for name in sorted(stat.xattrs)
        if name == "security.capability"
        or (name.startswith("user.") and not name.startswith("user.overlay."))
    ]
    return tuple((name.encode(), stat.xattrs[name]) for name in kept)


# -- to the client


def send_file(session: Session, exporter: int, metadata: Headers, fd: int) -> None:
    """All of `fd` as the one file of an exporter. Raises InvalidInput, Failed, Gone."""
    call = _sending(session, exporter, metadata)
    from .messages_pb2 import Bytes

    at = 0
    while data := os.pread(fd, 1 << 20, at):
        call.send(Bytes(data=data).SerializeToString())
        at += len(data)
    call.end()
    while call.receive() is not None:
        pass


def send_tree(
    session: Session, exporter: int, entries: Iterable[tarindex.TarEntry], fd: int
) -> None:
    """The members of the archive in `fd` as files of an exporter's folder. Raises InvalidInput,
    Failed, Gone."""
    files = sorted((e for e in entries if e.path), key=lambda entry: entry.path.split(b"/"))
    call = _sending(session, exporter, [("buildkit-exporter-multi-platform", "1")])
    for entry in files:
        call.send(Packet(type=STAT, stat=_stat_of(entry)).SerializeToString())
    call.send(Packet(type=STAT).SerializeToString())
    while (message := call.receive()) is not None:
        packet = parsed(Packet, message)
        if packet.type == ERR:
            text = packet.data[:2000].decode(errors="replace")
            raise InvalidInput(f"error from receiver: {text}")
        if packet.type == FIN:
            call.send(Packet(type=FIN).SerializeToString())
            call.end()
        elif packet.type == REQ and len(files) > packet.ID:
            _send_content(call, packet.ID, files[packet.ID], fd)
        else:
            raise InvalidInput(f"unexpected packet {packet.type} while files were sent")


def _sending(session: Session, exporter: int, metadata: Headers) -> Outgoing:
    if not session.offers(_SEND):
        raise InvalidInput(f"method {_SEND} not supported by the client")
    return session.caller.call(
        _SEND, [("buildkit-attachable-exporter-id", str(exporter)), *metadata]
    )


def _stat_of(entry: tarindex.TarEntry) -> Stat:
    link = entry.link if entry.kind in (tarindex.SYMLINK, tarindex.HARDLINK) else b""
    return Stat(
        path=os.fsdecode(entry.path).encode("utf-8", "replace").decode(),
        mode=go_mode(entry),
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        modTime=entry.mtime_ns,
        linkname=link.decode("utf-8", "replace"),
        devmajor=entry.device[0],
        devminor=entry.device[1],
        xattrs={name.decode("utf-8", "replace"): value for name, value in entry.xattrs},
    )


def _send_content(call: Outgoing, number: int, entry: tarindex.TarEntry, fd: int) -> None:
    at, end = entry.data_offset, entry.data_offset + entry.size
    while at < end and (data := os.pread(fd, min(_PIECE, end - at), at)):
        call.send(Packet(type=DATA, ID=number, data=data).SerializeToString())
        at += len(data)
    call.send(Packet(type=DATA, ID=number).SerializeToString())
