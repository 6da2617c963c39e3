"""The command line as the client of an engine elsewhere: `-H`, contexts. The engine is `onggi
serve` over another socket, TLS or ssh; what a command prints must not tell them apart."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api_server import ApiServer, api_server
from ports import free_port

from .conftest import COMMAND, Onggi
from .test_api_http import certificates
from .test_transfer import Host, host

pytestmark = pytest.mark.root
_ = host  # a fixture


class Elsewhere(Onggi):
    """The same command, told where the engine is; it has no store of its own to fall back to."""

    def __init__(self, home: Path, *flags: str) -> None:
        super().__init__(home)
        self.flags = flags
        self.environment["ONGGI_ROOT"] = "/nonexistent/root"
        self.environment["ONGGI_RUN"] = "/nonexistent/run"

    def __call__(self, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        return super().__call__(*self.flags, *arguments, **more)  # type: ignore[arg-type]


@pytest.fixture
def away(api: ApiServer, tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path, "-H", api.url)


def test_run(away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    done = away("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    text = "line\n" * 100_000
    assert away("run", "-i", "--rm", busybox, "cat", stdin=text).stdout == text
    assert "executable file not found" in away("run", "--rm", busybox, "nope", code=127).stderr
    assert "is a directory" in away("run", "--rm", busybox, "/etc", code=126).stderr
    away("run", "--rm", "localhost/none", "true", code=125)
    assert onggi.out("ps", "-aq") == ""


def test_a_terminal(away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    with away.terminal(*away.flags, "run", "-it", "--rm", busybox, "sh", rows=31, columns=97) as it:
        it.expect("# ")
        it.send("stty size; tty\n")
        it.expect("31 97")
        it.send("exit 7\n")
        assert it.wait(60) == 7


SAME = [
    ("ps", "-a"), ("ps", "-a", "--format", "{{.Names}} {{.Image}} {{.Ports}} {{.State}}"),
    ("port", "web"), ("top", "web", "-o", "pid,ppid,comm"), ("diff", "web"), ("logs", "web"),
    ("images",),
    ("inspect", "-f", "{{.Name}} {{.HostConfig.NetworkMode}} {{.Config.Env}}", "web"),
    ("history", "busybox"), ("image", "inspect", "-f", "{{.Id}}", "busybox"),
    ("network", "ls"), ("volume", "ls"), ("volume", "inspect", "away"), ("exec", "web", "ls", "/"),
    ("logs", "-t", "web"), ("ps", "-aq", "--filter", "label=kind=web"), ("inspect", "nobody"),
    ("network", "inspect", "nobody"), ("rm", "nobody"),
    ("start", "nobody"),
]  # fmt: skip


def test_it_says_the_same(away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    script = "echo started; exec httpd -f -p 80"
    away("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-v", "away:/data", "-e", "A=b",
         "--label", "kind=web", busybox, "sh", "-c", script)  # fmt: skip
    try:
        onggi.until("started", "logs", "web")
        for command in SAME:
            here, there = onggi(*command, code=None), away(*command, code=None)
            assert seen(there) == seen(here), command
        assert "executable file not found" in away("exec", "web", "nope", code=127).stdout
    finally:
        onggi("rm", "-fv", "web")
        onggi("volume", "rm", "-f", "away")


def seen(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Without ages, which go on."""
    still = re.sub(
        r"(\d+ (second|minute|hour)s?|Less than a second|About a(n hour| minute))( ago)?",
        "AGE", done.stdout,
    )  # fmt: skip
    return done.returncode, re.sub(r" +", " ", still), done.stderr


def test_lives(away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    away(
        "create", "--name", "box", "-m", "64m", "--restart", "on-failure:3", busybox, "sleep", "600"
    )
    assert onggi.out("inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}",
                     "box") == "67108864 on-failure"  # fmt: skip
    for command, status in (("start", "running"), ("pause", "paused"), ("unpause", "running"),
                            ("restart", "running"), ("kill", "exited")):  # fmt: skip
        limit = ("-t", "0") if command == "restart" else ()
        assert away.out(command, *limit, "box") == "box"
        onggi.until(status, "inspect", "-f", "{{.State.Status}}", "box")
    assert away.out("wait", "box") == "137"
    away("rename", "box", "crate")
    away("update", "-m", "32m", "--memory-swap", "64m", "crate")
    assert onggi.out("inspect", "-f", "{{.HostConfig.Memory}}", "crate") == str(32 << 20)
    image = away.out("commit", "crate", "away:1")
    assert image == onggi.out("image", "inspect", "-f", "{{.Id}}", "away:1")
    assert away.out("rm", "crate") == "crate"
    away("tag", "away:1", "away:2")
    assert "Untagged: away:2" in away.out("rmi", "away:1", "away:2")


def test_archives(away: Elsewhere, onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    away("tag", busybox, "away:saved")
    try:
        away("save", "-o", str(tmp_path / "image.tar"), "away:saved")
        away("rmi", "away:saved")
        assert away.out("load", "-qi", str(tmp_path / "image.tar")) == "Loaded image: away:saved"
    finally:
        onggi("rmi", "away:saved", code=None)
    onggi("create", "--name", "box", busybox)
    away("export", "-o", str(tmp_path / "files.tar"), "box")
    listed = subprocess.run(["tar", "tf", tmp_path / "files.tar"], capture_output=True, text=True)
    assert "bin/busybox" in listed.stdout


@pytest.fixture
def context(tmp_path: Path, busybox: str) -> Path:
    folder = tmp_path / "context"
    (folder / "sub").mkdir(parents=True)
    (folder / "Dockerfile").write_text(
        f"FROM {busybox}\nARG WORD=none\nLABEL kind=away\nCOPY . /w/\n"
        "RUN echo word $WORD && ls -A /w /w/sub && stat -c '%u %a' /w/run.sh\n"
    )
    (folder / ".dockerignore").write_text("Dockerfile\n*.log\n!sub/kept.log\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    os.link(folder / "run.sh", folder / "hard")
    os.symlink("run.sh", folder / "soft")
    for name in ("noise.log", "sub/kept.log", "sub/file"):
        (folder / name).write_text(name)
    return folder


def test_a_build(away: Elsewhere, onggi: Onggi, context: Path, tmp_path: Path) -> None:
    """Sent as a tar, built there; what it prints and what it makes is as with this machine's."""
    flags = ("--build-arg", "WORD=here", "-t", "away:built", "--label", "more=1")
    there = away("build", *flags, "--iidfile", str(tmp_path / "id"), str(context)).stdout
    try:
        assert (tmp_path / "id").read_text() == onggi.out("image", "inspect", "-f", "{{.Id}}",
                                                          "away:built")  # fmt: skip
        assert there.count("Step ") == 5
        assert "word here\n" in there
        assert "noise.log" not in there
        assert "0 750\n" in there
        here = onggi("build", *flags, str(context)).stdout
        assert (tmp_path / "id").read_text() in onggi.out("images", "-q", "--no-trunc", "away")
        plain = [line for line in there.splitlines() if line.startswith(("Step", "Successfully"))]
        assert plain == [
            line for line in here.splitlines() if line.startswith(("Step", "Successfully"))
        ]
        assert " ---> Using cache" in away("build", *flags, str(context)).stdout
    finally:
        onggi("rmi", "-f", "away:built", code=None)


def test_other_contexts_of_a_build(
    away: Elsewhere, onggi: Onggi, context: Path, busybox: str, tmp_path: Path
) -> None:
    text = f"FROM {busybox}\nCOPY . /w\nRUN ls -A /w\n"
    outside = tmp_path / "outside"
    outside.write_text(text)
    for flags, stdin in (
        (["-f", str(outside), str(context)], None),
        (["-f", "-", str(context)], text),
    ):
        told = away("build", "--no-cache", "--compress", *flags, stdin=stdin).stdout
        assert "run.sh\n" in told
        assert "dockerfile" not in told
    packed = subprocess.run(["tar", "c", "-C", context, "."], capture_output=True, check=True)
    (tmp_path / "context.tar").write_bytes(packed.stdout)
    with open(tmp_path / "context.tar", "rb") as archive:
        done = subprocess.run([away.command, *away.flags, "build", "-q", "-"], stdin=archive,
                              env=away.environment, capture_output=True, check=True)  # fmt: skip
    assert done.stdout.startswith(b"sha256:")
    assert away("build", "-", stdin=f"FROM {busybox}\nRUN echo alone\n").stdout.count("alone") == 2
    done_ = away("build", "-q", "-", stdin=f"FROM {busybox}\nRUN echo told; exit 3\n", code=1)
    assert done_.stderr.startswith("told\n")
    assert "returned a non-zero code: 3" in done_.stderr
    assert "unknown instruction" in away("build", "-", stdin="FRM x\n", code=1).stderr
    onggi("image", "prune", "-f")


@pytest.mark.parametrize(
    "flag",
    ["--secret=id=x,src=/etc/hostname", "--output=out", "--push", "--ssh=default",
     "--build-context=a=/tmp", "--sbom=true"],
)  # fmt: skip
def test_a_build_that_needs_buildkit(away: Elsewhere, context: Path, flag: str) -> None:
    done = away("build", flag, "-t", "away:no", str(context), code=1)
    name = flag.partition("=")[0]
    assert done.stderr.startswith(f"{name} needs BuildKit: with an engine elsewhere docker's")
    assert done.stdout == ""


def test_files(away: Elsewhere, onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    onggi("exec", "box", "sh", "-c", "mkdir -p /d/sub; echo one >/d/one; ln -s one /d/link")
    away("cp", "box:/d", str(tmp_path / "out"))
    assert (tmp_path / "out/one").read_text() == "one\n"
    assert os.readlink(tmp_path / "out/link") == "one"
    away("cp", "-L", "box:/d/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "one\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in/two").write_text("two\n")
    os.chown(tmp_path / "in/two", 1234, 1234)
    away("cp", str(tmp_path / "in"), "box:/d/new")
    away("cp", "-a", f"{tmp_path}/in/.", "box:/d/sub")
    owners = onggi.out("exec", "box", "stat", "-c", "%u", "/d/new/two", "/d/sub/two")
    assert owners.split() == ["0", "1234"]
    tarred = subprocess.run([away.command, *away.flags, "cp", "box:/d/new", "-"],
                            env=away.environment, capture_output=True, check=True)  # fmt: skip
    listed = subprocess.run(["tar", "tf", "-"], input=tarred.stdout, capture_output=True)
    assert listed.stdout.split() == [b"new/", b"new/two"]
    for names, words in (
        (("box:/none", str(tmp_path)), "Could not find the file /none in container box"),
        (("nobody:/x", str(tmp_path)), "No such container: nobody"),
        ((str(tmp_path / "in"), "box:/nowhere/x"), "Could not find the file /nowhere"),
    ):
        here, there = onggi("cp", *names, code=1), away("cp", *names, code=1)
        assert words in there.stderr
        assert there.stderr == here.stderr


def test_one_request_lists(api: ApiServer, away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    for name in ("one", "two", "three"):
        onggi("create", "--name", name, busybox)
    before = api.log.read_text().count("/containers/")
    listed = away.out("ps", "-a", "--format", "{{.Names}} {{.Status}} {{.Ports}}")
    assert listed.split() == ["three", "Created", "two", "Created", "one", "Created"]
    assert api.log.read_text().count("/containers/") == before + 1
    assert away.out("ps", "-as", "--format", "{{.Names}} {{.Size}}").startswith("three 0B (virt")
    assert api.log.read_text().count("/containers/") == before + 3


def test_the_rest_of_the_commands(
    away: Elsewhere, onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    onggi("run", "-d", "--name", "box", "-m", "64m", busybox, "sleep", "600")
    used = away.out("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}")
    assert re.fullmatch(r"box .*iB / 64MiB 1", used), used
    kinds = [line.split()[:2] for line in away.out("system", "df").splitlines()[1:]]
    assert [kind[0] for kind in kinds] == ["Images", "Containers", "Local", "Build"]
    away("export", "-o", str(tmp_path / "files.tar"), "box")
    made = away.out("import", "-c", 'CMD ["true"]', str(tmp_path / "files.tar"), "away:made")
    try:
        assert made == onggi.out("image", "inspect", "-f", "{{.Id}}", "away:made")
        assert onggi.out("image", "inspect", "-f", "{{.Config.Cmd}}", "away:made") == "[true]"
    finally:
        onggi("rmi", "away:made")
    assert "Total reclaimed space:" in away.out("builder", "prune", "-af")
    assert "Total reclaimed space:" in away.out("system", "prune", "-f")
    root = away.out("system", "info", "-f", "{{.DockerRootDir}}")
    assert root == onggi.out("info", "-f", "{{.DockerRootDir}}")


def test_networks_and_volumes(away: Elsewhere, onggi: Onggi, busybox: str) -> None:
    network = away.out("network", "create", "--subnet", "10.231.7.0/24", "--label", "a=b", "away")
    try:
        assert network == onggi.out("network", "inspect", "-f", "{{.Id}}", "away")
        away("run", "-d", "--name", "box", "--network", "away", "--ip", "10.231.7.9", busybox,
             "sleep", "600")  # fmt: skip
        address = "{{.NetworkSettings.Networks.away.IPAddress}}"
        assert onggi.out("inspect", "-f", address, "box") == "10.231.7.9"
        away("network", "connect", "--alias", "second", "bridge", "box", code=1)  # docker's rule
        away("network", "disconnect", "away", "box")
    finally:
        onggi("rm", "-f", "box", code=None)
        away("network", "rm", "away")
    assert away.out("volume", "create", "away") == "away"
    assert "away" in away.out("volume", "prune", "-af")
    onggi("create", "--name", "old", busybox)
    assert "Deleted Containers:" in away.out("container", "prune", "-f")


def test_events(away: Elsewhere, busybox: str) -> None:
    away("run", "--rm", "--name", "told", busybox, "true")
    found = away.out("events", "--since", "2m", "--until", "0s", "--filter", "container=told",
                     "--format", "{{.Action}}")  # fmt: skip
    told = [action for action in found.split() if action != "attach"]
    assert told == ["create", "start", "die", "destroy"]


def test_what_only_this_machine_can(away: Elsewhere) -> None:
    done = away("pod", "ps", code=1)
    assert done.stderr.startswith("'onggi pod ps' cannot be done with an engine elsewhere yet\n")
    assert "run --security" not in done.stderr
    done = away("run", "--security", "strict", "busybox", code=125)
    assert "--security is for the engine of this machine" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-H", "unix:///nonexistent.sock"], "Cannot connect to the engine at unix:///nonexist"),
        (["-H", "tcp://127.0.0.1:1"], "connection refused"),
        (["-H", "nonsense://x"], "unable to parse docker host `nonsense://x`"),
        (["-H", "tcp://host:port"], "invalid port in `tcp://host:port`"),
        (["-H", "ssh://-oProxyCommand=x"], "unable to parse docker host"),
        (["-c", "nobody"], 'context "nobody": context not found'),
        (["-H", "unix:///a", "-c", "b"], "cannot specify both --host and --context"),
    ],
)
def test_no_engine(tmp_path: Path, flags: list[str], words: str) -> None:
    done = Elsewhere(tmp_path, *flags)("ps", code=1)
    assert words in done.stderr
    assert done.stderr.count("\n") <= 2


def test_tls(shared_onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    certificates(tmp_path)
    port = free_port()
    server = ["-H", f"tcp://127.0.0.1:{port}", "--tlsverify"]
    for flag, name in (("cacert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")):
        server += [f"--tls{flag}", str(tmp_path / name)]
    client = [f"--tlscacert={tmp_path}/ca.pem", f"--tlscert={tmp_path}/client.pem",
              f"--tlskey={tmp_path}/client.key"]  # fmt: skip
    with api_server(COMMAND, shared_onggi.environment, tmp_path, *server):
        address = f"tcp://localhost:{port}"
        away = Elsewhere(tmp_path, "--tlsverify", *client, "-H", address)
        assert away("run", "-i", "--rm", busybox, "cat", stdin="secret\n").stdout == "secret\n"
        stranger = Elsewhere(tmp_path, "--tlsverify", client[0], "-H", address)
        assert "Cannot connect" in stranger("ps", code=1).stderr
        plain = Elsewhere(tmp_path)
        endpoint = f"host={address},ca={tmp_path}/ca.pem,cert={tmp_path}/client.pem"
        plain("context", "create", "prod", "--docker", f"{endpoint},key={tmp_path}/client.key")
        plain("context", "use", "prod")
        assert plain.out("run", "--rm", busybox, "echo", "hi") == "hi"
        plain("context", "use", "default")


def test_ssh(host: Host, busybox: str, onggi: Onggi, tmp_path: Path) -> None:
    onggi("save", "-o", str(tmp_path / "image.tar"), busybox)
    host.onggi("load", "-qi", str(tmp_path / "image.tar"))
    directory = tmp_path / "served"
    directory.mkdir()
    with api_server(COMMAND, host.onggi.environment, directory,
                    "-H", f"unix://{host.home}/run/onggi.sock"):  # fmt: skip
        away = Elsewhere(tmp_path, "-H", host.url().rstrip("/"))
        away.environment["ONGGI_SSH"] = host.ssh
        assert away("run", "-i", "--rm", busybox, "cat", stdin="far\n").stdout == "far\n"
        assert away("run", "--rm", busybox, "sh", "-c", "exit 9", code=9).stdout == ""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Onggi]:
    yield Onggi(tmp_path)


def test_contexts(mine: Onggi, tmp_path: Path) -> None:
    done = mine("context", "create", "one", "--description", "First",
                "--docker", "host=tcp://10.0.0.1:2375")  # fmt: skip
    assert (done.stdout, done.stderr) == ("one\n", 'Successfully created context "one"\n')
    assert mine.out("context", "show") == "default"
    mine("context", "use", "one")
    listed = mine.out("context", "ls", "--format", "{{.Name}} {{.Current}} {{.DockerEndpoint}}")
    assert listed.splitlines()[1] == "one true tcp://10.0.0.1:2375"
    found = json.loads(mine.out("context", "inspect"))[0]
    assert (found["Name"], found["Metadata"]) == ("one", {"Description": "First"})
    assert found["Endpoints"]["docker"]["Host"] == "tcp://10.0.0.1:2375"
    mine("context", "update", "one", "--description", "Other")
    mine("context", "export", "one", str(tmp_path / "one.tar"))
    mine("context", "import", "two", str(tmp_path / "one.tar"))
    assert (
        json.loads(mine.out("context", "inspect", "two"))[0]["Metadata"]["Description"] == "Other"
    )
    assert "is in use, set -f flag" in mine("context", "rm", "one", code=1).stderr
    assert mine.out("context", "rm", "-f", "one", "two") == "one\ntwo"
    assert mine.out("context", "ls", "-q") == "default"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["create", "x y", "--docker", "host=unix:///a"], "is invalid, names are validated"),
        (["create", "ab"], "docker endpoint configuration is required"),
        (["create", "ab", "--docker", "host=bad://"], "unable to parse docker host"),
        (["create", "ab", "--docker", "hots=unix:///a"], "unrecognized config keys: hots"),
        (["use", "ab"], 'context "ab": context not found'),
        (["rm", "ab"], 'context "ab": context not found'),
        (["import", "ab", "/dev/null"], "is no regular file"),
        (["import", "ab", "/etc/hostname"], "tar"),
    ],
)
def test_bad_contexts(mine: Onggi, words: list[str], text: str) -> None:
    done = mine("context", *words, code=1)
    assert text in done.stderr
    assert "daemon" not in done.stderr
    assert mine.out("context", "ls", "-q") == "default"


def test_docker_reads_our_contexts(mine: Onggi, api: ApiServer) -> None:
    mine("context", "create", "shared", "--docker", f"host={api.url}")
    environment = {"HOME": mine.environment["HOME"], "DOCKER_HOST": ""}
    told = api.docker("context", "inspect", "shared", **environment)
    assert json.loads(told.stdout)[0]["Endpoints"]["docker"]["Host"] == api.url
    version = api.docker("-c", "shared", "version", "-f", "{{.Server.Version}}", **environment)
    assert version.stdout.strip()
    api.docker("context", "create", "theirs", "--docker", f"host={api.url}", **environment)
    assert os.path.basename(api.url) in mine.out("context", "inspect", "theirs")
    assert mine("-c", "theirs", "ps", "-q").stdout == ""
