"""A row of the table of operations, and finding the one that a path means. Sans-IO."""

from collections.abc import Callable, Iterable, Mapping

from ..typed import NamedTuple
from .call import Answer, Call
from .decode import unescaped

Handler = Callable[[Call], Answer | None]
OLDEST, NEWEST = (1, 24), (1, 51)


class Route(NamedTuple):
    """`path` has {name} for one segment and {name*} for one or more, as an image's name has them.
    `since` is the first version of the API that has the operation."""

    method: str
    path: str
    handler: Handler
    since: tuple[int, int] = OLDEST

    @property
    def operation(self) -> str:
        return f"{self.method} {self.path}"


class Found(NamedTuple):
    route: Route
    params: Mapping[str, str]


class Table:
    """Routes by method and number of segments; a literal wins over a placeholder."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._patterns = sorted(
            ((_segments(route.path), route) for route in self.routes),
            key=lambda item: [segment.startswith("{") for segment in item[0]],
        )

    def find(self, method: str, segments: list[str]) -> Found | None:
        for pattern, route in self._patterns:
            if route.method == method:
                params = _matched(pattern, segments)
                if params is not None:
                    return Found(route, params)
        return None


def split_path(path: str) -> list[str]:
    """The decoded segments. [] for a path with empty or dot segments: docker's would redirect to
    what it takes it to mean, we have no such operation. Raises InvalidInput for bad escapes."""
    if not path.startswith("/"):
        return []
    segments = [unescaped(segment) for segment in path[1:].split("/")]
    return [] if any(segment in ("", ".", "..") for segment in segments) else segments


def version_of(segments: list[str]) -> tuple[str, list[str]]:
    """("1.43", the rest) of a path that begins with v1.43."""
    first = segments[0] if segments else ""
    major, dot, minor = first[1:].partition(".")
    if first[:1] == "v" and dot and _is_number(major) and _is_number(minor):
        return first[1:], segments[1:]
    return "", segments


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5


def _segments(path: str) -> list[str]:
    return path[1:].split("/")


def _matched(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    spare = len(segments) - len(pattern)
    greedy = any(word.endswith("*}") for word in pattern)
    if spare < 0 or (spare and not greedy):
        return None
    params: dict[str, str] = {}
    at = 0
    for word in pattern:
        size = spare + 1 if word.endswith("*}") else 1
        text = "/".join(segments[at : at + size])
        if word.startswith("{"):
            params[word.strip("{*}")] = text
        elif word != text:
            return None
        at += size
    return params
