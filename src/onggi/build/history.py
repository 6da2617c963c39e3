"""The last build's steps, kept for `builder explain`. A note, no truth: it may be missing."""

import json
import os

from ..spec.digest import Digest
from ..typed import NamedTuple
from .explain import StepReport

_NAME = "last-build.json"


class LastBuild(NamedTuple):
    image_id: str
    names: tuple[str, ...]
    steps: tuple[StepReport, ...]


def write(
    root: str, image_id: Digest, names: tuple[str, ...], steps: tuple[StepReport, ...]
) -> None:
    document = {"image": image_id, "names": names, "steps": [tuple(step) for step in steps]}
    temporary = f"{root}/{_NAME}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(json.dumps(document))  # json.dump would do without the C encoder
    os.rename(temporary, f"{root}/{_NAME}")


def read(root: str) -> LastBuild | None:
    try:
        with open(f"{root}/{_NAME}", encoding="utf-8", errors="surrogateescape") as file:
            document = json.load(file)
        steps = tuple(StepReport(*step) for step in document["steps"])
        return LastBuild(document["image"], tuple(document["names"]), steps)
    except (OSError, ValueError, KeyError, TypeError):
        return None
