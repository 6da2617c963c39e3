"""What a frontend tells the engine of its user."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..registry.protocol import Secret


class Settings(NamedTuple):
    """Where docker's credentials and our configuration lie, and the proxies of the user's
    environment ({"http": url, "https": url, "no": list}). With `secrets`, by registry, nobody's
    stored credentials are used: a client of the API sends its own along."""

    docker_config: str = ""
    config_files: tuple[str, ...] = ()
    proxies: dict[str, str] = {}  # noqa: RUF012 - never mutated
    secrets: "Mapping[str, Secret] | None" = None
