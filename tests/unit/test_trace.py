"""The phase table of `onggi --trace`."""

import os
import time
from collections.abc import Iterator

import pytest

from onggi import trace


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(trace, "_who", "command")
    monkeypatch.setattr(trace, "_fd", -1)
    began_ns = time.monotonic_ns()
    trace.start(began_ns, 6_000_000)
    yield began_ns
    os.close(*trace.descriptors())


def test_nothing_is_kept_when_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_fd", -1)
    trace.mark("something")
    trace.born("somebody")
    assert trace.table() == [] and trace.descriptors() == ()


def test_each_process_has_its_own_phases(tracing: int) -> None:
    trace.mark("one")
    child = os.fork()
    if child == 0:
        trace.born("monitor")
        trace.mark("two")
        os._exit(0)
    os.waitpid(child, 0)
    trace.mark("three")
    rows = trace.table()
    names = [(who, phase) for _, _, who, phase in rows]
    assert names == [
        ("command", "interpreter started"),
        ("command", "tracing"),
        ("command", "one"),
        ("monitor", "two"),
        ("command", "three"),
    ]
    at = [row[0] for row in rows]
    assert at == sorted(at) and at[0] == pytest.approx(6.0)
    took = {phase: row_took for _, row_took, _, phase in rows}
    assert took["interpreter started"] == pytest.approx(6.0)
    assert took["three"] == pytest.approx(at[4] - at[2])
    assert 0 <= took["two"] <= took["three"]
