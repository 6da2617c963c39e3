"""The engine: wires the services over one store. It has no verbs of its own and keeps no state;
any number of processes may hold one over the same directories."""

from collections.abc import Callable
from typing import NamedTuple

from ..store.store import Store
from .archive import Archive
from .containers import Containers
from .execs import Execs
from .images import Images
from .logs import Logs
from .networks import Networks
from .paths import Paths
from .system import System
from .volumes import Volumes


class Settings(NamedTuple):
    """What a frontend knows of its user: where docker's credentials and our configuration lie, and
    the proxies of its environment ({"http": url, "https": url, "no": list})."""

    docker_config: str = ""
    config_files: tuple[str, ...] = ()
    proxies: dict[str, str] = {}  # noqa: RUF012 - never mutated


def _ignore(text: str) -> None:
    pass


class Engine:
    def __init__(
        self,
        root: str = "/var/lib/onggi",
        run: str = "/run/onggi",
        *,
        settings: Settings = Settings(),  # noqa: B008 - immutable
        warn: Callable[[str], None] = _ignore,
    ) -> None:
        """`root` outlives a boot, `run` does not. `warn` gets one line for the user at a time."""
        self.store = Store(root, run)
        self.paths = Paths(root, run)
        self.images = Images(self.store, settings)
        self.networks = Networks(self.store, run)
        self.volumes = Volumes(self.store, root)
        self.containers = Containers(
            self.store, self.paths, self.images, self.networks, self.volumes, warn
        )
        self.execs = Execs(self.store, self.paths, self.containers.get)
        self.logs = Logs(self.paths, self.containers.get)
        self.archive = Archive(self.store, self.paths, self.containers.get)
        self.system = System(self.store, self.containers, self.images, self.volumes)

    def close(self) -> None:
        self.store.close()
