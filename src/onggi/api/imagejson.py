"""Docker's JSON of images, version by version. Sans-IO."""

from collections.abc import Iterable, Mapping, Sequence

from ..engine.imagelist import Listed
from ..engine.imageview import HistoryRow, familiar
from ..spec.image import Image
from ..spec.platform import Platform
from ..typed import Any
from .call import Version

UNKNOWN = -1  # a figure that nobody asked for
SECOND_NS = 1_000_000_000
_ALWAYS = {
    "Cmd": None, "Entrypoint": None, "Env": None, "Labels": None, "OnBuild": None, "User": "",
    "Volumes": None, "WorkingDir": "",
}  # fmt: skip
_BEFORE_1_50 = {
    "AttachStderr": False, "AttachStdin": False, "AttachStdout": False, "Domainname": "",
    "Hostname": "", "Image": "", "OpenStdin": False, "StdinOnce": False, "Tty": False,
}  # fmt: skip


def summary(
    listed: Listed, version: Version, *, containers: int = UNKNOWN, shared_bytes: int = UNKNOWN
) -> dict[str, Any]:
    """One entry of /images/json and of /system/df."""
    image = listed.image
    tags = [familiar(tag) for tag in listed.tags]
    digests = [familiar(name) for name in listed.digests]
    if version < (1, 43) and not tags and not digests:
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    found: dict[str, Any] = {
        "Containers": containers,
        "Created": image.created_ns // SECOND_NS,
        "Id": str(image.id),
        "Labels": dict(image.config.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared_bytes,
        "Size": image.size_bytes,
    }
    if version < (1, 44):
        found["VirtualSize"] = image.size_bytes
    return found


def inspection(found: Mapping[str, Any], version: Version) -> dict[str, Any]:
    """The engine's view of an image with what older clients expect besides."""
    legacy = {**_ALWAYS, **_BEFORE_1_50} if version < (1, 50) else _ALWAYS
    result = {**found, "Config": dict(sorted({**legacy, **found["Config"]}.items()))}
    if version < (1, 44):
        result["VirtualSize"] = found["Size"]
        result.setdefault("Created", "0001-01-01T00:00:00Z")
    if version < (1, 45):
        result["Container"] = ""
    return result


def history(rows: Iterable[HistoryRow]) -> list[dict[str, Any]]:
    return [
        {
            "Comment": row.comment,
            "Created": row.created_ns // SECOND_NS,
            "CreatedBy": row.created_by,
            "Id": str(row.id),
            "Size": row.size_bytes,
            "Tags": list(row.tags) or None,
        }
        for row in rows
    ]


def removed(lines: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{what: str(name)} for what, name in lines]


def shared_bytes(images: Sequence[Image], sizes: Mapping[str, int]) -> dict[str, int]:
    """By image id: what other images have, too. `sizes` are those of the layers by chain id."""
    from ..engine.imageview import chains

    stacks = {str(image.id): chains(image) for image in images}
    users: dict[str, int] = {}
    for stack in stacks.values():
        for chain in stack:
            users[chain] = users.get(chain, 0) + 1
    return {
        id_: sum(sizes.get(chain, 0) for chain in stack if users[chain] > 1)
        for id_, stack in stacks.items()
    }


def platform(found: Platform) -> dict[str, str]:
    """OCI's spelling."""
    fields = {"architecture": found.architecture, "os": found.os, "variant": found.variant}
    return {name: value for name, value in fields.items() if value}
