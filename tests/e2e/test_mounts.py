"""--mount in all its types, --volumes-from, propagation."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


def test_an_image_as_a_mount(onggi: Onggi, busybox: str) -> None:
    script = "ls /i; echo mine > /i/etc/f && cat /i/etc/f"
    mount = f"type=image,src={busybox},dst=/i"
    out = onggi.out("run", "--name", "mounted", "--mount", mount, busybox, "sh", "-c", script)
    assert {"bin", "etc", "mine"} <= set(out.split())
    (found,) = json.loads(onggi.out("inspect", "mounted"))
    assert found["Mounts"][0]["Type"] == "image" and found["Mounts"][0]["Source"] == busybox
    assert onggi("run", "--rm", busybox, "cat", "/etc/f", code=1).stdout == "", "the image is whole"


def test_a_part_of_an_image_read_only(onggi: Onggi, busybox: str) -> None:
    mount = f"type=image,src={busybox},dst=/i,ro,image-subpath=etc"
    done = onggi(
        "run", "--rm", "--mount", mount, busybox, "sh", "-c", "ls /i/passwd; touch /i/x", code=1
    )
    assert done.stdout == "/i/passwd\n" and "Read-only file system" in done.stderr
    bad = onggi("run", "--rm", "--mount", f"type=image,src={busybox},dst=/i,image-subpath=none",
                busybox, "true", code=125)  # fmt: skip
    assert "invalid image-subpath 'none'" in bad.stderr
    unknown = onggi(
        "run", "--rm", "--mount", "type=image,src=nosuch,dst=/i", busybox, "true", code=125
    )
    assert "No such image: nosuch" in unknown.stderr


def test_a_part_of_a_volume(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--rm", "-v", "vol:/v", busybox, "sh", "-c",
          "mkdir /v/sub; echo in > /v/sub/f; ln -s /etc /v/link")  # fmt: skip
    try:
        mount = "type=volume,src=vol,dst=/s,volume-subpath="
        assert onggi.out("run", "--rm", "--mount", f"{mount}sub", busybox, "cat", "/s/f") == "in"
        for bad in ("link", "../..", "none"):
            done = onggi("run", "--rm", "--mount", mount + bad, busybox, "true", code=125)
            assert f"invalid volume-subpath '{bad}'" in done.stderr
        onggi("run", "--mount", "type=volume,dst=/s,volume-subpath=none", busybox, code=125)
        assert onggi.out("volume", "ls", "-q") == "vol", "nothing of it is left"
    finally:
        onggi("volume", "rm", "vol")


def test_a_volume_with_labels_and_without_a_copy(onggi: Onggi, busybox: str) -> None:
    mount = "type=volume,src=plain,dst=/etc,volume-nocopy,volume-label=a=b,volume-label=c"
    try:
        assert onggi.out("run", "--rm", "--mount", mount, busybox, "ls", "/etc").split() == [
            "hostname", "hosts", "resolv.conf",
        ]  # fmt: skip
        (found,) = json.loads(onggi.out("volume", "inspect", "plain"))
        assert found["Labels"] == {"a": "b", "c": ""}
    finally:
        onggi("volume", "rm", "plain")


def test_volumes_from(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("run", "--name", "donor", "-v", "/data", "-v", f"{tmp_path}:/h", busybox, "sh", "-c",
          "echo kept > /data/f")  # fmt: skip
    script = "cat /data/f; touch /h/x"
    assert (
        onggi.out("run", "--rm", "--volumes-from", "donor", busybox, "sh", "-c", script) == "kept"
    )
    assert (tmp_path / "x").exists()
    done = onggi("run", "--rm", "--volumes-from", "donor:ro", busybox, "touch", "/h/y", code=1)
    assert "Read-only file system" in done.stderr
    own = onggi.out(
        "run", "--rm", "--volumes-from", "donor", "--tmpfs", "/data", busybox, "ls", "/data"
    )
    assert own == "", "one's own mount stands before an inherited one"
    assert onggi.out("start", "-a", "donor") == ""
    assert "kept" in onggi.out("run", "--rm", "--volumes-from", "donor", busybox, "cat", "/data/f")
    for bad, words in (("donor:zz", "invalid mode: zz"), ("none", "No such container: none")):
        assert (
            words in onggi("run", "--rm", "--volumes-from", bad, busybox, "true", code=125).stderr
        )


def test_tmpfs(onggi: Onggi, busybox: str) -> None:
    mount = "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700"
    script = "stat -c %a /t; grep ' /t ' /proc/mounts"
    out = onggi.out("run", "--rm", "--mount", mount, busybox, "sh", "-c", script)
    assert out.startswith("700\n") and "size=1024k" in out


@pytest.fixture
def nested(tmp_path: Path) -> Iterator[Path]:
    """A directory with a mount below it, shared."""
    outer = tmp_path / "outer"
    (outer / "inner").mkdir(parents=True)
    commands = (
        ["mount", "-t", "tmpfs", "outer", outer], ["mount", "--make-shared", outer],
    )  # fmt: skip
    for command in commands:
        subprocess.run(command, check=True)
    (outer / "inner").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", outer / "inner"], check=True)
    (outer / "inner/f").write_text("below")
    yield outer
    subprocess.run(["umount", "-R", outer], check=True)


def test_recursion(onggi: Onggi, busybox: str, nested: Path) -> None:
    bind = f"type=bind,src={nested},dst=/m"
    look = ["sh", "-c", "cat /m/inner/f; touch /m/inner/new && echo written"]

    def out(options: str) -> str:
        return onggi("run", "--rm", "--mount", bind + options, busybox, *look, code=None).stdout

    assert out("") == "belowwritten\n"
    assert out(",bind-recursive=disabled") == "written\n"
    assert out(",bind-nonrecursive") == "written\n"
    assert out(",ro") == "below"
    assert out(",ro,bind-recursive=writable") == "belowwritten\n"
    assert out(",ro,bind-recursive=readonly,bind-propagation=rprivate") == "below"


def test_propagation(onggi: Onggi, busybox: str, nested: Path) -> None:
    for propagation, seen in (("rslave", "late"), ("rprivate", "")):
        bind = f"type=bind,src={nested},dst=/m,bind-propagation={propagation}"
        onggi("run", "-d", "--name", "spread", "--mount", bind, busybox, "sleep", "60")
        late = nested / "late"
        late.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "late", late], check=True)
        (late / "late").write_text("")
        try:
            assert onggi.out("exec", "spread", "ls", "/m/late") == seen
        finally:
            onggi("rm", "-f", "spread")
            subprocess.run(["umount", late], check=True)
            late.rmdir()
