"""Worker processes: what they say and come to arrives as it was, and none outlives the block."""

import os
import time

import pytest

from onggi.build.operate import Result
from onggi.build.workers import Workers
from onggi.errors import CommandNotFound, OnggiError
from onggi.progress import Event, Layer, Message, Report, StepFinished, StepOutput, StepStarted
from onggi.spec.digest import Digest

EVENTS: list[Event] = [
    Layer("abc", "Downloading", 1, 2),
    Message("ünïcode \udcff"),
    StepStarted(1, 2, "RUN x", "stage"),
    StepOutput(1, bytes(range(256)) * 1000, 2),
    StepFinished(1, "abc", False, 1.5),
]
RESULT = Result((Digest.of(b"a"), Digest.of(b"b")), str(Digest.of(b"b")), 1 << 60, True)


def test_events_and_results_arrive_as_they_were() -> None:
    heard: list[Event] = []

    def job(report: Report) -> Result:
        for event in EVENTS:
            report(event)
        return RESULT

    with Workers(lambda: None, 2) as workers:
        workers.start(7, job)
        assert workers.busy == {7} and workers.free == 1
        assert workers.wait(heard.append) == {7: RESULT}
    assert heard == EVENTS
    assert [type(event) for event in heard] == [type(event) for event in EVENTS]


def test_errors_keep_their_class_and_hint() -> None:
    def job(report: Report) -> Result:
        raise CommandNotFound("no", hint="look")

    with Workers(lambda: None, 1) as workers:
        workers.start(1, job)
        with pytest.raises(CommandNotFound, match="no") as caught:
            workers.wait(lambda event: None)
    assert caught.value.hint == "look"


def test_a_worker_that_dies_is_an_error_and_a_busy_one_is_ended() -> None:
    def dies(report: Report) -> Result:
        os._exit(3)

    def sleeps(report: Report) -> Result:
        time.sleep(600)
        return RESULT

    with Workers(lambda: None, 2) as workers:
        workers.start(1, sleeps)
        workers.start(2, dies)
        with pytest.raises(OnggiError, match="a worker of the build died"):
            workers.wait(lambda event: None)
    assert workers.busy == set()
