"""What a frontend tells the engine of its user."""

from ..typed import NamedTuple


class Settings(NamedTuple):
    """Where docker's credentials and our configuration lie, and the proxies of the user's
    environment ({"http": url, "https": url, "no": list})."""

    docker_config: str = ""
    config_files: tuple[str, ...] = ()
    proxies: dict[str, str] = {}  # noqa: RUF012 - never mutated
