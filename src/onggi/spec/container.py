"""Containers as data: what is asked for, and what is stored. JSON forms by `codec`."""

from ..typed import Literal, NamedTuple
from .image import Healthcheck
from .mount import MountPoint, MountRequest
from .network import EndpointOptions, PortBinding

ContainerId = str  # 64 hexadecimal characters
KillReason = Literal["", "oom", "stop timeout"]
HealthStatus = Literal["starting", "healthy", "unhealthy"]
Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]


class DeviceRate(NamedTuple):
    """A limit of one block device of the host: bytes or operations per second, or a weight."""

    path: str
    rate: int


class Resources(NamedTuple):
    """Limits; 0 means none. `memory_swap_bytes` is memory plus swap, -1 unlimited swap."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period_us: int = 0
    cpu_quota_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0  # -1: unlimited though a default exists
    cpu_rt_period_us: int = 0
    cpu_rt_runtime_us: int = 0
    memory_swappiness: int = -1  # -1: as the host
    oom_kill_disable: bool = False
    blkio_weight: int = 0
    blkio_weight_devices: tuple[DeviceRate, ...] = ()
    read_bps: tuple[DeviceRate, ...] = ()
    write_bps: tuple[DeviceRate, ...] = ()
    read_iops: tuple[DeviceRate, ...] = ()
    write_iops: tuple[DeviceRate, ...] = ()


class Ulimit(NamedTuple):
    name: str  # without RLIMIT_, lower case: "nofile"
    soft: int
    hard: int


class DeviceMapping(NamedTuple):
    """One --device: a node of the host, or a directory of them, and what may be done with it."""

    host_path: str
    path: str
    access: str = "rwm"


class HostOptions(NamedTuple):
    """What `docker create` puts in HostConfig: how the host serves the container."""

    mounts: tuple[MountRequest, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    publish_all: bool = False
    network_mode: str = "bridge"  # bridge | none | host | container:ID | a network's name
    auto_remove: bool = False
    read_only: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()  # as they were asked for, see capability.parse
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    security: str = ""  # docker, default or strict; "" is default
    resources: Resources = Resources()
    ulimits: tuple[Ulimit, ...] = ()
    shm_bytes: int = 64 << 20
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()  # "name:ip"
    group_add: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}  # noqa: RUF012 - never mutated
    devices: tuple[DeviceMapping, ...] = ()
    cdi_devices: tuple[str, ...] = ()  # "vendor.com/class=name"
    gpus: tuple[str, ...] = ()  # --gpus as given; resolved by CDI
    device_cgroup_rules: tuple[str, ...] = ()  # "c 13:* rwm"
    volumes_from: tuple[str, ...] = ()  # "container[:ro|rw]"
    storage_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    annotations: dict[str, str] = {}  # noqa: RUF012 - never mutated
    cgroupns_mode: str = ""  # "" and "private" are the container's own, "host"
    cgroup_parent: str = ""
    userns_mode: str = ""
    runtime: str = ""  # another OCI runtime's name or path
    isolation: str = ""
    endpoints: dict[str, EndpointOptions] | None = None  # by network; None: what the mode says
    links: tuple[str, ...] = ()  # "container:alias", of the default bridge
    volume_driver: str = ""
    init: bool = False
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    oom_score_adj: int = 0
    log_driver: str = "json-file"
    log_options: dict[str, str] = {}  # noqa: RUF012 - never mutated
    restart_policy: str = "no"  # no | always | unless-stopped | on-failure
    restart_retries: int = 0  # of on-failure; 0: no limit
    pod: str = ""  # the id of the pod that the container is in
    masked_paths: tuple[str, ...] | None = None  # instead of the usual ones, as the API has it
    read_only_paths: tuple[str, ...] | None = None


class ContainerOptions(NamedTuple):
    """What `create` asks. None means "as the image says"; an empty tuple means "nothing"."""

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    name: str = ""
    env: tuple[str, ...] = ()  # "K=V"
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = {}  # noqa: RUF012 - never mutated
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    exposed_ports: tuple[str, ...] = ()  # "8000/tcp"
    platform: str = ""
    host: HostOptions = HostOptions()
    health: Healthcheck | None = None
    purpose: Literal["run", "build", "pod"] = "run"  # only those to run are in ps
    share: tuple[str, ...] = ()  # of a pod: the namespaces its containers have in common


class Process(NamedTuple):
    """The resolved command of a container: image and options merged."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str
    user: str
    tty: bool
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class ContainerConfig(NamedTuple):
    """A container's row body: everything fixed at create. `layers` are diff IDs, bottom first."""

    options: ContainerOptions
    process: Process
    image_id: str  # digest of the image's config
    layers: tuple[str, ...]
    hostname: str
    stop_signal: str
    mounts: tuple[MountPoint, ...] = ()
    labels: dict[str, str] = {}  # noqa: RUF012 - the image's and the user's, merged
    exposed_ports: tuple[str, ...] = ()
    health: Healthcheck | None = None  # the image's and the user's, merged
    shell: tuple[str, ...] = ()  # the image's SHELL, for health checks


class HealthResult(NamedTuple):
    """One run of a health check; `exit_code` -1: it took too long, or could not run."""

    start_ns: int
    end_ns: int
    exit_code: int
    output: str = ""


class Health(NamedTuple):
    status: HealthStatus = "starting"
    failing_streak: int = 0
    log: tuple[HealthResult, ...] = ()  # the last five, oldest first


class ContainerState(NamedTuple):
    """The changing part of a row. Times are wall clock ns, 0 never. `status` is as stored: whether
    a "running" row really runs is observed (pid plus start time), see engine.reaper."""

    status: Status = "created"
    pid: int = 0
    pid_start: int = 0  # field 22 of /proc/PID/stat: clock ticks since boot
    monitor_pid: int = 0
    monitor_start: int = 0
    boot_id: str = ""
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    kill_reason: KillReason = ""
    restart_count: int = 0
    id_base: int = 0  # what its root is on the host, in a user namespace of its own
    stopped_by_user: bool = False
    interrupted: bool = False  # it ran when the host or its monitor went down
    health: Health | None = None
    published: tuple[PortBinding, ...] = ()  # what its monitor holds, with real numbers


class Container(NamedTuple):
    """A whole container row."""

    id: ContainerId
    name: str
    created_ns: int
    config: ContainerConfig
    state: ContainerState
