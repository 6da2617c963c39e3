"""Near names, for "did you mean". Pure; small inputs only."""

from collections.abc import Iterable

LONGEST = 64  # nobody mistypes something longer into a name


def distance(one: str, other: str, limit: int = 3) -> int:
    """Edits (insert, delete, replace, swap of neighbours) from `one` to `other`; `limit` + 1 when
    there are more than `limit`."""
    if abs(len(one) - len(other)) > limit or max(len(one), len(other)) > LONGEST:
        return limit + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, a in enumerate(one, 1):
        current = [row]
        for column, b in enumerate(other, 1):
            best = min(last[column] + 1, current[-1] + 1, last[column - 1] + (a != b))
            swapped = row > 1 and column > 1 and a == other[column - 2] and one[row - 2] == b
            if swapped:
                best = min(best, before[column - 2] + 1)
            current.append(best)
        if min(current) > limit:
            return limit + 1
        before, last = last, current
    return min(last[-1], limit + 1)


def nearest(word: str, names: Iterable[str], limit: int = 2) -> str:
    """The name nearest to `word` without regard to case, "" when none is within `limit` edits or
    when an edit would replace half of a short word."""
    limit = min(limit, max(1, len(word) // 2))
    scored = sorted((distance(word.lower(), name.lower(), limit), name) for name in set(names))
    return scored[0][1] if scored and scored[0][0] <= limit else ""
