"""`--network` in both of docker's forms, and what --ip, --link and their like add to it."""

from ..spec.network import EndpointOptions
from .flags import Values, parse_integer
from .session import refusal

_PREDEFINED = frozenset(("bridge", "host", "none", "default"))


def is_user_defined(name: str) -> bool:
    return name not in _PREDEFINED and not name.startswith("container:")


def check_network(text: str) -> None:
    parse_network(text)


def parse_network(text: str) -> tuple[str, EndpointOptions]:
    """`NAME`, or `name=NAME,alias=…,ip=…`. Raises ValueError with docker's words."""
    if "=" not in text or not _is_long(text):
        return text, EndpointOptions()
    name, found = "", EndpointOptions()
    for field in _csv(text):
        key, equals, value = field.lower().partition("=")
        if not equals or not key:
            raise ValueError(f"invalid field {field}")
        key, value = key.strip(), value.strip()
        if key == "name":
            name = value
        else:
            found = _with(found, key, value)
    if not name:
        raise ValueError("network name/id is not specified")
    return name, found


def _is_long(text: str) -> bool:
    """Docker's test: somewhere a word, "=" and a word."""
    import re

    return re.search(r"\w=\w", text, re.ASCII) is not None


def _csv(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv

    return next(csv.reader([text], strict=True))


def _with(found: EndpointOptions, key: str, value: str) -> EndpointOptions:
    match key:
        case "alias":
            return found._replace(aliases=(*found.aliases, value))
        case "ip":
            return found._replace(address=value)
        case "ip6":
            return found._replace(address6=value)
        case "mac-address":
            return found._replace(mac_address=mac_address(value))
        case "link-local-ip":
            return found._replace(link_local=(*found.link_local, value))
        case "driver-opt":
            name, option = parse_driver_option(value)
            return found._replace(driver_options={**found.driver_options, name: option})
        case "gw-priority":
            return found._replace(gateway_priority=_priority(value))
        case _:
            raise ValueError(f"invalid field key {key}")


def _priority(text: str) -> int:
    digits = text.lstrip("+-")
    if not (digits.isascii() and digits.isdigit() and len(text) - len(digits) < 2):
        raise ValueError(f"invalid gw-priority ({text}): invalid syntax")
    try:
        return parse_integer(f"{text[: -len(digits)]}{int(digits[:30])}")
    except ValueError as error:
        raise ValueError(f"invalid gw-priority ({text}): value out of range") from error


def parse_driver_option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError("invalid key value pair format in driver options")
    return name.strip(), value.strip()


def mac_address(text: str) -> str:
    """Six pairs, or three groups with dots; lower case with colons."""
    if not text:
        return ""
    import re

    digits = re.sub("[:.-]", "", text)
    pairs = r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}"
    if not re.fullmatch(rf"{pairs}|(?:[0-9a-fA-F]{{4}}\.){{2}}[0-9a-fA-F]{{4}}", text):
        raise refusal(f"{text} is not a valid mac address")
    return ":".join(digits[i : i + 2].lower() for i in range(0, len(digits), 2))


def check_link(text: str) -> None:
    parse_link(text)


def parse_link(text: str) -> tuple[str, str]:
    """`container[:alias]`. Raises ValueError with docker's words."""
    if not text:
        raise ValueError("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2:
        raise ValueError(f"bad format for links: {text}")
    if len(parts) == 1:
        return text, text
    name, alias = parts
    if name.startswith("/"):  # as docker's inspect prints it: /name:/container/alias
        return name[1:], alias.rpartition("/")[2]
    return name, alias


def network_options(values: Values) -> tuple[str, dict[str, EndpointOptions]]:
    """(the mode, the networks with what is asked of each, the first one first). The flags without
    a network's name are about the first."""
    given = [parse_network(text) for text in values.many("network") + values.many("net")]
    chosen = given or [("default", EndpointOptions())]
    found: dict[str, EndpointOptions] = {}
    for index, (name, options) in enumerate(chosen):
        if index == 0:
            options = _with_flags(name, options, values)
        _check(name, options)
        if name in found:
            raise refusal(f'network "{name}" is specified multiple times')
        found[name] = options
    kinds = {is_user_defined(name) for name in found}
    if len(kinds) == 2:
        raise refusal(
            "conflicting options: cannot attach both user-defined and non-user-defined "
            "network-modes"
        )
    first = chosen[0][0]
    mode = "bridge" if first == "default" else first
    found = {"bridge" if name == "default" else name: asked for name, asked in found.items()}
    return mode, found


_CONFLICTS = (
    ("aliases", "--network-alias", "alias"),
    ("links", "--link", "links"),
    ("address", "--ip", "IPv4 address"),
    ("address6", "--ip6", "IPv6 address"),
    ("mac_address", "--mac-address", "MAC address"),
    ("link_local", "--link-local-ip", "link-local IP addresses"),
)


def _with_flags(name: str, options: EndpointOptions, values: Values) -> EndpointOptions:
    links = tuple(":".join(parse_link(text)) for text in values.many("link"))
    flags = EndpointOptions(
        aliases=(*values.many("network-alias"), *values.many("net-alias")),
        links=links,
        address=values.text("ip"),
        address6=values.text("ip6"),
        link_local=tuple(values.many("link-local-ip")),
        mac_address=mac_address(values.text("mac-address")),
    )
    for field, flag, what in _CONFLICTS:
        if getattr(options, field) and getattr(flags, field):
            raise refusal(f"conflicting options: cannot specify both {flag} and per-network {what}")
    if not is_user_defined(name):
        flags = flags._replace(links=())  # links of the default bridge are the container's own
    given = {name: value for name, value in flags._asdict().items() if value}
    return options._replace(**given)


def _check(name: str, options: EndpointOptions) -> None:
    if not name.strip():
        raise refusal("no name set for network")
    if name == "container:":
        raise refusal("invalid container format container:<name|id>")
    if not is_user_defined(name):
        if options.aliases:
            raise refusal("network-scoped aliases are only supported for user-defined networks")
        if options.links:
            raise refusal("links are only supported for user-defined networks")


def legacy_links(values: Values, mode: str) -> tuple[str, ...]:
    """ "container:alias" of the default bridge's --link."""
    if is_user_defined(mode):
        return ()
    return tuple(":".join(parse_link(text)) for text in values.many("link"))
