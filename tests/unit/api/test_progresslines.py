"""Docker's lines of progress."""

import json

import pytest

from onggi.api.progresslines import bar, encode, failure
from onggi.errors import InvalidInput, NotFound
from onggi.progress import Event, Layer, Message, PushResult, StepFinished, StepOutput, StepStarted


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (Message("Status: done"), {"status": "Status: done"}),
        (
            Layer("ab", "Pull complete"),
            {"status": "Pull complete", "progressDetail": {}, "id": "ab"},
        ),
        (Layer("ab", "Mounted from", detail="x/y"), {"status": "Mounted from x/y",
                                                     "progressDetail": {}, "id": "ab"}),
        (PushResult("1", "sha256:x", 5), {"aux": {"Tag": "1", "Digest": "sha256:x", "Size": 5}}),
        (StepStarted(1, 2, "RUN x"), {"stream": "Step 1/2 : RUN x\n"}),
        (StepOutput(1, b"\xff\n"), {"stream": "\ufffd\n"}),
        (StepFinished(1, "abc", cached=True), {"stream": " ---> Using cache\n ---> abc\n"}),
    ],
)  # fmt: skip
def test_lines(event: Event, fields: dict[str, object]) -> None:
    line = encode(event)
    assert line.endswith(b"\r\n") and line.count(b"\n") == 1
    assert json.loads(line) == fields


def test_a_layer_on_its_way() -> None:
    found = json.loads(encode(Layer("ab", "Downloading", 512, 1024)))
    assert found["progressDetail"] == {"current": 512, "total": 1024}
    assert found["progress"] == bar(512, 1024)
    assert bar(512, 1024).startswith("[" + "=" * 25 + ">" + " " * 24 + "]")
    assert bar(1024, 1024).startswith("[" + "=" * 50 + "]")
    assert "[" not in bar(10, 0)


def test_failures() -> None:
    assert json.loads(failure(InvalidInput("bad"))) == {
        "errorDetail": {"message": "bad"},
        "error": "bad",
    }
    assert json.loads(failure(NotFound("gone")))["errorDetail"]["code"] == 404
