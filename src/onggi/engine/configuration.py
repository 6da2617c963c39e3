"""The engine's own tables of config.toml. Reads files, knows no home.

    [security]
    profile = "strict"    # docker, default or strict: for containers without --security

    [build]
    gc = true                 # keep the cache to its budget after every build
    max_used_space = "50GB"   # or "10%" of the disk
    reserved_space = "5GB"    # what always stays
    min_free_space = "10%"    # of the disk, for others

    [network]
    override_drops = true     # let our bridges through a firewall that drops what it forwards

Later files win. `[registry]` is the registry package's.
"""

from collections.abc import Iterable

from ..errors import InvalidInput
from ..typed import Any, NamedTuple
from .security import check_profile

MAX_BYTES = 1 << 20


_SIZES = ("max_used_space", "reserved_space", "min_free_space")


class CacheBudget(NamedTuple):
    """What `[build]` says; `sizes` as they are written."""

    enabled: bool = True
    sizes: dict[str, str] = {}  # noqa: RUF012 - never mutated


def cache_budget(files: Iterable[str]) -> CacheBudget:
    """Raises InvalidInput naming file and key."""
    found = CacheBudget()
    for path in files:
        table = _read(path, b"build").get("build", {})
        if not isinstance(table, dict):
            raise InvalidInput(f"{path}: build is not a table: write [build]")
        for key, value in table.items():
            if key == "gc" and isinstance(value, bool):
                found = found._replace(enabled=value)
            elif key in _SIZES and isinstance(value, (str, int)) and not isinstance(value, bool):
                found = found._replace(sizes={**found.sizes, key: str(value)})
            else:
                hint = f"known: gc = true or false; {', '.join(_SIZES)} = a size or percentage"
                raise InvalidInput(f"{path}: build.{key}: not understood", hint=hint)
    return found


def profile(files: Iterable[str]) -> str:
    """The security profile, "" where no file names one. Raises InvalidInput naming the file."""
    found = ""
    for path in files:
        table = _read(path, b"security").get("security", {})
        value = table.get("profile", found) if isinstance(table, dict) else None
        if not isinstance(value, str):
            raise InvalidInput(f"{path}: security.profile: want a string")
        found = value
    return check_profile(found) if found else ""


def overrides_drops(files: Iterable[str]) -> bool:
    """Raises InvalidInput naming the file."""
    found = False
    for path in files:
        table = _read(path, b"network").get("network", {})
        value = table.get("override_drops", found) if isinstance(table, dict) else None
        if not isinstance(value, bool):
            raise InvalidInput(f"{path}: network.override_drops: want true or false")
        found = value
    return found


def _read(path: str, word: bytes) -> dict[str, Any]:
    """The document, when `word` is in it."""
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if word not in text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
