"""The first slice as an unprivileged user: with subordinate ids, and with a single id."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onggi.linux.cgroup import remove_group
from registry_server import PROGRAM

from .conftest import Onggi
from .machine import Machine, User, machine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    for tool in ("newuidmap", "pasta", "slirp4netns"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module")
def registry(host: Machine) -> str:
    """A registry of that machine; its name."""
    if PROGRAM is None:
        pytest.skip("no docker-registry")
    host.start_registry(PROGRAM, 5055)
    return "127.0.0.1:5055"


@pytest.fixture(scope="module", params=["alice", "bob"])
def loaded_user(
    request: pytest.FixtureRequest, host: Machine, base_image: Callable[[str], Path]
) -> User:
    user = host.user(request.param)
    for name in ("busybox:latest", "python:3.11"):
        user("load", "-q", "-i", user.copy_in(base_image(name)))
    return user


@pytest.fixture
def user(loaded_user: User) -> Iterator[User]:
    yield loaded_user
    loaded_user.remove_containers()


def test_the_command_runs_as_root_of_the_users_namespace(user: User) -> None:
    line = user.out("run", "--rm", "busybox", "cat", "/proc/self/uid_map").split()
    assert line[:2] == ["0", str(user.uid)]
    assert user.out("info", "-f", "{{.DockerRootDir}}") == f"/home/{user.name}/.local/share/onggi"
    assert user.root.stat().st_uid == user.uid


def test_the_tutorial(user: User, registry: str) -> None:
    name = f"{registry}/library/hello"
    user("tag", "busybox", name)
    user("push", name)
    user("rmi", name)
    told = user.out("pull", name).splitlines()
    assert told[-2:] == [f"Status: Downloaded newer image for {name}:latest", f"{name}:latest"]
    with user.terminal("run", "-it", name, "sh") as terminal:
        terminal.expect("# ")
        terminal.send("echo made > /made-here; echo $((6 * 7))\n")
        terminal.expect("42")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3
    line = user.out("ps", "--all").splitlines()[1]
    assert re.search(r"Exited \(3\) (Less than a second|\d+ seconds?) ago", line)
    short = line.split()[0]
    assert user.out("restart", short) == short
    assert user.out("commit", short, "test:mine").startswith("sha256:")
    assert user.out("run", "--rm", "test:mine", "cat", "/made-here") == "made"
    user("stop", "-t", "0", short)
    assert user.out("rm", short) == short

    full = user.out("run", "-d", name, "sh", "-c", "echo said; exec sleep 600")
    assert user.out("ps", "-q") == full[:12]
    assert user.until("said", "logs", full) == "said\n"
    with user.terminal("exec", "-it", full[:6], "sh") as terminal:
        terminal.expect("# ")
        terminal.send("tr '\\0' ' ' < /proc/1/cmdline\n")
        terminal.expect("sleep 600")
        terminal.send("exit\n")
        assert terminal.wait() == 0
    assert "sleep 600" in user.out("top", full)
    assert user.out("stop", "-t", "0", full[:4]) == full[:4]
    assert user.out("rm", full[:4]) == full[:4]
    assert user.out("ps", "--all", "-q") == ""
    user("rmi", name, "test:mine")


def it_goes(user: User, program: str) -> None:
    deadline = time.monotonic() + 60
    while left := [line for line in user.machine.processes(user.uid) if program in line]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def test_ports_are_published(user: User) -> None:
    serve = "while :; do echo hello | nc -l -p 80; done"
    user("run", "-d", "--name", "web", "-p", "127.0.0.1:18080:80", "busybox", "sh", "-c", serve)
    assert user.out("port", "web") == "80/tcp -> 127.0.0.1:18080"
    assert user.fetch(18080) == "hello\n"
    done = user("run", "--rm", "-p", "127.0.0.1:18080:80", "busybox", "true", code=125)
    assert "address already in use" in done.stderr
    assert "published by the container web" in done.stderr
    user("restart", "-t", "0", "web")
    assert user.fetch(18080) == "hello\n"
    user("rm", "-f", "web")
    it_goes(user, "pasta")


def test_networks_of_ones_own(user: User) -> None:
    """Names, addresses, ports and the way out of containers on bridges that nobody else sees."""
    serve = "while :; do echo hello | nc -l -p 80; done"
    for name in ("front", "back"):
        user("network", "create", name)
    user("network", "create", "--internal", "inner")
    user("run", "-d", "--name", "web", "--network", "front", "--network-alias", "www",
         "-p", "18083:80", "busybox", "sh", "-c", serve)  # fmt: skip
    user("run", "-d", "--name", "both", "--network", "front", "--network", "back", "busybox",
         "sleep", "600")  # fmt: skip
    user("run", "-d", "--name", "alone", "--network", "inner", "busybox", "sleep", "600")
    until = 'until nc -w 5 "$1" 80 < /dev/null | grep hello; do sleep 0.1; done'
    ask = ["timeout", "60", "sh", "-c", until, "sh"]
    assert user.out("exec", "both", *ask, "web") == "hello"
    assert user.out("run", "--rm", "--network", "front", "busybox", *ask, "www") == "hello"
    address = user.out("inspect", "-f", "{{.NetworkSettings.Networks.front.IPAddress}}", "web")
    assert f"{address}\n" in user.out("exec", "both", "nslookup", "web") + "\n"
    user("exec", "alone", "nslookup", "web", code=1)
    user("exec", "alone", "ping", "-c", "1", "-W", "1", address, code=1)
    assert user.fetch(18083) == "hello\n"
    assert user.fetch(18083, "::1") == "hello\n"
    done = user("run", "--rm", "-p", "18083:80", "busybox", "true", code=125)
    assert "published by the container web" in done.stderr

    user("network", "connect", "inner", "web")
    assert user.out("exec", "alone", *ask, "web") == "hello"
    user("network", "disconnect", "inner", "web")
    user("exec", "alone", "ping", "-c", "1", "-W", "1", "web", code=1)
    user("restart", "-t", "0", "web")
    assert user.fetch(18083) == "hello\n"
    assert user.out("exec", "both", *ask, "web") == "hello"

    user.shell("echo outside | busybox nc -l -p 18084 > /dev/null 2>&1 &")
    out = (
        "until grep -qs outside /tmp/out; do nc 192.0.2.2 18084 < /dev/null > /tmp/out & sleep 1; "
        "done"
    )
    user("exec", "both", "timeout", "60", "sh", "-c", out)
    done = user("network", "connect", "bridge", "web", code=1)
    assert "without root" in done.stderr
    done = user("network", "create", "-d", "macvlan", "wire", code=1)
    assert "need root" in done.stderr
    user("rm", "-f", "web", "both", "alone")
    user("network", "rm", "front", "back", "inner")
    deadline = time.monotonic() + 60
    kept = ("pasta", "resolver", "keeps the networks", "proxy")
    while any(word in line for line in user.machine.processes(user.uid) for word in kept):
        assert time.monotonic() < deadline, user.machine.processes(user.uid)
        time.sleep(0.1)


def test_installs_keep_owners(user: User) -> None:
    """A Debian package and a Python package; what has an owner without an id keeps it on record."""
    context = user.home / "context"
    (context / "deb/DEBIAN").mkdir(parents=True)
    (context / "deb/var/thing").mkdir(parents=True)
    (context / "deb/DEBIAN/control").write_text(
        "Package: thing\nVersion: 1\nArchitecture: all\nMaintainer: me <me@here>\n"
        "Description: a thing\n"
    )
    script = "#!/bin/sh\nset -e\nchown -R games:shadow /var/thing\nchmod 2750 /var/thing\n"
    (context / "deb/DEBIAN/postinst").write_text(script)
    (context / "deb/DEBIAN/postinst").chmod(0o755)
    (context / "module/thing").mkdir(parents=True)
    (context / "module/thing/__init__.py").write_text("value = 42\n")
    (context / "module/setup.py").write_text(
        "from setuptools import setup\nsetup(name='thing', version='1', packages=['thing'])\n"
    )
    (context / "Dockerfile").write_text(
        "FROM python:3.11\n"
        "COPY deb /deb\n"
        "RUN chown -R 0:0 /deb && mkdir /repo && dpkg-deb -b /deb /repo/thing.deb"
        " && apt-get install -y /repo/thing.deb\n"
        "COPY module /module\n"
        "RUN pip install --no-index --no-build-isolation /module\n"
        "COPY --chown=1234:2345 module/setup.py /given\n"
        "RUN cp -p /given /copy && echo more >> /given\n"
    )
    user.own(context)
    user("build", "-q", "-t", "app", f"/home/{user.name}/context")
    assert (
        user.out("run", "--rm", "app", "python", "-c", "import thing; print(thing.value)") == "42"
    )
    seen = user.out("run", "--rm", "app", "stat", "-c", "%u:%g:%a", "/var/thing")
    assert seen == ("5:42:2750" if user.name == "alice" else "0:0:2750")
    user("save", "-o", f"/home/{user.name}/app.tar", "app")
    owners = owners_in(user.home / "app.tar")
    assert owners["given"] == (1234, 2345)  # written to since, by who is root
    if user.name == "alice":
        assert owners["copy"] == (1234, 2345)
        assert owners["var/thing/"] == (5, 42)


def owners_in(path: Path) -> dict[str, tuple[int, int]]:
    """Owners of the members of an image's layers, the topmost layer's last."""
    found = {}
    with tarfile.open(path) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                for member in layer:
                    found[member.name + "/" * member.isdir()] = (member.uid, member.gid)
    return found


def test_files_go_in_and_out(user: User) -> None:
    user("run", "-d", "--name", "files", "-v", "kept:/kept", "busybox", "sleep", "600")
    user.shell("echo in > ~/in")
    user("cp", f"/home/{user.name}/in", "files:/kept/in")
    assert user.out("exec", "files", "cat", "/kept/in") == "in"
    user("exec", "files", "sh", "-c", "echo out > /out; rm /bin/vi")
    user("cp", "files:/out", f"/home/{user.name}/out")
    assert (user.home / "out").read_text() == "out\n"
    assert (user.home / "out").stat().st_uid == user.uid
    assert user.out("diff", "files").splitlines() == ["C /bin", "D /bin/vi", "A /kept", "A /out"]
    user("rm", "-f", "files")
    user("volume", "rm", "kept")


def test_what_the_kernel_does_not_give_is_said(user: User) -> None:
    done = user("run", "--rm", "-m", "64m", "busybox", "true")
    assert "memory limit capabilities" in done.stderr
    user("run", "-d", "--name", "still", "busybox", "sleep", "600")
    assert "no control group" in user("pause", "still", code=1).stderr
    done = user("run", "--rm", "--userns", "auto", "busybox", "true", code=125)
    assert "needs root" in done.stderr
    done = user("run", "--rm", "--user", "1000", "busybox", "id", "-u")
    if user.name == "bob":
        assert done.stdout == "0\n"
        assert "there is one id only" in done.stderr
    else:
        assert (done.stdout, done.stderr) == ("1000\n", "")


@pytest.mark.parametrize("kind", ["network", "pid", "ipc", "uts"])
def test_namespaces_of_the_host_and_of_others(user: User, kind: str) -> None:
    user("run", "-d", "--name", "other", "--ipc", "shareable", "busybox", "sleep", "600")
    for mode in ("host", "container:other") if kind != "uts" else ("host",):
        user("run", "-d", "--name", "shares", f"--{kind}", mode, "busybox", "sleep", "600")
        assert user.out("exec", "shares", "echo", "here") == "here"
        user("rm", "-f", "shares")


def test_a_killed_holder_is_replaced(user: User) -> None:
    """What runs in the namespace leads back to it."""
    user("run", "-d", "--name", "lives", "busybox", "sleep", "600")
    before = user.out("exec", "lives", "readlink", "/proc/self/ns/user")
    user.shell("kill -9 $(cut -d' ' -f1 $XDG_RUNTIME_DIR/onggi/namespace)")
    assert user.out("exec", "lives", "readlink", "/proc/self/ns/user") == before
    user("rm", "-f", "lives")


def test_another_users_store_is_refused(host: Machine, user: User) -> None:
    other = host.user("bob" if user.name == "alice" else "alice")
    other.shell("mkdir -p ~/mine && chmod 777 ~/mine")
    done = user("--root", f"/home/{other.name}/mine", "ps", code=1)
    assert "stores of different users do not mix" in done.stderr
    user.shell("ln -sfn ~/own ~/link; mkdir -p ~/own")
    subprocess.run(["chown", "-h", str(other.uid), user.home / "link"], check=True)
    done = user("--run-root", f"/home/{user.name}/link", "ps", code=1)
    assert "another user's link" in done.stderr


def test_root_refuses_a_users_store(shared_onggi: Onggi, tmp_path: Path) -> None:
    os.chown(tmp_path, 61001, 61001)
    done = shared_onggi("--root", str(tmp_path), "ps", code=1)
    assert "belongs to the user 61001" in done.stderr


def test_doctor_and_info_name_the_tier(user: User) -> None:
    found = json.loads(user.out("doctor", "--format", "json"))
    tier, name = (2, "subordinate ids") if user.name == "alice" else (3, "single id")
    assert (found["Tier"], found["Name"]) == (tier, name)
    by_name = {finding["Name"]: finding for finding in found["Findings"]}
    assert by_name["network"]["About"] == "pasta"
    assert by_name["layers"]["Level"] == "note"
    about, fix = user.out("info", "-f", "{{.Privilege}}\n{{.PrivilegeRaise}}").splitlines()
    assert about.startswith(f"tier {tier} of 4: {name}")
    assert fix.startswith("sudo onggi" if tier == 2 else "sudo usermod --add-subuids ")
    assert f"raise it: {fix}" in user.out("doctor")


def test_unshare_looks_in(user: User) -> None:
    assert user.out("unshare", "id", "-u") == "0"
    inside = user.out("unshare", "readlink", "/proc/self/ns/user")
    assert user.out("run", "--rm", "busybox", "readlink", "/proc/self/ns/user") == inside
    user("unshare", "/nothing/there", code=127)


def test_pods_and_volumes_in_memory(user: User) -> None:
    user("pod", "create", "-p", "8099:80", "web")
    try:
        user("run", "-d", "--pod", "web", "--name", "server", "busybox", "httpd", "-f", "-p", "80",
             "-h", "/etc")  # fmt: skip
        get = "wget -qO- http://127.0.0.1/hostname"
        ask = f"for i in $(seq 300); do {get} && exit; sleep 0.1; done; exit 1"
        assert user.out("run", "--rm", "--pod", "web", "busybox", "sh", "-c", ask) == "web"
        assert user.out("pod", "ps", "--format", "{{.Name}} {{.Status}}") == "web Running"
        get = r"printf 'GET /hostname HTTP/1.0\r\n\r\n'"
        deadline = time.monotonic() + 60
        while not user.shell(f"{get} | busybox nc -w 5 127.0.0.1 8099 || :").endswith("web\n"):
            assert time.monotonic() < deadline
        user("pod", "stop", "-t", "0", "web")
    finally:
        user("pod", "rm", "-f", "web")
    user("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "fast")
    try:
        user("run", "-d", "--name", "one", "-v", "fast:/fast", "busybox", "sleep", "600")
        user("exec", "one", "sh", "-c", "echo shared > /fast/file")
        assert user.out("run", "--rm", "-v", "fast:/x", "busybox", "cat", "/x/file") == "shared"
        user("rm", "-f", "one")
    finally:
        user("volume", "rm", "-f", "fast")


def test_the_users_store_is_a_registry(user: User) -> None:
    serving = user.popen("registry", "serve", "--listen", "127.0.0.1:5077", "-q")
    try:
        assert serving.stderr is not None
        assert "registry listens on 127.0.0.1:5077" in serving.stderr.readline()
        user("pull", "127.0.0.1:5077/busybox")
    finally:
        user.shell("kill $(pgrep -f '^onggi registry serve')")  # a signal stops at nsenter
        serving.communicate(timeout=60)
    user("rmi", "127.0.0.1:5077/busybox")


def test_a_host_without_a_way_out(user: User) -> None:
    """pasta refuses to start there, slirp4netns does not."""
    user.machine.run("ip", "route", "del", "default")
    try:
        serve = "while :; do echo hello | nc -l -p 80; done"
        words = ("run", "-d", "--name", "web", "-p", "18081:80", "busybox", "sh", "-c", serve)
        user(*words)
        assert user.fetch(18081) == "hello\n"
        assert "slirp4netns" in user.out("doctor")
        assert "default via 10.0.2.2" in user.out("exec", "web", "ip", "route")
        user("restart", "-t", "0", "web")
        assert user.fetch(18081) == "hello\n"
        user("rm", "-f", "web")
        it_goes(user, "slirp")
    finally:
        user.machine.run("ip", "route", "add", "default", "via", "192.0.2.1")


@pytest.fixture
def delegated(user: User, tmp_path: Path) -> Iterator[Path]:
    """A v2 group that is the user's, with all of its commands in it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines if " - cgroup2 " in line]
    if not points:
        pytest.skip("no cgroup2")
    group = Path(points[0], f"delegated-{user.name}-{os.urandom(4).hex()}")
    group.mkdir()
    script, before = tmp_path / "within", user.command
    script.write_text(f'#!/bin/sh\necho $$ > {group}/cgroup.procs && exec {before} "$@"\n')
    script.chmod(0o755)
    try:
        for path in (group, group / "cgroup.procs", group / "cgroup.subtree_control"):
            os.chown(path, user.uid, user.uid)
        user.command = script
        yield group
    finally:
        user.remove_containers()
        user.command = before
        remove_group(str(group), time.monotonic() + 60)


def test_a_delegated_group(user: User, delegated: Path) -> None:
    by_name = {f["Name"]: f for f in json.loads(user.out("doctor", "-f", "json"))["Findings"]}
    assert by_name["control groups"]["About"] == "v2, a group is delegated to us"
    id_ = user.out("run", "-d", "--name", "held", "busybox", "sleep", "600")
    assert (delegated / "onggi" / id_ / "cgroup.procs").read_text().strip()
    user("pause", "held")
    assert user.out("inspect", "-f", "{{.State.Status}}", "held") == "paused"
    user("unpause", "held")
    assert user.out("exec", "held", "echo", "here") == "here"
    assert "sleep 600" in user.out("top", "held")
    user("rm", "-f", "held")
    assert not (delegated / "onggi" / id_).exists()
