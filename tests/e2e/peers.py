"""Podman and skopeo as a user has them, each on directories of the test."""

import hashlib
import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

# In namespaces of their own nothing that they start or keep outlives them: no process, no cache
# of blobs under /var/lib (it would decide what skopeo sends). crun refuses a hybrid cgroup layout,
# so `unified` goes; podman's paths under /run must be short.
PRIVATE = (
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
    "umount /sys/fs/cgroup/unified 2>/dev/null;"
    'mount -t tmpfs run /run && mount -t tmpfs lib /var/lib && exec "$@"', "sh",
)  # fmt: skip
# Podman's own limits need CAP_SYS_RESOURCE to be raised to.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"""
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


class Podman:
    """`podman("pull", name)` runs it and returns its output without the last line break."""

    def __init__(self, home: Path) -> None:
        if shutil.which("podman") is None:
            pytest.skip("no podman")
        home.mkdir()
        (home / "containers.conf").write_text(CONFIGURATION)
        (home / "policy.json").write_text(json.dumps(POLICY))
        self.policy = f"--signature-policy={home}/policy.json"
        self._argv = (
            *PRIVATE, "podman", f"--root={home}/root", "--runroot=/run/podman",
            "--tmpdir=/run/podman/tmp", "--storage-driver=overlay",
        )  # fmt: skip
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "CONTAINERS_CONF": str(home / "containers.conf"),
        }

    def __call__(self, *arguments: str) -> str:
        return _run([*self._argv, *arguments], self._environment)

    def run(self, *arguments: str) -> str:
        return self("run", "--rm", "--network=none", "--cgroups=disabled", *arguments)

    def pull(self, name: str) -> None:
        self("pull", "-q", "--tls-verify=false", self.policy, name)

    def push(self, *arguments: str) -> None:
        self("push", "-q", "--tls-verify=false", self.policy, *arguments)

    def inspect(self, image: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("image", "inspect", image))[0]
        return found


def skopeo(*arguments: str) -> str:
    if shutil.which("skopeo") is None:
        pytest.skip("no skopeo")
    return _run([*PRIVATE, "skopeo", "--insecure-policy", *arguments], dict(os.environ))


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(blob: bytes) -> bytes:
    """A layer's tar, from its blob: gzip or as it is."""
    return zlib.decompress(blob, 31) if blob.startswith(b"\x1f\x8b") else blob


def _run(argv: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(argv, capture_output=True, timeout=120, env=environment)
    if done.returncode:
        pytest.fail(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr.decode()}")
    return done.stdout.decode(errors="surrogateescape").removesuffix("\n")
