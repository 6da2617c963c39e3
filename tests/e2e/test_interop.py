"""Images between us and podman, skopeo and Debian's registry, both ways, with equal digests."""

import io
import json
import os
import re
import struct
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_server import RegistryServer

from .conftest import Onggi
from .peers import Podman, sha256, skopeo, tar_of

pytestmark = pytest.mark.root

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep, as setcap writes it
BIG_BYTES = 12 << 20
ODD_NAMES = (
    "한글 이름.txt", "-rf", "new\nline", "trailing space ", "q'\"\\uote", "*", "n" * 255,
    "/".join(["d" * 60] * 4) + "/deep",
)  # fmt: skip

DOCKERFILE = r"""
FROM busybox
COPY tree /data
RUN cd /data && ln a hard && ln -s a soft && ln -s /nowhere dangling && mkfifo pipe && \
    mkdir gone kept opaque && touch gone/1 kept/1 kept/2 opaque/old && \
    chmod 4755 setuid && chmod 2775 kept && chown 1000:2000 owned
RUN cd /data && rm -r gone kept/1 && rm -r opaque && mkdir opaque && touch opaque/new && \
    rm soft && mkdir soft && rm removed && ln a hard-of-lower && mv renamed there
ENV GREETING="hello there"
LABEL made.by=onggi
USER 1000
WORKDIR /data
CMD ["cat", "owned"]
"""

# What the image is to a process in it. The copy of busybox has a capability of its own, which only
# shows where the file kept it and the container may have it.
LOOK = r"""
{ cd /data
find . | sort | while IFS= read -r f; do stat -c '%n %F %a %u:%g %h' "$f"; done
find . -type f ! -name big | sort | while IFS= read -r f; do md5sum "$f"; stat -c %s "$f"; done
sha256sum big; readlink dangling; echo $GREETING; pwd; id -u
./cat /proc/self/status | grep CapEff
} 2>&1 | cat -v
"""
SEE = ("--cap-drop=all", "--cap-add=net_raw")


@pytest.fixture
def podman(tmp_path: Path, clean_host: None) -> Podman:
    return Podman(tmp_path / "podman")


def make_tree(path: Path) -> None:
    path.mkdir()
    for name in ("a", "setuid", "owned", "removed", "renamed"):
        (path / name).write_text(f"I am {name}\n")
    for name in ODD_NAMES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("odd\n")
    Path(os.fsdecode(os.fsencode(path) + b"/not-\xff-unicode")).write_text("odd\n")
    block = os.urandom(1 << 20)
    (path / "big").write_bytes(b"".join(bytes([i]) + block for i in range(BIG_BYTES >> 20)))
    with (path / "sparse").open("wb") as file:
        file.truncate(8 << 20)
        file.write(b"start")
        file.seek(6 << 20)
        file.write(b"middle")
    (path / "cat").write_bytes(Path("/bin/busybox").read_bytes())
    (path / "cat").chmod(0o755)
    os.setxattr(path / "cat", "security.capability", NET_RAW)
    os.setxattr(path / "a", "user.note", b"kept\0too")


@pytest.fixture(scope="module")
def rich(
    shared_onggi: Onggi, loaded: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An image of ours with all that a layer can hold."""
    loaded("busybox:latest")
    context = tmp_path_factory.mktemp("rich")
    (context / "Dockerfile").write_text(DOCKERFILE)
    make_tree(context / "tree")
    shared_onggi("build", "-q", "-t", "rich:1", str(context))
    yield "rich:1"
    shared_onggi("rmi", "-f", "rich:1")


def pushed(onggi: Onggi, image: str, name: str) -> str:
    """The manifest digest that `push` told."""
    onggi("tag", image, name)
    told = onggi.out("push", name)
    onggi("rmi", name)
    found = re.search(r": digest: (sha256:[0-9a-f]{64}) size: (\d+)$", told)
    assert found, told
    return found[1]


def diff_ids(onggi: Onggi, image: str) -> list[str]:
    found: list[str] = json.loads(
        onggi.out("image", "inspect", "-f", "{{json .RootFS.Layers}}", image)
    )
    return found


def image_id(onggi: Onggi, image: str) -> str:
    return onggi.out("image", "inspect", "-f", "{{.Id}}", image)


def repo_digest(onggi: Onggi, name: str) -> str:
    names = json.loads(onggi.out("image", "inspect", "-f", "{{json .RepoDigests}}", name))
    repository = name.rpartition(":")[0]
    return next(str(n).partition("@")[2] for n in names if str(n).startswith(f"{repository}@"))


def look(onggi: Onggi, image: str) -> list[str]:
    return onggi.out("run", "--rm", *SEE, image, "sh", "-c", LOOK).splitlines()


# -- what we push


@pytest.mark.parametrize("kind", ["dir", "oci", "docker-archive"])
def test_skopeo_copies_what_we_pushed(
    onggi: Onggi, rich: str, registry: RegistryServer, tmp_path: Path, kind: str
) -> None:
    name = f"{registry.host}/ours/{kind}:1"
    digest = pushed(onggi, rich, name)
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").encode()
    assert sha256(raw) == digest
    manifest = json.loads(raw)
    assert manifest["config"]["digest"] == image_id(onggi, rich)
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert seen["Digest"] == digest
    assert seen["Layers"] == [layer["digest"] for layer in manifest["layers"]]
    assert seen["Labels"] == {"made.by": "onggi"}

    target = tmp_path / "copy"
    suffix = "" if kind == "dir" else ":copy:1"
    keep = [] if kind == "docker-archive" else ["--preserve-digests"]
    source = f"docker://{name}"
    skopeo("copy", "-q", *keep, "--src-tls-verify=false", source, f"{kind}:{target}{suffix}")
    layers, config, copied = read_copy(kind, target)
    assert sha256(config) == image_id(onggi, rich)
    assert [sha256(tar_of(layer)) for layer in layers] == diff_ids(onggi, rich)
    if kind != "docker-archive":
        assert sha256(copied) == digest
        assert [sha256(layer) for layer in layers] == seen["Layers"]


def read_copy(kind: str, path: Path) -> tuple[list[bytes], bytes, bytes]:
    """Layer blobs, configuration and manifest of what skopeo wrote."""
    if kind == "docker-archive":
        with tarfile.open(path) as archive:
            read = {m.name: archive.extractfile(m) for m in archive if m.isfile()}
            files = {name: file.read() for name, file in read.items() if file}
        listed = json.loads(files["manifest.json"])[0]
        manifest = files["manifest.json"]
        return [files[layer] for layer in listed["Layers"]], files[listed["Config"]], manifest
    if kind == "oci":
        index = json.loads((path / "index.json").read_text())
        manifest = oci_blob(path, index["manifests"][0]["digest"])
        document = json.loads(manifest)
        layers = [oci_blob(path, layer["digest"]) for layer in document["layers"]]
        return layers, oci_blob(path, document["config"]["digest"]), manifest
    manifest = (path / "manifest.json").read_bytes()
    document = json.loads(manifest)

    def blob(digest: str) -> bytes:
        return (path / digest.partition(":")[2]).read_bytes()

    layers = [blob(layer["digest"]) for layer in document["layers"]]
    return layers, blob(document["config"]["digest"]), manifest


def oci_blob(path: Path, digest: str) -> bytes:
    return (path / "blobs" / digest.replace(":", "/")).read_bytes()


def test_layers_say_capabilities_attributes_and_removals(
    onggi: Onggi, rich: str, registry: RegistryServer, tmp_path: Path
) -> None:
    name = f"{registry.host}/ours/tars:1"
    pushed(onggi, rich, name)
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/copy")
    layers, _, _ = read_copy("dir", tmp_path / "copy")
    copy, first, second = (
        {member.name: member for member in tarfile.open(fileobj=io.BytesIO(tar_of(layer)))}
        for layer in layers[-3:]
    )

    def attribute(name: str, key: str) -> bytes:
        text = copy[f"data/{name}"].pax_headers[f"SCHILY.xattr.{key}"]
        return text.encode("utf-8", "surrogateescape")

    assert attribute("cat", "security.capability") == NET_RAW
    assert attribute("a", "user.note") == b"kept\0too"
    assert "data/not-\udcff-unicode" in copy
    assert first["data/setuid"].mode == 0o4755
    assert first["data/hard"].islnk() or first["data/a"].islnk()
    gone = {name for name in second if os.path.basename(name).startswith(".wh.")}
    assert {"data/.wh.gone", "data/kept/.wh.1", "data/.wh.removed", "data/.wh.renamed"} <= gone
    assert "data/opaque/.wh..wh..opq" in gone or "data/opaque/.wh.old" in gone


def test_podman_runs_what_we_pushed(
    onggi: Onggi, rich: str, registry: RegistryServer, podman: Podman
) -> None:
    name = f"{registry.host}/ours/run:1"
    digest = pushed(onggi, rich, name)
    podman.pull(f"{registry.host}/ours/run@{digest}")
    podman.pull(name)
    seen = podman.inspect(name)
    assert "sha256:" + seen["Id"] == image_id(onggi, rich)
    assert seen["Digest"] == digest
    assert seen["RootFS"]["Layers"] == diff_ids(onggi, rich)
    assert podman.run(name) == onggi.out("run", "--rm", rich) == "I am owned"
    ours = look(onggi, rich)
    assert podman.run(*SEE, name, "sh", "-c", LOOK).splitlines() == ours
    assert "CapEff:\t0000000000002000" in ours
    assert "./gone" not in ours and "./opaque/old" not in ours


def test_podman_and_we_exchange_archives(
    onggi: Onggi, rich: str, podman: Podman, tmp_path: Path
) -> None:
    ours = tmp_path / "ours.tar"
    onggi("tag", rich, "localhost/rich:1")
    onggi("save", "-o", str(ours), "localhost/rich:1")
    assert podman("load", "-q", "-i", str(ours)).endswith("localhost/rich:1")
    wanted = image_id(onggi, rich), diff_ids(onggi, rich)
    seen = podman.inspect("localhost/rich:1")
    assert ("sha256:" + seen["Id"], seen["RootFS"]["Layers"]) == wanted
    seen_before = look(onggi, rich)
    for form in ("docker-archive", "oci-archive"):
        theirs = tmp_path / f"{form}.tar"
        name = f"localhost/{form}:2"
        podman("tag", "localhost/rich:1", name)
        podman("save", "-q", f"--format={form}", "-o", str(theirs), name)
        assert onggi.out("load", "-q", "-i", str(theirs)).endswith(name)
        assert (image_id(onggi, name), diff_ids(onggi, name)) == wanted
        assert look(onggi, name) == seen_before
        onggi("rmi", name)
    onggi("rmi", "localhost/rich:1")


# -- what others push


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_we_run_what_podman_built(
    onggi: Onggi,
    base_image: Any,
    registry: RegistryServer,
    podman: Podman,
    tmp_path: Path,
    form: str,
) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(DOCKERFILE)
    make_tree(tmp_path / "context/tree")
    podman("load", "-q", "-i", str(base_image("busybox:latest")))
    podman(
        "build", "-q", "--network=none", "--cgroup-parent=/onggi-test-podman", podman.policy,
        f"--format={'oci' if form == 'oci' else 'docker'}", "-t", "built:1",
        str(tmp_path / "context"),
    )  # fmt: skip
    name = f"{registry.host}/theirs/{form}:1"
    podman.push(f"--format={form}", "localhost/built:1", name)
    told = onggi.out("pull", name)
    seen = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert f"Digest: {seen['Digest']}" in told.splitlines()
    assert repo_digest(onggi, name) == seen["Digest"]
    local = podman.inspect("built:1")
    assert image_id(onggi, name) == "sha256:" + local["Id"]
    assert diff_ids(onggi, name) == local["RootFS"]["Layers"]
    ours = look(onggi, name)
    assert podman.run(*SEE, "built:1", "sh", "-c", LOOK).splitlines() == ours
    assert "CapEff:\t0000000000002000" in ours

    again = f"{registry.host}/again/{form}:1"
    assert pushed(onggi, name, again) == seen["Digest"]
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{again}")
    assert sha256(raw.encode()) == seen["Digest"]
    onggi("rmi", name)


def test_we_run_what_podman_committed(
    onggi: Onggi, base_image: Any, registry: RegistryServer, podman: Podman
) -> None:
    podman("load", "-q", "-i", str(base_image("busybox:latest")))
    script = "echo made > /made && rm /etc/group && mkdir -m 1777 /sticky"
    podman(
        "run", "--name=it", "--network=none", "--cgroups=disabled", "busybox", "sh", "-c", script
    )
    podman("commit", "-q", "--change=CMD cat /made", "it", "committed:1")
    name = f"{registry.host}/theirs/committed:1"
    podman.push("localhost/committed:1", name)
    assert onggi.out("run", "--rm", "--pull=always", "-q", name) == "made"
    assert onggi.out("run", "--rm", name, "stat", "-c", "%a", "/sticky") == "1777"
    onggi("run", "--rm", name, "test", "-e", "/etc/group", code=1)
    assert image_id(onggi, name) == "sha256:" + podman.inspect("committed:1")["Id"]
    onggi("rmi", name)


@pytest.mark.parametrize(
    ("form", "compression"), [("v2s2", "gzip"), ("oci", "gzip"), ("oci", "zstd")]
)
def test_we_run_what_skopeo_pushed(
    onggi: Onggi, rich: str, registry: RegistryServer, tmp_path: Path, form: str, compression: str
) -> None:
    onggi("save", "-o", f"{tmp_path}/ours.tar", rich)
    name = f"{registry.host}/skopeo/{form}-{compression}:1"
    skopeo(
        "copy", "-q", f"--format={form}", f"--dest-compress-format={compression}",
        "--dest-tls-verify=false", f"docker-archive:{tmp_path}/ours.tar", f"docker://{name}",
    )  # fmt: skip
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}")
    assert all(layer["mediaType"].endswith(compression) for layer in json.loads(raw)["layers"])
    seen_before = look(onggi, rich)
    told = onggi.out("pull", name)
    assert f"Digest: {sha256(raw.encode())}" in told.splitlines()
    assert diff_ids(onggi, name) == diff_ids(onggi, rich)
    assert look(onggi, name) == seen_before
    again = f"{registry.host}/skopeo/again-{form}-{compression}:1"
    assert pushed(onggi, name, again) == sha256(raw.encode())
    onggi("rmi", name)


def test_what_only_others_hold_comes_and_goes_with_its_digest(
    lone_onggi: Onggi, onggi: Onggi, rich: str, registry: RegistryServer
) -> None:
    """A second machine that never had the layers: pull by digest, push elsewhere, same bytes."""
    name = f"{registry.host}/far/app:1"
    digest = pushed(onggi, rich, name)
    by_digest = f"{registry.host}/far/app@{digest}"
    lone_onggi("pull", "-q", by_digest)
    assert diff_ids(lone_onggi, by_digest) == diff_ids(onggi, rich)
    assert image_id(lone_onggi, by_digest) == image_id(onggi, rich)
    assert pushed(lone_onggi, by_digest, f"{registry.host}/farther/app:2") == digest


@pytest.mark.parametrize("kind", [OCI_INDEX, DOCKER_INDEX])
def test_an_index_gives_each_platform_its_image(
    onggi: Onggi, rich: str, registry: RegistryServer, podman: Podman, tmp_path: Path, kind: str
) -> None:
    """Two platforms under one name, as `skopeo copy --all` and podman see them too."""
    form = "oci" if kind == OCI_INDEX else "v2s2"
    repository = f"{registry.host}/many/{form}"
    onggi("save", "-o", f"{tmp_path}/ours.tar", rich)
    entries = []
    for architecture in ("arm64", "amd64"):
        archive = tmp_path / f"{architecture}.tar"
        with_architecture(tmp_path / "ours.tar", archive, architecture)
        skopeo(
            "copy", "-q", f"--format={form}", "--dest-tls-verify=false",
            f"docker-archive:{archive}", f"docker://{repository}:{architecture}",
        )  # fmt: skip
        raw = skopeo(
            "inspect", "--raw", "--tls-verify=false", f"docker://{repository}:{architecture}"
        )
        entries.append(
            {
                "mediaType": OCI_MANIFEST if form == "oci" else DOCKER_MANIFEST,
                "digest": sha256(raw.encode()),
                "size": len(raw.encode()),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
    put_manifest(registry, f"many/{form}", "all", kind, index)
    name = f"{repository}:all"

    told = onggi.out("pull", name)
    assert f"Digest: {sha256(index)}" in told.splitlines()
    assert repo_digest(onggi, name) == sha256(index)
    assert onggi.out("image", "inspect", "-f", "{{.Architecture}}", name) == "amd64"
    assert onggi.out("run", "--rm", name) == "I am owned"
    podman.pull(name)
    assert "sha256:" + podman.inspect(name)["Id"] == image_id(onggi, name)
    assert pushed(onggi, name, f"{repository}:again") == entries[1]["digest"]

    onggi("pull", "-q", "--platform=linux/arm64", name)
    assert onggi.out("image", "inspect", "-f", "{{.Architecture}}", name) == "arm64"
    done = onggi("pull", "--platform=linux/s390x", name, code=1)
    assert "s390x" in done.stderr
    onggi("rmi", name)


def with_architecture(source: Path, target: Path, architecture: str) -> None:
    """The image of a docker-archive as if made for another machine."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        content = old.extractfile("manifest.json")
        assert content is not None
        listed = json.load(content)[:1]
        config = old.extractfile(listed[0]["Config"])
        assert config is not None
        document = json.dumps({**json.load(config), "architecture": architecture}).encode()
        listed[0]["Config"] = f"{sha256(document).partition(':')[2]}.json"
        for layer in listed[0]["Layers"]:
            new.addfile(old.getmember(layer), old.extractfile(layer))
        files = {listed[0]["Config"]: document, "manifest.json": json.dumps(listed).encode()}
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def put_manifest(
    registry: RegistryServer, repository: str, tag: str, kind: str, document: bytes
) -> None:
    request = urllib.request.Request(
        f"{registry.url}/v2/{repository}/manifests/{tag}",
        data=document,
        method="PUT",
        headers={"Content-Type": kind},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201
