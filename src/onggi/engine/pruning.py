"""The filters of every prune: until, label and label!. Pure."""

from collections.abc import Mapping, Sequence

from ..errors import InvalidInput
from ..typed import NamedTuple
from ..units import parse_time
from .filters import has_label


class Chosen(NamedTuple):
    """What may go: older than `until_ns` (0: of any age), with and without these labels."""

    until_ns: int = 0
    labels: tuple[str, ...] = ()
    not_labels: tuple[str, ...] = ()

    def admits(self, labels: Mapping[str, str], created_ns: int) -> bool:
        return (
            (not self.until_ns or created_ns < self.until_ns)
            and all(has_label(labels, wanted) for wanted in self.labels)
            and not any(has_label(labels, unwanted) for unwanted in self.not_labels)
        )


def parse(filters: Mapping[str, Sequence[str]], now_ns: int, *, until: bool = True) -> Chosen:
    """Raises InvalidInput with docker's words; volumes have no `until`."""
    known = {"label", "label!", *(("until",) if until else ())}
    for name in filters:
        if name not in known:
            raise InvalidInput(f"invalid filter '{name}'")
    moments = filters.get("until", ())
    if len(moments) > 1:
        raise InvalidInput("more than one until filter specified")
    try:
        until_ns = parse_time(moments[0], now_ns) if moments else 0
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    return Chosen(until_ns, tuple(filters.get("label", ())), tuple(filters.get("label!", ())))
