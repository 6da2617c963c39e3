"""The builders that are about hold RUN/build.lock, shared: who gets it alone may clean up."""

from ..engine.engine import Engine
from ..store.lock import Hold, Lock


def sweep(engine: Engine) -> None:
    """Take away the step containers of builders that died, unless a builder is about: an ended step
    may be one it is committing."""
    if not engine.store.containers.list(all=True, purpose="build"):
        return
    alone = _lock(engine).try_exclusive()
    if alone is not None:
        with alone:
            engine.steps.sweep()


def among_builders(engine: Engine) -> Hold:
    """Every builder holds RUN/build.lock, shared."""
    sweep(engine)
    return _lock(engine).shared()


def _lock(engine: Engine) -> Lock:
    return Lock(f"{engine.store.run}/build.lock")
