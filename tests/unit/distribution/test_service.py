"""Paths, ranges and errors of the distribution API."""

import json

import pytest

from onggi.distribution.service import (
    BadDigest,
    BlobUnknown,
    Place,
    ReadOnly,
    place_of,
    problem,
    wanted_range,
)
from onggi.errors import CorruptData, InvalidInput, NotFound, OnggiError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v2/busybox/tags/list", Place("tags", "busybox")),
        ("/v2/team/app/manifests/1.0", Place("manifests", "team/app", "1.0")),
        (f"/v2/a/b/c/blobs/{DIGEST}", Place("blobs", "a/b/c", DIGEST)),
        (f"/v2/quay.io/a/b/manifests/{DIGEST}", Place("manifests", "quay.io/a/b", DIGEST)),
        ("/v2/app/blobs/uploads/", Place("uploads", "app")),
        ("/v2/app/blobs/uploads/" + "0" * 32, Place("uploads", "app", "0" * 32)),
        (f"/v2/app/referrers/{DIGEST}", Place("referrers", "app", DIGEST)),
        # A repository may be called like a route.
        ("/v2/manifests/manifests/x", Place("manifests", "manifests", "x")),
        ("/v2/app/blobs/uploads/../../../etc/passwd", None),
        ("/v2/app/manifests/a/b", None),
        ("/v2/App/tags/list", None),
        ("/v2//tags/list", None),
        ("/v2/app/tags", None),
        ("/v1/app/tags/list", None),
        (f"/v2/{'a' * 300}/tags/list", None),
    ],
)
def test_places(path: str, place: Place | None) -> None:
    assert place_of(path) == place


@pytest.mark.parametrize("name", ["a/../b", "a//b", "a/./b", "-a/b", "a/.b", "a..b"])
def test_names_that_are_none(name: str) -> None:
    try:
        assert place_of(f"/v2/{name}/tags/list") is None
    except InvalidInput:
        pass


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", None),
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 10)),
        ("bytes=-5", (95, 5)),
        ("bytes=-500", (0, 100)),
        ("bytes=0-1000", (0, 100)),
        ("bytes=99-99", (99, 1)),
        ("bytes=100-", (100, 0)),
        ("bytes=-0", (100, 0)),
        ("bytes=5-1", None),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=0-1", None),
    ],
)
def test_ranges(header: str, found: tuple[int, int] | None) -> None:
    assert wanted_range(header, 100) == found


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("repository name not known to registry: x"), "NAME_UNKNOWN"),
        (NotFound("manifest unknown: x has no y"), "MANIFEST_UNKNOWN"),
        (NotFound("blob upload unknown to registry"), "BLOB_UPLOAD_UNKNOWN"),
        (BlobUnknown("blob unknown to registry"), "BLOB_UNKNOWN"),
        (BadDigest("x"), "DIGEST_INVALID"),
        (ReadOnly("x"), "UNSUPPORTED"),
        (InvalidInput("invalid reference format"), "NAME_INVALID"),
        (CorruptData("x"), "UNKNOWN"),
    ],
)
def test_codes(error: OnggiError, code: str) -> None:
    (found,) = json.loads(problem(error))["errors"]
    assert (found["code"], found["message"]) == (code, error.message)
