"""Regular expressions that are compiled when they are first asked: `re` takes 2 ms to import, a
pattern up to 0.3, and most commands ask none."""

from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator


_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")


def is_name(text: str) -> bool:
    """[a-zA-Z0-9][a-zA-Z0-9_.-]*, docker's rule for names, which many a `run` has to ask."""
    return text[:1] in _FIRST and _REST.issuperset(text)


class Pattern:
    """As re.compile gives it; of ASCII letters, digits and spaces."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._made: re.Pattern[str] | None = None

    @property
    def _compiled(self) -> "re.Pattern[str]":
        if self._made is None:
            import re

            self._made = re.compile(self.text, re.ASCII)
        return self._made

    def fullmatch(self, text: str) -> "re.Match[str] | None":
        return self._compiled.fullmatch(text)

    def match(self, text: str, position: int = 0) -> "re.Match[str] | None":
        return self._compiled.match(text, position)

    def finditer(self, text: str) -> "Iterator[re.Match[str]]":
        return self._compiled.finditer(text)

    def sub(self, replacement: "str | Callable[[re.Match[str]], str]", text: str) -> str:
        return self._compiled.sub(replacement, text)
