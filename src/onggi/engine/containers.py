"""Containers from create to remove. The verbs' long parts live beside: creation, launch (start and
watch), control (signals and waiting), changes (commit, diff, sizes), inspection (docker's JSON).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from ..errors import Conflict, InvalidInput, NotFound, NotModified
from ..progress import Report, ignore
from ..spec.container import Container, ContainerOptions, ContainerState
from ..spec.digest import Digest
from ..spec.image import Image
from ..spec.network import Endpoint, PortBinding
from ..spec.reference import parse_reference
from ..store.store import Store
from ..typed import TYPE_CHECKING, Any
from . import filters, lifecycle
from .events import Events
from .images import Images
from .networks import Networks
from .paths import Paths
from .reaper import ACTIVE, Reaper
from .tier import ROOT, Tier

if TYPE_CHECKING:
    from socket import socket

    from ..monitor.attach import Attachment
    from ..spec.container import Resources
    from .control import Control, Table
    from .creation import Creation
    from .launch import Launcher
    from .notes import Why
    from .pruning import Chosen
    from .restart import Policy
    from .run import Services
    from .spawner import Spawner
    from .volumes import Volumes
    from .wiring import Wiring


class Containers:
    def __init__(
        self,
        store: Store,
        paths: Paths,
        images: Images,
        networks: Networks,
        volumes: Callable[[], "Volumes"],
        events: Events,
        creation: Callable[[], "Creation"],
        spawner: "Spawner | None" = None,
        tier: Tier = ROOT,
    ) -> None:
        self._store = store
        self._paths = paths
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._events = events
        self._reaper = Reaper(store, paths, self._clean, events)
        self._creation = creation
        self._spawner = spawner
        self._tier = tier

    @property
    def _wiring(self) -> "Wiring":
        return self._networks.wiring

    @cached_property
    def _launcher(self) -> "Launcher":
        if self._spawner is not None:
            from .spawner import SpawnedLauncher

            return SpawnedLauncher(self.services, self._spawner)
        from .launch import Launcher

        return Launcher(self.services)

    @cached_property
    def _control(self) -> "Control":
        from .control import Control

        return Control(self._store, self._paths, self.get, self._events)

    @cached_property
    def services(self) -> "Services":
        from .run import Services

        return Services(
            self._store,
            self._paths,
            self._wiring,
            self._volumes(),
            self.get,
            self._reaper,
            self._events,
            tier=self._tier,
        )

    # -- create, look, remove

    def create(
        self, options: ContainerOptions, *, pull: str = "missing", report: Report = ignore
    ) -> Container:
        """A new container, not started. `pull` is missing, always or never. Raises NotFound for an
        image that cannot be had, Conflict for a taken name, InvalidInput with docker's words."""
        return self._creation().create(options, pull, report)

    def get(self, reference: str) -> Container:
        """By id, unambiguous start of an id, or name, as it is now. Raises NotFound."""
        return self._reaper.observe(self._store.containers.get(reference))

    def _filtered(
        self, found: list[Container], chosen: Mapping[str, Sequence[str]]
    ) -> list[Container]:
        if not chosen:
            return found
        networks = self._networks.list() if "network" in chosen else ()
        names_ = {network.id: network.name for network in networks}

        def image_of(reference: str) -> Image | None:
            try:
                return self._images.get(reference)
            except (NotFound, InvalidInput):
                return None

        def networks_of(container: Container) -> Sequence[str]:
            known = self.network_names(container)
            return [*known, *(id_ for id_, name in names_.items() if name in known)]

        return filters.select(
            found, chosen, image_of=image_of, networks_of=networks_of, find=self.get
        )

    def list(
        self, *, all: bool = False, filters: filters.Filters | None = None, limit: int = 0
    ) -> Sequence[Container]:
        """Newest first; without `all` (or a status filter, or `limit`) only those that run."""
        chosen = filters or {}
        everything = all or limit > 0 or "status" in chosen or "exited" in chosen
        found = [self._reaper.observe(c) for c in self._store.containers.list(all=everything)]
        if not everything:
            found = [c for c in found if c.state.status in ACTIVE]
        found = self._filtered(found, chosen)
        return found[:limit] if limit > 0 else found

    def inspect(self, reference: str, *, size: bool = False) -> dict[str, Any]:
        """Docker's JSON object of one container."""
        from . import inspection

        container = self.get(reference)
        sizes = self.size(container.id) if size else None
        endpoints = self._networks.endpoints(container.id)
        by_id = {network.id: network for network in self._networks.list()}
        return inspection.container(container, self._paths, endpoints, by_id, sizes)

    def endpoints(self, container: Container) -> Sequence[Endpoint]:
        return self._networks.endpoints(container.id)

    def network_names(self, container: Container) -> Sequence[str]:
        """The networks that it is on, or will be when it runs; "host" and "none" are some too."""
        from . import endpoints

        return endpoints.network_names(container.config.options.host)

    def ports(self, container: Container) -> tuple[PortBinding, ...]:
        """The ports that are published right now, with their real host ports."""
        from ..linux.rtnetlink import has_ipv6
        from .endpoints import shown

        found = self.endpoints(container)
        return tuple(port for endpoint in found for port in shown(endpoint, v6=has_ipv6()))

    def loopback_only_ports(self, container: Container) -> Sequence[PortBinding]:
        """Published ports whose program listens on 127.0.0.1 alone, where -p cannot reach it."""
        from . import inspection

        return inspection.loopback_only(container, self.ports(container))

    def rename(self, reference: str, name: str) -> None:
        from . import merge

        container = self.get(reference)
        if name.lstrip("/") == container.name:
            raise InvalidInput("Renaming a container with the same name as its current name")
        try:
            merge.check_name(name.lstrip("/"))
            self._store.containers.rename(container.id, name.lstrip("/"))
        except (Conflict, InvalidInput) as error:
            error.message = f"Error when allocating new name: {error.message}"
            raise
        renamed = container._replace(name=name.lstrip("/"))
        if container.state.status in ACTIVE:
            self._wiring.rename(renamed)
        self._events.container(renamed, "rename", oldName=f"/{container.name}")

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> None:
        """Delete a container that does not run (with `force`: kill it first), its writable layer
        and logs; with `volumes` its anonymous volumes too. Raises Conflict, NotFound."""
        container = self.get(reference)
        if container.config.options.purpose == "pod":
            self._refuse_used(container)
        while not self._removed(container, force, volumes):
            container = self.get(container.id)  # a start had the lock, and was faster

    def _refuse_used(self, pod: Container) -> None:
        for container in self._store.containers.list():
            if container.config.options.host.pod == pod.id:
                raise Conflict(f"container {pod.id} holds a pod that {container.name} is in")

    def _removed(self, container: Container, force: bool, volumes: bool) -> bool:
        """False when `force` is to end another run first."""
        from . import removal

        if container.state.status in ACTIVE:
            if not force:
                raise Conflict(
                    f'cannot remove container "/{container.name}": container is '
                    f"{container.state.status}: stop the container before removing or force remove"
                )
            self._control.end_now(container)
        with self._paths.locked(container.id):
            try:
                container = self._reaper.observe(self._store.containers.get(container.id))
            except NotFound:
                return True  # --rm was faster
            if container.state.status in ACTIVE:
                if force:
                    return False
                raise Conflict(f'container "{container.name}" was started meanwhile')
            self._clean(container)
            removal.delete(self.services, container, with_volumes=volumes)
        return True

    def prune(self, chosen: "Chosen | None" = None) -> Sequence[str]:
        """Remove all containers that do not run, or the chosen of them; their ids."""
        from . import initlayer

        removed = []
        for container in self.list(all=True):
            if container.state.status not in ("created", "exited", "dead"):
                continue
            if chosen is None or chosen.admits(container.config.labels, container.created_ns):
                try:
                    self.remove(container.id)
                except (Conflict, NotFound):
                    continue  # started or removed meanwhile
                removed.append(container.id)
        initlayer.collect(self._store, self._paths)
        self._wiring.sweep()
        return removed

    def _clean(self, container: Container) -> None:
        """Undo what a run made, whatever of it is left."""
        from .cgroups import cgroup_of

        cgroup_of(container).remove()
        self._wiring.disconnect(container.id)
        self._paths.remove_running(container.id)

    # -- run

    def start(self, reference: str) -> Container:
        """Start; returns when the process runs. Raises CommandNotFound, CommandNotExecutable,
        NotModified when it already runs."""
        return self._launcher.start(self.get(reference), client=None)

    def start_for(self, reference: str, client: "socket") -> Container:
        """Start with the other end of a client's connection (monitor.attach), which misses no byte
        and slows the container as a pipe would."""
        return self._launcher.start(self.get(reference), client)

    def start_attached(self, reference: str, *, stdin: bool) -> "Attachment":
        """Start with an attachment that misses no byte and slows the container as a pipe would."""
        return self._launcher.start_attached(self.get(reference), stdin=stdin)

    def attach(self, reference: str, *, stdin: bool) -> "Attachment":
        """Join a running container's streams. Raises Conflict when it does not run."""
        return self._control.attach(self.get(reference), stdin=stdin)

    def stop(
        self,
        reference: str,
        *,
        timeout_s: int | None = None,
        signal: str = "",
        why: "Why" = "stop",
    ) -> None:
        """Signal, wait, then kill. Raises NotModified when it does not run."""
        self._control.stop(self.get(reference), timeout_s, signal, why)

    def kill(self, reference: str, signal: str = "KILL") -> None:
        self._control.kill(self.get(reference), signal)

    def restart(self, reference: str, *, timeout_s: int | None = None, signal: str = "") -> None:
        container = self.get(reference)
        if container.state.status in ACTIVE:
            lifecycle.require(container, "stop")
            try:
                self._control.stop(container, timeout_s, signal, why="restart")
            except NotModified:
                pass  # it ended meanwhile
            container = self.get(container.id)
        try:
            self._launcher.start(container, client=None)
        except NotModified:
            pass  # another restart was faster
        self._events.container(container, "restart")

    def pause(self, reference: str) -> None:
        self._control.pause(self.get(reference))

    def unpause(self, reference: str) -> None:
        self._control.unpause(self.get(reference))

    def wait(self, reference: str, *, timeout_s: float | None = None) -> ContainerState:
        """Wait for the end; the final state. Raises Unavailable after `timeout_s`."""
        return self._control.wait(self.get(reference), timeout_s)

    def top(self, reference: str, ps_args: Sequence[str]) -> "Table":
        return self._control.top(self.get(reference), ps_args)

    def update(
        self, reference: str, change: "Resources", policy: "Policy | None" = None
    ) -> Sequence[str]:
        """Other limits (what is 0 stays) and another restart policy, also while it runs; warnings.
        Raises Conflict, InvalidInput with docker's words."""
        from . import update

        container = self.get(reference)
        warnings = update.update(self._store, self._paths, self.get, container, change, policy)
        self._events.container(container, "update")
        return warnings

    # -- what it changed

    def diff(self, reference: str) -> Sequence[tuple[str, str]]:
        """("A" | "C" | "D", path) of everything that differs from the image."""
        from . import changes

        return changes.diff(self._store, self._paths, self.get(reference))

    def size(self, reference: str) -> tuple[int, int]:
        """(bytes of the writable layer, bytes of everything)."""
        from . import changes

        return changes.sizes(self._store, self._paths, self.get(reference))

    def commit(
        self,
        reference: str,
        *,
        target: str = "",
        author: str = "",
        message: str = "",
        changes_: Sequence[str] = (),
        pause: bool = True,
    ) -> Digest:
        """An image of the container's present file system; the image's id."""
        from . import changes

        container = self.get(reference)
        name = parse_reference(target) if target else None
        request = changes.CommitRequest(name, author, message, tuple(changes_), pause)
        image_id = changes.commit(self._store, self._paths, container, request)
        self._events.container(
            container, "commit", comment=message, imageID=image_id, imageRef=target
        )
        return image_id
