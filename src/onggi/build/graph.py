"""The build as data: operations, vertices with digests, steps. Pure; `solve` makes it happen.

A vertex is a root filesystem: the result of one operation on other vertices. Metadata instructions
make no vertex. `operation_digest` and the content of the inputs are all that a cache key is made
of, so whatever can change a result must be a field here (SECURITY D7).
"""

import hashlib
import json

from ..dockerfile.lexer import Check, Heredoc
from ..dockerfile.parser import Source
from ..dockerfile.rundevice import Device
from ..spec.codec import encode
from ..spec.image import ImageConfig
from ..spec.mount import MountRequest
from ..typed import Any, Literal, NamedTuple
from .graph_lint import Finding

KEY_VERSION = 1  # raise it when an operation's result changes for the same fields
CONTEXT = "context"  # CopyOp.origin of the build context; a named one is "context:NAME"


class BaseOp(NamedTuple):
    """An image's layers, or nothing (`scratch`)."""

    diff_ids: tuple[str, ...] = ()


class RunMount(NamedTuple):
    """One --mount of a RUN. `origin` is the index of its input, 0 for none; `target` is absolute,
    "" for a secret that is only a variable. The secret itself is nowhere in a plan."""

    kind: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str
    source: str = ""
    origin: int = 0
    read_only: bool = True
    id: str = ""
    sharing: Literal["shared", "private", "locked"] = "shared"
    size_bytes: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    required: bool = False
    env: str = ""
    seed: str = ""  # content of the origin, for the name of a cache


class RunOp(NamedTuple):
    """A command in a container; `env` is everything it sees but the proxies. `lent` are its
    --mount, whose origins are the inputs after the parent."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    network_mode: str = "bridge"
    mounts: tuple[MountRequest, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    shm_bytes: int = 64 << 20
    platform: str = ""
    lent: tuple[RunMount, ...] = ()
    insecure: bool = False
    epoch: int | None = None
    devices: tuple[Device, ...] = ()
    hostname: str = ""


class CopyOp(NamedTuple):
    """Files from the context or, with a second input, from another vertex. `destination` is
    absolute and ends in "/" when it must be a directory."""

    sources: tuple[str, ...]
    destination: str
    origin: str = CONTEXT  # "" when the second input is the origin
    unpack: bool = False
    parents: bool = False
    chown: str = ""
    chmod: str = ""
    excludes: tuple[str, ...] = ()
    inline: tuple[Heredoc, ...] = ()
    epoch: int | None = None  # SOURCE_DATE_EPOCH: no time is newer


class WorkdirOp(NamedTuple):
    """Makes the directory and its parents when they are missing, owned by `user`."""

    path: str
    user: str = ""
    epoch: int | None = None


class UrlOp(NamedTuple):
    """A file from the web, as /`name` on nothing. With a `checksum` the web is asked once."""

    url: str
    name: str
    checksum: str = ""
    epoch: int | None = None


class GitOp(NamedTuple):
    """A git repository's files, or those of one folder, on nothing."""

    remote: str
    ref: str = ""
    subdir: str = ""
    commit: str = ""
    submodules: bool = True
    keep_git_dir: bool = False


class MergeOp(NamedTuple):
    """The parent with the layers of the second input on top: COPY --link, whose layer does not
    depend on what is below it."""


Operation = BaseOp | RunOp | CopyOp | WorkdirOp | UrlOp | GitOp | MergeOp


class Vertex(NamedTuple):
    """`inputs` are indices of earlier vertices: the parent, then the origins. `digest` names
    the definition: the operation and those of its inputs."""

    operation: Operation
    inputs: tuple[int, ...]
    digest: str


class Step(NamedTuple):
    """One instruction of a needed stage. `vertex` is the root filesystem after it, `makes` whether
    this step makes it; `created_by` is its history entry, "" for none (FROM, ONBUILD); `platform`
    is said where several are built."""

    text: str
    stage: str
    at: Source
    vertex: int
    makes: bool
    created_by: str
    config: str  # digest of the configuration after it, for the short id on screen
    platform: str = ""


class Plan(NamedTuple):
    """`steps` in the order of the file; `result` the vertex, `config` the configuration of the
    image, with the base image's history and without diff IDs; `history` the steps, by index, that
    follow that history; `findings` what the lint rules say."""

    vertices: tuple[Vertex, ...]
    steps: tuple[Step, ...]
    result: int
    config: ImageConfig
    history: tuple[int, ...]
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...] = ()
    check: Check = Check()


def canonical(value: Any) -> bytes:
    """One spelling for equal values; lone surrogates (file names) are allowed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def operation_fields(operation: Operation) -> dict[str, Any]:
    """What a key says about the operation itself."""
    return {"kind": type(operation).__name__, "version": KEY_VERSION, **encode(operation)}


def plain_fields(operation: Operation) -> dict[str, Any]:
    """The same as a record of the cache gives it back."""
    fields: dict[str, Any] = json.loads(canonical(operation_fields(operation)))
    return fields


def operation_digest(operation: Operation, inputs: tuple[str, ...]) -> str:
    """SHA-256 of the operation on inputs with these digests (of definition, or of content)."""
    fields = {"operation": operation_fields(operation), "inputs": inputs}
    return hashlib.sha256(canonical(fields)).hexdigest()
