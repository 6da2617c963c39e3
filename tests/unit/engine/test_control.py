"""Signals by name and number, and who may become paused."""

import signal

import pytest

from onggi.engine.control import as_paused, signal_number, stop_signal_number
from onggi.errors import InvalidInput
from onggi.spec.container import ContainerState


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("TERM", signal.SIGTERM),
        ("sigkill", signal.SIGKILL),
        ("15", 15),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("RTMAX", signal.SIGRTMAX),
        ("SIGRTMAX-1", signal.SIGRTMAX - 1),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "FOO", "_DFL", "RTMIN+", "RTMIN+99", "RTMIN-1", "RTMAX+1", "RTMIN+²"]
)
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid signal"):
        signal_number(text)


def test_only_the_run_that_was_frozen_isas_paused() -> None:
    running = ContainerState(status="running", pid=7)
    assert as_paused(running, 7).status == "paused"
    assert as_paused(running, 8) == running
    ended = ContainerState(status="exited")
    assert as_paused(ended, 7) == ended


def test_an_image_cannot_make_its_containers_unstoppable() -> None:
    assert stop_signal_number("SIGQUIT") == signal.SIGQUIT
    assert stop_signal_number("NONSENSE") == stop_signal_number("") == signal.SIGTERM
