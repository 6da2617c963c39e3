"""The facts behind `onggi doctor` and the tier in `info`: read, or tried."""

import os

from ..errors import OnggiError, Unavailable
from ..linux import cgroup, delegation, landlock, mount, tools, userns
from ..linux.seccomp import kernel_version
from ..network import outside
from ..spec.mount import LayerMount, RootFilesystem
from ..store.store import Store
from . import diagnosis, rootless
from .diagnosis import Facts, Finding
from .tier import Tier


def findings(store: Store, tier: Tier) -> list[Finding]:
    return diagnosis.findings(look(store, tier))


def look(store: Store, tier: Tier) -> Facts:
    release = os.uname().release
    uid = _outer_uid()
    user = rootless.user_name(uid)
    layout = cgroup.host_layout()
    subuid, subgid = (_text(f"/etc/{name}") for name in ("subuid", "subgid"))
    missing, fix = _network(tier)
    return Facts(
        tier=tier,
        user=user or str(uid),
        kernel=kernel_version(release),
        release=release,
        user_namespaces=_number("/proc/sys/user/max_user_namespaces", 1),
        restricted_by=_restriction(),
        inside=os.geteuid() == 0 and not tier.is_root,
        has_uidmap=rootless.have_tools(),
        subordinate=all(rootless.subordinate(uid)),
        next_free=diagnosis.next_free(subuid, subgid),
        backend=store.backend.kind if tier.number < 4 else "",
        overlay=_try_overlay(store) if tier.number < 4 else "",
        cgroup_version=cgroup.Cgroup("doctor", layout=layout).version,
        delegated=not tier.is_root and bool(delegation.layout(layout).v2),
        network=missing,
        network_fix=fix,
        helper="" if missing or tier.is_root else outside.name(),
        first_port=_number("/proc/sys/net/ipv4/ip_unprivileged_port_start", 1024),
        landlock=landlock.version(),
    )


def _outer_uid() -> int:
    """Whose namespace we are in."""
    if os.geteuid() != 0 or userns.is_initial():
        return os.geteuid()
    return next((outer for inner, outer, _ in userns.own_map() if inner == 0), 0)


def _restriction() -> str:
    apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
    if _number(apparmor, 0):
        return "apparmor"
    if not _number("/proc/sys/kernel/unprivileged_userns_clone", 1):
        return "kernel.unprivileged_userns_clone"
    return ""


def _network(tier: Tier) -> tuple[str, str]:
    """What is missing, and the command that brings it."""
    if tier.is_root:
        try:
            tools.find("nft")
        except Unavailable as error:
            return error.message, "apt-get install nftables"
        return "", ""
    return outside.missing() if tier.number < 4 else ("", "")


def _try_overlay(store: Store) -> str:
    """Mount one of empty directories."""
    with store.scratch.directory() as base:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{base}/{name}")
        lower = LayerMount(store.backend.tree_kind, f"{base}/lower")
        try:
            os.close(mount.mount_overlay(RootFilesystem((lower,), f"{base}/upper", f"{base}/work")))
        except (OSError, OnggiError) as error:
            return str(error)
    return ""


def _number(path: str, missing: int) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else missing


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
