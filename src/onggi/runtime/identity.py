"""Users and groups of an image: who `--user` means, by the image's own passwd and group files.

Pure: bytes of the two files in, numbers out. Strict where Python's `int` is not (SECURITY C11):
only plain ASCII digits are a number, a number is never a name, and what does not fit is refused.
"""

from ..errors import InvalidInput
from ..typed import NamedTuple

MAX_FILE_BYTES = 1 << 20
_MAX_LINE_BYTES = 64 << 10
_MAX_ID = 0xFFFFFFFE  # 0xFFFFFFFF is "no change" to setresuid
_DIGITS = frozenset("0123456789")


class Identity(NamedTuple):
    """`groups` is the whole supplementary list, the primary group first."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve(
    user: str, group_add: tuple[str, ...], passwd: bytes | None, group: bytes | None
) -> Identity:
    """Who `name|uid[:group|gid]` is; "" is root. Files that are missing are None.

    A user of passwd brings its primary and supplementary groups, unless a group is named. A number
    that is not in the file stands for itself. Raises InvalidInput with docker's words.
    """
    name, colon, group_name = user.partition(":")
    if ":" in group_name or (colon and not group_name) or not user.isprintable() or " " in user:
        raise InvalidInput(f"invalid user {user[:64]!r}: want user[:group]")
    groups = _parse_groups(group)
    found = _find_user(name or "0", _parse_users(passwd))
    gid = _find_group(group_name, groups) if group_name else found.gid
    extra: list[int] = []
    if not group_name and found.name:
        extra += [entry.gid for entry in groups if found.name in entry.members]
    extra += [_find_group(wanted, groups) for wanted in group_add]
    return Identity(found.uid, gid, tuple(dict.fromkeys([gid, *extra])), found.home or "/")


def _find_user(wanted: str, users: list[_User]) -> _User:
    number = _number(wanted, "user")
    for entry in users:
        if entry.uid == number if number is not None else entry.name == wanted:
            return entry
    if number is None:
        raise InvalidInput(f"unable to find user {wanted}: no matching entries in passwd file")
    return _User("", number, 0, "/")


def _find_group(wanted: str, groups: list[_Group]) -> int:
    number = _number(wanted, "group")
    if number is not None:
        return number
    for entry in groups:
        if entry.name == wanted:
            return entry.gid
    raise InvalidInput(f"unable to find group {wanted}: no matching entries in group file")


def _number(text: str, what: str) -> int | None:
    """The number that `text` is, None when it is a name."""
    if not text or not _DIGITS.issuperset(text):
        return None
    number = int(text) if len(text) <= 10 else _MAX_ID + 1
    if number > _MAX_ID:
        raise InvalidInput(f"invalid {what} {text[:64]}: ids go from 0 to {_MAX_ID}")
    return number


def _parse_users(content: bytes | None) -> list[_User]:
    users = []
    for fields in _records(content, "/etc/passwd"):
        uid, gid = (_id(fields, index) for index in (2, 3))
        if uid is not None and gid is not None:
            home = fields[5] if len(fields) > 5 and fields[5].isprintable() else "/"
            users.append(_User(fields[0], uid, gid, home))
    return users


def _parse_groups(content: bytes | None) -> list[_Group]:
    groups = []
    for fields in _records(content, "/etc/group"):
        gid = _id(fields, 2)
        if gid is not None:
            members = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            groups.append(_Group(fields[0], gid, members))
    return groups


def _records(content: bytes | None, file: str) -> list[list[str]]:
    """The fields of each line; comments, NIS lines and lines without a name are skipped."""
    records = []
    for line in (content or b"").split(b"\n"):
        if len(line) > _MAX_LINE_BYTES:
            raise InvalidInput(f"{file} of the image has a line over {_MAX_LINE_BYTES} bytes")
        fields = line.decode("utf-8", "replace").rstrip("\r").split(":")
        if fields[0] and fields[0][0] not in "#+-":
            records.append(fields)
    return records


def _id(fields: list[str], index: int) -> int | None:
    """A field as an id; None when it is missing or not a plain number in range."""
    text = fields[index] if index < len(fields) else ""
    if not text or len(text) > 10 or not _DIGITS.issuperset(text):
        return None
    number = int(text)
    return number if number <= _MAX_ID else None
