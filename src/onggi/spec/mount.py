"""Mounts as data: what a user asks for, and the layers a root filesystem is made of."""

from ..typed import Literal, NamedTuple

MountKind = Literal["bind", "volume", "tmpfs", "image"]
Recursion = Literal["", "disabled", "writable", "readonly"]  # bind-recursive; "" is "enabled"


class MountRequest(NamedTuple):
    """One -v, --mount or --tmpfs, parsed. `source` is a host path (bind), a volume name ("" for an
    anonymous volume), an image's reference or "" (tmpfs)."""

    kind: MountKind
    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    no_copy: bool = False
    create_source: bool = False  # -v makes a missing bind source, --mount refuses
    tmpfs_options: str = ""  # "size=64m,mode=1777"
    subpath: str = ""
    recursion: Recursion = ""
    labels: dict[str, str] = {}  # noqa: RUF012 - of a volume that this makes
    options: dict[str, str] = {}  # noqa: RUF012 - of the driver, for a volume that this makes
    driver: str = ""  # "" is local
    mode: str = ""  # the options of -v as they were given: "ro,z"
    origin: Literal["", "mount"] = ""  # "mount": --mount, which inspect shows apart from -v
    change_owner: bool = False  # :U, the files are given to the container's user


class MountPoint(NamedTuple):
    """A resolved mount of a container, as `inspect` shows it. `source` is a host path, or the
    reference of an image whose `layers` (bottom first) are mounted."""

    kind: MountKind
    name: str
    source: str
    target: str
    read_only: bool = False
    propagation: str = "rprivate"
    tmpfs_options: str = ""
    recursion: Recursion = ""
    layers: tuple[str, ...] = ()
    subpath: str = ""
    mode: str = ""  # as inspect shows it
    named: bool = False  # a volume that somebody named: --rm and rm -v leave it
    options: dict[str, str] = {}  # noqa: RUF012 - of the volume's driver


class LayerMount(NamedTuple):
    """How to get one layer's tree: a mountable EROFS file (directly, or through a loop device),
    or a directory; a "user-directory" has overlayfs' marks in user.* attributes. Where nothing can
    be mounted it is a whole tree, to be "copied"."""

    kind: Literal["erofs", "erofs-loop", "directory", "user-directory", "copied"]
    path: str


class RootFilesystem(NamedTuple):
    """An overlay: `lowers` bottom first, `upper` and `work` host directories ("" for read-only)."""

    lowers: tuple[LayerMount, ...]
    upper: str
    work: str


class Volume(NamedTuple):
    """A volume of the store."""

    name: str
    anonymous: bool = False
    created_ns: int = 0
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    options: dict[str, str] = {}  # noqa: RUF012 - type, o and device of the local driver
