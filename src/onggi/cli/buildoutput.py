"""--output of build, docker's grammar; and the files that name what was built."""

import json
import os

from ..build.options import OUTPUT_KINDS, STDOUT, BuildResult, Output
from ..dockerfile.spelling import nearest
from .buildfields import boolean, fields_of
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
    fields = fields_of(text, "output")
    name, destination = fields.pop("type", ""), fields.pop("dest", "")
    if not name:
        raise refusal("type is required for output")
    name = "image" if name == "registry" else name  # with push=true, see `pushes`
    kind = next((kind for kind in OUTPUT_KINDS if kind == name), None)
    if kind is None:
        guess = nearest(name, OUTPUT_KINDS)
        hint = (
            f"did you mean type={guess}" if guess else f"one of registry, {', '.join(OUTPUT_KINDS)}"
        )
        raise refusal(f"unsupported output type {name}", hint)
    known = ("name", "push") if kind in ("image", "docker", "oci") else ()
    for key in fields:
        if key not in known:
            raise refusal(f"output type {name}: {key}= is not supported")
    if kind == "local" and not destination:
        raise refusal("dest is required for local output")
    if kind == "local" and destination == STDOUT:
        raise refusal("dest cannot be stdout for local output")
    if kind in ("tar", "oci") and not destination:
        destination = STDOUT
    return Output(kind, _path(destination, directory) if destination else "")


def names(given: list[str]) -> list[str]:
    """Tags that an --output says with name=; several stand in quotes."""
    found = [fields_of(text, "output").get("name", "") for text in given if "=" in text]
    return [name for text in found for name in text.split(",") if name]


def _path(text: str, directory: str) -> str:
    return text if text == STDOUT else os.path.join(directory, text)


def pushes(given: list[str]) -> bool:
    """Whether an --output says push=true, as type=registry does."""
    said = [fields_of(text, "output") for text in given if "=" in text]
    return any(boolean(fields, "push", default=fields.get("type") == "registry") for fields in said)


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
