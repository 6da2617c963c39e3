"""HostConfig and NetworkingConfig of a create request, decoded to HostOptions. Pure."""

import re
from collections.abc import Iterable

from ..engine import bindspec
from ..engine.security import DOCKER_MASKS
from ..errors import InvalidInput, Unsupported
from ..runtime.plan import MASKED_PATHS, READ_ONLY_PATHS
from ..spec.container import DeviceMapping, DeviceRate, HostOptions, Resources, Ulimit
from ..spec.mount import MountKind, MountRequest, Recursion
from ..spec.network import EndpointOptions, PortBinding, Protocol
from .decode import Fields, parse_json

_MAC = re.compile(r"[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}")
_KINDS: dict[str, MountKind] = {k: k for k in ("bind", "volume", "tmpfs", "image")}
_PROTOCOLS: dict[str, Protocol] = {"tcp": "tcp", "udp": "udp", "sctp": "sctp"}
_WINDOWS = ("CpuCount", "CpuPercent")  # docker: discarded on Linux, with a warning of its client
_QOS = ("IOMaximumIOps", "IOMaximumBandwidth")
DEFAULT_SHM = 64 << 20


def host_options(
    fields: Fields,
    networking: Fields,
    *,
    mac_address: str = "",
    network_mode: str = "",
    volumes: tuple[str, ...] = (),
) -> HostOptions:
    """`mac_address` is Config's, where clients before 1.44 put it; `volumes` are the places of
    Config's anonymous ones. Raises InvalidInput, Unsupported."""
    _refuse(fields)
    mode = network_mode or fields.text("NetworkMode") or "default"
    mode = "bridge" if mode == "default" else mode
    driver, log_options = _logging(fields.object("LogConfig"))
    policy = fields.object("RestartPolicy")
    gpus, cdi = _device_requests(fields)
    score = fields.integer("OomScoreAdj")
    if not -1000 <= score <= 1000:
        raise InvalidInput(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    masked, read_only = _system_paths(fields)
    return HostOptions(
        masked_paths=None if masked == () == read_only else masked,
        read_only_paths=None if masked == () == read_only else read_only,
        mounts=mounts(fields, volumes),
        ports=ports(fields),
        publish_all=fields.flag("PublishAllPorts"),
        network_mode=mode,
        auto_remove=fields.flag("AutoRemove"),
        read_only=fields.flag("ReadonlyRootfs"),
        privileged=fields.flag("Privileged"),
        cap_add=fields.words("CapAdd") or (),
        cap_drop=fields.words("CapDrop") or (),
        security_opt=_security(fields),
        resources=resources(fields),
        ulimits=tuple(_ulimit(item) for item in fields.objects("Ulimits")),
        shm_bytes=_shm(fields.integer("ShmSize")),
        dns=fields.strings("Dns"),
        dns_search=fields.strings("DnsSearch"),
        dns_options=fields.strings("DnsOptions"),
        extra_hosts=tuple(_extra_host(text) for text in fields.strings("ExtraHosts")),
        group_add=fields.strings("GroupAdd"),
        sysctls=fields.string_map("Sysctls"),
        devices=tuple(_device(item) for item in fields.objects("Devices")),
        cdi_devices=cdi,
        gpus=gpus,
        device_cgroup_rules=fields.strings("DeviceCgroupRules"),
        volumes_from=fields.strings("VolumesFrom"),
        storage_options=fields.string_map("StorageOpt"),
        annotations=fields.string_map("Annotations"),
        cgroupns_mode=_one_of(fields, "CgroupnsMode", "invalid cgroup namespace mode",
                              ("host", "private")),
        cgroup_parent=fields.text("CgroupParent"),
        userns_mode=fields.text("UsernsMode"),
        runtime=fields.text("Runtime"),
        isolation=fields.text("Isolation"),
        endpoints=_endpoints(networking, mode, mac_address),
        links=tuple(_link(text) for text in fields.strings("Links")),
        volume_driver=fields.text("VolumeDriver"),
        init=fields.flag("Init"),
        pid_mode=fields.text("PidMode"),
        ipc_mode=fields.text("IpcMode"),
        uts_mode=fields.text("UTSMode"),
        oom_score_adj=score,
        log_driver=driver,
        log_options=log_options,
        restart_policy=policy.text("Name") or "no",
        restart_retries=policy.integer("MaximumRetryCount"),
    )  # fmt: skip


def _refuse(fields: Fields) -> None:
    """What docker has and we do not, when it is asked for."""
    if fields.text("Cgroup") not in ("", "private"):
        raise Unsupported("HostConfig.Cgroup is not supported")
    if any(fields.integer(name) for name in _QOS):
        raise InvalidInput(
            "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps"
        )
    for name in _WINDOWS:
        fields.integer(name)
    if fields.integer("KernelMemory"):
        raise InvalidInput("kernel memory limits are not supported by this host's kernel")
    fields.text("ContainerIDFile")
    fields.get("ConsoleSize")  # of Windows, and the first size of a terminal that attaches anyway


def _one_of(fields: Fields, name: str, refusal: str, known: tuple[str, ...]) -> str:
    text = fields.text(name)
    if text and text not in known:
        raise InvalidInput(f"{refusal}: {text}")
    return text


# -- networks


def _endpoints(
    networking: Fields, mode: str, mac_address: str
) -> dict[str, EndpointOptions] | None:
    """What is asked of each network, the one of the mode first; docker's client calls it by the
    name it was given. A MAC address that Config has is the first network's."""
    given = {
        "bridge" if name == "default" else name: endpoint_options(endpoint)
        for name, endpoint in networking.members("EndpointsConfig")
    }
    if mac_address and (mode not in given or not given[mode].mac_address):
        given[mode] = given.get(mode, EndpointOptions())._replace(mac_address=_mac(mac_address))
    if not given:
        return None
    first = {mode: given[mode]} if mode in given else {}
    return first | given


def endpoint_options(endpoint: Fields) -> EndpointOptions:
    """One EndpointSettings. Raises InvalidInput."""
    config = endpoint.object("IPAMConfig")
    return EndpointOptions(
        aliases=endpoint.strings("Aliases"),
        links=endpoint.strings("Links"),
        address=config.text("IPv4Address"),
        address6=config.text("IPv6Address"),
        link_local=config.strings("LinkLocalIPs"),
        mac_address=_mac(endpoint.text("MacAddress")),
        driver_options=endpoint.string_map("DriverOpts"),
        gateway_priority=endpoint.integer("GwPriority"),
    )


def _link(text: str) -> str:
    """`container[:alias]`."""
    name, colon, alias = text.partition(":")
    if not name or ":" in alias:
        raise InvalidInput(f"bad format for links: {text}")
    return f"{name}:{alias if colon else name}"


def _mac(text: str) -> str:
    if text and not _MAC.fullmatch(text):
        raise InvalidInput(f"invalid MAC address: {text}")
    return text.lower().replace("-", ":")


def ports(fields: Fields) -> tuple[PortBinding, ...]:
    """PortBindings: {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}; null or [] is any port."""
    found: list[PortBinding] = []
    bindings = fields.object("PortBindings")
    for name in bindings.raw:
        number, slash, protocol = name.partition("/")
        kind = _PROTOCOLS.get((protocol if slash else "tcp").lower())
        if kind is None or not _is_port(number) or number == "0":
            raise InvalidInput(f"invalid port specification: {name!r}")
        items = bindings.objects(name) or [Fields(None)]
        found += [_binding(item, int(number), kind) for item in items]
    return tuple(found)


def _binding(item: Fields, container_port: int, kind: Protocol) -> PortBinding:
    host = item.text("HostPort")
    first, dash, last = host.partition("-")
    numbers = (first, last) if dash else (first,)
    if host and not all(_is_port(number) for number in numbers):
        raise InvalidInput(f"invalid port specification: {host!r}")
    end = int(last) if dash and int(last) > int(first) else 0
    address = _address(item.text("HostIp"))
    return PortBinding(address, int(first or 0), container_port, kind, end)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 65536


def _address(text: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(text)) if text else ""
    except ValueError as error:
        raise InvalidInput(f"invalid IP address: {text}") from error


def _extra_host(text: str) -> str:
    name, colon, address = text.partition(":")
    if not (name and colon and address) or any(c.isspace() for c in text):
        raise InvalidInput(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        address = _address(address.strip("[]"))
    return f"{name}:{address}"


# -- mounts


def mounts(fields: Fields, volumes: Iterable[str] = ()) -> tuple[MountRequest, ...]:
    """Binds, Mounts, Tmpfs, and the anonymous volumes of Config that none of them covers."""
    found = [bindspec.parse_volume(spec, "") for spec in fields.strings("Binds")]
    for request in found:
        if request.kind == "bind" and not request.source.startswith("/"):
            raise InvalidInput(
                f"invalid mount path: '{request.source}' mount path must be absolute"
            )
    found += [_mount(item) for item in fields.objects("Mounts")]
    tmpfs = fields.string_map("Tmpfs")
    found += [bindspec.parse_tmpfs(f"{path}:{how}" if how else path) for path, how in tmpfs.items()]
    taken = {request.target for request in found}
    for path in volumes:
        request = bindspec.parse_volume(path, "/")
        if request.target not in taken:
            found.append(request)
    return tuple(found)


def _mount(item: Fields) -> MountRequest:
    kind = _KINDS.get(item.text("Type").lower())
    target = item.text("Target")
    if kind is None:
        raise InvalidInput(f'mount type unknown: "{item.text("Type")}"')
    if not target:
        raise InvalidInput(
            f'invalid mount config for type "{kind}": field Target must not be empty'
        )
    _refuse_mixed(item, kind)
    bind, volume, tmpfs = (item.object(f"{k}Options") for k in ("Bind", "Volume", "Tmpfs"))
    source = item.text("Source")
    if kind in ("bind", "image") and not source:
        raise InvalidInput(
            f'invalid mount config for type "{kind}": field Source must not be empty'
        )
    if kind == "tmpfs" and source:
        raise InvalidInput(
            'invalid mount config for type "tmpfs": field Source must not be specified'
        )
    driver = volume.object("DriverConfig")
    subpath = (item.object("ImageOptions") if kind == "image" else volume).text("Subpath")
    return MountRequest(
        kind,
        source,
        target,
        item.flag("ReadOnly"),
        _propagation(bind),
        no_copy=volume.flag("NoCopy"),
        create_source=bind.flag("CreateMountpoint"),
        tmpfs_options=_tmpfs_options(tmpfs),
        subpath=subpath,
        recursion=_recursion(bind),
        labels=volume.string_map("Labels"),
        options=driver.string_map("Options"),
        driver=driver.text("Name"),
        origin="mount",
    )


def _refuse_mixed(item: Fields, kind: MountKind) -> None:
    for other in ("Bind", "Volume", "Tmpfs", "Image"):
        if other.lower() != kind and item.has(f"{other}Options"):
            raise InvalidInput(
                f'invalid mount config for type "{kind}": field {other}Options must not be '
                "specified"
            )


def _propagation(bind: Fields) -> str:
    text = bind.text("Propagation") or "rprivate"
    if text not in bindspec.PROPAGATIONS:
        raise InvalidInput(f"invalid propagation mode: {text}")
    return text


def _recursion(bind: Fields) -> Recursion:
    if bind.flag("NonRecursive"):
        return "disabled"
    if bind.flag("ReadOnlyForceRecursive"):
        return "readonly"
    return "writable" if bind.flag("ReadOnlyNonRecursive") else ""


def _tmpfs_options(tmpfs: Fields) -> str:
    """ "size=…,mode=…" and the pairs of Options."""
    size, mode = tmpfs.integer("SizeBytes"), tmpfs.integer("Mode")
    if size < 0:
        raise InvalidInput("invalid tmpfs size: it must not be negative")
    if not 0 <= mode <= 0o7777:
        raise InvalidInput(f"invalid tmpfs mode: {mode:o}")
    words = [f"size={size}"] if size else []
    if mode:
        words.append(f"mode={mode:o}")
    pairs = tmpfs.get("Options")
    for pair in pairs if isinstance(pairs, list) else ():
        if not isinstance(pair, list) or not all(isinstance(part, str) for part in pair):
            raise InvalidInput("invalid JSON: TmpfsOptions.Options is not a list of string lists")
        words.append("=".join(pair))
    text = ",".join(words)
    bindspec.parse_tmpfs(f"/t:{text}" if text else "/t")
    return text


# -- limits and devices


def resources(fields: Fields) -> Resources:
    """Of create and update; what is not given is 0."""
    swappiness = fields.optional_integer("MemorySwappiness")
    return Resources(
        memory_bytes=max(fields.integer("Memory"), 0),
        memory_swap_bytes=max(fields.integer("MemorySwap"), -1),
        memory_reservation_bytes=max(fields.integer("MemoryReservation"), 0),
        nano_cpus=fields.integer("NanoCpus"),
        cpu_shares=fields.integer("CpuShares"),
        cpu_period_us=fields.integer("CpuPeriod"),
        cpu_quota_us=fields.integer("CpuQuota"),
        cpuset_cpus=fields.text("CpusetCpus"),
        cpuset_mems=fields.text("CpusetMems"),
        pids_limit=max(fields.integer("PidsLimit"), -1),
        cpu_rt_period_us=fields.integer("CpuRealtimePeriod"),
        cpu_rt_runtime_us=fields.integer("CpuRealtimeRuntime"),
        memory_swappiness=-1 if swappiness is None else swappiness,
        oom_kill_disable=fields.flag("OomKillDisable"),
        blkio_weight=fields.integer("BlkioWeight"),
        blkio_weight_devices=_rates(fields, "BlkioWeightDevice", "Weight"),
        read_bps=_rates(fields, "BlkioDeviceReadBps", "Rate"),
        write_bps=_rates(fields, "BlkioDeviceWriteBps", "Rate"),
        read_iops=_rates(fields, "BlkioDeviceReadIOps", "Rate"),
        write_iops=_rates(fields, "BlkioDeviceWriteIOps", "Rate"),
    )


def _rates(fields: Fields, name: str, word: str) -> tuple[DeviceRate, ...]:
    found = []
    for item in fields.objects(name):
        path, rate = item.text("Path"), item.integer(word)
        if not path.startswith("/dev/"):
            raise InvalidInput(f"bad format for device path: {path}")
        if rate < 0:
            raise InvalidInput(f"invalid rate for device {path}: {rate}")
        found.append(DeviceRate(path, rate))
    return tuple(found)


def _ulimit(item: Fields) -> Ulimit:
    """The engine knows the names."""
    return Ulimit(item.text("Name"), item.integer("Soft"), item.integer("Hard"))


def _device(item: Fields) -> DeviceMapping:
    host, path = item.text("PathOnHost"), item.text("PathInContainer")
    access = item.text("CgroupPermissions") or "rwm"
    if not host.startswith("/") or (path and not path.startswith("/")):
        raise InvalidInput(f"{path or host} is not an absolute path")
    if not set(access) <= set("rwm"):
        raise InvalidInput(f"bad mode specified: {access}")
    return DeviceMapping(host, path or host, access)


def _device_requests(fields: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(GPUs as the command line words them, CDI names)."""
    gpus: list[str] = []
    cdi: list[str] = []
    for item in fields.objects("DeviceRequests"):
        driver, names, count = item.text("Driver"), item.strings("DeviceIDs"), item.integer("Count")
        if driver == "cdi":
            cdi += names
            continue
        kinds = {word for group in item.get("Capabilities") or () for word in group}
        if driver not in ("", "nvidia") or "gpu" not in kinds:
            raise InvalidInput(
                f'could not select device driver "{driver}" with capabilities: '
                f"[[{' '.join(sorted(map(str, kinds)))}]]"
            )
        if names and count:
            raise InvalidInput("cannot set both Count and DeviceIDs on device request")
        if names:
            gpus += [f"device={name}" for name in names]
        else:
            gpus.append("all" if count < 0 else f"count={count}")
    return tuple(gpus), tuple(cdi)


def _shm(size: int) -> int:
    if size < 0:
        raise InvalidInput("SHM size can not be less than 0")
    return size or DEFAULT_SHM


# -- security and logging


def _system_paths(fields: Fields) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """(MaskedPaths, ReadonlyPaths); None for the usual ones, also when they come back from a client
    that copies what inspect showed."""
    masked = fields.optional_strings("MaskedPaths")
    read_only = fields.optional_strings("ReadonlyPaths")
    for path in (*(masked or ()), *(read_only or ())):
        if not path.startswith("/"):
            raise InvalidInput(f"invalid path in MaskedPaths or ReadonlyPaths: {path!r}")
    if masked is not None and _are_usual(masked):
        masked = None
    if read_only is not None and set(read_only) == set(READ_ONLY_PATHS):
        read_only = None
    return masked, read_only


def _are_usual(masked: tuple[str, ...]) -> bool:
    """docker's list, or ours, which is longer; the processors' are of the host."""
    listed = {path for path in masked if not path.endswith("/thermal_throttle")}
    return set(DOCKER_MASKS) <= listed <= {*DOCKER_MASKS, *MASKED_PATHS}


def _security(fields: Fields) -> tuple[str, ...]:
    """Two empty lists are what docker's client makes of systempaths=unconfined."""
    found = [_security_option(text) for text in fields.strings("SecurityOpt")]
    if _system_paths(fields) == ((), ()):
        found.append("systempaths=unconfined")
    return tuple(dict.fromkeys(found))


def _security_option(text: str) -> str:
    name, separator, value = text.partition("=" if "=" in text else ":")
    if name == "no-new-privileges":
        if value not in ("", "true", "false"):
            raise InvalidInput(f'invalid --security-opt 2: "{text}"')
        return "no-new-privileges=" + (value or "true")
    if not separator:
        raise InvalidInput(f'invalid --security-opt 1: "{text}"')
    if name in ("writable-cgroups", "credentialspec"):
        raise Unsupported(f"security option {name} is not supported yet")
    if name not in ("seccomp", "apparmor", "label", "systempaths", "mask", "unmask", "landlock"):
        raise InvalidInput(f'invalid --security-opt 2: "{text}"')
    if name == "seccomp" and value not in ("unconfined", "builtin"):
        parse_json(value.encode(), what="seccomp profile")
    return f"{name}={value}"


def _logging(config: Fields) -> tuple[str, dict[str, str]]:
    return config.text("Type") or "json-file", config.string_map("Config")
