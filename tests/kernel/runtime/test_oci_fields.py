"""Fields of config.json that docker has no flag for, each seen from inside."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_bundle import PROGRAM, Runtime

pytestmark = pytest.mark.root
BASE = 1_879_048_192


@pytest.fixture
def runtime(busybox_rootfs: Path, tmp_path: Path) -> Iterator[Runtime]:
    found = Runtime(tmp_path / "state", tmp_path / "bundle", busybox_rootfs)
    try:
        yield found
    finally:
        for name in found("list", "-q").split():
            found("delete", "--force", name)
        assert found("list", "-q") == ""


def map_ids(runtime: Runtime, base: int = BASE) -> None:
    """A user namespace, and a root directory that belongs to its root, as engines give it one."""
    linux = runtime.config["linux"]
    linux["namespaces"].append({"type": "user"})
    own = runtime.bundle / "rootfs"
    subprocess.run(["cp", "-a", runtime.config["root"]["path"], str(own)], check=True)
    subprocess.run(["chown", "-hR", f"{base}:{base}", str(own)], check=True)
    runtime.config["root"]["path"] = str(own)
    for key in ("uidMappings", "gidMappings"):
        linux[key] = [{"containerID": 0, "hostID": base, "size": 65536}]


# -- user namespaces


def test_a_user_namespace(runtime: Runtime) -> None:
    map_ids(runtime)
    script = (
        "id -u; cat /proc/self/uid_map; stat -c %u:%t,%T /dev/null; cat /proc/kcore; "
        "echo x >/dev/null"
    )
    runtime.args("sh", "-c", script)
    done = runtime.raw("run", "c1")
    lines = done.stdout.split("\n")
    assert lines[0] == "0"
    assert lines[1].split() == ["0", str(BASE), "65536"]
    assert lines[2] == "0:1,3"
    assert "denied" not in done.stderr


def test_exec_in_a_user_namespace(runtime: Runtime) -> None:
    map_ids(runtime)
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    pid = json.loads(runtime("state", "c1"))["pid"]
    assert os.stat(f"/proc/{pid}").st_uid in (BASE, 0)
    assert f"Uid:\t{BASE}" in Path(f"/proc/{pid}/status").read_text()
    out = runtime("exec", "c1", "sh", "-c", "id -u; readlink /proc/self/ns/user")
    assert out.split() == ["0", os.readlink(f"/proc/{pid}/ns/user")]
    assert runtime("exec", "--user", "5:6", "c1", "sh", "-c", "id -u; id -g").split() == ["5", "6"]


def test_a_user_namespace_by_path(runtime: Runtime, tmp_path: Path) -> None:
    map_ids(runtime)
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    pid = json.loads(runtime("state", "c1"))["pid"]
    kinds = {"user": "user", "network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
    for entry in runtime.config["linux"]["namespaces"]:
        if entry["type"] in kinds:
            entry["path"] = f"/proc/{pid}/ns/{kinds[entry['type']]}"
    for key in ("uidMappings", "gidMappings"):
        del runtime.config["linux"][key]
    runtime.config["linux"]["cgroupsPath"] += "2"
    names = " ".join(f"/proc/self/ns/{name}" for name in kinds.values())
    runtime.args("sh", "-c", f"id -u; for i in {names}; do readlink $i; done")
    out = runtime("run", "c2").split()
    assert out == ["0", *(os.readlink(f"/proc/{pid}/ns/{name}") for name in kinds.values())]


def test_two_containers_cannot_read_each_others_files(runtime: Runtime, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mine")
    secret.chmod(0o600)
    tmp_path.chmod(0o755)
    os.chown(secret, BASE + 65536, BASE + 65536)
    runtime.config["mounts"].append(
        {"destination": "/home", "type": "bind", "source": str(tmp_path), "options": ["bind"]}
    )
    map_ids(runtime)
    runtime.args("cat", "/home/secret")
    assert "/home/secret': Permission denied" in runtime.raw("run", "c1").stderr


def test_idmapped_mounts(runtime: Runtime, tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.mkdir()
    (place / "mine").write_text("x")
    map_ids(runtime)
    for target, options in (("/home", ["bind", "idmap"]), ("/tmp", ["rbind", "ridmap"])):
        runtime.config["mounts"].append(
            {"destination": target, "type": "bind", "source": str(place), "options": options}
        )
    runtime.config["root"]["readonly"] = False
    script = "stat -c %u /home/mine /tmp/mine; echo new > /home/new; stat -c %u /home/new"
    runtime.args("sh", "-c", script)
    assert runtime("run", "c1").split() == ["0", "0", "0"]
    assert (place / "new").stat().st_uid == 0


def test_an_idmapped_mount_without_a_user_namespace(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    tmp_path.chmod(0o755)
    mapping = [{"containerID": 0, "hostID": 4000, "size": 10}]
    runtime.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": str(tmp_path), "options": ["bind"],
         "uidMappings": mapping, "gidMappings": mapping}
    )  # fmt: skip
    runtime.args("stat", "-c", "%u:%g", "/mnt/f")
    assert runtime("run", "c1") == "4000:4000\n"


def test_what_cannot_be_idmapped(runtime: Runtime) -> None:
    map_ids(runtime)
    runtime.config["mounts"].append(
        {"destination": "/mnt", "type": "bind", "source": "/proc/sys", "options": ["bind", "idmap"]}
    )
    runtime.args("true")
    assert "/proc/sys: the file system cannot map user ids" in runtime.raw("run", "c1").stderr


def test_a_terminal_in_a_user_namespace(runtime: Runtime, tmp_path: Path) -> None:
    map_ids(runtime)
    runtime.args("sh", "-c", "tty; stat -c %u $(tty); id -u", terminal=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with listener:
        runtime.detached("create", "--console-socket", str(tmp_path / "s"), "c1")
        connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    runtime("start", "c1")
    seen = b""
    while seen.count(b"\n") < 3:
        seen += os.read(fds[0], 1000)
    os.close(fds[0])
    assert seen.split() == [b"/dev/pts/0", b"0", b"0"]


# -- time, propagation, scheduling


def test_a_time_namespace(runtime: Runtime) -> None:
    runtime.config["linux"]["namespaces"].append({"type": "time"})
    runtime.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}}
    runtime.args("sh", "-c", "cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time")
    uptime, inside = runtime("run", "c1").split()
    assert int(uptime) >= 1_000_000 + time.clock_gettime(time.CLOCK_BOOTTIME) - 100
    assert inside != os.readlink("/proc/self/ns/time")


@pytest.mark.parametrize(
    ("word", "tag"), [("rshared", "shared:"), ("slave", "master:"), ("private", ""), ("", "")]
)
def test_propagation_of_the_root(runtime: Runtime, word: str, tag: str) -> None:
    if word:
        runtime.config["linux"]["rootfsPropagation"] = word
    runtime.args("cat", "/proc/self/mountinfo")
    first = runtime("run", "c1").splitlines()[0]
    optional = first.split(" - ")[0].split()[6:]
    shared = "shared:" in Path("/proc/self/mountinfo").read_text().splitlines()[0]
    if word == "slave" and not shared:
        assert not optional  # the host's own mount is private: there is nothing to be slave of
    else:
        assert [entry[: len(tag)] for entry in optional] == ([tag] if tag else [])


def test_recursive_attributes(runtime: Runtime, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(inner)], check=True)
    try:
        for target, word in (("/mnt", "rro"), ("/media", "ro")):
            runtime.config["mounts"].append(
                {"destination": target, "type": "bind", "source": str(tmp_path),
                 "options": ["rbind", word]}
            )  # fmt: skip
        runtime.args("sh", "-c", "touch /mnt/inner/x; touch /media/inner/y; touch /media/z")
        err = runtime.raw("run", "c1").stderr
        assert "/mnt/inner/x: Read-only" in err
        assert "/media/z: Read-only" in err
        assert (inner / "y").exists()
    finally:
        subprocess.run(["umount", str(inner)], check=True)


def test_tmpcopyup(runtime: Runtime) -> None:
    runtime.config["mounts"].append(
        {"destination": "/etc", "type": "tmpfs", "options": ["tmpcopyup"]}
    )
    runtime.args("sh", "-c", "head -1 /etc/passwd; touch /etc/new && stat -f -c %T /etc")
    assert runtime("run", "c1").splitlines()[1:] == ["tmpfs"]


def test_tmpcopyup_of_more_than_there_is_room_for_is_an_error(
    runtime: Runtime, busybox_rootfs: Path
) -> None:
    room = (busybox_rootfs / "bin/busybox").stat().st_size - 65536
    options = ["tmpcopyup", f"size={room}"]
    runtime.config["mounts"].append({"destination": "/bin", "type": "tmpfs", "options": options})
    runtime.args("true")
    assert "no space left on device" in runtime.raw("run", "c1").stderr.lower()


def test_scheduling(runtime: Runtime) -> None:
    runtime.config["linux"]["personality"] = {"domain": "LINUX32"}
    runtime.args(
        "sh", "-c", "uname -m; cut -d' ' -f19,41 /proc/self/stat; ionice",
        scheduler={"policy": "SCHED_BATCH", "nice": 7},
        ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0},
    )  # fmt: skip
    assert runtime("run", "c1").splitlines() == ["i686", "7 3", "idle"]


def test_exec_on_chosen_processors(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    document = {
        "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/",
        "env": ["PATH=/bin"], "execCPUAffinity": {"initial": str(first), "final": str(last)},
    }  # fmt: skip
    (tmp_path / "p").write_text(json.dumps(document))
    assert runtime("exec", "--process", str(tmp_path / "p"), "c1").split()[-1] == str(last)


def test_a_fifo_is_a_device_too(runtime: Runtime) -> None:
    runtime.config["linux"]["devices"] = [{"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]
    runtime.args("stat", "-c", "%F %a", "/dev/pipe")
    assert runtime("run", "c1") == "fifo 600\n"


# -- the command line


def test_preserved_descriptors(runtime: Runtime) -> None:
    read, write = os.pipe()
    os.write(write, b"through")
    os.close(write)
    runtime.args("sh", "-c", "cat <&3; ls /proc/self/fd")
    command = [str(PROGRAM), "--root", str(runtime.root), "run", "--preserve-fds", "1", "c1"]
    third = ["bash", "-c", f'exec 3<&{read} {read}<&-; exec "$@"', "bash"]  # pytest has a 3
    try:
        done = subprocess.run(
            [*third, *command], cwd=runtime.bundle, pass_fds=(read,), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    finally:
        os.close(read)
    assert done.stdout.split() == ["through0", "1", "2", "3", "4"], done  # 4 is ls's own
    assert "descriptor 3: it is not open" in runtime.raw("run", "--preserve-fds", "1", "c2").stderr


def test_events(runtime: Runtime) -> None:
    runtime.args("sleep", "600")
    runtime.detached("run", "-d", "c1")
    event = json.loads(runtime("events", "--stats", "c1"))
    assert (event["type"], event["id"]) == ("stats", "c1")
    assert event["data"]["pids"]["current"] == 1
    assert event["data"]["memory"]["usage"]["usage"] > 0
    command = [*runtime.command, "--root", str(runtime.root), "events", "--interval=100ms", "c1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        for _ in range(3):
            assert json.loads(events.stdout.readline())["type"] == "stats"
        runtime("kill", "c1", "KILL")
        events.communicate(timeout=60)  # it ends with the container
    assert events.returncode == 0
    assert "is not running" in runtime.raw("events", "c1").stderr


def test_another_configuration_file(runtime: Runtime) -> None:
    runtime.args("true")
    (runtime.bundle / "other.json").write_text(
        (runtime.bundle / "config.json").read_text().replace('"true"', '"pwd"')
    )
    assert runtime("run", "--config", "other.json", "c1") == "/\n"


# -- seccomp


def test_a_listener(runtime: Runtime, tmp_path: Path) -> None:
    """The agent gets the descriptor and the state while the process waits for it."""
    runtime.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "s"),
        "listenerMetadata": "meta", "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}],
    }  # fmt: skip
    runtime.args("sleep", "60")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.settimeout(60)
    with listener:
        runtime.detached("create", "c1")
        runtime("start", "c1")
        connection, _ = listener.accept()
    with connection:
        text, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
    state = json.loads(text)
    pid = json.loads(runtime("state", "c1"))["pid"]
    assert len(fds) == 1
    assert os.readlink(f"/proc/self/fd/{fds[0]}") == "anon_inode:seccomp notify"
    os.close(fds[0])
    assert (state["fds"], state["pid"], state["metadata"]) == (["seccompFd"], pid, "meta")
    assert state["state"]["id"] == "c1"


def test_a_listener_that_nobody_serves(runtime: Runtime, tmp_path: Path) -> None:
    runtime.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(tmp_path / "nobody"),
        "syscalls": [{"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"}],
    }  # fmt: skip
    runtime.args("true")
    assert "seccomp listener" in runtime.raw("run", "c1").stderr


# -- without root


def test_rootless(busybox_rootfs: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="onggi-", dir="/var/tmp"))
    try:
        subprocess.run(["cp", "-a", str(busybox_rootfs), str(home / "rootfs")], check=True)
        subprocess.run(["chown", "-hR", "12345:12345", str(home)], check=True)
        alone = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups"]
        command = [*alone, str(PROGRAM), "--root", str(home / "state")]
        subprocess.run([*command, "spec", "--rootless"], cwd=home, check=True)
        config = json.loads((home / "config.json").read_text())
        config["process"] |= {"terminal": False, "args": [
            "sh", "-c", "id -u; cat /proc/self/uid_map; echo >/dev/null; hostname"
        ]}  # fmt: skip
        (home / "config.json").write_text(json.dumps(config))
        done = subprocess.run(
            [*command, "run", "c1"], cwd=home, capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        shutil.rmtree(home)
    assert done.stdout.split() == ["0", "0", "12345", "1", "onggi"], done
    assert "nothing is limited" in done.stderr
