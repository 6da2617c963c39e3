"""`ps --filter`: what is refused, and who passes."""

import pytest

from onggi.engine import filters
from onggi.errors import InvalidInput


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("no-such", "x"),
        ("status", "asleep"),
        ("health", "fine"),
        ("is-task", "maybe"),
        ("exited", "x"),
        ("exited", "²"),
    ],
)
def test_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        filters.check({key: [value]})


def test_labels() -> None:
    labels = {"a": "1", "b": ""}
    assert all(filters.has_label(labels, wanted) for wanted in ("a", "a=1", "b", "b="))
    assert not any(filters.has_label(labels, wanted) for wanted in ("c", "a=2", "a=", "b=1"))
