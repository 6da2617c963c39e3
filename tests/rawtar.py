"""Tar bytes with any header we like, legal or not. Built on no tar library."""

from collections.abc import Iterable

FIELDS = (
    ("name", 100), ("mode", 8), ("uid", 8), ("gid", 8), ("size", 12), ("mtime", 12),
    ("checksum", 8), ("kind", 1), ("link", 100), ("magic", 8), ("uname", 32), ("gname", 32),
    ("major", 8), ("minor", 8), ("prefix", 155), ("rest", 12),
)  # fmt: skip
END = bytes(1024)


def record(**fields: bytes) -> bytes:
    """One header record. Missing fields are a plain empty file's; the checksum is right unless
    given."""
    values = {
        "name": b"file", "mode": b"0000644\0", "uid": b"0000000\0", "gid": b"0000000\0",
        "size": b"00000000000\0", "mtime": b"00000000000\0", "kind": b"0", "magic": b"ustar\x0000",
        "checksum": b" " * 8, **fields,
    }  # fmt: skip
    block = b"".join(values.get(key, b"").ljust(size, b"\0")[:size] for key, size in FIELDS)
    if "checksum" not in fields:
        block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
    return block


def pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def member(name: bytes, kind: bytes = b"0", data: bytes = b"", **fields: bytes) -> bytes:
    """A header and its data; names over 100 bytes by GNU's long name."""
    long = extension(b"L", name + b"\0") if len(name) > 100 else b""
    fields.setdefault("size", b"%011o\0" % len(data))
    if kind == b"5":
        fields.setdefault("mode", b"0000755\0")
    return long + record(name=name, kind=kind, **fields) + pad(data)


def extension(kind: bytes, body: bytes, **fields: bytes) -> bytes:
    fields.setdefault("size", b"%011o\0" % len(body))
    return record(name=b"././@Extension", kind=kind, **fields) + pad(body)


def pax_body(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    body = b""
    for key, value in pairs:
        rest = b" %b=%b\n" % (key, value)
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        body += b"%d" % length + rest
    return body


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return extension(kind, pax_body(pairs))


def archive(*members: bytes) -> bytes:
    return b"".join(members) + END
