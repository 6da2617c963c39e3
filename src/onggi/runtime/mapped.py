"""What a container in a user namespace, or with id-mapped mounts, needs from the host's root.

A child in a user namespace reaches neither the store nor most sources, and may make no device: the
parent opens and makes all that here, before there is a child, and hands descriptors down.
"""

import os

from ..errors import InvalidInput, Unsupported
from ..linux import idmap, mount
from . import cloning, rootfs
from .plan import BindRoot, Device, InitPlan, PlanMount, outer_ids, parse_options, to_outer
from .rootfs import Parts


def gather(plan: InitPlan, user_namespace: int = -1) -> Parts:
    """`user_namespace` is the one that the plan joins, -1 when it makes one or has none. Raises
    Unsupported where a file system cannot map ids."""
    if os.geteuid() != 0:  # without root nothing can be made here: the child does what it may
        return Parts(binds_nodes=True)
    opened: list[int] = []
    try:
        parts = _gather(plan, user_namespace, opened)
    except BaseException:
        for fd in opened:
            os.close(fd)
        raise
    return parts


def _gather(plan: InitPlan, user_namespace: int, opened: list[int]) -> Parts:
    own = -1
    if plan.uid_map and (user_namespace >= 0 or _maps_anything(plan)):
        own = user_namespace if user_namespace >= 0 else _new(plan.uid_map, plan.gid_map)
    try:
        root = rootfs.open_root(plan) if not plan.uid_map else _open_root(plan, own)
        opened.append(root)
        sources = _open_sources(plan, own, opened)
    finally:
        if own >= 0 and own != user_namespace:
            os.close(own)
    if not plan.uid_map:
        return Parts(root, sources=sources)
    with idmap.acting_as(*cloning.owner(plan.uid_map, plan.gid_map)):
        opened.append(rootfs.mask_file_system())
        dev = _make_dev(plan)
    return Parts(root, dev, opened[-1], sources)


def _maps_anything(plan: InitPlan) -> bool:
    overlay = not isinstance(plan.root, BindRoot)
    return overlay or any(wanted.is_mapped and not wanted.uid_map for wanted in plan.mounts)


def _new(uid_map: idmap.Maps, gid_map: idmap.Maps) -> int:
    return idmap.new_user_namespace(uid_map, gid_map)


def _open_root(plan: InitPlan, user_namespace: int) -> int:
    """An overlay is shown with the container's ids; a directory is what the caller made it."""
    if isinstance(plan.root, BindRoot):
        return rootfs.open_root(plan)
    owner = cloning.owner(plan.uid_map, plan.gid_map)
    fd = idmap.mount_overlay(plan.root, user_namespace, owner, volatile=plan.volatile)
    rootfs.part_from_host(fd, plan)
    return fd


def _open_sources(plan: InitPlan, own: int, opened: list[int]) -> dict[int, int]:
    sources = rootfs.open_sources(plan.mounts)
    opened.extend(sources.values())
    for index, wanted in enumerate(plan.mounts):
        if wanted.is_mapped:
            if index not in sources:
                raise InvalidInput(f"{wanted.target}: only a bind mount can be id-mapped")
            try:
                _map(wanted, sources[index], own)
            except Unsupported as error:
                text = f"{wanted.source or wanted.target}: {error.message}"
                raise Unsupported(text, hint=error.hint) from error
    return sources


def _map(wanted: PlanMount, source: int, own: int) -> None:
    recursive = "ridmap" in wanted.options
    if not wanted.uid_map:
        if own < 0:
            raise InvalidInput(f"{wanted.target}: idmap without mappings needs a user namespace")
        idmap.map_mount(source, own, recursive=recursive)
        return
    user_namespace = _new(wanted.uid_map, wanted.gid_map)
    try:
        idmap.map_mount(source, user_namespace, recursive=recursive)
    finally:
        os.close(user_namespace)


def _make_dev(plan: InitPlan) -> int:
    """/dev with its nodes, owned by the container's root."""
    wanted = next((m for m in plan.mounts if m.target == "/dev" and m.kind == "tmpfs"), None)
    if wanted is None:
        return -1
    options = parse_options(wanted.options)
    data = outer_ids(options.data, plan.uid_map, plan.gid_map)
    fd = mount.fsmount("tmpfs", (("source", "tmpfs"), *data), options.set_attributes)
    try:
        rootfs.fill_dev(fd, tuple(_outer_owner(plan, device) for device in plan.devices))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _outer_owner(plan: InitPlan, device: Device) -> Device:
    """A node with an owner of its own; the others get the container's root, who makes them."""
    if not (device.uid or device.gid):
        return device
    uid, gid = to_outer(plan.uid_map, device.uid), to_outer(plan.gid_map, device.gid)
    return device._replace(uid=uid or 0, gid=gid or 0)
