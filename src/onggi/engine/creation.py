"""Making a container: everything that is decided and checked before its first start."""

import os
import time
from collections.abc import Callable

from .. import trace
from ..errors import Conflict, InvalidInput, NotFound
from ..linux import process
from ..progress import Message, Report
from ..spec.container import Container, ContainerOptions, ContainerState
from ..spec.digest import Digest, chain_id
from ..spec.image import Image, ImageConfig
from ..spec.platform import host_platform
from ..spec.reference import parse_reference
from ..store.store import Store
from ..typed import TYPE_CHECKING, Any
from .events import Events
from .images import Images
from .networks import Networks, container_of_mode
from .paths import Paths

if TYPE_CHECKING:
    from .volumes import Volumes

MAX_NAME_ATTEMPTS = 6
NO_IMAGE = Digest("sha256:" + "0" * 64)


class Creation:
    def __init__(
        self,
        store: Store,
        paths: Paths,
        images: Images,
        networks: Networks,
        volumes: Callable[[], "Volumes"],
        events: Events,
        warn: Callable[[str], None],
        profile: Callable[[], str],
        find: Callable[[str], Container],
    ) -> None:
        """`profile` is the security profile of containers that name none; `find` looks a container
        up as it is now."""
        self._store = store
        self._paths = paths
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._events = events
        self._warn = warn
        self._profile = profile
        self._find = find

    def create(self, options: ContainerOptions, pull: str, report: Report) -> Container:
        """Of an image by name, which is pulled as `pull` says."""
        from . import merge

        if options.name:
            merge.check_name(options.name)
        if options.host.pod:
            from . import podplan

            options = podplan.member(options, podplan.find(self._find, options.host.pod))
        self._check_modes(options)
        options = options._replace(host=self._networks.resolved(options.host))
        if not options.host.security:
            options = options._replace(host=options.host._replace(security=self._profile()))
        trace.mark("engine opened")
        image = self._image(options, pull, report)
        trace.mark("image found")
        return self._create(options, image)

    def create_pod(self, options: ContainerOptions) -> Container:
        """What holds a pod's namespaces: of no image, hidden from the lists."""
        self._check_modes(options)
        host = self._networks.resolved(options.host)
        options = options._replace(host=host._replace(security=host.security or self._profile()))
        nothing = ImageConfig(host_platform(), ())
        return self._create(options, Image(NO_IMAGE, nothing, None, 0, 0, ()))

    def create_step(self, options: ContainerOptions, layers: tuple[Digest, ...]) -> Container:
        """For one RUN of a build, on these layers; hidden from the lists."""
        self._check_modes(options)
        image = Image(chain_id(layers), ImageConfig(host_platform(), layers), None, 0, 0, ())
        return self._create(options._replace(purpose="build"), image)

    def _create(self, options: ContainerOptions, image: Image) -> Container:
        from . import launch, merge, points, security
        from .mountpoints import Mounts

        trace.mark("modules to create and start loaded")
        container_id = os.urandom(32).hex()
        options = options._replace(host=security.hardened(options.host))
        with self._store.shared():
            inherited = points.inherited(options.host, self._find)
            targets = [point.target for point in inherited]
            requests = merge.wanted_mounts(options, image.config.volumes, targets)
            user = options.user or image.config.user
            layers = image.config.diff_ids
            asked = Mounts(self._store, self._volumes(), layers, user, self._images.get)
            own = asked.resolve(requests)
            mounts = points.merged(inherited, own)
            try:
                config = merge.merge(container_id, options, image, mounts, self._host_name(options))
                for warning in launch.check(config):
                    self._warn(warning)
                trace.mark("configuration made and checked")
                self._paths.make_container(container_id)
                if options.host.storage_options:
                    from . import layerlimit

                    layerlimit.limit(self._paths, container_id, options.host.storage_options)
                container = self._insert(container_id, options.name, config)
            except BaseException:
                self._paths.remove_container(container_id)
                self._volumes().remove_anonymous(own)
                raise
        trace.mark("row and directory made")
        self._events.container(container, "create")
        return container

    def _insert(self, container_id: str, name: str, config: Any) -> Container:
        from . import names

        me = os.getpid()
        state = ContainerState(
            monitor_pid=me,
            monitor_start=process.start_time(me) or 0,
            boot_id=process.boot_id(),
        )
        for attempt in range(MAX_NAME_ATTEMPTS):
            chosen = name or names.generate(attempt)
            container = Container(container_id, chosen, time.time_ns(), config, state)
            try:
                self._store.containers.insert(container)
                return container
            except Conflict:
                if name or attempt == MAX_NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _image(self, options: ContainerOptions, pull: str, report: Report) -> Image:
        if pull != "always":
            try:
                return self._images.require(options.image, options.platform)
            except NotFound:
                if pull == "never":
                    raise
        name = parse_reference(options.image).familiar
        if pull == "missing":
            report(Message(f"Unable to find image '{name}' locally"))
        return self._images.pull(name, platform=options.platform, report=report)

    def _check_modes(self, options: ContainerOptions) -> None:
        host = options.host
        mode = host.network_mode
        self._networks.check_mode(mode)
        if host.ports and container_of_mode(mode):
            raise InvalidInput(
                "conflicting options: port publishing and the container type network mode"
            )
        for other in (text.partition(":")[0] for text in host.links):
            try:
                self._find(other)
            except NotFound as error:
                raise NotFound(f"could not get container for {other}: {error.message}") from error
        if container_of_mode(mode) and options.hostname:
            raise InvalidInput("conflicting options: hostname and the network mode")
        if host.auto_remove and host.restart_policy not in ("", "no"):
            raise InvalidInput("can't create 'AutoRemove' container with restart policy")

    def _host_name(self, options: ContainerOptions) -> str:
        """The host's name when the container shares the host's UTS namespace or network."""
        shares = options.host.uts_mode == "host" or options.host.network_mode == "host"
        if shares and not options.hostname:
            return os.uname().nodename
        host = options.host
        other = container_of_mode(host.network_mode) or container_of_mode(host.uts_mode)
        return self._find(other).config.hostname if other else ""
