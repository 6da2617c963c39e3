"""Builds for clients of BuildKit: what buildx 0.29.1 sends, and clients that mean no good.

Real buildx is not in Debian 12; docs/api.md says what was tried with it.
"""

import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api_server import ApiServer
from buildkit_client import CONTROL, DIRECTORY, SYMLINK, BuildKitClient
from onggi.api.buildkit import grpc
from onggi.api.buildkit import messages_pb2 as pb
from onggi.httpd.exchange import Gone

from .conftest import Onggi

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("busybox")]
DEADLINE_S = 60.0


def client(api: ApiServer, dockerfile: str, **files: bytes) -> BuildKitClient:
    """`files` are the context's; its Dockerfile comes as buildx sends one, from a folder apart."""
    return BuildKitClient(
        api, {"context": files, "dockerfile": {"Dockerfile": dockerfile.encode()}}
    )


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_build_as_buildx_asks_for_it(api: ApiServer, onggi: Onggi, tmp_path: Path) -> None:
    text = (
        "FROM busybox AS base\nARG WHO\nCOPY . /in/\n"
        "RUN --mount=type=secret,id=token cat /in/a /in/d/link /run/secrets/token; echo for $WHO\n"
        'FROM base\nLABEL said=once\nCMD ["cat","/in/a"]\n'
    )
    files = {
        ".dockerignore": b"left-out\n!d\n",
        "a": b"of the context\n",
        "d": None,
        "d/big": os.urandom(300_000),
        "d/empty": b"",
        "d/link": (SYMLINK | 0o777, "../a"),
        "left-out": b"x",
    }
    asking = BuildKitClient(
        api,
        {"context": files, "dockerfile": {"Dockerfile": text.encode()}},
        secrets={"token": b"a secret\n"},
    )
    words = {"build-arg:WHO": "buildx", "label:more": "l"}
    with asking:
        answer = asking.build(words, [("moby", {"name": "docker.io/apitest/bk:1,apitest/bk:2"})])
    found = api.request("GET", "/images/apitest/bk:1/json").json()
    assert found["Id"] == answer["containerimage.config.digest"] == answer["containerimage.digest"]
    assert set(found["RepoTags"]) == {"apitest/bk:1", "apitest/bk:2"}
    assert found["Config"]["Labels"] == {"said": "once", "more": "l"}
    assert asking.output() == b"of the context\nof the context\na secret\nfor buildx\n"
    assert asking.vertices() == [
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load build context",
        "[base 1/3] FROM busybox AS base",
        "[base 2/3] COPY . /in/",
        "[base 3/3] " + text.splitlines()[3],
        "[stage-1 1/1] FROM base",
        "exporting to image",
    ]
    ended = {v.name: v for v in asking.told.vertexes if v.HasField("completed")}
    assert set(ended) == set(asking.vertices()) and not any(v.error for v in ended.values())
    excluded = [v for _, headers in asking.asked for k, v in headers if k == "exclude-patterns"]
    assert excluded == ["left-out", "!d"]

    listed = onggi.out(
        "run", "--rm", "apitest/bk:1", "sh", "-c", "cd /in; find . | sort; sha256sum d/big"
    )
    assert "left-out" not in listed and "./d/empty" in listed

    again = BuildKitClient(api, asking.contexts)  # has no such secret, and needs none
    with again:
        assert again.build(words)["containerimage.digest"] == found["Id"]
    assert again.output() == b""
    cached = {v.name for v in again.told.vertexes if v.cached}
    assert cached == set(asking.vertices()[4:6])

    # Our command builds the same image of the same files.
    for path, content in files.items():
        place = tmp_path / "context" / path
        place.parent.mkdir(exist_ok=True)
        if content is None:
            place.mkdir()
        elif isinstance(content, tuple):
            place.symlink_to(content[1])
        else:
            place.write_bytes(content)
            place.chmod(0o644)
    (tmp_path / "context/d").chmod(0o755)
    (tmp_path / "context").chmod(0o755)
    (tmp_path / "token").write_bytes(b"a secret\n")
    (tmp_path / "Dockerfile").write_text(text)
    done = onggi(
        "build", "-f", str(tmp_path / "Dockerfile"), "--secret", f"id=token,src={tmp_path}/token",
        "--build-arg", "WHO=buildx", "--label", "more=l", "-q", str(tmp_path / "context"),
    )  # fmt: skip
    assert done.stdout.strip() == found["Id"]


def test_failures_name_the_line(api: ApiServer) -> None:
    cases = {
        "FROM busybox\nRUN echo told; exit 7\n": (
            2,
            'process "/bin/sh -c echo told; exit 7" did not complete successfully: exit code: 7',
        ),
        "FROM busybox\nRUNN x\n": (
            2,
            "dockerfile parse error on line 2: unknown instruction: RUNN",
        ),
        "FROM busybox\nENV A=1\nCOPY missing /\n": (3, '"/missing": not found'),
        " \n": (0, "the Dockerfile cannot be empty"),
    }
    for text, (line, message) in cases.items():
        with client(api, text) as asking, pytest.raises(grpc.Failed) as failed:
            asking.build()
        assert failed.value.code == grpc.UNKNOWN and message in failed.value.message
        if line:
            (detail,) = failed.value.details
            assert detail.type_url == "github.com/moby/buildkit/errdefs.Source+json"
            shown = json.loads(detail.value)
            assert shown["ranges"] == [{"start": {"line": line}, "end": {"line": line}}]
            assert shown["info"]["filename"] == "Dockerfile"
        if "exit 7" in text:
            assert asking.output() == b"told\n"
            assert message in [vertex.error for vertex in asking.told.vertexes]
    message = "open Dockerfile: no such file or directory"
    empty = BuildKitClient(api, {"context": {}, "dockerfile": {}})
    with empty, pytest.raises(grpc.Failed, match=message):
        empty.build()


def test_warnings_and_what_a_dockerfile_takes(api: ApiServer) -> None:
    text = "# built is the result\nFROM busybox AS built\nARG WHO=me\nMAINTAINER x\n"
    with client(api, text) as asking:
        asking.build(exporters=[])
    (warning,) = asking.told.warnings
    assert warning.short.startswith(b"MaintainerDeprecated: ") and warning.ranges[0].start.line == 4
    assert warning.info.data == text.encode()
    for method, wanted in {
        "lint": lambda found: found["warnings"][0]["ruleName"] == "MaintainerDeprecated",
        "outline": lambda found: (
            found["args"][0] == {"name": "WHO", "value": "me", "description": ""}
        ),
        "targets": lambda found: found["targets"][0]["description"] == "is the result",
        "subrequests.describe": lambda found: len(found) == 4,
    }.items():
        with client(api, text) as asking:
            asking.build({"requestid": f"frontend.{method}"}, exporters=[])
        assert wanted(json.loads(asking.result.metadata["result.json"])), method
    with client(api, text) as asking, pytest.raises(grpc.Failed, match="unsupported request"):
        asking.build({"requestid": "frontend.nothing"})


def test_outputs_and_named_contexts(api: ApiServer) -> None:
    text = (
        "FROM busybox AS made\nCOPY --from=extra x /o/sub/x\n"
        "RUN ln -s sub/x /o/l && ln /o/sub/x /o/h\n"
        "FROM scratch\nCOPY --from=made /o /\n"
    )
    contexts = {
        "context": {},
        "dockerfile": {"Dockerfile": text.encode()},
        "extra": {"x": b"named\n" * 9000, ".dockerignore": b"y", "y": b""},
    }
    exporters = [("local", {}), ("tar", {}), ("oci", {"name": "apitest/out"}), ("docker", {})]
    with BuildKitClient(api, contexts) as asking:
        asking.build({"context:extra": "local:extra"}, exporters)
    assert asking.trees[0]["h"] == b"named\n" * 9000 and asking.trees[0]["l"] == b"sub/x"
    assert asking.trees[0]["sub/x"] == b"h"  # another name of it
    assert set(asking.trees[0]) == {"sub", "sub/x", "l", "h"}
    with tarfile.open(fileobj=io.BytesIO(asking.received[1])) as archive:
        assert set(archive.getnames()) == {"sub", "sub/x", "l", "h"}
    for place in (2, 3):
        with tarfile.open(fileobj=io.BytesIO(asking.received[place])) as archive:
            assert "index.json" in archive.getnames()


def test_what_is_refused(api: ApiServer) -> None:
    text = "FROM busybox\n"
    for words, exporters, message in (
        ({"context:x": "oci-layout://x"}, [], "oci-layout is not supported"),
        ({"platform": "no/such/thing/x"}, [], "platform"),
        ({"ulimit": "nofile=x"}, [], "ulimit"),
        ({"cache-imports": "{"}, [], "cache-imports"),
        ({}, [("gone", {})], "exporter 'gone' could not be found"),
        ({}, [("oci", {"tar": "false"})], "tar=false"),
    ):
        with client(api, text) as asking, pytest.raises(grpc.Failed, match=message):
            asking.build(words, exporters)
    with client(api, text) as asking, pytest.raises(grpc.Failed, match="custom frontends"):
        asking.build({"source": "example.com/frontend"}, frontend="gateway.v0")


@pytest.mark.sec("D5")
def test_names_that_lead_out(api: ApiServer, onggi: Onggi) -> None:
    """Whatever a client calls its files, none becomes one of ours; and the server serves on."""
    scratch = Path(onggi.root) / "tmp"
    cases = {
        "invalid name": [
            pb.Stat(path=path, mode=0o644, size=5)
            for path in ("../x", "/x", "zz/../../x", "zz//x", ".", "", "zz\0", "z" * 5000)
        ],
        "out of order": [pb.Stat(path="0", mode=0o644, size=5)],
        "changed while it was sent": [
            pb.Stat(path="zz", mode=0o644, size=4),
            pb.Stat(path="zz", mode=0o644, size=6),
            pb.Stat(path="zz", mode=0o644, size=1 << 39),
        ],
        "a file of": [
            pb.Stat(path="zz", mode=0o644, size=-1), pb.Stat(path="zz", mode=0o644, size=1 << 62),
        ],
        "device node": [pb.Stat(path="zz", mode=(1 << 26) | 0o644)],
    }  # fmt: skip
    for message, stats in cases.items():
        for stat in stats:
            asking = BuildKitClient(
                api,
                {"context": {"a": b"a"}, "dockerfile": {"Dockerfile": b"FROM busybox\nCOPY . /\n"}},
                stats=[stat],
            )
            with asking, pytest.raises(grpc.Failed, match=message):
                asking.build()
    # Links may say what they like: they are only ever followed inside.
    links = [
        pb.Stat(path="y", mode=SYMLINK | 0o777, linkname="../../../etc"),
        pb.Stat(path="z", mode=DIRECTORY | 0o755),
    ]
    asking = BuildKitClient(
        api,
        {"context": {}, "dockerfile": {"Dockerfile": b"FROM busybox\nCOPY y/passwd /\n"}},
        stats=links,
    )
    with asking, pytest.raises(grpc.Failed, match="leads out of the build context"):
        asking.build()
    until(lambda: not scratch.exists() or not list(scratch.iterdir()))


def test_a_client_that_leaves_ends_its_build(api: ApiServer, onggi: Onggi) -> None:
    nap = f"77{os.getpid()}"  # nobody else's
    asking = client(api, f"FROM busybox\nRUN echo begun; sleep {nap}\n")
    ended: list[BaseException] = []

    def build() -> None:
        try:
            asking.build({"no-cache": ""})
        except (Gone, grpc.Failed, AssertionError) as error:
            ended.append(error)

    asking.__enter__()
    thread = threading.Thread(target=build)
    thread.start()
    until(lambda: b"begun" in asking.output())
    asking.leave()
    thread.join(DEADLINE_S)
    assert ended
    scratch = Path(onggi.root) / "tmp"
    until(lambda: not list(scratch.iterdir()))
    until(lambda: not _runs(f"sleep\0{nap}\0".encode()))


def _runs(command: bytes) -> bool:
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{entry}/cmdline").read_bytes() == command:
                return True
        except OSError:
            continue  # ended
    return False


def test_what_there_is(api: ApiServer) -> None:
    with client(api, "") as asking:
        (worker,) = pb.ListWorkersResponse.FromString(asking.call(f"{CONTROL}/ListWorkers")).record
        assert worker.platforms[0].OS == "linux"
        info = pb.InfoResponse.FromString(asking.call(f"{CONTROL}/Info"))
        assert info.buildkitVersion.package == "onggi"
        health = asking.call("/grpc.health.v1.Health/Check")
        assert pb.HealthCheckResponse.FromString(health).status == 1
        with pytest.raises(grpc.Failed) as failed:
            asking.call(f"{CONTROL}/ListenBuildHistory")
        assert failed.value.code == grpc.UNIMPLEMENTED
        with pytest.raises(grpc.Failed, match="invalid filter"):
            asking.call(f"{CONTROL}/DiskUsage", pb.DiskUsageRequest(filter=["who==me"]))
        used = asking.call(f"{CONTROL}/DiskUsage", pb.DiskUsageRequest(filter=["type==none"]))
        assert not pb.DiskUsageResponse.FromString(used).record
        pruning = asking.control.call(f"{CONTROL}/Prune")
        pruning.send(pb.PruneRequest(filter=["type==none"], all=True).SerializeToString())
        pruning.end()
        assert pruning.receive() is None


def test_requests_that_are_no_upgrade(api: ApiServer) -> None:
    named = {"X_Docker_Expose_Session_Uuid": "plain"}
    spdy = {"Connection": "Upgrade", "Upgrade": "spdy"}
    for reply in (api.request("POST", "/grpc"), api.request("POST", "/session", **named)):
        assert reply.status == 400 and "no upgrade proto" in reply.json()["message"]
    for reply in (
        api.request("POST", "/grpc", **spdy),
        api.request("POST", "/session", **named, **spdy),
    ):
        assert reply.status == 400 and "protocol spdy not supported" in reply.json()["message"]
    reply = api.request("POST", "/session", Connection="Upgrade", Upgrade="h2c")
    assert reply.status == 400 and "no id" in reply.json()["message"]
