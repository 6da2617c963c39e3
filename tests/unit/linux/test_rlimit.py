"""Limits: names, order, and what a host cannot give."""

import resource

import pytest

from onggi.errors import InvalidInput
from onggi.linux import rlimit


@pytest.mark.parametrize("limit", [("nofile", 5, 10), ("core", 0, -1), ("cpu", -1, -1)])
def test_good(limit: rlimit.Limit) -> None:
    rlimit.check(limit)


@pytest.mark.parametrize(
    "limit", [("nofile", 10, 5), ("bogus", 1, 1), ("", 1, 1), ("core", -1, 5), ("NOFILE", 1, 1)]
)
def test_bad(limit: rlimit.Limit) -> None:
    with pytest.raises(InvalidInput):
        rlimit.check(limit)


def test_what_the_host_cannot_give_is_clamped_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    monkeypatch.setattr(rlimit, "held", lambda: 0)
    (clamped, small), warnings = rlimit.clamp((("nofile", hard + 1, hard + 2), ("core", 0, 0)))
    assert clamped == ("nofile", hard, hard)
    assert small == ("core", 0, 0)
    assert len(warnings) == 1 and str(hard) in warnings[0]
    monkeypatch.setattr(rlimit, "held", lambda: 1 << 24)
    assert rlimit.clamp((("nofile", hard + 1, hard + 2),)) == (
        (("nofile", hard + 1, hard + 2),), (),
    )  # fmt: skip
