"""Frames over a pair of descriptors: one byte for the kind, four for the length, then so much.

    J  a JSON object      D  bytes of a layer      .  the end of a layer      E  an error, the last

What comes is not trusted: lengths are limited, and anything else than what is expected is an error.
"""

import os
from collections.abc import Iterator
from struct import Struct

from .. import jsons
from ..errors import CorruptData, OnggiError, Unavailable
from ..typed import Any

MAX_JSON = 32 << 20
MAX_DATA = 1 << 20
_HEAD = Struct("!cI")


class Gone(Unavailable):
    """The other side ended in the middle."""


class Wire:
    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer

    def tell(self, document: dict[str, Any]) -> None:
        self._send(b"J", jsons.dumps(document).encode())

    def tell_error(self, error: OnggiError) -> None:
        """The other side raises it too; it may be gone already."""
        try:
            self._send(b"E", jsons.dumps({"message": error.message, "hint": error.hint}).encode())
        except (OSError, OnggiError):
            pass

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(view), MAX_DATA):
            self._send(b"D", bytes(view[start : start + MAX_DATA]))

    def end(self) -> None:
        self._send(b".", b"")

    def hear(self) -> dict[str, Any]:
        """The next document. Raises CorruptData for anything else, OnggiError when the other side
        says that it failed, Gone."""
        kind, payload = self._receive()
        if kind != b"J":
            raise CorruptData("the other side sent something else than was expected")
        return _object(payload)

    def data(self) -> Iterator[bytes]:
        """The bytes of one layer."""
        while True:
            kind, payload = self._receive()
            if kind == b".":
                return
            if kind != b"D":
                raise CorruptData("the other side sent something else than was expected")
            yield payload

    def _receive(self) -> tuple[bytes, bytes]:
        kind, length = _HEAD.unpack(self._read(_HEAD.size))
        limit = {b"J": MAX_JSON, b"E": MAX_JSON, b"D": MAX_DATA, b".": 0}.get(kind, -1)
        if length > limit:
            raise CorruptData("the other side does not speak onggi's transfer protocol")
        payload = self._read(length)
        if kind == b"E":
            said = _object(payload)
            hint = said.get("hint")
            raise OnggiError(
                f"the other side says: {str(said.get('message'))[:4096]}",
                hint=str(hint)[:1024] if hint else None,
            )
        return kind, payload

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            piece = os.read(self._reader, min(size - len(parts), MAX_DATA))
            if not piece:
                raise Gone("the other side has gone")
            parts += piece
        return bytes(parts)

    def _send(self, kind: bytes, payload: bytes) -> None:
        view = memoryview(_HEAD.pack(kind, len(payload)) + payload)
        try:
            while view:
                view = view[os.write(self._writer, view) :]
        except BrokenPipeError as error:
            self._last_words()
            raise Gone("the other side has gone") from error

    def _last_words(self) -> None:
        """Raises what the other side said before it went, if it did."""
        try:
            while True:
                self._receive()
        except (CorruptData, Gone):
            return


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = jsons.loads(payload.decode())
    except ValueError as error:
        raise CorruptData("the other side sent what is no JSON") from error
    if not isinstance(found, dict):
        raise CorruptData("the other side sent what is no JSON object")
    return found
