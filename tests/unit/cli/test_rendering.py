"""Tables, `ps`, `images`, progress and build steps, rendered from recorded data."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onggi.cli.bars import Bars, bar, layer_line, reporter
from onggi.cli.commands import images, ps
from onggi.cli.session import CommandError, Output, Session
from onggi.cli.steps import StepLines
from onggi.cli.table import align, filters_of, print_rows
from onggi.engine import listing
from onggi.engine.imagelist import Listed
from onggi.progress import Layer, Message, StepFinished, StepOutput, StepStarted, Warning
from onggi.spec.container import (
    Container,
    ContainerConfig,
    ContainerOptions,
    ContainerState,
    Health,
    Process,
)
from onggi.spec.digest import Digest
from onggi.spec.image import Image, ImageConfig
from onggi.spec.network import PortBinding
from onggi.spec.platform import Platform

NOW = 1_700_000_000.0
SECOND = 10**9


class Page(Session):
    """A session whose output is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"HOME": str(folder)})
        self._files = [os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("out", "err")]
        self.out, self.err = (Output(fd) for fd in self._files)

    def text(self, which: int = 0) -> str:
        (self.out, self.err)[which].flush()
        return os.pread(self._files[which], 1 << 20, 0).decode()

    def close(self) -> None:
        for fd in self._files:
            os.close(fd)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path)
    yield page
    page.close()


def container(status: Any = "running", **state: Any) -> Container:
    options = ContainerOptions("python:3.11", command=("sh",))
    process = Process(("./manage.py", "runserver", "0:8000"), (), "/", "", False)
    config = ContainerConfig(options, process, "sha256:" + "1" * 64, (), "host", "SIGTERM")
    ticks = (time.clock_gettime(time.CLOCK_BOOTTIME) - 300) * os.sysconf("SC_CLK_TCK")
    times = {"pid_start": int(ticks), "finished_ns": int((NOW - 3) * SECOND)}
    return Container("c" * 64, "web", int((NOW - 360) * SECOND), config,
                     ContainerState(status=status, **{**times, **state}))  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("running", "Up 5 minutes"),
        ("paused", "Up 5 minutes (Paused)"),
        ("exited", "Exited (3) 3 seconds ago"),
        ("created", "Created"),
        ("dead", "Dead"),
        ("removing", "Removal In Progress"),
        ("restarting", "Restarting (3) 3 seconds ago"),
    ],
)
def test_status(status: Any, text: str) -> None:
    assert listing.status_text(container(status, exit_code=3), NOW) == text


def test_status_tells_the_health() -> None:
    for status, text in (
        (Health(), "health: starting"), (Health("healthy"), "healthy"),
        (Health("unhealthy", 3), "unhealthy"),
    ):  # fmt: skip
        assert listing.status_text(container(health=status), NOW) == f"Up 5 minutes ({text})"
    assert listing.status_text(container("paused", health=Health()), NOW) == "Up 5 minutes (Paused)"


@pytest.mark.sec("S10")
def test_a_clock_that_was_set_does_not_change_how_long_it_is_up() -> None:
    for jump in (-(10**9), 10**9):
        shown = listing.status_text(container(started_ns=int((NOW + jump) * SECOND)), NOW + jump)
        assert shown == "Up 5 minutes"


@pytest.mark.parametrize(
    ("bindings", "exposed", "text"),
    [
        ([], [], ""),
        ([PortBinding("", 8000, 8000)], ["8000/tcp"], "0.0.0.0:8000->8000/tcp"),
        ([PortBinding("127.0.0.1", 80, 8000), PortBinding("::", 80, 8000)], [],
         "127.0.0.1:80->8000/tcp, [::]:80->8000/tcp"),
        ([PortBinding("", 80 + n, 80 + n) for n in range(3)], [],
         "0.0.0.0:80-82->80-82/tcp"),
        ([PortBinding("", 8080, 80), PortBinding("", 53, 53, "udp")],
         ["53/tcp", "53/udp", "9000/tcp"],
         "53/tcp, 9000/tcp, 0.0.0.0:53->53/udp, 0.0.0.0:8080->80/tcp"),
        ([], ["80/tcp", "81/tcp", "443/tcp"], "80-81/tcp, 443/tcp"),
    ],
)  # fmt: skip
def test_ports(bindings: list[PortBinding], exposed: list[str], text: str) -> None:
    assert ps.ports_text(bindings, exposed) == text


def test_commands_are_quoted_and_cut() -> None:
    assert ps.command_text(["sh"], trunc=True) == '"sh"'
    assert ps.command_text(["./manage.py", "runserver", "0:8000"], trunc=True) == (
        '"./manage.py runserv…"'
    )
    assert ps.command_text(["echo", 'a "b"'], trunc=False) == '"echo \'a \\"b\\"\'"'


def test_an_image_named_by_id_is_shortened() -> None:
    identity = "sha256:" + "ab" * 32
    assert ps.image_name("ab" * 32, identity, trunc=True) == "ab" * 6
    assert ps.image_name("ab" * 32, identity, trunc=False) == "ab" * 32
    assert ps.image_name("python:3.11", identity, trunc=True) == "python:3.11"
    assert ps.image_name(f"python@{identity}", identity, trunc=True) == "python"


def test_columns_line_up_as_dockers_do() -> None:
    lines = ["CONTAINER ID\tIMAGE\tNAMES", "abc\tpython:3.11-slim\tweb"]
    assert (
        align(lines)
        == "CONTAINER ID   IMAGE              NAMES\nabc            python:3.11-slim   web\n"
    )
    assert align(["a\tb", "cc"]) == "a         b\ncc\n"
    assert align(["웹\tx", "w\ty"]) == "웹         x\nw         y\n"


ROWS: list[dict[str, Any]] = [
    {"ID": "1", "Names": "a", "Label": lambda name: f"l{name}"},
    {"ID": "2", "Names": "b", "Label": lambda name: ""},
]
HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", "CONTAINER ID   NAMES\n1              a\n2              b\n"),
        ("table", "CONTAINER ID   NAMES\n1              a\n2              b\n"),
        ("table {{.Names}}\\t{{.ID}}", "NAMES     CONTAINER ID\na         1\nb         2\n"),
        ("table {{.Label \"com.x.role\"}}\t{{.ID}}",
         "role          CONTAINER ID\nlcom.x.role   1\n              2\n"),
        ("{{.ID}}:{{.Names}}", "1:a\n2:b\n"),
        ("json", '{"ID":"1","Names":"a"}\n{"ID":"2","Names":"b"}\n'),
        ("{{json .Names}}\\t!", '"a"\t!\n"b"\t!\n'),
    ],
)  # fmt: skip
def test_formats(page: Page, template: str, text: str) -> None:
    print_rows(page, ROWS, columns=("ID", "Names"), headers=HEADERS, template=template)
    assert page.text() == text


def test_format_errors(page: Page) -> None:
    with pytest.raises(CommandError, match="failed to parse template: template: :1: unclosed"):
        print_rows(page, ROWS, columns=(), headers=HEADERS, template="{{.ID")
    with pytest.raises(CommandError, match=r"failed to execute template: .*no entry for key"):
        print_rows(page, ROWS, columns=(), headers=HEADERS, template="{{.Nope}}")


def test_filters() -> None:
    found = filters_of(["status=running", "label=a=b", "status = exited"])
    assert found == {"status": ["running", "exited"], "label": ["a=b"]}


# -- images


def image(*tags: str, digests: tuple[str, ...] = (), labels: dict[str, str] | None = None) -> Image:
    identity = Digest("sha256:" + f"{len(tags)}" * 64)
    config = ImageConfig(Platform("linux", "amd64"), (), labels=labels or {})
    return Image(identity, config, None, 78_100_000, int(NOW * SECOND), tags, digests)


def listed(found: Image) -> Listed:
    return Listed(found, found.tags, found.repo_digests)


def test_one_row_for_each_name() -> None:
    both = image("docker.io/library/python:3.11", "localhost:5000/app:latest")
    rows = images.rows_of(listed(both), trunc=True, digests=False)
    assert [(r["Repository"], r["Tag"], r["ID"], r["Size"]) for r in rows] == [
        ("python", "3.11", "2" * 12, "78.1MB"),
        ("localhost:5000/app", "latest", "2" * 12, "78.1MB"),
    ]
    (bare,) = images.rows_of(listed(image()), trunc=True, digests=False)
    assert (bare["Repository"], bare["Tag"]) == ("<none>", "<none>")


def test_digests_are_shown_on_request() -> None:
    digest = "sha256:" + "d" * 64
    pulled = image("docker.io/library/python:3.11", digests=(f"docker.io/library/python@{digest}",))
    (row,) = images.rows_of(listed(pulled), trunc=True, digests=True)
    assert row["Digest"] == digest
    by_digest = image(digests=(f"docker.io/library/python@{digest}",))
    (row,) = images.rows_of(listed(by_digest), trunc=True, digests=True)
    assert (row["Repository"], row["Tag"], row["Digest"]) == ("python", "<none>", digest)


# -- progress


def test_a_layer_in_one_line() -> None:
    assert layer_line(Layer("a1b2", "Pull complete"), 80) == "a1b2: Pull complete"
    line = layer_line(Layer("a1b2", "Downloading", 500_000, 1_000_000), 60)
    assert line == "a1b2: Downloading [==============>             ]  500kB/1MB"
    assert len(layer_line(Layer("a1b2", "Downloading", 1, 10**9), 30)) < 30
    assert layer_line(Layer("a1b2", "Downloading", 500_000), 80) == "a1b2: Downloading  500kB"


def test_bars() -> None:
    assert bar(0, 10, 10) == ">         " and bar(5, 10, 10) == "=====>    "
    assert bar(10, 10, 10) == "=" * 10 and bar(99, 10, 10) == "=" * 10 and bar(1, 0, 3) == ">  "


def test_plain_lines_tell_each_change_once(page: Page) -> None:
    report = reporter(page, page.out)
    for event in (
        Message("latest: Pulling from library/python"),
        Layer("a1", "Pulling fs layer"),
        Layer("a1", "Downloading", 1, 10),
        Layer("a1", "Downloading", 9, 10),
        Layer("a1", "Download complete"),
        Layer("a1", "Download complete"),
        Layer("a1", "Pull complete"),
        Layer("b2", "Mounted from", detail="library/x"),
        Warning("take care"),
    ):
        report(event)
    assert page.text().splitlines() == [
        "latest: Pulling from library/python", "a1: Pulling fs layer", "a1: Download complete",
        "a1: Pull complete", "b2: Mounted from library/x", "WARNING: take care",
    ]  # fmt: skip


def test_on_a_terminal_the_lines_change_in_place(page: Page) -> None:
    report = Bars(page.out, drawn=True)
    report(Layer("a1", "Pulling fs layer"))
    report(Layer("b2", "Pulling fs layer"))
    report(Layer("a1", "Pull complete"))
    report(Message("Digest: x"))
    screen: list[str] = []
    row = 0
    for part in io.StringIO(page.text()).read().replace("\x1b[2K", "").split("\n"):
        text = part
        while text.startswith("\x1b["):
            count, _, text = text[2:].partition("A")
            row -= int(count)
        while len(screen) <= row:
            screen.append("")
        screen[row] = text.removeprefix("\r")
        row += 1
    assert [line for line in screen if line] == [
        "a1: Pull complete", "b2: Pulling fs layer", "Digest: x",
    ]  # fmt: skip


def test_build_steps(page: Page) -> None:
    lines = StepLines(page, quiet=False, mode="auto")
    lines(StepStarted(1, 2, "FROM python:3.11"))
    lines(StepFinished(1, "1a2b3c4d5e6f", cached=True))
    lines(StepStarted(2, 2, "RUN pip install django"))
    lines(StepOutput(2, b"Collecting django"))
    lines(StepOutput(2, b"oops\n", 2))
    lines(StepFinished(2, "aabbccddeeff"))
    identity = Digest("sha256:" + "a" * 64)
    lines.finished(identity, ("docker.io/library/test:latest",), 2, 1)
    assert page.text().splitlines() == [
        "Step 1/2 : FROM python:3.11",
        " ---> Using cache",
        " ---> 1a2b3c4d5e6f",
        "Step 2/2 : RUN pip install django",
        "Collecting django ---> aabbccddeeff",
        "Successfully built aaaaaaaaaaaa",
        "Successfully tagged test:latest",
    ]
    assert page.text(1) == "oops\n"


def test_a_quiet_build_prints_its_id_alone(page: Page) -> None:
    lines = StepLines(page, quiet=True, mode="auto")
    lines(StepStarted(1, 1, "RUN x"))
    lines(StepOutput(1, b"noise\n"))
    identity = Digest("sha256:" + "a" * 64)
    lines.finished(identity, (), 1, 0)
    assert page.text() == f"{identity}\n" and page.text(1) == ""


def test_a_quiet_build_that_fails_shows_the_output(page: Page) -> None:
    lines = StepLines(page, quiet=True, mode="auto")
    lines(StepStarted(1, 1, "RUN x"))
    lines(StepOutput(1, b"why\n"))
    lines.failed()
    assert page.text() == "" and page.text(1) == "why\n"
