"""Names and sets of capabilities."""

import pytest

from onggi.errors import InvalidInput
from onggi.linux.capability import (
    ALL,
    DOCKER_DEFAULT,
    NAMES,
    SYS_ADMIN,
    mask_of,
    names_of,
    parse,
    resolve,
)


def test_docker_default_is_the_known_mask() -> None:
    assert mask_of(DOCKER_DEFAULT) == 0xA80425FB
    assert len(DOCKER_DEFAULT) == 14


def test_masks_and_names() -> None:
    assert names_of(mask_of(("KILL", "CHOWN"))) == ("CHOWN", "KILL")
    assert mask_of(("ALL",)) == ALL == (1 << 41) - 1
    assert names_of(ALL) == NAMES
    assert SYS_ADMIN == 1 << 21


@pytest.mark.parametrize("text", ["CAP_NET_RAW", "net_raw", "NET_RAW", "cap_net_raw"])
def test_spellings(text: str) -> None:
    assert parse(text) == "NET_RAW"


@pytest.mark.parametrize("text", ["", "NOPE", "CAP_", "CAP_CAP_CHOWN", "chown ", "SYS_ADMIN\n"])
def test_no_capability(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), ("CHOWN", "KILL")),
        (("SYS_ADMIN",), (), ("CHOWN", "KILL", "SYS_ADMIN")),
        ((), ("KILL",), ("CHOWN",)),
        ((), ("ALL",), ()),
        (("NET_RAW",), ("all",), ("NET_RAW",)),
        (("ALL",), ("KILL",), tuple(name for name in NAMES if name != "KILL")),
        (("ALL",), ("ALL",), NAMES),
        (("KILL",), ("KILL",), ("CHOWN", "KILL")),  # adds win, as in docker
    ],
)
def test_add_and_drop(
    add: tuple[str, ...], drop: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert names_of(resolve(add, drop, ("CHOWN", "KILL"))) == expected
