"""`/build`: the classic builder's protocol over our builder; its prune, cancel and session.

A context is received whole before the build begins, in a file that has no name any more; the build
runs in a worker of the spawner, on a leash that is let go of when the client goes.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..engine import pruning
from ..errors import InvalidInput, NotFound, OnggiError, Unavailable, Unsupported
from ..progress import from_json
from . import buildquery, registryauth
from .buildlines import BuildLines
from .call import Answer, Call, json_answer
from .route import Route

_UNSUPPORTED = frozenset("parent type description inuse shared private".split())


def build(call: Call) -> None:
    from ..build import spawned

    options = buildquery.options(call.query, call.version)
    arguments = spawned.arguments(options, registryauth.of_build(call))
    spawner = call.engine.spawner
    assert spawner is not None  # a server has one
    with _received(call) as context, call.progress() as out:
        lines = BuildLines(out.write, quiet=call.query.flag("q"), aux=call.version >= (1, 30))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                made = spawner.call(
                    "build.spawned:run",
                    arguments,
                    fds=(context, theirs.fileno()),
                    report=lambda event: lines.report(from_json(event)),
                    listener=out.fileno(),
                )
            except OnggiError as error:
                if not (out.begun or lines.kept):
                    raise
                lines.failed(error)
            else:
                lines.finished(made["id"], made["tags"])


@contextmanager
def _received(call: Call) -> Iterator[int]:
    """The body as a file of nobody else's, at its start."""
    with call.engine.store.scratch.directory() as directory:
        fd = os.open(
            f"{directory}/context", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
        )
    try:
        for piece in call.chunks():
            _write(fd, piece)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        raise Unavailable(f"cannot keep the build context: {error.strerror}") from error


def prune(call: Call) -> Answer:
    """Sizes to keep are older and newer spellings of one. Raises InvalidInput."""
    from ..build.pruning import Kept, prune

    query = call.query
    keep, most, free = _bytes(call, "keep-storage"), 0, 0
    if call.version >= (1, 48):
        keep = _bytes(call, "reserved-space") or keep
        most, free = _bytes(call, "max-used-space"), _bytes(call, "min-free-space")
    until_ns, admits = _chosen(query.filters(), time.time_ns())
    freed = prune(call.engine, Kept(until_ns, keep, admits, most, free))
    return json_answer(
        {"CachesDeleted": list(freed.ids) or None, "SpaceReclaimed": freed.reclaimed_bytes}
    )


def _bytes(call: Call, name: str) -> int:
    try:
        return call.query.integer(name)
    except InvalidInput as error:
        text = call.query.text(name)
        raise InvalidInput(f"{name} is in bytes and expects an integer, got {text}") from error


def _chosen(filters: Mapping[str, Sequence[str]], now_ns: int) -> tuple[int, Callable[[str], bool]]:
    """Since when used records stay, and which ids may go."""
    for name in filters:
        if name in _UNSUPPORTED:
            raise Unsupported(f"the filter '{name}' is not supported by onggi")
        if name in ("label", "label!"):
            continue  # `system prune` sends its own along; records have no labels
        if name not in ("until", "unused-for", "id"):
            raise InvalidInput(f"invalid filter '{name}'")
    moments = [*filters.get("until", ()), *filters.get("unused-for", ())]
    patterns = filters.get("id", ())
    if len(moments) > 1 or len(patterns) > 1:
        raise InvalidInput("filters expect only one value")
    until_ns = pruning.parse({"until": moments}, now_ns).until_ns
    try:
        pattern = re.compile(patterns[0]) if patterns else None
    except re.error as error:
        raise InvalidInput(f"invalid filter 'id': {error}") from error
    return until_ns, lambda id_: pattern is None or bool(pattern.search(id_))


def cancel(call: Call) -> Answer:
    """Only builds of BuildKit have an id; ours end with their clients."""
    if not call.query.text("id"):
        raise InvalidInput("build ID not provided")
    raise NotFound(f"no such build: {call.query.text('id')[:200]}")


def session(call: Call) -> Answer:
    raise Unsupported("BuildKit's session is not supported by onggi: set DOCKER_BUILDKIT=0")


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune, since=(1, 31)),
    Route("POST", "/build/cancel", cancel, since=(1, 39)),
    Route("POST", "/session", session),
    Route("POST", "/grpc", session),
)
