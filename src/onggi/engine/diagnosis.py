"""What this host lets the engine do, and the one command that changes what it does not. Pure.

`look` in `doctor` collects the facts.
"""

from ..typed import Literal, NamedTuple
from .tier import EVERY_ID, Tier

Level = Literal["ok", "note", "warning", "problem"]
OVERLAY_KERNEL, MOUNT_KERNEL = (5, 11), (5, 6)
UNIFIED = (
    "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&systemd.unified_cgroup_hierarchy=1 /' "
    "/etc/default/grub && sudo update-grub && sudo reboot"
)
FIRST_SUBORDINATE, SUBORDINATE_COUNT = 100_000, 65_536


class Finding(NamedTuple):
    """`fix` is a command for a shell, "" where there is none."""

    name: str
    level: Level
    about: str
    fix: str = ""


class Facts(NamedTuple):
    tier: Tier
    user: str  # whose namespace it is, by name or number
    kernel: tuple[int, int]
    release: str
    user_namespaces: int  # user.max_user_namespaces
    restricted_by: str  # "apparmor", "kernel.unprivileged_userns_clone" or ""
    inside: bool  # we are root without its rights: in a container
    has_uidmap: bool
    subordinate: bool  # /etc/subuid and /etc/subgid know the user
    next_free: int  # the first id that they give to nobody
    backend: str
    overlay: str  # what an overlay mount says, "" when it works
    cgroup_version: int  # the host's; 0 for none
    delegated: bool  # v2: we may make groups
    network: str  # what is missing for it, "" for nothing
    network_fix: str
    helper: str  # what connects containers without root
    first_port: int  # net.ipv4.ip_unprivileged_port_start
    landlock: int


def findings(facts: Facts) -> list[Finding]:
    return [
        privilege(facts),
        _kernel(facts),
        _layers(facts),
        _cgroups(facts),
        _network(facts),
        *_ports(facts),
        _landlock(facts),
    ]


def privilege(facts: Facts) -> Finding:
    """The tier, and how to raise it."""
    tier = facts.tier
    title = f"tier {tier.number} of 4: {tier.name}"
    if tier.is_root:
        return Finding("privilege", "ok", title)
    if tier.number == 2:
        about = f"{title}, {tier.ids} ids for containers of {facts.user}"
        return Finding("privilege", "ok", about, "sudo onggi COMMAND")
    if tier.number == 3:
        why = "no newuidmap" if not facts.has_uidmap else f"/etc/subuid gives {facts.user} no ids"
        if facts.has_uidmap and facts.subordinate:
            why = "newuidmap is refused"
        return Finding("privilege", "warning", f"{title}: {why}", _more_ids(facts))
    return Finding("privilege", "problem", f"{title}: {tier.why or 'no user namespace'}",
                   _a_namespace(facts))  # fmt: skip


def _more_ids(facts: Facts) -> str:
    install = "" if facts.has_uidmap else "apt-get install uidmap"
    last = facts.next_free + SUBORDINATE_COUNT - 1
    add = "" if facts.subordinate else (
        f"usermod --add-subuids {facts.next_free}-{last} --add-subgids {facts.next_free}-{last} "
        f"{facts.user}"
    )  # fmt: skip
    both = " && ".join(f"sudo {part}" for part in (install, add) if part)
    return both or "sudo chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap"


def _a_namespace(facts: Facts) -> str:
    if facts.user_namespaces == 0:
        return "sudo sysctl -w user.max_user_namespaces=15000"
    if facts.restricted_by == "apparmor":
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if facts.restricted_by:
        return f"sudo sysctl -w {facts.restricted_by}=1"
    if facts.inside:
        return "run the outer container with --privileged"
    return "run the outer container with --security-opt seccomp=unconfined"


def _kernel(facts: Facts) -> Finding:
    needed = MOUNT_KERNEL if facts.tier.is_root else OVERLAY_KERNEL
    if facts.kernel < needed:
        about = f"Linux {facts.release} is older than {needed[0]}.{needed[1]}"
        return Finding("kernel", "problem", about, "sudo apt-get dist-upgrade")
    return Finding("kernel", "ok", f"Linux {facts.release}")


def _layers(facts: Facts) -> Finding:
    words = {
        "erofs": "mounted from one file each, nothing is extracted",
        "erofs-loop": "mounted from one file each through loop devices",
        "directory": "extracted into directories",
        "user-directory": "extracted into directories: only root may mount the file system EROFS",
    }
    about = words.get(facts.backend, facts.backend)
    if facts.tier.number == 4:
        return Finding("layers", "warning", "copied for each container")
    if facts.overlay:
        return Finding("layers", "problem", f"overlayfs cannot be mounted: {facts.overlay}",
                       "sudo modprobe overlay")  # fmt: skip
    level: Level = "ok" if facts.backend.startswith("erofs") else "note"
    return Finding("layers", level, about)


def _cgroups(facts: Facts) -> Finding:
    name = "control groups"
    if not facts.cgroup_version:
        return Finding(name, "warning", "none are mounted: nothing is limited")
    if facts.tier.is_root:
        return Finding(name, "ok", f"v{facts.cgroup_version}")
    if facts.delegated:
        return Finding(name, "ok", "v2, a group is delegated to us")
    if facts.cgroup_version == 1:
        return Finding(name, "warning", "v1 is root's alone: no limits, no pause, no exact stats",
                       UNIFIED)  # fmt: skip
    return Finding(name, "warning", "v2, but none is delegated to us: no limits, no pause",
                   "systemd-run --user --scope -p Delegate=yes $SHELL")  # fmt: skip


def _network(facts: Facts) -> Finding:
    if facts.tier.number == 4:
        return Finding("network", "warning", "the host's own, for every container")
    if facts.network:
        return Finding("network", "problem", facts.network, facts.network_fix)
    if facts.tier.is_root:
        return Finding("network", "ok", "bridges and nftables")
    return Finding("network", "ok", facts.helper)


def _ports(facts: Facts) -> list[Finding]:
    if facts.tier.is_root or facts.first_port <= 80:
        return []
    about = f"published ports begin at {facts.first_port}"
    return [
        Finding("ports", "note", about, "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80")
    ]


def _landlock(facts: Facts) -> Finding:
    if facts.landlock:
        return Finding("landlock", "ok", f"version {facts.landlock}")
    return Finding("landlock", "note", "the kernel has none: --security strict is not to be had")


def next_free(*texts: str) -> int:
    """The first id after all that subuid files give out."""
    end = FIRST_SUBORDINATE
    for line in "\n".join(texts).splitlines():
        fields = line.split(":")
        if len(fields) == 3 and all(f.isascii() and f.isdigit() for f in fields[1:]):
            first, count = int(fields[1]), int(fields[2])
            if first + count < EVERY_ID:
                end = max(end, first + count)
    return end
