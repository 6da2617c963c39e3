"""A build for a program with threads, in a worker of the engine's spawner: every RUN forks."""

import fcntl
import os
import select
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from ..engine.engine import Engine
from ..progress import Event, to_json
from ..registry.protocol import Secret
from ..spec import codec
from ..typed import Any
from .contexts import STDIN
from .service import BuildOptions, build, check, outline_of, targets_of

BLOCK = 256 << 10


def arguments(
    options: BuildOptions,
    secrets: dict[str, Secret],
    *,
    archives: Sequence[str] = (),
    borrows: bool = False,
) -> dict[str, Any]:
    """What `run` takes. `options` hold no callback: the context "-" is a descriptor, as is each of
    the named `archives`. A build that `borrows` has nobody's `secrets`, but somebody to ask."""
    told = {
        "no_cache_filter": sorted(options.no_cache_filter),
        "allowed": sorted(options.allowed),
    }
    plain = options._replace(
        no_cache_filter=frozenset(), allowed=frozenset(), dockerfile_text=None, ignore_text=None
    )
    lent = {server: list(secret) for server, secret in secrets.items()}
    return {
        "options": {**codec.encode(plain), **told},
        "text": _latin(options.dockerfile_text),
        "ignore": _latin(options.ignore_text),
        "secrets": lent,
        "archives": list(archives),
        "borrows": borrows,
    }


def _latin(text: bytes | None) -> str | None:
    return None if text is None else text.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")


def run(
    engine: Engine, arguments: dict[str, Any], fds: Sequence[int], report: Callable[[Any], None]
) -> dict[str, Any]:
    """`fds` are the context (read when the options say so), a leash, the named archives, and whom
    to ask (borrowed.Lender). The leash is a socket: when its other end is closed the build is given
    up, as by Ctrl-C."""
    _give_up_with(fds[1])
    options = _options(engine, arguments, fds)
    result = build(engine, options, lambda event: report(to_json(event)))
    return {"id": str(result.image_id), "tags": list(result.tags), "manifest": result.manifest}


def _options(engine: Engine, arguments: dict[str, Any], fds: Sequence[int]) -> BuildOptions:
    """With what is read from descriptors, and the engine with the client's credentials."""
    context, _, *others = fds
    options = codec.decode(BuildOptions, arguments["options"])
    options = options._replace(
        no_cache_filter=frozenset(options.no_cache_filter),
        allowed=frozenset(options.allowed),
        dockerfile_text=_bytes(arguments["text"]),
        ignore_text=_bytes(arguments["ignore"]),
        archives={
            name: reader(fd) for name, fd in zip(arguments["archives"], others, strict=False)
        },
    )
    if options.context_dir == STDIN:
        options = options._replace(stdin=reader(context))
    if arguments["borrows"]:
        from .borrowed import Borrowed, Lender

        lender = Lender(others[-1])
        options = options._replace(secrets=Borrowed(lender.secret), agents=Borrowed(lender.agent))
        engine.images = engine.images.with_secrets(lender.credential)
    else:
        lent = {server: Secret(*parts) for server, parts in arguments["secrets"].items()}
        engine.images = engine.images.with_secrets(lent)
    return options


def describe(
    engine: Engine, arguments: dict[str, Any], fds: Sequence[int], report: Callable[[Any], None]
) -> dict[str, Any]:
    """What the Dockerfile says of itself; `method` is that of --call, the rest as for `run`."""
    _give_up_with(fds[1])
    options = _options(engine, arguments, fds)

    def told(event: Event) -> None:
        report(to_json(event))

    if arguments["method"] == "lint":
        found = check(engine, options, told).findings
        return {"findings": [[item.rule, item.message, item.line] for item in found]}
    if arguments["method"] == "targets":
        return {"targets": codec.encode(targets_of(engine, options))}
    outline = outline_of(engine, options, told)
    return {field: codec.encode(value) for field, value in outline._asdict().items()}


def reader(fd: int) -> Callable[[int], bytes]:
    """Reads a file from its start, whoever else reads it."""
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        data = os.pread(fd, min(size, BLOCK), at)
        at += len(data)
        return data

    return read


def _give_up_with(leash: int) -> None:
    """A hang-up of the leash interrupts whatever we wait for."""

    def look(number: int, frame: FrameType | None) -> None:
        poll = select.poll()
        poll.register(leash, select.POLLRDHUP)
        if poll.poll(0):
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            raise KeyboardInterrupt

    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(leash, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(leash, fcntl.F_SETFL, os.O_ASYNC)
    look(signal.SIGIO, None)  # it may have happened before
