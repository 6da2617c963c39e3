"""A container's output cut into the records that a log keeps. Pure.

One record a line, with its newline. A line longer than 16 KiB is cut into pieces without newline,
as docker does, never within a UTF-8 sequence. An unfinished line waits for the rest.
"""

MAX_PIECE = 16 << 10


class Lines:
    """The two streams of a container, each with its unfinished line."""

    def __init__(self) -> None:
        self._partial = {"stdout": b"", "stderr": b""}

    def feed(self, stream: str, data: bytes) -> list[bytes]:
        """The records that are complete with `data`, which came on `stream`."""
        lines = (self._partial[stream] + data).split(b"\n")
        rest = lines.pop()
        records = [piece for line in lines for piece in _pieces(line + b"\n")]
        while len(rest) > MAX_PIECE:
            cut = _boundary(rest, MAX_PIECE)
            records.append(rest[:cut])
            rest = rest[cut:]
        self._partial[stream] = rest
        return records

    def finish(self) -> list[tuple[str, bytes]]:
        """The unfinished lines with their streams, at the end."""
        found = [(stream, rest) for stream, rest in self._partial.items() if rest]
        self._partial = {"stdout": b"", "stderr": b""}
        return found


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_PIECE:
        return [line]
    pieces = []
    while len(line) > MAX_PIECE:
        cut = _boundary(line, MAX_PIECE)
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _boundary(data: bytes, limit: int) -> int:
    """The last position up to `limit` that does not split a UTF-8 sequence."""
    cut = limit
    while cut > limit - 4 and data[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut if data[cut] & 0xC0 != 0x80 else limit
