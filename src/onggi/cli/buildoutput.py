"""--output of build, docker's grammar; and the files that name what was built."""

import csv
import json
import os

from ..build.export import KINDS, STDOUT, Output
from ..build.options import BuildResult
from ..dockerfile.spelling import nearest
from .session import refusal


def outputs(given: list[str], directory: str, *, load: bool) -> tuple[Output, ...]:
    """`DIR`, `-`, or `type=…,dest=…`. --load is type=docker without a file."""
    found = [_output(text, directory) for text in given]
    if load and found:
        found.append(Output("docker"))
    return tuple(found)


def _output(text: str, directory: str) -> Output:
    if "=" not in text:
        return Output("tar", STDOUT) if text == STDOUT else Output("local", _path(text, directory))
    try:
        words = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise refusal(f"invalid value {text}: {error}") from error
    fields = dict(word.partition("=")[::2] for word in words)
    name, destination = fields.get("type", ""), fields.get("dest", "")
    if not name:
        raise refusal("type is required for output")
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is None:
        guess = nearest(name, KINDS)
        hint = f"did you mean type={guess}" if guess else f"one of {', '.join(KINDS)}"
        raise refusal(f"unsupported output type {name}", hint)
    if kind == "local" and not destination:
        raise refusal("dest is required for local output")
    if kind == "local" and destination == STDOUT:
        raise refusal("dest cannot be stdout for local output")
    if kind in ("tar", "oci") and not destination:
        destination = STDOUT
    return Output(kind, _path(destination, directory) if destination else "")


def _path(text: str, directory: str) -> str:
    return text if text == STDOUT else os.path.join(directory, text)


def pushes(given: list[str]) -> bool:
    """Whether an --output says push=true."""
    return any("push=true" in text.split(",") for text in given)


def write_metadata(path: str, result: BuildResult) -> None:
    """--metadata-file, with buildx's keys."""
    document = {}
    if result.manifest != result.image_id:
        document["containerimage.config.digest"] = str(result.image_id)
    if result.manifest:
        document["containerimage.digest"] = result.manifest
    if result.tags:
        document["image.name"] = ",".join(result.tags)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
