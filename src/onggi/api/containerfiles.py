"""Files of containers: archive (GET, HEAD, PUT), export, changes. The work on tar streams is done
in the spawner's workers; here are only pipes.
"""

import base64
import json
import os
import threading
from collections.abc import Callable, Mapping

from ..engine.archive import PathStat
from ..engine.inspection import rfc3339
from ..engine.spawner import Spawner
from ..errors import CorruptData, InvalidInput, OnggiError
from ..httpd.exchange import Gone
from ..httpd.strict import Refused
from ..spec.gomode import go_mode
from ..typed import Any
from .call import Answer, Call, Header, json_answer
from .route import Route

TAR = "application/x-tar"
BLOCK = 1 << 16
KINDS = {"C": 0, "A": 1, "D": 2}


def _path(call: Call) -> str:
    path = call.query.text("path")
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    return path


def _spawner(call: Call) -> Spawner:
    assert call.engine.spawner is not None
    return call.engine.spawner


def _described(call: Call, container_id: str, path: str) -> Header:
    arguments = {"id": container_id, "path": path}
    found = PathStat(*_spawner(call).call("engine.spawned:stat", arguments))
    shown = {
        "name": found.name,
        "size": found.size_bytes,
        "mode": go_mode(found.mode),
        "mtime": rfc3339(found.mtime_ns),
        "linkTarget": found.link_target,
    }
    encoded = base64.b64encode(json.dumps(shown).encode()).decode()
    return ("X-Docker-Container-Path-Stat", encoded)


def head(call: Call) -> Answer:
    container = call.engine.containers.get(call.params["id"])
    return Answer(200, headers=(_described(call, container.id, _path(call)),))


def copy_out(call: Call) -> None:
    container = call.engine.containers.get(call.params["id"])
    path = _path(call)
    header = _described(call, container.id, path)
    _send(call, "copy_out", {"id": container.id, "path": path}, (header,))


def export(call: Call) -> None:
    container = call.engine.containers.get(call.params["id"])
    _send(call, "export", {"id": container.id}, (), "application/octet-stream")


def _send(
    call: Call,
    operation: str,
    arguments: Mapping[str, Any],
    headers: tuple[Header, ...],
    kind: str = TAR,
) -> None:
    """What a worker writes. An error before the first byte is answered with its status."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    work = _Work(_spawner(call), operation, arguments, writer)
    try:
        data = os.read(reader, BLOCK)
        if not data:
            work.result()
        with call.stream(kind, headers=headers) as out:
            while data:
                out.write(data)
                data = os.read(reader, BLOCK)
            work.result()
    finally:
        os.close(reader)  # a worker whose reader has gone ends by EPIPE
        work.join()


def copy_in(call: Call) -> Answer:
    container = call.engine.containers.get(call.params["id"])
    arguments = {
        "id": container.id,
        "path": _path(call),
        "keep_types": call.query.flag("noOverwriteDirNonDir"),
    }
    reader, writer = os.pipe2(os.O_CLOEXEC)
    work = _Work(_spawner(call), "copy_in", arguments, reader)
    try:
        _pour(call, writer)
    except (Gone, Refused):
        work.join()
        raise
    try:
        work.result()
    except CorruptData as error:
        raise InvalidInput(error.message) from error  # the archive is the client's
    return Answer(200)


def _pour(call: Call, writer: int) -> None:
    """The body into the pipe, to its end or as far as the worker wants it; closes the pipe."""
    with open(writer, "wb", buffering=0) as pipe:
        for data in call.chunks():
            view = memoryview(data)
            try:
                while view:
                    view = view[pipe.write(view) :]
            except BrokenPipeError:
                return  # it failed, and tells why; or saw the archive's end


class _Work:
    """An operation in a worker, waited for in a thread of its own: this one moves the bytes."""

    def __init__(
        self, spawner: Spawner, operation: str, arguments: Mapping[str, Any], fd: int
    ) -> None:
        self._error: BaseException | None = None
        name = f"engine.spawned:{operation}"
        call: Callable[[], object] = lambda: spawner.call(name, arguments, fds=(fd,))  # noqa: E731
        self._thread = threading.Thread(target=self._run, args=(call, fd), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], object], fd: int) -> None:
        try:
            call()
        except OnggiError as error:
            self._error = error
        finally:
            os.close(fd)

    def join(self) -> None:
        self._thread.join()

    def result(self) -> None:
        """Raises what it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def changes(call: Call) -> Answer:
    container = call.engine.containers.get(call.params["id"])
    found = _spawner(call).call("engine.spawned:changes", {"id": container.id})
    return json_answer([{"Path": path, "Kind": KINDS[kind]} for kind, path in found] or None)


ROUTES = (
    Route("HEAD", "/containers/{id}/archive", head),
    Route("GET", "/containers/{id}/archive", copy_out),
    Route("PUT", "/containers/{id}/archive", copy_in),
    Route("GET", "/containers/{id}/export", export),
    Route("GET", "/containers/{id}/changes", changes),
)
