"""The rules of .dockerignore: docker's patterns, order, `!`, `**`; the last line that matches wins.

Pure: the caller reads the file and walks the directories.
"""

import posixpath
from collections.abc import Callable

from ..errors import InvalidInput
from ..typed import NamedTuple
from .glob import BadPattern, Token, literal, matcher, tokens

MAX_FILE_BYTES = 1 << 20
MAX_PATTERNS = 10_000


class Rule(NamedTuple):
    """One line. `exact` is the path it names when it has no wildcard."""

    text: str
    line: int
    negated: bool
    exact: str | None
    matches: Callable[[str], bool]


class IgnoreRules:
    """Asked path by path on the way down: `verdict(path, parent's verdict)`.

    A verdict is the index of the last rule that matched the path or a directory above it, -1 for
    none; since the last match decides, that one number is all a directory hands to its entries."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        self.exact: dict[str, int] = {}
        self.wild: list[tuple[int, Callable[[str], bool]]] = []
        for index, rule in enumerate(rules):
            if rule.exact is None:
                self.wild.append((index, rule.matches))
            else:
                self.exact[rule.exact] = index
        self.wild.reverse()
        self.has_negation = any(rule.negated for rule in rules)

    def verdict(self, path: str, above: int = -1) -> int:
        best = max(self.exact.get(path, -1), above)
        for index, matches in self.wild:
            if index <= best:
                break
            if matches(path):
                return index
        return best

    def excludes(self, verdict: int) -> bool:
        return verdict >= 0 and not self.rules[verdict].negated

    def prunes(self, verdict: int) -> bool:
        """Whether nothing below an excluded directory can come back."""
        return self.excludes(verdict) and not any(
            rule.negated for rule in self.rules[verdict + 1 :]
        )

    def path_verdict(self, path: str) -> int:
        """The verdict on a path from the context's root, directories above it included."""
        best = -1
        parts = path.split("/")
        for size in range(1, len(parts) + 1):
            best = self.verdict("/".join(parts[:size]), best)
        return best

    def why(self, path: str) -> Rule | None:
        """The rule that excludes `path`, None when it is not excluded."""
        verdict = self.path_verdict(path)
        return self.rules[verdict] if self.excludes(verdict) else None


def parse(data: bytes) -> IgnoreRules:
    """Raises InvalidInput naming the line of a bad pattern."""
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput(f".dockerignore is larger than {MAX_FILE_BYTES >> 20} MiB")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    rules: list[Rule] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("#") or not line.strip():
            continue
        rules.append(_rule(line.strip(), number))
        if len(rules) > MAX_PATTERNS:
            raise InvalidInput(f".dockerignore has more than {MAX_PATTERNS} patterns")
    return IgnoreRules(tuple(rules))


def _rule(line: str, number: int) -> Rule:
    negated = line.startswith("!")
    pattern = line[1:].strip() if negated else line
    if not pattern:
        raise InvalidInput(f'.dockerignore line {number}: illegal exclusion pattern: "!"')
    pattern = posixpath.normpath(pattern)
    if len(pattern) > 1:
        pattern = pattern.lstrip("/")
    try:
        tokens(pattern)  # path.Match's own syntax first, as docker
        parsed = tokens(pattern, double_star=True)
    except BadPattern as error:
        shown = pattern[:100]
        raise InvalidInput(f".dockerignore line {number}: {error}: {shown!r}") from error
    plain_tail = all(token.kind == "literal" for token in parsed[1:]) and "\\" not in pattern
    if plain_tail and pattern.startswith("**") and pattern[2:3] not in ("", "/"):
        parsed[0] = Token("tail")  # docker takes `**x` as "ends with x", also inside a name
    return Rule(line, number, negated, literal(parsed), matcher(parsed))
