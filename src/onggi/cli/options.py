"""The flags of run and create, and what they come to: a ContainerOptions record.

Everything is checked here, strictly, before the engine is asked for anything. Flags that need the
engine's knowledge (does the network exist, is the name free) are passed on as they are.
"""

import os
from collections.abc import Callable

from ..engine import bindspec
from ..errors import InvalidInput
from ..spec.container import ContainerOptions, HostOptions
from ..spec.mount import MountRequest
from ..units import parse_size
from . import devices, environment, limits, mounts, networkflags, policies, resources
from .command import NotSupportedYet
from .flags import Check, Values, flag_table
from .ports import parse_expose, parse_publish
from .session import Session, refusal, working_directory

CREATE_TABLE = """
      --add-host list              Add a custom host-to-IP mapping (host:ip)
      --annotation map             Add an annotation to the container (passed through to the OCI
                                   runtime) (default map[])
  -a, --attach list                Attach to STDIN, STDOUT or STDERR
      --blkio-weight uint16        Block IO (relative weight), between 10 and 1000, or 0 to
                                   disable (default 0)
      --blkio-weight-device list   Block IO weight (relative device weight) (default [])
      --cap-add list               Add Linux capabilities
      --cap-drop list              Drop Linux capabilities
      --cgroup-parent string       Optional parent cgroup for the container
      --cgroupns string            Cgroup namespace to use (host|private)
                                   |'host':    Run the container in the Docker host's cgroup
                                   namespace
                                   |'private': Run the container in its own private cgroup namespace
                                   |'':        Use the cgroup namespace as configured by the
                                   |           default-cgroupns-mode option on the daemon (default)
      --cidfile string             Write the container ID to the file
      --cpu-count int              CPU count (Windows only)
      --cpu-percent int            CPU percent (Windows only)
      --cpu-period int             Limit CPU CFS (Completely Fair Scheduler) period
      --cpu-quota int              Limit CPU CFS (Completely Fair Scheduler) quota
      --cpu-rt-period int          Limit CPU real-time period in microseconds
      --cpu-rt-runtime int         Limit CPU real-time runtime in microseconds
  -c, --cpu-shares int             CPU shares (relative weight)
      --cpus decimal               Number of CPUs
      --cpuset-cpus string         CPUs in which to allow execution (0-3, 0,1)
      --cpuset-mems string         MEMs in which to allow execution (0-3, 0,1)
      --device list                Add a host device to the container
      --device-cgroup-rule list    Add a rule to the cgroup allowed devices list
      --device-read-bps list       Limit read rate (bytes per second) from a device (default [])
      --device-read-iops list      Limit read rate (IO per second) from a device (default [])
      --device-write-bps list      Limit write rate (bytes per second) to a device (default [])
      --device-write-iops list     Limit write rate (IO per second) to a device (default [])
      --disable-content-trust      Skip image verification (default true)
      --dns list                   Set custom DNS servers
      --dns-option list            Set DNS options
      --dns-search list            Set custom DNS search domains
      --domainname string          Container NIS domain name
      --entrypoint string          Overwrite the default ENTRYPOINT of the image
  -e, --env list                   Set environment variables
      --env-file list              Read in a file of environment variables
      --expose list                Expose a port or a range of ports
      --gpus gpu-request           GPU devices to add to the container ('all' to pass all GPUs)
      --group-add list             Add additional groups to join
      --health-cmd string          Command to run to check health
      --health-interval duration   Time between running the check (ms|s|m|h) (default 0s)
      --health-retries int         Consecutive failures needed to report unhealthy
      --health-start-interval duration  Time between running the check during the start period
                                   (ms|s|m|h) (default 0s)
      --health-start-period duration  Start period for the container to initialize before
                                   starting health-retries countdown (ms|s|m|h) (default 0s)
      --health-timeout duration    Maximum time to allow one check to run (ms|s|m|h) (default 0s)
  -h, --hostname string            Container host name
      --init                       Run an init inside the container that forwards signals and reaps
                                   processes
  -i, --interactive                Keep STDIN open even if not attached
      --io-maxbandwidth bytes      Maximum IO bandwidth limit for the system drive (Windows only)
      --io-maxiops uint            Maximum IOps limit for the system drive (Windows only)
      --ip string                  IPv4 address (e.g., 172.30.100.104)
      --ip6 string                 IPv6 address (e.g., 2001:db8::33)
      --ipc string                 IPC mode to use
      --isolation string           Container isolation technology
      --kernel-memory bytes        Kernel memory limit
  -l, --label list                 Set meta data on a container
      --label-file list            Read in a line delimited file of labels
      --link list                  Add link to another container
      --link-local-ip list         Container IPv4/IPv6 link-local addresses
      --log-driver string          Logging driver for the container
      --log-opt list               Log driver options
      --mac-address string         Container MAC address (e.g., 92:d0:c6:0a:29:33)
  -m, --memory bytes               Memory limit
      --memory-reservation bytes   Memory soft limit
      --memory-swap bytes          Swap limit equal to memory plus swap: '-1' to enable unlimited
                                   swap
      --memory-swappiness int      Tune container memory swappiness (0 to 100) (default -1)
      --mount mount                Attach a filesystem mount to the container
      --name string                Assign a name to the container
      --network network            Connect a container to a network
      --network-alias list         Add network-scoped alias for the container
      --no-healthcheck             Disable any container-specified HEALTHCHECK
      --oom-kill-disable           Disable OOM Killer
      --oom-score-adj int          Tune host's OOM preferences (-1000 to 1000)
      --pid string                 PID namespace to use
      --pod string                 Run the container in this pod
      --pids-limit int             Tune container pids limit (set -1 for unlimited)
      --platform string            Set platform if server is multi-platform capable
      --privileged                 Give extended privileges to this container
  -p, --publish list               Publish a container's port(s) to the host
  -P, --publish-all                Publish all exposed ports to random ports
      --pull string                Pull image before running ("always", "missing", "never")
                                   (default "missing")
  -q, --quiet                      Suppress the pull output
      --read-only                  Mount the container's root filesystem as read only
      --restart string             Restart policy to apply when a container exits (default "no")
      --rm                         Automatically remove the container and its associated anonymous
                                   volumes when it exits
      --runtime string             Runtime to use for this container
      --security string            Security profile: docker, default or strict
      --security-opt list          Security Options
      --shm-size bytes             Size of /dev/shm
      --stop-signal string         Signal to stop the container
      --stop-timeout int           Timeout (in seconds) to stop a container
      --storage-opt list           Storage driver options for the container
      --sysctl map                 Sysctl options (default map[])
      --tmpfs list                 Mount a tmpfs directory
  -t, --tty                        Allocate a pseudo-TTY
      --ulimit ulimit              Ulimit options (default [])
  -u, --user string                Username or UID (format: <name|uid>[:<group|gid>])
      --userns string              User namespace to use
      --uts string                 UTS namespace to use
  -v, --volume list                Bind mount a volume
      --volume-driver string       Optional volume driver for the container
      --volumes-from list          Mount volumes from the specified container(s)
  -w, --workdir string             Working directory inside the container
      --net network
      --net-alias list
"""
RUN_TABLE = """
      --security-check             Show which layers of the sandbox this host gives the container
  -d, --detach                     Run container in background and print container ID
      --detach-keys string         Override the key sequence for detaching a container
      --sig-proxy                  Proxy received signals to the process (default true)
"""
NOT_YET = "use-api-socket"
CHECKS: dict[str, Check] = {
    "add-host": limits.parse_extra_host,
    "attach": limits.check_stream,
    "blkio-weight": devices.parse_uint16,
    "blkio-weight-device": devices.parse_weight,
    "device-cgroup-rule": devices.check_rule,
    "device-read-bps": devices.parse_bps,
    "device-read-iops": devices.parse_iops,
    "device-write-bps": devices.parse_bps,
    "device-write-iops": devices.parse_iops,
    "dns": limits.check_address,
    "dns-search": limits.check_domain,
    "env": environment.check_variable,
    "gpus": devices.parse_gpus,
    "io-maxiops": limits.parse_unsigned,
    "label": environment.check_label,
    "link": networkflags.check_link,
    "memory-swap": limits.check_swap,
    "mount": mounts.parse_mount,
    "net": networkflags.check_network,
    "network": networkflags.check_network,
    "sysctl": limits.parse_sysctl,
    "ulimit": limits.parse_ulimit,
}
CREATE_FLAGS = flag_table(CREATE_TABLE, NOT_YET)
RUN_FLAGS = {**CREATE_FLAGS, **flag_table(RUN_TABLE)}


def container_options(session: Session, values: Values, arguments: list[str]) -> ContainerOptions:
    """What `run IMAGE [COMMAND]` asks for. Raises CommandError, or NotSupportedYet for a value."""
    refuse_unsupported(values)
    check_conflicts(values)
    for warning in resources.discarded(values):
        session.warn(warning)
    tty, stdin = values.on("tty"), values.on("interactive")
    exposed = [port for spec in values.many("expose") for port in parse_expose(spec)]
    return ContainerOptions(
        image=arguments[0],
        command=tuple(arguments[1:]) or None,
        entrypoint=entrypoint(values),
        name=values.text("name").removeprefix("/"),
        env=environment.variables(session.environ, values.many("env-file"), values.many("env")),
        working_dir=limits.checked_work_directory(values.text("workdir")),
        user=limits.checked_user(values.text("user")),
        hostname=limits.checked_hostname(values.text("hostname"), "hostname"),
        domainname=limits.checked_hostname(values.text("domainname"), "domainname"),
        labels=environment.labels(values.many("label-file"), values.many("label")),
        tty=tty,
        open_stdin=stdin,
        stdin_once=stdin and not detached(values),
        stop_signal=limits.checked_signal(values.text("stop-signal"), "signal"),
        stop_timeout_s=values.number("stop-timeout") if values.given("stop-timeout") else None,
        exposed_ports=tuple(dict.fromkeys(exposed)),
        platform=values.text("platform"),
        host=host_options(values),
        health=policies.healthcheck(values),
    )


def detached(values: Values) -> bool:
    """`create` has no -d."""
    try:
        return values.on("detach")
    except KeyError:
        return False


def entrypoint(values: Values) -> tuple[str, ...] | None:
    """`--entrypoint ""` clears the image's."""
    if not values.given("entrypoint"):
        return None
    text = values.text("entrypoint")
    return (text,) if text else ()


def refuse_unsupported(values: Values) -> None:
    """Values of known flags that ask for what is not there yet."""
    if not values.on("disable-content-trust"):
        raise NotSupportedYet("flag --disable-content-trust=false is not supported yet")


def check_conflicts(values: Values) -> None:
    pull = values.text("pull")
    if pull not in ("always", "missing", "never", ""):
        raise refusal(
            f'invalid pull option: \'{pull}\': must be one of "always", "missing" or "never"'
        )


def host_options(values: Values) -> HostOptions:
    score = values.number("oom-score-adj")
    if not -1000 <= score <= 1000:
        raise InvalidInput(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    restart = policies.restart_policy(values)
    driver, log_options = logging(values)
    asked = values.many("device")
    mode_, endpoints = networkflags.network_options(values)
    return HostOptions(
        mounts=tuple(mount_requests(values, working_directory)),
        ports=tuple(port for spec in values.many("publish") for port in parse_publish(spec)),
        publish_all=values.on("publish-all"),
        network_mode=mode_,
        endpoints=endpoints,
        links=networkflags.legacy_links(values, mode_),
        auto_remove=values.on("rm"),
        read_only=values.on("read-only"),
        privileged=values.on("privileged"),
        cap_add=capabilities(values.many("cap-add")),
        cap_drop=capabilities(values.many("cap-drop")),
        security=values.text("security"),
        security_opt=tuple(security_option(text) for text in values.many("security-opt")),
        resources=resources.resources(values),
        ulimits=tuple(limits.parse_ulimit(text) for text in values.many("ulimit")),
        shm_bytes=parse_size(values.text("shm-size") or "0") or 64 << 20,
        dns=tuple(values.many("dns")),
        dns_search=tuple(values.many("dns-search")),
        dns_options=tuple(values.many("dns-option")),
        extra_hosts=tuple(limits.parse_extra_host(text) for text in values.many("add-host")),
        group_add=tuple(limits.checked_user(text) for text in values.many("group-add")),
        sysctls=dict(limits.parse_sysctl(text) for text in values.many("sysctl")),
        init=values.on("init"),
        pid_mode=mode(values, "pid", "--pid: invalid PID mode", ("host",), joins=True),
        ipc_mode=mode(
            values, "ipc", "--ipc: invalid IPC mode", ("host", "private", "none", "shareable"),
            joins=True,
        ),
        uts_mode=mode(values, "uts", "--uts: invalid UTS mode", ("host",), joins=False),
        oom_score_adj=score,
        log_driver=driver,
        log_options=log_options,
        restart_policy=restart.name,
        restart_retries=restart.retries,
        devices=tuple(map(devices.parse_device, (d for d in asked if not devices.is_cdi(d)))),
        cdi_devices=tuple(d for d in asked if devices.is_cdi(d)),
        gpus=tuple(word for text in values.many("gpus") for word in devices.parse_gpus(text)),
        device_cgroup_rules=tuple(values.many("device-cgroup-rule")),
        volumes_from=tuple(values.many("volumes-from")),
        volume_driver=values.text("volume-driver"),
        storage_options=storage_options(values.many("storage-opt")),
        annotations=dict(text.partition("=")[::2] for text in values.many("annotation")),
        cgroupns_mode=mode(
            values, "cgroupns", "--cgroupns: invalid CGROUP mode", ("host", "private"), joins=False
        ),
        cgroup_parent=values.text("cgroup-parent"),
        userns_mode=mode(
            values, "userns", "--userns: invalid USER mode", ("host", "auto", "private"),
            joins=False,
        ),
        runtime=values.text("runtime"),
        isolation=values.text("isolation"),
        pod=values.text("pod"),
    )  # fmt: skip


def storage_options(texts: list[str]) -> dict[str, str]:
    if not all("=" in text for text in texts):
        raise refusal("invalid storage option")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def mount_requests(values: Values, cwd: Callable[[], str]) -> list[MountRequest]:
    """Everything mounted, in the order volumes, mounts, tmpfs; two of one target are refused."""
    found = [mounts.parse_volume(spec, _directory(spec, cwd)) for spec in values.many("volume")]
    for spec in values.many("mount"):
        request = mounts.parse_mount(spec)
        if request.source.startswith("."):
            path = os.path.normpath(os.path.join(cwd(), request.source))
            request = request._replace(source=path)
        found.append(request)
    found += [bindspec.parse_tmpfs(spec) for spec in values.many("tmpfs")]
    by_target: dict[str, MountRequest] = {}
    for request in found:  # docker: the same twice is once
        if by_target.setdefault(request.target, request) != request:
            raise InvalidInput(f"Duplicate mount point: {request.target}")
    return list(by_target.values())


def _directory(spec: str, cwd: Callable[[], str]) -> str:
    """The caller's directory, asked for only where a path is relative to it."""
    return cwd() if spec.startswith(".") else "/"


def capabilities(texts: list[str]) -> tuple[str, ...]:
    """As docker's client sends them; whether they exist the engine knows."""
    names = (text.upper().removeprefix("CAP_") for text in texts)
    return tuple(name if name == "ALL" else f"CAP_{name}" for name in names)


def security_option(text: str) -> str:
    """`no-new-privileges`, or `seccomp=` with the profile's text in the place of its path."""
    name, separator, value = text.partition("=" if "=" in text else ":")
    if name == "no-new-privileges":
        if separator and value not in ("true", "false"):
            raise refusal(f'invalid --security-opt 2: "{text}"')
        return "no-new-privileges=" + (value or "true")
    if name == "seccomp" and separator:
        if value in ("unconfined", "builtin"):
            return f"seccomp={value}"
        try:
            with open(value, encoding="utf-8") as stream:
                return "seccomp=" + profile_text(value, stream.read(1 << 20))
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or str(error)).lower()
            raise refusal(
                f"opening seccomp profile ({value}) failed: open {value}: {reason}"
            ) from error
    if name in ("apparmor", "label", "systempaths", "mask", "unmask", "landlock") and separator:
        return f"{name}={value}"  # the engine knows whether they can be had
    if name in ("writable-cgroups", "credentialspec"):
        raise NotSupportedYet(f"flag --security-opt {name} is not supported yet")
    raise refusal(f'Invalid --security-opt: "{text}"')


def profile_text(path: str, text: str) -> str:
    """JSON, at least; what it says the engine reads."""
    import json

    try:
        json.loads(text)
    except ValueError as error:
        first = text.lstrip()[:1]
        raise refusal(
            f"compacting json for seccomp profile ({path}) failed: "
            + (f"invalid character '{first}' looking for beginning of value" if first not in
               ("{", "[", "") else str(error))
        ) from error  # fmt: skip
    return text


def mode(values: Values, name: str, refused: str, known: tuple[str, ...], *, joins: bool) -> str:
    text = values.text(name)
    if not text or text in known:
        return text
    if joins and text.startswith("container:") and text != "container:":
        return text
    raise refusal(refused)


def logging(values: Values) -> tuple[str, dict[str, str]]:
    """The driver and its options; what they may be the engine knows."""
    driver = values.text("log-driver") or "json-file"
    given = values.many("log-opt")
    if driver == "none" and given:
        raise refusal("invalid logging opts for driver none")
    return driver, {name: value for name, _, value in (item.partition("=") for item in given)}
