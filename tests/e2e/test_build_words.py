"""Words of Dockerfiles and flags of build that no other test uses: each does what it says."""

import io
import json
import os
import socket
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onggi.linux.cgroup import remove_group

from .conftest import Onggi
from .test_build import build, context, fails, run

pytestmark = pytest.mark.root


def archive(path: Path, **files: str) -> None:
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))


def test_flags_of_add_and_copy(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
ADD --link one.tar /linked/
ADD --unpack=false one.tar /packed/
ADD --exclude=*.md --exclude=sub d /added/
COPY --exclude=**/*.md d /copied/
"""
    top = context(tmp_path / "c", text, d__a="a", d__b_md="", d__sub__c="c")
    (top / "d/b_md").rename(top / "d/b.md")
    (top / "d/sub/d.md").write_text("d")
    archive(top / "one.tar", inside="x")
    build(onggi, top)
    seen = run(onggi, "sh", "-c", "cd / && find linked packed added copied -type f | sort")
    assert seen.split() == [
        "added/a",
        "copied/a",
        "copied/sub/c",
        "linked/inside",
        "packed/one.tar",
    ]


def test_health_checks(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
HEALTHCHECK --interval=5s --timeout=4s --start-period=3s --start-interval=2s --retries=6 CMD true
"""
    build(onggi, context(tmp_path / "c", text))
    check = json.loads(onggi.out("inspect", "-f", "{{json .Config.Healthcheck}}", "made"))
    second = 10**9
    assert check == {
        "Test": ["CMD-SHELL", "true"], "Interval": 5 * second, "Timeout": 4 * second,
        "StartPeriod": 3 * second, "StartInterval": 2 * second, "Retries": 6,
    }  # fmt: skip


def test_options_of_mounts(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN --mount=type=cache,target=/c,id=w,rw > /c/f
RUN --mount=type=secret,source=plain,target=/s cat /s > /seen
RUN --mount=type=secret,id=plain,target=/s,gid=9,mode=0440 stat -c '%u:%g %a' /s >> /seen
"""
    (tmp_path / "secret").write_text("told\n")
    top = context(tmp_path / "c", text)
    build(onggi, top, "--secret", f"id=plain,src={tmp_path}/secret")
    assert run(onggi, "cat", "/seen") == "told\n0:9 440"


@contextmanager
def listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield


def test_options_of_agents(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN --mount=type=ssh,id=mine,target=/a,mode=0660,gid=9 stat -c '%F %u:%g %a' /a > /seen && \\
    echo $SSH_AUTH_SOCK >> /seen
"""
    top = context(tmp_path / "c", text)
    home = os.getcwd()
    os.chdir(tmp_path)  # a socket's path is short
    try:
        with listening(Path("agent")):
            build(onggi, top, "--ssh", f"mine={tmp_path}/agent")
    finally:
        os.chdir(home)
    assert run(onggi, "cat", "/seen") == "socket 0:9 660\n/a"
    (top / "Dockerfile").write_text(f"FROM {busybox}\nRUN --mount=type=ssh,source=x true\n")
    assert "ssh does not support source" in fails(onggi, top)


def test_symbolic_modes(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
COPY --chmod=u=rwX,go=rX tree /tree
COPY --chmod=ug+x,o= tree/file <<EOF /both/
EOF
WORKDIR /here
RUN --mount=source=tree cat file && cd / && \\
    stat -c %a tree/deep tree/file tree/tool both/file both/EOF > /seen
"""
    top = context(tmp_path / "c", text, tree__file="f", tree__tool="t", tree__deep__x="x")
    for name, mode in (("file", 0o600), ("tool", 0o700), ("deep", 0o700)):
        (top / "tree" / name).chmod(mode)
    build(onggi, top)
    assert run(onggi, "cat", "/seen").split() == ["755", "644", "755", "710", "750"]


def test_what_a_build_knows_of_platforms(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox} AS named
ARG TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE BUILDOS
RUN echo "$TARGETOS/$TARGETARCH/$TARGETVARIANT $TARGETSTAGE $BUILDOS" > /seen
"""
    build(onggi, context(tmp_path / "c", text), "--platform", "linux/amd64")
    assert run(onggi, "cat", "/seen") == "linux/amd64/ named linux"


def test_limits_of_steps(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """As files of the cgroup that the step is in, whichever version."""
    look = (
        "for f in /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us "
        "/sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu.weight; do "
        "cat $f 2>/dev/null; done; "
        "grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status"
    )
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN ({look}) > /seen\n")
    cpu = str(min(os.sched_getaffinity(0)))
    parent = f"onggi-words-{os.getpid()}"
    try:
        build(
            onggi, top, "--cpu-period", "50000", "--cpu-quota", "40000", "--cpu-shares", "512",
            "--cpuset-cpus", cpu, "--cpuset-mems", "0", "--cgroup-parent", f"/{parent}",
            "--memory-swap", "-1", "-m", "64m",
        )  # fmt: skip
    finally:
        places = [*Path("/sys/fs/cgroup").glob(f"*/{parent}"), Path("/sys/fs/cgroup", parent)]
        for place in filter(Path.exists, places):
            remove_group(str(place), time.monotonic() + 60)
    words = run(onggi, "cat", "/seen").split()
    assert "40000" in words and "50000" in words
    assert words[words.index("Cpus_allowed_list:") + 1] == cpu
    assert words[words.index("Mems_allowed_list:") + 1] == "0"


def test_flags_for_other_builders(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Those that have nothing to do here are taken; what would be another result is refused."""
    top = context(tmp_path / "c", f"FROM {busybox}\n")
    build(onggi, top, "--force-rm", "--rm", "--disable-content-trust")
    for flag in ("--rm=false", "--disable-content-trust=false", "--isolation=hyperv"):
        assert "is not supported" in fails(onggi, top, flag, code=125)
