"""The engine's operations for the spawner's workers (see spawner): all that forks a monitor or
works on a file system. Arguments and values are JSON, records by spec.codec."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence

from ..spec.codec import decode
from ..spec.network import EndpointOptions
from ..typed import Any
from .engine import Engine
from .execs import ExecOptions

Arguments = dict[str, Any]
Report = Callable[[Any], None]
BLOCK = 1 << 16


def ready(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> None:
    """The first call of a spawner: answered when it is there."""


def start(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> None:
    """Start a container, with the first client of its streams when a descriptor is given."""
    if fds:
        engine.containers.start_for(arguments["id"], socket.socket(fileno=fds[0]))
    else:
        engine.containers.start(arguments["id"])


def execute(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> int:
    """Run a command in a container, with a client of its streams; its pid."""
    options = decode(ExecOptions, arguments["options"])
    client = socket.socket(fileno=fds[0]) if fds else None
    return engine.execs.fork(arguments["exec_id"], arguments["id"], options, client, noted=True)


def copy_out(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> None:
    engine.archive.copy_out(
        arguments["id"],
        arguments["path"],
        _writer(fds[0]),
        follow_link=arguments.get("follow_link", False),
    )


def copy_in(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> None:
    engine.archive.copy_in(
        arguments["id"],
        arguments["path"],
        _chunks(fds[0]),
        no_overwrite_dir_non_dir=arguments.get("keep_types", True),
        owner=tuple(arguments["owner"]) if "owner" in arguments else None,
    )


def stat(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> Any:
    return list(engine.archive.stat(arguments["id"], arguments["path"]))


def export(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> None:
    engine.archive.export(arguments["id"], _writer(fds[0]))


def changes(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> Any:
    return [list(change) for change in engine.containers.diff(arguments["id"])]


def commit(engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report) -> str:
    return engine.containers.commit(
        arguments["id"],
        target=arguments["target"],
        author=arguments["author"],
        message=arguments["message"],
        changes_=arguments["changes"],
        pause=arguments["pause"],
    )


def connect_network(
    engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report
) -> None:
    """A container that runs is joined at once."""
    asked = arguments["options"]
    options = None if asked is None else decode(EndpointOptions, asked)
    engine.networks.connect(arguments["network"], arguments["container"], options)


def disconnect_network(
    engine: Engine, arguments: Arguments, fds: Sequence[int], report: Report
) -> None:
    engine.networks.disconnect(
        arguments["network"], arguments["container"], force=arguments["force"]
    )


def _writer(fd: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    return write


def _chunks(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, BLOCK):
        yield data
