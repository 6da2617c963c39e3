"""A9: nothing that a container or an image holds is executed, imported or loaded by the engine."""

import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attackers import COMPILER, Canary
from rawtar import member

pytestmark = pytest.mark.root
Onggi = Any  # conftest.Onggi: conftests cannot be imported by name
Image = Callable[..., str]
TOOLS = (
    "xz unpigz pigz gzip zstd tar git nsenter mount umount iptables nft ip id ps sh ldconfig "
    "modprobe newuidmap python3"
).split()
LIBRARIES = (
    "libnss_files.so.2 libnss_dns.so.2 libnss_compat.so.2 libc.so.6 libm.so.6 libz.so.1 "
    "libsqlite3.so.0 libffi.so.8 libssl.so.3"
).split()
# In a container with this module, whoever imports it or runs the tool leaves its environment.
TROJAN = textwrap.dedent("""
    import os
    fd = os.open('/trap/python', os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(fd, repr((__name__, dict(os.environ))).encode())
""").encode()
TOOL = b"#!/bin/busybox sh\n/bin/busybox env > /trap/$(/bin/busybox basename $0)\n"
LIBRARY = r"""
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void trap(void) {
    int fd = open("/trap/library", O_WRONLY | O_CREAT | O_APPEND, 0644);
    write(fd, "loaded", 6);
    close(fd);
}
"""


def trojans(directory: Path, interpreter: str) -> list[bytes]:
    """Tar entries: every module of the interpreter's library, tools and system libraries."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    homes = {
        sysconfig.get_path("stdlib"),
        str(Path(interpreter).parents[1] / "lib" / version), f"/usr/lib/{version}",
        f"/usr/lib/{os.path.basename(interpreter)}", str(Path(__file__).parents[2] / "src"),
    }  # fmt: skip
    names = sorted(name for name in sys.stdlib_module_names if not name.startswith("__"))
    entries = [
        member(f"{home.strip('/')}/{name}{suffix}".encode(), data=TROJAN)
        for home in homes
        for name in names
        for suffix in (".py", "/__init__.py")
    ]
    codecs = Path(sysconfig.get_path("stdlib"), "encodings").glob("*.py")
    entries += [
        member(f"{home.strip('/')}/encodings/{path.name}".encode(), data=TROJAN)
        for path in codecs
        for home in homes
    ]
    for tool in TOOLS:
        if tool != "sh":
            for place in ("usr/bin", "usr/sbin", "usr/local/bin"):
                name = f"{place}/{tool}".encode()
                entries.append(member(name, data=TOOL, mode=b"0000755\0"))
    if COMPILER is not None:
        source, target = directory / "trap.c", directory / "trap.so"
        source.write_text(LIBRARY)
        subprocess.run([COMPILER, "-shared", "-fPIC", "-w", "-o", target, source], check=True)
        library = target.read_bytes()
        for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib"):
            for name in LIBRARIES:
                entries.append(member(f"{place}/{name}".encode(), data=library, mode=b"0000755\0"))
    files = "passwd group shadow: files\nhosts: files dns\n"
    entries.append(member(b"etc/nsswitch.conf", data=files.encode()))
    entries.append(member(b"etc/localtime", data=b"TZif2" + bytes(100)))
    entries.append(member(b"etc/ld.so.preload", data=b"/usr/lib/libc.so.6\n"))
    return entries


@pytest.mark.sec("A9")
def test_nothing_of_the_container_runs_in_the_engine(
    onggi: Onggi, image: Image, canary: Canary, interpreter: str, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    trap.mkdir()
    trap.chmod(0o777)
    name = image("trojans", *trojans(tmp_path, interpreter))
    mount = ["-v", f"{trap}:/trap"]
    onggi("create", "--name", "made", *mount, name, "/bin/busybox", "true")
    onggi("run", "-d", "--name", "box", "--init", *mount, "--health-cmd", "/bin/busybox true",
          "--health-interval", "1s", name, "/bin/busybox", "sleep", "1000")  # fmt: skip
    onggi("exec", "-u", "nobody", "box", "/bin/busybox", "true", code=None)
    onggi("exec", "box", "/bin/busybox", "true")
    onggi("exec", "box", "/nonexistent", code=127)
    onggi("exec", "-u", "kéy", "box", "/bin/busybox", "true", code=None)
    file = tmp_path / "file"
    file.write_text("x")
    archive = tmp_path / "a.tar.xz"
    if shutil.which("xz"):
        tar = subprocess.run(["tar", "-cC", tmp_path, "file"], capture_output=True, check=True)
        packed = subprocess.run(["xz"], input=tar.stdout, capture_output=True, check=True)
        archive.write_bytes(packed.stdout)
    onggi("cp", str(file), "box:/tmp/file")
    onggi("cp", "box:/tmp/file", str(tmp_path / "back"))
    onggi("cp", "box:/etc/passwd", str(tmp_path / "passwd"))
    for words in (["top", "box"], ["stats", "--no-stream", "box"], ["logs", "box"], ["diff", "box"],
                  ["inspect", "box"], ["export", "-o", str(tmp_path / "out.tar"), "box"],
                  ["commit", "box", "trojans2"], ["rmi", "trojans2"], ["stop", "-t", "0", "box"],
                  ["cp", "box:/tmp/file", str(tmp_path / "again")]):  # fmt: skip
        onggi(*words, code=None)
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("x")
    if archive.exists():
        shutil.copy(archive, context / "a.tar.xz")
    (context / "Dockerfile").write_text(
        f"FROM {name}\nCOPY file /file\n"
        + ("ADD a.tar.xz /\n" if archive.exists() else "")
        + 'USER root\nRUN ["/bin/busybox", "true"]\n'
    )
    onggi("build", "-q", "-t", "trojans3", str(context), code=None, timeout_s=300)
    onggi("rmi", "-f", "trojans3", code=None)
    assert [path.name for path in trap.iterdir()] == []


@pytest.mark.sec("A9")
def test_control_the_trojans_work(tmp_path: Path) -> None:
    """Control: a process that goes into such a root as the engine must not does run them."""
    (tmp_path / "trap").mkdir()
    target = tmp_path / sysconfig.get_path("stdlib").strip("/") / "colorsys.py"
    target.parent.mkdir(parents=True)
    target.write_bytes(TROJAN)
    code = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); import colorsys"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, tmp_path], check=True)
    assert (tmp_path / "trap/python").exists()
