"""A pod as JSON, in the words of `podman pod inspect`. Pure."""

from collections.abc import Sequence

from ..spec.container import Container
from ..typed import Any
from . import podplan
from .inspection import rfc3339


def inspect(infra: Container, members: Sequence[Container], state: str) -> dict[str, Any]:
    options, host = infra.config.options, infra.config.options.host
    ports: dict[str, list[dict[str, str]]] = {}
    for port in host.ports:
        ports.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": str(port.host_port or "")}
        )
    return {
        "Id": infra.id,
        "Name": podplan.name_of(infra),
        "Created": rfc3339(infra.created_ns),
        "State": state,
        "Hostname": infra.config.hostname,
        "Labels": dict(sorted(options.labels.items())),
        "CgroupParent": host.cgroup_parent,
        "CreateInfra": True,
        "InfraContainerID": infra.id,
        "InfraPid": infra.state.pid,
        "InfraConfig": {
            "PortBindings": ports,
            "HostNetwork": host.network_mode == "host",
            "NetworkMode": host.network_mode,
            "DNSServer": list(host.dns),
            "DNSSearch": list(host.dns_search),
            "DNSOption": list(host.dns_options),
            "HostAdd": list(host.extra_hosts),
        },
        "SharedNamespaces": list(options.share),
        "NumContainers": len(members),
        "Containers": [
            {"Id": member.id, "Name": member.name, "State": member.state.status}
            for member in members
        ],
    }
