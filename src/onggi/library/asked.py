"""The keywords that `run` and `start` share, for editors and type checkers."""

from collections.abc import Mapping, Sequence
from typing import TypedDict
from typing import Unpack as Unpack

from .options import Command, Ports


class Asked(TypedDict, total=False):
    """All may be left out. Sizes are bytes or texts such as "512m"; ports are
    {80: None (any free one) or 8080 or ("0.0.0.0", 8080)}; volumes are
    {host path or name: "/place[:ro]"}."""

    name: str
    entrypoint: Command
    env: Mapping[str, str]
    workdir: str
    user: str
    hostname: str
    labels: Mapping[str, str]
    ports: Ports
    volumes: Mapping[str, str]
    tmpfs: Sequence[str]
    network: str
    memory: int | str
    cpus: float | str
    pids_limit: int
    privileged: bool
    read_only: bool
    cap_add: Sequence[str]
    cap_drop: Sequence[str]
    security_opt: Sequence[str]
    security: str
    extra_hosts: Mapping[str, str]
    init: bool
    healthcheck: Command
    health_interval_s: float
    platform: str
