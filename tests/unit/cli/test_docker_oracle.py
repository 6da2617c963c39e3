"""Our command line beside docker's own client, where it can be asked without a daemon.

Same exit code, and the same words with our name in the place of docker's. The cases in which we
differ on purpose stand in their own tests, with the reason.
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
from functools import cache
from pathlib import Path

import pytest

from onggi.cli import tree
from onggi.cli.dispatch import load
from onggi.cli.help import command_help
from onggi.cli.main import main
from onggi.cli.refused import command_text

DOCKER = shutil.which("docker")
needs_docker = pytest.mark.skipif(DOCKER is None, reason="no docker client")
NO_DAEMON = "Cannot connect to the Docker daemon"


def docker(arguments: list[str], home: Path) -> tuple[int, str, str]:
    assert DOCKER is not None
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "DOCKER_HOST": "unix:///nonexistent",
    }
    done = subprocess.run(
        [DOCKER, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout, done.stderr


def onggi(
    arguments: list[str], home: Path, capfd: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    environment = {"HOME": str(home), "ONGGI_ROOT": f"{home}/root", "ONGGI_RUN": f"{home}/run"}
    capfd.readouterr()
    code = main(arguments, environment)
    out, err = capfd.readouterr()
    return code, out, err


def ours(text: str) -> str:
    """Docker's words as we say them, without its typing errors."""
    text = re.sub(r"^DEPRECATED: The legacy builder.*?\n\n", "", text, flags=re.DOTALL)
    text = text.replace("SRun '", "Run '")
    return re.sub(r"(?<!docs\.)(?<!--)docker(?!\.io)", "onggi", text)


SAME = [
    ["run"], ["run", "-q"], ["exec"], ["exec", "a"], ["ps", "x"], ["tag", "a"], ["rename", "a"],
    ["images", "a", "b"], ["login", "a", "b"], ["commit"], ["volume", "create", "a", "b"],
    ["pull"], ["pull", "a", "b"], ["rmi"], ["kill"], ["wait"], ["restart", "-t", "5"], ["top"],
    ["history"], ["save"], ["import"], ["inspect"], ["network", "ls", "x"], ["start"], ["logs"],
    ["cp", "a"], ["port"], ["diff"], ["export"], ["attach"], ["pause"], ["unpause"], ["rm"],
    ["run", "-z", "x"], ["run", "-tz", "x"], ["run", "--=x", "y"], ["run", "---x", "y"],
    ["run", "-=x", "y"], ["run", "--name"], ["run", "-p"], ["run", "--rm=maybe", "x"],
    ["ps", "-n", "a"], ["stop", "-t", "x", "a"], ["container", "ls", "-zq"], ["rmi", "-x"],
    ["--config"], ["-z"], ["-l", "foo", "ps"], ["container", "nosuch"], ["help", "nosuch"],
    ["run", "-m", "abc", "x"], ["run", "-m", "5x", "x"], ["run", "-m", "-5", "x"],
    ["run", "-m", "5kbb", "x"], ["run", "--memory-swap", "-2", "x"],
    ["run", "--shm-size", "-1", "x"], ["run", "--cpus", "abc", "x"], ["run", "--cpus", "NaN", "x"],
    ["run", "--cpus", "0.0000000001", "x"], ["run", "--cpu-shares", "0x", "x"],
    ["run", "--cpu-shares", "99999999999999999999", "x"], ["run", "--stop-timeout", "1.5", "x"],
    ["run", "--pids-limit", "x", "x"], ["run", "--oom-score-adj", "abc", "x"],
    ["run", "-p", "99999:80", "x"], ["run", "-p", "abc:80", "x"], ["run", "-p", "80:99999", "x"],
    ["run", "-p", "80-90:80-91", "x"], ["run", "-p", "0.0.0.0:80:80:80", "x"],
    ["run", "-p", "80/foo", "x"], ["run", "-p", "80:", "x"], ["run", "-p", "", "x"],
    ["run", "-p", "1.2.3:80:80", "x"], ["run", "-p", "foo", "x"], ["run", "-p", "10-5:80", "x"],
    ["run", "-p", "80:80-81", "x"], ["run", "--expose", "abc", "x"],
    ["run", "--expose", "80-70", "x"], ["run", "--expose", "70000", "x"],
    ["run", "-e", "=v", "x"], ["run", "-e", "", "x"], ["exec", "-e", "=x", "a", "b"],
    ["run", "--env-file", "/nonexistent", "x"], ["exec", "--env-file", "/nonexistent", "a", "b"],
    ["run", "--label-file", "/nonexistent", "x"], ["run", "-l", "=x", "x"], ["run", "-l", "", "x"],
    ["run", "-v", "/a:/b:/c:/d", "x"], ["run", "-v", ":/b", "x"], ["run", "-v", "", "x"],
    ["run", "--mount", "type=bind", "x"], ["run", "--mount", "foo", "x"],
    ["run", "--mount", "=", "x"], ["run", "--mount", "type=,dst=/x", "x"],
    ["run", "--mount", "type=bind,foo=bar", "x"], ["run", "--mount", "dst=/x,ro=", "x"],
    ["run", "--mount", "type=bind,src=a,dst=/b,readonly=maybe", "x"],
    ["run", "--mount", "type=volume,src=v,dst=/x,bind-propagation=shared", "x"],
    ["run", "--mount", "type=tmpfs,tmpfs-size=x,dst=/x", "x"],
    ["run", "--mount", "type=tmpfs,tmpfs-mode=9,dst=/x", "x"],
    ["run", "--ulimit", "nofile", "x"], ["run", "--ulimit", "bogus=1", "x"],
    ["run", "--ulimit", "nofile=10:5", "x"], ["run", "--ulimit", "nofile=1:2:3", "x"],
    ["run", "--ulimit", "nofile=abc", "x"], ["run", "--ulimit", "nofile=-1:5", "x"],
    ["run", "--dns", "foo", "x"], ["run", "--dns-search", "a b", "x"],
    ["run", "--add-host", "foo", "x"], ["run", "--add-host", "a:b", "x"],
    ["run", "--add-host", "a=", "x"], ["run", "--sysctl", "foo", "x"],
    ["run", "--sysctl", "kernel.foo=1", "x"], ["run", "-a", "foo", "x"],
    ["run", "-d", "-a", "stdout", "x"], ["run", "-it", "x"], ["run", "--pull=foo", "x"],
    ["run", "--pid", "foo", "x"], ["run", "--uts", "foo", "x"], ["run", "--pid", "container:", "x"],
    ["run", "--security-opt", "foo", "x"], ["run", "--security-opt", "seccomp=/nonexist", "x"],
    ["run", "--log-driver", "none", "--log-opt", "a=b", "x"], ["run", "--network", "", "x"],
    ["run", "--cidfile", "/etc/passwd", "x"], ["run", "--rm", "--restart", "always", "x"],
    ["tag", "a", "UPPER"], ["pull", "UPPER"], ["commit", "a", "UPPER"],
    ["pull", "-a", "x:tag"], ["push", "-a", "x:tag"], ["load", "-i", "/nonexistent"],
    ["import", "/nonexistent"], ["export", "a", "-o", "/nonexistent/foo"],
    ["ps", "-f", "foo"], ["ps", "--format", "{{.Foo"], ["inspect", "-f", "{{.Foo", "x"],
    ["login"], ["login", "-p", "x"], ["cp", "a", "b"], ["cp", "c:/x", "d:/y"], ["cp", "-", "-"],
    ["cp", "a:/x", "/nonexistent/dir/foo"], ["start", "-a", "a", "b"], ["rm", ""],
    ["system", "prune"], ["image", "prune"], ["inspect", "--type", "foo", "x"],
    ["manifest", "create", "x"], ["manifest", "create", "X", "y"], ["manifest", "inspect", "UP"],
    ["manifest", "inspect", "a", "b"], ["manifest", "inspect", "a", "b", "c"],
    ["manifest", "push", "x"], ["manifest", "rm", "x", "y"], ["manifest", "annotate", "x", "y"],
    ["manifest", "annotate", "x", "Y"], ["search"], ["search", "a", "b"],
    ["search", "-f", "bad", "x"], ["search", "--limit", "x", "y"],
]  # fmt: skip


@needs_docker
@pytest.mark.parametrize("arguments", SAME, ids=" ".join)
def test_same_words_and_exit_code(
    arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = docker(arguments, tmp_path)
    assert NO_DAEMON not in err, "docker cannot be asked this without a daemon"
    mine = onggi(arguments, tmp_path, capfd)
    assert mine[0] == code, mine
    assert mine[1].strip() == ours(out).strip()
    theirs = ours(err).strip()
    assert mine[2].strip().startswith(theirs), mine[2]
    extra = mine[2].strip().removeprefix(theirs).strip()
    assert extra.count("\n") == 0, "at most one hint"


@cache
def docker_help(path: str) -> str:
    """`docker PATH --help` on a terminal of 80 columns."""
    assert DOCKER is not None
    main_fd, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {"HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [DOCKER, *path.split(), "--help"],
        stdin=terminal,
        capture_output=True,
        text=True,
        env=environment,
        timeout=30,
    )
    os.close(main_fd)
    os.close(terminal)
    return done.stdout


# They speak of docker, of its daemon, or show the type of a flag of Go.
OWN_TEXTS = {"version", "login", "logout", "system df", "context create", "context update"}
OWN_GROUPS = {"buildx", "pod", "registry"}
OWN_COMMANDS = {
    "system start",
    "system stop",
    "system unit",
    "builder explain",
    "builder du",
    "buildx build",
    "buildx du",
    "buildx prune",
    "network repair",
    "serve",
    "doctor",
    "unshare",
    "registry serve",
    "image receive",
    "image scp",
    "image send",
    *(path for path in tree.COMMANDS if path.startswith("pod ")),
}
OWN_OPTIONS = {  # what the docker client lacks without its build plugin, buildah's, and ours
    "--allow", "--annotation", "--attest", "--build-context", "--builder", "--cache-to", "--call",
    "--check", "--debug",
    "--explain", "--load",
    "--max-used-space", "--metadata-file", "--min-free-space", "--pod",
    "--no-cache-filter", "--on-error", "--output", "--progress", "--provenance", "--push",
    "--reserved-space", "--sbom",
    "--secret", "--security",
    "--security-check", "--ssh", "--volume",
}  # fmt: skip


@needs_docker
@pytest.mark.parametrize("path", sorted(set(tree.COMMANDS) - OWN_TEXTS - OWN_COMMANDS))
def test_help_is_dockers(path: str) -> None:
    """Every option we show is shown as docker shows it, and the rest of the page is the same."""
    theirs = ours(docker_help(path))
    mine = command_help(load(path), path, 80)
    theirs = re.sub(r"\nEXPERIMENTAL:\n(?: .*\n)*", "", theirs)  # nothing of ours is
    head, _, options = mine.partition("\nOptions:\n")
    their_head, _, their_options = theirs.partition("\nOptions:\n")
    their_head = re.sub(r"^Usage:  onggi builder prune$", "Usage:  onggi builder prune [OPTIONS]",
                        their_head, flags=re.MULTILINE)  # fmt: skip
    assert head.strip() == their_head.strip()
    known = entries(their_options)
    for name, entry in entries(options).items():
        if name in known or name not in OWN_OPTIONS:
            assert normal(entry) == normal(known[name])


def entries(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = re.match(r" {2}(?:-\w, |    )(--[\w-]+)", line)
        if match:
            name = match[1]
            found[name] = ""
        if name:
            found[name] += line + " "
    return found


def normal(text: str) -> str:
    """Without the white space: the columns move when there are fewer options."""
    text = "".join(text.split())
    return text.replace('creating("always","|missing"', 'running("always","missing"')


@needs_docker
def test_every_docker_command_is_known(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Done, or said not to be done yet; never `unknown command`."""
    groups = ["", *(group for group in tree.GROUPS if group not in OWN_GROUPS)]
    for group in groups:
        listing = docker([*group.split(), "--help"], tmp_path)[1]
        for line in listing.splitlines():
            match = re.match(r"  ([a-z]+)\*? {2,}\S", line)
            if not match or line.lstrip().startswith("-"):
                continue
            path = f"{group} {match[1]}".strip()
            known = path in tree.COMMANDS or path in tree.GROUPS or path in tree.NOT_YET
            assert known, path
            if path in tree.NOT_YET:
                code, _, err = onggi(path.split(), tmp_path, capfd)
                assert (code, err) == (1, f"onggi: {command_text(path)}\n")


@needs_docker
@pytest.mark.parametrize("path", sorted(tree.COMMANDS))
def test_every_docker_flag_is_known(path: str) -> None:
    """Supported or refused by name: a flag of docker's is never `unknown`."""
    flags = load(path).flags
    for name in entries(docker_help(path).partition("\nOptions:\n")[2]):
        assert name == "--help" or name.removeprefix("--") in flags, f"{path} {name}"
