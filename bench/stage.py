"""What a row is given: engines with the images in them, how often to measure, room for files."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import world
from .world import Engine


@dataclass
class Stage:
    home: Path
    pairs: int
    quick: bool
    names: tuple[str, ...]
    seccomp: Path  # docker's profile, as an OCI runtime takes it
    archives: tuple[Path, ...]  # images that every engine has
    python: Path  # the archive of python:3.11
    big: Path  # the archive of the storage rows
    wheels: Path
    _engines: dict[str, Engine] | None = None

    @property
    def few(self) -> int:
        """How often to do what takes seconds."""
        return max(1, self.pairs // 3)

    @contextlib.contextmanager
    def engines(self) -> Iterator[dict[str, Engine]]:
        """The engines that start and list; shared by the rows, empty of containers."""
        assert self._engines is not None
        yield self._engines

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Around all rows."""
        with world.engines(self.home / "engines", self.names) as engines:
            for engine in engines.values():
                for archive in self.archives:
                    engine.call("load", "-q", "-i", str(archive))
            self._engines = engines
            try:
                yield
            finally:
                self.clear(engines)

    def clear(self, engines: dict[str, Engine]) -> None:
        """No container is left in any of them."""
        for engine in engines.values():
            ids = engine.call("ps", "-aq").split()
            for start in range(0, len(ids), 100):
                engine.call("rm", "-f", *ids[start : start + 100])
