"""A machine of its own for unprivileged users: namespaces, accounts, a network that leads nowhere.

    with machine(tmp_path) as it:
        alice = it.user("alice")     # has 65,536 subordinate ids
        bob = it.user("bob")         # has one id
        alice("run", "--rm", "busybox", "id")

Nothing of it is on the host: /etc is an overlay, /run and /dev/net are its own, and all its
processes end with its first one.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onggi

from .conftest import Onggi

SOURCE = Path(onggi.__file__).parents[1]
SITE = sysconfig.get_path("purelib")
USERS = {"alice": 61001, "bob": 61002}
SUBORDINATE = 524288
SET_UP = """
set -e
ip link set lo up
ip link add out0 type veth peer name out1
ip addr add 192.0.2.2/24 dev out0
ip link set out0 up
ip link set out1 up
ip route add default via 192.0.2.1
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/open
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /dev/net
mount -t tmpfs tmpfs /dev/net
mknod -m 666 /dev/net/tun c 10 200
"""
FIRST_PROCESS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
print("ready", flush=True)
while True:
    signal.sigwait([signal.SIGCHLD])
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""


class User(Onggi):
    """One user's command line; its directories are the default ones."""

    def __init__(self, machine: "Machine", name: str) -> None:
        self.uid = USERS[name]
        self.name = name
        self.machine = machine
        self.command = machine.launcher(name, self.uid)
        self.home = machine.directory / name
        self.root = self.home / ".local/share/onggi"
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": f"/home/{name}",
            "XDG_RUNTIME_DIR": f"/run/user/{self.uid}",
            "LANG": "C.UTF-8",
        }

    def copy_in(self, path: Path) -> str:
        """A copy in the user's home; its path there."""
        shutil.copy(path, self.home / path.name)
        self.own(self.home / path.name)
        return f"/home/{self.name}/{path.name}"

    def own(self, path: Path) -> None:
        subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", path], check=True)

    def fetch(self, port: int, address: str = "127.0.0.1") -> str:
        """What a server on the machine's loopback address says; asks until it answers."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            said = self.shell(f"busybox nc -w 5 {address} {port} </dev/null || :")
            if said:
                return said
            time.sleep(0.1)
        raise AssertionError(f"nothing answers on port {port}")

    def shell(self, script: str) -> str:
        """What a shell of the user prints, outside of every container."""
        words = ["sh", "-c", script]
        done = subprocess.run(
            [*self.machine.as_user(self.uid), *words],
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Machine:
    def __init__(self, directory: Path, pid: int) -> None:
        self.directory = directory
        self.pid = pid
        self._registry: subprocess.Popen[bytes] | None = None

    def user(self, name: str) -> User:
        return User(self, name)

    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-i", "-w"]

    def as_user(self, uid: int) -> list[str]:
        ids = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
        return [*self.enter(), "setpriv", *ids]

    def launcher(self, name: str, uid: int) -> Path:
        """A program that is `onggi` for that user."""
        path = self.directory / f"onggi-{name}"
        main = f"{SOURCE}/onggi/__main__.py"
        words = [*self.as_user(uid), sys.executable, "-I", "-S", main, SITE, "onggi"]
        path.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
        path.chmod(0o755)
        return path

    def processes(self, uid: int) -> list[str]:
        """The command lines of that user's processes, and of its subordinate ids'."""
        found = []
        for entry in self.run("ps", "-eo", "uid:1,args").splitlines()[1:]:
            owner, _, line = entry.strip().partition(" ")
            if int(owner) == uid or int(owner) >= SUBORDINATE:
                found.append(line)
        return found

    def start_registry(self, program: str, port: int) -> None:
        """Plain HTTP on the loopback address, until the machine's end."""
        storage = self.directory / "registry"
        storage.mkdir()
        config = storage / "config.json"
        config.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "error", "accesslog": {"disabled": True}},
                    "storage": {"filesystem": {"rootdirectory": str(storage)}},
                    "http": {"addr": f"127.0.0.1:{port}"},
                }
            )
        )
        words = [*self.enter(), program, "serve", str(config)]
        self._registry = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        script = f"busybox nc -w 1 127.0.0.1 {port} </dev/null"
        while subprocess.run([*self.enter(), "sh", "-c", script], capture_output=True).returncode:
            assert time.monotonic() < deadline, "the registry does not come up"
            time.sleep(0.1)

    def close(self) -> None:
        if self._registry is not None:
            self._registry.kill()
            self._registry.wait()

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [*self.enter(), *words], capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout


@contextmanager
def machine(directory: Path) -> Iterator[Machine]:
    script = [SET_UP]
    for name, uid in USERS.items():
        home = directory / name
        home.mkdir()
        os.chown(home, uid, uid)
        script += [
            f"echo {name}:x:{uid}:{uid}::/home/{name}:/bin/sh >> /etc/passwd",
            f"echo {name}:x:{uid}: >> /etc/group",
            f"mkdir -p /mnt/home/{name} && mount --bind {home} /mnt/home/{name}",
            f"mkdir -m 700 -p /run/user/{uid} && chown {uid}:{uid} /run/user/{uid}",
        ]
    script += [f"echo alice:{SUBORDINATE}:65536 > /etc/sub{kind}id" for kind in ("u", "g")]
    script.append("mount --rbind /mnt/home /home")
    script += _opened((SOURCE, Path(SITE), Path(sys.base_prefix), Path(sys.prefix)))
    script.append(f"exec {sys.executable} -I -S -c '{FIRST_PROCESS}'")
    words = ["unshare", "-m", "-n", "-p", "-i", "--fork", "--kill-child", "--mount-proc"]
    process = subprocess.Popen(
        [*words, "sh", "-c", "\n".join(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the machine does not come up"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        made = Machine(directory, int(children[0]))
        try:
            yield made
        finally:
            made.close()
    finally:
        process.kill()  # and with it its first process, and so all the others
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _opened(paths: tuple[Path, ...]) -> list[str]:
    """Lines that let everybody reach these directories, whatever stands above them."""
    closed: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        above = [p for p in reversed(path.parents) if not p.stat().st_mode & 0o001]
        if above:
            closed.setdefault(above[0], []).append(path)
    lines = []
    for top, below in closed.items():
        for number, path in enumerate(below):
            lines.append(f"mkdir -p /mnt/open/{number} && mount --rbind {path} /mnt/open/{number}")
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {top}")
        for number, path in enumerate(below):
            lines.append(f"mkdir -p {path} && mount --move /mnt/open/{number} {path}")
    return lines
