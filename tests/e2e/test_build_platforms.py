"""Several platforms as one index, attestations, annotations; pushed and as OCI archives."""

import hashlib
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onggi.linux import binfmt
from registry_server import RegistryServer

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run

pytestmark = pytest.mark.root
FOREIGN = "linux/riscv64"
BOTH = f"linux/amd64,{FOREIGN}"
CROSS = """FROM --platform=$BUILDPLATFORM busybox AS cross
ARG TARGETARCH BUILDARCH
RUN echo "made on $BUILDARCH for $TARGETARCH" > /told
FROM scratch
COPY --from=cross /told /told
"""


def blobs_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {
            member.name: file.read()
            for member in tar
            if (file := tar.extractfile(member)) is not None
        }


def index_of(blobs: dict[str, bytes]) -> dict[str, Any]:
    """The image index that the archive's own one names; every blob is what its name says."""
    for name, data in blobs.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    return read(blobs, entry)


def read(blobs: dict[str, bytes], descriptor: dict[str, Any]) -> dict[str, Any]:
    data = blobs["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    found: dict[str, Any] = json.loads(data)
    return found


def test_an_index_is_pushed_and_pulled(
    onggi: Onggi, busybox: str, registry: RegistryServer, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", CROSS)
    name, facts = f"{registry.host}/cross:1", tmp_path / "facts"
    onggi(
        "build", "-t", name, "--platform", BOTH, "--push", "--metadata-file", str(facts), str(top)
    )
    for platform in BOTH.split(","):
        onggi("pull", "-q", "--platform", platform, name)
        container = onggi.out("create", "--platform", platform, name, "none")
        onggi("cp", f"{container}:/told", str(tmp_path / "told"))
        assert (tmp_path / "told").read_text() == f"made on amd64 for {platform[6:]}\n"
        onggi("rm", container)
        onggi("rmi", name)
    digest = json.loads(facts.read_text())["containerimage.digest"]
    assert digest in onggi.out("pull", "--platform", FOREIGN, f"{registry.host}/cross@{digest}")


def test_a_foreign_base_leaves_the_name_alone(
    onggi: Onggi, busybox: str, registry: RegistryServer, tmp_path: Path
) -> None:
    """Base images of both platforms are fetched; the name stays with the one for this machine."""
    name = f"{registry.host}/base:1"
    base = context(tmp_path / "b", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\n",
                   amd64="a", riscv64="r")  # fmt: skip
    onggi("build", "-t", name, "--platform", BOTH, "--push", str(base))
    onggi("pull", "-q", name)
    before = onggi.out("inspect", "-f", "{{.Id}} {{.Architecture}}", name)
    assert before.endswith(" amd64")
    top = context(tmp_path / "c", f"FROM {name}\nCOPY --from={name} /arch /copied\n")
    onggi("build", "--platform", BOTH, "-o", str(tmp_path / "out"), str(top))
    for folder, text in (("linux_amd64", "a"), ("linux_riscv64", "r")):
        assert (tmp_path / "out" / folder / "arch").read_text() == text
        assert (tmp_path / "out" / folder / "copied").read_text() == text
    assert onggi.out("inspect", "-f", "{{.Id}} {{.Architecture}}", name) == before
    onggi("build", "--platform", BOTH, "-o", f"type=tar,dest={tmp_path}/out.tar", str(top))
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert {"linux_amd64/arch", "linux_riscv64/copied"} <= set(tar.getnames())


def test_both_are_built_at_once(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Each waits for the other; what both start from is made once."""
    met = "test -e /met/amd64 && test -e /met/riscv64"
    text = f"""FROM --platform=$BUILDPLATFORM {busybox} AS shared
RUN {UNIQUE} > /once
FROM shared AS cross
ARG TARGETARCH
RUN --mount=type=cache,target=/met,id=met-{tmp_path.name} touch /met/$TARGETARCH; \\
    for i in $(seq 600); do {met} && exit; sleep 0.1; done; exit 1
FROM scratch
COPY --from=cross /once /
"""
    top, out = context(tmp_path / "c", text), tmp_path / "out"
    said = onggi.out("build", "--progress", "plain", "--platform", BOTH, "-o", str(out), str(top))
    made = [(out / folder / "once").read_text() for folder in ("linux_amd64", "linux_riscv64")]
    assert made[0] == made[1]
    assert "/14 : [linux/amd64] RUN" in said and "/14 : [linux/riscv64] RUN" in said


def test_an_oci_archive_of_both(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", CROSS)
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    flags = ("--platform", BOTH, "--annotation", "index:who=me",
             "--annotation", "manifest,manifest-descriptor:what=it")  # fmt: skip
    onggi("build", *flags, "-t", "cross", "-o", f"type=oci,dest={first}", str(top))
    blobs = blobs_of(first)
    index = index_of(blobs)
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "riscv64"]
    assert index["annotations"] == {"who": "me"}
    for entry in index["manifests"]:
        assert entry["annotations"] == {"what": "it"}
        manifest = read(blobs, entry)
        assert manifest["annotations"] == {"what": "it"}
        config = read(blobs, manifest["config"])
        assert config["architecture"] == entry["platform"]["architecture"]
    (named,) = json.loads(blobs["index.json"])["manifests"]
    assert named["annotations"]["io.containerd.image.name"] == "docker.io/library/cross:latest"
    onggi("build", *flags, "-t", "cross", "-o", f"type=oci,dest={second}", str(top))
    assert first.read_bytes() == second.read_bytes()
    onggi("load", "-i", str(first))
    assert onggi.out("inspect", "-f", "{{.Architecture}}", "cross") == "amd64"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--platform", BOTH), "several platforms make an image index"),
        (("--platform", BOTH, "-o", "type=docker,dest=x"), "output type docker cannot hold"),
        (("--platform", "linux/amd64,linux/nope!"), "is an invalid platform"),
        (("--sbom=true",), "attestations and annotations make an image index"),
        (("--provenance=mode=most", "--push"), "provenance mode 'most'"),
        (("--attest", "type=sbomb"), "did you mean type=sbom"),
        (("--attest", "mode=max"), "attestation type not given"),
        (("--sbom", "generator=x"), "generator= is not supported"),
        (("--annotation", "nothing"), "expected key=value"),
        (("--annotation", "indx:a=b"), "did you mean index"),
        (("--sbom=true", "-o", "out"), "output type local cannot hold attestations"),
    ],
)
def test_what_is_refused(onggi: Onggi, tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    assert told in fails(onggi, context(tmp_path / "c", "FROM scratch\n"), *flags)


def test_off_is_no_index(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Scripts say so to have a plain image."""
    top = context(tmp_path / "c", f"FROM {busybox}\n")
    build(onggi, top, "--provenance=false", "--sbom=false")
    build(onggi, top, "--attest", "type=provenance,disabled=true")


# -- programs for another machine


@pytest.fixture
def foreign(onggi: Onggi, busybox: str, tmp_path: Path) -> str:
    """An image for riscv64 whose /bin/sh only looks like a program."""
    top = context(tmp_path / "f", "FROM scratch\nCOPY --chmod=755 sh /bin/sh\n")
    (top / "sh").write_bytes(binfmt.program_head("riscv64").ljust(64, b"\0"))
    build(onggi, top, "--platform", FOREIGN, tag="foreign")
    return "foreign"


def test_a_foreign_program_is_refused_before_it_runs(
    onggi: Onggi, foreign: str, tmp_path: Path
) -> None:
    if binfmt.handlers("riscv64"):
        pytest.skip("an emulator for riscv64 is registered")
    top = context(tmp_path / "c", f"FROM {foreign}\nRUN true\n")
    error = fails(onggi, top, "--platform", FOREIGN)
    assert "cannot run programs for riscv64" in error and "qemu-user-static" in error
    assert "line 2 | RUN true" in error


@pytest.fixture
def binfmt_misc(clean_host: None) -> Iterator[Path]:
    """The kernel's list of emulators, mounted."""
    directory = Path(binfmt.DIRECTORY)
    mounted = (directory / "register").exists()
    if not mounted:
        done = subprocess.run(["mount", "-t", "binfmt_misc", "none", directory], check=False)
        if done.returncode:
            pytest.skip("this kernel has no binfmt_misc")
    try:
        yield directory
    finally:
        if not mounted:
            subprocess.run(["umount", directory], check=True)


@pytest.fixture
def emulator(binfmt_misc: Path) -> Iterator[None]:
    """busybox as the emulator for riscv64: it runs as what its first argument is called."""
    if binfmt.handlers("riscv64"):
        pytest.skip("an emulator for riscv64 is registered")
    name = f"test-{os.getpid()}"
    magic = "".join(f"\\x{byte:02x}" for byte in binfmt.program_head("riscv64"))
    try:
        (binfmt_misc / "register").write_text(f":{name}:M::{magic}::/bin/busybox:F")
    except OSError as error:
        pytest.skip(f"no emulator can be registered here: {error}")
    try:
        yield
    finally:
        (binfmt_misc / name).write_text("-1")


def test_both_platforms_run_their_commands(
    onggi: Onggi, busybox: str, emulator: None, foreign: str, registry: RegistryServer,
    tmp_path: Path,
) -> None:  # fmt: skip
    name = f"{registry.host}/two:1"
    (base := tmp_path / "b").mkdir()
    (base / "Dockerfile").write_text(
        f"ARG TARGETARCH\nFROM {busybox} AS amd64\nFROM {foreign} AS riscv64\nFROM $TARGETARCH\n"
        f"RUN {UNIQUE.replace('cat', 'read line <')} && echo $line $TARGETARCH > /bin/stamp\n"
    )
    onggi("build", "-t", name, "--platform", BOTH, "--push", str(base))
    stamps = []
    for platform in BOTH.split(","):
        onggi("pull", "-q", "--platform", platform, name)
        container = onggi.out("create", "--platform", platform, name, "none")
        onggi("cp", f"{container}:/bin/stamp", str(tmp_path / "stamp"))
        onggi("rm", container)
        stamps.append((tmp_path / "stamp").read_text())
    assert stamps[0] != stamps[1] and all(len(stamp.split()[0]) == 36 for stamp in stamps)


# -- what is said of an image


def statements(blobs: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """By predicate type; each is about the image beside it."""
    image, attached = index_of(blobs)["manifests"]
    assert attached["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attached["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    }
    found = {}
    for layer in read(blobs, attached)["layers"]:
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        said = read(blobs, layer)
        assert said["predicateType"] == layer["annotations"]["in-toto.io/predicate-type"]
        assert said["subject"][0]["digest"] == {"sha256": image["digest"][7:]}
        found[said["predicateType"]] = said
    return found


@pytest.mark.sec("D8")
def test_provenance(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = (
        f"FROM {busybox}\nARG WHO\n"
        "RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null\n"
    )
    top = context(tmp_path / "c", text)
    (tmp_path / "token").write_text("s3cr3t-marker-4711")
    flags = ("--secret", f"id=token,src={tmp_path}/token", "--build-arg", "WHO=someone",
             "-t", "said", "-o", f"type=oci,dest={tmp_path}/i.tar")  # fmt: skip
    onggi("build", *flags, "--provenance=true", str(top))
    blobs = blobs_of(tmp_path / "i.tar")
    (said,) = statements(blobs).values()
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    assert said["subject"][0]["name"] == "pkg:docker/said@latest?platform=linux%2Famd64"
    definition = said["predicate"]["buildDefinition"]
    (base,) = definition["resolvedDependencies"]
    assert (
        base["uri"].startswith("pkg:docker/busybox@latest") and len(base["digest"]["sha256"]) == 64
    )
    assert "someone" not in json.dumps(said)

    onggi("build", *flags, "--provenance=mode=max", str(top))
    blobs = blobs_of(tmp_path / "i.tar")
    request = statements(blobs)["https://slsa.dev/provenance/v1"]["predicate"]["buildDefinition"][
        "externalParameters"
    ]["request"]
    assert request["args"] == {"build-arg:WHO": "someone"} and request["secrets"] == [
        {"id": "token"}
    ]
    assert not [name for name, data in blobs.items() if b"s3cr3t-marker" in data]


def test_a_list_of_packages(onggi: Onggi, python: str, tmp_path: Path) -> None:
    text = f"""FROM {python}
COPY METADATA /opt/v/lib/python3.11/site-packages/demo-1.2.dist-info/
COPY installed /lib/apk/db/
RUN ln -s /proc/kcore /opt/v/lib/python3.11/site-packages/x.egg-info
"""
    metadata = "Metadata-Version: 2.1\nName: demo\nVersion: 1.2\nLicense: MIT\n\nName: no\n"
    installed = "P:musl\nV:1.2.3-r4\nA:x86_64\nL:MIT\n\n"
    top = context(tmp_path / "c", text, METADATA=metadata, installed=installed)
    onggi("build", "--sbom=true", "-o", f"type=oci,dest={tmp_path}/i.tar", str(top))
    said = statements(blobs_of(tmp_path / "i.tar"))["https://spdx.dev/Document"]
    document = said["predicate"]
    assert document["spdxVersion"] == "SPDX-2.3"
    found = {item["name"]: item for item in document["packages"]}
    assert found["demo"]["versionInfo"] == "1.2" and found["demo"]["licenseComments"] == "MIT"
    purl = found["libc6"]["externalRefs"][0]["referenceLocator"]
    assert purl.startswith("pkg:deb/debian/libc6@") and purl.endswith("?arch=amd64")
    assert found["musl"]["versionInfo"] == "1.2.3-r4"
    assert len({item["SPDXID"] for item in document["packages"]}) == len(document["packages"])
    assert len(document["relationships"]) == len(document["packages"])


def test_attestations_beside_an_image_that_is_pulled(
    onggi: Onggi, busybox: str, registry: RegistryServer, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    name = f"{registry.host}/said:1"
    onggi("build", "-t", name, "--attest", "type=sbom", "--provenance=1", "--push", str(top))
    onggi("pull", "-q", name)
    assert len(run(onggi, "cat", "/stamp", image=name)) == 36
