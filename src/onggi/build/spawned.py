"""A build for a program with threads, in a worker of the engine's spawner: every RUN forks."""

import fcntl
import os
import select
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from ..engine.engine import Engine
from ..progress import to_json
from ..registry.protocol import Secret
from ..spec import codec
from ..typed import Any
from .contexts import STDIN
from .service import BuildOptions, build

BLOCK = 256 << 10


def arguments(options: BuildOptions, secrets: dict[str, Secret]) -> dict[str, Any]:
    """What `run` takes. `options` hold no callback: the context "-" is a descriptor."""
    told = {
        "no_cache_filter": sorted(options.no_cache_filter),
        "allowed": sorted(options.allowed),
    }
    plain = options._replace(no_cache_filter=frozenset(), allowed=frozenset())
    lent = {server: list(secret) for server, secret in secrets.items()}
    return {"options": {**codec.encode(plain), **told}, "secrets": lent}


def run(
    engine: Engine, arguments: dict[str, Any], fds: Sequence[int], report: Callable[[Any], None]
) -> dict[str, Any]:
    """`fds` are the context (read when the options say so) and a leash, a socket: when its other
    end is closed the build is given up, as by Ctrl-C."""
    context, leash = fds
    _give_up_with(leash)
    options = codec.decode(BuildOptions, arguments["options"])
    options = options._replace(
        no_cache_filter=frozenset(options.no_cache_filter), allowed=frozenset(options.allowed)
    )
    if options.context_dir == STDIN:
        options = options._replace(stdin=lambda size: os.read(context, min(size, BLOCK)))
    lent = {server: Secret(*parts) for server, parts in arguments["secrets"].items()}
    engine.images = engine.images.with_secrets(lent)
    result = build(engine, options, lambda event: report(to_json(event)))
    return {"id": str(result.image_id), "tags": list(result.tags)}


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
