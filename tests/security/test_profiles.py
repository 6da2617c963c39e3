"""--security docker|default|strict and --security-opt, on the real engine; docs/security.md."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from onggi.linux import landlock

pytestmark = pytest.mark.root
Onggi = Any  # conftest.Onggi: conftests cannot be imported by name
NEEDS_LANDLOCK = pytest.mark.skipif(
    landlock.version() < landlock.SCOPES_VERSION, reason="the kernel has no Landlock scopes"
)


def test_docker_is_dockers(onggi: Onggi) -> None:
    text = onggi.sh(
        "grep CapEff /proc/self/status; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max;"
        "cat /proc/sys/net/ipv6/conf/all/accept_ra; mount | grep -c /sys/dev/block",
        "--security", "docker",
    )  # fmt: skip
    assert "00000000a80425fb" in text and "max\n" in text and "4096" not in text
    if Path("/proc/sys/net/ipv6").is_dir():
        assert "\n1\n" in text


def test_default_limits_processes_and_router_advertisements(onggi: Onggi) -> None:
    text = onggi.sh(
        "grep CapEff /proc/self/status; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max;"
        "cat /proc/sys/net/ipv6/conf/*/accept_ra"
    )
    assert "00000000a80425fb" in text and "max\n" not in text
    if Path("/proc/sys/net/ipv6").is_dir():
        assert "\n0\n0\n" in text
    assert "max\n" in onggi.sh("cat /sys/fs/cgroup/pids*/pids.max", "--pids-limit", "-1")


@NEEDS_LANDLOCK
def test_strict(onggi: Onggi, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    text = onggi.sh(
        "grep -E 'CapBnd|NoNew' /proc/self/status; touch /x; echo a > /proc/self/comm;"
        "echo b > /tmp/y && cat /tmp/y; echo c > /v/z && cat /v/z; echo d > /dev/null;"
        "echo e > /dev/shm/w && cat /dev/shm/w; mount",
        "--security", "strict", "--tmpfs", "/tmp", "-v", f"{tmp_path}:/v",
    )  # fmt: skip
    assert "CapBnd:\t0000000000000400\nNoNewPrivs:\t1\n" in text
    assert "/x: Read-only" in text and "create /proc/self/comm: Permission denied" in text
    assert "\nb\nc\ne\n" in text
    line = next(line for line in text.splitlines() if " on /v " in line)
    assert "nosuid" in line and "nodev" in line
    onggi("run", "-d", "--name", "box", "--security", "strict", "busybox", "sleep", "100")
    script = "grep CapBnd /proc/self/status; echo > /proc/self/comm"
    again = onggi("exec", "box", "sh", "-c", script, code=1)
    assert "0000000000000400" in again.stdout and "Permission denied" in again.stderr
    onggi("exec", "box", "kill", "-0", "1")


@NEEDS_LANDLOCK
@pytest.mark.sec("A3")
@pytest.mark.sec("A5")
def test_strict_holds_without_masks(onggi: Onggi, canary: Any) -> None:
    """Landlock alone keeps /proc and /sys from being written when nothing is masked."""
    flags = ["--security-opt", "systempaths=unconfined", "--cap-add", "ALL"]
    script = (
        "echo x > /proc/sys/kernel/domainname && echo WROTE;"
        "echo x > /proc/sysrq-trigger && echo WROTE; echo end"
    )
    assert "WROTE" not in onggi.sh(script, "--security", "strict", *flags)
    # Control: the domain is what stops it. A name of the container's own namespace is harmless.
    harmless = "echo x > /proc/sys/kernel/domainname && echo WROTE"
    assert "WROTE" in onggi.sh(harmless, *flags)


@NEEDS_LANDLOCK
@pytest.mark.sec("A13")
def test_landlock_keeps_the_hosts_abstract_sockets(onggi: Onggi, tmp_path: Path) -> None:
    code = (
        "import socket,sys; s = socket.socket(socket.AF_UNIX);"
        f"print(s.connect_ex(chr(0) + 'onggi-test-{os.getpid()}'))"
    )
    python = onggi.interpreter()
    if "/usr/bin" not in python:
        pytest.skip("needs an interpreter that a bind mount of /usr carries into a container")
    mounts = [word for name in ("usr", "lib", "lib64") if Path("/", name).exists()
              for word in ("-v", f"/{name}:/{name}:ro")]  # fmt: skip
    run = ["run", "--rm", "--network", "host", *mounts]
    probe = ["busybox", python, "-I", "-S", "-c", code]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0onggi-test-{os.getpid()}")
        listener.listen()
        found = {
            option: onggi.out(*run, "--security-opt", f"landlock={option}", *probe)
            for option in ("on", "off")
        }
    assert found == {"on": "1", "off": "0"}


@NEEDS_LANDLOCK
def test_landlock_keeps_signals_inside(onggi: Onggi) -> None:
    victim = subprocess.Popen(["sleep", "100"])
    try:
        script = f"kill -0 {victim.pid} && echo REACHED; echo end"
        kept = onggi.sh(script, "--pid", "host", "--security-opt", "landlock=on")
        assert "REACHED" not in kept and "end" in kept
        assert "REACHED" in onggi.sh(script, "--pid", "host")
    finally:
        victim.kill()
        victim.wait()


def test_masks_of_the_user(onggi: Onggi) -> None:
    text = onggi.sh(
        "ls -A /etc; cat /proc/interrupts",
        "--security-opt", "mask=/etc:/bin/wget", "--security-opt", "unmask=/proc/interrupts",
    )  # fmt: skip
    assert "CPU0" in text and "passwd" not in text
    assert "CPU0" in onggi.sh("cat /proc/interrupts", "--security-opt", "unmask=ALL")
    assert "CPU0" in onggi.sh("cat /proc/interrupts", "--security-opt", "systempaths=unconfined")


def test_no_new_privileges(onggi: Onggi) -> None:
    text = onggi.sh("grep NoNew /proc/self/status", "--security-opt", "no-new-privileges")
    assert text == "NoNewPrivs:\t1\n"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--security-opt", "apparmor=mine"], "AppArmor"),
        (["--security-opt", "label=type:mine"], "SELinux"),
        (["--security", "none"], "invalid security profile"),
        (["--security", "strict", "--runtime", "crun"], "does not know Landlock"),
        (["--security-opt", "mask=etc"], "must be absolute"),
        (["--security-opt", "landlock=maybe"], "invalid --security-opt"),
        (["--security-opt", "systempaths=x"], "invalid --security-opt"),
    ],
)
def test_what_cannot_be_had_is_an_error(onggi: Onggi, words: list[str], why: str) -> None:
    assert why in onggi("run", "--rm", *words, "busybox", "true", code=125).stderr


def test_the_profile_of_the_configuration(onggi: Onggi) -> None:
    directory = onggi.home / ".config/onggi"
    directory.mkdir(parents=True)
    file = directory / "config.toml"
    file.write_text('[security]\nprofile = "docker"\n')
    try:
        script = "cat /sys/fs/cgroup/pids*/pids.max"
        assert "max" in onggi.sh(script)
        assert "max" not in onggi.sh(script, "--security", "default")
        file.write_text('[security]\nprofile = "nothing"\n')
        assert "invalid security profile" in onggi("create", "busybox", code=None).stderr
    finally:
        file.unlink()


def test_the_check_tells_what_is_there(onggi: Onggi) -> None:
    lines = onggi.out("run", "--security-check", "--security", "strict", "busybox").splitlines()
    states = {line[:20].strip(): line[20:30].split()[0] for line in lines[1:]}
    assert states["no new privileges"] == states["read-only root"] == states["landlock"] == "on"
    if not Path("/sys/module/apparmor").exists():
        assert states["apparmor"] == "off"
    assert onggi.out("ps", "-aq") == ""
