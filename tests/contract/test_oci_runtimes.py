"""The same bundles on onggi-runtime, crun and runc: what one does, all three do.

Debian's crun and runc refuse a hybrid cgroup layout, so they run in a mount namespace without its
cgroup2 mount. What a runtime is too old for is skipped by name, and counted by pytest.
"""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_bundle import PROGRAM, Runtime

pytestmark = pytest.mark.root
NAMES = ("onggi-runtime", "crun", "runc")
ALONE = (
    "unshare", "--mount", "--propagation", "slave", "sh", "-c",
    'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh",
)  # fmt: skip


@pytest.fixture(params=NAMES)
def runtime(
    request: pytest.FixtureRequest, busybox_rootfs: Path, tmp_path: Path
) -> Iterator[Runtime]:
    name = str(request.param)
    program = str(PROGRAM) if name == "onggi-runtime" else shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    found = Runtime(tmp_path / "state", tmp_path / "bundle", busybox_rootfs)
    found.config["ociVersion"] = "1.0.2"
    found.config["root"]["readonly"] = False
    if name != "onggi-runtime":
        found.command = (*ALONE, program)
    try:
        yield found
    finally:
        for line in found("list", "-q").split():
            found.raw("delete", "--force", line)


def is_named(runtime: Runtime, name: str) -> bool:
    return runtime.command[-1].endswith(name)


def sh(runtime: Runtime, script: str, **process: Any) -> str:
    runtime.args("sh", "-c", script, **process)
    return runtime("run", "c1")


def test_exit_code_and_streams(runtime: Runtime) -> None:
    runtime.args("sh", "-c", "echo out; echo err >&2; exit 7")
    done = runtime.raw("run", "c1")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_a_signal_ends_it(runtime: Runtime) -> None:
    runtime.args("sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    assert runtime.raw("run", "c1").returncode == 137


def test_environment_directory_and_user(runtime: Runtime) -> None:
    user = {"uid": 1000, "gid": 50, "additionalGids": [7, 8]}
    env = ["PATH=/bin", "A=b c"]
    out = sh(runtime, "pwd; id -u; id -G; echo $A", user=user, env=env, cwd="/etc")
    lines = out.splitlines()
    assert [lines[0], lines[1], lines[3]] == ["/etc", "1000", "b c"]
    assert set(lines[2].split()) == {"50", "7", "8"}


def test_capabilities(runtime: Runtime) -> None:
    out = sh(runtime, "grep Cap /proc/self/status")
    sets = dict(line.split(":\t") for line in out.splitlines())
    assert sets["CapBnd"] == sets["CapEff"] == sets["CapPrm"] == "0000000020000420"
    assert sets["CapAmb"] == "0000000000000000"


def test_ambient_capabilities_of_a_user(runtime: Runtime) -> None:
    few = ["CAP_NET_BIND_SERVICE"]
    keys = ("bounding", "effective", "permitted", "inheritable", "ambient")
    out = sh(
        runtime, "grep -E 'CapEff|CapAmb' /proc/self/status",
        user={"uid": 1000, "gid": 1000}, capabilities=dict.fromkeys(keys, few),
    )  # fmt: skip
    assert out.split() == ["CapEff:", "0000000000000400", "CapAmb:", "0000000000000400"]


def test_limits_of_the_process(runtime: Runtime) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    out = sh(runtime, "ulimit -Sn; ulimit -Hn; umask; grep NoNewPrivs /proc/self/status",
             rlimits=limits, noNewPrivileges=True)  # fmt: skip
    assert out.split() == ["100", "200", "0022", "NoNewPrivs:", "1"]


def test_names(runtime: Runtime) -> None:
    runtime.config["hostname"] = "somebody"
    assert sh(runtime, "hostname") == "somebody\n"


def test_mounts(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("content")
    runtime.config["mounts"] += [
        {"destination": "/mnt", "type": "bind", "source": str(tmp_path / "data"),
         "options": ["rbind", "ro"]},
        {"destination": "/opt/deep", "type": "tmpfs", "source": "tmpfs",
         "options": ["size=64k", "noexec"]},
        {"destination": "/etc/one", "type": "bind", "source": str(tmp_path / "data/file"),
         "options": ["bind"]},
    ]  # fmt: skip
    script = "cat /mnt/file /etc/one; stat -f -c %T /opt/deep; touch /mnt/x 2>/dev/null; echo $?"
    assert sh(runtime, script) == "contentcontenttmpfs\n1\n"


def test_masked_and_read_only_paths(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["maskedPaths"], linux["readonlyPaths"] = ["/proc/kcore", "/sys/firmware"], ["/proc/sys"]
    script = (
        "cat /proc/kcore | wc -c; ls /sys/firmware | wc -l; "
        "echo x 2>/dev/null >/proc/sys/kernel/domainname || echo ro"
    )
    assert sh(runtime, script).split() == ["0", "0", "ro"]


def test_a_read_only_root(runtime: Runtime) -> None:
    runtime.config["root"]["readonly"] = True
    assert sh(runtime, "touch /x 2>/dev/null || echo ro") == "ro\n"


def test_devices(runtime: Runtime) -> None:
    linux = runtime.config["linux"]
    linux["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3}
    ]
    linux["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
    ]
    script = "stat -c '%a %u %t,%T' /dev/mine; head -c1 /dev/mine | wc -c; ls /dev/null /dev/fd -d"
    assert sh(runtime, script).split() == ["640", "3", "1,5", "1", "/dev/fd", "/dev/null"]


def test_namespaces_of_its_own(runtime: Runtime) -> None:
    names = ("mnt", "pid", "net", "ipc", "uts")
    out = sh(runtime, "; ".join(f"readlink /proc/self/ns/{name}" for name in names))
    host = [os.readlink(f"/proc/self/ns/{name}") for name in names]
    assert len(set(out.split()) | set(host)) == 2 * len(names)


def test_a_namespace_by_path(runtime: Runtime) -> None:
    for entry in runtime.config["linux"]["namespaces"]:
        if entry["type"] == "uts":
            entry["path"] = f"/proc/{os.getpid()}/ns/uts"
    del runtime.config["hostname"]
    assert sh(runtime, "readlink /proc/self/ns/uts").strip() == os.readlink("/proc/self/ns/uts")


def test_sysctls(runtime: Runtime) -> None:
    runtime.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "65536"}
    out = sh(runtime, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax")
    assert out.split() == ["1", "65536"]


def test_seccomp(runtime: Runtime) -> None:
    runtime.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ],
    }  # fmt: skip
    runtime.args("mkdir", "/x")
    done = runtime.raw("run", "c1")
    assert (done.returncode, "Function not implemented" in done.stderr) == (1, True)


def test_limits_of_the_group(runtime: Runtime) -> None:
    runtime.config["linux"]["resources"] |= {
        "memory": {"limit": 64 << 20}, "pids": {"limit": 33}, "cpu": {"shares": 512},
    }  # fmt: skip
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    path = runtime.config["linux"]["cgroupsPath"]
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("cgroup v2: other files")
    for file, value in (
        ("memory/{}/memory.limit_in_bytes", 64 << 20), ("pids/{}/pids.max", 33),
        ("cpu/{}/cpu.shares", 512),
    ):  # fmt: skip
        assert int(Path("/sys/fs/cgroup", file.format(path.strip("/"))).read_text()) == value


def test_the_life_of_a_container(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sleep", "60")
    runtime.detached("create", "--pid-file", str(tmp_path / "pid"), "c1")
    state = json.loads(runtime("state", "c1"))
    assert (state["status"], state["id"], state["bundle"]) == ("created", "c1", str(runtime.bundle))
    assert state["pid"] == int((tmp_path / "pid").read_text())
    runtime("start", "c1")
    assert runtime.status("c1") == "running"
    runtime("pause", "c1")
    assert runtime.status("c1") == "paused"
    runtime("resume", "c1")
    assert runtime.raw("delete", "c1").returncode != 0  # it runs
    assert runtime.raw("create", "c1").returncode != 0  # the name is taken
    runtime("kill", "c1", "KILL")
    runtime("delete", "--force", "c1")
    assert runtime.raw("state", "c1").returncode != 0


def test_exec(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sleep", "60")
    runtime.detached("run", "-d", "c1")
    words = ("exec", "--env", "A=b", "--env", "PATH=/bin", "--cwd", "/etc", "c1")
    assert runtime(*words, "sh", "-c", "echo $A; pwd") == "b\n/etc\n"
    runtime("exec", "c1", "sh", "-c", "exit 9", code=9)
    document = {"args": ["id", "-u"], "cwd": "/", "env": ["PATH=/bin"],
                "user": {"uid": 5, "gid": 5}}  # fmt: skip
    (tmp_path / "p").write_text(json.dumps(document))
    assert runtime("exec", "--process", str(tmp_path / "p"), "c1") == "5\n"


def test_a_terminal(runtime: Runtime, tmp_path: Path) -> None:
    runtime.args("sh", "-c", "test -t 0 && tty", terminal=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    listener.settimeout(60)
    with listener:
        runtime.detached("create", "--console-socket", str(tmp_path / "s"), "c1")
        connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    runtime("start", "c1")
    seen = b""
    while not seen.endswith(b"\n"):
        seen += os.read(fds[0], 1000)
    os.close(fds[0])
    assert seen == b"/dev/pts/0\r\n"


@pytest.mark.parametrize(
    "kind", ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
)
def test_hooks_read_the_state(runtime: Runtime, tmp_path: Path, kind: str) -> None:
    script = f"cat > {tmp_path}/seen"
    runtime.config["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]
    }
    runtime.args("sleep", "60")
    runtime.detached("create", "c1")
    if not (is_named(runtime, "runc") and kind == "poststart"):  # Debian's runs it at create
        before = kind in ("prestart", "createRuntime", "createContainer")
        assert (tmp_path / "seen").exists() == before
    runtime("start", "c1")
    runtime("delete", "--force", "c1")
    state = json.loads((tmp_path / "seen").read_text())
    assert (state["id"], state["bundle"]) == ("c1", str(runtime.bundle))


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer"])
def test_a_hook_that_fails_keeps_it_from_being_made(runtime: Runtime, kind: str) -> None:
    runtime.config["hooks"] = {kind: [{"path": "/bin/false"}]}
    runtime.args("true")
    assert runtime.raw("create", "c1").returncode != 0
    assert runtime.raw("state", "c1").returncode != 0


def test_a_command_that_is_not_there(runtime: Runtime) -> None:
    runtime.args("nope")
    done = runtime.raw("create", "c1")
    assert done.returncode == 1
    assert "not found in $PATH" in done.stderr


def test_a_user_namespace(runtime: Runtime, busybox_rootfs: Path) -> None:
    import subprocess

    own = runtime.bundle / "rootfs"
    subprocess.run(["cp", "-a", str(busybox_rootfs), str(own)], check=True)
    subprocess.run(["chown", "-hR", "100000:100000", str(own)], check=True)
    for directory in (runtime.bundle, *runtime.bundle.parents):  # others than us look it up
        if "/pytest-of-" in str(directory):
            directory.chmod(0o755)
    runtime.config["root"]["path"] = str(own)
    linux = runtime.config["linux"]
    linux["namespaces"].append({"type": "user"})
    for key in ("uidMappings", "gidMappings"):
        linux[key] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    out = sh(runtime, "id -u; cat /proc/self/uid_map; touch /x; stat -c %u /x; echo 1 > /dev/null")
    assert out.split() == ["0", "0", "100000", "65536", "0"]
    assert (own / "x").stat().st_uid == 100000


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("process", "args"), []),
        (("linux", "namespaces"), [{"type": "bogus"}]), (("root",), {}),
        (("hooks",), {"prestart": [{"path": "/nowhere/at/all"}]}),
    ],
)  # fmt: skip
def test_what_all_refuse(runtime: Runtime, path: tuple[str, ...], value: Any) -> None:
    runtime.args("true")
    place = runtime.config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    runtime.write()
    done = runtime.raw("create", "c1")
    assert done.returncode != 0
    assert done.stderr
    assert runtime.raw("state", "c1").returncode != 0
