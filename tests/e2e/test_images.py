"""Images: list, tag, inspect, history, save, load, import, export, push, pull, rmi."""

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_server import RegistryServer, needs_registry, registry_server

from .conftest import Onggi

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def only_the_bases_stay(onggi: Onggi, busybox: str) -> Iterator[None]:
    before = set(onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    yield
    onggi.remove_containers()
    after = set(onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}").split())
    for name in after - before - {"<none>:<none>"}:
        onggi("rmi", "-f", name)


def names(onggi: Onggi, *flags: str) -> set[str]:
    return set(onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}", *flags).split())


def test_images_table(onggi: Onggi, busybox: str) -> None:
    onggi("tag", busybox, "mine:1")
    for words in (["images"], ["image", "ls"], ["image", "list"]):
        lines = [re.split(" {2,}", line.strip()) for line in onggi.out(*words).splitlines()]
        assert lines[0] == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
        (row,) = (line for line in lines if line[0] == "mine")
        assert row[1] == "1"
        assert re.fullmatch("[0-9a-f]{12}", row[2])
        assert row[3].endswith(" ago")
        assert re.fullmatch(r"[\d.]+[kM]?B", row[4])


def test_images_filters_and_formats(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nLABEL team=blue\nRUN date\n")
    onggi("build", "-q", "-t", "lab/one:1", "-t", "lab/one:2", "-t", "lab/two:1", str(tmp_path))
    assert names(onggi, "lab/one") == {"lab/one:1", "lab/one:2"}
    assert names(onggi, "lab/*:1") == {"lab/one:1", "lab/two:1"}
    assert names(onggi, "--filter", "reference=*/two") == {"lab/two:1"}
    assert names(onggi, "--filter", "label=team=blue") == {"lab/one:1", "lab/one:2", "lab/two:1"}
    assert names(onggi, "--filter", "label=team=red") == set()
    assert f"{busybox}:latest" in names(onggi, "--filter", "before=lab/one:1")
    assert names(onggi, "--filter", f"since={busybox}") >= {"lab/one:1"}
    full = onggi.out("images", "-q", "--no-trunc", "lab/two")
    assert re.fullmatch("sha256:[0-9a-f]{64}", full)
    assert onggi.out("images", "-q", "lab/two") == full[7:19]
    item = json.loads(onggi.out("images", "--format", "json", "lab/two"))
    assert (item["Repository"], item["Tag"], item["ID"]) == ("lab/two", "1", full[7:19])
    assert onggi.out("images", "--format", "{{.ID}}", "--digests", "lab/two") == full[7:19]
    assert "DIGEST" in onggi.out("images", "--digests").splitlines()[0]
    done = onggi("images", "--filter", "nonsense=1", code=1)
    assert "invalid filter 'nonsense'" in done.stderr


def test_dangling(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nLABEL n={number}\n")
        onggi("build", "-q", "-t", "moving", str(tmp_path))
    dangling = onggi.out("images", "-q", "--filter", "dangling=true").split()
    assert dangling
    assert "<none>" in onggi.out("images")
    done = onggi("image", "prune", "-f")
    assert "Total reclaimed space" in done.stdout
    assert onggi.out("images", "-q", "--filter", "dangling=true") == ""


def test_tag(onggi: Onggi, busybox: str) -> None:
    assert onggi("tag", busybox, "example.org:5000/a/b:c").stdout == ""
    assert "example.org:5000/a/b:c" in names(onggi)
    onggi("tag", f"{busybox}:latest", "plain")
    assert "plain:latest" in names(onggi)
    done = onggi("tag", busybox, "Upper", code=1)
    assert "must be lowercase" in done.stderr
    done = onggi("tag", "nothing", "x", code=1)
    assert (
        done.stderr.splitlines()[0] == "Error response from daemon: No such image: nothing:latest"
    )


def test_rmi(onggi: Onggi, busybox: str) -> None:
    onggi("tag", busybox, "spare:1")
    assert onggi.out("rmi", "spare:1") == "Untagged: spare:1"
    done = onggi("rmi", "nothing", code=1)
    assert (
        done.stderr.splitlines()[0] == "Error response from daemon: No such image: nothing:latest"
    )
    full = onggi.out("create", busybox, "true")
    done = onggi("rmi", busybox, code=1)
    assert done.stderr.splitlines()[0] == (
        f'Error response from daemon: conflict: unable to remove repository reference "{busybox}"'
        f" (must force) - container {full[:12]} is using its referenced image"
        f" {onggi.out('images', '-q', busybox)}"
    )


def test_rmi_deletes_layers_nobody_needs(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox}\nRUN head -c 3000000 /dev/urandom > /big\n"
    )
    layers = onggi.root / "layers"
    before = sum(path.stat().st_size for path in layers.iterdir())
    onggi("build", "-q", "--no-cache", "-t", "big", str(tmp_path))
    assert sum(path.stat().st_size for path in layers.iterdir()) > before + 3_000_000
    image = onggi.out("images", "-q", "--no-trunc", "big")
    lines = onggi.out("rmi", "big").splitlines()
    assert lines[0] == "Untagged: big:latest"
    assert lines[1] == f"Deleted: {image}"
    onggi("builder", "prune", "-f", "-a")
    assert sum(path.stat().st_size for path in layers.iterdir()) < before + 1_000_000


def test_inspect_and_history(onggi: Onggi, busybox: str) -> None:
    (item,) = json.loads(onggi.out("image", "inspect", busybox))
    assert item["Id"].startswith("sha256:")
    assert f"{busybox}:latest" in item["RepoTags"]
    assert (item["Os"], item["Config"]["Cmd"]) == ("linux", ["sh"])
    assert len(item["RootFS"]["Layers"]) == 1
    assert onggi.out("inspect", "-f", "{{.Os}}/{{.Architecture}}", busybox).startswith("linux/")
    assert onggi.out("inspect", "--type", "image", "-f", "{{index .RepoTags 0}}", busybox)
    lines = onggi.out("history", busybox).splitlines()
    assert re.split(" {2,}", lines[0].strip()) == [
        "IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT",
    ]  # fmt: skip
    assert "tools/base_image" in lines[1]
    for words in (["image", "inspect", "nothing"], ["history", "nothing"]):
        done = onggi(*words, code=1)
        assert "nothing:latest" in done.stderr or "nothing" in done.stderr


def test_save_and_load(onggi: Onggi, lone_onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("tag", busybox, "also:1")
    archive = tmp_path / "both.tar"
    onggi("save", "-o", str(archive), busybox, "also:1")
    with tarfile.open(archive) as tar:
        assert {"manifest.json", "oci-layout", "index.json"} <= set(tar.getnames())
    done = lone_onggi("load", "-i", str(archive))
    assert set(done.stdout.splitlines()) == {
        f"Loaded image: {busybox}:latest", "Loaded image: also:1",
    }  # fmt: skip
    same = ["inspect", "-f", "{{.Id}} {{json .RootFS.Layers}}", busybox]
    assert lone_onggi.out(*same) == onggi.out(*same)
    assert lone_onggi.out("run", "--rm", "also:1", "echo", "loaded") == "loaded"
    again = tmp_path / "again.tar"
    lone_onggi("save", "-o", str(again), busybox)
    line = f"{onggi.command} save {busybox} | {onggi.command} load"
    piped = subprocess.run(
        ["sh", "-c", line], env=onggi.environment, capture_output=True, text=True, timeout=60
    )
    assert piped.stdout == f"Loaded image: {busybox}:latest\n"
    with onggi.terminal("save", busybox) as terminal:
        assert terminal.wait() == 1
        assert "cowardly refusing to save to a terminal" in terminal.text
    done = onggi("load", stdin="this is no archive", code=1)
    assert done.stderr


def test_import_and_export(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("run", "--name", "box", busybox, "sh", "-c", "echo mine > /mine; rm /etc/shadow")
    archive = tmp_path / "root.tar"
    onggi("export", "-o", str(archive), "box")
    with tarfile.open(archive) as tar:
        content = tar.extractfile("mine")
        assert content is not None
        assert content.read() == b"mine\n"
        assert "etc/shadow" not in tar.getnames()
        assert tar.getmember("bin/ls").islnk() or tar.getmember("bin/busybox").islnk()
    told = onggi.out("import", "-c", "CMD cat /mine", str(archive), "flat:1")
    assert told.startswith("sha256:")
    assert onggi.out("run", "--rm", "flat:1") == "mine"
    assert len(json.loads(onggi.out("inspect", "-f", "{{json .RootFS.Layers}}", "flat:1"))) == 1


def test_push_and_pull(
    onggi: Onggi, lone_onggi: Onggi, busybox: str, registry: RegistryServer
) -> None:
    name = f"{registry.host}/team/app:1"
    onggi("tag", busybox, name)
    done = onggi("push", name)
    assert done.stdout.splitlines()[0] == (
        f"The push refers to repository [{registry.host}/team/app]"
    )
    pushed = re.search(r"^1: digest: (sha256:[0-9a-f]{64}) size: \d+$", done.stdout, re.MULTILINE)
    assert pushed
    assert "Layer already exists" in onggi("push", name).stdout
    other = f"{registry.host}/team/other:1"
    onggi("tag", busybox, other)
    assert re.search(": Mounted from [a-z]", onggi("push", other).stdout)

    done = lone_onggi("pull", name)
    assert f"Digest: {pushed[1]}" in done.stdout
    assert f"Status: Downloaded newer image for {name}" in done.stdout
    assert lone_onggi.out("inspect", "-f", "{{.Id}}", name) == onggi.out(
        "inspect", "-f", "{{.Id}}", name
    )
    by_digest = f"{registry.host}/team/app@{pushed[1]}"
    assert lone_onggi.out("inspect", "-f", "{{index .RepoDigests 0}}", name) == by_digest
    assert lone_onggi.out("run", "--rm", by_digest, "echo", "by digest") == "by digest"
    again = lone_onggi("push", name)
    assert pushed[1] in again.stdout
    onggi("tag", busybox, f"{registry.host}/team/app:2")
    onggi("push", "-a", f"{registry.host}/team/app")
    lone_onggi("pull", "-a", f"{registry.host}/team/app")
    assert {f"{registry.host}/team/app:1", f"{registry.host}/team/app:2"} <= names(lone_onggi)
    done = onggi("push", f"{registry.host}/never/tagged", code=1)
    assert "An image does not exist locally with the tag" in done.stderr


@needs_registry
def test_login_and_logout(lone_onggi: Onggi, busybox: str, onggi: Onggi, tmp_path: Path) -> None:
    with registry_server(tmp_path, users={"me": "secret"}) as server:
        name = f"{server.host}/private:1"
        archive = tmp_path / "b.tar"
        onggi("save", "-o", str(archive), busybox)
        lone_onggi("load", "-q", "-i", str(archive))
        lone_onggi("tag", busybox, name)
        done = lone_onggi("push", name, code=1)
        assert "no basic auth credentials" in done.stderr or "unauthorized" in done.stderr
        done = lone_onggi("login", "-u", "me", "--password-stdin", server.host, stdin="wrong\n",
                          code=1)  # fmt: skip
        assert "unauthorized" in done.stderr.lower()
        done = lone_onggi("login", "-u", "me", "--password-stdin", server.host, stdin="secret\n")
        assert done.stdout.splitlines()[-1] == "Login Succeeded"
        kept = Path(lone_onggi.environment["HOME"], ".docker/config.json")
        assert kept.stat().st_mode & 0o777 == 0o600
        assert server.host in json.loads(kept.read_text())["auths"]
        lone_onggi("push", name)
        lone_onggi("rmi", name)
        lone_onggi("pull", name)
        done = lone_onggi("logout", server.host)
        assert f"Removing login credentials for {server.host}" in done.stdout
        assert server.host not in json.loads(kept.read_text()).get("auths", {})
        lone_onggi("pull", name, code=1)
        with lone_onggi.terminal("login", server.host) as terminal:
            terminal.expect("Username")
            terminal.send("me\n")
            terminal.expect("Password")
            terminal.send("secret\n")
            terminal.expect("Login Succeeded")
            assert terminal.wait() == 0
            assert "secret" not in terminal.text


def test_a_killed_pull_leaves_a_store_that_works(
    lone_onggi: Onggi, registry: RegistryServer, onggi: Onggi, python: str
) -> None:
    name = f"{registry.host}/big:1"
    onggi("tag", python, name)
    onggi("push", "-q", name)
    for delay in (0.1, 0.3, 0.6):
        process = lone_onggi.popen("pull", name)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        lone_onggi.out("images")
    lone_onggi("pull", name)
    assert lone_onggi.out("run", "--rm", name, "python", "-c", "print(6 * 7)") == "42"


def test_images_of_other_tools(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """An OCI layout as a directory in a tar, as buildx and skopeo write it."""
    import shutil

    if shutil.which("skopeo") is None:
        pytest.skip("no skopeo")
    archive, layout = tmp_path / "a.tar", tmp_path / "oci.tar"
    onggi("save", "-o", str(archive), busybox)
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--quiet", f"docker-archive:{archive}",
         f"oci-archive:{layout}:other:oci"],
        check=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    done = onggi("load", "-i", str(layout))
    assert "Loaded image" in done.stdout
    image = done.stdout.split()[-1]
    assert onggi.out("run", "--rm", image, "echo", "from oci") == "from oci"


@pytest.mark.parametrize(
    "words", ["history IMAGE", "image inspect IMAGE", "save -o FILE IMAGE", "push IMAGE"]
)
def test_of_another_platform_there_is_nothing(
    onggi: Onggi, busybox: str, tmp_path: Path, words: str
) -> None:
    path = str(tmp_path / "x.tar")
    argv = [{"IMAGE": busybox, "FILE": path}.get(word, word) for word in words.split()]
    done = onggi(*argv, "--platform", "linux/s390x", code=1)
    assert (
        f"image with reference {busybox} was found but does not provide the specified platform "
        "(linux/s390x)"
    ) in done.stderr
    assert not Path(path).exists()
    if words != "push IMAGE":
        onggi(*argv, "--platform", onggi.out("version", "-f", "{{.Server.Os}}/{{.Server.Arch}}"))


def test_load_of_one_platform(lone_onggi: Onggi, base_image: Callable[[str], Path]) -> None:
    path = str(base_image("busybox:latest"))
    done = lone_onggi("load", "-i", path, "--platform", "linux/s390x", code=1)
    assert "the archive has no image for linux/s390x, only for: linux/" in done.stderr
    assert lone_onggi.out("images", "-q") == ""
