import json
from types import SimpleNamespace
from typing import Any

import pytest

from onggi.api import build
from onggi.api.buildkit import methods, usage
from onggi.api.buildkit.frontend import asked
from onggi.build.options import CacheSource, CacheTarget, Output
from onggi.build.pruning import Item
from onggi.errors import InvalidInput, OnggiError, Unsupported
from onggi.spec.container import Ulimit


def test_the_words_of_buildx() -> None:
    words = {
        "filename": "sub/Containerfile",
        "target": "last",
        "build-arg:A": "1",
        "label:l": "2",
        "no-cache": "one,Two",
        "platform": "linux/amd64",
        "add-hosts": "h=1.2.3.4,g=::1",
        "shm-size": "1024",
        "ulimit": "nofile=100:200,core=0",
        "force-network-mode": "none",
        "hostname": "h",
        "image-resolve-mode": "pull",
        "memory": "64",
        "cgroup-parent": "/x",
        "context:local": "local:mine",
        "context:image": "docker-image://busybox",
        "cache-imports": json.dumps([{"Type": "registry", "Attrs": {"ref": "r/c"}}]),
        "attest:provenance": "mode=min,inline-only=true",
        "frontend.caps": "moby.buildkit.frontend.contexts+forward",
    }
    found = asked(
        "dockerfile.v0",
        words,
        exporters=[("moby", {"name": "a,b:2", "push": "true"}), ("tar", {})],
        entitlements=["network.host", "device=vendor.com/x=y"],
        cache_exports=[("inline", {}), ("registry", {"ref": "r/c", "mode": "max"})],
    )
    options = found.options
    assert (found.filename, found.text_apart, found.contexts) == (
        "sub/Containerfile", True, {"local": "mine"},
    )  # fmt: skip
    assert (options.context_dir, options.dockerfile) == ("-", "")
    assert options.tags == ("a", "b:2") and options.push and options.pull
    assert options.build_args == {
        "A": "1",
        "BUILDKIT_SANDBOX_HOSTNAME": "h",
    } and options.labels == {"l": "2"}
    assert not options.no_cache and options.no_cache_filter == {"one", "two"}
    assert options.extra_hosts == ("h:1.2.3.4", "g:::1") and options.shm_bytes == 1024
    assert options.limits.ulimits == (Ulimit("nofile", 100, 200), Ulimit("core", 0, 0))
    assert options.limits.resources.memory_bytes == 64 and options.limits.cgroup_parent == "/x"
    assert options.network_mode == "none" and options.allowed == {
        "network.host",
        "device=vendor.com/x=y",
    }
    assert options.build_contexts == {"local": "-", "image": "docker-image://busybox"}
    assert options.outputs == (Output("tar"), Output("image"))
    assert options.cache_from == (CacheSource("registry", "r/c", plain=True),)
    assert options.cache_to == (
        CacheTarget("inline"), CacheTarget("registry", "r/c", mode="max"),
    )  # fmt: skip
    assert options.provenance == ""  # the store cannot hold it, and nobody asked for it


def test_contexts_that_are_elsewhere() -> None:
    there = asked("dockerfile.v0", {"context": "https://example.com/r.git", "filename": "F"})
    assert (there.options.context_dir, there.options.dockerfile) == (
        "https://example.com/r.git", "F",
    )  # fmt: skip
    assert not there.text_apart and not there.options.keep
    both = asked("dockerfile.v0", {"context": "https://e.com/r.git", "dockerfilekey": "dockerfile"})
    assert both.text_apart and both.options.dockerfile == ""
    sent = asked("dockerfile.v0", {"context": "http://buildkit-session/abc", "filename": "F"})
    assert sent.upload and not sent.text_apart and sent.options.context_dir == "-"
    assert sent.options.dockerfile == "F"
    docker = asked("gateway.v0", {"source": "docker/dockerfile:1"})
    assert docker.text_apart


def test_attestations() -> None:
    said = {"attest:provenance": "mode=max", "attest:sbom": "generator=x"}
    options = asked("dockerfile.v0", said, exporters=[("moby", {})]).options
    assert (options.provenance, options.sbom) == ("max", True)
    added = {"attest:provenance": "mode=min,inline-only=true"}
    assert asked("dockerfile.v0", added, exporters=[("oci", {})]).options.provenance == "min"
    for kind in ("local", "docker", "moby"):
        assert not asked("dockerfile.v0", added, exporters=[(kind, {})]).options.provenance


@pytest.mark.parametrize(
    "words",
    [
        {"context:x": "input:x"}, {"context:x": "oci-layout://x"}, {"context:x": "what"},
        {"force-network-mode": "mynet"}, {"add-hosts": "h"}, {"shm-size": "1g"},
        {"ulimit": "nofile=a:b"}, {"attest:provenance": "mode=none"}, {"attest:other": ""},
        {"cache-imports": '[{"Attrs": 1}]'}, {"cache-imports": '[{"Type": "local"}]'},
        {"cache-from": "Bad Name"}, {"platform": "a/b/c/d"},
    ],
)  # fmt: skip
def test_words_that_are_refused(words: dict[str, str]) -> None:
    with pytest.raises(OnggiError):
        asked("dockerfile.v0", words)


def test_places_that_are_refused() -> None:
    with pytest.raises(Unsupported, match="frontend llb"):
        asked("llb", {})
    with pytest.raises(Unsupported, match="custom frontends"):
        asked("gateway.v0", {"source": "example.com/mine"})
    for exporter in (("nothing", {}), ("oci", {"tar": "false"}), ("moby", {"name": "Bad Name"})):
        with pytest.raises(OnggiError):
            asked("dockerfile.v0", {}, exporters=[exporter])
    for cache in (("gha", {}), ("registry", {}), ("registry", {"ref": "a", "mode": "most"})):
        with pytest.raises(OnggiError):
            asked("dockerfile.v0", {}, cache_exports=[cache])
    with pytest.raises(InvalidInput, match="entitlement"):
        asked("dockerfile.v0", {}, entitlements=["everything"])


def test_filters_of_the_cache() -> None:
    item = Item("abc", "regular", "layer", 5, 1, shared=True, description="RUN make")
    for text, fits in {
        "id==abc": True, "id~=^a": True, "type!=regular": False, "shared": True, "inuse": False,
        "shared==true,description~=make": True, "shared,inuse": False, "": True,
    }.items():  # fmt: skip
        assert usage.wanted([text])(item) is fits, text
    assert usage.wanted(["inuse", "shared"])(item)
    for text in ("who==me", "id~=(", "shared is", "ID==x"):
        with pytest.raises(InvalidInput):
            usage.wanted([text])
    assert usage.record(item).Size == 5


def test_methods() -> None:
    found = json.loads(methods.describe()["result.json"])
    assert [one["name"] for one in found][:2] == ["frontend.lint", "frontend.outline"]
    assert not methods.known("subrequests.describe") and methods.known("lint")
    with pytest.raises(Unsupported):
        methods.known("other")
    assert methods.answer("lint", {"findings": []}, None)["result.statuscode"] == b"0"


def test_without_the_libraries() -> None:
    def missing(engine: object) -> None:
        raise ImportError("No module named 'h2'")

    call: Any = SimpleNamespace(shared=SimpleNamespace(buildkit=missing), engine=None)
    for operation in (build.session, build.grpc):
        with pytest.raises(Unsupported, match=r"pip install 'onggi\[buildkit\]'"):
            operation(call)
