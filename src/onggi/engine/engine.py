"""The engine: wires the services over one store. It has no verbs of its own and keeps no state;
any number of processes may hold one over the same directories.

Services are made, and their modules loaded, when they are first asked for: `ps` never loads the
runtime, a monitor never loads the registry client.
"""

from collections.abc import Callable
from functools import cached_property

from ..spec.container import HostOptions
from ..store.store import Store
from ..typed import TYPE_CHECKING
from .containers import Containers
from .events import Events
from .images import Images
from .networks import Networks
from .paths import Paths
from .settings import Settings
from .tier import check_owner

if TYPE_CHECKING:
    from .archive import Archive
    from .configuration import CacheBudget
    from .creation import Creation
    from .execs import Execs
    from .logs import Logs
    from .offering import Offering
    from .pods import Pods
    from .spawner import Spawner
    from .steps import Steps
    from .system import System
    from .transfer import Transfer
    from .volumes import Volumes


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
        spawner: "Spawner | None" = None,
    ) -> None:
        """`root` outlives a boot, `run` does not. `warn` gets one line for the user at a time. A
        program with threads gives a `spawner`, which then starts containers and execs."""
        check_owner(root)
        self._settings = settings
        self._warn = warn
        self.spawner = spawner
        self.store = Store(root, run)
        self.paths = Paths(root, run)
        self.events = Events(run)
        self.images = Images(self.store, settings, self.events)
        self.networks = Networks(
            self.store,
            self.paths,
            self.events,
            settings,
            lambda reference: self.containers.get(reference),
        )
        self.containers = Containers(
            self.store,
            self.paths,
            self.images,
            self.networks,
            lambda: self.volumes,
            self.events,
            lambda: self.creation,
            spawner,
            settings.tier,
        )

    @cached_property
    def security_profile(self) -> str:
        """For containers that name none."""
        from . import configuration

        return configuration.profile(self._settings.config_files)

    @cached_property
    def cache_budget(self) -> "CacheBudget":
        """Of builds."""
        from . import configuration

        return configuration.cache_budget(self._settings.config_files)

    def security_layers(self, host: HostOptions) -> list[tuple[str, bool, str]]:
        """(name, whether it is on, about it) of a sandbox with these options, on this host."""
        from . import layers, security

        host = host._replace(security=host.security or self.security_profile)
        layers.refuse_missing(host)
        return [(name, on, about) for name, on, about in layers.active(security.hardened(host))]

    @cached_property
    def volumes(self) -> "Volumes":
        from .volumes import Volumes

        return Volumes(self.store, self.paths.root, self.events)

    @cached_property
    def creation(self) -> "Creation":
        from .creation import Creation

        return Creation(
            self.store,
            self.paths,
            self.images,
            self.networks,
            lambda: self.volumes,
            self.events,
            self._warn,
            lambda: self.security_profile,
            self.containers.get,
        )

    @cached_property
    def steps(self) -> "Steps":
        from .steps import Steps

        return Steps(self.containers, self.creation)

    @cached_property
    def offering(self) -> "Offering":
        """What this store gives and takes as a registry."""
        from .offering import Offering

        return Offering(self.store, self.events)

    @cached_property
    def transfer(self) -> "Transfer":
        """Images from store to store, without a registry."""
        from .transfer import Transfer

        return Transfer(self.store, self.events)

    @cached_property
    def pods(self) -> "Pods":
        from .pods import Pods

        return Pods(self.store, self.containers, lambda: self.creation)

    @cached_property
    def execs(self) -> "Execs":
        from .execs import Execs

        return Execs(
            self.store, self.paths, self.containers.get, self.events, self.spawner,
            self.networks.heal,
        )  # fmt: skip

    @cached_property
    def logs(self) -> "Logs":
        from .logs import Logs

        return Logs(self.paths, self.containers.get)

    @cached_property
    def archive(self) -> "Archive":
        from .archive import Archive

        return Archive(self.store, self.paths, self.containers.get, self.events)

    @cached_property
    def system(self) -> "System":
        from .system import System

        return System(self.store, self.containers, self.images, self.volumes, self._settings.tier)

    def close(self) -> None:
        self.store.close()
