"""The engine's own tables of config.toml. Reads files, knows no home.

    [security]
    profile = "strict"    # docker, default or strict: for containers without --security

Later files win. `[registry]` is the registry package's.
"""

from collections.abc import Iterable

from ..errors import InvalidInput
from ..typed import Any
from .security import check_profile

MAX_BYTES = 1 << 20


def profile(files: Iterable[str]) -> str:
    """The security profile, "" where no file names one. Raises InvalidInput naming the file."""
    found = ""
    for path in files:
        table = _read(path).get("security", {})
        value = table.get("profile", found) if isinstance(table, dict) else None
        if not isinstance(value, str):
            raise InvalidInput(f"{path}: security.profile: want a string")
        found = value
    return check_profile(found) if found else ""


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InvalidInput(f"{path}: {(error.strerror or str(error)).lower()}") from error
    if b"security" not in text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from error
