"""Pods: containers that share namespaces which outlive each of them.

A pod is a row like a container's, of a process that only sleeps (`podrun`): its endpoint, published
ports, names and files are those of a container, and the containers in it join its namespaces as
`--network container:ID` would. It is not in `ps`.
"""

from collections.abc import Callable, Sequence

from ..errors import Conflict, NotFound, NotModified, OnggiError
from ..spec.container import Container, HostOptions
from ..store.store import Store
from ..typed import Any, NamedTuple
from . import merge, podplan
from .autostart import ordered
from .containers import Containers
from .creation import Creation
from .reaper import ACTIVE

MAX_AT_ONCE = 32
MAX_NAME_ATTEMPTS = 6


class PodOptions(NamedTuple):
    """What `pod create` asks. Of `host` what is about the network, names, limits of the kernel
    (sysctls) and /dev/shm; what is about a command does not matter."""

    name: str = ""
    hostname: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    share: tuple[str, ...] = podplan.DEFAULT_SHARE
    host: HostOptions = HostOptions()


class Pod(NamedTuple):
    """`infra` holds the namespaces; `members` oldest first."""

    infra: Container
    members: tuple[Container, ...]

    @property
    def id(self) -> str:
        return self.infra.id

    @property
    def name(self) -> str:
        return podplan.name_of(self.infra)

    @property
    def state(self) -> str:
        return podplan.state_of(
            self.infra.state.status, (member.state.status for member in self.members)
        )


class Pods:
    def __init__(
        self, store: Store, containers: Containers, creation: Callable[[], Creation]
    ) -> None:
        self._store = store
        self._containers = containers
        self._creation = creation

    def create(self, options: PodOptions) -> Pod:
        """A new pod, not started; no name makes one up. Raises Conflict for a taken name,
        InvalidInput."""
        from . import names

        if options.name:
            merge.check_name(options.name)
        for attempt in range(MAX_NAME_ATTEMPTS):
            name = options.name or names.generate(attempt)
            wanted = podplan.infra(
                name, options.hostname, options.labels, options.share, options.host
            )
            try:
                return Pod(self._creation().create_pod(wanted), ())
            except Conflict as error:
                if options.name:
                    raise Conflict(f"name {name} is in use: pod already exists") from error
        raise Conflict("no free name for the pod")

    def get(self, reference: str) -> Pod:
        """By name, id, or unambiguous start of an id. Raises NotFound."""
        infra = podplan.find(self._containers.get, reference)
        return Pod(infra, tuple(self._members(infra.id)))

    def list(self) -> Sequence[Pod]:
        """Newest first."""
        members = self._members()
        found = []
        for row in self._store.containers.list(purpose="pod"):
            try:
                infra = self._containers.get(row.id)
            except NotFound:
                continue  # removed meanwhile
            own = (c for c in members if c.config.options.host.pod == infra.id)
            found.append(Pod(infra, tuple(own)))
        return found

    def _members(self, pod_id: str = "") -> Sequence[Container]:
        """Of one pod, or of all; oldest first."""
        found = [c for c in reversed(self._containers.list(all=True)) if c.config.options.host.pod]
        return [c for c in found if not pod_id or c.config.options.host.pod == pod_id]

    def inspect(self, reference: str) -> dict[str, Any]:
        """Podman's JSON object of one pod."""
        from . import podview

        pod = self.get(reference)
        return podview.inspect(pod.infra, pod.members, pod.state)

    # -- its life

    def start(self, reference: str) -> Pod:
        """The namespaces, then every container that does not run; one after those it depends on.
        Raises what keeps one from starting, after all were tried."""
        pod = self.get(reference)
        try:
            self._containers.start(pod.id)
        except NotModified:
            pass
        idle = [c for c in pod.members if c.state.status not in ACTIVE]
        self._each(ordered(idle), lambda c: self._containers.start(c.id))
        return pod

    def stop(self, reference: str, *, timeout_s: int | None = None) -> Pod:
        """All containers together, then the namespaces. A pod that does not run is no error."""
        pod = self.get(reference)
        self._together(pod, lambda c: self._containers.stop(c.id, timeout_s=timeout_s))
        try:
            self._containers.stop(pod.id)
        except NotModified:
            pass
        self._containers.get(pod.id)  # who looks after it has ended records its end
        return pod

    def restart(self, reference: str, *, timeout_s: int | None = None) -> Pod:
        self.stop(reference, timeout_s=timeout_s)
        return self.start(reference)

    def kill(self, reference: str, signal: str = "KILL") -> Pod:
        """A signal for every container that runs; the namespaces stay."""
        pod = self.get(reference)
        running = [c for c in pod.members if c.state.status in ACTIVE]
        self._each(running, lambda c: self._containers.kill(c.id, signal))
        return pod

    def pause(self, reference: str) -> Pod:
        pod = self.get(reference)
        running = [c for c in pod.members if c.state.status == "running"]
        self._each(running, lambda c: self._containers.pause(c.id))
        return pod

    def unpause(self, reference: str) -> Pod:
        pod = self.get(reference)
        paused = [c for c in pod.members if c.state.status == "paused"]
        self._each(paused, lambda c: self._containers.unpause(c.id))
        return pod

    def remove(self, reference: str, *, force: bool = False, volumes: bool = False) -> Pod:
        """The pod with its containers. Raises Conflict while one runs (not with `force`)."""
        pod = self.get(reference)
        running = [c.name for c in pod.members if c.state.status in ACTIVE]
        if running and not force:
            raise Conflict(
                f"pod {pod.name} has containers that run: {', '.join(running)}",
                hint=f"onggi pod stop {pod.name}, or onggi pod rm -f {pod.name}",
            )
        for container in pod.members:
            try:
                self._containers.remove(container.id, force=force, volumes=volumes)
            except NotFound:
                continue  # --rm was faster
        self._containers.remove(pod.id, force=True)
        return pod

    def prune(self) -> Sequence[str]:
        """Remove the pods of which nothing runs; their ids."""
        removed = []
        for pod in self.list():
            if pod.state in ("Created", "Exited"):
                try:
                    self.remove(pod.id)
                except (Conflict, NotFound):
                    continue  # started or removed meanwhile
                removed.append(pod.id)
        return removed

    def _each(self, containers: Sequence[Container], work: Callable[[Container], object]) -> None:
        """One that cannot keeps none of the others; then its error is raised."""
        problem: OnggiError | None = None
        for container in containers:
            try:
                work(container)
            except NotModified:
                continue
            except OnggiError as error:
                problem = problem or error
        if problem is not None:
            raise problem

    def _together(self, pod: Pod, work: Callable[[Container], object]) -> None:
        """At once: the slowest takes as long as all."""
        from concurrent.futures import ThreadPoolExecutor

        running = [c for c in pod.members if c.state.status in ACTIVE]
        if not running:
            return
        with ThreadPoolExecutor(min(MAX_AT_ONCE, len(running))) as pool:
            ends = [pool.submit(work, container) for container in running]
        for end in ends:
            try:
                end.result()
            except (NotModified, NotFound):
                continue  # it ended by itself
