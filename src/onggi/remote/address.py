"""Where an engine is: `-H` in docker's forms. Pure."""

from ..errors import InvalidInput
from ..typed import Literal, NamedTuple


class Tls(NamedTuple):
    """Files: authority, certificate and key of the client ("" for none). Without `verify` the
    server may be anybody."""

    authority: str = ""
    certificate: str = ""
    key: str = ""
    verify: bool = True


class Address(NamedTuple):
    """`place` is a socket's path, "host:port", or what ssh is told: "user@host" and `port`."""

    kind: Literal["unix", "tcp", "ssh"]
    place: str
    port: int = 0
    tls: Tls | None = None

    def __str__(self) -> str:
        port = f":{self.port}" if self.port and self.kind == "ssh" else ""
        return f"{self.kind}://{self.place}{port}"


def parse(text: str, tls: Tls | None = None) -> Address:
    """unix:///path, tcp://host[:port], ssh://[user@]host[:port]. Raises InvalidInput."""
    kind, separator, rest = text.partition("://")
    if not separator:
        kind, rest = "tcp", text
    rest = rest if kind == "unix" else rest.rstrip("/")
    if kind == "unix" and rest.startswith("/"):
        return Address("unix", rest)
    if kind in ("tcp", "https", "http") and rest and "/" not in rest:
        secure = tls or (Tls() if kind == "https" else None)
        return Address("tcp", _with_port(rest, 2376 if secure else 2375, text), tls=secure)
    if kind == "ssh" and rest and "/" not in rest and not rest.startswith("-"):
        host, _, port = rest.rpartition(":")
        if port.isdecimal() and host:
            return Address("ssh", host, int(port))
        return Address("ssh", rest)
    raise InvalidInput(
        f"unable to parse docker host `{text}`",
        hint="unix:///run/onggi.sock, tcp://host:2376 or ssh://user@host",
    )


def _with_port(place: str, usual: int, text: str) -> str:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        return f"{place}:{usual}"
    if not port.isdecimal() or not 0 < int(port) < 65536 or not host:
        raise InvalidInput(f"invalid port in `{text}`")
    return place
