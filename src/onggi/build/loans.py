"""What the user lends to a build and no image, key or log may ever hold."""

import os
import stat
from collections.abc import Mapping

from ..errors import InvalidInput
from ..spec.container import HostOptions
from ..typed import NamedTuple

MAX_SECRET_BYTES = 500 << 10  # docker's own limit


class Secret(NamedTuple):
    """--secret: a file of the host, or a value from the caller's environment."""

    path: str = ""
    value: bytes | None = None

    def read(self, name: str) -> bytes:
        """Raises InvalidInput naming the secret, never its content."""
        value = self.value
        if value is None:
            try:
                with open(self.path, "rb") as file:
                    value = file.read(MAX_SECRET_BYTES + 1)
            except OSError as error:
                raise InvalidInput(f"secret {name}: {self.path}: {error.strerror}") from error
        if len(value) > MAX_SECRET_BYTES:
            raise InvalidInput(f"secret {name} too big. max size 500KB")
        return value


def is_agent(path: str) -> bool:
    """Whether --ssh names an agent's socket; else it is key files."""
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class Loans(NamedTuple):
    """By id: secrets, and the paths of agents' sockets. `proxies` are "K=V" for every RUN, `limits`
    what it may use, `allowed` the --allow; none changes what a step makes."""

    secrets: Mapping[str, Secret] = {}
    agents: Mapping[str, str] = {}
    proxies: tuple[str, ...] = ()
    limits: HostOptions = HostOptions()
    allowed: frozenset[str] = frozenset()
