"""Who `--user` means: docker's rules, strict numbers."""

import pytest

from onggi.errors import InvalidInput
from onggi.runtime.identity import Identity, resolve

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
+@nis
broken
nouid:x::5::/
signed:x:+7:7::/
under:x:1_0:7::/
big:x:4294967295:7::/
bob:x:1000:1000:Bob:/home/bob:/bin/sh
twin:x:1000:2000::/other:/bin/sh
4242:x:0:0::/evil:/bin/sh
noshell:x:9:9
"""
GROUP = b"root:x:0:\nbob:x:1000:\nwheel:x:10:root,bob\nstaff:x:50:alice,bob,\nbad:x:1_0:bob\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (0, 10), "/root")),
        ("root", Identity(0, 0, (0, 10), "/root")),
        ("0", Identity(0, 0, (0, 10), "/root")),
        ("bob", Identity(1000, 1000, (1000, 10, 50), "/home/bob")),
        ("1000", Identity(1000, 1000, (1000, 10, 50), "/home/bob")),
        ("bob:staff", Identity(1000, 50, (50,), "/home/bob")),
        ("bob:7", Identity(1000, 7, (7,), "/home/bob")),
        ("77:88", Identity(77, 88, (88,), "/")),
        ("77", Identity(77, 0, (0,), "/")),
        ("4242", Identity(4242, 0, (0,), "/")),  # a number is never a name
        ("4294967294", Identity(4294967294, 0, (0,), "/")),
        ("noshell", Identity(9, 9, (9,), "/")),
        ("0000001000", Identity(1000, 1000, (1000, 10, 50), "/home/bob")),
    ],
)
def test_known(user: str, expected: Identity) -> None:
    assert resolve(user, (), PASSWD, GROUP) == expected


@pytest.mark.sec("C11")
@pytest.mark.parametrize(
    "user",
    [
        "1_0", "+1", "-1", "4294967295", "4294967296", "18446744073709551616", " 0", "0 ", "0\n",
        "0\t", "a:b:c", "nosuch", "bob:", ":", ":0", "bob:nosuch", "bob:-1", "bob:4294967296",
        "bob:1_0", "0x0", "1e3", "１", "²", "٣", "nouid", "signed", "under", "big", "broken",
        "#", "+@nis", "bob:bad", "root\0", "00000000000",
    ],
)  # fmt: skip
def test_refused(user: str) -> None:
    if user == ":0":  # no user named: root, as docker has it
        assert resolve(user, (), PASSWD, GROUP) == Identity(0, 0, (0,), "/root")
        return
    with pytest.raises(InvalidInput):
        resolve(user, (), PASSWD, GROUP)


def test_docker_words() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve("zork", (), PASSWD, GROUP)
    assert caught.value.message == "unable to find user zork: no matching entries in passwd file"
    with pytest.raises(InvalidInput, match="unable to find group zork: no matching entries in gr"):
        resolve("bob", ("zork",), PASSWD, GROUP)


def test_added_groups() -> None:
    assert resolve("bob", ("wheel", "77", "50"), PASSWD, GROUP).groups == (1000, 10, 50, 77)
    assert resolve("bob:7", ("wheel",), PASSWD, GROUP).groups == (7, 10)


def test_without_files() -> None:
    assert resolve("", (), None, None) == Identity(0, 0, (0,), "/")
    assert resolve("5:6", ("7",), None, None) == Identity(5, 6, (6, 7), "/")
    with pytest.raises(InvalidInput):
        resolve("root", (), None, None)


@pytest.mark.sec("A16")
def test_limits_and_odd_bytes() -> None:
    with pytest.raises(InvalidInput, match="line over"):
        resolve("bob", (), b"x" * 70_000, GROUP)
    assert resolve("bob", (), b"\xff\xfe:x:1:1\nbob:x:3:4::/h\r\n", b"").home == "/h"


@pytest.mark.sec("C12")
def test_a_home_with_control_characters_is_not_taken() -> None:
    assert resolve("bob", (), b"bob:x:3:4::/h\x1b[0m:/bin/sh", b"").home == "/"
