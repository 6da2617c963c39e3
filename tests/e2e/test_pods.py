"""Pods: namespaces that several containers share and that outlive each of them."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ports import free_port

from .conftest import Onggi

pytestmark = pytest.mark.root
MOST_PRIVATE_KB = 1024


@pytest.fixture(autouse=True)
def no_pod_stays(onggi: Onggi) -> Iterator[None]:
    yield
    onggi("pod", "rm", "-f", "--all")
    assert onggi.out("pod", "ps", "-q") == ""


def inspect(onggi: Onggi, name: str) -> dict[str, Any]:
    (found,) = json.loads(onggi.out("pod", "inspect", name))
    assert isinstance(found, dict)
    return found


def test_containers_of_a_pod_share_its_namespaces(onggi: Onggi, busybox: str) -> None:
    port = free_port()
    pod = onggi.out("pod", "create", "-p", f"{port}:80", "--label", "tier=front",
                    "--add-host", "db:10.9.9.9", "web")  # fmt: skip
    assert inspect(onggi, "web")["State"] == "Created"
    assert onggi.out("ps", "-aq") == ""  # it is no container of the user's
    onggi("run", "-d", "--pod", "web", "--name", "server", busybox, "sh", "-c",
          "hostname > /dev/shm/note; exec httpd -f -p 80 -h /dev/shm")  # fmt: skip
    show = (
        "hostname; until wget -qO- http://127.0.0.1/note; do sleep 0.1; done; cat /dev/shm/note; "
        "cat /etc/hosts"
    )
    found = onggi.out("run", "--rm", "--pod", pod[:12], busybox, "sh", "-c", show).splitlines()
    assert found[:3] == ["web", "web", "web"]
    assert any(line.split() == ["10.9.9.9", "db"] for line in found)
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/note", timeout=60).read()
    assert answer == b"web\n"
    (listed,) = onggi.out(
        "pod", "ps", "--filter", "label=tier", "--format",
        "{{.Name}} {{.Status}} {{.NumberOfContainers}} {{.ContainerNames}} {{.Ports}}",
    ).splitlines()  # fmt: skip
    assert listed == f"web Running 1 server 0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp"
    rows = Path(f"/proc/{inspect(onggi, 'web')['InfraPid']}/smaps_rollup").read_text().splitlines()
    private = sum(int(row.split()[1]) for row in rows if row.startswith("Private"))
    assert private < MOST_PRIVATE_KB


def test_a_pod_stops_and_starts_as_one(onggi: Onggi, busybox: str) -> None:
    onggi("pod", "create", "--name", "both")
    for name in ("one", "two"):
        onggi("run", "-d", "--pod", "both", "--name", name, "--stop-signal", "KILL", busybox,
              "sleep", "600")  # fmt: skip
    onggi("pod", "pause", "both")
    assert inspect(onggi, "both")["State"] == "Paused"
    onggi("pod", "unpause", "both")
    onggi("stop", "one")
    assert inspect(onggi, "both")["State"] == "Degraded"
    first = inspect(onggi, "both")["InfraPid"]
    onggi("pod", "stop", "both")
    stopped = inspect(onggi, "both")
    assert (stopped["State"], stopped["InfraPid"]) == ("Exited", 0)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{first}").exists():  # dead, and soon reaped
        assert time.monotonic() < deadline
        time.sleep(0.05)
    onggi("pod", "start", "both")
    assert inspect(onggi, "both")["State"] == "Running"
    onggi("pod", "restart", "both")
    assert inspect(onggi, "both")["State"] == "Running"
    done = onggi("pod", "rm", "both", code=1)
    assert "has containers that run" in done.stderr
    onggi("pod", "kill", "both")
    onggi("wait", "one", "two")
    onggi("pod", "rm", "both")
    assert onggi.out("ps", "-aq") == ""
    onggi("pod", "exists", "both", code=1)


def test_a_pid_namespace_is_shared_when_asked(onggi: Onggi, busybox: str) -> None:
    onggi("pod", "create", "--share", "+pid", "seen")
    onggi("run", "-d", "--pod", "seen", "--name", "long", busybox, "sleep", "600")
    processes = onggi.out("run", "--rm", "--pod", "seen", busybox, "ps", "-o", "pid,args")
    assert "1 /pause" in processes
    assert "sleep 600" in processes
    reach = "cd /proc/1 || echo lost; cat root/etc/hosts; readlink fd/0; readlink root"
    probe = f"{reach}; kill -9 1; echo still here"
    done = onggi("run", "--rm", "--pod", "seen", busybox, "sh", "-c", probe)
    assert done.stdout == "still here\n"  # nothing of the pod's own process is in reach


def test_nothing_but_what_is_asked_is_shared(onggi: Onggi, busybox: str) -> None:
    onggi("pod", "create", "--share", "none", "apart")
    namespaces = []
    for name in ("one", "two"):
        onggi("run", "-d", "--pod", "apart", "--name", name, busybox, "sleep", "600")
        pid = onggi.out("inspect", "-f", "{{.State.Pid}}", name)
        namespaces.append([os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "ipc", "uts")])
    assert not set(namespaces[0]) & set(namespaces[1])


def test_what_the_pod_decides(onggi: Onggi, busybox: str) -> None:
    onggi("pod", "create", "web")
    assert "in use" in onggi("pod", "create", "web", code=1).stderr
    for words, problem in (
        (("-p", "80:80"), "its network is the pod's"),
        (("--network", "host"), "the network of the pod"),
        (("--hostname", "x"), "the UTS namespace of the pod"),
        (("--ipc", "host"), "the ipc of the pod"),
    ):
        done = onggi("run", "--rm", "--pod", "web", *words, busybox, "true", code=125)
        assert problem in done.stderr
    assert "no such pod" in onggi("run", "--pod", "nosuch", busybox, "true", code=125).stderr
    assert onggi.out("ps", "-aq") == ""


def test_a_pod_whose_holder_was_killed(onggi: Onggi, busybox: str) -> None:
    """The next look finds it, the next start of a container makes it anew."""
    onggi("pod", "create", "frail")
    onggi("create", "--pod", "frail", "--name", "box", busybox, "hostname")
    onggi("pod", "start", "frail")
    onggi("wait", "box")
    holder = os.pidfd_open(inspect(onggi, "frail")["InfraPid"])
    signal.pidfd_send_signal(holder, signal.SIGKILL)
    os.close(holder)
    onggi.until('"State": "Exited"', "pod", "inspect", "frail")
    onggi("start", "-a", "box")
    assert inspect(onggi, "frail")["InfraPid"] > 0
    assert onggi.out("pod", "prune", "-f") == ""
    onggi("pod", "stop", "frail")
    pod = inspect(onggi, "frail")["Id"]
    assert "holds a pod" in onggi("rm", "-f", pod, code=1).stderr
    assert onggi.out("pod", "prune", "-f") == pod


def test_a_pod_is_found_by_its_name(onggi: Onggi, busybox: str) -> None:
    onggi("network", "create", "podnet")
    try:
        onggi("pod", "create", "--network", "podnet", "--network-alias", "shop", "--hostname", "h",
              "web")  # fmt: skip
        onggi("run", "-d", "--pod", "web", busybox, "sh", "-c",
              "hostname > /tmp/name; exec httpd -f -p 80 -h /tmp")  # fmt: skip
        ask = "for n in web shop; do wget -qO- http://$n/name || exit 1; done"
        deadline = time.monotonic() + 60
        while True:  # the server may still be on its way
            done = onggi("run", "--rm", "--network", "podnet", busybox, "sh", "-c", ask, code=None)
            if done.stdout == "h\nh\n":
                break
            assert time.monotonic() < deadline, done.stderr
    finally:
        onggi("pod", "rm", "-f", "--all")
        onggi("network", "rm", "podnet")
