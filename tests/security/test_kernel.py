"""SECURITY 1B: what of the kernel a container can reach."""

import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from attackers import COMPILER, Canary, compiled
from rawtar import member, pax

pytestmark = pytest.mark.root
Onggi = Any  # conftest.Onggi: conftests cannot be imported by name
Image = Callable[..., str]

# What the probe must hear in a container with the defaults.
EXPECTED = {
    "unshare-user": "EPERM", "unshare-mount": "EPERM", "unshare-cgroup": "EPERM",
    "clone-user": "EPERM", "clone3": "ENOSYS", "setns": "EPERM", "mount": "EPERM",
    "mount-cgroup": "EPERM", "fsopen": "EPERM", "open_tree": "EPERM", "pivot_root": "EPERM",
    "umount": "EPERM", "bpf": "EPERM", "perf_event_open": "EPERM", "userfaultfd": "EPERM",
    "io_uring_setup": "EPERM", "keyctl": "EPERM", "keyctl-read": "EPERM", "add_key": "EPERM",
    "request_key": "EPERM", "open_by_handle_at": "EPERM", "syslog": "EPERM", "kexec_load": "EPERM",
    "init_module": "EPERM", "swapon": "EPERM", "reboot": "EPERM", "sethostname": "EPERM",
    "socket-alg": "EPERM", "socket-alg-high": "EPERM",
    "socket-vsock": "EPERM", "open-disk": "EPERM", "open-loop": "EPERM", "open-mem": "EPERM",
    "open-kmsg": "EPERM", "kmsg": "ENOENT", "nice": "EPERM", "double-chroot": "EXDEV",
}  # fmt: skip
ROWS = {
    "B4": ("open_by_handle_at",), "B6": ("io_uring_setup",),
    "B7": ("socket-alg", "socket-alg-high", "socket-vsock"),
    "B8": ("keyctl", "keyctl-read", "add_key", "request_key"),
    "B10": ("unshare-user", "clone-user", "clone3", "setns"),
    "B11": ("syslog", "kmsg", "open-kmsg"), "B12": ("open-disk", "open-loop", "open-mem"),
}  # fmt: skip


def probe(onggi: Onggi, programs: Path, *flags: str) -> dict[str, str]:
    text = onggi.sh("/p/probe", "-v", f"{programs}:/p:ro", *flags)
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


@pytest.mark.sec("B4")
@pytest.mark.sec("B6")
@pytest.mark.sec("B7")
@pytest.mark.sec("B8")
@pytest.mark.sec("B10")
@pytest.mark.sec("B11")
@pytest.mark.sec("B12")
def test_what_a_container_may_not_do(onggi: Onggi, programs: Path) -> None:
    found = probe(onggi, programs)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED
    if os.uname().machine == "x86_64":
        assert found["x32-getpid"] in ("EPERM", "ENOSYS")


@pytest.mark.sec("B4")
@pytest.mark.sec("B8")
def test_control_the_probe_can_succeed(onggi: Onggi, programs: Path) -> None:
    """Control: without the filter and with every right the same probe gets through."""
    found = probe(onggi, programs, "--privileged")
    through = {name for name in EXPECTED if found.get(name) == "OK"}
    assert {"unshare-mount", "keyctl", "io_uring_setup"} <= through
    one = probe(onggi, programs, "--cap-add", "DAC_READ_SEARCH")
    assert one["open_by_handle_at"] == "ESTALE" or one["open_by_handle_at"] == "OK"


@pytest.mark.sec("B1")
def test_no_way_to_a_release_agent(onggi: Onggi, canary: Canary) -> None:
    text = onggi.sh(
        "mkdir -p /tmp/c; mount -t cgroup -o memory c /tmp/c; mount -t cgroup2 c /tmp/c;"
        "unshare -UrmC sh -c 'mount -t cgroup -o memory c /tmp/c; echo x > /tmp/c/release_agent';"
        "find /sys/fs/cgroup -name release_agent;"
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do echo 1 > $d/notify_on_release;"
        "echo x > $d/release_agent; mkdir $d/child; done; echo end"
    )
    assert "release_agent\n" not in text.replace("create /", "")
    assert "end" in text
    for path in Path("/sys/fs/cgroup").glob("*/onggi/*/child"):
        pytest.fail(f"made {path}")


@pytest.mark.sec("B1")
def test_a_privileged_container_sees_no_release_agent_from_its_own_namespace(
    onggi: Onggi,
) -> None:
    """And the control: with the host's namespace it does, and one line warns of it."""
    if not list(Path("/sys/fs/cgroup").glob("*/release_agent")):
        pytest.skip("the root of cgroup v1 is not to be seen here")
    script = "mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c; ls /tmp/c/release_agent"
    flags = ["--rm", "--network", "none", "--privileged"]
    own = onggi("run", *flags, "busybox", "sh", "-c", script, code=1)
    assert "No such file" in own.stderr and "WARNING" not in own.stderr
    shared = onggi("run", *flags, "--cgroupns", "host", "busybox", "sh", "-c", script)
    assert shared.stdout == "/tmp/c/release_agent\n"
    assert "WARNING: a privileged container in the host's cgroup namespace" in shared.stderr


HOSTILE = [
    ("kernel.core_pattern", "|/x"), ("kernel/core_pattern", "|/x"), ("kernel.modprobe", "/x"),
    ("kernel.sysrq", "1"), ("kernel.hotplug", "/x"), ("kernel.panic", "1"), ("vm.drop_caches", "3"),
    ("fs.suid_dumpable", "2"), ("fs.file-max", "1"), ("fs.binfmt_misc.register", "x"),
    ("fs.mqueue../../kernel.core_pattern", "|/x"), ("fs.mqueue/../../kernel/core_pattern", "|/x"),
    ("net.ipv4.ip_forward", "1+kernel.core_pattern=|/x"), ("net.ipv4.ip_forward", "1\nx"),
    ("net/ipv4/../../kernel/core_pattern", "|/x"), ("net.ipv4.//ip_forward", "1"),
    ("net..ipv4", "1"), (".net.ipv4.ip_forward", "1"), ("net.ipv4.ip_forward.", "1"), ("net", "1"),
    ("", "1"), ("/", "1"), ("..", "1"), ("net.ipv4.ip_forward\x00x", "1"), ("NET.ipv4.x", "1"),
    ("kernel.shmmax/../core_pattern", "|/x"), ("kernel.domainname/../modprobe", "/x"),
    ("user.max_user_namespaces", "1"), ("dev.cdrom.debug", "1"), ("net.ipv4.ip_forward", "\x1b[2J"),
]  # fmt: skip


@pytest.mark.sec("B2")
def test_hostile_sysctls(onggi: Onggi, canary: Canary) -> None:
    assert len(HOSTILE) >= 30
    for key, value in HOSTILE:
        if "\0" in key:
            continue  # no argument can hold it
        done = onggi("run", "--rm", "--sysctl", f"{key}={value}", "busybox", "true", code=None)
        assert done.returncode in (1, 125, 126, 127), (key, value)


@pytest.mark.sec("B2")
def test_host_settings_are_read_only(onggi: Onggi, canary: Canary) -> None:
    names = "kernel/core_pattern kernel/modprobe kernel/sysrq vm/drop_caches fs/suid_dumpable"
    text = onggi.sh(
        f"for n in {names}; do echo 1 > /proc/sys/$n && echo WROTE $n; done;"
        "for f in /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/power/state"
        " /proc/irq/default_smp_affinity /sys/module/kernel/parameters/panic; do"
        " echo 1 > $f && echo WROTE $f; done; mount -o remount,rw /proc/sys && echo WROTE remount;"
        "echo x > /proc/sys/fs/binfmt_misc/register && echo WROTE binfmt; echo end"
    )
    assert "WROTE" not in text and "end" in text


@pytest.mark.sec("B3")
def test_nothing_is_inheritable_or_ambient(onggi: Onggi) -> None:
    script = "grep -E '^Cap(Inh|Amb)' /proc/self/status /proc/1/status"
    onggi("run", "-d", "--name", "box", "--health-cmd", script + " > /tmp/h", "--health-interval",
          "1s", "busybox", "sleep", "100")  # fmt: skip
    texts = [
        onggi.out("run", "--rm", "busybox", "sh", "-c", script),
        onggi.out("run", "--rm", "--cap-add", "ALL", "-u", "1000", "busybox", "sh", "-c", script),
        onggi.out("exec", "box", "sh", "-c", script),
        onggi.out("exec", "-u", "1000", "box", "sh", "-c", script),
        onggi.out("exec", "--privileged", "box", "sh", "-c", script),
        onggi.until("Cap", "exec", "box", "cat", "/tmp/h"),
    ]
    for text in texts:
        assert {line.split()[-1] for line in text.splitlines()} == {"0" * 16}, text


@pytest.mark.sec("B3")
def test_inheritable_file_capabilities_give_nothing(onggi: Onggi, image: Image) -> None:
    """cap_net_bind_service+i on a file of the image, executed by a user."""
    import struct

    value = struct.pack("<5I", 0x02000000, 0, 1 << 10, 0, 0)
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("no busybox on this host")
    name = image(
        "filecap",
        pax((b"SCHILY.xattr.security.capability", value)),
        member(b"opt/busybox", data=busybox.read_bytes(), mode=b"0000755\0"),
    )
    text = onggi.out(
        "run", "--rm", "-u", "1000", name, "/opt/busybox", "grep", "Cap", "/proc/self/status"
    )
    assert re.search(r"CapEff:\s0000000000000000", text) and re.search(r"CapPrm:\s0+\n", text)


@pytest.mark.sec("B5")
def test_raw_sockets_go_with_the_capability_and_ping_stays(onggi: Onggi, programs: Path) -> None:
    dropped = probe(onggi, programs, "--cap-drop", "NET_RAW")
    assert dropped["socket-packet"] == "EPERM"
    assert dropped["ping-socket"] == "OK"
    user = probe(onggi, programs, "--cap-drop", "NET_RAW", "-u", "1000")
    assert user["ping-socket"] == "OK" and user["socket-packet"] == "EPERM"


@pytest.mark.sec("B9")
def test_groups_are_the_images_and_no_more(onggi: Onggi, image: Image) -> None:
    name = image(
        "groups",
        member(b"etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/:/bin/sh\n"),
        member(b"etc/group", data=b"root:x:0:\nu:x:1000:\nextra:x:2000:u\nother:x:3000:\n"),
        member(b"data", data=b"secret", mode=b"0000640\0", uid=b"0000000\0", gid=b"0005670\0"),
    )
    assert onggi.out("run", "--rm", "-u", "u", name, "id", "-G").split() == ["1000", "2000"]
    assert onggi.out("run", "--rm", "-u", "1000:1000", name, "id", "-G").split() == ["1000"]
    listed = onggi.out("run", "--rm", "-u", "u", "--group-add", "other", name, "id", "-G")
    assert listed.split() == ["1000", "2000", "3000"]
    assert onggi("run", "--rm", "-u", "u", name, "cat", "/data", code=1).stdout == ""
    assert onggi.out("run", "--rm", "-u", "u", "--group-add", "3000", name, "cat", "/data")


# Makes 25 containers in the store, then takes an id map for each.
TAKE = """
import sys
root, run, first, tests = sys.argv[1:]
sys.path.insert(0, tests)
from onggi.engine import userns
from onggi.store.store import Store
from sample import container
store = Store(root, run)
made = [container(int(first) + number) for number in range(25)]
for each in made:
    store.containers.insert(each)
sys.stdin.read()
for each in made:
    print(userns.base_of(store.id_ranges.take(each.id, userns.SLOTS)))
store.close()
"""


@pytest.mark.sec("B9")
def test_200_maps_taken_at_once_do_not_overlap(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    bases = []
    with ExitStack() as running:
        takers = []
        for number in range(8):
            argv = [sys.executable, "-c", TAKE, str(tmp_path / "root"), str(tmp_path / "run"),
                    str(25 * number), tests]  # fmt: skip
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            takers.append(running.enter_context(subprocess.Popen(argv, text=True, **pipes)))
        for taker in takers:
            assert taker.stdin is not None
            taker.stdin.close()  # go
        for taker in takers:
            assert taker.stdout is not None
            bases += [int(line) for line in taker.stdout]
    assert [taker.returncode for taker in takers] == [0] * 8
    bases.sort()
    assert len(bases) == 200
    assert all(above - below >= 65536 for below, above in itertools.pairwise(bases))
    assert all(0 < base < 1 << 31 for base in bases)


@pytest.mark.sec("B9")
def test_containers_do_not_share_ids(onggi: Onggi) -> None:
    started = [onggi("run", "-d", "--userns", "auto", "busybox", "sleep", "600", code=None)
               for _ in range(3)]  # fmt: skip
    if any("id-mapped layers: Linux 6.13" in done.stderr for done in started):
        pytest.skip("this kernel maps no overlay layers")
    maps = []
    for done in started:
        assert done.returncode == 0, done.stderr
        pid = onggi.out("inspect", "--format", "{{.State.Pid}}", done.stdout.strip())
        text = Path("/proc", pid, "uid_map").read_text()
        assert text == Path("/proc", pid, "gid_map").read_text()
        maps.append(tuple(map(int, text.split())))
    bases = sorted(base for _, base, _ in maps)
    assert all(size == 65536 and inner == 0 for inner, _, size in maps)
    assert all(above - below >= 65536 for below, above in itertools.pairwise(bases))


@pytest.mark.sec("B12")
@pytest.mark.parametrize("kind", [b"3", b"4"])
def test_device_nodes_of_a_layer_open_nothing(onggi: Onggi, image: Image, kind: bytes) -> None:
    """The disk and the memory of the host as nodes in a layer: refused, or no device."""
    node = member(b"disk", kind=kind, mode=b"0000666\0", major=b"0000007\0", minor=b"0000000\0")
    try:
        name = image("nodes", node)
    except pytest.fail.Exception as refused:
        assert "device" in str(refused)
        return
    text = (
        onggi.sh("true")
        + onggi("run", "--rm", name, "sh", "-c", "head -c1 /disk | wc -c", code=None).stdout
    )
    assert text.strip() in ("", "0")


@pytest.mark.sec("B12")
def test_a_device_is_that_device_only(onggi: Onggi, programs: Path) -> None:
    done = onggi("run", "--rm", "--device", "/dev/null:/dev/mine", "busybox", "sh", "-c",
                 "echo x > /dev/mine && echo wrote", code=None)  # fmt: skip
    if "not supported" in done.stderr:
        pytest.skip("no --device yet")
    assert done.stdout == "wrote\n"
    flags = ("--device", "/dev/null:/dev/mine", "--cap-add", "MKNOD")
    assert probe(onggi, programs, *flags)["open-loop"] == "EPERM"


@pytest.mark.sec("B13")
def test_nothing_of_the_engine_is_readable_to_others(onggi: Onggi) -> None:
    onggi("run", "-d", "--name", "box", "-v", "shared:/v", "busybox", "sh", "-c",
          "cp /bin/busybox /v/su; chmod 4755 /v/su; sleep 100")  # fmt: skip
    walk = (
        "import os,sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for top in sys.argv[1:]:\n"
        "    for base, _, files in os.walk(top):\n"
        "        print('READ', base)\n"
    )
    for top in (onggi.root, onggi.run):
        assert top.stat().st_mode & 0o077 == 0
    done = subprocess.run(
        ["python3", "-I", "-c", walk, str(onggi.root), str(onggi.run)], capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == ""


@pytest.mark.sec("B14")
def test_side_channels_are_masked(onggi: Onggi) -> None:
    paths = (
        "/proc/acpi /proc/interrupts /proc/kallsyms /proc/kcore /proc/keys /proc/kmsg "
        "/proc/latency_stats /proc/sched_debug /proc/scsi /proc/timer_list /proc/timer_stats "
        "/sys/dev/block /sys/devices/virtual/powercap /sys/firmware /sys/fs/bpf /sys/fs/pstore "
        "/sys/kernel/debug /sys/kernel/security /sys/kernel/tracing "
        "/sys/devices/system/cpu/cpu0/thermal_throttle"
    )
    script = (
        f'for p in {paths}; do if [ -d $p ]; then [ -z "$(ls -A $p)" ] || echo OPEN $p;'
        ' elif [ -e $p ]; then [ -z "$(head -c1 $p)" ] || echo OPEN $p; fi; done; echo end'
    )
    assert onggi.sh(script) == "end\n"
    assert "OPEN" in onggi.sh(script, "--privileged")  # control


@pytest.mark.sec("B15")
def test_own_limits_cannot_be_changed(onggi: Onggi) -> None:
    for flags in ((), ("--cgroupns", "host")):
        done = onggi(
            "run", "--rm", "-m", "64m", *flags, "busybox", "sh", "-c",
            "for d in $(find /sys/fs/cgroup -maxdepth 1); do for f in memory.limit_in_bytes"
            " memory.max cgroup.procs tasks pids.max cpu.max cpu.shares devices.allow; do"
            " [ ! -e $d/$f ] || { echo 1 > $d/$f && echo WROTE $d/$f; }; done;"
            " mkdir $d/sub && echo WROTE $d/sub; done; mount -o remount,rw /sys/fs/cgroup &&"
            " echo WROTE remount; echo end", code=None,
        )  # fmt: skip
        if "not supported" in done.stderr:
            continue
        assert "WROTE" not in done.stdout and "end" in done.stdout, done.stdout


@pytest.mark.sec("B16")
def test_a_32_bit_program_of_another_table(onggi: Onggi, tmp_path: Path) -> None:
    """socketcall of i386 hides AF_ALG from every filter; what docker's profile gives is kept, but
    calls of its own table are filtered, and x32 is refused."""
    if COMPILER is None or os.uname().machine != "x86_64":
        pytest.skip("needs a C compiler on x86-64")
    source = r"""
    #include <stdio.h>
    int main(void) {
        long r;  /* keyctl is 288 of i386, io_uring_setup 425, getpid 20 */
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
        printf("getpid %s\n", r > 0 ? "OK" : "no");
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(288), "b"(0), "c"(-3), "d"(0) : "memory");
        printf("keyctl %ld\n", r);
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(425), "b"(1), "c"(0) : "memory");
        printf("io_uring %ld\n", r);
        return 0;
    }"""
    compiled(source, tmp_path / "i386")
    text = onggi.sh("/p/i386", "-v", f"{tmp_path}:/p:ro")
    assert "keyctl -1\n" in text and "io_uring -1\n" in text, text


@pytest.mark.sec("B18")
def test_a_namespace_of_a_dead_container(onggi: Onggi) -> None:
    onggi("run", "-d", "--name", "target", "busybox", "sleep", "1000")
    for kind in ("pid", "ipc", "network"):
        onggi(
            "create", "--name", f"join-{kind}", f"--{kind}", "container:target", "busybox", "true"
        )
    pid = int(onggi.out("inspect", "--format", "{{.State.Pid}}", "target"))
    os.kill(pid, 9)
    end = time.monotonic() + 60
    while onggi.out("inspect", "--format", "{{.State.Running}}", "target") != "false":
        assert time.monotonic() < end
        time.sleep(0.05)
    for kind in ("pid", "ipc", "network"):
        done = onggi("start", f"join-{kind}", code=1)
        assert "not running" in done.stderr or "cannot join" in done.stderr, done.stderr
