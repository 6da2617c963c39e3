"""`-p` and `--expose` in all of docker's forms, parsed strictly."""

from ..spec.network import PortBinding, Protocol
from .session import refusal

_PROTOCOLS: dict[str, Protocol] = {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}


def parse_publish(spec: str) -> list[PortBinding]:
    """`[[ip:]hostPort:]containerPort[/protocol]`, ports may be ranges. Every refusal names the
    spec when docker's words do not."""
    text, slash, protocol_text = spec.partition("/")
    protocol = _protocol(protocol_text if slash else "tcp")
    head, colon, container_text = text.rpartition(":")
    if not container_text:
        raise refusal(f"no port specified: {text}<empty>")
    ip, has_ip, host_text = head.rpartition(":")
    if not has_ip:
        ip, host_text = "", head
    if has_ip and not ip:
        raise refusal(f"invalid port spec {spec!r}: the host address is empty")
    address = _address(ip)
    container = _range(container_text, "containerPort")
    if not colon or not host_text:
        return [
            PortBinding(address, 0, port, protocol)
            for port in range(container[0], container[1] + 1)
        ]
    host = _range(host_text, "hostPort")
    return _pairs(address, host, container, protocol, f"{container_text} and {host_text}")


def _pairs(
    address: str, host: tuple[int, int], container: tuple[int, int], protocol: Protocol, shown: str
) -> list[PortBinding]:
    """Equal ranges pair up; a host range for one container port means any free one of it."""
    hosts = range(host[0], host[1] + 1)
    targets = range(container[0], container[1] + 1)
    if len(hosts) == len(targets):
        return [PortBinding(address, h, c, protocol) for h, c in zip(hosts, targets, strict=True)]
    if len(targets) == 1:
        return [PortBinding(address, host[0], container[0], protocol, host[1])]
    raise refusal(f"invalid ranges specified for container and host Ports: {shown}")


def parse_expose(spec: str) -> list[str]:
    """`80`, `80-82/udp` as "80/udp" keys."""
    text, slash, protocol_text = spec.partition("/")
    protocol = _protocol(protocol_text if slash else "tcp")
    try:
        first, last = _bounds(text)
    except ValueError as error:
        raise refusal(f"invalid range format for --expose: {text}, error: {error}") from error
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _protocol(text: str) -> Protocol:
    protocol = _PROTOCOLS.get(text.lower())
    if protocol is None:
        raise refusal(f"invalid proto: {text}")
    return protocol


def _address(text: str) -> str:
    import _socket  # not `socket`: 7 ms

    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if not bare:
        return ""
    family = _socket.AF_INET6 if ":" in bare else _socket.AF_INET
    try:
        packed = _socket.inet_pton(family, bare)
    except OSError as error:
        raise refusal(f"invalid IP address: {bare}") from error
    return _socket.inet_ntop(family, packed)


def _range(text: str, what: str) -> tuple[int, int]:
    try:
        return _bounds(text)
    except ValueError as error:
        raise refusal(f"invalid {what}: {text}") from error


def _bounds(text: str) -> tuple[int, int]:
    first_text, dash, last_text = text.partition("-")
    first = _number(first_text)
    last = _number(last_text) if dash else first
    if last < first:
        raise ValueError(f"invalid range specified for port: {text}")
    return first, last


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if len(text) > 5 or int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
