"""Bind mounts, volumes, tmpfs and read-only roots."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def no_volume_stays(onggi: Onggi) -> Iterator[None]:
    yield
    onggi.remove_containers()
    names = onggi.out("volume", "ls", "-q").split()
    if names:
        onggi("volume", "rm", *names)


@pytest.fixture
def filled(onggi: Onggi, busybox: str, tmp_path: Path) -> str:
    """An image with something at /data, of a user of its own, that declares it a volume."""
    build = tmp_path / "filled"
    build.mkdir()
    (build / "Dockerfile").write_text(
        f"FROM {busybox}\n"
        "RUN mkdir -p /data/sub && echo hello > /data/file && ln -s file /data/link"
        " && chown -R 33:33 /data && chmod 0750 /data\n"
        "VOLUME /data\n"
    )
    onggi("build", "-q", "-t", "filled", str(build))
    return "filled"


def test_bind(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    bind = f"{tmp_path}:/mnt"
    assert onggi.out("run", "--rm", "-v", bind, busybox, "cat", "/mnt/in") == "from the host"
    onggi("run", "--rm", "-v", bind, "-u", "33", busybox, "sh", "-c", "cat /mnt/in", code=None)
    onggi("run", "--rm", "-v", bind, busybox, "sh", "-c", "echo back > /mnt/out")
    assert (tmp_path / "out").read_text() == "back\n"
    done = onggi("run", "--rm", "-v", f"{bind}:ro", busybox, "touch", "/mnt/x", code=1)
    assert "Read-only file system" in done.stderr


def test_bind_of_a_file_and_of_a_relative_path(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("one file")
    found = onggi.out("run", "--rm", "-v", f"{tmp_path}/one:/etc/deep/er/one", busybox, "cat",
                      "/etc/deep/er/one")  # fmt: skip
    assert found == "one file"
    done = onggi("run", "--rm", "-v", "./one:/x", busybox, "cat", "/x", cwd=tmp_path)
    assert done.stdout == "one file"


def test_bind_makes_a_missing_directory_but_mount_does_not(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    missing = tmp_path / "made"
    onggi("run", "--rm", "-v", f"{missing}:/mnt", busybox, "true")
    assert missing.is_dir()
    absent = tmp_path / "absent"
    done = onggi("run", "--mount", f"type=bind,src={absent},dst=/mnt", busybox, "true", code=125)
    assert (
        f'invalid mount config for type "bind": bind source path does not exist: {absent}'
        in done.stderr
    )


def test_bind_is_recursive_and_private(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("run", "--rm", "--privileged", "-v", f"{tmp_path}:/mnt", busybox, "sh", "-c",
          "mount -t tmpfs none /mnt && touch /mnt/x")  # fmt: skip
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_named_volume_keeps_its_content(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--rm", "-v", "keep:/data", busybox, "sh", "-c", "echo kept > /data/file")
    assert onggi.out("volume", "ls", "-q") == "keep"
    assert onggi.out("run", "--rm", "-v", "keep:/other", busybox, "cat", "/other/file") == "kept"
    done = onggi("run", "--rm", "-v", "keep:/data:ro", busybox, "touch", "/data/x", code=1)
    assert "Read-only file system" in done.stderr
    onggi("run", "-d", "--name", "user", "-v", "keep:/data", busybox, "sleep", "600")
    done = onggi("volume", "rm", "keep", code=1)
    assert re.match(
        r"Error response from daemon: remove keep: volume is in use - \[[0-9a-f]{64}\]", done.stderr
    )
    onggi("rm", "-f", "-v", "user")
    assert onggi.out("volume", "ls", "-q") == "keep"
    assert onggi.out("volume", "rm", "keep") == "keep"


def test_copy_up(onggi: Onggi, filled: str) -> None:
    """A new volume starts with what the image has there, owners and modes included."""
    show = "stat -c '%u:%g %a' /data; cat /data/file; readlink /data/link; stat -c %u /data/sub"
    expected = "33:33 750\nhello\nfile\n33"
    assert onggi.out("run", "--rm", "-v", "new:/data", filled, "sh", "-c", show) == expected
    onggi("run", "--rm", "-v", "new:/data", filled, "sh", "-c", "echo changed > /data/file")
    assert onggi.out("run", "--rm", "-v", "new:/data", filled, "cat", "/data/file") == "changed"
    found = onggi.out("run", "--rm", "-v", "bare:/data:nocopy", filled, "ls", "/data")
    assert found == ""


def test_bind_hides_what_the_image_has(onggi: Onggi, filled: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert onggi.out("run", "--rm", "-v", f"{empty}:/data", filled, "ls", "/data") == ""


def test_anonymous_volumes(onggi: Onggi, filled: str, busybox: str) -> None:
    onggi("run", "--name", "box", filled, "sh", "-c", "echo mine > /data/file")
    (name,) = onggi.out("volume", "ls", "-q").split()
    assert re.fullmatch("[0-9a-f]{64}", name)
    onggi("start", "box")
    onggi("wait", "box")
    (mount,) = json.loads(onggi.out("inspect", "-f", "{{json .Mounts}}", "box"))
    assert (mount["Type"], mount["Name"], mount["Destination"]) == ("volume", name, "/data")
    onggi("rm", "box")
    assert onggi.out("volume", "ls", "-q") == name  # without -v it stays
    onggi("volume", "rm", name)
    onggi("run", "--rm", "-v", "/scratch", busybox, "touch", "/scratch/x")
    assert onggi.out("volume", "ls", "-q") == ""


def test_mount_flag(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    found = onggi.out(
        "run", "--rm", "--mount", f"type=bind,source={tmp_path},target=/b,readonly",
        "--mount", "type=volume,source=vol,target=/v", "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m",
        busybox, "sh", "-c", "cat /b/x; echo; touch /b/y /v/y /t/y; df -k /t | tail -n 1",
    )  # fmt: skip
    assert found.splitlines()[0] == "x"
    assert found.splitlines()[1].split()[1] == "1024"
    for text, problem in (
        ("type=bind,target=/x", "source is required"),
        ("type=volume,source=x", "target is required"),
        ("type=nonsense,target=/x", "nonsense"),
        ("type=volume,target=/x,wrong=1", "unexpected key 'wrong'"),
    ):
        done = onggi("run", "--mount", text, busybox, "true", code=125)
        assert problem in done.stderr, text


def test_tmpfs(onggi: Onggi, busybox: str) -> None:
    found = onggi.out("run", "--rm", "--tmpfs", "/run:rw,size=64k,mode=0711", busybox, "sh", "-c",
                      "grep ' /run ' /proc/mounts; stat -c %a /run")  # fmt: skip
    mount, mode = found.splitlines()
    assert mount.startswith("tmpfs /run tmpfs rw,nosuid,nodev,noexec")
    assert "size=64k" in mount
    assert mode == "711"


def test_read_only(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "--read-only", busybox, "touch", "/x", code=1)
    assert "Read-only file system" in done.stderr
    onggi("run", "--rm", "--read-only", "--tmpfs", "/tmp", "-v", "data:/data", busybox, "sh", "-c",
          "touch /tmp/x /data/x /dev/shm/x")  # fmt: skip


def test_volume_commands(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("volume", "create", "--label", "a=1", "mine") == "mine"
    assert onggi.out("volume", "create", "mine") == "mine"
    (item,) = json.loads(onggi.out("volume", "inspect", "mine"))
    assert (item["Name"], item["Driver"], item["Labels"]) == ("mine", "local", {"a": "1"})
    Path(item["Mountpoint"], "seed").write_text("planted")
    assert onggi.out("run", "--rm", "-v", "mine:/m", busybox, "cat", "/m/seed") == "planted"
    onggi("volume", "create", "other")
    listed = onggi.out("volume", "ls").splitlines()
    assert [line.split() for line in listed] == [
        ["DRIVER", "VOLUME", "NAME"], ["local", "mine"], ["local", "other"],
    ]  # fmt: skip
    assert onggi.out("volume", "ls", "-q", "--filter", "label=a") == "mine"
    done = onggi("volume", "rm", "nowhere", code=1)
    assert "get nowhere: no such volume" in done.stderr
    done = onggi("volume", "inspect", "nowhere", code=1)
    assert done.stdout == "[]\n"
    assert "no such volume" in done.stderr
    onggi("volume", "prune", "-f", "-a")
    assert onggi.out("volume", "ls", "-q") == ""


def test_names_that_are_no_volume_names(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "-v", "a/b:/x", busybox, "true", code=125)
    assert '"a/b" includes invalid characters for a local volume name' in done.stderr
    assert "did you mean: -v ./a/b:/x" in done.stderr
    done = onggi("run", "-v", "/a:/x:sideways", busybox, "true", code=125)
    assert "invalid mode: sideways" in done.stderr
    done = onggi("run", "-v", "/a:/", busybox, "true", code=125)
    assert "destination can't be '/'" in done.stderr
    done = onggi("run", "-v", "/a:/x", "-v", "/b:/x", busybox, "true", code=125)
    assert "Duplicate mount point: /x" in done.stderr
