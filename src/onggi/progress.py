"""Typed progress events. The core emits them to a callback and never prints."""

from collections.abc import Callable
from typing import Literal, NamedTuple

LayerAction = Literal[
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Already exists",
    "Preparing",
    "Pushing",
    "Pushed",
    "Layer already exists",
    "Mounted from",
    "Loading layer",
    "Retrying",
]


class Layer(NamedTuple):
    """One layer moved on. `id` is the short blob digest; sizes in bytes, total 0 when unknown."""

    id: str
    action: LayerAction
    current_bytes: int = 0
    total_bytes: int = 0
    detail: str = ""


class Message(NamedTuple):
    """A line for the user, as docker words it: "Digest: sha256:…", "Status: …"."""

    text: str


class Warning(NamedTuple):
    """Something the user should know, though the work goes on."""

    text: str


class PushResult(NamedTuple):
    """What a push made of the tag, for programs: people are told by a message."""

    tag: str
    digest: str
    size_bytes: int


class StepStarted(NamedTuple):
    """Build step `number` of `total` begins; `text` is the instruction as written."""

    number: int
    total: int
    text: str
    stage: str = ""


class StepOutput(NamedTuple):
    """Bytes the running build step wrote; `stream` 1 stdout, 2 stderr."""

    number: int
    data: bytes
    stream: int = 1


class StepFinished(NamedTuple):
    """Build step ended well; `result` is the short id of the image so far."""

    number: int
    result: str
    cached: bool = False
    duration_s: float = 0.0


Event = Layer | Message | Warning | PushResult | StepStarted | StepOutput | StepFinished
Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The callback of those who do not want to know."""
