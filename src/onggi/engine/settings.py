"""What a frontend tells the engine of its user."""

from ..typed import NamedTuple
from .tier import ROOT, Tier


class Settings(NamedTuple):
    """Where docker's credentials and our configuration lie, and the proxies of the user's
    environment ({"http": url, "https": url, "no": list}); the privilege there is."""

    docker_config: str = ""
    config_files: tuple[str, ...] = ()
    proxies: dict[str, str] = {}  # noqa: RUF012 - never mutated
    tier: Tier = ROOT
