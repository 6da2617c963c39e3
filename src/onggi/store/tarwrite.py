"""Tar bytes, written deterministically. Sans-IO: records in, bytes to a `write` callback.

Owns the headers: ustar, plus one pax header when a field does not fit (long names, large numbers,
extended attributes, exact times). Times are whole seconds unless asked for, as docker writes
layers; user and group names, access and change times are never written. The same calls always give
the same bytes. Never opens a file.
"""

from collections.abc import Callable, Mapping

from ..errors import InvalidInput
from ..typed import Final
from .tarindex import (
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    printable,
    sum_of,
)

END_OF_ARCHIVE: Final = bytes(1024)
WHITEOUT_PREFIX: Final = b".wh."
_ZEROS = bytes(512)
_PIECE = 1 << 20
_MAX_OCTAL_7, _MAX_OCTAL_11 = 0o7777777, 0o77777777777
_MAX_PATH = 4096
Xattrs = tuple[tuple[bytes, bytes], ...]
Name = str | bytes


def header(
    path: bytes,
    kind: bytes,
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime_ns: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Xattrs = (),
) -> bytes:
    """The records in front of a member's data. `mtime_ns` is written exactly; round it before."""
    pax = {b"SCHILY.xattr." + name: value for name, value in xattrs}
    prefix, name = _split(path)
    if name is None:
        pax[b"path"], name = path, path[:100]
    if len(link) > 100:
        pax[b"linkpath"], link = link, link[:100]
    uid = _fit(pax, b"uid", uid, _MAX_OCTAL_7)
    gid = _fit(pax, b"gid", gid, _MAX_OCTAL_7)
    size = _fit(pax, b"size", size, _MAX_OCTAL_11)
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    if nanoseconds or not 0 <= seconds <= _MAX_OCTAL_11:
        pax[b"mtime"] = _time(mtime_ns)
        seconds = min(max(seconds, 0), _MAX_OCTAL_11)
    block = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0        %b%bustar\x0000%b%07o\0%07o\0%b%b" % (
        name.ljust(100, b"\0"), mode & 0o7777, uid, gid, size, seconds, kind,
        link.ljust(100, b"\0"), _ZEROS[:64], device[0], device[1], prefix.ljust(155, b"\0"),
        _ZEROS[:12],
    )  # fmt: skip
    record = block[:148] + b"%06o\0 " % sum_of(block) + block[156:]
    return _pax_header(pax) + record if pax else record


def padding(size: int) -> bytes:
    """The zeros that follow `size` bytes of data."""
    return _ZEROS[: -size % 512]


def _split(path: bytes) -> tuple[bytes, bytes | None]:
    """ustar's prefix and name; name None when the path fits neither way."""
    if len(path) <= 100:
        return b"", path
    slash = path.find(b"/", max(len(path) - 101, 1))
    if 0 < slash <= 155 and slash + 1 < len(path):
        return path[:slash], path[slash + 1 :]
    return b"", None


def _fit(pax: dict[bytes, bytes], key: bytes, value: int, limit: int) -> int:
    if value <= limit:
        return value
    pax[key] = b"%d" % value
    return 0


def _time(mtime_ns: int) -> bytes:
    sign = b"-" if mtime_ns < 0 else b""
    seconds, nanoseconds = divmod(abs(mtime_ns), 1_000_000_000)
    text = b"%b%d.%09d" % (sign, seconds, nanoseconds)
    return text.rstrip(b"0").rstrip(b".")


def _pax_header(pax: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(_pax_record(key, pax[key]) for key in sorted(pax))
    return header(b"PaxHeaders.0/onggi", b"x", size=len(body)) + body + padding(len(body))


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Its length counts its own digits."""
    rest = b" %b=%b\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%b" % (length, rest)


class LayerWriter:
    """A tar stream, member by member; `finish` ends it.

    Paths are relative to the root of the layer; a leading slash is dropped. `mtime_clamp_s`: no
    time written is later (SOURCE_DATE_EPOCH).
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        exact_times: bool = False,
        mtime_clamp_s: int | None = None,
    ) -> None:
        self._write = write
        self._exact = exact_times
        self._clamp_ns = None if mtime_clamp_s is None else mtime_clamp_s * 1_000_000_000

    def directory(
        self, path: Name, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: Xattrs = ()
    ) -> None:
        name = _name(path) + b"/" if _name(path) else b"./"
        self._write(
            header(
                name, DIRECTORY, mode=mode, uid=uid, gid=gid, mtime_ns=self._time(mtime_ns),
                xattrs=xattrs,
            )
        )  # fmt: skip

    def file(
        self,
        path: Name,
        size: int,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int,
        read: Callable[[int], bytes],
        xattrs: Xattrs = (),
    ) -> None:
        """`read(n)` gives up to n bytes, b"" at the end. A file that shrinks meanwhile is padded
        with zeros and one that grows is cut, as tar(1) does: the archive stays whole."""
        head = header(
            _name(path), REGULAR, mode=mode, uid=uid, gid=gid, size=size,
            mtime_ns=self._time(mtime_ns), xattrs=xattrs,
        )  # fmt: skip
        left = size
        while left:
            data = read(min(left, _PIECE))[:left] or bytes(min(left, _PIECE))
            left -= len(data)
            if not left:
                data += padding(size)
            self._write(head + data)
            head = b""
        if head:
            self._write(head)

    def symlink(self, path: Name, target: Name, uid: int, gid: int, mtime_ns: int) -> None:
        self._write(
            header(
                _name(path), SYMLINK, mode=0o777, uid=uid, gid=gid, mtime_ns=self._time(mtime_ns),
                link=_bytes(target),
            )
        )  # fmt: skip

    def hardlink(
        self, path: Name, target: Name, mode: int, uid: int, gid: int, mtime_ns: int
    ) -> None:
        """Another name of the member `target`, which must come before."""
        self._write(
            header(
                _name(path), HARDLINK, mode=mode, uid=uid, gid=gid, mtime_ns=self._time(mtime_ns),
                link=_name(target),
            )
        )  # fmt: skip

    def fifo(self, path: Name, mode: int, uid: int, gid: int, mtime_ns: int) -> None:
        self._write(
            header(
                _name(path), FIFO, mode=mode, uid=uid, gid=gid, mtime_ns=self._time(mtime_ns)
            )
        )  # fmt: skip

    def device(
        self, path: Name, block: bool, device: tuple[int, int], mode: int, uid: int, gid: int,
        mtime_ns: int,
    ) -> None:  # fmt: skip
        self._write(
            header(
                _name(path), BLOCK if block else CHARACTER, mode=mode, uid=uid, gid=gid,
                mtime_ns=self._time(mtime_ns), device=device,
            )
        )  # fmt: skip

    def whiteout(self, path: Name) -> None:
        """`path` of the layers below is gone."""
        parent, slash, name = _name(path).rpartition(b"/")
        self._write(header(parent + slash + WHITEOUT_PREFIX + name, REGULAR, mode=0o600))

    def opaque(self, path: Name) -> None:
        """Nothing of the layers below shows in the directory `path`."""
        self._write(header(_name(path) + b"/.wh..wh..opq", REGULAR, mode=0o600))

    def finish(self) -> None:
        self._write(END_OF_ARCHIVE)

    def _time(self, mtime_ns: int) -> int:
        if self._clamp_ns is not None:
            mtime_ns = min(mtime_ns, self._clamp_ns)
        return mtime_ns if self._exact else mtime_ns // 1_000_000_000 * 1_000_000_000


def _bytes(text: Name) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def _name(path: Name) -> bytes:
    name = _bytes(path).strip(b"/")
    if len(name) > _MAX_PATH:
        raise InvalidInput(f"path of {len(name)} bytes: {printable(name)}")
    return b"" if name == b"." else name
