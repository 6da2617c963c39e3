"""Files of containers of an engine elsewhere, as tar streams."""

import base64
import json
from collections.abc import Callable, Iterable

from ..engine.archive import PathStat
from ..errors import NotFound, Unavailable, Unsupported
from ..spec.gomode import unix_mode
from . import records
from .transport import Transport, escaped

BLOCK = 1 << 18
STAT = "X-Docker-Container-Path-Stat"
Write = Callable[[bytes], object]


class Archive:
    """As engine.archive.Archive; only what the command line calls."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def stat(self, reference: str, path: str) -> PathStat:
        try:
            with self._transport.answer("HEAD", _path(reference), {"path": path}) as response:
                return _described(response.headers.get(STAT, ""))
        except NotFound:
            self._transport.json("GET", f"/containers/{escaped(reference)}/json")
            raise NotFound(
                f"Could not find the file {path} in container {reference}"
            ) from None  # such an answer has no body that could say so

    def copy_out(
        self, reference: str, path: str, write: Write, *, follow_link: bool = False
    ) -> None:
        """With `follow_link` the members have the name of what the link leads to."""
        if follow_link:
            path = self.stat(reference, path).link_target or path
        with self._transport.answer("GET", _path(reference), {"path": path}) as response:
            while data := response.read1(BLOCK):
                write(data)

    def copy_in(
        self,
        reference: str,
        path: str,
        chunks: Iterable[bytes],
        *,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """Owners are the archive's: the API has no others."""
        if owner is not None:
            raise Unsupported("an engine elsewhere keeps the owners of an archive")
        query = {"path": path, "noOverwriteDirNonDir": True}
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        with self._transport.answer("PUT", _path(reference), query, chunks, headers) as response:
            response.read()

    def export(self, reference: str, write: Write) -> None:
        where = f"/containers/{escaped(reference)}/export"
        with self._transport.answer("GET", where) as response:
            while data := response.read1(BLOCK):
                write(data)


def _path(reference: str) -> str:
    return f"/containers/{escaped(reference)}/archive"


def _described(header: str) -> PathStat:
    try:
        found = json.loads(base64.b64decode(header))
        return PathStat(
            found["name"], found["size"], unix_mode(found["mode"]), records.moment(found["mtime"]),
            found.get("linkTarget") or "",
        )  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("the engine's answer does not say what the file is") from error
