"""`build --progress rawjson`: BuildKit's status records, one JSON object a line, on stderr."""

import base64
import hashlib
import json
import time

from ..progress import Event, Message, StepFinished, StepOutput, StepStarted, Warning
from ..spec.digest import Digest
from ..typed import Any
from ..units import format_rfc3339
from .session import Session


class RawJson:
    """A callback for `build`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._vertices: dict[int, dict[str, Any]] = {}

    def __call__(self, event: Event) -> None:
        now = format_rfc3339(time.time_ns())
        match event:
            case StepStarted():
                name = f"[{event.place}{event.number}/{event.total}] {event.text}"
                digest = hashlib.sha256(f"{event.number} {event.text}".encode(errors="replace"))
                vertex = {"digest": f"sha256:{digest.hexdigest()}", "name": name, "started": now}
                self._vertices[event.number] = vertex
                self._write({"vertexes": [vertex]})
            case StepFinished():
                vertex = {**self._vertices.pop(event.number), "completed": now}
                self._write({"vertexes": [vertex | ({"cached": True} if event.cached else {})]})
            case StepOutput():
                data = base64.b64encode(event.data).decode()
                vertex = self._vertices[event.number]
                log = {"vertex": vertex["digest"], "stream": event.stream, "data": data}
                self._write({"logs": [{**log, "timestamp": now}]})
            case Warning(text) | Message(text):
                short = base64.b64encode(text.encode(errors="replace")).decode()
                self._write({"warnings": [{"level": 1, "short": short}]})

    def _write(self, record: dict[str, Any]) -> None:
        self._session.err.line(json.dumps(record))
        self._session.err.flush()

    def failed(self) -> None:
        """The steps at work did not end well."""
        now = format_rfc3339(time.time_ns())
        for vertex in self._vertices.values():
            self._write({"vertexes": [{**vertex, "completed": now, "error": "failed"}]})

    def finished(self, image_id: Digest, tags: tuple[str, ...], steps: int, cached: int) -> None:
        """Nothing: metadata has --metadata-file."""
