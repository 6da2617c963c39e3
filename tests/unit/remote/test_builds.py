"""The classic builder's stream as events; contexts as tars; lists of containers."""

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from onggi.build import packing
from onggi.progress import StepFailed, StepFinished, StepOutput, StepStarted, Warning
from onggi.remote import records
from onggi.remote.builds import Lines
from onggi.spec.gomode import go_mode, unix_mode
from onggi.spec.network import PortBinding
from onggi.typed import Any

OF_DOCKER = [
    {"stream": "Step 1/2 : FROM busybox"}, {"stream": "\n"}, {"stream": " ---> 0123456789ab\n"},
    {"stream": "Step 2/2 : RUN echo a"}, {"stream": "\n"},
    {"stream": " ---> Running in ba9876543210\n"}, {"stream": "a\n"}, {"stream": "\n"},
    {"stream": " ---> Removed intermediate container ba9876543210\n"},
    {"stream": " ---> 11111111111a\n"}, {"aux": {"ID": "sha256:11"}},
    {"stream": "Successfully built 11111111111a\n"}, {"stream": "Successfully tagged x:latest\n"},
]  # fmt: skip


def test_what_docker_says() -> None:
    lines = Lines()
    found = [event for told in OF_DOCKER for event in lines.events(told)]
    assert found == [
        StepStarted(1, 2, "FROM busybox"), StepFinished(1, "0123456789ab"),
        StepStarted(2, 2, "RUN echo a"), StepOutput(2, b"a\n"), StepOutput(2, b"\n"),
        StepFinished(2, "11111111111a"),
    ]  # fmt: skip
    assert (lines.image_id, lines.started, lines.cached) == ("sha256:11", 2, 0)


@pytest.mark.parametrize(
    "told",
    [[" ---> Using cache\n ---> 0123456789ab\n"], [" ---> Using cache\n", " ---> 0123456789ab\n"]],
)
def test_what_was_found(told: list[str]) -> None:
    lines = Lines()
    texts = ["Step 3/3 : RUN x\n", *told, "Successfully built 0123456789ab\n"]
    found = [event for text in texts for event in lines.events({"stream": text})]
    assert found == [StepStarted(3, 3, "RUN x"), StepFinished(3, "0123456789ab", True)]
    assert (lines.image_id, lines.cached) == ("0123456789ab", 1)


def test_what_went_wrong() -> None:
    told: list[Mapping[str, Any]] = [
        {"stream": "[Warning] odd\n"}, {"stream": "Step 1/1 : RUN false\n"},
        {"error": "it failed", "errorDetail": {"code": 3, "message": "it failed"}},
    ]  # fmt: skip
    lines = Lines()
    found = [event for one in told for event in lines.events(one)]
    assert found == [Warning("odd"), StepStarted(1, 1, "RUN false"), StepFailed(1, 3)]


def members(path: Path, dockerfile: str, text: bytes | None = None) -> dict[str, bytes | None]:
    data = b"".join(packing.packed(str(path), dockerfile, text, ""))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert not any(member.uid or member.gid for member in archive)
        return {
            member.name: file.read() if (file := archive.extractfile(member)) else None
            for member in archive
        }


def test_a_context(tmp_path: Path) -> None:
    """The Dockerfile and the rules go along although they are ignored; the engine hides them."""
    (tmp_path / "sub").mkdir()
    for name in ("a", "b.log", "sub/Dockerfile", "sub/c"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("*.log\nsub\n.dockerignore\n")
    found = members(tmp_path, "sub/Dockerfile")
    assert set(found) == {"a", "sub/Dockerfile", ".dockerignore"}
    along = members(tmp_path, ".dockerfile.1", b"FROM x")
    assert set(along) == {"a", ".dockerfile.1", ".dockerignore"}
    assert along[".dockerfile.1"] == b"FROM x"
    rules = b"*.log\nsub\n.dockerignore\n.dockerignore\n.dockerfile.1\n"
    assert along[".dockerignore"] == rules


def test_modes_there_and_back() -> None:
    for kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO,
                 stat.S_IFSOCK):  # fmt: skip
        for bits in (0o644, 0o7755, 0o1777):
            assert unix_mode(go_mode(kind | bits)) == kind | bits
    assert go_mode(stat.S_IFDIR | 0o755) == 1 << 31 | 0o755


def test_an_entry_of_the_list() -> None:
    ports = [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
             {"PrivatePort": 90, "Type": "udp"}]  # fmt: skip
    told = {
        "Id": "ab", "Names": ["/web"], "Image": "x", "ImageID": "sha256:1", "Command": "sh -c a",
        "Created": 7, "Ports": ports, "State": "running", "Status": "Up 2 hours",
        "NetworkSettings": {"Networks": {"one": {}, "two": {}}},
    }  # fmt: skip
    found = records.listed(told)
    assert (found.name, found.created_ns, found.state.status) == ("web", 7 * 10**9, "running")
    assert found.config.options.host.network_mode == "one,two"
    assert found.config.exposed_ports == ("80/tcp", "90/udp")
    assert records.listed_ports(told) == (PortBinding("0.0.0.0", 8080, 80),)
