"""`manifest`: lists put together here and pushed, beside the real docker client, which
does all of this without a daemon; and `search`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_registry import Answer, FakeRegistry, fake_registry
from registry_server import RegistryServer, needs_registry

from .conftest import Onggi

pytestmark = pytest.mark.root
DOCKER = shutil.which("docker")
needs_docker = pytest.mark.skipif(DOCKER is None, reason="no docker client")


class Lists:
    """The same command line for onggi and for docker, on the same files or on others."""

    def __init__(self, onggi: Onggi, home: Path) -> None:
        self.onggi = onggi
        self.home = home

    def ours(self, *words: str, code: int = 0, at: str = "ours") -> tuple[str, str]:
        done = self.onggi("manifest", *words, code=code, DOCKER_CONFIG=str(self.home / at))
        return done.stdout, done.stderr

    def dockers(self, *words: str, code: int = 0, at: str = "dockers") -> tuple[str, str]:
        assert DOCKER is not None
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            [DOCKER, "manifest", *words],
            capture_output=True,
            text=True,
            timeout=60,
            env={**environment, "DOCKER_CONFIG": str(self.home / at)},
        )
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr


@pytest.fixture
def lists(onggi: Onggi, tmp_path: Path) -> Lists:
    return Lists(onggi, tmp_path)


@pytest.fixture
def host(onggi: Onggi, busybox: str, registry: RegistryServer) -> str:
    """A registry with `team/one:1`, and `other/two:2`, which is another image."""
    one, two = f"{registry.host}/team/one:1", f"{registry.host}/other/two:2"
    onggi("tag", busybox, one)
    onggi("build", "-q", "-t", two, "-", stdin=f"FROM {busybox}\nENV OTHER=1\n")
    for name in (one, two):
        onggi("push", "-q", name)
    return registry.host


@needs_registry
def test_a_list_from_create_to_push(lists: Lists, onggi: Onggi, host: str) -> None:
    whole, one, two = f"{host}/team/one:all", f"{host}/team/one:1", f"{host}/other/two:2"
    assert lists.ours("create", whole, one, two)[0] == f"Created manifest list {whole}\n"
    _, error = lists.ours("create", whole, one, code=1)
    assert error == "refusing to amend an existing manifest list with no --amend flag\n"
    lists.ours("create", "-a", whole, one)
    lists.ours("annotate", "--arch", "arm64", "--variant", "v8", "--os-features", "a,b", whole, two)
    _, error = lists.ours("annotate", "--arch", "vax", whole, two, code=1)
    assert error.startswith("manifest entry for image has unsupported os/arch combination: /vax\n")
    local = lists.ours("inspect", whole)[0]
    pushed = lists.ours("push", "-p", whole)[0].splitlines()
    digests = [entry["digest"] for entry in json.loads(local)["manifests"]]
    assert pushed[0] == f"Pushed ref {host}/team/one@{digests[0]} with digest: {digests[0]}"
    _, error = lists.ours("push", whole, code=1)
    assert error == f"No such manifest: {whole}\n"
    assert lists.ours("inspect", whole)[0] == local, "the registry has what was here"
    _, error = lists.ours("create", f"{host}/x:y", whole, code=1)
    assert error == f"{whole} is a manifest list\n"
    # and it is one that can be pulled by platform
    onggi("pull", "-q", "--platform", "linux/arm64", whole)
    assert "OTHER=1" in onggi.out("image", "inspect", "-f", "{{.Config.Env}}", whole)
    onggi("pull", "-q", whole)
    assert "OTHER=1" not in onggi.out("image", "inspect", "-f", "{{.Config.Env}}", whole)


@needs_docker
@needs_registry
def test_it_is_dockers_byte_for_byte(lists: Lists, host: str) -> None:
    whole, one, two = f"{host}/team/one:all", f"{host}/team/one:1", f"{host}/other/two:2"
    steps: list[tuple[list[str], int]] = [
        (["create", "--insecure", whole, one, two], 0),
        (["annotate", "--os", "linux", "--arch", "arm64", "--os-version", "6", whole, two], 0),
        (["inspect", whole], 0),
        (["inspect", "-v", whole], 0),
        (["inspect", whole, two], 0),
        (["inspect", "-v", whole, two], 0),
        (["inspect", whole, f"{host}/team/one:no"], 1),
        (["inspect", "--insecure", f"{host}/team/none"], 1),
        (["push", "--insecure", whole], 0),
        (["rm", whole], 0),
        (["inspect", "--insecure", whole], 0),
        (["inspect", "--insecure", "-v", whole], 0),
        (["inspect", "--insecure", "-v", one], 0),
        (["rm", whole, f"{host}/a:b"], 1),
    ]
    for words, code in steps:
        assert lists.ours(*words, code=code) == lists.dockers(*words, code=code), words


@needs_docker
@needs_registry
def test_either_goes_on_with_what_the_other_began(lists: Lists, host: str) -> None:
    whole, one, two = f"{host}/team/one:all", f"{host}/team/one:1", f"{host}/other/two:2"
    lists.dockers("create", "--insecure", whole, one, at="both")
    lists.ours("create", "--amend", whole, two, at="both")
    lists.ours("annotate", "--arch", "s390x", whole, two, at="both")
    seen = lists.dockers("inspect", whole, at="both")
    assert seen == lists.ours("inspect", whole, at="both")
    assert [entry["platform"]["architecture"] for entry in json.loads(seen[0])["manifests"]] == [
        "s390x",
        "amd64",
    ]
    lists.dockers("push", "--purge", "--insecure", whole, at="both")
    assert lists.ours("inspect", whole)[0] == seen[0]


def test_a_list_of_two_registries_is_refused(lists: Lists, tmp_path: Path) -> None:
    with fake_registry() as here, fake_registry() as there:
        for registry in (here, there):
            registry.add_image([b"x"], "1")
        whole = f"{here.host}/a:all"
        lists.ours("create", whole, f"{there.host}/b:1")
        _, error = lists.ours("push", whole, code=1)
    assert error == (
        "cannot use source images from a different registry than the target image: "
        f"{there.host} != {here.host}\n"
    )


FOUND = [
    {"name": "busybox", "star_count": 10, "is_official": True, "description": "Base\nimage " * 9},
    {"name": "me/bb", "star_count": 3, "is_official": False, "description": ""},
]


@pytest.fixture
def searched() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        answer = Answer(200, json.dumps({"results": FOUND}).encode())
        registry.always.append(lambda seen: answer if seen.path.startswith("/v1/search?") else None)
        yield registry


def test_search_prints_what_docker_prints(onggi: Onggi, searched: FakeRegistry) -> None:
    term = f"{searched.host}/busy box"
    assert onggi.out("search", term).splitlines() == [
        "NAME      DESCRIPTION                                     STARS     OFFICIAL",
        "busybox   Base image Base image Base image Base image …   10        [OK]",
        "me/bb                                                     3         ",
    ]
    assert searched.paths() == ["/v1/search?q=busy%20box&n=25"]
    for words, names in (
        (["-f", "stars=4"], ["busybox"]),
        (["-f", "is-official=false"], ["me/bb"]),
        (["-f", "is-automated=true"], []),
        (["--limit", "7"], ["busybox", "me/bb"]),
    ):
        assert onggi.out("search", "--format", "{{.Name}}", *words, term).split() == names
    assert searched.paths()[-1] == "/v1/search?q=busy%20box&n=7"
    assert json.loads(onggi.out("search", "--format", "json", "-f", "stars=4", term)) == {
        "Name": "busybox",
        "Description": "Base image Base image Base image Base image …",
        "StarCount": "10",
        "IsOfficial": "true",
    }


def test_what_cannot_be_searched_says_so(onggi: Onggi) -> None:
    with fake_registry() as registry:
        error = onggi("search", f"{registry.host}/x", code=1).stderr
    assert f"registry {registry.host} cannot be searched: 404 Not Found" in error
    for words, said in (
        (["--limit", "101", "x"], "limit 101 is outside the range of [1, 100]"),
        (["-f", "stars=x", "x"], "invalid filter 'stars=x'"),
        (["-f", "nosuch=x", "x"], "invalid filter 'nosuch'"),
        (["https://example.org/x"], "it should not include the protocol"),
        (["127.0.0.1:1/x"], "connection refused"),
    ):
        assert said in onggi("search", *words, code=1).stderr
