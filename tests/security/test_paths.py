"""SECURITY 1A: paths, descriptors and foreign code at the border of host and container."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from attackers import RACE_SECONDS, Canary, swapping
from onggi.linux.landlock import SCOPES_VERSION, version
from rawtar import member

pytestmark = pytest.mark.root
Onggi = Any  # conftest.Onggi: conftests cannot be imported by name
Image = Callable[..., str]
LEAST_TRIES = 25
EXECS = 200 if RACE_SECONDS >= 20 else 60


def link(name: str, to: str) -> bytes:
    return member(name.encode(), kind=b"2", link=to.encode())


def script(name: str, text: str) -> bytes:
    return member(name.encode(), data=text.encode(), mode=b"0000755\0")


# -- A1, A8: the runtime's own program


@pytest.mark.sec("A1")
@pytest.mark.parametrize("how", ["plain", "script", "link", "thread", "pid", "busybox"])
def test_the_runtime_itself_is_no_command(
    onggi: Onggi, image: Image, canary: Canary, how: str
) -> None:
    command = {
        "plain": "/proc/self/exe", "script": "/s", "link": "/l", "thread": "/proc/thread-self/exe",
        "pid": "/proc/1/exe", "busybox": "/proc/self/../self/exe",
    }[how]  # fmt: skip
    name = image("exe", script("s", "#!/proc/self/exe\n"), link("l", "/proc/self/exe"))
    done = onggi("run", "--rm", "--entrypoint", command, name, code=126)
    assert "permission denied" in done.stderr
    onggi("run", "-d", "--name", "victim", name, "sleep", "100")
    onggi("exec", "victim", command, code=126)


@contextmanager
def grabbing(
    onggi: Onggi, programs: Path, interpreter: str, shared: Path, *flags: str, trace: bool = False
) -> Iterator[None]:
    """A container whose first process goes for every process it sees."""
    shared.mkdir(exist_ok=True)
    host = os.stat(interpreter)
    mode = ("trace",) if trace else ()
    onggi(
        "run", "-d", "--name", "grabber", "-v", f"{programs}:/p:ro", "-v", f"{shared}:/shared",
        *flags, "busybox", "/p/grab", str(host.st_dev), str(host.st_ino), *mode,
    )  # fmt: skip
    onggi.until("READY", "logs", "grabber")
    yield
    (shared / "stop").touch()
    onggi("wait", "grabber")


@pytest.mark.sec("A1")
@pytest.mark.sec("A8")
def test_a_container_gets_nothing_of_a_joining_process(
    onggi: Onggi, programs: Path, interpreter: str, tmp_path: Path, canary: Canary
) -> None:
    with grabbing(onggi, programs, interpreter, tmp_path / "shared", trace=True):
        for _ in range(EXECS):
            onggi("exec", "grabber", "true", code=None)  # the attacker may kill it
    log = onggi.out("logs", "grabber")
    assert "GOT" not in log, log[-2000:]
    assert int(log.split("REFUSED ")[-1].split()[0]) > 0, "the attacker never saw a joining process"


@pytest.mark.sec("A1")
def test_control_the_grabber_works_with_the_right_to_trace(
    onggi: Onggi, programs: Path, interpreter: str, tmp_path: Path, canary: Canary
) -> None:
    """Control: the same attacker, armed with CAP_SYS_PTRACE, does see joining processes. The
    program cannot be written even then."""
    with grabbing(onggi, programs, interpreter, tmp_path / "shared", "--cap-add", "SYS_PTRACE"):
        for _ in range(EXECS):
            onggi("exec", "grabber", "true")
            if "GOT exe" in (log := onggi.out("logs", "grabber")):
                break
    assert "GOT exe /proc" in log
    assert "for writing" not in log


@pytest.mark.sec("A8")
def test_landlock_keeps_the_right_to_trace_from_joining_processes(
    onggi: Onggi, programs: Path, interpreter: str, tmp_path: Path, canary: Canary
) -> None:
    if version() < SCOPES_VERSION:
        pytest.skip("this kernel has no Landlock scopes")
    flags = ("--cap-add", "SYS_PTRACE", "--security-opt", "landlock=on")
    with grabbing(onggi, programs, interpreter, tmp_path / "shared", *flags, trace=True):
        for _ in range(EXECS):
            onggi("exec", "grabber", "true", code=None)  # the attacker may kill it
    log = onggi.out("logs", "grabber")
    assert "GOT" not in log, log[-2000:]
    assert int(log.split("REFUSED ")[-1].split()[0]) > 0, "the attacker never saw a joining process"


@pytest.mark.sec("A1")
def test_a_command_swapped_for_the_runtime_itself(
    onggi: Onggi, programs: Path, image: Image, tmp_path: Path, canary: Canary
) -> None:
    """Between the look at a command and its execution its name becomes a link to /proc/self/exe."""
    leak, tries = race_commands(onggi, programs, image, tmp_path)
    assert tries >= LEAST_TRIES
    assert leak == "", leak


@pytest.mark.sec("A1")
def test_control_without_the_springboard_the_swap_works(
    onggi: Onggi, programs: Path, image: Image, tmp_path: Path
) -> None:
    torn = onggi.weakened(
        "from onggi.runtime import become; become.open_springboard = lambda plan, end: -1"
    )
    leak, _ = race_commands(torn, programs, image, tmp_path, seconds=300)
    assert "python" in leak


def race_commands(
    onggi: Onggi, programs: Path, image: Image, tmp_path: Path, seconds: float = RACE_SECONDS
) -> tuple[str, int]:
    """Exec a name that a racer swaps, LEAST_TRIES times on however slow a machine; what the loader
    of the container said, and how many tries."""
    loader = (programs / "loader").read_bytes()
    name = image("loader", member(b"lib64/ld-linux-x86-64.so.2", data=loader, mode=b"0000755\0"))
    shared = tmp_path / "shared"
    shared.mkdir()
    busybox = subprocess.run(["which", "busybox"], capture_output=True, text=True).stdout.strip()
    (shared / "true").write_bytes(Path(busybox).read_bytes())
    (shared / "true").chmod(0o755)
    (shared / "other").symlink_to("/proc/self/exe")
    onggi(
        "run", "-d", "--name", "racer", "-v", f"{programs}:/p:ro", "-v", f"{shared}:/shared",
        name, "/p/swap", "/shared/true", "/shared/other",
    )  # fmt: skip
    tries, end = 0, time.monotonic() + seconds
    leak = shared / "leak"
    while (time.monotonic() < end or tries < LEAST_TRIES) and not leak.exists():
        onggi("exec", "racer", "/shared/true", code=None)
        tries += 1
    return (leak.read_text() if leak.exists() else ""), tries


# -- A2: descriptors and working directories


@pytest.mark.sec("A2")
def test_no_working_directory_by_a_descriptor(onggi: Onggi, image: Image, canary: Canary) -> None:
    onggi("run", "-d", "--name", "inside", "busybox", "sleep", "100")
    for number in range(16):
        for path in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
            done = onggi("exec", "-w", path, "inside", "pwd", code=None)
            assert done.returncode in (1, 126, 127), (path, done.stdout)
            assert "chdir to cwd" in done.stderr
    for number in (3, 5, 7, 8, 9, 10):
        done = onggi("run", "--rm", "-w", f"/proc/self/fd/{number}", "busybox", "pwd", code=None)
        assert done.returncode in (125, 126, 127), done.stdout
    name = image("workdir", config={"WorkingDir": "/proc/self/fd/7/../../.."})
    assert onggi("run", "--rm", name, "pwd", code=None).returncode in (125, 126, 127)


@pytest.mark.sec("A2")
def test_no_descriptor_of_ours_reaches_a_container(onggi: Onggi) -> None:
    listing = ["sh", "-c", 'for f in /proc/self/fd/*; do echo "${f##*/} $(readlink $f)"; done']
    noise = [os.open("/", os.O_RDONLY) for _ in range(50)]
    for fd in noise:
        os.set_inheritable(fd, True)
    try:
        onggi("run", "-d", "--name", "inside", "busybox", "sleep", "100")
        texts = [
            subprocess.run(
                [onggi.command, *words, *listing], capture_output=True, text=True, check=True,
                env=onggi.environment, close_fds=False,
            ).stdout
            for words in (["run", "--rm", "busybox"], ["exec", "inside"],
                          ["run", "--rm", "--init", "busybox"])
        ]  # fmt: skip
    finally:
        for fd in noise:
            os.close(fd)
    for text in texts:
        numbers = {line.split()[0] for line in text.splitlines() if line.split()[1:] != []}
        assert numbers <= {"0", "1", "2", "3", "10"}, text  # the shell's own directory
        assert "memfd" not in text and " /\n" not in text, text


@pytest.mark.sec("A2")
def test_control_without_the_sweep_descriptors_get_through(onggi: Onggi) -> None:
    torn = onggi.weakened(
        "from onggi.runtime import become, child\n"
        "from onggi.linux import process\n"
        "process.close_range = process.close_range_cloexec = lambda *a: None\n"
        "leaked = os.open('/', os.O_RDONLY); os.set_inheritable(leaked, True)\n"
        "from onggi.engine import detach; detach.close_inherited = lambda *a: None"
    )
    text = torn.out("run", "--rm", "busybox", "sh", "-c", "ls -l /proc/self/fd")
    assert "-> /\n" in text + "\n"


# -- A3 to A7: what is mounted, and where


@pytest.mark.sec("A7")
def test_a_volume_subpath_that_becomes_a_link(onggi: Onggi, canary: Canary) -> None:
    """Deterministic: the link is there before the start, after the check at create."""
    onggi("volume", "create", "tenant")
    onggi("run", "--rm", "-v", "tenant:/v", "busybox", "mkdir", "/v/sub")
    onggi(
        "create", "--name", "pod", "--mount", "type=volume,src=tenant,dst=/d,volume-subpath=sub",
        "busybox", "sh", "-c", "ls -A /d; cat /d/secret; echo x > /d/new",
    )  # fmt: skip
    attack = f"rmdir /v/sub && ln -s {canary.directory} /v/sub"
    onggi("run", "--rm", "-v", "tenant:/v", "busybox", "sh", "-c", attack)
    done = onggi("start", "-a", "pod", code=None)
    assert "host's secret" not in done.stdout
    assert done.returncode != 0


@contextmanager
def racing_volume(onggi: Onggi, one: str, other: str, prepare: str) -> Iterator[None]:
    """A volume in which two names are swapped all the time; `prepare` makes them in /v."""
    onggi("volume", "create", "raced")
    onggi("run", "--rm", "-v", "raced:/v", "busybox", "sh", "-ec", f"cd /v; {prepare}")
    directory = onggi.root / "volumes/raced/_data"
    with swapping(directory / one, directory / other):
        yield
    onggi("volume", "rm", "-f", "raced", code=None)


def until_time(
    seconds: float = RACE_SECONDS, enough: Callable[[], bool] = lambda: True
) -> Iterator[int]:
    """Longer, where it was not enough by then."""
    end, number = time.monotonic() + seconds, 0
    while (now := time.monotonic()) < end or (not enough() and now < end + CONTROL_SECONDS):
        yield number
        number += 1


MASKED = """
for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do
  [ ! -e $p ] || [ "$(head -c1 $p | wc -c)" = 0 ] || echo open $p; done
for d in /sys/firmware /sys/devices/virtual/powercap; do
  [ -z "$(ls -A $d 2>/dev/null)" ] || echo open $d; done
echo x > /proc/sysrq-trigger; echo x > /proc/sys/kernel/core_pattern; echo done"""


@pytest.mark.sec("A3")
@pytest.mark.sec("A5")
def test_masks_do_not_come_from_a_device_directory_that_is_raced(
    onggi: Onggi, canary: Canary
) -> None:
    """The container's /dev is a volume whose `null` is now a file, now a link into /proc."""
    prepare = "touch null; ln -s /proc/sys/kernel/core_pattern link"
    with racing_volume(onggi, "null", "link", prepare):
        for _ in until_time():
            text = onggi.sh(MASKED, "-v", "raced:/dev")
            assert "done" in text and "open" not in text, text


@pytest.mark.sec("A4")
def test_a_console_in_a_raced_device_directory(onggi: Onggi, canary: Canary) -> None:
    prepare = f"mkdir pts; touch console; ln -s {canary.directory}/secret link"
    with racing_volume(onggi, "console", "link", prepare):
        for number in until_time():
            name = f"tty{number}"
            onggi("run", "-dt", "--name", name, "-v", "raced:/dev", "busybox", "tty", code=None)
            onggi("rm", "-f", name)


@pytest.mark.sec("A7")
def test_mount_targets_inside_a_raced_volume(onggi: Onggi, canary: Canary) -> None:
    prepare = f"mkdir x; ln -s {canary.directory} link"
    with racing_volume(onggi, "x", "link", prepare):
        for _ in until_time():
            onggi(
                "run", "--rm", "-v", "raced:/v", "--tmpfs", "/v/x/deep", "-v", "/v/x/volume",
                "busybox", "true", code=None,
            )  # fmt: skip


# -- the same races against an engine that walks paths by name, as engines did before their CVEs

# Makes a mount's target by its path, links followed: CVE-2021-30465, CVE-2025-52565.
BY_NAME = """
from onggi.linux import safefs
def make(root, path, *, directory, mode):
    path = path.lstrip('/')
    if directory:
        parts = path.split('/')
        for n in range(1, len(parts) + 1):
            try:
                os.mkdir('/'.join(parts[:n]), mode, dir_fd=root)
            except FileExistsError:
                pass
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, mode, dir_fd=root))
    return os.open(path, os.O_PATH, dir_fd=root)
safefs._make = make
"""
# Masks files with the container's /dev/null: CVE-2025-31133.
THEIR_NULL = """
import stat
from onggi.linux import mount
from onggi.runtime import rootfs
def cover(tree, path, mask):
    try:
        target = tree.open(path)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(target).st_mode):
        mount.move_mount(mount.open_tree('dev/null', directory_fd=tree.root_fd), target)
rootfs._cover = cover
"""
CONTROL_SECONDS = 300


@pytest.mark.sec("A3")
def test_control_masks_from_the_containers_null_are_raced(onggi: Onggi) -> None:
    torn = onggi.weakened(THEIR_NULL)
    wanted = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    prepare = "touch null; ln -s /proc/sys/kernel/core_pattern link"
    with racing_volume(onggi, "null", "link", prepare):
        shown = (torn.sh("cat /proc/interrupts", "-v", "raced:/dev")
                 for _ in until_time(CONTROL_SECONDS))  # fmt: skip
        assert any(wanted in text for text in shown)


@pytest.mark.sec("A4")
def test_control_a_console_made_by_name_is_raced(onggi: Onggi, tmp_path: Path) -> None:
    torn, made = onggi.weakened(BY_NAME), tmp_path / "made"
    with racing_volume(onggi, "console", "link", f"mkdir pts; touch console; ln -s {made} link"):
        for number in until_time(CONTROL_SECONDS):
            torn("run", "-dt", "--name", f"tty{number}", "-v", "raced:/dev", "busybox", code=None)
            onggi("rm", "-f", f"tty{number}", code=None)
            if made.exists():
                break
    assert made.exists(), "a file on the host"


@pytest.mark.sec("A7")
def test_control_targets_made_by_name_are_raced(onggi: Onggi, tmp_path: Path) -> None:
    torn, outside = onggi.weakened(BY_NAME), tmp_path / "outside"
    outside.mkdir()
    with racing_volume(onggi, "x", "link", f"mkdir x; ln -s {outside} link"):
        for _ in until_time(CONTROL_SECONDS):
            torn("run", "--rm", "-v", "raced:/v", "--tmpfs", "/v/x/deep", "busybox", "true",
                 code=None)  # fmt: skip
            if (outside / "deep").exists():
                break
    assert (outside / "deep").is_dir(), "a directory on the host"


@pytest.mark.sec("A6")
@pytest.mark.parametrize(
    "name",
    ["dev", "dev/pts", "dev/shm", "dev/mqueue", "etc", "etc/resolv.conf", "etc/hosts",
     "etc/hostname", "run", "tmp", "proc", "sys"],
)  # fmt: skip
def test_images_whose_places_are_links(
    onggi: Onggi, image: Image, canary: Canary, name: str
) -> None:
    for target in (str(canary.directory), f"../../../../../..{canary.directory}", "/nowhere"):
        evil = image("links", link(name, target))
        flags = ("-t", "--tmpfs", "/run/x") if name in ("dev/pts", "run") else ()
        done = onggi("run", "--rm", *flags, evil, "cat", f"/{name}/secret", code=None)
        assert "host's secret" not in done.stdout
        if name in ("dev", "proc", "sys"):
            assert done.returncode == 125 and "ordinary directory" in done.stderr


# -- A10: copies


@pytest.mark.sec("A10")
def test_copies_from_and_to_a_raced_directory(
    onggi: Onggi, programs: Path, canary: Canary, tmp_path: Path
) -> None:
    onggi(
        "run", "-d", "--name", "racer", "-v", f"{programs}:/p:ro", "busybox", "sh", "-c",
        f"mkdir -p /w/d /var/run; echo fine > /w/d/secret; ln -s {canary.directory} /w/l;"
        "exec /p/swap /w/d /w/l",
    )  # fmt: skip
    (tmp_path / "new").write_text("x")
    hits: list[int] = []
    for number in until_time(enough=lambda: bool(hits)):
        out = tmp_path / f"out{number}"
        if onggi("cp", "racer:/w/d/secret", str(out), code=None).returncode == 0:
            assert "host" not in out.read_text()
            hits.append(number)
        onggi("cp", str(tmp_path / "new"), "racer:/w/d/new", code=None)
        onggi("cp", "-", "racer:/w/d", stdin="", code=None)
    assert hits


@pytest.mark.sec("A10")
def test_control_copies_by_plain_paths_leave_the_container(
    onggi: Onggi, programs: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "host"
    secret.mkdir()
    (secret / "secret").write_text("the host's secret")
    onggi("run", "-d", "--name", "racer", "busybox", "sh", "-c",
          f"mkdir /w; ln -s {secret} /w/d; sleep 100")  # fmt: skip
    onggi.until("d", "exec", "racer", "ls", "/w")
    torn = onggi.weakened(
        "from onggi.linux import safefs\n"
        "safefs.open_in_root = lambda root, path, flags, mode=0: os.open("
        "path.lstrip('/') or '.', flags | os.O_CLOEXEC, mode, dir_fd=root)"
    )
    torn("cp", "racer:/w/d/secret", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "the host's secret"
    onggi("cp", "racer:/w/d/secret", str(tmp_path / "right"), code=1)


@pytest.mark.sec("A10")
def test_copies_of_a_stopped_container_through_a_raced_volume(
    onggi: Onggi, canary: Canary, tmp_path: Path
) -> None:
    prepare = f"mkdir d; echo fine > d/secret; ln -s {canary.directory} link"
    with racing_volume(onggi, "d", "link", prepare):
        onggi("create", "--name", "still", "-v", "raced:/v", "busybox")
        (tmp_path / "new").write_text("x")
        for number in until_time(RACE_SECONDS / 2):
            out = tmp_path / f"out{number}"
            if onggi("cp", "still:/v/d/secret", str(out), code=None).returncode == 0:
                assert "host" not in out.read_text()
            onggi("cp", str(tmp_path / "new"), "still:/v/d/new", code=None)
        onggi("rm", "still")


@pytest.mark.sec("A10")
def test_absolute_links_still_work_in_copies(onggi: Onggi, image: Image, tmp_path: Path) -> None:
    name = image("varrun", member(b"run/", kind=b"5"), link("var/run", "/run"))
    onggi("run", "-d", "--name", "box", name, "sleep", "100")
    (tmp_path / "f").write_text("content")
    onggi("cp", str(tmp_path / "f"), "box:/var/run/f")
    assert onggi.out("exec", "box", "cat", "/run/f") == "content"
    onggi("cp", "box:/var/run/f", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content"


# -- A12 to A16


@pytest.mark.sec("A12")
def test_no_keystrokes_reach_the_caller(onggi: Onggi, programs: Path) -> None:
    """With -t the terminal is the container's own; without there is none."""
    outer, inner = os.openpty()
    run = [onggi.command, "run", "--rm", "-v", f"{programs}:/p:ro"]
    for flags in (["-t"], []):
        done = subprocess.run(
            [*run, *flags, "busybox", "/p/probe"], stdin=inner, capture_output=True, text=True,
            env=onggi.environment, timeout=60,
        )  # fmt: skip
        assert "tiocsti" in done.stdout
        os.set_blocking(outer, False)
        with pytest.raises(BlockingIOError):
            os.read(outer, 100)
    os.close(outer)
    os.close(inner)


@pytest.mark.sec("A12")
def test_escape_sequences_are_not_printed_to_a_terminal(onggi: Onggi) -> None:
    label = "evil=\x1b]0;owned\x07\x1b[2J"
    onggi("run", "-d", "--name", "box", "--label", label, "busybox", "sh", "-c",
          "sleep 100 # \x1b[31mred")  # fmt: skip
    outer, inner = os.openpty()
    for words in (["ps", "--no-trunc"], ["ps", "--format", "{{.Labels}}"], ["inspect", "box"]):
        subprocess.run([onggi.command, *words], stdout=inner, env=onggi.environment, check=True)
        text = os.read(outer, 1 << 20)
        assert b"\x1b]0" not in text and b"\x1b[2J" not in text and b"\x1b[31m" not in text, text
    os.close(outer)
    os.close(inner)


@pytest.mark.sec("A13")
def test_no_abstract_socket_of_ours(onggi: Onggi) -> None:
    def abstract() -> set[str]:
        lines = Path("/proc/net/unix").read_text().splitlines()
        return {line.split()[-1] for line in lines if " @" in line}

    before = abstract()
    onggi("run", "-dit", "--name", "box", "--network", "host", "busybox", "cat")
    listed = set(onggi.out("exec", "box", "cat", "/proc/net/unix").split())
    assert {name for name in abstract() - before if "onggi" in name} == set()
    assert not {name for name in listed if name.startswith("@") and "onggi" in name}
    for path in (onggi.run, onggi.root):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.sec("A14")
def test_the_old_root_is_gone(onggi: Onggi, programs: Path) -> None:
    assert "double-chroot EXDEV" in onggi.sh("/p/probe", "-v", f"{programs}:/p:ro")
    mounts = [line.split() for line in onggi.sh("cat /proc/self/mountinfo").splitlines()]
    assert [fields[4] for fields in mounts].count("/") == 1
    host = [fields for fields in mounts if str(onggi.root) in fields[3]]
    assert {fields[4] for fields in host} == {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}
    inodes = onggi.sh("stat -c %d:%i / /.. /proc/1/root/ /proc/self/root/../").split()
    assert len(set(inodes)) == 1


@pytest.mark.sec("A15")
def test_a_reused_number_is_nobody_we_may_kill(onggi: Onggi) -> None:
    onggi("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    pid = int(onggi.out("inspect", "--format", "{{.State.Pid}}", "box"))
    monitor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for victim in (monitor, pid):
        os.kill(victim, 9)
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    canary = None
    for _ in range(200):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        process = subprocess.Popen(["sleep", "60"])
        if process.pid == pid:
            canary = process
            break
        process.kill()
        process.wait()
    if canary is None:
        pytest.skip("the number could not be had again")
    try:
        for words in (["kill", "box"], ["stop", "-t", "0", "box"], ["exec", "box", "true"],
                      ["rm", "-f", "box"]):  # fmt: skip
            onggi(*words, code=None)
        assert canary.poll() is None
    finally:
        canary.kill()
        canary.wait()


@pytest.mark.sec("A16")
@pytest.mark.parametrize("what", ["fifo", "link", "big", "line", "directory", "loop"])
def test_user_files_that_are_none(onggi: Onggi, image: Image, canary: Canary, what: str) -> None:
    entries = {
        "fifo": [member(b"etc/passwd", kind=b"6")],
        "link": [link("etc/passwd", f"{canary.directory}/secret")],
        "big": [member(b"etc/passwd", data=b"x:x:1:1::/:/\n" * 200_000)],
        "line": [member(b"etc/passwd", data=b"x" * 100_000 + b":x:1:1::/:/\n")],
        "directory": [member(b"etc/passwd/", kind=b"5")],
        "loop": [link("etc/passwd", "/etc/passwd")],
    }[what]
    name = image("users", *entries)
    begun = time.monotonic()
    done = onggi("run", "--rm", "-u", "nosuch", name, "true", code=125)
    assert time.monotonic() - begun < 60
    assert "host" not in done.stderr.split("daemon")[0]
