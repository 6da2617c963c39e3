"""The commands of the Django tutorial, word for word, as somebody new types them."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_server import RegistryServer

from .conftest import Onggi

pytestmark = pytest.mark.root

COLUMNS = "CONTAINER ID   IMAGE"
GENERATED = re.compile(r"[a-z]+_[a-z]+\d?")


@pytest.fixture
def hub(lone_onggi: Onggi, registry: RegistryServer, base_image: Callable[[str], Path]) -> Onggi:
    """A machine whose Docker Hub is our registry, with an image `centos` on it and none here."""
    settings = Path(lone_onggi.environment["HOME"], ".config/onggi")
    settings.mkdir(parents=True)
    settings.joinpath("config.toml").write_text(
        f'[registry."docker.io"]\nmirrors = ["{registry.url}"]\n'
    )
    name = f"{registry.host}/library/centos"
    lone_onggi("load", "-i", str(base_image("debian:bookworm")))
    lone_onggi("tag", "debian:bookworm", name)
    lone_onggi("push", name)
    lone_onggi("rmi", name, "debian:bookworm")
    return lone_onggi


def test_the_tutorial(hub: Onggi, tmp_path: Path) -> None:
    head = "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE"
    assert hub.out("images") == head
    assert hub.out("image", "ls") == head

    told = hub.out("pull", "centos").splitlines()
    assert told[:2] == ["Using default tag: latest", "latest: Pulling from library/centos"]
    assert re.fullmatch(r"[0-9a-f]{12}: Pull complete", told[-4])
    assert re.fullmatch(r"Digest: sha256:[0-9a-f]{64}", told[-3])
    assert told[-2:] == [
        "Status: Downloaded newer image for centos:latest",
        "docker.io/library/centos:latest",
    ]
    row = hub.out("images").splitlines()[1].split()
    assert row[:2] == ["centos", "latest"]
    assert re.fullmatch("[0-9a-f]{12}", row[2])

    with hub.terminal("run", "-it", "centos", "bash") as terminal:
        terminal.expect("# ")
        terminal.send("echo made > /made-here; echo $((6 * 7))\n")
        terminal.expect("42")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3
    assert hub.out("ps").splitlines()[1:] == []
    line = hub.out("ps", "--all").splitlines()[1]
    short = line.split()[0]
    assert re.search(r"Exited \(3\) (Less than a second|\d+ seconds?) ago", line)
    assert GENERATED.fullmatch(line.split()[-1])

    assert hub.out("restart", short) == short
    assert hub.out("commit", short, "test:mine").startswith("sha256:")
    assert hub.out("run", "--rm", "test:mine", "cat", "/made-here") == "made"
    hub("stop", "-t", "0", short)
    assert hub.out("rm", short) == short

    full = hub.out("run", "-d", "centos", "sleep", "600")
    assert re.fullmatch("[0-9a-f]{64}", full)
    assert hub.out("ps", "-q") == full[:12]
    with hub.terminal("exec", "-it", full[:6], "bash") as terminal:
        terminal.expect("# ")
        terminal.send("tr '\\0' ' ' < /proc/1/cmdline\n")
        terminal.expect("sleep 600")
        terminal.expect("# ")
        terminal.send("\x04")
        assert terminal.wait() == 0
    assert hub.out("stop", "-t", "0", full[:4]) == full[:4]
    assert hub.out("ps", "-q") == ""
    assert hub.out("rm", full[:4]) == full[:4]
    assert hub.out("ps", "--all", "-q") == ""

    (tmp_path / "app").mkdir()
    (tmp_path / "app/Dockerfile").write_text('FROM centos\nCOPY page /\nCMD ["cat", "/page"]\n')
    (tmp_path / "app/page").write_text("hello from the build\n")
    hub("build", "-t", "test:latest", ".", cwd=tmp_path / "app")
    assert hub.out("run", "test:latest") == "hello from the build"
    assert [row.split()[:2] for row in hub.out("images").splitlines()[1:]] == [
        ["test", "latest"],
        ["test", "mine"],
        ["centos", "latest"],
    ]


def test_pull_shows_layers_on_a_terminal(hub: Onggi) -> None:
    with hub.terminal("pull", "centos", columns=100) as terminal:
        assert terminal.wait(60) == 0
    assert "Pulling from library/centos" in terminal.text
    assert re.search(r"[0-9a-f]{12}: (Downloading|Extracting) +\[=*>? *\]", terminal.text)
    assert "Pull complete" in terminal.text


def test_run_pulls_what_is_missing(hub: Onggi) -> None:
    done = hub("run", "--rm", "centos", "echo", "here")
    assert done.stdout == "here\n"
    assert done.stderr.startswith("Unable to find image 'centos:latest' locally\n")
    assert "latest: Pulling from library/centos" in done.stderr
    assert "Using default tag" not in done.stderr
    assert hub("run", "--rm", "centos", "true").stderr == ""
    done = hub("run", "--rm", "--pull", "always", "-q", "centos", "echo", "again")
    assert (done.stdout, done.stderr) == ("again\n", "")
    hub("rmi", "centos")
    done = hub("run", "--pull", "never", "centos", "true", code=125)
    assert "No such image: centos:latest" in done.stderr


def test_names_that_the_registry_does_not_have(hub: Onggi, registry: RegistryServer) -> None:
    for name in (f"{registry.host}/library/centos:99", f"{registry.host}/nothing:latest"):
        done = hub("pull", name, code=1)
        assert done.stderr.startswith(
            f"Error response from daemon: manifest for {name} not found: manifest unknown"
        )
        done = hub("run", name, code=125)
        assert done.stderr.splitlines()[0] == f"Unable to find image '{name}' locally"
        assert f"manifest for {name} not found: manifest unknown" in done.stderr


def test_pull_of_what_is_here_says_so(hub: Onggi) -> None:
    first = hub.out("pull", "-q", "centos")
    assert first == "docker.io/library/centos:latest"
    assert hub.out("pull", "centos").splitlines()[-2:] == [
        "Status: Image is up to date for centos:latest",
        "docker.io/library/centos:latest",
    ]
