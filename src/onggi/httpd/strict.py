"""What we refuse of HTTP/1.1 before a parser sees it: all that two parsers could read differently.

Sans-IO. h11 is lenient where old peers need it (bare line feeds, folded headers, both lengths at
once); no client of ours does, so a request that has any of it is an attack or a bug.
"""

import re

MAX_HEAD = 64 << 10
MAX_TARGET = 16 << 10
MAX_HEADERS = 100
MAX_EXTENSION = 256
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.[01]")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t -~\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(;[\t -~]*)?")


class Refused(Exception):
    """A request that is answered with `status` and closes its connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def end_of_head(data: bytes | bytearray) -> int:
    """Where the head ends, behind its empty line; 0 while it is not complete."""
    found = data.find(b"\r\n\r\n")
    if found < 0:
        if len(data) > MAX_HEAD:
            raise Refused(431, "the request's head is larger than 64 KiB")
        _early(data)
        return 0
    if found + 4 > MAX_HEAD:
        raise Refused(431, "the request's head is larger than 64 KiB")
    return found + 4


def _early(data: bytes | bytearray) -> None:
    """What can be refused before the head is complete: it may never be."""
    line = data.partition(b"\n")[0]
    if len(line) > MAX_TARGET + 64:
        raise Refused(414, "the request's target is longer than 16 KiB")
    if len(line) < len(data) and not line.endswith(b"\r"):
        raise Refused(400, "a line of the request's head ends without a carriage return")
    if data[:1] and not data[:1].isalpha():
        raise Refused(400, "that is no HTTP request")


def check_head(head: bytes) -> int | None:
    """The body's length that a complete head tells; None for a chunked one. Raises Refused."""
    lines = head[:-4].split(b"\r\n")
    _check_request_line(lines[0])
    if len(lines) - 1 > MAX_HEADERS:
        raise Refused(431, f"the request has more than {MAX_HEADERS} headers")
    found: dict[bytes, list[bytes]] = {}
    for line in lines[1:]:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Refused(400, "malformed header")
        found.setdefault(match[1].lower(), []).append(match[2].strip(b" \t"))
    if len(found.get(b"host", ())) > 1:
        raise Refused(400, "too many Host headers")
    if b"host" not in found and lines[0].endswith(b"1.1"):
        raise Refused(400, "missing required Host header")
    return _body_length(found, lines[0].endswith(b"1.0"))


def _check_request_line(line: bytes) -> None:
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise Refused(400, "malformed request line")
    if len(match[2]) > MAX_TARGET:
        raise Refused(414, "the request's target is longer than 16 KiB")
    if match[1] in (b"CONNECT", b"TRACE"):
        raise Refused(405, f"method {match[1].decode()} is not allowed")
    if not match[2].startswith(b"/"):
        raise Refused(400, "the request's target must be an absolute path")
    if b"#" in match[2]:
        raise Refused(400, "the request's target holds a fragment")


def _body_length(headers: dict[bytes, list[bytes]], is_old: bool) -> int | None:
    lengths = headers.get(b"content-length", [])
    codings = headers.get(b"transfer-encoding", [])
    if codings:
        if lengths or is_old or len(codings) > 1:
            raise Refused(400, "ambiguous length of the request's body")
        if codings[0].lower() != b"chunked":
            raise Refused(501, f"unsupported transfer encoding: {codings[0].decode('latin-1')}")
        return None
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise Refused(400, "bad Content-Length")
    return int(lengths[0]) if lengths else 0


class ChunkGuard:
    """Reads a chunked body along, strictly, and finds its end; h11 decodes it."""

    def __init__(self) -> None:
        self.ended = False
        self._left = 0  # of the present chunk, with its line end
        self._trailers = False
        self._count = 0

    def take(self, data: bytes | bytearray) -> int:
        """How many bytes at the start of `data` are the body's and complete enough to be passed
        on. Raises Refused."""
        at = 0
        while not self.ended and at < len(data):
            if self._left:
                at += self._payload(data, at)
                continue
            end = data.find(b"\r\n", at, at + MAX_EXTENSION + 20)
            if end < 0:
                if len(data) - at > MAX_EXTENSION + 18 or b"\n" in data[at:]:
                    raise Refused(400, "malformed chunk")
                break
            self._line(bytes(data[at:end]))
            at = end + 2
        return at

    def _payload(self, data: bytes | bytearray, at: int) -> int:
        """Past bytes of the chunk, whose last two must be the line's end."""
        size = min(self._left, len(data) - at)
        for index in range(max(0, self._left - 2), min(self._left, size)):
            expected = b"\r\n"[index - (self._left - 2)]
            if data[at + index] != expected:
                raise Refused(400, "malformed chunk")
        self._left -= size
        return size

    def _line(self, line: bytes) -> None:
        if self._trailers:
            self._count += 1
            if self._count > MAX_HEADERS:
                raise Refused(431, "too many trailers")
            if not line:
                self.ended = True
            elif not _HEADER.fullmatch(line):
                raise Refused(400, "malformed trailer")
            return
        match = _CHUNK.fullmatch(line)
        if match is None or len(match[2] or b"") > MAX_EXTENSION:
            raise Refused(400, "malformed chunk")
        size = int(match[1], 16)
        if size:
            self._left = size + 2
        else:
            self._trailers = True
