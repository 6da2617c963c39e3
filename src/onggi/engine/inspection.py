"""Docker's JSON of containers and volumes, key for key (API 1.51)."""

import os
from collections.abc import Iterable, Mapping

from ..runtime.plan import READ_ONLY_PATHS, masked_paths
from ..spec.container import Container, DeviceRate, HostOptions, Resources
from ..spec.image import health_document
from ..spec.mount import MountRequest, Volume
from ..spec.network import Endpoint, Network, PortBinding
from ..spec.platform import host_platform
from ..typed import Any
from . import mountview, networkview, sandbox
from .paths import Paths

ZERO_TIME = "0001-01-01T00:00:00Z"


def rfc3339(time_ns: int) -> str:
    """Docker's timestamps: UTC, nanoseconds without trailing zeros; the zero time for 0."""
    if not time_ns:
        return ZERO_TIME
    import time

    seconds, nanos = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def container(
    c: Container,
    paths: Paths,
    endpoints: Iterable[Endpoint],
    networks: Mapping[str, Network],
    sizes: tuple[int, int] | None = None,
) -> dict[str, Any]:
    args = c.config.process.args
    base = paths.container(c.id)
    labels = sandbox.labels(c)
    result: dict[str, Any] = {
        "Id": c.id,
        "Created": rfc3339(c.created_ns),
        "Path": args[0] if args else "",
        "Args": list(args[1:]),
        "State": _state(c),
        "Image": c.config.image_id,
        "ResolvConfPath": f"{base}/resolv.conf",
        "HostnamePath": f"{base}/hostname",
        "HostsPath": f"{base}/hosts",
        "LogPath": paths.log(c.id) if c.config.options.host.log_driver == "json-file" else "",
        "Name": f"/{c.name}",
        "RestartCount": c.state.restart_count,
        "Driver": "overlay2",
        "Platform": host_platform().os,
        "MountLabel": labels.mount,
        "ProcessLabel": labels.selinux,
        "AppArmorProfile": labels.apparmor,
        "ExecIDs": None,
        "HostConfig": {**host_config(c.config.options.host), "Links": _links(c)},
        "GraphDriver": {"Data": {"UpperDir": paths.upper(c.id)}, "Name": "overlay2"},
        "Mounts": mountview.listed(c.config),
        "Config": _config(c),
        "NetworkSettings": networkview.settings(c, list(endpoints), networks),
    }
    if sizes is not None:
        result["SizeRw"], result["SizeRootFs"] = sizes
    return result


def _state(c: Container) -> dict[str, Any]:
    state = c.state
    found: dict[str, Any] = {
        "Status": state.status,
        "Running": state.status in ("running", "paused", "restarting"),
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": rfc3339(state.started_ns),
        "FinishedAt": rfc3339(state.finished_ns),
    }
    if state.health is not None:
        found["Health"] = {
            "Status": state.health.status,
            "FailingStreak": state.health.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(result.start_ns),
                    "End": rfc3339(result.end_ns),
                    "ExitCode": result.exit_code,
                    "Output": result.output,
                }
                for result in state.health.log
            ],
        }
    return found


def _config(c: Container) -> dict[str, Any]:
    options, process = c.config.options, c.config.process
    config: dict[str, Any] = {
        "Hostname": c.config.hostname,
        "Domainname": options.domainname,
        "User": process.user,
        "AttachStdin": options.open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {port: {} for port in c.config.exposed_ports},
        "Tty": options.tty,
        "OpenStdin": options.open_stdin,
        "StdinOnce": options.stdin_once,
        "Env": environment(c),
        "Cmd": list(process.command) or None,
        "Image": options.image,
        "Volumes": _anonymous_volumes(c) or None,
        "WorkingDir": process.working_dir if process.working_dir != "/" else "",
        "Entrypoint": list(process.entrypoint) or None,
        "OnBuild": None,
        "Labels": dict(sorted(c.config.labels.items())),
    }
    if not config["ExposedPorts"]:
        del config["ExposedPorts"]
    if c.config.health is not None:
        config["Healthcheck"] = health_document(c.config.health)
    if options.stop_signal:
        config["StopSignal"] = options.stop_signal
    if options.stop_timeout_s is not None:
        config["StopTimeout"] = options.stop_timeout_s
    return config


def environment(c: Container) -> list[str]:
    """As docker lists it: the user's variables, then those of the image."""
    given = {e.partition("=")[0]: None for e in c.config.options.env}
    ours = [e for e in c.config.process.env if e.partition("=")[0] not in ("HOSTNAME", "TERM")]
    values = {e.partition("=")[0]: e for e in c.config.process.env}
    first = [values[name] for name in given if name in values]
    return first + [e for e in ours if e.partition("=")[0] not in given]


def _anonymous_volumes(c: Container) -> dict[str, Any]:
    """Places of volumes that nobody named: VOLUME, and -v with a place alone."""
    named = {m.target for m in c.config.options.host.mounts if m.source}
    apart = {m.target for m in c.config.options.host.mounts if m.origin}
    hidden = named | apart
    return {p.target: {} for p in c.config.mounts if p.kind == "volume" and p.target not in hidden}


def _security(option: str) -> str:
    """`no-new-privileges` as docker writes it, without the value that says yes."""
    return "no-new-privileges" if option == "no-new-privileges=true" else option


def _links(c: Container) -> list[str] | None:
    pairs = (text.partition(":") for text in c.config.options.host.links)
    return [f"/{other}:/{c.name}/{alias}" for other, _, alias in pairs] or None


def host_config(host: HostOptions) -> dict[str, Any]:
    """Docker leaves three of its fields out when they hold nothing."""
    config = _host_fields(host)
    for name in ("Init", "Mounts", "Sysctls", "Tmpfs"):
        if config[name] is None:
            del config[name]
    return config


def _host_fields(host: HostOptions) -> dict[str, Any]:
    r = host.resources
    open_paths = host.privileged or "systempaths=unconfined" in host.security_opt
    return {
        "Binds": [
            _bind(m)
            for m in host.mounts
            if m.kind in ("bind", "volume") and m.source and not m.origin
        ]
        or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": host.log_driver, "Config": dict(host.log_options)},
        "NetworkMode": host.network_mode,
        "PortBindings": networkview.bindings(host.ports),
        "RestartPolicy": {
            "Name": host.restart_policy or "no",
            "MaximumRetryCount": host.restart_retries,
        },
        "AutoRemove": host.auto_remove,
        "VolumeDriver": host.volume_driver,
        "VolumesFrom": list(host.volumes_from) or None,
        "ConsoleSize": [0, 0],
        "CapAdd": list(host.cap_add) or None,
        "CapDrop": list(host.cap_drop) or None,
        "CgroupnsMode": host.cgroupns_mode or "private",
        "Dns": list(host.dns),
        "DnsOptions": list(host.dns_options),
        "DnsSearch": list(host.dns_search),
        "ExtraHosts": list(host.extra_hosts) or None,
        "GroupAdd": list(host.group_add) or None,
        "IpcMode": host.ipc_mode or "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": host.oom_score_adj,
        "PidMode": host.pid_mode,
        "Privileged": host.privileged,
        "PublishAllPorts": host.publish_all,
        "ReadonlyRootfs": host.read_only,
        "SecurityOpt": [_security(option) for option in host.security_opt] or None,
        "UTSMode": host.uts_mode,
        "UsernsMode": host.userns_mode,
        "ShmSize": host.shm_bytes,
        "Sysctls": dict(host.sysctls) or None,
        "Runtime": host.runtime or "onggi-runtime",
        "Isolation": host.isolation,
        "CpuShares": r.cpu_shares,
        "Memory": r.memory_bytes,
        "NanoCpus": r.nano_cpus,
        "CgroupParent": host.cgroup_parent,
        **_block_io(r),
        "CpuPeriod": r.cpu_period_us,
        "CpuQuota": r.cpu_quota_us,
        "CpuRealtimePeriod": r.cpu_rt_period_us,
        "CpuRealtimeRuntime": r.cpu_rt_runtime_us,
        "CpusetCpus": r.cpuset_cpus,
        "CpusetMems": r.cpuset_mems,
        "Devices": [
            {"PathOnHost": d.host_path, "PathInContainer": d.path, "CgroupPermissions": d.access}
            for d in host.devices
        ],
        "DeviceCgroupRules": list(host.device_cgroup_rules) or None,
        "DeviceRequests": _device_requests(host),
        "MemoryReservation": r.memory_reservation_bytes,
        "MemorySwap": r.memory_swap_bytes or 2 * r.memory_bytes,
        "MemorySwappiness": None if r.memory_swappiness < 0 else r.memory_swappiness,
        "OomKillDisable": r.oom_kill_disable,
        "PidsLimit": r.pids_limit or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": None
        if open_paths
        else list(
            masked_paths(os.cpu_count() or 1) if host.masked_paths is None else host.masked_paths
        ),
        "ReadonlyPaths": None
        if open_paths
        else list(READ_ONLY_PATHS if host.read_only_paths is None else host.read_only_paths),
        "Ulimits": [{"Name": u.name, "Hard": u.hard, "Soft": u.soft} for u in host.ulimits],
        "Init": host.init or None,
        "Tmpfs": {
            m.target: m.tmpfs_options for m in host.mounts if m.kind == "tmpfs" and not m.origin
        }
        or None,
        "Mounts": [mountview.asked(m) for m in host.mounts if m.origin] or None,
    }


def _block_io(r: Resources) -> dict[str, Any]:
    def rates(devices: Iterable[DeviceRate], word: str = "Rate") -> list[dict[str, Any]]:
        return [{"Path": device.path, word: device.rate} for device in devices]

    return {
        "BlkioWeight": r.blkio_weight,
        "BlkioWeightDevice": rates(r.blkio_weight_devices, "Weight"),
        "BlkioDeviceReadBps": rates(r.read_bps),
        "BlkioDeviceWriteBps": rates(r.write_bps),
        "BlkioDeviceReadIOps": rates(r.read_iops),
        "BlkioDeviceWriteIOps": rates(r.write_iops),
    }


def _device_requests(host: HostOptions) -> list[dict[str, Any]] | None:
    """CDI names, and GPUs as docker's client asks for them."""
    found = []
    if host.cdi_devices:
        found.append(_request("cdi", 0, list(host.cdi_devices), None))
    names = [word.partition("=")[2] for word in host.gpus if word.startswith("device=")]
    counts = [
        -1 if word == "all" else int(word.partition("=")[2])
        for word in host.gpus
        if not word.startswith("device=")
    ]
    if names:
        found.append(_request("", 0, names, [["gpu"]]))
    found += [_request("", count, None, [["gpu"]]) for count in counts]
    return found or None


def _request(
    driver: str, count: int, ids: list[str] | None, capabilities: list[list[str]] | None
) -> dict[str, Any]:
    return {
        "Driver": driver,
        "Count": count,
        "DeviceIDs": ids,
        "Capabilities": capabilities,
        "Options": {},
    }


def _bind(request: MountRequest) -> str:
    mode = f":{request.mode}" if request.mode else ""
    return f"{request.source}:{request.target}{mode}"


def volume(v: Volume, mountpoint: str) -> dict[str, Any]:
    labels = dict(v.labels)
    return {
        "CreatedAt": rfc3339(v.created_ns // 1_000_000_000 * 1_000_000_000),
        "Driver": "local",
        "Labels": labels or None,
        "Mountpoint": mountpoint,
        "Name": v.name,
        "Options": dict(sorted(v.options.items())) or None,
        "Scope": "local",
    }


def loopback_only(c: Container, ports: Iterable[PortBinding]) -> list[PortBinding]:
    """Published TCP ports on which something listens on 127.0.0.1 in the container, and nothing on
    an address that a published port reaches."""
    wanted = [port for port in ports if port.protocol == "tcp"]
    if not wanted or not c.state.pid:
        return []
    loopback: set[int] = set()
    reachable: set[int] = set()
    for table in ("tcp", "tcp6"):
        for address, port in _listeners(c.state.pid, table):
            (loopback if _is_loopback(address) else reachable).add(port)
    return [p for p in wanted if p.container_port in loopback - reachable]


def _listeners(pid: int, table: str) -> list[tuple[str, int]]:
    """(hexadecimal address, port) of what listens in the process's network namespace."""
    try:
        fd = os.open(f"/proc/{pid}/net/{table}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    with open(fd, encoding="ascii", errors="replace") as file:
        lines = file.read().splitlines()[1:]
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":  # TCP_LISTEN
            address, _, port = fields[1].partition(":")
            found.append((address, int(port, 16)))
    return found


def _is_loopback(address: str) -> bool:
    """Little-endian words as the kernel prints them: 0100007F, and ::1."""
    return (address.endswith("7F") and len(address) == 8) or address == "0" * 24 + "01000000"
