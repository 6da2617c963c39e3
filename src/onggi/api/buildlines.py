"""A build's progress as docker's classic builder words it. Sans-IO."""

from collections.abc import Callable

from ..errors import OnggiError
from ..progress import Event, StepFailed
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from . import progresslines

MAX_KEPT_BYTES = 4 << 20  # of a quiet build


class BuildLines:
    """`write` sends. With `quiet` only the image's id is told, or else everything once it failed;
    `aux` is for clients that know such lines."""

    def __init__(self, write: Callable[[bytes], None], *, quiet: bool, aux: bool) -> None:
        self._write = write
        self._quiet = quiet
        self._aux = aux
        self.kept: list[bytes] = []
        self._kept_size = 0
        self._status = 0  # of the command that failed

    def report(self, event: Event) -> None:
        if isinstance(event, StepFailed):
            self._status = event.status
        line = progresslines.encode(event)
        if not self._quiet:
            self._write(line)
            return
        self.kept.append(line)
        self._kept_size += len(line)
        while self._kept_size > MAX_KEPT_BYTES:
            self._kept_size -= len(self.kept.pop(0))

    def finished(self, image_id: str, tags: list[str]) -> None:
        if self._quiet:
            self._write(progresslines.line({"stream": f"{image_id}\n"}))
            return
        if self._aux:
            self._write(progresslines.aux({"ID": image_id}))
        self._stream(f"Successfully built {Digest(image_id).short}\n")
        for tag in tags:
            self._stream(f"Successfully tagged {parse_reference(tag).familiar}\n")

    def _stream(self, text: str) -> None:
        self._write(progresslines.line({"stream": text}))

    def failed(self, error: OnggiError) -> None:
        for line in self.kept:
            self._write(line)
        self._write(progresslines.failure(error, self._status))
