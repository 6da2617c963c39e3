"""Records as the JSON text of a column."""

from .. import jsons
from ..errors import CorruptData
from ..spec.codec import decode, encode
from ..typed import Any, TypeVar

R = TypeVar("R", bound=tuple[Any, ...])


def dump(record: object) -> str:
    return jsons.dumps(encode(record))


def parse(record: type[R], text: str, what: str) -> R:
    """Raises CorruptData naming `what` when the text is not what `dump` wrote."""
    try:
        return decode(record, jsons.loads(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CorruptData(f"the row of {what} is damaged: {error}") from error
