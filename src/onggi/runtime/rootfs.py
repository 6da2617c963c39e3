"""The root filesystem of a container, put together in its own mount namespace.

Runs in the child, before pivot_root. Every mount is built detached and moved onto a pinned
descriptor: no path is walked twice, and /dev is filled before anybody can reach it (SECURITY A3 to
A7). /proc, /sys and /dev must be directories of the image, never links.
"""

import errno
import os
import stat
from collections.abc import Mapping

from ..errors import InvalidInput
from ..linux import mount, safefs
from ..linux.cgroup import Cgroup
from ..spec.mount import LayerMount
from ..typed import NamedTuple
from .plan import (
    DEFAULT_LINKS,
    DEFAULT_NODES,
    BindRoot,
    Device,
    InitPlan,
    MountOptions,
    PlanMount,
    check_sysctl,
    parse_options,
)
from .stdio import Streams

_SYSTEM_KINDS = frozenset(("proc", "sysfs", "devpts", "mqueue", "cgroup"))
_PROC_BINDS = frozenset(  # what lxcfs and the like may replace
    f"/proc/{name}"
    for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg",
                 "slabinfo", "net/dev")
)  # fmt: skip
_LABELLED = frozenset(("devpts", "tmpfs"))  # by a mount option; the policy labels the others
_OF_NAMESPACES = {"sysfs": "/sys", "proc": "/proc", "mqueue": "/dev/mqueue"}
_DIRECTORY = os.O_PATH | os.O_DIRECTORY
_NO_NODES: dict[str, int] = {}


class MountFailed(OSError):
    """An OSError of one mount, with the mount in its text."""


class Parts(NamedTuple):
    """What the parent made on the host because the child may not: descriptors, -1 for none."""

    root: int = -1
    dev: int = -1
    mask: int = -1
    sources: dict[int, int] = {}  # noqa: RUF012 - never mutated
    binds_nodes: bool = False  # nobody may make device nodes: the host's are bound

    def fds(self) -> tuple[int, ...]:
        own = (self.root, self.dev, self.mask, *self.sources.values())
        return tuple(fd for fd in own if fd >= 0)


class Tree:
    """The root while it grows. `pins` are the mounts that were made for the system, by target."""

    def __init__(self, root_fd: int) -> None:
        self.root_fd = root_fd
        self.pins: dict[str, int] = {}

    def open(self, path: str) -> int:
        """An existing path. Below a system mount of ours no link is followed."""
        pin, rest = self._nearest(path)
        if pin is None:
            return safefs.open_in_root(self.root_fd, path, os.O_PATH)
        return safefs.open_beneath(pin, rest or ".", os.O_PATH)

    def make(self, path: str, *, directory: bool) -> int:
        """A path that is made when it is missing."""
        pin, rest = self._nearest(path)
        if pin is None:
            make = safefs.mkdirs_in_root if directory else safefs.make_file_in_root
            return make(self.root_fd, path)
        return make_beneath(pin, rest, directory=directory)

    def make_plain_directory(self, path: str) -> int:
        """A directory none of whose parts is a link."""
        pin, rest = self._nearest(path)
        try:
            return make_beneath(self.root_fd if pin is None else pin, rest, directory=True)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidInput(f"{path} of the image must be an ordinary directory") from error
            raise

    def write_proc(self, path: str, text: str) -> None:
        """Write a file of the container's own proc file system, and of no other (A5)."""
        pin = self.pins.get("/proc")
        if pin is None or mount.file_system_type(pin) != mount.PROC_SUPER_MAGIC:
            raise InvalidInput("a sysctl needs a proc file system at /proc")
        resolve = safefs.RESOLVE_NO_XDEV | safefs.RESOLVE_NO_SYMLINKS | safefs.RESOLVE_BENEATH
        fd = safefs.openat2(pin, path, os.O_WRONLY, 0, resolve)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def _nearest(self, path: str) -> tuple[int | None, str]:
        """The innermost pinned mount that holds `path`, and the rest of the path."""
        best = ""
        for target in self.pins:
            if (path == target or path.startswith(target + "/")) and len(target) > len(best):
                best = target
        return (self.pins[best] if best else None), path[len(best) :].strip("/")


class Site(NamedTuple):
    """What a single mount may need to know. `devpts_fd` is -1 unless the parent made terminals."""

    tree: Tree
    plan: InitPlan
    cgroup: Cgroup | None
    devpts_fd: int
    parts: Parts
    nodes: dict[str, int]  # device nodes of the host, where nobody may make any


def make_beneath(directory_fd: int, path: str, *, directory: bool) -> int:
    """Like safefs.mkdirs_in_root, but a link on the way is an error."""
    try:
        return safefs.open_beneath(
            directory_fd, path or ".", _DIRECTORY if directory else os.O_PATH
        )
    except FileNotFoundError:
        pass
    *parents, name = [part for part in path.split("/") if part not in ("", ".")]
    here = safefs.open_beneath(directory_fd, ".", _DIRECTORY)
    for part in [*parents, *([name] if directory else [])]:
        try:
            os.mkdir(part, 0o755, dir_fd=here)
        except FileExistsError:
            pass
        below = safefs.open_beneath(here, part, _DIRECTORY)
        os.close(here)
        here = below
    if directory:
        return here
    try:
        flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o644, dir_fd=here))
        return safefs.open_beneath(here, name, os.O_PATH)
    finally:
        os.close(here)


def open_sources(mounts: tuple[PlanMount, ...]) -> dict[int, int]:
    """Copies of all bind sources, by the mount's index: taken while "/" is still the host's and its
    propagation untouched. The descriptors are the caller's, those of detached mounts too."""
    sources: dict[int, int] = {}
    try:
        for index, wanted in enumerate(mounts):
            if wanted.kind == "detached":
                sources[index] = os.dup(int(wanted.source))
            elif wanted.kind == "bind":
                sources[index] = _open_source(wanted)
    except BaseException:
        for fd in sources.values():
            os.close(fd)
        raise
    return sources


def _open_source(wanted: PlanMount) -> int:
    try:
        return mount.open_tree(wanted.source, recursive="rbind" in wanted.options)
    except FileNotFoundError as error:
        raise InvalidInput(f"bind source path does not exist: {wanted.source}") from error
    except OSError as error:
        raise failed(wanted, error) from error


def mount_from_devices(plan: InitPlan) -> tuple[InitPlan, list[int]]:
    """For the parent: mount the layers that need a loop device, which the child's control group
    refuses it. Returns the plan with them mounted, and their descriptors for the child to keep."""
    if isinstance(plan.root, BindRoot):
        return plan, []
    held: list[int] = []
    lowers = list(plan.root.lowers)
    try:
        for index, layer in enumerate(lowers):
            if layer.kind == "erofs-loop":
                held.append(mount.mount_layer(layer))
                lowers[index] = LayerMount("directory", f"/proc/self/fd/{held[-1]}")
    except BaseException:
        for fd in held:
            os.close(fd)
        raise
    return plan._replace(root=plan.root._replace(lowers=tuple(lowers))), held


def open_root(plan: InitPlan) -> int:
    """The root filesystem, detached and private."""
    if isinstance(plan.root, BindRoot):
        fd = mount.open_tree(plan.root.path, recursive=True)
    else:
        context = _context(plan)
        fd = mount.mount_overlay(plan.root, volatile=plan.volatile, extra_options=context)
        if plan.root.lowers[-1].kind == "copied":  # a directory, not yet a mount
            fd, tree = mount.open_tree("", directory_fd=fd), fd
            os.close(tree)
    part_from_host(fd, plan)
    return fd


def part_from_host(fd: int, plan: InitPlan) -> None:
    """A root that is to share mounts with the host stays its slave, any other is private."""
    spreads = plan.propagation in (mount.MS_SHARED, mount.MS_SLAVE)
    kind = mount.MS_SLAVE if spreads else mount.MS_PRIVATE
    mount.mount_setattr(fd, propagation=kind, recursive=True)


def build(plan: InitPlan, cgroup: Cgroup | None, streams: Streams, parts: Parts) -> Tree:
    """The whole tree, attached over "/" but not yet the root. What `parts` has need not be made."""
    sources = parts.sources or open_sources(plan.mounts)
    tree = Tree(parts.root if parts.root >= 0 else open_root(plan))
    mask = parts.mask if parts.mask >= 0 else mask_file_system(nodes=not parts.binds_nodes)
    nodes = _open_nodes(plan, parts)
    site = Site(tree, plan, cgroup, streams.devpts_fd, parts, nodes)
    mount.mount_setattr("/", propagation=mount.MS_SLAVE, recursive=True)
    # Stacked on "/": paths that begin at "/" still mean the host, and pivot_root takes it off,
    # so that "." is the old root and nothing else. The mask goes away with the old root.
    mount.move_mount(tree.root_fd, "/")
    mount.move_mount(mask, "/dev")
    for index, wanted in enumerate(plan.mounts):
        try:
            _mount(site, wanted, sources.get(index, -1))
        except OSError as error:
            raise failed(wanted, error) from error
    _make_devices(site)
    if streams.terminal_name is not None:
        _bind_console(tree, streams.terminal_name)
    _write_sysctls(plan, tree)  # before /proc/sys becomes read-only
    for path in plan.read_only_paths:
        _make_read_only(tree, path)
    for path in plan.masked_paths:
        _cover(tree, path, mask)
    os.close(mask)
    return tree


def _write_sysctls(plan: InitPlan, tree: Tree) -> None:
    """Through the container's own proc mount by descriptor, and only what its namespaces own."""
    new = frozenset(wanted.kind for wanted in plan.namespaces if wanted.is_new)
    for key, value in plan.sysctls:
        path, text = check_sysctl(key, value, new)
        tree.write_proc(f"sys/{path}", text)


def failed(wanted: PlanMount, error: OSError) -> MountFailed:
    text = (error.strerror or str(error)).removeprefix("move_mount: ")
    return MountFailed(
        error.errno,
        f"error mounting {wanted.source or wanted.kind!r} to rootfs at {wanted.target!r}: {text}",
    )


def _mount(site: Site, wanted: PlanMount, source: int) -> None:
    tree, options = site.tree, parse_options(wanted.options)
    if wanted.target == "/":
        raise InvalidInput("invalid mount target '/': it is the root filesystem")
    if wanted.kind in ("bind", "detached"):
        _attach_bind(tree, wanted, source, options)
    elif wanted.kind == "cgroup":
        if site.cgroup is not None:
            _attach_cgroup(tree, wanted, site.cgroup, options)
    elif wanted.kind in _SYSTEM_KINDS or wanted.target == "/dev":
        fd = _system_mount(site, wanted, options)
        target = tree.make_plain_directory(wanted.target)
        _attach(fd, target, options)
        tree.pins[wanted.target] = fd
        if wanted.target == "/dev" and site.parts.binds_nodes:
            fill_dev(fd, site.plan.devices, site.nodes)
    else:
        _attach_file_system(site, wanted, options)


def _system_mount(site: Site, wanted: PlanMount, options: MountOptions) -> int:
    """What the parent made, or a new one."""
    if wanted.kind == "devpts" and site.devpts_fd >= 0:
        return os.dup(site.devpts_fd)
    if wanted.target == "/dev" and site.parts.dev >= 0:
        return os.dup(site.parts.dev)
    try:
        context = _context(site.plan) if wanted.kind in _LABELLED else []
        data = (_source(wanted), *options.data, *context)
        fd = mount.fsmount(wanted.kind, data, options.set_attributes)
    except PermissionError:
        if wanted.kind not in _OF_NAMESPACES or not (site.plan.uid_map or site.parts.binds_nodes):
            raise
        # The namespace it shows is not our user namespace's: show the host's.
        fd = mount.open_tree(_OF_NAMESPACES[wanted.kind], recursive=True)
        mount.mount_setattr(fd, set_attributes=options.set_attributes, recursive=True)
        mount.mount_setattr(fd, propagation=mount.MS_PRIVATE, recursive=True)
    if wanted.target == "/dev" and not site.parts.binds_nodes:
        fill_dev(fd, site.plan.devices)
    return fd


def _context(plan: InitPlan) -> list[mount.Option]:
    """SELinux's label for the files of a new file system."""
    label = plan.process.labels.mount
    return [("context", label)] if label else []


def _source(wanted: PlanMount) -> tuple[str, str]:
    """The first column of /proc/mounts."""
    return "source", wanted.source or wanted.kind


def _attach(fd: int, target: int, options: MountOptions) -> None:
    """Move a mount into place; closes `target`."""
    try:
        mount.move_mount(fd, target)
    finally:
        os.close(target)
    if options.propagation:
        mount.mount_setattr(
            fd, propagation=options.propagation, recursive=options.propagation_recursive
        )


def _attach_bind(tree: Tree, wanted: PlanMount, source: int, options: MountOptions) -> None:
    if wanted.target.startswith("/proc/") and wanted.target not in _PROC_BINDS:
        raise InvalidInput(f"{wanted.target} cannot be mounted because it is inside /proc")
    if wanted.target == "/proc":
        raise InvalidInput("/proc can only hold a proc file system")
    if not options.propagation:
        mount.mount_setattr(source, propagation=mount.MS_PRIVATE, recursive=True)
    set_bits, clear_bits = options.set_attributes, options.clear_attributes
    if set_bits or clear_bits:
        mount.mount_setattr(source, set_attributes=set_bits, clear_attributes=clear_bits)
    if options.set_recursive or options.clear_recursive:
        mount.mount_setattr(
            source,
            set_attributes=options.set_recursive,
            clear_attributes=options.clear_recursive,
            recursive=True,
        )
    is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
    _attach(source, tree.make(wanted.target, directory=is_directory), options)
    os.close(source)


def _attach_file_system(site: Site, wanted: PlanMount, options: MountOptions) -> None:
    tree = site.tree
    data: list[mount.Option] = [_source(wanted), *options.data]
    if wanted.kind in _LABELLED:
        data += _context(site.plan)
    try:
        target = tree.open(wanted.target)
        if wanted.kind == "tmpfs" and not any(key == "mode" for key, _ in data):
            data.append(("mode", f"{os.fstat(target).st_mode & 0o7777:o}"))
    except FileNotFoundError:
        target = tree.make(wanted.target, directory=True)
    attributes = options.set_attributes
    if options.copy_up:
        attributes &= ~mount.RDONLY
    fd = mount.fsmount(wanted.kind, data, attributes)
    if options.copy_up:
        from . import copyup

        copyup.copy(tree.open(wanted.target), fd)
        mount.mount_setattr(fd, set_attributes=options.set_attributes)
    _attach(fd, target, options)
    if wanted.target.startswith("/dev/"):
        tree.pins[wanted.target] = fd
    else:
        os.close(fd)


def _attach_cgroup(tree: Tree, wanted: PlanMount, cgroup: Cgroup, options: MountOptions) -> None:
    """The container's own groups, bound one by one: right on v1, v2 and hybrid hosts, and what a
    cgroup file system mounted in its cgroup namespace would show."""
    target = tree.make_plain_directory(wanted.target)
    groups = cgroup.mounts()
    if [name for name, _ in groups] == [""]:
        fd = _bind_group(groups[0][1], options.set_attributes)
        _attach(fd, target, options)
        os.close(fd)
        return
    attributes = options.set_attributes & ~mount.RDONLY
    top = mount.fsmount("tmpfs", (("source", "tmpfs"), ("mode", "755")), attributes)
    _attach(top, target, options)
    for name, path in groups:
        os.mkdir(name, 0o755, dir_fd=top)
        group = _bind_group(path, options.set_attributes)
        place = safefs.open_beneath(top, name, _DIRECTORY)
        _attach(group, place, options)
        os.close(group)
        for alias in name.split(","):
            if alias != name:
                os.symlink(name, alias, dir_fd=top)
    mount.mount_setattr(top, set_attributes=options.set_attributes)
    os.close(top)


def _bind_group(path: str, attributes: int) -> int:
    fd = mount.open_tree(path)
    mount.mount_setattr(fd, set_attributes=attributes, propagation=mount.MS_PRIVATE)
    return fd


def fill_dev(dev_fd: int, extra: tuple[Device, ...], nodes: Mapping[str, int] = _NO_NODES) -> None:
    """Nodes and links, while the file system is still detached and nobody else can see it."""
    own = tuple(device for device in extra if device.path.startswith("/dev/"))
    replaced = {device.path for device in own}
    for device in (*(node for node in DEFAULT_NODES if node.path not in replaced), *own):
        parent, _, name = device.path.removeprefix("/dev/").rpartition("/")
        directory = make_beneath(dev_fd, parent, directory=True)
        make_node(directory, name, device, nodes)
        os.close(directory)
    for name, to in DEFAULT_LINKS:
        try:
            os.symlink(to, name, dir_fd=dev_fd)
        except FileExistsError:
            pass


def make_node(
    directory_fd: int, name: str, device: Device, nodes: Mapping[str, int] = _NO_NODES
) -> None:
    """A device node, or the host's own one bound where nobody may make one."""
    if device.path in nodes:
        _attach(
            nodes[device.path], make_beneath(directory_fd, name, directory=False), MountOptions()
        )
        return
    kind = stat.S_IFBLK if device.kind == "b" else stat.S_IFIFO if device.kind == "p" else 0
    number = os.makedev(device.major, device.minor) if device.kind != "p" else 0
    os.mknod(name, (kind or stat.S_IFCHR) | device.mode, number, dir_fd=directory_fd)
    if device.uid or device.gid:
        os.chown(name, device.uid, device.gid, dir_fd=directory_fd, follow_symlinks=False)


def _open_nodes(plan: InitPlan, parts: Parts) -> dict[str, int]:
    """In a user namespace: the host's nodes, while its /dev is in sight. Those for /dev only where
    the parent could not make them."""
    if not (plan.uid_map or parts.binds_nodes):
        return {}
    found = {}
    for device in (*(DEFAULT_NODES if parts.binds_nodes else ()), *plan.devices):
        if device.kind == "p" or (device.path.startswith("/dev/") and not parts.binds_nodes):
            continue
        fd = mount.open_tree(device.path)
        if os.fstat(fd).st_rdev != os.makedev(device.major, device.minor):
            raise InvalidInput(f"{device.path} of the host is another device")
        mount.mount_setattr(fd, propagation=mount.MS_PRIVATE)
        found[device.path] = fd
    return found


def _make_devices(site: Site) -> None:
    """Devices that do not live in a /dev of ours."""
    tree, plan = site.tree, site.plan
    for device in plan.devices:
        if device.path.startswith("/dev/") and "/dev" in tree.pins:
            continue
        parent, _, name = device.path.rpartition("/")
        directory = tree.make(parent or "/", directory=True)
        try:
            make_node(directory, name, device, site.nodes)
        except FileExistsError:
            pass
        finally:
            os.close(directory)


def _bind_console(tree: Tree, terminal: str) -> None:
    """The terminal on /dev/console, taken from the devpts by descriptor (A4)."""
    source = mount.open_tree(terminal, directory_fd=tree.pins["/dev/pts"])
    _attach(source, tree.make("/dev/console", directory=False), MountOptions())
    os.close(source)


def mask_file_system(*, nodes: bool = True) -> int:
    """One read-only tmpfs covers everything that is masked: an empty directory and a null node of
    our own, never the container's or the host's /dev/null (A3). Who may make no nodes gets an
    empty file."""
    options = (("source", "tmpfs"), ("mode", "755"), ("size", "4k"))
    fd = mount.fsmount("tmpfs", options, mount.NOSUID | mount.NOEXEC)
    os.mkdir("empty", 0o555, dir_fd=fd)
    kind, device = (stat.S_IFCHR | 0o666, os.makedev(1, 3)) if nodes else (stat.S_IFREG | 0o444, 0)
    os.mknod("null", kind, device, dir_fd=fd)
    mount.mount_setattr(fd, set_attributes=mount.RDONLY)
    return fd


def _cover(tree: Tree, path: str, mask: int) -> None:
    try:
        target = tree.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    is_directory = stat.S_ISDIR(os.fstat(target).st_mode)
    cover = mount.open_tree("empty" if is_directory else "null", directory_fd=mask)
    _attach(cover, target, MountOptions())
    os.close(cover)


def _make_read_only(tree: Tree, path: str) -> None:
    try:
        target = tree.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    copy = mount.open_tree("", directory_fd=target, recursive=True)
    mount.mount_setattr(copy, set_attributes=mount.RDONLY, recursive=True)
    _attach(copy, target, MountOptions())
    os.close(copy)
