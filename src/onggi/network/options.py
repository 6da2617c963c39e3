"""Driver options of a network (`network create -o`), read from their texts. Pure.

Names and words are docker's. What docker's driver does not know either is kept and has no effect,
as with docker.
"""

from collections.abc import Mapping

from ..errors import InvalidInput, OnggiError
from ..typed import NamedTuple
from . import ipam

_BRIDGE = "com.docker.network.bridge."
BRIDGE_NAME = f"{_BRIDGE}name"
ICC = f"{_BRIDGE}enable_icc"
MASQUERADE = f"{_BRIDGE}enable_ip_masquerade"
BINDING_V4 = f"{_BRIDGE}host_binding_ipv4"
MODE_V4 = f"{_BRIDGE}gateway_mode_ipv4"
MODE_V6 = f"{_BRIDGE}gateway_mode_ipv6"
INHIBIT_V4 = f"{_BRIDGE}inhibit_ipv4"
MTU = "com.docker.network.driver.mtu"
PREFIX = "com.docker.network.container_iface_prefix"
MODES = ("nat", "nat-unprotected", "routed", "isolated")
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
MACVLAN_MODES = ("bridge", "private", "vepa", "passthru")
IPVLAN_MODES = ("l2", "l3", "l3s")
IPVLAN_FLAGS = ("bridge", "private", "vepa")


class BridgeOptions(NamedTuple):
    """`mtu` 0 is the host's; `binding` is the host address of ports published without one."""

    name: str = ""
    icc: bool = True
    masquerade: bool = True
    binding: str = ""
    mode: str = "nat"
    mode6: str = "nat"
    inhibit_v4: bool = False
    mtu: int = 0


class ParentOptions(NamedTuple):
    """Of macvlan and ipvlan. `parent` "" is none: containers reach each other alone."""

    parent: str = ""
    mode: str = ""
    flag: str = ""
    mtu: int = 0


def bridge_options(options: Mapping[str, str]) -> BridgeOptions:
    """Raises InvalidInput with docker's words."""
    name = options.get(BRIDGE_NAME, "")
    if name:
        check_interface(name)
    _check_prefix(options)
    return BridgeOptions(
        name=name,
        icc=_boolean(options, ICC, default=True),
        masquerade=_boolean(options, MASQUERADE, default=True),
        binding=_address(options, BINDING_V4),
        mode=_choice(options, MODE_V4, MODES),
        mode6=_choice(options, MODE_V6, MODES),
        inhibit_v4=_boolean(options, INHIBIT_V4, default=False),
        mtu=_mtu(options),
    )


def parent_options(driver: str, options: Mapping[str, str]) -> ParentOptions:
    """Raises InvalidInput with docker's words."""
    modes = MACVLAN_MODES if driver == "macvlan" else IPVLAN_MODES
    mode = options.get(f"{driver}_mode", "") or modes[0]
    if mode not in modes:
        raise InvalidInput(f"requested {driver} mode '{mode}' is not valid, '{modes[0]}' mode is "
                           f"the {driver} driver default")  # fmt: skip
    flag = options.get("ipvlan_flag", "") or "bridge"
    if flag not in IPVLAN_FLAGS:
        raise InvalidInput(f"requested ipvlan flag '{flag}' is not valid, 'bridge' flag is the "
                           "ipvlan driver default")  # fmt: skip
    parent = options.get("parent", "")
    if parent:
        check_interface(parent)
    _check_prefix(options)
    return ParentOptions(parent, mode, flag, _mtu(options))


def check_interface(name: str) -> str:
    """A name that the kernel takes for an interface, and that can stand in a firewall's text."""
    if not 0 < len(name) < 16 or not _NAME_LETTERS.issuperset(name) or name in (".", ".."):
        raise InvalidInput(f"invalid interface name {name[:80]!r}")
    return name


def _wrong(label: str, value: str, why: str) -> InvalidInput:
    return InvalidInput(f"failed to parse {label} value: {value} ({why})")


def _boolean(options: Mapping[str, str], label: str, *, default: bool) -> bool:
    value = options.get(label)
    if value is None:
        return default
    if value not in _TRUE | _FALSE:
        raise _wrong(label, value, f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return value in _TRUE


def _mtu(options: Mapping[str, str]) -> int:
    value = options.get(MTU, "0")
    if not (value.isascii() and value.isdigit() and len(value) < 6 and int(value) < 65536):
        raise _wrong(MTU, value, f'strconv.Atoi: parsing "{value}": invalid syntax')
    if 0 < int(value) < 68:
        raise _wrong(MTU, value, "an MTU is 68 or more")
    return int(value)


def _address(options: Mapping[str, str], label: str) -> str:
    value = options.get(label, "")
    if value:
        try:
            ipam.parse_address(value)
        except OnggiError as error:
            raise _wrong(label, value, "nil ip") from error
    return value


def _choice(options: Mapping[str, str], label: str, known: tuple[str, ...]) -> str:
    value = options.get(label, "") or known[0]
    if value not in known:
        raise _wrong(label, value, "unknown gateway mode")
    return value


def _check_prefix(options: Mapping[str, str]) -> None:
    if PREFIX in options:
        check_interface(f"{options[PREFIX]}0")
