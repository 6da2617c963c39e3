"""Images as data: OCI image-spec and Docker v2 schema 2 documents, and what the store says.

Raw JSON documents keep their exact bytes (their digest is their name); the records here are the
parts that onggi reads. Parsing refuses documents that are two things at once (SECURITY C8).
"""

from ..errors import CorruptData, InvalidInput
from ..typed import Any, NamedTuple
from .digest import Digest
from .jsontext import loads_strict
from .platform import Platform

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
LAYER_COMPRESSION = {
    OCI_LAYER: "", DOCKER_LAYER: "", OCI_LAYER_GZIP: "gzip", DOCKER_LAYER_GZIP: "gzip",
    OCI_LAYER_ZSTD: "zstd", DOCKER_LAYER_ZSTD: "zstd",
}  # fmt: skip
MAX_LAYERS = 512


class Descriptor(NamedTuple):
    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None = None
    annotations: dict[str, str] = {}  # noqa: RUF012 - never mutated


class Manifest(NamedTuple):
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(NamedTuple):
    media_type: str
    manifests: tuple[Descriptor, ...]


class History(NamedTuple):
    created: str = ""  # RFC 3339
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


class Healthcheck(NamedTuple):
    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    retries: int = 0
    start_interval_ns: int = 0


class ImageConfig(NamedTuple):
    """The parts of an image configuration that onggi acts on (image-spec config.md).

    Unknown keys are not kept: a built or committed image is written anew from this record.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    created: str = ""
    author: str = ""
    history: tuple[History, ...] = ()
    env: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    args_escaped: bool = False


class Image(NamedTuple):
    """An image of the store. `id` is the config's digest, `size_bytes` the sum of its tars."""

    id: Digest
    config: ImageConfig
    manifest_digest: Digest | None
    size_bytes: int
    created_ns: int
    tags: tuple[str, ...]  # full references with tag: docker.io/library/python:3.11
    repo_digests: tuple[str, ...] = ()  # docker.io/library/python@sha256:…
    parent: str = ""


def parse_descriptor(value: Any, what: str) -> Descriptor:
    if not isinstance(value, dict):
        raise CorruptData(f"{what} is not an object")
    size, media_type = value.get("size"), value.get("mediaType", "")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 40:
        raise CorruptData(f"{what}.size is {size!r}, not a size")
    if not isinstance(media_type, str):
        raise CorruptData(f"{what}.mediaType is not a string")
    digest = _digest(value.get("digest"), f"{what}.digest")
    platform = None
    raw = value.get("platform")
    if isinstance(raw, dict):
        parts = [raw.get(key, "") for key in ("os", "architecture", "variant")]
        if all(isinstance(part, str) for part in parts):
            platform = Platform(*parts)
    annotations = _string_map(value.get("annotations"), f"{what}.annotations")
    return Descriptor(media_type, digest, size, platform, annotations)


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """A manifest or index from its exact bytes. `media_type` is what the registry's Content-Type or
    the descriptor said ("" when unknown); a contradiction raises CorruptData naming the field."""
    document = loads_strict(data, what="image manifest")
    if not isinstance(document, dict):
        raise CorruptData("image manifest is not a JSON object")
    _refuse_case_twins(document, ("layers", "manifests", "config", "mediaType", "schemaVersion"))
    if document.get("schemaVersion") != 2:
        raise CorruptData(
            f"image manifest has schemaVersion {document.get('schemaVersion')!r}, not 2"
        )
    if "manifests" in document and ("layers" in document or "config" in document):
        raise CorruptData("image manifest has both `layers` and `manifests`: refused as ambiguous")
    said = document.get("mediaType") or media_type
    if media_type and said != media_type:
        raise CorruptData(f"image manifest says mediaType {said!r}, it came as {media_type!r}")
    if "manifests" in document:
        if said and said not in INDEX_TYPES:
            raise CorruptData(f"an index has mediaType {said!r}")
        items = _list(document["manifests"], "manifests")
        return Index(
            said or OCI_INDEX,
            tuple(parse_descriptor(item, f"manifests[{i}]") for i, item in enumerate(items)),
        )
    if said and said not in MANIFEST_TYPES:
        raise CorruptData(f"unsupported image manifest: mediaType {said!r}")
    layers = _list(document.get("layers"), "layers")
    if len(layers) > MAX_LAYERS:
        raise CorruptData(f"image has {len(layers)} layers, more than {MAX_LAYERS}")
    return Manifest(
        said or OCI_MANIFEST,
        parse_descriptor(document.get("config"), "config"),
        tuple(parse_descriptor(item, f"layers[{i}]") for i, item in enumerate(layers)),
    )


def parse_config(data: bytes) -> ImageConfig:
    """The image configuration from its exact bytes. Raises CorruptData naming the field."""
    document = loads_strict(data, what="image config")
    if not isinstance(document, dict):
        raise CorruptData("image config is not a JSON object")
    _refuse_case_twins(document, ("rootfs", "config", "history", "architecture", "os"))
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type") != "layers":
        raise CorruptData("image config: rootfs.type is not `layers`")
    diff_ids = tuple(
        _digest(item, f"rootfs.diff_ids[{i}]")
        for i, item in enumerate(_list(rootfs.get("diff_ids") or [], "rootfs.diff_ids"))
    )
    run = document.get("config") or {}
    if not isinstance(run, dict):
        raise CorruptData("image config: config is not an object")
    history = tuple(
        History(
            _string(item, "created"),
            _string(item, "created_by"),
            _string(item, "comment"),
            _string(item, "author"),
            item.get("empty_layer") is True,
        )
        for item in _list(document.get("history") or [], "history")
        if isinstance(item, dict)
    )
    env = _strings(run, "Env")
    for item in env:
        if "=" not in item or item.startswith("=") or "\0" in item:
            raise CorruptData(f"image config: Env entry {item[:80]!r} is not NAME=value")
    return ImageConfig(
        platform=Platform(
            _string(document, "os") or "linux",
            _string(document, "architecture") or "amd64",
            _string(document, "variant"),
        ),
        diff_ids=diff_ids,
        created=_string(document, "created"),
        author=_string(document, "author"),
        history=history,
        env=env,
        cmd=_strings(run, "Cmd"),
        entrypoint=_strings(run, "Entrypoint"),
        working_dir=_string(run, "WorkingDir"),
        user=_string(run, "User"),
        exposed_ports=_keys(run, "ExposedPorts"),
        volumes=_keys(run, "Volumes"),
        labels=_string_map(run.get("Labels"), "Labels"),
        stop_signal=_string(run, "StopSignal"),
        shell=_strings(run, "Shell"),
        on_build=_strings(run, "OnBuild"),
        healthcheck=_healthcheck(run.get("Healthcheck")),
        args_escaped=run.get("ArgsEscaped") is True,
    )


def config_document(config: ImageConfig) -> dict[str, Any]:
    """The JSON document of `config` in docker's key order, ready for `jsontext.canonical`."""
    run: dict[str, Any] = {}
    if config.user:
        run["User"] = config.user
    if config.exposed_ports:
        run["ExposedPorts"] = {port: {} for port in sorted(config.exposed_ports)}
    run["Env"] = list(config.env)
    if config.entrypoint:
        run["Entrypoint"] = list(config.entrypoint)
    if config.cmd:
        run["Cmd"] = list(config.cmd)
    if config.healthcheck is not None:
        run["Healthcheck"] = health_document(config.healthcheck)
    if config.volumes:
        run["Volumes"] = {path: {} for path in sorted(config.volumes)}
    if config.working_dir:
        run["WorkingDir"] = config.working_dir
    if config.on_build:
        run["OnBuild"] = list(config.on_build)
    if config.labels:
        run["Labels"] = {key: config.labels[key] for key in sorted(config.labels)}
    if config.stop_signal:
        run["StopSignal"] = config.stop_signal
    if config.shell:
        run["Shell"] = list(config.shell)
    if config.args_escaped:
        run["ArgsEscaped"] = True
    document: dict[str, Any] = {"architecture": config.platform.architecture, "config": run}
    if config.author:
        document["author"] = config.author
    document["created"] = config.created
    document["history"] = [
        {key: value for key, value in zip(History._fields, entry, strict=True) if value}
        for entry in config.history
    ]
    document["os"] = config.platform.os
    if config.platform.variant:
        document["variant"] = config.platform.variant
    document["rootfs"] = {"type": "layers", "diff_ids": list(config.diff_ids)}
    return document


def health_document(check: Healthcheck) -> dict[str, Any]:
    """Docker's JSON of a health check; what is not set is left out."""
    document = {
        "Test": list(check.test),
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
        "Retries": check.retries,
    }
    return {name: value for name, value in document.items() if value}


def _digest(value: Any, what: str) -> Digest:
    if not isinstance(value, str):
        raise CorruptData(f"{what} is not a digest")
    try:
        return Digest.parse(value)
    except InvalidInput as error:
        raise CorruptData(f"{what}: {error}") from error


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise CorruptData(f"{what} is not a list")
    return value


def _string(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise CorruptData(f"image config: {key} is not a string")
    return value


def _strings(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    value = holder.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CorruptData(f"image config: {key} is not a list of strings")
    return tuple(value)


def _keys(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    value = holder.get(key)
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise CorruptData(f"image config: {key} is not an object")
    return tuple(sorted(value))


def _string_map(value: Any, what: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise CorruptData(f"{what} is not a map of strings")
    return value


def _healthcheck(value: Any) -> Healthcheck | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise CorruptData("image config: Healthcheck is not an object")
    keys = ("Interval", "Timeout", "StartPeriod", "Retries", "StartInterval")
    numbers = [value.get(key) or 0 for key in keys]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise CorruptData("image config: Healthcheck holds a negative or non-integer number")
    return Healthcheck(_strings(value, "Test"), *numbers)


def _refuse_case_twins(document: dict[str, Any], keys: tuple[str, ...]) -> None:
    """Go's decoder matches keys without regard to case; a document two engines read differently is
    refused."""
    known = {key.lower(): key for key in keys}
    for key in document:
        canonical_key = known.get(key.lower())
        if canonical_key is not None and key != canonical_key:
            raise CorruptData(f"key {key!r} is a look-alike of {canonical_key!r}")
