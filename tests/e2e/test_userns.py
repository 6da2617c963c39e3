"""`--userns`: ids of its own for a container, and nothing of them on the disk."""

import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root
Onggi = Any
FIRST, SIZE = 0x7000_0000, 65536


@pytest.mark.parametrize("mode", ["auto", "private"])
def test_root_is_nobody_outside(onggi: Onggi, busybox: str, mode: str) -> None:
    onggi("run", "-d", "--name", "mapped", "--userns", mode, busybox, "sleep", "600")
    try:
        shown = json.loads(onggi("inspect", "mapped").stdout)[0]
        assert shown["HostConfig"]["UsernsMode"] == mode
        status = Path(f"/proc/{shown['State']['Pid']}/status").read_text()
        uid = int(next(line for line in status.splitlines() if line.startswith("Uid")).split()[1])
        assert uid >= FIRST
        assert uid % SIZE == 0
        out = onggi("exec", "mapped", "sh", "-c", "id -u; cat /proc/self/uid_map").stdout.split()
        assert out == ["0", "0", str(uid), str(SIZE)]
        assert onggi("exec", "-t", "mapped", "sh", "-c", "stat -c %u $(tty)").stdout == "0\n"
        assert onggi(
            "exec", "-u", "5", "mapped", "sh", "-c", "echo x >/dev/stdout; id -u"
        ).stdout == ("x\n5\n")
    finally:
        onggi("rm", "-f", "mapped")


def test_the_disk_keeps_the_containers_ids(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    script = (
        "stat -c %u /bin/sh /etc/hosts /data/mine /vol /; echo new > /data/new; touch /etc/made; "
        "chown 7 /etc/made; ping -c 1 127.0.0.1 >/dev/null && echo pong"
    )
    words = ("run", "--name", "mapped", "--userns", "auto", "-v", f"{tmp_path}:/data")
    out = onggi(*words, "-v", "mappedvol:/vol", busybox, "sh", "-c", script).stdout.split()
    assert out == ["0", "0", "0", "0", "0", "pong"]
    assert (tmp_path / "new").stat().st_uid == 0
    onggi("commit", "mapped", "mapped-image")
    seen = onggi("run", "--rm", "mapped-image", "stat", "-c", "%u", "/etc/made").stdout
    onggi("rm", "mapped")
    onggi("rmi", "mapped-image")
    onggi("volume", "rm", "mappedvol")
    assert seen == "7\n"


def test_an_image_and_a_part_of_a_volume_in_it(onggi: Onggi, busybox: str) -> None:
    volume = "type=volume,src=mappedpart,dst=/part,volume-subpath=sub"
    try:
        onggi(
            "run",
            "--rm",
            "-v",
            "mappedpart:/v",
            busybox,
            "sh",
            "-c",
            "mkdir /v/sub; echo x>/v/sub/x",
        )
        words = ("run", "--rm", "--userns", "auto", "--mount", volume)
        words = (*words, "--mount", f"type=image,src={busybox},dst=/i,ro")
        script = "cat /part/x; stat -c %u /part/x /i/bin/sh; echo y > /part/y"
        for _ in range(2):
            done = onggi(*words, busybox, "sh", "-c", script)
            assert (done.stdout, done.stderr) == ("x\n0\n0\n", "")
    finally:
        onggi("volume", "rm", "-f", "mappedpart")


@pytest.mark.sec("B9")
def test_no_two_maps_overlap(onggi: Onggi, busybox: str) -> None:
    def one(number: int) -> str:
        words = ("run", "--name", f"map{number}", "--userns", "auto", "--network", "none", busybox)
        return str(onggi(*words, "cat", "/proc/self/uid_map").stdout.split()[1])

    with ThreadPoolExecutor(6) as pool:
        bases = list(pool.map(one, range(24)))
    onggi("rm", *(f"map{number}" for number in range(24)))
    assert len(set(bases)) == 24
    assert onggi("run", "--rm", "--userns", "auto", busybox, "true").returncode == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--privileged",), "privileged mode is incompatible with user namespaces"),
        (("--network", "host"), "cannot share the host's network namespace"),
        (("--pid", "host"), "cannot share PID namespace"),
        (("--ipc", "host"), "cannot share IPC namespace"),
        (("--runtime", "runc"), "needs onggi's own runtime"),
    ],
)
def test_what_cannot_go_together(
    onggi: Onggi, busybox: str, words: tuple[str, ...], text: str
) -> None:
    done = onggi("create", "--userns", "auto", *words, busybox, code=None)
    assert text in done.stderr
    assert done.returncode != 0


def test_a_source_that_cannot_be_mapped(onggi: Onggi, busybox: str) -> None:
    words = ("run", "--rm", "--userns", "auto", "-v", "/proc/sys:/data", busybox, "true")
    done = onggi(*words, code=125)
    assert "/proc/sys: the file system cannot map user ids" in done.stderr


def test_copies_to_and_from_a_running_one_have_its_own_ids(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("in")
    (tmp_path / "in" / "link").symlink_to("file")
    onggi("run", "-d", "--name", "mapped", "--userns", "auto", "-v", "mappedcp:/vol", busybox,
          "sh", "-c", "echo mine > /mine; chown 7:8 /mine; exec sleep 600")  # fmt: skip
    try:
        onggi("cp", f"{tmp_path}/in", "mapped:/vol/in")
        onggi("cp", f"{tmp_path}/in/file", "mapped:/made")
        shown = onggi.out("exec", "mapped", "stat", "-c", "%u:%g", "/made", "/vol/in/link")
        assert shown.split() == ["0:0", "0:0"]
        onggi("exec", "mapped", "sh", "-c", "echo more >> /vol/in/file")  # it is its own
        onggi("cp", "-a", "mapped:/mine", str(tmp_path / "out"))
        status = (tmp_path / "out").stat()
        assert (status.st_uid, status.st_gid, (tmp_path / "out").read_text()) == (7, 8, "mine\n")
        onggi("cp", "-a", str(tmp_path / "out"), "mapped:/back")
        assert onggi.out("exec", "mapped", "stat", "-c", "%u:%g", "/back") == "7:8"
        os.chown(tmp_path / "out", 70000, 0)
        done = onggi("cp", "-a", str(tmp_path / "out"), "mapped:/back", code=1)
        assert "has no number in the container's user namespace" in done.stderr
        onggi("export", "-o", str(tmp_path / "all.tar"), "mapped")
        with tarfile.open(tmp_path / "all.tar") as archive:
            member = archive.getmember("mine")
            assert (member.uid, member.gid) == (7, 8)
    finally:
        onggi.remove_containers()
        onggi("volume", "rm", "-f", "mappedcp")
