"""What the user lends to a build and no image, key or log may ever hold."""

from collections.abc import Mapping
from typing import NamedTuple


class Secret(NamedTuple):
    """--secret: a file of the host, or a value from the caller's environment."""

    path: str = ""
    value: bytes | None = None


class Loans(NamedTuple):
    """By id: secrets, and the paths of agents' sockets. `proxies` are "K=V" for every RUN."""

    secrets: Mapping[str, Secret] = {}
    agents: Mapping[str, str] = {}
    proxies: tuple[str, ...] = ()
