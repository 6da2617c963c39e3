"""The filters of `volume ls`: name, label, driver, dangling. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..errors import InvalidInput
from ..spec.mount import Volume
from .filters import has_label

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def select(
    volumes: Iterable[Volume],
    filters: Mapping[str, Sequence[str]],
    is_used: Callable[[Volume], bool],
) -> list[Volume]:
    """Those that every filter takes, by name. Of `dangling` the last word counts. Raises
    InvalidInput in docker's words."""
    found = sorted(volumes, key=lambda volume: volume.name)
    for name, texts in filters.items():
        match name:
            case "name":
                found = [v for v in found if any(_matches(text, v.name) for text in texts)]
            case "label":
                found = [v for v in found if all(has_label(v.labels, text) for text in texts)]
            case "driver":
                found = found if "local" in texts else []
            case "dangling":
                wanted = _TRUTHS.get(texts[-1].lower())
                if wanted is None:
                    raise InvalidInput(f"invalid filter 'dangling=[{texts[-1]}]'")
                found = [v for v in found if is_used(v) != wanted]
            case _:
                raise InvalidInput(f"invalid filter '{name}'")
    return found


def _matches(text: str, name: str) -> bool:
    """A name, or a regular expression for one."""
    try:
        return text in name or re.search(text, name) is not None
    except re.error:
        return False
