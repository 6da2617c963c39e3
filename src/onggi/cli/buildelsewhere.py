"""`build` with -H: our flags as the parameters of docker's classic builder, which is what the API
has. What only BuildKit can do is refused by name."""

import posixpath
import secrets
from collections.abc import Callable, Iterator
from itertools import chain

from ..build import packing
from ..build.contexts import MAX_TEXT, STDIN, is_archive
from ..build.options import BuildOptions, BuildResult
from ..errors import InvalidInput
from ..progress import Report
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from ..store.tarindex import RECORD
from ..typed import Any
from .flags import Values
from .session import Session, client_side, refusal

PIECE = 256 << 10
BUILDKIT_ONLY = (
    "allow", "annotation", "attest", "build-context", "cache-to", "call", "check", "metadata-file",
    "no-cache-filter", "output", "provenance", "push", "sbom", "secret", "ssh",
)  # fmt: skip
HERE_ONLY = ("explain", "on-error", "volume")


def refuse(values: Values) -> None:
    for name in (*BUILDKIT_ONLY, *HERE_ONLY):
        if values.given(name):
            why = "needs BuildKit" if name in BUILDKIT_ONLY else "is for the engine of this machine"
            raise refusal(
                f"--{name} {why}: with an engine elsewhere docker's classic builder builds",
                "build on that machine, or use docker buildx with DOCKER_HOST",
            )


def build(session: Session, values: Values, options: BuildOptions, report: Report) -> BuildResult:
    engine: Any = session.engine
    query = {
        **parameters(options),
        "rm": values.on("rm"),
        "forcerm": values.on("force-rm"),
        "remote": options.context_dir if is_address(options) else None,
        "dockerfile": options.dockerfile or None,
    }
    context = None
    if not is_address(options):
        query["dockerfile"], context = context_of(options)
        context = packing.gzipped(context) if values.on("compress") else context
    built = engine.builds.build(query, context, report)
    image_id = built.image_id
    if not image_id.startswith("sha256:"):  # an engine of old tells the short one only
        image_id = engine.images.inspect(image_id)["Id"]
    tags = tuple(str(parse_reference(name)) for name in options.tags)
    return BuildResult(Digest(image_id), tags, built.steps, built.cached_steps)


def is_address(options: BuildOptions) -> bool:
    """Of a context that the engine fetches."""
    if options.context_dir == STDIN or options.context_dir.startswith("/"):
        return False
    if options.dockerfile_text is not None:
        raise refusal("a Dockerfile on stdin needs a folder as the context, not an address")
    return True


def parameters(options: BuildOptions) -> dict[str, Any]:
    """Those that do not depend on the context."""
    limits, used = options.limits, options.limits.resources
    cache = []
    for source in options.cache_from:
        if not source.plain:
            raise refusal(
                f"--cache-from type={source.kind} needs BuildKit: the name of an image is known"
            )
        cache.append(source.where)
    ulimits = [{"Name": u.name, "Soft": u.soft, "Hard": u.hard} for u in limits.ulimits]
    return {
        "t": options.tags,
        "buildargs": options.build_args or None,
        "nocache": options.no_cache or None,
        "target": options.target or None,
        "pull": options.pull or None,
        "labels": options.labels or None,
        "platform": options.platform or None,
        "networkmode": options.network_mode,
        "extrahosts": options.extra_hosts,
        "shmsize": options.shm_bytes,
        "memory": used.memory_bytes or None,
        "memswap": used.memory_swap_bytes or None,
        "cpushares": used.cpu_shares or None,
        "cpuperiod": used.cpu_period_us or None,
        "cpuquota": used.cpu_quota_us or None,
        "cpusetcpus": used.cpuset_cpus or None,
        "cpusetmems": used.cpuset_mems or None,
        "cgroupparent": limits.cgroup_parent or None,
        "securityopt": limits.security_opt or None,
        "ulimits": ulimits or None,
        "squash": options.squash or None,
        "cachefrom": cache or None,
    }


def context_of(options: BuildOptions) -> tuple[str | None, Iterator[bytes]]:
    """The Dockerfile's name in the context, and the context as a tar."""
    if options.context_dir == STDIN:
        assert options.stdin is not None
        return options.dockerfile or None, of_stdin(options.stdin)
    text, outside = options.dockerfile_text, ""
    inside = posixpath.relpath(options.dockerfile, options.context_dir) if (
        options.dockerfile
    ) else "Dockerfile"  # fmt: skip
    if text is None and inside.startswith("../"):
        text, outside = dockerfile_text(options.dockerfile), options.dockerfile
    name = f".dockerfile.{secrets.token_hex(10)}" if text is not None else inside
    return name, packing.packed(options.context_dir, name, text, outside)


def dockerfile_text(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_TEXT + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refusal(f"unable to prepare context: open {path}: {reason}") from error
    if len(text) > MAX_TEXT:
        raise refusal(f"{path} is too large for a Dockerfile")
    return text


def of_stdin(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """An archive as it is; else it is a Dockerfile without a context."""
    head = b""
    while len(head) < RECORD and (piece := read(PIECE)):
        head += piece
    if is_archive(head):
        return chain([head], iter(lambda: read(PIECE), b""))
    while len(head) <= MAX_TEXT and (piece := read(PIECE)):
        head += piece
    if len(head) > MAX_TEXT:
        raise client_side(InvalidInput("stdin is no archive, and too large for a Dockerfile"))
    return packing.only_dockerfile(head)
