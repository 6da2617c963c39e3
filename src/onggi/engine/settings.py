"""What a frontend tells the engine of its user."""

from collections.abc import Mapping

from ..typed import NamedTuple
from .tier import ROOT, Tier


class Settings(NamedTuple):
    """Where docker's credentials and our configuration lie, and the proxies of the user's
    environment ({"http": url, "https": url, "no": list}); the privilege there is."""

    docker_config: str = ""
    config_files: tuple[str, ...] = ()
    proxies: dict[str, str] = {}  # noqa: RUF012 - never mutated
    tier: Tier = ROOT


DEFAULT_ROOT, DEFAULT_RUN = "/var/lib/onggi", "/run/onggi"


def from_environment(environ: Mapping[str, str]) -> Settings:
    """What the user's environment says, as docker reads it."""
    home = environ.get("HOME") or "/root"
    folder = environ.get("DOCKER_CONFIG") or f"{home}/.docker"
    return Settings(
        docker_config=f"{folder}/config.json",
        config_files=("/etc/onggi/config.toml", f"{home}/.config/onggi/config.toml"),
        proxies=proxies(environ),
    )


def proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """What the registry client obeys: {"http": url, "https": url, "no": list}."""
    found = {}
    for name in ("http", "https", "no", "all"):
        variable = f"{name}_proxy"
        value = environ.get(variable) or environ.get(variable.upper())
        if value:
            found[name] = value
    return found
