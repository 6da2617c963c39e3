"""What a pod is made of, as decisions: which namespaces its containers share, what a container in
it may still ask for, and what state the whole of it is in. Pure."""

from collections.abc import Callable, Iterable, Sequence

from ..errors import InvalidInput, NotFound
from ..spec.container import Container, ContainerOptions, HostOptions
from ..spec.network import EndpointOptions
from . import endpoints

PREFIX = "pod:"  # of the name of the row; no container can be called so
SHAREABLE = ("ipc", "net", "pid", "uts")
DEFAULT_SHARE = ("ipc", "net", "uts")
COMMAND = "/pause"
NOBODY = 65535


def shared(texts: Sequence[str]) -> tuple[str, ...]:
    """`--share ipc,net`, `none`, or `+pid` for what the default has and more, as podman. Raises
    InvalidInput."""
    words = [word for text in texts for word in text.split(",") if word]
    if not words:
        return DEFAULT_SHARE
    more = words[0].startswith("+")
    names = [word.removeprefix("+") for word in words]
    for name in names:
        if name not in (*SHAREABLE, "none"):
            raise InvalidInput(
                f"invalid kernel namespace {name!r} to share: must be one of ipc, net, pid, uts or "
                "none"
            )
    if "none" in names and len(names) > 1:
        raise InvalidInput("--share none cannot be combined with other namespaces")
    chosen = {*names, *(DEFAULT_SHARE if more else ())} - {"none"}
    return tuple(sorted(chosen))


def infra(
    name: str,
    hostname: str,
    labels: dict[str, str],
    share: tuple[str, ...],
    host: HostOptions,
) -> ContainerOptions:
    """The options of the pod itself: a container that only holds namespaces. It gets no right that
    it does not need."""
    host = host._replace(
        endpoints=_named(host, name),
        ipc_mode="shareable",
        cap_drop=("ALL",),
        cap_add=(),
        security_opt=(*host.security_opt, "no-new-privileges=true"),
        log_driver="none",
        log_options={},
        mounts=(),
        restart_policy="no",
    )
    return ContainerOptions(
        image="",
        command=(COMMAND,),
        name=PREFIX + name,
        hostname=hostname or ("" if host.network_mode == "host" else name),
        labels=labels,
        user=f"{NOBODY}:{NOBODY}",
        stop_signal="SIGKILL",  # what sleeps as process 1 hears no other
        host=host,
        purpose="pod",
        share=share,
    )


def _named(host: HostOptions, name: str) -> dict[str, EndpointOptions] | None:
    """Containers on the same networks find the pod by its name, whatever its hostname is."""
    if host.endpoints is None:
        return None
    return {
        network: asked._replace(aliases=tuple(dict.fromkeys((*asked.aliases, name))))
        if endpoints.is_user_defined(network)
        else asked
        for network, asked in host.endpoints.items()
    }


def name_of(pod: Container) -> str:
    return pod.name.removeprefix(PREFIX)


def find(look_up: Callable[[str], Container], reference: str) -> Container:
    """A pod by name, id or the start of one. Raises NotFound."""
    try:
        try:
            pod = look_up(PREFIX + reference)
        except NotFound:
            pod = look_up(reference)
    except NotFound as error:
        raise NotFound(f"no pod with name or ID {reference} found: no such pod") from error
    if pod.config.options.purpose != "pod":
        raise NotFound(f"no pod with name or ID {reference} found: no such pod")
    return pod


def member(options: ContainerOptions, pod: Container) -> ContainerOptions:
    """A container's options inside the pod. Raises InvalidInput for what the pod has decided."""
    host, share = options.host, pod.config.options.share
    joined = f"container:{pod.id}"
    changes: dict[str, str] = {"pod": pod.id}
    if "net" in share:
        _refuse_network(host)
        changes["network_mode"] = joined
    for kind, mode in (("ipc", host.ipc_mode), ("pid", host.pid_mode), ("uts", host.uts_mode)):
        if kind in share:
            if mode:
                raise InvalidInput(f"conflicting options: --{kind} and the {kind} of the pod")
            changes[f"{kind}_mode"] = joined
    if "uts" in share and options.hostname:
        raise InvalidInput("conflicting options: hostname and the UTS namespace of the pod")
    if not host.cgroup_parent:
        changes["cgroup_parent"] = pod.config.options.host.cgroup_parent
    return options._replace(host=host._replace(**changes))  # type: ignore[arg-type]


def _refuse_network(host: HostOptions) -> None:
    if host.ports or host.publish_all:
        raise InvalidInput(
            "cannot publish ports of a container in a pod: its network is the pod's",
            hint="onggi pod create -p HOST:CONTAINER …",
        )
    asked = (host.endpoints or {}).values()
    if host.network_mode != "bridge" or any(options != EndpointOptions() for options in asked):
        raise InvalidInput(
            "conflicting options: --network and the network of the pod",
            hint="onggi pod create --network NETWORK …",
        )


def state_of(infra_status: str, statuses: Iterable[str]) -> str:
    """Podman's word for the whole."""
    members = list(statuses)
    everything = [infra_status, *members]
    if all(status == "running" for status in everything):
        return "Running"
    if members and all(status == "paused" for status in members):
        return "Paused"
    if any(status in ("running", "paused", "restarting") for status in everything):
        return "Degraded"
    return "Created" if all(status == "created" for status in everything) else "Exited"
