"""`/build`: the classic builder's protocol over our builder; its prune and cancel; the doors for
clients of BuildKit (api/buildkit).

A context is received whole before the build begins, in a file that has no name any more; the build
runs in a worker of the spawner, on a leash that is let go of when the client goes.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..build.pruning import Item, Kept
from ..build.pruning import prune as pruned
from ..engine import pruning
from ..errors import InvalidInput, NotFound, OnggiError, Unavailable, Unsupported
from ..httpd.exchange import Raw
from ..progress import from_json
from ..typed import TYPE_CHECKING
from . import buildquery, registryauth
from .buildlines import BuildLines
from .call import Answer, Call, json_answer
from .route import Route

if TYPE_CHECKING:
    from .buildkit.control import BuildKit

_FACTS: dict[str, Callable[[Item], bool]] = {
    "inuse": lambda item: item.in_use,
    "shared": lambda item: item.shared,
    "private": lambda item: not item.shared,
}
_TEXTS: dict[str, Callable[[Item], str]] = {
    "type": lambda item: item.kind,
    "description": lambda item: item.description,
    "parent": lambda item: "",  # our records stand on none
}
_TRUTHS = {"1": True, "true": True, "0": False, "false": False}
_TIMES = ("until", "unused-for")


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
    query = call.query
    keep, most, free = _bytes(call, "keep-storage"), 0, 0
    if call.version >= (1, 48):
        keep = _bytes(call, "reserved-space") or keep
        most, free = _bytes(call, "max-used-space"), _bytes(call, "min-free-space")
    filters = query.filters()
    kept = Kept(
        _until_ns(filters, time.time_ns()), keep, max_used_bytes=most, min_free_bytes=free,
        everything=query.flag("all"), wanted=_wanted(filters),
    )  # fmt: skip
    freed = pruned(call.engine, kept)
    return json_answer(
        {"CachesDeleted": list(freed.ids) or None, "SpaceReclaimed": freed.reclaimed_bytes}
    )


def _bytes(call: Call, name: str) -> int:
    try:
        return call.query.integer(name)
    except InvalidInput as error:
        text = call.query.text(name)
        raise InvalidInput(f"{name} is in bytes and expects an integer, got {text}") from error


def _until_ns(filters: Mapping[str, Sequence[str]], now_ns: int) -> int:
    """Since when used records stay; 0 for none."""
    moments = [moment for name in _TIMES for moment in filters.get(name, ())]
    if len(moments) > 1:
        raise InvalidInput("filters expect only one value")
    return pruning.parse({"until": moments}, now_ns).until_ns


def _wanted(filters: Mapping[str, Sequence[str]]) -> Callable[[Item], bool]:
    """Whether all filters but those of time choose an entry. Labels choose nothing: `system prune`
    sends its own along, and records have none."""
    tests: list[Callable[[Item], bool]] = []
    for name, values in filters.items():
        if name in (*_TIMES, "label", "label!"):
            continue
        if name not in ("id", *_FACTS, *_TEXTS):
            raise InvalidInput(f"invalid filter '{name}'")
        if len(values) > 1:
            raise InvalidInput("filters expect only one value")
        tests += [_test(name, value) for value in values]
    return lambda item: all(test(item) for test in tests)


def _test(name: str, value: str) -> Callable[[Item], bool]:
    if name == "id":
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise InvalidInput(f"invalid filter 'id': {error}") from error
        return lambda item: bool(pattern.search(item.id))
    if name in _TEXTS:
        return lambda item: _TEXTS[name](item) == value
    if value not in _TRUTHS:
        raise InvalidInput(f"invalid filter '{name}={value}'")
    return lambda item: _FACTS[name](item) == _TRUTHS[value]


def cancel(call: Call) -> Answer:
    """Only builds of BuildKit have an id; ours end with their clients."""
    if not call.query.text("id"):
        raise InvalidInput("build ID not provided")
    raise NotFound(f"no such build: {call.query.text('id')[:200]}")


def session(call: Call) -> None:
    """The client serves on this connection what a build may ask of it."""
    buildkit = _buildkit(call)
    header = call.request.header
    id_ = header("x-docker-expose-session-uuid")
    methods = header("x-docker-expose-session-grpc-method").lower().split(",")
    buildkit.sessions.check_free(id_)
    buildkit.serve_session(_upgraded(call), id_, frozenset(method.strip() for method in methods))


def grpc(call: Call) -> None:
    buildkit = _buildkit(call)
    buildkit.serve_calls(_upgraded(call))


def _upgraded(call: Call) -> Raw:
    """Raises InvalidInput."""
    protocol = call.request.header("upgrade")
    if not protocol:
        raise InvalidInput("no upgrade proto in request")
    if protocol != "h2c":
        raise InvalidInput(f"protocol {protocol[:80]} not supported")
    return call.exchange.hijack(call.headers, protocol=protocol)


def _buildkit(call: Call) -> "BuildKit":
    try:
        return call.shared.buildkit(call.engine)
    except ImportError as error:
        raise Unsupported(
            "this onggi has no libraries for clients of BuildKit: pip install 'onggi[buildkit]', "
            "or set DOCKER_BUILDKIT=0"
        ) from error


ROUTES = (
    Route("POST", "/build", build),
    Route("POST", "/build/prune", prune, since=(1, 31)),
    Route("POST", "/build/cancel", cancel, since=(1, 39)),
    Route("POST", "/session", session),
    Route("POST", "/grpc", grpc),
)
