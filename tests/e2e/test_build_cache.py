"""--cache-from and --cache-to: what one store made, another one finds."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from registry_server import RegistryServer

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run

pytestmark = pytest.mark.root
CONFIG = "application/vnd.buildkit.cacheconfig.v0"
TEXT = f"""FROM busybox AS tools
RUN {UNIQUE} > /tool
FROM busybox
WORKDIR /
COPY a /a
RUN {UNIQUE} > /stamp
COPY --from=tools /tool /tool
"""


@pytest.fixture
def other(
    lone_onggi: Onggi, onggi: Onggi, busybox: str, base_image: Callable[[str], Path]
) -> Iterator[Onggi]:
    """Another machine, as far as a store is one, with the same base image."""
    lone_onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    yield lone_onggi


def stamps(onggi: Onggi) -> str:
    return run(onggi, "cat", "/stamp", "/tool")


def done_again(onggi: Onggi, top: Path, *flags: str) -> list[str]:
    """The instructions that were not found in a cache."""
    done = onggi("build", "-t", "made", "--explain", *flags, str(top))
    lines = done.stderr.split("\n")
    return [a[48:].strip() for a, b in pairwise(lines) if "\u2514 " in b]


@pytest.mark.parametrize("more", ["", ",image-manifest=false,compression=zstd"])
def test_a_cache_in_a_registry(
    onggi: Onggi, other: Onggi, registry: RegistryServer, tmp_path: Path, more: str
) -> None:
    top = context(tmp_path / "c", TEXT, a="1")
    reference = f"{registry.host}/cache-{len(more)}:x"
    where = f"type=registry,ref={reference}"
    build(onggi, top, "--no-cache", "--cache-to", f"{where},mode=max{more}")
    assert done_again(other, top, "--cache-from", where) == []
    assert stamps(other) == stamps(onggi)
    assert done_again(other, top) == []  # it is in its own cache now
    (top / "a").write_text("2")
    assert done_again(other, top, "--cache-from", where) == [
        "COPY a /a", f"RUN {UNIQUE} > /stamp", "COPY --from=tools /tool /tool",
    ]  # fmt: skip


def test_a_cache_in_a_directory(onggi: Onggi, other: Onggi, tmp_path: Path) -> None:
    top = context(tmp_path / "c", TEXT, a="1")
    place = tmp_path / "cache"
    build(onggi, top, "--no-cache", "--cache-to", f"type=local,dest={place}")
    index = json.loads((place / "index.json").read_text())
    (entry,) = index["manifests"]
    manifest = json.loads((place / "blobs" / entry["digest"].replace(":", "/")).read_text())
    assert manifest["config"]["mediaType"] == CONFIG
    for blob in (manifest["config"], *manifest["layers"]):
        data = (place / "blobs" / blob["digest"].replace(":", "/")).read_bytes()
        assert blob["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    # mode=min has the result's own layers: the other stage is done again, its copy with it
    again = done_again(other, top, "--cache-from", f"type=local,src={place}")
    assert again == [f"RUN {UNIQUE} > /tool", "COPY --from=tools /tool /tool"]
    build(onggi, top, "--cache-to", f"type=local,dest={place},tag=all,mode=max")
    other("builder", "prune", "-af")
    again = done_again(other, top, "--cache-from", f"type=local,src={place},tag=all")
    assert again == [] and stamps(other) == stamps(onggi)


def test_an_inline_cache(
    onggi: Onggi, other: Onggi, registry: RegistryServer, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", f"FROM busybox\nCOPY a /a\nRUN {UNIQUE} > /stamp\n", a="1")
    name = f"{registry.host}/inline:1"
    onggi("build", "-t", name, "--cache-to", "type=inline", "--push", str(top))
    assert done_again(other, top, "--cache-from", name) == []
    stamp = run(onggi, "cat", "/stamp", image=name)
    assert run(other, "cat", "/stamp") == stamp
    other("builder", "prune", "-af")  # the image with the cache in it is here: no registry asked
    other("pull", name)
    (top / "Dockerfile").write_text((top / "Dockerfile").read_text() + "RUN true\n")
    assert done_again(other, top, "--cache-from", name) == ["RUN true"]


def test_only_what_is_needed_is_fetched(onggi: Onggi, other: Onggi, tmp_path: Path) -> None:
    """A layer of another stage of which only a copy is used stays where it is."""
    text = f"""FROM busybox AS tools
RUN {UNIQUE} > /tool && head -c 300000 /dev/urandom > /large
FROM busybox
COPY --from=tools /tool /tool
"""
    top = context(tmp_path / "c", text)
    place = tmp_path / "cache"
    build(onggi, top, "--cache-to", f"type=local,dest={place},mode=max")
    largest = max((place / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    sizes = sorted(path.stat().st_size for path in (place / "blobs/sha256").iterdir())
    assert 300_000 < sizes[-2] < sizes[-1]  # the base image is larger still
    second = next(p for p in largest.parent.iterdir() if p.stat().st_size == sizes[-2])
    second.unlink()
    assert done_again(other, top, "--cache-from", f"type=local,src={place}") == []
    assert run(other, "cat", "/tool") == run(onggi, "cat", "/tool")


def test_a_damaged_cache_is_refused(onggi: Onggi, other: Onggi, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM busybox\nRUN {UNIQUE} > /stamp\n")
    place = tmp_path / "cache"
    build(onggi, top, "--cache-to", f"type=local,dest={place}")
    for blob in (place / "blobs/sha256").iterdir():
        data = bytearray(blob.read_bytes())
        if data[:2] == b"\x1f\x8b":
            data[len(data) // 2] ^= 1
            blob.write_bytes(data)
    error = fails(other, top, "--cache-from", f"type=local,src={place}")
    assert f"cache {place} is damaged" in error


def test_a_cache_that_is_not_there_is_a_warning(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM busybox\nRUN {UNIQUE} > /not-there\n")
    told = build(onggi, top, "--cache-from", f"type=local,src={tmp_path}/none")
    assert "WARNING: importing cache from" in told and "no OCI image layout" in told
    told = build(onggi, top, "--no-cache", "--cache-from", "127.0.0.1:9/none")
    assert "WARNING" not in told  # nobody looked


def test_a_cache_of_buildkit_is_understood(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Its layers and records are read; none of its keys is one of ours."""
    top = context(tmp_path / "c", f"FROM busybox\nRUN {UNIQUE} > /buildkits\n")
    layout = tmp_path / "cache"
    (layout / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes) -> tuple[str, int]:
        name = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / name).write_bytes(data)
        return f"sha256:{name}", len(data)

    layer = "sha256:" + "1" * 64
    config = {
        "layers": [{"blob": layer, "parent": -1, "annotations": {"diffID": "sha256:" + "2" * 64}}],
        "records": [
            {"digest": "sha256:" + "3" * 64},
            {
                "layers": [{"layer": 0, "createdAt": "2026-01-02T03:04:05.6Z"}],
                "digest": "sha256:" + "4" * 64,
                "inputs": [[{"link": 0}]],
            },
        ],
    }
    digest, size = put(json.dumps(config).encode())
    gzip = "application/vnd.oci.image.layer.v1.tar+gzip"
    manifests = [
        {"mediaType": gzip, "digest": layer, "size": 5},
        {"mediaType": CONFIG, "digest": digest, "size": size},
    ]
    index = "application/vnd.oci.image.index.v1+json"
    document = {"schemaVersion": 2, "mediaType": index, "manifests": manifests}
    digest, size = put(json.dumps(document).encode())
    named = {"mediaType": index, "digest": digest, "size": size,
             "annotations": {"org.opencontainers.image.ref.name": "latest"}}  # fmt: skip
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    told = build(onggi, top, "--cache-from", f"type=local,src={layout}")
    assert "another builder made it, and none of its 1 records" in told
    assert run(onggi, "cat", "/buildkits")


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--cache-to", "type=gha", "type=gha is not supported"),
        ("--cache-from", "type=s3,bucket=b", "type=s3 is not supported"),
        ("--cache-to", "type=regstry,ref=x", "unknown cache type 'regstry'"),
        ("--cache-to", "type=local", "needs dest="),
        ("--cache-from", "type=local", "needs src="),
        ("--cache-to", "type=registry", "needs ref="),
        ("--cache-to", "type=inline,mode=max", "mode=max needs"),
        ("--cache-to", "type=local,dest=x,mode=all", 'invalid cache mode "all"'),
        ("--cache-to", "type=local,dest=x,compression=lz4", 'cache compression "lz4"'),
        ("--cache-to", "type=local,dest=x,speed=1", "unexpected key 'speed'"),
        ("--cache-to", "type=local,dest=x,ignore-error=maybe", "non-bool value"),
        ("--cache-from", "Upper/Case", "must be lowercase"),
    ],
)
def test_what_is_refused(onggi: Onggi, tmp_path: Path, flag: str, value: str, told: str) -> None:
    assert told in fails(onggi, context(tmp_path / "c", "FROM scratch\n"), flag, value)


def test_errors_of_an_export(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM busybox\nRUN {UNIQUE} > /stamp\n")
    (tmp_path / "file").write_text("")
    where = f"type=local,dest={tmp_path}/file/cache"
    assert "Not a directory" in fails(onggi, top, "--cache-to", where)
    told = build(onggi, top, "--cache-to", f"{where},ignore-error=true")
    assert "WARNING: exporting cache to" in told


def test_the_inline_records_are_buildkits(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM busybox\nRUN {UNIQUE} > /stamp\n")
    build(onggi, top, "--cache-to", "type=inline", "-o", f"type=oci,dest={tmp_path}/i.tar")
    image = onggi.out("images", "-q", "--no-trunc", "made")
    blob = onggi.root / "blobs" / image.replace(":", "/")
    records = json.loads(base64.b64decode(json.loads(blob.read_text())["moby.buildkit.cache.v0"]))
    assert records[0]["layers"][0]["layer"] == 1 and records[0]["digest"].startswith("sha256:")
