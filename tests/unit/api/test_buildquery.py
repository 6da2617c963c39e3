"""POST /build's parameters, as docker's clients spell them."""

import json
from urllib.parse import quote

import pytest

from onggi.api.buildquery import options
from onggi.api.decode import parse_query
from onggi.build.options import BuildOptions, CacheSource
from onggi.errors import InvalidInput, OnggiError, Unsupported
from onggi.spec.container import HostOptions, Resources, Ulimit

V = (1, 51)


def parsed(text: str, version: tuple[int, int] = V) -> BuildOptions:
    return options(parse_query(text), version)


def test_nothing_is_a_context_in_the_body() -> None:
    assert parsed("") == BuildOptions("-")


def test_everything() -> None:
    arguments = quote(json.dumps({"A": "1", "B": None}))
    labels = quote(json.dumps({"x": "y"}))
    ulimits = quote(json.dumps([{"Name": "nofile", "Soft": 10, "Hard": 20}]))
    found = parsed(
        "t=a&t=b:1&dockerfile=sub/D&remote=https://example.org/x.tar&nocache=1&pull=true&rm=0"
        "&forcerm=1&memory=1048576&memswap=-1&cpushares=2&cpusetcpus=0,1&cpusetmems=0"
        f"&cpuperiod=100000&cpuquota=50000&cgroupparent=/x&buildargs={arguments}&labels={labels}"
        f"&ulimits={ulimits}&shmsize=1024&networkmode=host&extrahosts=a:1.2.3.4"
        "&extrahosts=b:host-gateway&target=last&platform=linux/arm64&cachefrom=[%22x%22]&squash=1"
        "&version=1"
    )
    resources = Resources(
        memory_bytes=1048576, memory_swap_bytes=-1, cpu_shares=2, cpu_period_us=100000,
        cpu_quota_us=50000, cpuset_cpus="0,1", cpuset_mems="0",
    )  # fmt: skip
    assert found == BuildOptions(
        "https://example.org/x.tar",
        dockerfile="sub/D",
        tags=("a", "b:1"),
        build_args={"A": "1", "B": None},
        no_cache=True,
        target="last",
        pull=True,
        labels={"x": "y"},
        platform="linux/arm64",
        network_mode="host",
        extra_hosts=("a:1.2.3.4", "b:host-gateway"),
        shm_bytes=1024,
        limits=HostOptions(
            resources=resources, ulimits=(Ulimit("nofile", 10, 20),), cgroup_parent="/x"
        ),
        squash=True,
        cache_from=(CacheSource("image", "docker.io/library/x:latest"),),
    )


def test_what_means_nothing_is_nothing() -> None:
    nothing = (
        "t=&extrahosts=&memory=x&buildargs=null&labels=null&cachefrom=null&networkmode=default"
    )
    assert parsed(nothing) == BuildOptions("-")
    assert parsed("platform=linux/arm64", (1, 31)).platform == ""


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("securityopt=x", InvalidInput),
        ("isolation=hyperv", InvalidInput),
        ("version=3", InvalidInput),
        ("version=2", Unsupported),
        ("remote=client-session", InvalidInput),
        ("remote=/etc", InvalidInput),
        ("remote=docker-image://busybox", InvalidInput),
        ("outputs=[{%22Type%22:%22tar%22}]", Unsupported),
        ("t=UPPER", InvalidInput),
        (f"t=a@sha256:{'0' * 64}", InvalidInput),
        ("buildargs=[1]", InvalidInput),
        ("buildargs={%22a%22:1}", InvalidInput),
        ("labels={%22a%22:1}", InvalidInput),
        ("cachefrom={}", InvalidInput),
        ("ulimits=[1]", InvalidInput),
        ("shmsize=x", InvalidInput),
        ("extrahosts=nothing", InvalidInput),
        ("platform=%2F%2F", InvalidInput),
        ("buildargs=%7B", InvalidInput),
    ],
)
def test_refused(text: str, kind: type[OnggiError]) -> None:
    with pytest.raises(kind):
        parsed(text)
