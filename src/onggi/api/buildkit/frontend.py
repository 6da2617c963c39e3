"""The words of a Solve, of the dockerfile frontend and the exporters, as the options of a build.

Sans-IO. What BuildKit's frontend does not know it passes over, and so do we; what it knows and we
have not is refused.
"""

import json
from collections.abc import Iterable, Mapping

from ...build.devices import ENTITLEMENT as DEVICE
from ...build.options import BuildOptions, CacheSource, CacheTarget, Output, OutputKind
from ...dockerfile.lexer import is_dockers_syntax
from ...errors import InvalidInput, Unsupported
from ...spec.container import HostOptions, Resources, Ulimit
from ...spec.platform import parse_platform
from ...spec.reference import parse_reference
from ...typed import Any, Literal, NamedTuple

STDIN = "-"
DOCKERFILE = "Dockerfile"
SHM_BYTES = 64 << 20
_MAX_IMPORTS = 1 << 20
_ENTITLEMENTS = ("network.host", "security.insecure", DEVICE)
_KINDS: dict[str, OutputKind] = {
    "moby": "image", "image": "image", "local": "local", "tar": "tar", "oci": "oci",
    "docker": "docker",
}  # fmt: skip
_COMPRESSIONS: dict[str, Literal["", "gzip", "zstd"]] = {
    "": "gzip", "gzip": "gzip", "zstd": "zstd", "uncompressed": "",
}  # fmt: skip
Attributes = Mapping[str, str]
Place = tuple[str, Attributes]  # an exporter or a cache: its type and its words


class Export(NamedTuple):
    """What a client asked for, by its place in the request."""

    kind: OutputKind
    push: bool


class Asked(NamedTuple):
    """A build. `contexts` are named directories of the client by the names that the Dockerfile has
    for them; `upload` is the address of an archive that the client sends, "" for none. The main
    context comes from the client when `options.context_dir` is "-"; `text_apart` says whether the
    Dockerfile comes from the client too."""

    options: BuildOptions
    contexts: dict[str, str]
    context_name: str
    dockerfile_name: str
    filename: str
    upload: str
    text_apart: bool
    exports: tuple[Export, ...]
    method: str  # of --call, "" for a build


def asked(
    frontend: str,
    words: Attributes,
    *,
    exporters: Iterable[Place] = (),
    entitlements: Iterable[str] = (),
    cache_exports: Iterable[Place] = (),
) -> Asked:
    """Raises InvalidInput, Unsupported."""
    _check_frontend(frontend, words)
    exporters = list(exporters)
    context = words.get("context", "")
    upload = context if context.startswith("http://buildkit-session/") else ""
    local = not context or bool(upload)
    text_apart = (local and not upload) or "dockerfilekey" in words
    filename = words.get("filename", "") or DOCKERFILE
    arguments = _under(words, "build-arg:")
    if words.get("hostname"):
        arguments.setdefault("BUILDKIT_SANDBOX_HOSTNAME", words["hostname"])
    exports = tuple(_export(kind, given) for kind, given in exporters)
    named = _named_contexts(words)
    no_cache = words.get("no-cache")
    stores = any(export.kind == "image" for export in exports)
    archives = exports and all(export.kind == "oci" for export in exports)
    provenance, sbom = _attestations(words, inline=bool(archives))
    outputs = tuple(Output(export.kind) for export in exports if export.kind != "image")
    options = BuildOptions(
        context_dir=STDIN if local else context,
        dockerfile="" if text_apart or filename == DOCKERFILE else filename,
        tags=tuple(_names(exporters)),
        build_args=dict(arguments),
        no_cache=no_cache == "",
        no_cache_filter=frozenset(n.strip().lower() for n in (no_cache or "").split(",") if n),
        target=words.get("target", ""),
        pull=words.get("image-resolve-mode") == "pull",
        labels=_under(words, "label:"),
        platform=_platforms(words.get("platform", "")),
        network_mode=_network(words.get("force-network-mode", "")),
        extra_hosts=tuple(_hosts(words.get("add-hosts", ""))),
        shm_bytes=_number(words, "shm-size") or SHM_BYTES,
        build_contexts=named,
        outputs=(*outputs, Output("image")) if outputs and stores else outputs,
        push=any(export.push for export in exports),
        keep=bool(exports),
        limits=_limits(words),
        allowed=_allowed(entitlements),
        provenance=provenance,
        sbom=sbom,
        cache_from=tuple(_cache_sources(words)),
        cache_to=tuple(_cache_target(kind, given) for kind, given in cache_exports),
    )
    return Asked(
        options,
        {name: where.removeprefix("local:") for name, where in _under(words, "context:").items()
         if where.startswith("local:")},
        words.get("contextkey", "context"),
        words.get("dockerfilekey", "dockerfile"),
        filename,
        upload,
        text_apart,
        exports,
        words.get("requestid", "").removeprefix("frontend."),
    )  # fmt: skip


def _check_frontend(frontend: str, words: Attributes) -> None:
    if frontend == "gateway.v0":
        source = words.get("source", "")
        if not is_dockers_syntax(source):
            raise Unsupported(f"custom frontends are not run by onggi: {source[:200]}")
    elif frontend != "dockerfile.v0":
        raise Unsupported(f"frontend {frontend[:80] or '(none)'} is not supported by onggi")


def _under(words: Attributes, prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: value for name, value in words.items() if name.startswith(prefix)}


def _named_contexts(words: Attributes) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, where in _under(words, "context:").items():
        name = name.partition("::")[0]  # BuildKit: of one platform
        if where.startswith(("input:", "oci-layout://", "target:")):
            kind = where.partition(":")[0]
            raise Unsupported(f"the build context {name} of type {kind} is not supported by onggi")
        if "://" not in where and not where.startswith("local:"):
            raise InvalidInput(f"unknown build context {name}={where[:200]}")
        found[name] = STDIN if where.startswith("local:") else where
    return found


def _platforms(text: str) -> str:
    for one in text.split(",") if text else ():
        parse_platform(one.strip())
    return text


def _network(text: str) -> str:
    if text not in ("", "default", "sandbox", "host", "none"):
        raise InvalidInput(f"invalid network mode {text[:80]}")
    return "bridge" if text in ("", "default", "sandbox") else text


def _hosts(text: str) -> Iterable[str]:
    """`name=address`, as BuildKit has them."""
    for item in text.split(",") if text else ():
        name, equals, address = item.partition("=")
        if not equals or not name or not address:
            raise InvalidInput(f"failed to parse additional hosts: invalid key-value pair {item!r}")
        yield f"{name}:{address}"


def _number(words: Attributes, key: str) -> int:
    text = words.get(key, "")
    if not text:
        return 0
    if not (text.isascii() and text.lstrip("-").isdigit() and len(text) < 20):
        raise InvalidInput(f"failed to parse {key}: {text[:80]!r}")
    return int(text)


def _limits(words: Attributes) -> HostOptions:
    return HostOptions(
        resources=Resources(
            memory_bytes=_number(words, "memory"),
            memory_swap_bytes=_number(words, "memswap"),
            cpu_shares=_number(words, "cpushares"),
            cpu_period_us=_number(words, "cpuperiod"),
            cpu_quota_us=_number(words, "cpuquota"),
            cpuset_cpus=words.get("cpusetcpus", ""),
            cpuset_mems=words.get("cpusetmems", ""),
        ),
        ulimits=tuple(_ulimit(item) for item in words.get("ulimit", "").split(",") if item),
        cgroup_parent=words.get("cgroup-parent", ""),
    )


def _ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name, int(soft), int(hard or soft))
    except ValueError:
        raise InvalidInput(f"failed to parse ulimits: invalid ulimit {text[:80]!r}") from None


def _allowed(entitlements: Iterable[str]) -> frozenset[str]:
    found = frozenset(entitlements)
    for name in sorted(found):
        known = DEVICE if name.startswith(f"{DEVICE}=") else name
        if known not in _ENTITLEMENTS:
            raise InvalidInput(f"entitlement {name[:80]} is not known")
    return found


# -- attestations


def _attestations(words: Attributes, *, inline: bool) -> tuple[Literal["", "min", "max"], bool]:
    """Provenance and sbom. What buildx adds of itself (`inline-only`) is for results that can hold
    it."""
    provenance: Literal["", "min", "max"] = ""
    given = {**_under(words, "attest:")}
    if "provenance" in given:
        fields = _fields(given.pop("provenance"))
        wanted = inline or not _is_on(fields.pop("inline-only", ""))
        mode = fields.pop("mode", "min")
        if mode not in ("min", "max"):
            raise InvalidInput(f"invalid mode {mode[:80]!r} of provenance")
        if wanted and not _is_on(fields.pop("disabled", "")):
            provenance = "max" if mode == "max" else "min"
    sbom = "sbom" in given and not _is_on(_fields(given.pop("sbom")).pop("disabled", ""))
    for kind in given:
        raise InvalidInput(f"attestation type {kind[:80]!r} is not known")
    return provenance, sbom


def _fields(text: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in text.split(",") if item)
    return {name.strip(): value for name, _, value in pairs}


def _is_on(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


# -- exporters


def _export(kind: str, words: Attributes) -> Export:
    if kind not in _KINDS:
        raise InvalidInput(f"exporter {kind[:80]!r} could not be found")
    if _is_on(words.get("push-by-digest", "")):
        raise Unsupported("push-by-digest is not supported by onggi")
    if kind in ("oci", "docker") and words.get("tar", "true").lower() in ("0", "f", "false"):
        raise Unsupported(f"output type {kind} as a folder (tar=false) is not supported by onggi")
    return Export(_KINDS[kind], _is_on(words.get("push", "")))


def _names(exporters: Iterable[Place]) -> Iterable[str]:
    seen: dict[str, None] = {}
    for _, words in exporters:
        for name in words.get("name", "").split(","):
            if name and name != "*":
                parse_reference(name)
                seen[name] = None
    return seen


# -- caches elsewhere


def _cache_sources(words: Attributes) -> Iterable[CacheSource]:
    for kind, given in _imports(words.get("cache-imports", "")):
        if kind != "registry":
            raise Unsupported(f"a cache of type {kind[:80]} is not read by onggi for its clients")
        yield CacheSource("registry", _cache_name(given), plain=True)
    for name in words.get("cache-from", "").split(","):
        if name:
            parse_reference(name)
            yield CacheSource("registry", name, plain=True)


def _imports(text: str) -> Iterable[Place]:
    if not text:
        return
    try:
        found: Any = json.loads(text[:_MAX_IMPORTS])
        for item in found:
            yield str(item["Type"]), {str(k): str(v) for k, v in (item.get("Attrs") or {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InvalidInput("failed to unmarshal cache-imports") from None


def _cache_name(words: Attributes) -> str:
    name = words.get("ref", "")
    parse_reference(name)
    return name


def _cache_target(kind: str, words: Attributes) -> CacheTarget:
    if kind == "inline":
        return CacheTarget("inline")
    if kind != "registry":
        raise Unsupported(f"a cache of type {kind[:80]} is not written by onggi for its clients")
    compression = _COMPRESSIONS.get(words.get("compression", ""))
    mode = words.get("mode", "min")
    if compression is None or mode not in ("min", "max"):
        raise InvalidInput(f"unknown mode or compression of a cache: {mode[:40]!r}")
    return CacheTarget(
        "registry",
        _cache_name(words),
        mode="max" if mode == "max" else "min",
        compression=compression,
        image_manifest=not words.get("image-manifest") or _is_on(words["image-manifest"]),
        ignore_error=_is_on(words.get("ignore-error", "")),
    )
