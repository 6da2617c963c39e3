"""--provenance: how an image was built, as SLSA provenance v1 in an in-toto statement. Pure.

`mode=min` says what it was built from, `max` also the build arguments and the Dockerfile. Secrets
and agents are named by their ids at most; their contents are never here (SECURITY D8).
"""

import base64
from collections.abc import Iterable, Mapping

from ..spec.digest import Digest
from ..spec.platform import Platform
from ..typed import Any, Literal, NamedTuple
from ..units import format_rfc3339

PREDICATE = "https://slsa.dev/provenance/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
BUILD_TYPE = "urn:onggi:build:v1"
BUILDER = "urn:onggi"
Mode = Literal["min", "max"]


class Material(NamedTuple):
    """Something the build took from elsewhere; `digest` as "sha256:…" or "sha1:…", or ""."""

    uri: str
    digest: str = ""


class Facts(NamedTuple):
    """What a statement is made of. `context` is an address, "" for files of the machine."""

    platform: str
    dockerfile: str
    text: bytes
    context: str
    target: str
    args: Mapping[str, str]
    labels: Mapping[str, str]
    secrets: tuple[str, ...]
    agents: tuple[str, ...]
    materials: tuple[Material, ...]
    started_ns: int
    finished_ns: int
    version: str


def predicate(facts: Facts, mode: Mode) -> dict[str, Any]:
    source: dict[str, Any] = {"path": facts.dockerfile or "Dockerfile"}
    if facts.context:
        source["uri"] = facts.context
    request: dict[str, Any] = {"frontend": "dockerfile.v0"}
    if facts.target:
        request["target"] = facts.target
    if mode == "max":
        request["args"] = {
            **{f"build-arg:{name}": value for name, value in sorted(facts.args.items())},
            **{f"label:{name}": value for name, value in sorted(facts.labels.items())},
        }
        request["secrets"] = [{"id": name} for name in facts.secrets]
        request["ssh"] = [{"id": name} for name in facts.agents]
    internal: dict[str, Any] = {"builderPlatform": facts.platform}
    if mode == "max":
        internal["dockerfile"] = base64.b64encode(facts.text).decode("ascii")
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"configSource": source, "request": request},
            "internalParameters": internal,
            "resolvedDependencies": [_material(item) for item in facts.materials],
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"onggi": facts.version}},
            "metadata": {
                "startedOn": format_rfc3339(facts.started_ns),
                "finishedOn": format_rfc3339(facts.finished_ns),
            },
        },
    }


def _material(item: Material) -> dict[str, Any]:
    algorithm, _, value = item.digest.partition(":")
    return {"uri": item.uri, **({"digest": {algorithm: value}} if value else {})}


def statement(
    kind: str, content: Mapping[str, Any], subjects: Iterable[str], digest: Digest
) -> dict[str, Any]:
    """The in-toto statement about the image manifest `digest` under these names."""
    named = [{"name": name, "digest": {digest.algorithm: digest.hex}} for name in subjects]
    return {"_type": STATEMENT, "subject": named, "predicateType": kind, "predicate": content}


def package_url(name: str, platform: Platform) -> str:
    """Of an image: `pkg:docker/app@1.0?platform=linux%2Famd64`; `name` is a full reference."""
    from urllib.parse import quote

    path, _, tag = name.rpartition(":")
    path = path.removeprefix("docker.io/").removeprefix("library/")
    return f"pkg:docker/{quote(path, safe='/')}@{tag}?platform={quote(str(platform), safe='')}"
