"""The members of a tar stream, found while its bytes pass by. Sans-IO: bytes in, `TarEntry` out.

Owns the reading of ustar, pax, GNU and pre-POSIX headers and every limit on hostile ones: whatever
it returns has a relative path without "..", numbers in range, extended attributes we are willing
to store, and data that lies inside the stream. It never copies file data and never opens a file.

Refused rather than guessed: bad checksums, unknown types, signed or spaced numbers, names with
NUL, global pax headers that rename, device nodes (unless asked for; 0:0 is an overlay whiteout).
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator

from ..errors import CorruptData
from ..typed import Final, NamedTuple

REGULAR: Final = b"0"
HARDLINK: Final = b"1"
SYMLINK: Final = b"2"
CHARACTER: Final = b"3"
BLOCK: Final = b"4"
DIRECTORY: Final = b"5"
FIFO: Final = b"6"

RECORD: Final = 512
_ZERO_RECORD = bytes(RECORD)
_DOTS = (b"", b".", b"..")
_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s")
_KINDS = {
    b"\0": REGULAR, b"0": REGULAR, b"7": REGULAR, b"S": REGULAR, b"1": HARDLINK, b"2": SYMLINK,
    b"3": CHARACTER, b"4": BLOCK, b"5": DIRECTORY, b"6": FIFO,
}  # fmt: skip
_EXTENSIONS = frozenset((b"x", b"g", b"L", b"K"))
_RENAMING = frozenset((b"path", b"linkpath", b"size"))
_XATTR = b"SCHILY.xattr."
_SPARSE = b"GNU.sparse."
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")
_OLDEST_S, _NEWEST_S = -(1 << 31), 15032385535  # what ext4 can hold, so both backends agree
_MAX_XATTR_VALUE, _MAX_XATTR_TOTAL = 65535, 131072
_CAPABILITY_SIZES = {0x02000000: 20, 0x03000000: 24}  # linux/capability.h, VFS_CAP_REVISION_*


class Extent(NamedTuple):
    """A run of data of a sparse file: where it belongs in the file, and where the tar has it."""

    offset: int
    data_offset: int
    size: int


class TarEntry(NamedTuple):
    """One member. `path` has no leading, doubled or trailing slash and no "." component; b"" is
    the archive's root. `data_offset` counts from the first byte of the tar. `link` is a
    symlink's target as written, or a hard link's normalised path. `sparse` is None for a plain
    file."""

    path: bytes
    kind: bytes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    data_offset: int = 0
    link: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    device: tuple[int, int] = (0, 0)
    sparse: tuple[Extent, ...] | None = None
    offset: int = 0  # of its header, for messages


class Limits(NamedTuple):
    """SECURITY C4 and C5."""

    entries: int = 5_000_000
    depth: int = 255
    path_bytes: int = 4096
    component_bytes: int = 255
    extension_bytes: int = 1 << 20
    file_bytes: int = 1 << 40
    extents: int = 1 << 18  # of one sparse file
    extensions_in_a_row: int = 64


LIMITS: Final = Limits()


def printable(name: bytes) -> str:
    """A member's name for a message: quoted, escaped, never long."""
    text = name[:160].decode("utf-8", "backslashreplace")
    return ascii(text) if len(name) <= 160 else ascii(text) + "..."


class TarIndex:
    """Feed it a tar, piece by piece; each call returns the entries whose headers it completed.

    `require_end`: whether a stream that stops after a whole member but without the two zero
    records counts as cut short. Docker accepts such layers; their digest has been checked.
    """

    def __init__(
        self, limits: Limits = LIMITS, *, devices: bool = False, require_end: bool = True
    ) -> None:
        self.ignored_xattrs: set[bytes] = set()
        self.entries = 0
        self._limits = limits
        self._devices = devices
        self._require_end = require_end
        self._seen = 0  # bytes fed
        self._next = 0  # where the wanted record starts
        self._want = RECORD  # its size; 0: the archive has ended
        self._take: Callable[[bytes], None] = self._header
        self._carry = bytearray()
        self._found: list[TarEntry] = []
        self._zeros = 0
        # The directory of the last name that had one, as written and as checked: most entries stand
        # beside the one before.
        self._beside: tuple[bytes | None, bytes] = (None, b"")
        self._global: dict[bytes, bytes] = {}
        self._sparse_entry = TarEntry(b"", REGULAR)
        self._offset = 0  # of the header being read
        self._reset()

    def _reset(self) -> None:
        self._pax: dict[bytes, bytes] = {}
        self._sparse_numbers: list[int] = []  # pax sparse 0.0: repeated records
        self._long_name: bytes | None = None
        self._long_link: bytes | None = None
        self._extension = (b"", 0)
        self._extensions = 0
        self._name = b""
        self._sparse_text = bytearray()
        self._sparse_lines = 0
        self._sparse_size = 0
        self._sparse_stored = 0

    @property
    def size(self) -> int:
        """Bytes fed so far."""
        return self._seen

    @property
    def ended(self) -> bool:
        """Whether the end of the archive was met; what follows it is padding."""
        return self._want == 0

    def feed(self, data: bytes) -> list[TarEntry]:
        """The entries completed by `data`. Raises CorruptData naming the entry and its offset."""
        found: list[TarEntry] = []
        self._found = found
        base, size, carry = self._seen, len(data), self._carry
        while self._want:
            start = self._next - base
            end = start + self._want
            if start >= size:
                break
            if start >= 0 and end <= size:
                record = data[start:end]
            else:  # straddles the border of two pieces
                carry += data[max(start, 0) : end]
                if len(carry) < self._want:
                    break
                record = bytes(carry)
                carry.clear()
            self._next += self._want
            self._take(record)
        self._seen = base + size
        return found

    def finish(self) -> None:
        """The stream is over. Raises CorruptData when it stopped inside a member."""
        if self._want == 0:
            return
        clean = self._next == self._seen and self._take == self._header and not self._extensions
        if clean and (self._zeros or not self._require_end):
            return
        if self._seen == 0:
            raise CorruptData("not a tar archive: it is empty")
        raise CorruptData(f"tar archive is cut short: truncated at byte {self._seen}")

    # -- records ---------------------------------------------------------------------------

    def _header(self, record: bytes) -> None:
        self._offset = self._next - RECORD
        if record == _ZERO_RECORD:
            self._end_record()
            return
        if self._zeros:
            raise self._bad("data after the end of the archive")
        fields = _HEADER.unpack(record)
        _check_sum(record, fields[6], self._bad)
        self._name = _text(fields[0])
        kind = fields[7]
        if kind in _EXTENSIONS:
            self._begin_extension(kind, self._number(fields[4], "size"))
            return
        self.entries += 1
        if self.entries > self._limits.entries:
            raise self._bad(f"more than {self._limits.entries} entries")
        if kind not in _KINDS:
            raise self._bad(f"unknown type {kind!r}")
        self._member(record, fields)

    def _end_record(self) -> None:
        if self._extensions:
            raise self._bad("the archive ends after an extended header")
        self._zeros += 1
        if self._zeros == 2:
            self._want = 0

    def _begin_extension(self, kind: bytes, size: int) -> None:
        self._extensions += 1
        if self._extensions > self._limits.extensions_in_a_row:
            raise self._bad("too many extended headers for one entry")
        if size > self._limits.extension_bytes:
            raise self._bad(f"extended header of {size} bytes")
        self._extension = (kind, size)
        if size:
            self._want = -(-size // RECORD) * RECORD
            self._take = self._extension_body
        else:
            self._extension_body(b"")

    def _extension_body(self, body: bytes) -> None:
        kind, size = self._extension
        body = body[:size]
        self._want, self._take = RECORD, self._header
        if kind == b"L":
            self._long_name = _text(body)
        elif kind == b"K":
            self._long_link = _text(body)
        elif kind == b"x":
            self._pax_body(body)
        else:
            self._global_body(body)

    def _pax_body(self, body: bytes) -> None:
        for key, value in _pax_records(body, self._bad):
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                self._sparse_numbers.append(self._decimal(value, "sparse map"))
            else:
                self._pax[key] = value

    def _global_body(self, body: bytes) -> None:
        self._extensions -= 1  # belongs to no entry: git archives have one alone
        for key, value in _pax_records(body, self._bad):
            if key in _RENAMING or key.startswith((_SPARSE, _XATTR)):
                raise self._bad(f"global pax header sets {printable(key)}")
            self._global[key] = value
        if sum(map(len, self._global.values())) > self._limits.extension_bytes:
            raise self._bad("global pax headers are too large")

    # -- members ---------------------------------------------------------------------------

    def _member(self, record: bytes, fields: tuple[bytes, ...]) -> None:
        pax = {**self._global, **self._pax} if self._global else self._pax
        raw_name = self._choose_name(record, fields, pax)
        self._name = raw_name
        kind = _KINDS[fields[7]]
        if kind == REGULAR and raw_name.endswith(b"/"):
            kind = DIRECTORY  # pre-POSIX archives
        stored = self._number_of(pax, b"size", fields[4])
        if stored > self._limits.file_bytes:
            raise self._bad(f"size of {stored} bytes")
        if kind == HARDLINK:
            stored = 0  # some writers put the target's size there; no data follows
        elif kind != REGULAR and stored:
            raise self._bad("has a size but is not a file")
        path = self._path(raw_name)
        if not path and kind != DIRECTORY:
            raise self._bad("the root of the archive is not a directory")
        entry = TarEntry(
            path=path,
            kind=kind,
            mode=self._number(fields[1], "mode") & 0o7777,
            uid=self._owner(pax, b"uid", fields[2]),
            gid=self._owner(pax, b"gid", fields[3]),
            mtime_ns=self._mtime(pax, fields[5]),
            size=stored,
            data_offset=self._next,
            link=self._link(kind, fields, pax),
            xattrs=self._xattrs(kind, pax) if pax else (),
            device=self._device(kind, fields),
            offset=self._offset,
        )
        if kind == REGULAR and (fields[7] == b"S" or self._is_sparse(pax)):
            self._begin_sparse(entry, record if fields[7] == b"S" else b"", pax)
            return
        self._complete(entry, stored)

    def _complete(self, entry: TarEntry, stored: int) -> None:
        """`stored` bytes of data follow; the next header comes after them."""
        self._next += -(-stored // RECORD) * RECORD
        self._want, self._take = RECORD, self._header
        self._found.append(entry)
        self._reset()

    def _choose_name(
        self, record: bytes, fields: tuple[bytes, ...], pax: dict[bytes, bytes]
    ) -> bytes:
        sparse_name = pax.get(b"GNU.sparse.name", b"")
        if self._long_name is not None:
            if b"path" in pax or sparse_name:
                raise self._bad("has both a GNU and a pax name")
            return self._long_name
        pax_name = sparse_name or pax.get(b"path", b"")
        if pax_name:
            return pax_name
        name = _text(fields[0])
        if fields[9][:6] == b"ustar\0":
            star = record[508:512] == b"tar\0"
            prefix = _text(fields[14][:131] if star else fields[14])
            if prefix:
                return prefix + b"/" + name
        return name

    def _path(self, raw: bytes) -> bytes:
        limits = self._limits
        if not raw:
            raise self._bad("empty name")
        if b"\0" in raw:
            raise self._bad("NUL in a name")
        if len(raw) > limits.path_bytes:
            raise self._bad(f"name of {len(raw)} bytes")
        parent, _, name = raw.rpartition(b"/")
        if parent == self._beside[0] and name not in _DOTS and len(name) <= limits.component_bytes:
            return self._beside[1] + name
        parts = [part for part in raw.split(b"/") if part and part != b"."]
        if not parts:
            return b""
        if b".." in parts:
            raise self._bad("'..' in a name")
        if len(parts) > limits.depth:
            raise self._bad(f"more than {limits.depth} directories deep")
        if len(max(parts, key=len)) > limits.component_bytes:
            raise self._bad(f"name component over {limits.component_bytes} bytes")
        path = b"/".join(parts)
        if name not in _DOTS:
            self._beside = (parent, path[: -len(name)])
        return path

    def _link(self, kind: bytes, fields: tuple[bytes, ...], pax: dict[bytes, bytes]) -> bytes:
        if kind not in (HARDLINK, SYMLINK):
            return b""
        link = _text(fields[8])
        if self._long_link is not None:
            if b"linkpath" in pax:
                raise self._bad("has both a GNU and a pax link target")
            link = self._long_link
        link = pax.get(b"linkpath") or link
        if not link or b"\0" in link or len(link) >= self._limits.path_bytes:
            raise self._bad("bad link target")
        if kind == HARDLINK:
            link = self._path(link)
            if not link:
                raise self._bad("hard link to the root of the archive")
        return link

    def _device(self, kind: bytes, fields: tuple[bytes, ...]) -> tuple[int, int]:
        if kind not in (CHARACTER, BLOCK):
            return (0, 0)
        major = self._number(fields[12], "device number")
        minor = self._number(fields[13], "device number")
        whiteout = kind == CHARACTER and major == minor == 0
        if not whiteout and not self._devices:
            what = "character" if kind == CHARACTER else "block"
            raise self._bad(f"is a {what} device ({major}:{minor}), which layers may not have")
        if major >= 1 << 12 or minor >= 1 << 20:
            raise self._bad("device number out of range")
        return (major, minor)

    def _xattrs(self, kind: bytes, pax: dict[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
        kept, total = [], 0
        for key, value in pax.items():
            if not key.startswith(_XATTR):
                continue
            name = key[len(_XATTR) :]
            if not self._keeps_xattr(kind, name, value):
                self.ignored_xattrs.add(name)
                continue
            total += len(name) + len(value)
            if len(name) > 255 or len(value) > _MAX_XATTR_VALUE or total > _MAX_XATTR_TOTAL:
                raise self._bad(f"extended attribute {printable(name)} is too large")
            kept.append((name, value))
        return tuple(sorted(kept))

    def _keeps_xattr(self, kind: bytes, name: bytes, value: bytes) -> bool:
        """Only what a container may have set itself. Overlay's own would steer the mount."""
        if name.startswith((b"trusted.overlay.", b"user.overlay.")):
            raise self._bad(f"sets {printable(name)}, which belongs to overlayfs")
        if name == b"security.capability":
            revision = int.from_bytes(value[:4], "little") & 0xFF000000
            if _CAPABILITY_SIZES.get(revision) != len(value):
                raise self._bad("malformed security.capability")
            return kind == REGULAR
        return name.startswith(b"user.") and len(name) > 5 and kind in (REGULAR, DIRECTORY)

    # -- sparse files ----------------------------------------------------------------------

    def _is_sparse(self, pax: dict[bytes, bytes]) -> bool:
        return b"GNU.sparse.major" in pax or b"GNU.sparse.map" in pax or bool(self._sparse_numbers)

    def _begin_sparse(self, entry: TarEntry, old_header: bytes, pax: dict[bytes, bytes]) -> None:
        self._sparse_entry, self._sparse_stored = entry, entry.size
        if old_header:  # GNU's oldest form: four extents in the header, more in records after it
            self._sparse_size = self._number(old_header[483:495], "size")
            self._old_extents(old_header[386:482], old_header[482])
            return
        version = (pax.get(b"GNU.sparse.major", b"0"), pax.get(b"GNU.sparse.minor", b"0"))
        size = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size", b"")
        self._sparse_size = self._decimal(size, "sparse size")
        if version == (b"1", b"0"):
            self._want, self._take = RECORD, self._map_record
            return
        if version[0] != b"0":
            raise self._bad("unknown sparse format")
        if b"GNU.sparse.map" in pax:
            numbers = pax[b"GNU.sparse.map"].split(b",")
            self._sparse_numbers = [self._decimal(n, "sparse map") for n in numbers]
        self._end_sparse()

    def _old_extents(self, table: bytes, more: int) -> None:
        for at in range(0, len(table), 24):
            if table[at + 12 : at + 24].strip(b" \0"):
                self._sparse_numbers.append(self._number(table[at : at + 12], "sparse map"))
                self._sparse_numbers.append(self._number(table[at + 12 : at + 24], "sparse map"))
        if len(self._sparse_numbers) > 2 * self._limits.extents:
            raise self._bad("too many extents")
        if more:
            self._want, self._take = RECORD, self._old_record
        else:
            self._end_sparse()

    def _old_record(self, record: bytes) -> None:
        self._old_extents(record[:504], record[504])

    def _map_record(self, record: bytes) -> None:
        """Pax sparse 1.0: the map stands before the data, decimal lines padded to a record."""
        text = self._sparse_text
        text += record
        self._sparse_stored -= RECORD
        if self._sparse_stored < 0 or len(text) > self._limits.extension_bytes:
            raise self._bad("sparse map is larger than the entry")
        head, newline, _ = text[:32].partition(b"\n")
        if not newline:
            raise self._bad("bad sparse map")
        wanted = 2 * self._decimal(bytes(head), "sparse map") + 1
        if wanted > 2 * self._limits.extents:
            raise self._bad("too many extents")
        self._sparse_lines += record.count(b"\n")
        if self._sparse_lines < wanted:
            return
        lines = bytes(text).split(b"\n")[1:wanted]
        self._sparse_numbers = [self._decimal(line, "sparse map") for line in lines]
        self._end_sparse()

    def _end_sparse(self) -> None:
        """Turn the numbers into extents; the data starts at the next wanted record."""
        numbers, size = self._sparse_numbers, self._sparse_size
        if len(numbers) % 2 or len(numbers) > 2 * self._limits.extents:
            raise self._bad("bad sparse map")
        if size > self._limits.file_bytes:
            raise self._bad(f"size of {size} bytes")
        extents, end, data_offset = [], 0, self._next
        for offset, length in zip(numbers[::2], numbers[1::2], strict=True):
            if offset < end or offset + length > size:
                raise self._bad("sparse map out of order or range")
            end = offset + length
            if length:
                extents.append(Extent(offset, data_offset, length))
            data_offset += length
        if data_offset - self._next != self._sparse_stored:
            raise self._bad("sparse map does not match the data")
        self.entries += len(extents)  # they cost what entries cost
        entry = self._sparse_entry
        self._complete(
            entry._replace(size=size, data_offset=self._next, sparse=tuple(extents)),
            self._sparse_stored,
        )

    # -- numbers ---------------------------------------------------------------------------

    def _number(self, field: bytes, what: str) -> int:
        """A header's octal or GNU base-256 number; never negative."""
        if field[0] & 0x80:
            if field[0] & 0x40:
                raise self._bad(f"negative {what}")
            return int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        text = field.strip(b" \0")
        if not text:
            return 0
        if text.isdigit():
            try:
                return int(text, 8)
            except ValueError:
                pass
        raise self._bad(f"malformed {what} {field!r}")

    def _decimal(self, text: bytes, what: str) -> int:
        if not text.isdigit() or len(text) > 20:
            raise self._bad(f"malformed {what} {printable(text)}")
        return int(text)

    def _number_of(self, pax: dict[bytes, bytes], key: bytes, field: bytes) -> int:
        text = pax.get(key)
        return self._decimal(text, key.decode()) if text else self._number(field, key.decode())

    def _owner(self, pax: dict[bytes, bytes], key: bytes, field: bytes) -> int:
        number = self._number_of(pax, key, field)
        if number >= 0xFFFFFFFF:
            raise self._bad(f"{key.decode()} {number} out of range")
        return number

    def _mtime(self, pax: dict[bytes, bytes], field: bytes) -> int:
        text = pax.get(b"mtime")
        if text:
            match = _TIME.fullmatch(text)
            if match is None:
                raise self._bad(f"malformed mtime {printable(text)}")
            nanoseconds = int((match[3] or b"")[:9].ljust(9, b"0"))
            total = int(match[2]) * 1_000_000_000 + nanoseconds
            return _clamp(-total if match[1] else total)
        if field[0] & 0xC0 == 0xC0:  # before 1970
            return _clamp(int.from_bytes(field, "big", signed=True) * 1_000_000_000)
        return _clamp(self._number(field, "mtime") * 1_000_000_000)

    def _bad(self, problem: str) -> CorruptData:
        where = f"at byte {self._offset}"
        return CorruptData(f"tar entry {printable(self._name)} {where}: {problem}")


def _clamp(mtime_ns: int) -> int:
    return max(_OLDEST_S * 1_000_000_000, min(mtime_ns, _NEWEST_S * 1_000_000_000))


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _check_sum(record: bytes, field: bytes, bad: Callable[[str], CorruptData]) -> None:
    text = field.strip(b" \0")
    try:
        stated = int(text, 8) if text.isdigit() else -1
    except ValueError:
        stated = -1
    actual = sum_of(record) - sum_of(field) + 256
    if stated == actual:
        return
    signed = actual - 256 * sum(1 for byte in record[:148] + record[156:] if byte > 127)
    if stated != signed:  # some old writers summed signed characters
        raise bad("bad header checksum (not a tar archive?)")


def sum_of(data: bytes) -> int:
    """Of at most 512 bytes, as header checksums are. Adler-32 has in its lower half, modulo 65521,
    one more than that; `sum` would be a third of the time of reading an entry, or writing one."""
    low, high = zlib.adler32(data[:256]), zlib.adler32(data[256:])
    return (low & 0xFFFF) + (high & 0xFFFF) - 2


def _pax_records(body: bytes, bad: Callable[[str], CorruptData]) -> Iterator[tuple[bytes, bytes]]:
    """`<length> <key>=<value>\\n` repeated; the length counts the whole record."""
    at = 0
    while at < len(body):
        space = body.find(b" ", at, at + 8)
        digits = body[at:space] if space > 0 else b""
        if not digits.isdigit():
            raise bad("malformed pax header")
        end = at + int(digits)
        if end > len(body) or end < space + 3 or body[end - 1] != 0x0A:
            raise bad("malformed pax header")
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise bad("malformed pax header")
        yield key, value
        at = end
