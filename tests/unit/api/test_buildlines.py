"""A build in the words of docker's classic builder."""

import json
from typing import Any

from onggi.api.buildlines import MAX_KEPT_BYTES, BuildLines
from onggi.errors import InvalidInput
from onggi.progress import StepFinished, StepOutput, StepStarted

ID = "sha256:" + "a" * 64
TAG = "docker.io/library/app:latest"


class Told:
    def __init__(self, *, quiet: bool = False, aux: bool = True) -> None:
        self.raw: list[bytes] = []
        self.lines = BuildLines(self.raw.append, quiet=quiet, aux=aux)

    @property
    def said(self) -> list[Any]:
        return [json.loads(line) for line in self.raw]


def steps(told: Told) -> None:
    told.lines.report(StepStarted(1, 1, "RUN x"))
    told.lines.report(StepOutput(1, b"out\n"))
    told.lines.report(StepFinished(1, "abc"))


def test_a_build() -> None:
    told = Told()
    steps(told)
    told.lines.finished(ID, [TAG])
    assert told.said == [
        {"stream": "Step 1/1 : RUN x\n"},
        {"stream": "out\n"},
        {"stream": " ---> abc\n"},
        {"aux": {"ID": ID}},
        {"stream": f"Successfully built {'a' * 12}\n"},
        {"stream": "Successfully tagged app:latest\n"},
    ]


def test_old_clients_get_no_aux() -> None:
    told = Told(aux=False)
    told.lines.finished(ID, [])
    assert told.said == [{"stream": f"Successfully built {'a' * 12}\n"}]


def test_quiet_tells_the_id_alone() -> None:
    told = Told(quiet=True)
    steps(told)
    told.lines.finished(ID, [TAG])
    assert told.said == [{"stream": f"{ID}\n"}]


def test_a_quiet_build_that_fails_tells_what_it_did() -> None:
    told = Told(quiet=True)
    steps(told)
    told.lines.failed(InvalidInput("no"))
    assert [line.get("stream") for line in told.said[:3]] == [
        "Step 1/1 : RUN x\n", "out\n", " ---> abc\n",
    ]  # fmt: skip
    assert told.said[3] == {"errorDetail": {"message": "no"}, "error": "no"}


def test_what_a_quiet_build_keeps_is_bounded() -> None:
    told = Told(quiet=True)
    for _ in range(100):
        told.lines.report(StepOutput(1, b"x" * 100_000))
    assert sum(map(len, told.lines.kept)) <= MAX_KEPT_BYTES
