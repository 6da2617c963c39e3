"""Warnings of the engine while a request is handled: one thread, one request."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


def note(text: str) -> None:
    """The engine's `warn`."""
    found: list[str] | None = getattr(_here, "found", None)
    if found is not None:
        found.append(text)


@contextmanager
def collected() -> Iterator[list[str]]:
    """What the engine warns of in this thread while the block runs."""
    found: list[str] = []
    _here.found = found
    try:
        yield found
    finally:
        _here.found = None
