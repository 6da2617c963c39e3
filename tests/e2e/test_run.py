"""`onggi run`: what the process sees, and what the caller gets back."""

import json
import os
import re
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root

DEFAULT_CAPABILITIES = 0x00000000A80425FB  # docker's fourteen


def status_of(text: str) -> dict[str, str]:
    return {
        key: value.strip() for key, _, value in (row.partition(":") for row in text.split("\n"))
    }


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_its_own_exit_code(onggi: Onggi, busybox: str, code: int) -> None:
    onggi("run", "--rm", busybox, "sh", "-c", f"exit {code}", code=code)


def test_a_signal_is_128_and_its_number(onggi: Onggi, busybox: str) -> None:
    script = "sh -c 'kill -TERM $$'; exit $?"  # PID 1 itself gets no default action
    onggi("run", "--rm", busybox, "sh", "-c", script, code=143)
    onggi("run", "--rm", "--init", busybox, "sh", "-c", "kill -9 $$", code=137)


def test_a_command_that_is_not_there_is_127(onggi: Onggi, busybox: str) -> None:
    for name, reason in (
        ("nothing", "executable file not found in $PATH"),
        ("/no/such", "stat /no/such: no such file or directory"),
    ):
        done = onggi("run", "--rm", busybox, name, code=127)
        assert f'exec: "{name}": {reason}' in done.stderr
        assert done.stdout == ""
        assert done.stderr.endswith("\n\nRun 'onggi run --help' for more information\n")
    assert onggi.out("ps", "-aq") == ""


def test_a_command_that_cannot_be_executed_is_126(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", busybox, "/etc/passwd", code=126)
    assert 'exec: "/etc/passwd": permission denied' in done.stderr
    done = onggi("run", "--rm", busybox, "/etc", code=126)
    assert 'exec: "/etc": is a directory' in done.stderr


def test_trace_tells_the_phases_of_every_process(onggi: Onggi, busybox: str) -> None:
    done = onggi("--trace", "run", "--rm", busybox, "sh", "-c", "echo out; exit 3", code=3)
    assert done.stdout == "out\n"
    head, *rows = done.stderr.splitlines()
    assert head.split() == ["AT", "MS", "TOOK", "MS", "PROCESS", "PHASE"]
    assert {row.split()[2] for row in rows} == {"command", "monitor", "container"}
    times = [float(row.split()[0]) for row in rows]
    assert times == sorted(times)
    assert any(row.endswith("command executed") for row in rows)


def test_a_container_that_did_not_start_stays_with_its_error(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--name", "broken", busybox, "nothing", code=127)
    assert onggi.out("ps", "-a", "--format", "{{.Names}} {{.Status}}") == "broken Created"
    state = onggi.out("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "broken")
    assert state.startswith("127 ")
    assert "executable file not found" in state


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--nonsense"], "unknown flag: --nonsense"),
        (["-m", "lots"], 'invalid argument "lots" for "-m, --memory" flag'),
        (["-p", "99999:1"], "invalid hostPort: 99999"),
        (["--name", "a b"], "Invalid container name (a b)"),
        (["-v", "data:relative"], "invalid mount path: 'relative' mount path must be absolute"),
        (["--network", "nowhere"], "network nowhere not found"),
        (["--hostname", "-x-"], "invalid value '-x-' for --hostname"),
        (["--cap-add", "NONSENSE"], 'unknown capability: "CAP_NONSENSE"'),
        (["-m", "1m"], "Minimum memory limit allowed is 6MB"),
        (["-w", "relative"], "relative"),
    ],
)
def test_what_cannot_be_is_125(onggi: Onggi, busybox: str, flags: list[str], text: str) -> None:
    done = onggi("run", *flags, busybox, "true", code=125)
    assert text in done.stderr
    assert done.stdout == ""
    assert onggi.out("ps", "-aq") == ""


def test_flags_end_at_the_image(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("run", "--rm", busybox, "echo", "-d", "--rm", "-p", "1") == "-d --rm -p 1"


def test_output_and_errors_come_on_their_own_streams(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    done = onggi("run", "--rm", "-a", "stderr", busybox, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("", "err\n")


def test_stdin_piped(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "-i", busybox, "tr", "a-z", "A-Z", stdin="piped\nlines\n")
    assert done.stdout == "PIPED\nLINES\n"
    assert onggi("run", "--rm", busybox, "cat", stdin="not wanted").stdout == ""
    assert onggi("run", "--rm", "-i", busybox, "wc", "-c", stdin="x" * 5_000_000).stdout == (
        "5000000\n"
    )


def test_nothing_of_a_large_output_is_lost(onggi: Onggi, busybox: str) -> None:
    size = 20_000_000
    done = onggi("run", "--rm", busybox, "sh", "-c", f"yes 0123456789 | head -c {size}")
    assert len(done.stdout) == size
    assert done.stdout.startswith("0123456789\n0123456789\n")


def test_a_reader_that_goes_away_ends_the_run(onggi: Onggi, busybox: str) -> None:
    line = f"{onggi.command} run --rm {busybox} yes | head -n 2"
    done = subprocess.run(
        ["sh", "-c", line], env=onggi.environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "y\ny\n"
    onggi.until("", "ps", "-q")


def test_a_real_terminal(onggi: Onggi, busybox: str) -> None:
    with onggi.terminal("run", "-it", "--rm", busybox, "sh", rows=33, columns=111) as terminal:
        terminal.expect("/ # ")
        terminal.send("tty; stty size; echo $TERM\n")
        terminal.expect("/dev/pts/0")
        terminal.expect("33 111")
        terminal.expect("xterm")
        terminal.resize(50, 120)
        terminal.expect("/ # ")
        terminal.send("until stty size | grep '50 120'; do sleep 0.05; done\n")
        terminal.expect("\n50 120")
        terminal.send("sh -c \"echo be''gun; exec sleep 600\"\n")
        terminal.expect("begun")  # it has to run before the key means anything
        terminal.send("\x03")
        terminal.expect("/ # ")
        terminal.send("exit 7\n")
        assert terminal.wait() == 7
    assert onggi.out("ps", "-aq") == ""


def test_the_callers_terminal_is_given_back_as_it_was(onggi: Onggi, busybox: str) -> None:
    with onggi.terminal("run", "-it", "--rm", busybox, "true") as terminal:
        before = terminal.initial
        assert terminal.wait() == 0
        assert termios.tcgetattr(terminal.master) == before
    with onggi.terminal("run", "-it", "--rm", busybox, "sh", "-c", "stty -a; read x") as terminal:
        terminal.expect("speed")
        assert not termios.tcgetattr(terminal.master)[3] & termios.ECHO  # ours is raw meanwhile
        terminal.send("\n")
        assert terminal.wait() == 0
        assert termios.tcgetattr(terminal.master) == before


def test_t_without_a_terminal(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "-it", busybox, "true", code=1)
    assert done.stderr == "the input device is not a TTY\n"
    done = subprocess.run(
        [onggi.command, "run", "--rm", "-t", busybox, "sh", "-c", "tty; echo line"],
        env=onggi.environment,
        capture_output=True,
        timeout=300,
    )
    assert done.stdout == b"/dev/pts/0\r\nline\r\n"


def test_detach_keys(onggi: Onggi, busybox: str) -> None:
    with onggi.terminal("run", "-it", "--name", "keys", busybox, "sh") as terminal:
        terminal.expect("/ # ")
        terminal.send("\x10\x11")
        assert terminal.wait() == 0
    assert onggi.out("ps", "--format", "{{.Names}}") == "keys"
    with onggi.terminal("attach", "--detach-keys", "ctrl-a,x", "keys") as terminal:
        terminal.send("echo $((40 + 2))\n")
        terminal.expect("42")
        terminal.send("\x01x")
        assert terminal.wait() == 0
    assert onggi.out("ps", "--format", "{{.Names}}") == "keys"


def test_detached(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--name", "away", busybox, "sleep", "600")
    assert re.fullmatch("[0-9a-f]{64}", full)
    assert onggi.out("ps", "--no-trunc", "-q") == full
    assert onggi.out("inspect", "-f", "{{.State.Running}}", full[:5]) == "true"


def test_rm_takes_the_container_and_its_anonymous_volumes(onggi: Onggi, busybox: str) -> None:
    volumes = onggi.out("volume", "ls", "-q")  # of others
    onggi("run", "--rm", "-v", "/data", busybox, "touch", "/data/x")
    assert onggi.out("ps", "-aq") == ""
    assert onggi.out("volume", "ls", "-q") == volumes
    onggi("run", "-d", "--rm", "--name", "brief", busybox, "sleep", "600")
    onggi("stop", "-t", "0", "brief")
    assert onggi.out("ps", "-aq") == ""


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGHUP", "SIGINT", "SIGUSR1"])
def test_signals_are_proxied(onggi: Onggi, busybox: str, sent: str) -> None:
    script = (
        f"trap 'echo caught {sent}; exit 9' {sent[3:]}; echo ready; while :; do sleep 0.1; done"
    )
    process = onggi.popen("run", "--rm", busybox, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, sent))
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert out == f"caught {sent}\n"
    assert process.returncode == 9


def test_sig_proxy_off(onggi: Onggi, busybox: str) -> None:
    script = "echo ready; sleep 600"
    process = onggi.popen("run", "--sig-proxy=false", "--name", "on", busybox, "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert onggi.out("ps", "--format", "{{.Names}}") == "on"


def test_environment(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\nFROM_FILE=a b\n\nCALLER\nBOTH=file\nTWICE=1\n")
    done = onggi(
        "run", "--rm", "--env-file", str(file), "-e", "BOTH=flag", "-e", "EMPTY=", "-e", "CALLER2",
        "-e", "ABSENT", "--env", "TWICE=2", "-h", "me", busybox, "env",
        CALLER="from caller", CALLER2="two",
    )  # fmt: skip
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert found == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": "me",
        "HOME": "/root",
        "FROM_FILE": "a b",
        "CALLER": "from caller",
        "CALLER2": "two",
        "BOTH": "flag",
        "EMPTY": "",
        "TWICE": "2",
    }
    assert "TERM=xterm" in onggi.out("run", "--rm", "-t", busybox, "env")


def test_working_directory(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("run", "--rm", busybox, "pwd") == "/"
    assert onggi.out("run", "--rm", "-w", "/var", busybox, "pwd") == "/var"
    assert onggi.out("run", "--rm", "-w", "/made/on/the/way", busybox, "pwd") == "/made/on/the/way"


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root),10(wheel)"),
        ("www-data", "uid=33(www-data) gid=33(www-data) groups=33(www-data)"),
        ("33", "uid=33(www-data) gid=33(www-data) groups=33(www-data)"),
        ("1000:1001", "uid=1000 gid=1001 groups=1001"),
        ("1000", "uid=1000 gid=0(root) groups=0(root)"),
        ("nobody:wheel", "uid=65534(nobody) gid=10(wheel) groups=10(wheel)"),
        ("member", "uid=77(member) gid=77 groups=77,10(wheel),33(www-data)"),
    ],
)
def test_user(onggi: Onggi, busybox: str, tmp_path: Path, user: str, ids: str) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox}\n"
        "RUN echo member:x:77:77::/home/member:/bin/sh >> /etc/passwd"
        " && sed -i -e '/^wheel/s/$/,member/' -e '/^www-data/s/$/member/' /etc/group\n"
    )
    onggi("build", "-q", "-t", "users", str(tmp_path))
    arguments = ["-u", user] if user else []
    found = onggi.out("run", "--rm", *arguments, "users", "id")
    # Which supplementary groups, not in which order they are listed.
    assert set(re.split("[ ,=]", found)) == set(re.split("[ ,=]", ids))


def test_users_home_and_group_add(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("run", "--rm", "-u", "www-data", busybox, "sh", "-c", "echo $HOME") == (
        "/var/www"
    )
    found = onggi.out("run", "--rm", "-u", "1000", "--group-add", "wheel", "--group-add", "5",
                      busybox, "id", "-G")  # fmt: skip
    assert set(found.split()) == {"0", "10", "5"}


def test_users_that_are_not_there(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "-u", "ghost", busybox, "true", code=125)
    assert "unable to find user ghost: no matching entries in passwd file" in done.stderr
    done = onggi("run", "--rm", "-u", "root:ghosts", busybox, "true", code=125)
    assert "unable to find group ghosts: no matching entries in group file" in done.stderr


def test_capabilities(onggi: Onggi, busybox: str) -> None:
    def held(*flags: str) -> dict[str, int]:
        rows = status_of(onggi.out("run", "--rm", *flags, busybox, "cat", "/proc/self/status"))
        return {key: int(rows[key], 16) for key in rows if key.startswith("Cap")}

    default = held()
    assert default["CapEff"] == default["CapPrm"] == default["CapBnd"] == DEFAULT_CAPABILITIES
    assert default["CapInh"] == default["CapAmb"] == 0
    assert held("--cap-drop", "ALL")["CapEff"] == 0
    assert held("--cap-drop", "ALL", "--cap-add", "NET_ADMIN")["CapBnd"] == 1 << 12
    assert held("--cap-add", "CAP_SYS_TIME")["CapEff"] == DEFAULT_CAPABILITIES | 1 << 25
    assert held("--cap-drop", "chown")["CapEff"] == DEFAULT_CAPABILITIES & ~1
    mine = status_of(Path("/proc/self/status").read_text())
    assert held("--privileged")["CapEff"] == int(mine["CapBnd"], 16)
    assert held("--cap-add", "ALL")["CapEff"] == int(mine["CapBnd"], 16)
    plain = held("-u", "1000")
    assert plain["CapEff"] == plain["CapPrm"] == 0
    assert plain["CapBnd"] == DEFAULT_CAPABILITIES


def test_seccomp_and_no_new_privileges(onggi: Onggi, busybox: str) -> None:
    def status(*flags: str) -> dict[str, str]:
        return status_of(onggi.out("run", "--rm", *flags, busybox, "cat", "/proc/self/status"))

    assert status()["Seccomp"] == "2"
    assert status("--security-opt", "seccomp=unconfined")["Seccomp"] == "0"
    assert status("--privileged")["Seccomp"] == "0"
    assert status("--security-opt", "no-new-privileges")["NoNewPrivs"] == "1"
    # A call that docker's profile refuses without CAP_SYS_ADMIN, and one that needs no privilege.
    refused = ["run", "--rm", busybox, "unshare", "-U", "true"]
    assert "Operation not permitted" in onggi(*refused, code=1).stderr


def test_privileged_sees_the_devices(onggi: Onggi, busybox: str) -> None:
    few = set(onggi.out("run", "--rm", busybox, "ls", "/dev").split())
    assert few == set(
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    many = set(onggi.out("run", "--rm", "--privileged", busybox, "ls", "/dev").split())
    assert many > few
    assert "kmsg" in many
    onggi("run", "--rm", "--privileged", busybox, "mount", "-t", "tmpfs", "none", "/tmp")
    onggi("run", "--rm", busybox, "mount", "-t", "tmpfs", "none", "/tmp", code=1)


def test_hidden_and_read_only_parts_of_proc_and_sys(onggi: Onggi, busybox: str) -> None:
    hidden = [
        path
        for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts")
        if Path(path).exists()
    ]
    script = "".join(f"wc -c < {path};" for path in hidden)
    done = onggi("run", "--rm", busybox, "sh", "-c", script)
    assert done.stdout == "0\n" * len(hidden)
    done = onggi("run", "--rm", busybox, "ls", "/sys/firmware")
    assert done.stdout == ""
    script = "echo 1 > /proc/sys/kernel/panic; mkdir /sys/fs/cgroup/x; mkdir /sys/kernel/x"
    done = onggi("run", "--rm", busybox, "sh", "-c", script, code=1)
    assert done.stderr.count("Read-only file system") == 3


def test_namespaces_are_its_own(onggi: Onggi, busybox: str) -> None:
    kinds = "ipc mnt net pid uts cgroup".split()
    links = " ".join(f"/proc/self/ns/{kind}" for kind in kinds)
    found = onggi.out("run", "--rm", busybox, "sh", "-c", f"for l in {links}; do readlink $l; done")
    for kind, link in zip(kinds, found.split(), strict=True):
        assert link != os.readlink(f"/proc/self/ns/{kind}"), kind
    assert onggi.out("run", "--rm", busybox, "sh", "-c", "echo $$") == "1"
    host = onggi.out(
        "run", "--rm", "--pid", "host", busybox, "sh", "-c", "readlink /proc/self/ns/pid"
    )
    assert host == os.readlink("/proc/self/ns/pid")


def test_hostname(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "h", "--cidfile", "/dev/null/x", busybox, "true", code=125)
    name = onggi.out("run", "--rm", busybox, "hostname")
    assert re.fullmatch("[0-9a-f]{12}", name)
    found = onggi.out("run", "--rm", "--hostname", "web.example", busybox, "sh", "-c",
                      "hostname; cat /etc/hostname; grep web /etc/hosts")  # fmt: skip
    lines = found.splitlines()
    assert lines[:2] == ["web.example", "web.example"]
    assert re.fullmatch(r"[\d.]+\tweb\.example web", lines[2])


def test_entrypoint(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f'FROM {busybox}\nENTRYPOINT ["echo", "entry"]\nCMD ["default"]\n'
    )
    onggi("build", "-q", "-t", "entry", str(tmp_path))
    assert onggi.out("run", "--rm", "entry") == "entry default"
    assert onggi.out("run", "--rm", "entry", "given", "words") == "entry given words"
    assert onggi.out("run", "--rm", "--entrypoint", "printf", "entry", "%s.", "a") == "a."
    assert onggi.out("run", "--rm", "--entrypoint", "pwd", "entry") == "/"
    assert onggi.out("run", "--rm", "--entrypoint", "", "entry", "pwd") == "/"


def test_labels_and_cidfile(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    cid = tmp_path / "cid"
    full = onggi.out(
        "run", "-d", "--cidfile", str(cid), "-l", "a=1", "--label", "b", busybox, "true"
    )
    assert cid.read_text() == full
    labels = json.loads(onggi.out("inspect", "-f", "{{json .Config.Labels}}", full))
    assert labels == {"a": "1", "b": ""}
    done = onggi("run", "--cidfile", str(cid), busybox, "true", code=125)
    assert "container ID file found" in done.stderr


def test_names(onggi: Onggi, busybox: str) -> None:
    first = onggi.out("create", "--name", "mine", busybox, "true")
    done = onggi("run", "--name", "mine", busybox, "true", code=125)
    assert (
        f'Conflict. The container name "/mine" is already in use by container "{first}". You have'
        " to remove (or rename) that container to be able to reuse that name." in done.stderr
    )
    onggi("create", busybox, "true")
    names = onggi.out("ps", "-a", "--format", "{{.Names}}").split()
    assert names[1] == "mine"
    assert re.fullmatch("[a-z]+_[a-z]+", names[0])


def test_rlimits_init_shm_sysctl_and_ulimits(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("run", "--rm", "--ulimit", "nofile=100:200", busybox, "sh", "-c",
                     "ulimit -n; ulimit -Hn").split() == ["100", "200"]  # fmt: skip
    found = onggi.out("run", "--rm", "--shm-size", "8m", busybox, "df", "-k", "/dev/shm")
    assert found.splitlines()[1].split()[1] == "8192"
    assert onggi.out("run", "--rm", "--sysctl", "net.ipv4.ip_forward=0", busybox, "cat",
                     "/proc/sys/net/ipv4/ip_forward") == "0"  # fmt: skip
    init = onggi.out("run", "--rm", "--init", busybox, "sh", "-c", "echo $$")
    assert init != "1"


def test_add_host_and_dns(onggi: Onggi, busybox: str) -> None:
    found = onggi.out("run", "--rm", "--add-host", "db:10.9.8.7", "--dns", "9.9.9.9",
                      "--dns-search", "example.org", busybox, "cat", "/etc/hosts",
                      "/etc/resolv.conf")  # fmt: skip
    assert "10.9.8.7\tdb" in found
    assert "nameserver 9.9.9.9" in found
    assert "search example.org" in found


def test_platform(onggi: Onggi, busybox: str) -> None:
    assert onggi.out("run", "--rm", "--platform", "linux/amd64", busybox, "echo", "x") == "x"
    onggi("run", "--platform", "nonsense/a/b/c/d", busybox, "true", code=125)
