"""What is asked of a build, and what came of it."""

from collections.abc import Callable, Mapping

from ..dockerfile.lexer import is_dockers_syntax
from ..engine.steps import Step
from ..errors import InvalidInput, OnggiError
from ..spec.container import HostOptions
from ..spec.digest import Digest
from ..spec.mount import MountRequest
from ..spec.platform import Platform, host_platform, parse_platform
from ..typed import Literal, NamedTuple, get_args
from .explain import StepReport
from .loans import Secret

OutputKind = Literal["image", "local", "tar", "oci", "docker"]
OUTPUT_KINDS: tuple[OutputKind, ...] = get_args(OutputKind)
STDOUT = "-"


class Output(NamedTuple):
    """`destination` is a path, "-" for stdout, or "" for the store of images."""

    kind: OutputKind
    destination: str = ""


class CacheSource(NamedTuple):
    """--cache-from: a reference, or a directory with the tag or digest in it. `plain`: a name as
    docker knew it, which may also be an image of the store. An "image" is of the store or nowhere:
    docker's classic builder asks no registry for it."""

    kind: Literal["registry", "local", "image"]
    where: str
    name: str = "latest"
    plain: bool = False


class CacheTarget(NamedTuple):
    """--cache-to. `mode` max has every step, min those of the result's own layers."""

    kind: Literal["registry", "local", "inline"]
    where: str = ""
    name: str = "latest"
    mode: Literal["min", "max"] = "min"
    compression: Literal["", "gzip", "zstd"] = "gzip"
    image_manifest: bool = True
    ignore_error: bool = False


class Annotations(NamedTuple):
    """--annotation, by where it goes."""

    of_manifest: dict[str, str] = {}  # noqa: RUF012 - never mutated
    of_index: dict[str, str] = {}  # noqa: RUF012 - never mutated
    of_descriptor: dict[str, str] = {}  # noqa: RUF012 - never mutated


class Failure(NamedTuple):
    """A RUN that failed, and a shell in a container like its own on all it had written, not yet
    started. Container and layers are gone when the callback returns."""

    error: OnggiError
    shell: Step


class BuildOptions(NamedTuple):
    """What `docker build` asks.

    `context_dir` is a folder, a URL, a git repository, "-" for what `stdin` reads, or "" for no
    context at all. `dockerfile` "" means Dockerfile in the context; else a path (of the host for a
    folder), unless `dockerfile_text` is the text; `ignore_text` is then that of the ignore file
    beside it. A build arg of None is as if not given (the frontend has already looked in its
    environment). `build_contexts` are named folders, addresses and docker-image:// names for FROM
    and --from; one that is "-" is an archive that `archives` reads.
    """

    context_dir: str
    dockerfile: str = ""
    dockerfile_text: bytes | None = None
    ignore_text: bytes | None = None
    tags: tuple[str, ...] = ()
    build_args: dict[str, str | None] = {}  # noqa: RUF012 - never mutated
    no_cache: bool = False
    target: str = ""
    pull: bool = False
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    platform: str = ""
    network_mode: str = "bridge"
    volumes: tuple[MountRequest, ...] = ()  # bound into every RUN
    extra_hosts: tuple[str, ...] = ()
    shm_bytes: int = 64 << 20
    build_contexts: dict[str, str] = {}  # noqa: RUF012 - never mutated
    secrets: Mapping[str, Secret] = {}
    agents: Mapping[str, str] = {}  # id: path of a socket
    stdin: Callable[[int], bytes] | None = None
    archives: Mapping[str, Callable[[int], bytes]] = {}
    stdout: Callable[[bytes], object] = len  # of an output to "-"
    outputs: tuple[Output, ...] = ()
    push: bool = False
    keep: bool = True  # without outputs: the image in the store
    no_cache_filter: frozenset[str] = frozenset()  # stages
    limits: HostOptions = HostOptions()  # resources, ulimits, cgroup parent of every RUN
    allowed: frozenset[str] = frozenset()  # entitlements: network.host, security.insecure
    squash: bool = False  # what was built becomes one layer on the base image
    sbom: bool = False
    provenance: Literal["", "min", "max"] = ""
    annotations: Annotations | None = None
    on_failure: Callable[[Failure], None] | None = None  # steps then run one at a time
    cache_from: tuple[CacheSource, ...] = ()
    cache_to: tuple[CacheTarget, ...] = ()


class BuildResult(NamedTuple):
    """`tags` are full references; `steps` counts the steps of the stages that were needed.
    `image_id` is the index's digest where several images or attestations are one; `manifest` the
    digest of what was pushed or written, "" for none."""

    image_id: Digest
    tags: tuple[str, ...]
    steps: int
    cached_steps: int
    reports: tuple[StepReport, ...] = ()
    manifest: str = ""


def platforms_of(options: BuildOptions) -> tuple[Platform, ...]:
    """Each that was asked for, once; else this machine's."""
    given = [text.strip() for text in options.platform.split(",") if text.strip()]
    return tuple(dict.fromkeys(map(parse_platform, given))) or (host_platform(),)


def wants_inline_cache(options: BuildOptions) -> bool:
    """`--cache-to type=inline`, or BuildKit's build argument for it."""
    told = options.build_args.get("BUILDKIT_INLINE_CACHE") or ""
    return told.lower() in ("1", "t", "true") or any(t.kind == "inline" for t in options.cache_to)


def epoch_of(options: BuildOptions) -> int | None:
    """SOURCE_DATE_EPOCH, as a build argument. Raises InvalidInput."""
    text = options.build_args.get("SOURCE_DATE_EPOCH") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 11):
        raise InvalidInput(f"invalid SOURCE_DATE_EPOCH: {text[:40]!r} is not a number of seconds")
    return int(text)


def given_arguments(options: BuildOptions) -> dict[str, str]:
    """The build arguments that have a value. Raises InvalidInput for what cannot be: an epoch that
    is no number, a frontend of somebody else's."""
    epoch_of(options)
    syntax = options.build_args.get("BUILDKIT_SYNTAX")
    if syntax and not is_dockers_syntax(syntax):
        raise InvalidInput(
            f"custom frontends are not run: {syntax[:200]}",
            hint="leave the build argument BUILDKIT_SYNTAX out",
        )
    return {name: value for name, value in options.build_args.items() if value is not None}


def keeps_image(options: BuildOptions) -> bool:
    """Whether the result must be in the store: a folder or tar of files needs no image."""
    outputs = options.outputs
    if not outputs:
        return options.keep or options.push
    return any(output.kind not in ("local", "tar") for output in outputs)
