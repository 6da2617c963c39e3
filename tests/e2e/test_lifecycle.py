"""From create to rm, and what can be asked in between."""

import fcntl
import json
import os
import re
import time
from pathlib import Path

import pytest

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root

SAY = "echo one; echo two >&2; sleep 1; echo three"  # two streams: in this order after a while


def rows(text: str) -> list[list[str]]:
    return [re.split(" {2,}", line.strip()) for line in text.splitlines()]


def test_create_start_stop_start_rm(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("create", "--name", "box", busybox, "sleep", "600")
    assert onggi.out("ps", "-a", "--format", "{{.Status}}") == "Created"
    assert onggi.out("start", full[:8]) == full[:8]
    assert onggi.out("start", "box") == "box"  # it runs already: no error, as docker
    assert onggi.out("ps", "--format", "{{.Status}}").startswith("Up ")
    done = onggi("rm", "box", code=1)
    assert done.stderr.splitlines()[0] == (
        'Error response from daemon: cannot remove container "/box": container is running: stop the'
        " container before removing or force remove"
    )
    assert onggi.out("stop", "-t", "0", "box") == "box"
    assert onggi.out("stop", "box") == "box"
    assert onggi.out("ps", "-a", "--format", "{{.Status}}").startswith("Exited (137) ")
    assert onggi.out("start", "box") == "box"
    assert onggi.out("rm", "-f", "box") == "box"
    assert onggi.out("ps", "-aq") == ""


def test_ps_columns(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--name", "box", "-p", "127.0.0.1::80", busybox, "sleep", "600")
    head, row = onggi.out("ps").splitlines()
    assert re.split(" {2,}", head.strip()) == [
        "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip
    cells = re.split(" {2,}", row.strip())
    assert cells[:3] == [full[:12], busybox, '"sleep 600"']
    assert re.fullmatch(r"(Less than a second|\d+ seconds?) ago", cells[3])
    assert re.fullmatch(r"Up (Less than a second|\d+ seconds?)", cells[4])
    assert re.fullmatch(r"127\.0\.0\.1:\d+->80/tcp", cells[5])
    assert cells[6] == "box"
    assert onggi.out("ps", "-q") == full[:12]
    assert onggi.out("ps", "-q", "--no-trunc") == full
    assert onggi.out("container", "ls", "-q") == full[:12]
    assert "SIZE" in onggi.out("ps", "-s").splitlines()[0]


def test_ps_filters(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "up", "-l", "tier=web", "-v", "/data", busybox, "sleep", "600")
    onggi("run", "--name", "done", "-l", "tier=db", busybox, "sh", "-c", "exit 3", code=3)
    onggi("create", "--name", "new", busybox, "true")

    def names(*filters: str) -> set[str]:
        flags = [word for item in filters for word in ("--filter", item)]
        return set(onggi.out("ps", "-a", "--format", "{{.Names}}", *flags).split())

    assert names() == {"up", "done", "new"}
    assert names("name=u") == {"up"}
    assert names("name=^/done$") == {"done"}
    assert names("status=exited") == {"done"}
    assert names("status=running", "status=created") == {"up", "new"}
    assert names("exited=3") == {"done"}
    assert names("label=tier") == {"up", "done"}
    assert names("label=tier=web") == {"up"}
    assert names("label=tier", "name=done") == {"done"}
    assert names(f"ancestor={busybox}") == {"up", "done", "new"}
    assert names("before=done") == {"up"}
    assert names("since=done") == {"new"}
    assert names("volume=/data") == {"up"}
    assert names("network=bridge") >= {"up"}
    full = onggi.out("inspect", "-f", "{{.Id}}", "up")
    assert names(f"id={full[:20]}") == {"up"}
    done = onggi("ps", "--filter", "nonsense=1", code=1)
    assert "invalid filter 'nonsense'" in done.stderr
    assert onggi.out("ps", "-n", "1", "--format", "{{.Names}}") == "new"
    assert onggi.out("ps", "-l", "--format", "{{.Names}}") == "new"


def test_ps_formats(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--name", "box", "-l", "a=1", busybox, "sleep", "600")
    item = json.loads(onggi.out("ps", "--format", "json"))
    assert item["ID"] == full[:12]
    assert item["Names"] == "box"
    assert item["State"] == "running"
    assert item["Labels"] == "a=1"
    assert onggi.out("ps", "--format", "{{json .Names}}") == '"box"'
    found = onggi.out("ps", "--format", "table {{.ID}}\t{{.Names}}").splitlines()
    assert rows(found[0]) == [["CONTAINER ID", "NAMES"]]
    assert rows(found[1]) == [[full[:12], "box"]]
    template = '{{if eq .State "running"}}{{upper .Names}} {{.Label "a"}}{{else}}no{{end}}'
    assert onggi.out("ps", "--format", template) == "BOX 1"
    done = onggi("ps", "--format", "{{.Nothing}}", code=1)
    assert "Nothing" in done.stderr


def test_inspect(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--name", "box", "-p", "127.0.0.1::80", "-e", "A=1", "-v",
                     "vol:/v", busybox, "sleep", "600")  # fmt: skip
    (item,) = json.loads(onggi.out("inspect", "box"))
    assert item["Id"] == full
    assert item["Name"] == "/box"
    assert (item["Path"], item["Args"]) == ("sleep", ["600"])
    assert item["State"]["Status"] == "running"
    assert item["State"]["Running"] is True
    assert item["Config"]["Image"] == busybox
    assert "A=1" in item["Config"]["Env"]
    assert item["Image"].startswith("sha256:")
    assert item["Mounts"][0]["Name"] == "vol"
    address = item["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert item["NetworkSettings"]["IPAddress"] == address
    (port,) = item["NetworkSettings"]["Ports"]["80/tcp"]
    assert port["HostIp"] == "127.0.0.1"
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert onggi.out("inspect", "-f", template, "box") == address
    template = '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'
    assert onggi.out("inspect", "-f", template, "box") == port["HostPort"]
    assert onggi.out("inspect", "-f", "{{.State.Pid}} {{len .Mounts}}", "box") == (
        f"{item['State']['Pid']} 1"
    )
    onggi("rm", "-f", "box")
    onggi("volume", "rm", "vol")


def test_inspect_of_nothing(onggi: Onggi, busybox: str) -> None:
    done = onggi("inspect", "nowhere", code=1)
    assert done.stdout == "[]\n"
    assert done.stderr.splitlines()[0] == "Error: No such object: nowhere"
    done = onggi("inspect", busybox, "nowhere", code=1)
    assert len(json.loads(done.stdout)) == 1


def test_logs(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--name", "box", busybox, "sh", "-c", SAY)
    done = onggi("logs", "box")
    assert (done.stdout, done.stderr) == ("one\nthree\n", "two\n")
    assert onggi.out("logs", "--tail", "1", "box") == "three"
    assert onggi("logs", "-n", "0", "box").stdout == ""
    stamped = onggi.out("logs", "-t", "box").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z one", stamped[0])
    assert onggi("logs", "--since", "1h", "box").stdout == "one\nthree\n"
    assert onggi("logs", "--until", "1h", "box").stdout == ""
    last = stamped[1].split()[0]
    assert onggi("logs", "--since", last, "box").stdout == "three\n"
    done = onggi("logs", "nowhere", code=1)
    assert done.stderr.splitlines()[0] == "Error response from daemon: No such container: nowhere"


def test_logs_follow(onggi: Onggi, busybox: str) -> None:
    script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo second"
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", script)
    process = onggi.popen("logs", "-f", "box")
    assert process.stdout is not None
    assert process.stdout.readline() == "first\n"
    onggi("exec", "box", "touch", "/go")
    rest, _ = process.communicate(timeout=DEADLINE_S)
    assert rest == "second\n"
    assert process.returncode == 0


def test_attach(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "-i", "--name", "box", busybox, "sh", "-c", "read x; echo got $x; exit 6")
    done = onggi("attach", "box", stdin="word\n", code=6)
    assert done.stdout == "got word\n"
    done = onggi("attach", "box", code=1)
    assert "You cannot attach to a stopped container, start it first" in done.stderr


def test_start_attached(onggi: Onggi, busybox: str) -> None:
    onggi("create", "-i", "--name", "box", busybox, "sh", "-c", "cat; exit 4")
    assert onggi("start", "-a", "-i", "box", stdin="echoed\n", code=4).stdout == "echoed\n"


def test_two_clients_see_the_same_output(onggi: Onggi, busybox: str) -> None:
    script = "while [ ! -e /go ]; do echo tick; sleep 0.05; done; echo for everybody"
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", script)
    clients = [onggi.popen("attach", "--no-stdin", "box") for _ in range(2)]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "tick\n"
    onggi("exec", "box", "touch", "/go")
    seen = [client.communicate(timeout=DEADLINE_S)[0] for client in clients]
    assert [text.replace("tick\n", "") for text in seen] == ["for everybody\n"] * 2


def test_wait(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "a1", busybox, "sh", "-c", "sleep 0.3; exit 8")
    onggi("run", "-d", "--name", "a2", busybox, "sh", "-c", "exit 9")
    assert onggi.out("wait", "a1", "a2").split() == ["8", "9"]
    assert onggi.out("wait", "a1") == "8"
    done = onggi("wait", "nowhere", code=1)
    assert "No such container: nowhere" in done.stderr


def test_stop_signal_and_timeout(onggi: Onggi, busybox: str) -> None:
    trap = "trap 'echo bye; exit 5' USR1; echo up; while :; do sleep 0.05; done"
    onggi("run", "-d", "--name", "box", "--stop-signal", "USR1", busybox, "sh", "-c", trap)
    onggi.until("up", "logs", "box")
    onggi("stop", "box")
    assert onggi.out("inspect", "-f", "{{.State.ExitCode}}", "box") == "5"
    onggi("run", "-d", "--name", "deaf", "--stop-timeout", "1", busybox, "sleep", "600")
    before = time.monotonic()
    done = onggi("stop", "deaf")
    assert time.monotonic() - before > 0.9
    assert done.stderr == (
        "deaf: killed by SIGKILL after stop timeout (1 s): its process ignores SIGTERM\n"
    )
    assert onggi.out("inspect", "-f", "{{.State.ExitCode}}", "deaf") == "137"


def test_restart(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", "echo up >> /count; sleep 600")
    pid = onggi.out("inspect", "-f", "{{.State.Pid}}", "box")
    onggi.until("up", "exec", "box", "cat", "/count")
    assert onggi.out("restart", "-t", "0", "box") == "box"
    assert onggi.out("inspect", "-f", "{{.State.Pid}}", "box") not in (pid, "0")
    onggi.until("up\nup", "exec", "box", "cat", "/count")
    onggi("kill", "box")
    onggi("wait", "box")
    assert onggi.out("restart", "box") == "box"
    assert onggi.out("ps", "--format", "{{.Names}}") == "box"


def test_kill(onggi: Onggi, busybox: str) -> None:
    trap = "trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"
    full = onggi.out("run", "-d", "--name", "box", busybox, "sh", "-c", trap)
    onggi.until("up", "logs", "box")
    assert onggi.out("kill", "-s", "HUP", "box") == "box"
    onggi.until("hup", "logs", "box")
    assert onggi.out("kill", "--signal", "9", "box") == "box"
    assert onggi.out("wait", "box") == "137"
    done = onggi("kill", "box", code=1)
    assert done.stderr.splitlines()[0] == (
        f"Error response from daemon: cannot kill container: box: container {full} is not running"
    )
    done = onggi("kill", "-s", "NONSENSE", "box", code=1)
    assert "invalid signal: NONSENSE" in done.stderr


def test_pause(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", "while :; do date +1%s > /t; done")
    onggi.until("1", "exec", "box", "cat", "/t")
    assert onggi.out("pause", "box") == "box"
    assert onggi.out("ps", "--format", "{{.State}} {{.Status}}").endswith("(Paused)")
    done = onggi("pause", "box", code=1)
    assert "is already paused" in done.stderr
    onggi("cp", "box:/t", "/dev/null", code=None)
    assert onggi.out("unpause", "box") == "box"
    assert onggi.out("ps", "--format", "{{.State}}") == "running"
    onggi("pause", "box")
    onggi("stop", "-t", "1", "box")
    assert onggi.out("ps", "-q") == ""


def test_rename(onggi: Onggi, busybox: str) -> None:
    onggi("create", "--name", "old", busybox, "true")
    onggi("create", "--name", "other", busybox, "true")
    assert onggi("rename", "old", "new").stdout == ""
    assert set(onggi.out("ps", "-a", "--format", "{{.Names}}").split()) == {"new", "other"}
    done = onggi("rename", "new", "other", code=1)
    assert 'Conflict. The container name "/other" is already in use by container' in done.stderr
    done = onggi("rename", "old", "x1", code=1)
    assert "No such container: old" in done.stderr


def test_top(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    head, row = rows(onggi.out("top", "box"))
    assert " ".join(head).split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert row[-1].endswith("sleep 600")
    found = onggi.out("top", "box", "-o", "pid,comm").splitlines()
    assert found[0].split() == ["PID", "COMMAND"]
    assert found[1].split() == [onggi.out("inspect", "-f", "{{.State.Pid}}", "box"), "sleep"]
    onggi("stop", "-t", "0", "box")
    done = onggi("top", "box", code=1)
    assert "is not running" in done.stderr


def test_diff(onggi: Onggi, busybox: str) -> None:
    script = "echo x > /new; rm /etc/shadow; echo y >> /etc/passwd; mkdir -p /var/a/b"
    onggi("run", "--name", "box", busybox, "sh", "-c", script)
    found = onggi.out("diff", "box").splitlines()
    assert sorted(found) == sorted(
        ["A /new", "C /etc", "D /etc/shadow", "C /etc/passwd", "C /var", "A /var/a", "A /var/a/b"]
    )
    onggi("run", "--name", "still", busybox, "true")
    assert onggi.out("diff", "still") == ""


def test_port(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "-p", "127.0.0.1::80", "-p", "127.0.0.1::53/udp",
          busybox, "sleep", "600")  # fmt: skip
    found = onggi.out("port", "box").splitlines()
    assert [re.sub(r"\d+$", "N", line) for line in found] == [
        "53/udp -> 127.0.0.1:N",
        "80/tcp -> 127.0.0.1:N",
    ]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", onggi.out("port", "box", "80"))
    assert re.fullmatch(r"127\.0\.0\.1:\d+", onggi.out("port", "box", "53/udp"))
    done = onggi("port", "box", "81", code=1)
    assert "Error: No public port '81' published for box" in done.stderr


def test_many_at_once_and_one_of_them_wrong(onggi: Onggi, busybox: str) -> None:
    for name in ("a1", "a2"):
        onggi("create", "--name", name, busybox, "true")
    done = onggi("rm", "a1", "nowhere", "a2", code=1)
    assert done.stdout == "a1\na2\n"
    assert done.stderr.splitlines()[0] == "Error response from daemon: No such container: nowhere"
    done = onggi("rm", "-f", "nowhere")
    assert done.stderr.splitlines()[0] == "Error response from daemon: No such container: nowhere"


def test_an_ambiguous_id(onggi: Onggi, busybox: str) -> None:
    ids: list[str] = []
    while not any(a[0] == b[0] for a in ids for b in ids if a != b):
        ids.append(onggi.out("create", busybox, "true"))
    first = next(a[0] for a in ids for b in ids if a != b and a[0] == b[0])
    done = onggi("start", first, code=1)
    assert f"multiple IDs found with provided prefix: {first}" in done.stderr.lower().replace(
        "ids", "IDs"
    )


def test_the_cli_may_die(onggi: Onggi, busybox: str) -> None:
    process = onggi.popen("run", "--name", "box", busybox, "sh", "-c", "echo up; sleep 600")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate()
    assert onggi.out("ps", "--format", "{{.Names}}") == "box"
    onggi("stop", "-t", "0", "box")


def test_a_killed_monitor_is_noticed(onggi: Onggi, busybox: str) -> None:
    import signal

    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    pid = int(onggi.out("inspect", "-f", "{{.State.Pid}}", "box"))
    with open(f"/proc/{pid}/stat") as stat:
        monitor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    onggi.until("Exited", "ps", "-a", "--format", "{{.Status}}")
    assert onggi.out("start", "box") == "box"
    assert onggi.out("ps", "--format", "{{.Names}}") == "box"


def test_an_end_waits_for_who_has_the_container(onggi: Onggi, busybox: str) -> None:
    """Else a start behind it could lose to the cleaning what it has just made."""
    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    full, pid = onggi.out("inspect", "-f", "{{.Id}} {{.State.Pid}}", "box").split()
    state = ["inspect", "-f", "{{.State.Status}}", "box"]
    with open(f"{onggi.environment['ONGGI_RUN']}/locks/{full}") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        killing = onggi.popen("kill", "box")  # which waits for the end to be recorded
        inode = f":{os.fstat(lock.fileno()).st_ino} "
        deadline = time.monotonic() + 60
        while not any(
            "->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()
        ):
            assert time.monotonic() < deadline, "nobody waits for the lock"
            time.sleep(0.01)
        assert not Path("/proc", pid, "exe").exists()
        assert onggi.out(*state) == "running"
    assert killing.communicate(timeout=60) == ("box\n", "")
    assert onggi.out(*state) == "exited"
    onggi("start", "box")
    assert onggi.out("exec", "box", "ls", "/sys/class/net").split() == ["eth0", "lo"]
    onggi("stop", "-t", "0", "box")
