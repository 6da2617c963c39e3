"""Attackers for the sandbox tests: real programs that run as root of a container, and a canary.

The C programs are linked statically, so that they run in any image. Races have a budget that the
environment can widen: ONGGI_RACE_SECONDS (a CI run takes the default).
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RACE_SECONDS = float(os.environ.get("ONGGI_RACE_SECONDS", "4"))
COMPILER = shutil.which("gcc") or shutil.which("cc")
RENAME_EXCHANGE = 2
AT_FDCWD = -100

# Swaps two names as fast as it can, until it is killed.
SWAP = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
int main(int argc, char **argv) {
    (void)argc;
    for (;;) syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2);
}
"""

# Goes for every process that appears in /proc: its program, memory, environment and, with a third
# argument, a trace. Says one line for each thing it got of a process that runs the host's program
# (device and inode are its arguments), until /shared/stop appears.
GRAB = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
static long tried, refused;
static void say(const char *what, const char *path, const char *extra) {
    printf("GOT %s %s %s\n", what, path, extra);
    fflush(stdout);
}
static unsigned long host_device, host_inode;
static int is_ours(int fd) {
    struct stat s;
    return fstat(fd, &s) || s.st_dev != host_device || s.st_ino != host_inode;
}
int main(int argc, char **argv) {
    int trace = argc > 3;
    host_device = strtoul(argv[1], 0, 10);
    host_inode = strtoul(argv[2], 0, 10);
    printf("READY\n");
    fflush(stdout);
    for (;;) {
        DIR *proc = opendir("/proc");
        struct dirent *e;
        while ((e = readdir(proc))) {
            int pid = atoi(e->d_name);
            if (pid <= 0 || pid == getpid()) continue;
            char path[64], link[256] = "";
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            tried++;
            int fd = open(path, O_PATH | O_CLOEXEC);
            if (fd >= 0) {
                if (!is_ours(fd)) {
                    ssize_t n = readlink(path, link, sizeof link - 1);
                    if (n > 0) link[n] = 0;
                    say("exe", path, link);
                    char again[64];
                    snprintf(again, sizeof again, "/proc/self/fd/%d", fd);
                    int w = open(again, O_WRONLY);
                    if (w >= 0) { say("exe for writing", path, link); close(w); }
                    else if (errno == ETXTBSY) say("busy exe", path, link);
                    snprintf(path, sizeof path, "/proc/%d/mem", pid);
                    int m = open(path, O_RDWR);
                    if (m >= 0) { say("mem", path, link); close(m); }
                }
                close(fd);
            } else {
                refused++;
                snprintf(path, sizeof path, "/proc/%d/environ", pid);
                int v = open(path, O_RDONLY);
                if (v >= 0) {
                    char text[8192];
                    ssize_t n = read(v, text, sizeof text - 1);
                    if (n > 0) {
                        text[n] = 0;
                        if (memmem(text, n, "ONGGI_ROOT", 10)) say("environ", path, "");
                    }
                    close(v);
                }
                if (trace && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
                    snprintf(path, sizeof path, "/proc/%d/exe", pid);
                    fd = open(path, O_PATH);
                    if (fd >= 0 && !is_ours(fd)) say("trace", path, "");
                    kill(pid, SIGKILL);
                    waitpid(pid, 0, __WALL);
                }
            }
        }
        closedir(proc);
        if (access("/shared/stop", F_OK) == 0) {
            printf("TRIED %ld REFUSED %ld\n", tried, refused);
            return 0;
        }
    }
}
"""

# Installed as the dynamic loader of the container: whoever executes a foreign dynamic program in
# the container runs this, with /proc/self/exe being that program (CVE-2019-5736).
LOADER = r"""
#if defined(__x86_64__)
static long call(long n, long a, long b, long c, long d) {
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return r;
}
enum { READLINKAT = 267, OPENAT = 257, WRITE = 1, EXIT = 231 };
#elif defined(__aarch64__)
static long call(long n, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
enum { READLINKAT = 78, OPENAT = 56, WRITE = 64, EXIT = 94 };
#endif
void _start(void) {
    char link[512];
    long n = call(READLINKAT, -100, (long)"/proc/self/exe", (long)link, sizeof link - 1);
    long out = call(OPENAT, -100, (long)"/shared/leak", 02001 | 0100, 0644);
    if (n > 0) {
        link[n] = '\n';
        call(WRITE, out, (long)link, n + 1, 0);
    }
    call(EXIT, 0, 0, 0, 0);
}
"""


def compiled(source: str, target: Path, *flags: str) -> Path:
    """The program, static. The caller has looked at COMPILER."""
    assert COMPILER is not None
    code = target.with_suffix(".c")
    code.write_text(source)
    subprocess.run(
        [COMPILER, "-O1", "-w", *(flags or ("-static",)), "-o", str(target), str(code)],
        check=True,
        capture_output=True,
    )
    code.unlink()
    return target


@contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Swap two names as fast as Python can, from the host's side of a shared directory."""
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()

    def swap() -> None:
        a, b = os.fsencode(one), os.fsencode(other)
        while not stop.is_set():
            libc.renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Canary:
    """Files and settings of the host that no container may change."""

    FILES = ("/etc/passwd", "/etc/hosts", "/etc/resolv.conf")
    SETTINGS = (
        "kernel/core_pattern", "kernel/modprobe", "kernel/hostname", "kernel/hotplug",
        "kernel/sysrq", "kernel/panic", "fs/suid_dumpable", "vm/overcommit_memory",
        "net/ipv4/ip_unprivileged_port_start", "kernel/shmmax", "kernel/domainname",
    )  # fmt: skip

    def __init__(self, directory: Path, interpreter: str) -> None:
        """`directory` becomes a small tree of the host that attacks aim at; `interpreter` is the
        program that the engine runs."""
        self.directory = directory
        self._files = (*self.FILES, interpreter)
        directory.mkdir()
        (directory / "secret").write_text("the host's secret")
        (directory / "sub").mkdir()
        (directory / "sub/file").write_text("x")
        self._before = self._state()

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in self._files:
            status = os.stat(name)
            digest = hashlib.sha256(Path(name).read_bytes()).hexdigest()
            found[name] = (status.st_ino, status.st_mode, status.st_uid, status.st_size, digest)
        for path in sorted(self.directory.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (
                status.st_ino, status.st_mode, status.st_uid, status.st_mtime_ns, content
            )  # fmt: skip
        for name in self.SETTINGS:
            path = Path("/proc/sys", name)
            found[name] = path.read_text() if path.exists() else ""
        for path in Path("/sys/fs/cgroup").glob("*/release_agent"):
            found[str(path)] = path.read_text()
        return found

    def check(self) -> None:
        now = self._state()
        changed = {key: (self._before.get(key), now.get(key)) for key in {*self._before, *now}
                   if self._before.get(key) != now.get(key)}  # fmt: skip
        assert not changed, f"the host was changed: {changed}"
