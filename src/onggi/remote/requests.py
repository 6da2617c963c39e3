"""What is asked of an engine, as docker's JSON. Pure."""

from ..engine import inspection
from ..engine.execs import ExecOptions
from ..errors import Unsupported
from ..spec.container import ContainerOptions, HostOptions, Resources
from ..spec.image import health_document
from ..spec.network import EndpointOptions, NetworkOptions
from ..typed import Any


def create(options: ContainerOptions) -> dict[str, Any]:
    """The body of POST /containers/create."""
    body: dict[str, Any] = {
        "Hostname": options.hostname,
        "Domainname": options.domainname,
        "User": options.user,
        "AttachStdin": options.open_stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": options.tty,
        "OpenStdin": options.open_stdin,
        "StdinOnce": options.stdin_once,
        "Env": list(options.env),
        "Image": options.image,
        "Labels": options.labels,
        "WorkingDir": options.working_dir,
        "ExposedPorts": _exposed(options),
        "Volumes": _anonymous(options) or None,
        "HostConfig": _host(options),
        "NetworkingConfig": {"EndpointsConfig": _endpoints(options)},
    }
    if options.command is not None:
        body["Cmd"] = list(options.command)
    if options.entrypoint is not None:
        body["Entrypoint"] = list(options.entrypoint) or [""]
    if options.health is not None:
        body["Healthcheck"] = health_document(options.health)
    if options.stop_signal:
        body["StopSignal"] = options.stop_signal
    if options.stop_timeout_s is not None:
        body["StopTimeout"] = options.stop_timeout_s
    return body


def _host(options: ContainerOptions) -> dict[str, Any]:
    """HostConfig, without what only an engine knows."""
    host = options.host
    if host.security:
        raise Unsupported("--security is for the engine of this machine: set it there")
    if host.pod:
        raise Unsupported("--pod is for the engine of this machine: docker's API has no pods")
    if any(request.change_owner for request in host.mounts):
        raise Unsupported("the mount option U is for the engine of this machine")
    shown = inspection.host_config(host)
    for name in ("MaskedPaths", "ReadonlyPaths", "ContainerIDFile"):
        del shown[name]
    if "systempaths=unconfined" in host.security_opt:
        shown["MaskedPaths"], shown["ReadonlyPaths"] = [], []
        shown["SecurityOpt"] = [o for o in shown["SecurityOpt"] if o != "systempaths=unconfined"]
    return {
        **shown,
        "Runtime": host.runtime,
        "IpcMode": host.ipc_mode,
        "CgroupnsMode": host.cgroupns_mode,
        "MemorySwap": host.resources.memory_swap_bytes,
        "Links": list(host.links) or None,
        "StorageOpt": host.storage_options or None,
        "Annotations": host.annotations or None,
    }


def _exposed(options: ContainerOptions) -> dict[str, Any]:
    published: dict[str, Any] = {f"{p.container_port}/{p.protocol}": {} for p in options.host.ports}
    return {**{port: {} for port in options.exposed_ports}, **published}


def _anonymous(options: ContainerOptions) -> dict[str, Any]:
    return {
        m.target: {}
        for m in options.host.mounts
        if m.kind == "volume" and not m.source and not m.origin
    }


def _endpoints(options: ContainerOptions) -> dict[str, Any]:
    return {name: endpoint(asked) for name, asked in (options.host.endpoints or {}).items()}


def endpoint(asked: EndpointOptions) -> dict[str, Any]:
    """EndpointSettings."""
    ipam = {
        "IPv4Address": asked.address,
        "IPv6Address": asked.address6,
        "LinkLocalIPs": list(asked.link_local) or None,
    }
    return {
        "IPAMConfig": ipam if any(ipam.values()) else None,
        "Links": list(asked.links) or None,
        "Aliases": list(asked.aliases) or None,
        "MacAddress": asked.mac_address,
        "DriverOpts": asked.driver_options or None,
        "GwPriority": asked.gateway_priority,
    }


def network(options: NetworkOptions) -> dict[str, Any]:
    """The body of POST /networks/create."""
    pools = [
        {
            "Subnet": pool.subnet,
            "Gateway": pool.gateway,
            "IPRange": pool.part,
            "AuxiliaryAddresses": pool.reserved or None,
        }
        for pool in options.pools
    ]
    return {
        "Name": options.name,
        "CheckDuplicate": True,
        "Driver": options.driver,
        "EnableIPv4": options.ipv4,
        "EnableIPv6": options.ipv6,
        "Internal": options.internal,
        "Attachable": options.attachable,
        "Options": options.options,
        "Labels": options.labels,
        "IPAM": {
            "Driver": options.ipam_driver,
            "Options": options.ipam_options,
            "Config": pools,
        },
        "ConfigOnly": options.config_only,
        "ConfigFrom": {"Network": options.config_from} if options.config_from else None,
    }


def execution(options: ExecOptions) -> dict[str, Any]:
    """The body of POST /containers/ID/exec."""
    return {
        "AttachStdin": options.stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": options.tty,
        "Cmd": list(options.args),
        "Env": list(options.env) or None,
        "WorkingDir": options.working_dir,
        "User": options.user,
        "Privileged": options.privileged,
    }


def resources(change: Resources) -> dict[str, Any]:
    """The changed ones of POST /containers/ID/update."""
    nothing = inspection.host_config(HostOptions())
    asked = inspection.host_config(HostOptions(resources=change))
    asked["MemorySwap"] = change.memory_swap_bytes  # not what an engine makes of none
    return {name: value for name, value in asked.items() if value != nothing[name]}
