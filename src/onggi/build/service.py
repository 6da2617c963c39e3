"""Builds an image from a Dockerfile and a context: the entry of the package.

Owns the order of the work (read, parse, plan, solve, tag). Never prints, never runs a process
itself: RUN is an ephemeral container of `engine`.
"""

from typing import NamedTuple

from ..engine.engine import Engine
from ..errors import Unsupported
from ..progress import Report
from ..spec.digest import Digest
from ..spec.mount import MountRequest


class BuildOptions(NamedTuple):
    """What `docker build` asks.

    `dockerfile` "" means Dockerfile in the context; else a host path, or "-" with the text in
    `dockerfile_text`. A build arg of None takes its value from the Dockerfile's ARG default (the
    frontend has already looked in the environment).
    """

    context_dir: str
    dockerfile: str = ""
    dockerfile_text: bytes | None = None
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


class BuildResult(NamedTuple):
    """`tags` are full references; `steps` counts the steps of the stages that were needed."""

    image_id: Digest
    tags: tuple[str, ...]
    steps: int
    cached_steps: int


def build(engine: Engine, options: BuildOptions, report: Report) -> BuildResult:
    """Build, store and tag. Raises InvalidInput for a bad Dockerfile or context, BuildFailed (exit
    code 1) when a RUN fails."""
    raise Unsupported("the builder is being written")
