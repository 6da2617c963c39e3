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


def test_a_volume_in_memory(onggi: Onggi, busybox: str) -> None:
    """One file system for all containers that run with it, on the host nothing; it goes with the
    last of them."""
    onggi("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o",
          "o=size=1m,uid=33,mode=700", "fast")  # fmt: skip
    onggi("run", "-d", "--name", "one", "-v", "fast:/fast", busybox, "sleep", "600")
    show = "grep ' /fast ' /proc/mounts; stat -c '%u %a' /fast"
    mount, owner = onggi.out("exec", "one", "sh", "-c", show).splitlines()
    assert mount.startswith("tmpfs /fast tmpfs rw,")
    assert "size=1024k" in mount
    assert owner == "33 700"
    assert "fast" not in Path("/proc/self/mountinfo").read_text()
    onggi("exec", "one", "sh", "-c", "echo shared > /fast/file")
    assert onggi.out("run", "--rm", "-v", "fast:/x", busybox, "cat", "/x/file") == "shared"
    done = onggi("run", "--rm", "-v", "fast:/x:ro", busybox, "touch", "/x/y", code=1)
    assert "Read-only file system" in done.stderr
    onggi("run", "-d", "--name", "reader", "-v", "fast:/x:ro", busybox, "sleep", "600")
    onggi("rm", "-f", "one")
    mapped = ("run", "--rm", "--userns", "auto", "-v", "fast:/x", busybox)
    assert onggi.out(*mapped, "sh", "-c", "stat -c %u /x/file; rm /x/file") == "0"
    onggi("run", "--rm", "-v", "fast:/x", busybox, "touch", "/x/again")  # beside a reader
    onggi("rm", "-f", "reader")
    onggi(
        "run", "-d", "--name", "one", "--userns", "auto", "-v", "fast:/x", busybox, "sleep", "600"
    )
    done = onggi("run", "--rm", "-v", "fast:/x", busybox, "true", code=125)
    assert "is in memory, and in use by one" in done.stderr
    onggi("rm", "-f", "one")
    assert onggi.out("run", "--rm", "-v", "fast:/x", busybox, "ls", "/x") == ""


def test_a_volume_that_is_a_directory_of_the_host(
    onggi: Onggi, filled: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    onggi("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={source}", "own")
    (item,) = json.loads(onggi.out("volume", "inspect", "own"))
    assert item["Options"] == {"device": str(source), "o": "bind", "type": "none"}
    run = ("run", "--rm", "-v", "own:/data", filled)
    assert onggi.out("run", "--rm", "-v", "own:/x", filled, "ls", "/x") == "deep"
    (source / "deep").rmdir()
    assert onggi.out(*run, "cat", "/data/file") == "hello"  # it was empty: the image's files
    assert (source / "file").read_text() == "hello\n"
    onggi("create", "--name", "holds", "-v", "own:/data", filled)
    assert onggi.out("volume", "ls", "--format", "{{.Name}} {{.UsedBy}}") == "own holds"
    onggi("cp", "holds:/data/file", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "hello\n"
    onggi("rm", "holds")
    onggi("volume", "create", "-o", "type=none", "-o", "o=bind,ro", "-o", f"device={source}", "ro")
    done = onggi("run", "--rm", "-v", "ro:/x", filled, "touch", "/x/y", code=1)
    assert "Read-only file system" in done.stderr
    part = f"type=volume,src=part,dst=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={source},volume-subpath=sub"  # noqa: E501
    assert onggi.out("run", "--rm", "--mount", part, filled, "ls", "/x") == ""
    onggi("volume", "rm", "own", "ro", "part")
    assert (source / "file").exists()  # what is not ours is never removed


def test_options_of_a_volume_that_are_wrong(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    for words, problem in (
        (
            ("-d", "nosuch", "v1"),
            'error looking up volume plugin nosuch: plugin "nosuch" not found',
        ),
        (("-o", "nosuch=1", "v1"), 'create v1: invalid option: "nosuch"'),
        (("-o", "type=tmpfs", "v1"), 'missing required option: "device"'),
    ):
        assert problem in onggi("volume", "create", *words, code=1).stderr
    assert onggi.out("volume", "ls", "-q") == ""
    onggi(
        "volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}/no", "v1"
    )
    done = onggi("run", "--rm", "-v", "v1:/x", busybox, "true", code=125)
    assert "failed to mount local volume: mount" in done.stderr
    assert "no such file or directory" in done.stderr
    onggi("volume", "create", "-o", "type=nosuchfs", "-o", "device=none", "v2")
    done = onggi("run", "--rm", "-v", "v2:/x", busybox, "true", code=125)
    assert "failed to mount local volume" in done.stderr


def test_an_owner_for_what_is_mounted(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "own" / "sub").mkdir(parents=True)
    (tmp_path / "own" / "link").symlink_to("/etc/passwd")
    owner = Path("/etc/passwd").stat().st_uid
    mine = f"{tmp_path}/own:/own:U"
    touch = "touch /own/sub/x && stat -c %u /own /own/sub"
    found = onggi.out("run", "--rm", "-u", "1234:55", "-v", mine, busybox, "sh", "-c", touch)
    assert found.split() == ["1234", "1234"]
    assert (tmp_path / "own" / "link").lstat().st_gid == 55
    assert Path("/etc/passwd").stat().st_uid == owner
    onggi("run", "--rm", "-u", "33", "-v", "mine:/m:U", busybox, "touch", "/m/x")
    done = onggi("run", "--rm", "-v", "/usr:/x:U", busybox, "true", code=125)
    assert "the owner of /usr is not changed" in done.stderr


def test_only_what_nobody_named_goes_with_its_container(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--name", "first", "-v", "/x", busybox, "touch", "/x/y")
    name = onggi.out("volume", "ls", "-q")
    onggi("run", "--rm", "--volumes-from", "first", busybox, "ls", "/x/y")
    onggi("run", "--rm", "-v", f"{name}:/z", busybox, "ls", "/z/y")
    onggi("rm", "first")
    onggi("run", "--rm", "-v", f"{name}:/z", busybox, "ls", "/z/y")
    assert onggi.out("volume", "ls", "-q", "-f", "dangling=true") == name
    assert onggi.out("volume", "ls", "-q", "-f", "label=com.docker.volume.anonymous") == name
    onggi("volume", "create", "--label", "keep=1", "named")
    onggi("volume", "prune", "-f", "-a", "--filter", "label!=keep")
    assert onggi.out("volume", "ls", "-q") == "named"


def test_inspect_tells_mounts_from_volumes(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("create", "--name", "box", "-v", f"{tmp_path}:/a:ro,z", "-v", "named:/b", "-v", "/c",
          "--mount", "type=volume,src=other,dst=/d,volume-nocopy", "--tmpfs", "/e:size=1m",
          "--mount", "type=tmpfs,dst=/f,tmpfs-size=1m", busybox)  # fmt: skip
    (item,) = json.loads(onggi.out("inspect", "box"))
    host = item["HostConfig"]
    assert host["Binds"] == [f"{tmp_path}:/a:ro,z", "named:/b"]
    assert host["Tmpfs"] == {"/e": "size=1m"}
    assert host["Mounts"] == [
        {"Type": "volume", "Source": "other", "Target": "/d", "VolumeOptions": {"NoCopy": True}},
        {"Type": "tmpfs", "Target": "/f", "TmpfsOptions": {"SizeBytes": 1048576}},
    ]
    assert item["Config"]["Volumes"] == {"/c": {}}
    modes = {mount["Destination"]: mount["Mode"] for mount in item["Mounts"]}
    assert modes == {"/a": "ro,z", "/b": "z", "/c": "", "/d": "z", "/f": ""}
