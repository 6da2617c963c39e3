"""Typed progress events. The core emits them to a callback and never prints."""

from collections.abc import Callable, Sequence

from .typed import Any, Literal, NamedTuple, get_args

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
    """A line for the user, as docker words it: "Digest: sha256:…", "Status: …". One about a
    `subject` begins with it and a colon."""

    text: str
    subject: str = ""


class Warning(NamedTuple):
    """Something the user should know, though the work goes on."""

    text: str


class PushResult(NamedTuple):
    """What a push made of the tag, for programs: people are told by a message."""

    tag: str
    digest: str
    size_bytes: int


class StepStarted(NamedTuple):
    """Build step `number` of `total` begins; `text` is the instruction as written. `platform` is
    said where several are built. `in_stage` is its number and their total among those of its stage
    that make something, as BuildKit counts."""

    number: int
    total: int
    text: str
    stage: str = ""
    platform: str = ""
    in_stage: tuple[int, int] = (0, 0)

    @property
    def place(self) -> str:
        """Before the step's number or text, with a blank after it; "" where there is one place."""
        return "".join(f"{word} " for word in (self.platform, self.stage) if word)


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


class StepFailed(NamedTuple):
    """The command of a build step ended with this status; the error follows."""

    number: int
    status: int
    command: str = ""


Event = (
    Layer | Message | Warning | PushResult | StepStarted | StepOutput | StepFinished | StepFailed
)
Report = Callable[[Event], None]
_KINDS = {kind.__name__: kind for kind in get_args(Event)}


def ignore(event: Event) -> None:
    """The callback of those who do not want to know."""


def to_json(event: Event) -> list[Any]:
    """Its name and what it holds; output, which may be any bytes, as Latin-1."""
    texts = [item.decode("latin-1") if isinstance(item, bytes) else item for item in event]
    return [type(event).__name__, *texts]


def from_json(fields: Sequence[Any]) -> Event:
    """The event of what `to_json` gave."""
    name, *values = fields
    if name == "StepOutput":
        number, text, stream = values
        return StepOutput(number, text.encode("latin-1"), stream)
    if name == "StepStarted":
        number, total, text, stage, platform, in_stage = values
        return StepStarted(number, total, text, stage, platform, tuple(in_stage))
    event: Event = _KINDS[name](*values)
    return event
