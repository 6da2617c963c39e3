"""What the host says to a new container's options: refusals and warnings, in docker's words."""

from ..errors import InvalidInput, NotFound, Unavailable, Unsupported
from ..linux import tools
from ..linux.cgroup import Cgroup, device_number
from ..spec.container import HostOptions, Resources
from . import cgroups, devices, layers, tier, userns
from .endpoints import asked
from .networks import container_of_mode

_NOTHING = Resources()


def check(host: HostOptions) -> list[str]:
    """Warnings. Raises InvalidInput, NotFound and Unsupported."""
    cgroups.check_parent(host.cgroup_parent)
    if host.isolation not in ("", "default"):
        raise InvalidInput(f'invalid isolation "{host.isolation}" on linux')
    if host.volume_driver not in ("", "local"):
        name = host.volume_driver
        raise NotFound(f'error looking up volume plugin {name}: plugin "{name}" not found')
    _check_storage(host.storage_options)
    _check_addresses(host)
    for text in host.device_cgroup_rules:
        devices.parse_rule(text)
    layers.refuse_missing(host)
    if userns.is_wanted(host) and not tier.current().is_root:
        raise Unsupported(
            f"--userns={host.userns_mode} needs root: an unprivileged user has no ids to spare",
            hint="every container of yours is in your user namespace already",
        )
    return _firewall(host) + _check_privileges(host) + check_resources(host.resources)


def _firewall(host: HostOptions) -> list[str]:
    if not asked(host) or not tier.current().is_root:
        return []
    try:
        tools.find("nft")
    except Unavailable as error:
        return [
            "nftables is not installed: containers are not kept apart from other networks, reach "
            f"nothing outside, and their published ports are relayed ({error.hint})"
        ]
    return []


def _check_privileges(host: HostOptions) -> list[str]:
    """What docker does not say, so not under --security docker. In a cgroup namespace of its own a
    container sees no release_agent, whatever it mounts."""
    exposed = host.privileged and host.cgroupns_mode == "host" and host.security != "docker"
    if not exposed or Cgroup("").version != 1:
        return []
    return [
        "a privileged container in the host's cgroup namespace can run programs on the host, by "
        "the release_agent of cgroup v1"
    ]


def check_resources(asked: Resources, *, update: bool = False) -> list[str]:
    """Warnings for what this host cannot limit. Costs nothing when no limit is asked."""
    if asked == _NOTHING:
        return []
    from ..linux.cgroupfacts import host_facts
    from . import limits

    warnings = limits.verify(asked, host_facts(cgroups.usable_layout()), update=update)
    for rates in (
        asked.blkio_weight_devices, asked.read_bps, asked.write_bps, asked.read_iops,
        asked.write_iops,
    ):  # fmt: skip
        for rate in rates:
            try:
                device_number(rate.path)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise InvalidInput(f"{rate.path}: {reason}") from error
    return warnings


def _check_storage(options: dict[str, str]) -> None:
    for name in options:
        if name != "size":
            raise InvalidInput(f"unknown option {name}")
        from . import layerlimit

        layerlimit.size_of(options)


def _check_addresses(host: HostOptions) -> None:
    mode = host.network_mode
    shares = bool(container_of_mode(mode))
    if (shares or mode == "host") and any(
        asked.mac_address for asked in (host.endpoints or {}).values()
    ):
        raise InvalidInput("conflicting options: mac-address and the network mode")
    if (shares or mode == "host") and host.links:
        kind = "container type network" if shares else "host type networking"
        raise InvalidInput(
            f"conflicting options: {kind} can't be used with links. This would result in undefined "
            "behavior"
        )
