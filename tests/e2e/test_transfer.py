"""`push ssh://…` and `image scp` over a real sshd on loopback."""

import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ports import free_port

from .conftest import COMMAND, Onggi

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not Path("/usr/sbin/sshd").exists() or shutil.which("ssh") is None, reason="no sshd"
    ),
]
# In namespaces of its own: it wants a directory in /run, and nothing it starts outlives it.
PRIVATE = (
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
    'mount -t tmpfs run /run && mkdir /run/sshd && exec "$@"', "sh",
)  # fmt: skip

NARROW = """#!{python}
import os, subprocess, sys
ssh = subprocess.Popen([*{ssh}, *sys.argv[1:]], stdin=subprocess.PIPE)
left = 5 << 20
while left and (data := os.read(0, min(left, 65536))):
    ssh.stdin.write(data)
    ssh.stdin.flush()
    left -= len(data)
os.close(0)
ssh.stdin.close()
sys.exit(ssh.wait())
"""


class Host:
    """A host that ssh reaches, whose onggi has a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.onggi = Onggi(home)
        for name in ("host_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True
            )
        public = (home / "host_key.pub").read_text()
        (home / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")
        shutil.copy(home / "user_key.pub", home / "authorized_keys")
        (home / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {home}/host_key\n"
            f"AuthorizedKeysFile {home}/authorized_keys\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n"
            f"SetEnv ONGGI_ROOT={self.onggi.root} ONGGI_RUN={home}/run "
            f"PATH={COMMAND.parent}:/usr/sbin:/usr/bin:/sbin:/bin\n"
        )

    @property
    def ssh(self) -> str:
        """ONGGI_SSH for its keys."""
        options = ("StrictHostKeyChecking=yes", "BatchMode=yes",
                   f"UserKnownHostsFile={self.home}/known_hosts")  # fmt: skip
        words = ["ssh", "-F", "/dev/null", "-i", str(self.home / "user_key")]
        return shlex.join([*words, *(word for option in options for word in ("-o", option))])

    def url(self, image: str = "") -> str:
        return f"ssh://root@127.0.0.1:{self.port}/{image}"


@pytest.fixture
def host(tmp_path: Path, clean_host: None) -> Iterator[Host]:
    home = tmp_path / "host"
    home.mkdir()
    found = Host(home)
    process = subprocess.Popen(
        [*PRIVATE, "/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_until_it_listens(process, found.port)
        yield found
    finally:
        process.kill()
        process.communicate(timeout=60)


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
            return
        except OSError:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            assert process.stderr is not None
            select.select([process.stderr], [], [], 0.1)


@pytest.fixture
def image(onggi: Onggi, busybox: str, tmp_path: Path) -> Iterator[str]:
    """Two layers, the second of 8 MiB that do not compress."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "big").write_bytes(os.urandom(8 << 20))
    (build / "Dockerfile").write_text(f"FROM {busybox}\nCOPY big /big\n")
    onggi("build", "-q", "-t", "team/app:1", str(build))
    yield "team/app:1"
    onggi("rmi", "-f", "team/app:1")


def test_only_missing_layers_move(onggi: Onggi, busybox: str, image: str, host: Host) -> None:
    done = onggi("push", host.url(busybox), ONGGI_SSH=host.ssh)
    assert "docker.io/library/busybox:latest" in done.stdout
    done = onggi("push", host.url(image), ONGGI_SSH=host.ssh)
    assert done.stdout.count("Layer already exists") == 1
    assert done.stdout.count("Pushed") == 1
    same = "{{.Id}} {{.RootFS.Layers}}"
    assert host.onggi.out("inspect", "-f", same, image) == onggi.out("inspect", "-f", same, image)
    assert host.onggi.out("run", "--rm", image, "stat", "-c", "%s", "/big") == str(8 << 20)
    done = onggi("push", host.url(image), ONGGI_SSH=host.ssh)
    assert done.stdout.count("Layer already exists") == 2
    done = onggi("push", host.url("nosuch"), code=1, ONGGI_SSH=host.ssh)
    assert "No such image: nosuch:latest" in done.stderr
    assert not list((host.onggi.root / "partial").iterdir())


def test_there_and_back_under_another_name(
    onggi: Onggi, busybox: str, lone_onggi: Onggi, host: Host
) -> None:
    onggi("image", "scp", busybox, host.url("renamed:2"), ONGGI_SSH=host.ssh)
    assert host.onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}") == "renamed:2"
    lone_onggi("image", "scp", "-q", host.url("renamed:2"), ONGGI_SSH=host.ssh)
    assert lone_onggi.out("run", "--rm", "renamed:2", "echo", "here") == "here"
    lone_onggi("image", "scp", host.url("renamed:2"), "third:3", ONGGI_SSH=host.ssh)
    lone_onggi("image", "scp", host.url("renamed:2"), host.url("fourth:4"), ONGGI_SSH=host.ssh)
    assert "fourth:4" in host.onggi.out("images", "--format", "{{.Repository}}:{{.Tag}}")
    lone_onggi("rmi", "renamed:2", "third:3")
    short = onggi.out("images", "-q", busybox)
    lone_onggi("image", "scp", host.url(short), ONGGI_SSH=host.ssh)
    assert lone_onggi.out("images", "--format", "{{.ID}} {{.Repository}}") == f"{short} <none>"
    lone_onggi("rmi", short)
    done = lone_onggi("image", "scp", host.url("nosuch"), code=1, ONGGI_SSH=host.ssh)
    assert "the other side says: No such image: nosuch:latest" in done.stderr


def test_a_broken_transfer_goes_on_where_it_stopped(
    onggi: Onggi, busybox: str, image: str, host: Host, tmp_path: Path
) -> None:
    onggi("push", host.url(busybox), ONGGI_SSH=host.ssh)
    narrow = tmp_path / "narrow"  # an ssh that breaks after 5 MiB
    narrow.write_text(NARROW.format(python=sys.executable, ssh=shlex.split(host.ssh)))
    narrow.chmod(0o755)
    done = onggi("push", host.url(image), code=1, ONGGI_SSH=str(narrow))
    assert "has gone" in done.stderr
    assert host.onggi.out("images", "-q", "team/app") == ""
    (part,) = (host.onggi.root / "partial").iterdir()
    deadline = time.monotonic() + 60
    while part.stat().st_size <= 4 << 20:  # the other side still writes what it has got
        assert time.monotonic() < deadline
    # What is left fits through, all of it would not.
    onggi("push", host.url(image), ONGGI_SSH=str(narrow))
    assert host.onggi.out("run", "--rm", image, "stat", "-c", "%s", "/big") == str(8 << 20)
    assert not list((host.onggi.root / "partial").iterdir())


def test_what_is_refused(onggi: Onggi, busybox: str, host: Host) -> None:
    for words, problem in (
        (("image", "scp", busybox), "neither side is another host"),
        (("image", "scp", busybox, "ssh://-oProxyCommand=touch/x"), "invalid host"),
        (("image", "scp", busybox, "-bad::"), "unknown shorthand flag"),
        (("push", "ssh://root@127.0.0.1/"), "no image named"),
        (("push", "ssh://ho st/busybox"), "invalid host"),
        (("image", "receive"), "needs --stdio"),
    ):
        done = onggi(*words, code=None, ONGGI_SSH=host.ssh)
        assert done.returncode, words
        assert problem in done.stderr, words
    (host.home / "known_hosts").write_text("")
    done = onggi("push", host.url(busybox), code=1, ONGGI_SSH=host.ssh)
    assert "ssh ended with status 255" in done.stderr
