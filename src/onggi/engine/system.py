"""What this engine and host are: version, info and disk usage."""

import os

from .. import __version__
from ..errors import NotFound
from ..linux.cgroup import Cgroup
from ..spec.platform import host_platform
from ..store.store import Store
from ..typed import Any, NamedTuple
from .cgroups import usable_layout
from .containers import Containers
from .images import Images
from .imageview import layer_size
from .paths import file_bytes
from .tier import ROOT, Tier
from .volumes import Volumes

API_VERSION = "1.51"


class Usage(NamedTuple):
    """One row of `system df`. Sizes in bytes."""

    kind: str
    total: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


class System:
    def __init__(
        self,
        store: Store,
        containers: Containers,
        images: Images,
        volumes: Volumes,
        tier: Tier = ROOT,
    ) -> None:
        self._store = store
        self._containers = containers
        self._images = images
        self._volumes = volumes
        self._tier = tier

    def version(self) -> dict[str, str]:
        platform, host = host_platform(), os.uname()
        return {
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "Os": platform.os,
            "Arch": platform.architecture,
            "KernelVersion": host.release,
        }

    def info(self) -> dict[str, Any]:
        containers = self._containers.list(all=True)
        by_status = [c.state.status for c in containers]
        host = os.uname()
        return {
            "Containers": len(containers),
            "ContainersRunning": by_status.count("running"),
            "ContainersPaused": by_status.count("paused"),
            "ContainersStopped": len(containers)
            - by_status.count("running")
            - by_status.count("paused"),
            "Images": len(self._images.list()),
            "Driver": "overlay2",
            "DriverStatus": [["Layer backend", self._store.layers.backend.kind]],
            "LoggingDriver": "json-file",
            "CgroupVersion": str(Cgroup("info", layout=usable_layout()).version),
            "KernelVersion": host.release,
            "OperatingSystem": _pretty_name(),
            "OSType": "linux",
            "Architecture": host.machine,
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "DockerRootDir": self._store.root,
            "Name": host.nodename,
            "ServerVersion": __version__,
            **self._privilege(),
        }

    def _privilege(self) -> dict[str, Any]:
        """The tier, and the command that raises it."""
        if self._tier.is_root:
            return {"Privilege": "root", "PrivilegeRaise": ""}
        from . import diagnosis, doctor

        found = diagnosis.privilege(doctor.look(self._store, self._tier))
        return {"Privilege": found.about, "PrivilegeRaise": found.fix}

    def usage(self) -> list[Usage]:
        """Images, containers, volumes and build cache."""
        images = self._images.list()
        containers = self._containers.list(all=True)
        used = {c.config.image_id for c in containers}
        layers = {layer for image in images for layer in image.config.diff_ids}
        held = {layer for i in images if i.id in used for layer in i.config.diff_ids}
        total = sum(layer_size(self._store, layer) for layer in layers)
        kept = sum(layer_size(self._store, layer) for layer in held)
        writable = {c.id: self._writable_bytes(c.id) for c in containers}
        idle = [c.id for c in containers if c.state.status not in ("running", "paused")]
        volumes = {v.name: tree_bytes(self._volumes.path(v.name)) for v in self._volumes.list()}
        unused = {v.name for v in self._store.volumes.unused()}
        cached = self._store.cache.list()
        cache_bytes = sum(record.size_bytes for record in cached)
        return [
            Usage("Images", len(images), sum(i.id in used for i in images), total, total - kept),
            Usage(
                "Containers",
                len(containers),
                len(containers) - len(idle),
                sum(writable.values()),
                sum(writable[i] for i in idle),
            ),
            Usage(
                "Local Volumes",
                len(volumes),
                len(volumes) - len(unused),
                sum(volumes.values()),
                sum(volumes[name] for name in unused),
            ),
            Usage("Build Cache", len(cached), 0, cache_bytes, cache_bytes),
        ]

    # Others work meanwhile: what has gone since it was listed holds nothing.

    def _writable_bytes(self, container_id: str) -> int:
        try:
            return self._containers.size(container_id)[0]
        except (NotFound, FileNotFoundError):
            return 0


def tree_bytes(path: str) -> int:
    """What all files below hold."""
    try:
        return sum(
            file_bytes(name, directory)
            for _, _, files, directory in os.fwalk(path, follow_symlinks=False)
            for name in files
        )
    except FileNotFoundError:  # all of it has gone
        return 0


def _pretty_name() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                if line.startswith("PRETTY_NAME="):
                    return line.partition("=")[2].strip().strip('"')
    except FileNotFoundError:
        pass
    return "Linux"
