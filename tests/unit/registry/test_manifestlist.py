"""The local store's files are a user's: what is broken in them is named."""

import base64
import json
from typing import Any

import pytest

from onggi.errors import CorruptData, InvalidInput
from onggi.registry.manifestlist import (
    Listed,
    ListedPlatform,
    list_document,
    list_entries,
    manifest_of,
    read_listed,
)
from onggi.spec.digest import Digest
from onggi.spec.image import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from onggi.spec.reference import parse_reference


def manifest(media_type: str = DOCKER_MANIFEST, indent: int | None = 3) -> bytes:
    blob = {"mediaType": "x", "size": 1, "digest": Digest.of(b"x")}
    document = {"schemaVersion": 2, "mediaType": media_type, "config": blob, "layers": [blob]}
    return json.dumps(document, indent=indent).encode()


def listed(media_type: str = DOCKER_MANIFEST, **changes: Any) -> Listed:
    reference = parse_reference("example.org/a:1")
    whole = ListedPlatform("arm64", "linux", "6.1", ("a", "b"), "v8")
    return Listed(reference, media_type, manifest(media_type), whole)._replace(**changes)


def stored(item: Listed, **changes: Any) -> bytes:
    return json.dumps({**item.document(), **changes}).encode()


@pytest.mark.parametrize("media_type", [DOCKER_MANIFEST, OCI_MANIFEST])
def test_what_is_stored_is_read_again(media_type: str) -> None:
    assert read_listed(stored(listed(media_type)), "f") == listed(media_type)


def test_an_old_file_of_dockers_without_the_raw_bytes_is_written_out_anew() -> None:
    assert read_listed(stored(listed(), Raw=None), "f") == listed()
    with pytest.raises(CorruptData, match=r"internal digest mismatch for example.org/a:1"):
        read_listed(stored(listed(data=manifest(indent=None)), Raw=None), "f")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        stored(listed(), Raw="!"),
        stored(listed(), Descriptor=1),
        stored(listed(), Ref="UPPER"),
        stored(listed(), Ref=7),
        stored(listed(), Raw=base64.b64encode(b"other").decode()),
        stored(listed(), Descriptor={"mediaType": "x", "digest": "sha256:1"}),
        stored(listed(), Descriptor={"mediaType": [], "digest": str(Digest.of(b""))}),
    ],
)
def test_a_broken_file_is_named(data: bytes) -> None:
    with pytest.raises(CorruptData):
        read_listed(data, "the/file")


def test_the_first_image_says_whether_the_list_is_dockers_or_ocis() -> None:
    target = parse_reference("example.org/b")
    media_type, data = list_document([listed(OCI_MANIFEST), listed()], target)
    assert media_type == OCI_INDEX
    assert [platform for _, platform in list_entries(data)] == [listed().platform] * 2
    with pytest.raises(CorruptData, match="manifest list"):
        manifest_of(data)
    with pytest.raises(InvalidInput, match=r"example.org != docker.io"):
        list_document([listed()], parse_reference("b"))


@pytest.mark.parametrize(
    ("platform", "valid"),
    [("linux/riscv64", True), ("windows/arm64", False), ("linux/", False), ("/amd64", False)],
)
def test_which_platforms_docker_takes(platform: str, valid: bool) -> None:
    system, _, architecture = platform.partition("/")
    assert ListedPlatform(architecture, system).is_valid() is valid
