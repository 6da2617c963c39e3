"""A second opinion on EROFS images: a plain reader of the format, sharing no code with the writer.

Enough of the format for our images; asserts what the kernel would refuse.
"""

import struct
from typing import NamedTuple


class Inode(NamedTuple):
    mode: int
    size: int
    uid: int
    gid: int
    mtime_ns: int
    links: int
    number: int
    rdev: int
    xattrs: dict[bytes, bytes]
    data: bytes


class Reader:
    def __init__(self, image: bytes) -> None:
        self.image = image
        (magic, self.checksum, self.compat, bits, _, self.root, self.inodes, _, _, self.blocks,
         self.meta, _) = struct.unpack_from("<IIIBBHQQIIII", image, 1024)  # fmt: skip
        self.uuid = image[1024 + 48 : 1024 + 64]
        self.incompat = struct.unpack_from("<I", image, 1024 + 80)[0]
        assert magic == 0xE0F5E1E2
        assert bits == 9
        assert len(image) == self.blocks * 512
        assert len(image) % 4096 == 0

    def inode(self, nid: int) -> Inode:
        at = self.meta * 512 + nid * 32
        (form, count, mode, _, size, address, number, uid, gid, seconds, nanoseconds, links) = (
            struct.unpack_from("<HHHHQIIIIqII", self.image, at)
        )
        assert form & 1
        xattrs, end = self._xattrs(at + 64, count)
        layout, kind, rdev = form >> 1, mode >> 12, 0
        if kind in (1, 2, 6):
            rdev, data = address, b""
        elif layout == 2:
            assert end // 512 == (end + max(size, 1) - 1) // 512, "inline data crosses a block"
            data = self.image[end : end + size]
        elif layout == 4:
            data = self._chunks(end, address, size)
        else:
            assert layout == 0
            data = self.image[address * 512 : address * 512 + size]
        assert len(data) == (0 if kind in (1, 2, 6) else size)
        mtime_ns = seconds * 10**9 + nanoseconds
        return Inode(mode, size, uid, gid, mtime_ns, links, number, rdev, xattrs, data)

    def _xattrs(self, at: int, count: int) -> tuple[dict[bytes, bytes], int]:
        end = at + (12 + 4 * (count - 1) if count else 0)
        found: dict[bytes, bytes] = {}
        at += 12
        while at < end:
            length, index, size = struct.unpack_from("<BBH", self.image, at)
            name = {1: b"user.", 4: b"trusted.", 6: b"security."}[index]
            name += self.image[at + 4 : at + 4 + length]
            found[name] = self.image[at + 4 + length : at + 4 + length + size]
            at += -(-(4 + length + size) // 4) * 4
        return found, end

    def _chunks(self, at: int, form: int, size: int) -> bytes:
        assert self.incompat & 4
        bits = 9 + (form & 31)
        out = bytearray()
        for block in struct.unpack_from(f"<{-(-size >> bits)}I", self.image, at):
            piece = (
                b""
                if block == 0xFFFFFFFF
                else self.image[block * 512 : (block * 512) + (1 << bits)]
            )
            out += piece.ljust(1 << bits, b"\0")
        return bytes(out[:size])

    def directory(self, nid: int) -> dict[bytes, tuple[int, int]]:
        """Names in order, each with its nid and file type."""
        data = self.inode(nid).data
        found: dict[bytes, tuple[int, int]] = {}
        for start in range(0, len(data), 512):
            block = data[start : start + 512]
            entries = struct.unpack_from("<H", block, 8)[0] // 12
            fields = [struct.unpack_from("<QHBx", block, 12 * n) for n in range(entries)]
            ends = [offset for _, offset, _ in fields[1:]] + [len(block)]
            for (child, offset, kind), end in zip(fields, ends, strict=True):
                name = block[offset:end].rstrip(b"\0")
                assert name not in found
                found[name] = (child, kind)
        assert list(found) == sorted(found), "names are not in order"
        return found

    def walk(self) -> dict[bytes, int]:
        """Every path and its nid; checks "." and ".."."""
        found = {b"": self.root}
        pending = [(b"", self.root, self.root)]
        while pending:
            path, nid, parent = pending.pop()
            for name, (child, kind) in self.directory(nid).items():
                if name in (b".", b".."):
                    assert child == (nid if name == b"." else parent)
                    continue
                here = path + b"/" + name if path else name
                found[here] = child
                types = {8: 1, 4: 2, 2: 3, 6: 4, 1: 5, 10: 7}
                assert types[self.inode(child).mode >> 12] == kind
                if kind == 2:
                    pending.append((here, child, nid))
        return found
