"""`RUN --mount` as a user types it: every kind, its options, and what may never leak."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run

pytestmark = pytest.mark.root
MARKER = "s3cr3t-marker-4711"


def test_bind(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """From the context, without what is ignored, and from a stage; writes are thrown away."""
    top = context(
        tmp_path / "c",
        f"""FROM {busybox} AS tools
RUN mkdir -p /out/sub && echo tool > /out/sub/tool && ln -s /out/sub /link
FROM {busybox}
WORKDIR /made
RUN --mount=target=/ctx --mount=type=bind,source=src,target=here,rw \\
    --mount=type=bind,from=tools,source=/link/tool,target=/bin/the-tool \\
    --mount=type=bind,from=tools,target=/tools,rw \\
    (ls /ctx here; cat /bin/the-tool) > /seen && echo x > here/new && rm -r /tools/out \\
    && ! touch /ctx/no && pwd >> /seen
RUN ls -d /made/here /ctx /tools /bin/the-tool 2> /dev/null >> /seen; true
""",
        src__main="1",
        noise="x",
        _dot_dockerignore="noise\n.dockerignore\n",
    )
    build(onggi, top)
    assert run(onggi, "cat", "/seen") == ("/ctx:\nDockerfile\nsrc\n\nhere:\nmain\ntool\n/made")
    assert build(onggi, top).count("Using cache") == 4
    (top / "Dockerfile").touch()
    (top / "src/main").write_text("2")
    assert build(onggi, top).count("Using cache") < 4
    assert not (top / "src/new").exists()


def test_a_changed_file_beside_the_source_changes_nothing(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    text = f"FROM {busybox}\nRUN --mount=source=a/b,target=/b {UNIQUE} > /stamp\n"
    top = context(tmp_path / "c", text, a__b="1", c="1")
    build(onggi, top)
    (top / "c").write_text("2")
    assert "Using cache" in build(onggi, top)
    (top / "a/b").write_text("2")
    assert "Using cache" not in build(onggi, top)


def test_cache_stays_between_builds(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    run_line = (
        "RUN --mount=type=cache,target=/c,id=t1,uid=7,gid=8,mode=0750 "
        "echo x >> /c/f; wc -l < /c/f > /n; stat -c '%u:%g %a' /c > /s"
    )
    top = context(tmp_path / "c", f"FROM {busybox}\n{run_line}\n")
    for count in ("1", "2", "3"):
        build(onggi, top, "--no-cache")
        assert run(onggi, "cat", "/n", "/s") == f"{count}\n7:8 750"
    assert run(onggi, "sh", "-c", "ls -d /c 2>&1; true") == "ls: /c: No such file or directory"


def test_cache_from_a_stage_and_read_only(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox} AS seed
RUN mkdir /s && echo seeded > /s/f
FROM {busybox}
RUN --mount=type=cache,target=/c,from=seed,source=/s cat /c/f > /seen && echo more >> /c/f
RUN --mount=type=cache,target=/c,from=seed,source=/s,ro cat /c/f >> /seen && ! touch /c/x
"""
    build(onggi, context(tmp_path / "c", text))
    assert run(onggi, "cat", "/seen") == "seeded\nseeded\nmore"


@pytest.mark.sec("D1")
@pytest.mark.parametrize("name", ["../../../../etc", "/etc", "..", "a/../../b"])
def test_a_cache_id_is_no_path(onggi: Onggi, busybox: str, tmp_path: Path, name: str) -> None:
    top = context(
        tmp_path / "c",
        f"FROM {busybox}\n"
        f"RUN --mount=type=cache,target=/c,id={name} ls -A /c > /seen; > /c/canary\n",
    )
    build(onggi, top, "--no-cache")
    assert not Path("/etc/canary").exists()
    names = [path.name for path in (onggi.root / "buildcache-mounts").iterdir()]
    assert all(len(n.partition(".")[0]) == 64 for n in names)
    assert run(onggi, "cat", "/seen") in ("", "canary")


@pytest.mark.sec("D1")
def test_a_cache_whose_root_became_a_link(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """What commands leave in a cache cannot bend the next mount of it."""
    text = (
        f"FROM {busybox} AS s\nRUN mkdir /s && ln -s / /s/sub\nFROM {busybox}\n"
        "RUN --mount=type=cache,target=/c,id=bent,from=s,source=/s/sub ls /c > /seen\n"
    )
    build(onggi, context(tmp_path / "c", text))
    assert "bin" in run(onggi, "cat", "/seen")
    assert "work" not in run(onggi, "cat", "/seen").split()


def test_locked_waits_private_does_not(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Two builds hold a locked cache one after the other."""
    step = (
        "RUN --mount=type=cache,target=/c,id=lock-{0},sharing={0} "
        "echo begin >> /c/log; sleep 1; echo end >> /c/log; cat /c/log > /seen # {1}\n"
    )

    def one(arguments: tuple[str, int]) -> str:
        sharing, number = arguments
        top = context(
            tmp_path / f"{sharing}{number}", f"FROM {busybox}\n" + step.format(sharing, number)
        )
        build(onggi, top, tag=f"{sharing}{number}")
        return run(onggi, "cat", "/seen", image=f"{sharing}{number}")

    with ThreadPoolExecutor(4) as pool:
        locked = list(pool.map(one, [("locked", 1), ("locked", 2)]))
        private = list(pool.map(one, [("private", 1), ("private", 2)]))
    assert sorted(locked) == ["begin\nend", "begin\nend\nbegin\nend"]
    assert sorted(private)[0] == "begin\nend"


def test_tmpfs(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN --mount=type=tmpfs,target=/t,size=64k grep ' /t ' /proc/mounts > /seen && > /t/x && \\
    ! dd if=/dev/zero of=/t/big bs=1k count=200 2> /dev/null
"""
    build(onggi, context(tmp_path / "c", text))
    assert "tmpfs" in run(onggi, "cat", "/seen") and "size=64k" in run(onggi, "cat", "/seen")


@pytest.mark.sec("D8")
def test_a_secret_is_nowhere_but_in_the_step(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{MARKER}-file\n")
    top = context(
        tmp_path / "c",
        f"""FROM {busybox}
RUN --mount=type=secret,id=one stat -c '%a %u' /run/secrets/one > /mode && \\
    grep -q -- -file /run/secrets/one && grep ' /run/secrets/one ' /proc/mounts > /mounts
RUN --mount=type=secret,id=two,env=TOKEN --mount=type=secret,id=two,target=/x,mode=0444,uid=3 \\
    test "$TOKEN" = "$(cat /x)" && stat -c '%a %u' /x >> /mode
RUN --mount=type=secret,id=missing test ! -e /run/secrets/missing
""",
    )
    done = onggi(
        "build", "-t", "made", "--secret", f"id=one,src={secret}", "--secret", "id=two,env=T",
        str(top), T=f"{MARKER}-env",
    )  # fmt: skip
    assert run(onggi, "cat", "/mode") == "400 0\n444 3"
    assert run(onggi, "cat", "/mounts").startswith("tmpfs ")
    history = onggi.out("history", "--no-trunc", "made")
    assert MARKER not in done.stdout + done.stderr + history + onggi.out("inspect", "made")
    for place in (onggi.root, Path(onggi.environment["ONGGI_RUN"])):
        for directory, _, names in os.walk(place):
            for path in (Path(directory, name) for name in names):
                with suppress(FileNotFoundError):  # what tidies up after the build
                    if path.is_file():
                        assert MARKER.encode() not in path.read_bytes(), path

    again = onggi("build", "--secret", f"id=one,src={top}/Dockerfile", str(top))
    assert again.stdout.count("Using cache") == 3  # another secret is no other build


@pytest.mark.sec("D8")
def test_secrets_that_are_not_there(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox}\nRUN --mount=type=secret,id=need,required cat /run/secrets/need\n"
    top = context(tmp_path / "c", text)
    error = fails(onggi, top)
    assert "secret need: not found" in error and "--secret id=need,src=FILE" in error
    assert "failed to stat" in fails(onggi, top, "--secret", "id=need,src=/nope")
    (tmp_path / "big").write_bytes(bytes(501 << 10))
    assert "too big" in fails(onggi, top, "--secret", f"id=need,src={tmp_path}/big")


@contextmanager
def agent(path: Path) -> Iterator[None]:
    """Answers what it is asked, twice."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(client.recv(100) * 2)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_ssh(onggi: Onggi, busybox: str, python: str, tmp_path: Path) -> None:
    """The agent answers to the owner that the Dockerfile names."""
    ask = (
        "import os, socket; s = socket.socket(socket.AF_UNIX); "
        "s.connect(os.environ['SSH_AUTH_SOCK']); s.sendall(b'ask'); "
        "print(s.recv(99).decode(), oct(os.stat(os.environ['SSH_AUTH_SOCK']).st_mode)[-3:])"
    )
    text = (
        f'FROM {python}\nUSER 1000\nRUN --mount=type=ssh,uid=1000 python3 -c "{ask}" > /tmp/seen\n'
    )
    top = context(tmp_path / "c", text)
    with agent(tmp_path / "agent"):
        done = onggi("build", "-t", "made", "--ssh", f"default={tmp_path}/agent", str(top))
        assert str(tmp_path) not in done.stdout
        assert run(onggi, "cat", "/tmp/seen") == "askask 600"
    text = f"FROM {busybox}\nRUN --mount=type=ssh,required true\n"
    assert "unset ssh forward key default" in fails(onggi, context(tmp_path / "c", text))
    os.mkdir(tmp_path / "dir")
    assert "Is a directory" in fails(onggi, top, "--no-cache", "--ssh", f"default={tmp_path}/dir")


@pytest.mark.sec("D3")
def test_more_rights_are_the_users_to_give(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    probe = "grep CapEff /proc/self/status > /caps"
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN --security=insecure {probe}\n")
    error = fails(onggi, top)
    assert "security.insecure is not allowed" in error and "--allow security.insecure" in error
    build(onggi, top, "--allow", "security.insecure")
    assert run(onggi, "cat", "/caps") != run(onggi, "grep", "CapEff", "/proc/self/status")

    host = context(
        tmp_path / "h", f"FROM {busybox}\nRUN --network=host readlink /proc/self/ns/net > /n\n"
    )
    assert "network.host is not allowed" in fails(onggi, host)
    build(onggi, host, "--allow", "network.host")
    assert run(onggi, "cat", "/n") == os.readlink("/proc/self/ns/net")
    none = context(tmp_path / "n", f"FROM {busybox}\nRUN --network=none ls /sys/class/net > /n\n")
    build(onggi, none)
    assert run(onggi, "cat", "/n") == "lo"


@pytest.mark.sec("D4")
def test_a_bind_source_stays_in_its_tree(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN --mount=source=link,target=/x ls /x\n")
    (top / "link").symlink_to("/etc")
    assert "leads out of the build context" in fails(onggi, top)
    (top / "Dockerfile").write_text(f"FROM {busybox}\nRUN --mount=source=../up,target=/x ls /x\n")
    assert "outside the build context" in fails(onggi, top)
    (top / "Dockerfile").write_text(
        f"FROM {busybox} AS s\nRUN ln -s / /root-link && ln -s ../../../etc /up\nFROM {busybox}\n"
        "RUN --mount=from=s,source=/root-link,target=/x ls /x/root-link -d && test ! -e /x/work\n"
        "RUN --mount=from=s,source=/up,target=/x test -e /x/passwd\n"
        "RUN --mount=from=s,source=/nope,target=/x true\n"
    )
    assert '"/nope": not found' in fails(onggi, top)


@pytest.mark.sec("D2")
def test_a_command_cannot_turn_the_cleanup_on_the_host(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    (canary / "sub").mkdir(parents=True)
    text = (
        f"FROM {busybox}\nRUN --mount=type=tmpfs,target=/d/sub "
        f"umount /d/sub 2> /dev/null; mv /d /e; ln -s {canary} /d; true\n"
    )
    build(onggi, context(tmp_path / "c", text))
    assert (canary / "sub").is_dir()
