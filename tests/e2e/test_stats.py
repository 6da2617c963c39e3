"""`stats`, once and live."""

import json
import re

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


def test_columns(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "one", "-m", "64m", busybox, "sh", "-c", "while :; do :; done")
    header, row = onggi.out("stats", "--no-stream").splitlines()
    assert header.split() == (
        "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS".split()
    )
    assert re.fullmatch(
        r"[0-9a-f]{12} +one +[\d.]+% +[\d.]+[KM]?i?B / 64MiB +[\d.]+% +\S+ / \S+ +\S+ / \S+ +1 *",
        row,
    )
    found = json.loads(onggi.out("stats", "--no-stream", "--format", "json", "one"))
    assert float(found["CPUPerc"].rstrip("%")) > 1
    assert list(found) == sorted(found) and found["PIDs"] == "1"


def test_network_and_templates(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "net", busybox, "sh", "-c", "ping -c 3 -i 0.1 127.0.0.1; sleep 60")
    onggi("run", "-d", "--name", "host", "--network", "host", busybox, "sleep", "60")
    template = "{{.Name}} {{.NetIO}} {{.ID}}"
    lines = onggi.out("stats", "--no-stream", "--no-trunc", "--format", template, "net", "host")
    first, second = lines.splitlines()
    assert first.startswith("net ") and len(first.split()[-1]) == 64
    assert second.startswith("host 0B / 0B ")


def test_what_does_not_run(onggi: Onggi, busybox: str) -> None:
    onggi("create", "--name", "idle", busybox)
    assert len(onggi.out("stats", "--no-stream").splitlines()) == 1
    row = onggi.out("stats", "--no-stream", "-a").splitlines()[1]
    assert row.split()[1:] == "idle 0.00% 0B / 0B 0.00% 0B / 0B 0B / 0B 0".split()
    assert "No such container: nope" in onggi("stats", "nope", code=1).stderr


def test_live_until_the_end(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "live", busybox, "sleep", "60")
    with onggi.terminal("stats", "live", columns=200) as terminal:
        terminal.expect("NAME")
        terminal.expect("live")
        terminal.expect("live")  # drawn anew
        onggi("kill", "live")
        assert terminal.wait() == 0
