"""`pod`: podman's words, since docker has none. docs/pods.md."""

import time

from ...engine import podplan
from ...engine.filters import has_label
from ...engine.pods import Pod, PodOptions
from ...errors import InvalidInput, NotFound
from ...typed import Any
from ...units import format_elapsed, format_local
from .. import environment, limits
from ..command import Command
from ..flags import Flag, Values, flag_table
from ..options import CHECKS, CREATE_FLAGS, host_options
from ..session import Session, each
from ..table import filters_of, print_rows
from . import inspect
from .prune import FORCE, confirmed
from .ps import FORMAT_HELP, ports_text
from .run import check_files, write_id

COLUMNS = ("ID", "Name", "Status", "Created", "Ports", "NumberOfContainers")
HEADERS = {
    "ID": "POD ID", "Name": "NAME", "Status": "STATUS", "Created": "CREATED", "Ports": "PORTS",
    "NumberOfContainers": "# OF CONTAINERS", "ContainerNames": "NAMES", "Labels": "LABELS",
    "Networks": "NETWORKS", "Share": "SHARED", "CreatedAt": "CREATED AT",
}  # fmt: skip
_OF_CREATE = (
    "add-host", "annotation", "cgroup-parent", "dns", "dns-option", "dns-search", "hostname", "ip",
    "ip6", "label", "label-file", "mac-address", "name", "net", "net-alias", "network",
    "network-alias", "publish", "security", "shm-size", "sysctl",
)  # fmt: skip


def create(session: Session, values: Values, arguments: list[str]) -> int:
    everything = Values({**CREATE_FLAGS, **CREATE.flags}, values.all_given())
    check_files(everything)
    options = PodOptions(
        name=(arguments[0] if arguments else values.text("name")).removeprefix("/"),
        hostname=limits.checked_hostname(values.text("hostname"), "hostname"),
        labels=environment.labels(values.many("label-file"), values.many("label")),
        share=podplan.shared(values.many("share")),
        host=host_options(everything),
    )
    if arguments and values.text("name") not in ("", options.name):
        raise InvalidInput("cannot specify --name with a name as argument")
    pod = session.engine.pods.create(options)
    if values.text("pod-id-file"):
        write_id(values.text("pod-id-file"), pod.id)
    session.out.line(pod.id)
    return 0


def ps(session: Session, values: Values, arguments: list[str]) -> int:
    pods = select(list(session.engine.pods.list()), filters_of(values.many("filter")))
    trunc = not values.on("no-trunc")
    if values.on("quiet") and not values.text("format"):
        for pod in pods:
            session.out.line(pod.id[:12] if trunc else pod.id)
        return 0
    now = time.time()
    rows = [row(session, pod, now, trunc=trunc) for pod in pods]
    print_rows(session, rows, columns=COLUMNS, headers=HEADERS, template=values.text("format"))
    return 0


def row(session: Session, pod: Pod, now: float, *, trunc: bool) -> dict[str, Any]:
    options = pod.infra.config.options
    runs = pod.infra.state.status == "running"
    labels = options.labels
    return {
        "ID": pod.id[:12] if trunc else pod.id,
        "Name": pod.name,
        "Status": pod.state,
        "Created": format_elapsed(now - pod.infra.created_ns / 1e9) + " ago",
        "CreatedAt": format_local(pod.infra.created_ns),
        "Ports": ports_text(session.engine.containers.ports(pod.infra) if runs else (), ()),
        "NumberOfContainers": str(len(pod.members)),
        "ContainerNames": ",".join(member.name for member in pod.members),
        "Networks": options.host.network_mode,
        "Share": ",".join(options.share),
        "Labels": ",".join(f"{name}={value}" for name, value in sorted(labels.items())),
        "Label": lambda name: labels.get(name, ""),
    }


def select(pods: list[Pod], filters: dict[str, list[str]]) -> list[Pod]:
    for name, texts in filters.items():
        match name:
            case "name":
                pods = [p for p in pods if any(text in p.name for text in texts)]
            case "id":
                pods = [p for p in pods if any(p.id.startswith(text) for text in texts)]
            case "status":
                wanted = {text.lower() for text in texts}
                pods = [p for p in pods if p.state.lower() in wanted]
            case "label":
                labels = [p.infra.config.options.labels for p in pods]
                pods = [
                    pod
                    for pod, own in zip(pods, labels, strict=True)
                    if all(has_label(own, text) for text in texts)
                ]
            case _:
                raise InvalidInput(f"invalid filter '{name}'")
    return pods


def look(session: Session, values: Values, arguments: list[str]) -> int:
    return inspect.show(
        session, values.text("format"), arguments, lambda name: session.engine.pods.inspect(name)
    )


def exists(session: Session, values: Values, arguments: list[str]) -> int:
    try:
        session.engine.pods.get(arguments[0])
    except NotFound:
        return 1
    return 0


def start(session: Session, values: Values, arguments: list[str]) -> int:
    return _each(session, values, arguments, lambda name: session.engine.pods.start(name))


def stop(session: Session, values: Values, arguments: list[str]) -> int:
    wait = values.number("time") if values.given("time") else None
    return _each(
        session, values, arguments, lambda name: session.engine.pods.stop(name, timeout_s=wait)
    )


def restart(session: Session, values: Values, arguments: list[str]) -> int:
    return _each(session, values, arguments, lambda name: session.engine.pods.restart(name))


def kill(session: Session, values: Values, arguments: list[str]) -> int:
    signal = values.text("signal")
    return _each(session, values, arguments, lambda name: session.engine.pods.kill(name, signal))


def pause(session: Session, values: Values, arguments: list[str]) -> int:
    return _each(session, values, arguments, lambda name: session.engine.pods.pause(name))


def unpause(session: Session, values: Values, arguments: list[str]) -> int:
    return _each(session, values, arguments, lambda name: session.engine.pods.unpause(name))


def rm(session: Session, values: Values, arguments: list[str]) -> int:
    force, volumes = values.on("force"), values.on("volumes")

    def remove(name: str) -> Pod | None:
        try:
            return session.engine.pods.remove(name, force=force, volumes=volumes)
        except NotFound:
            if not values.on("ignore"):
                raise
            return None

    return _each(session, values, arguments, remove)


def _each(session: Session, values: Values, arguments: list[str], work: Any) -> int:
    """For the named pods, or --all; each is told by its id."""
    if values.on("all"):
        if arguments:
            raise InvalidInput("--all and pods by name cannot be used together")
        arguments = [pod.id for pod in session.engine.pods.list()]
    elif not arguments:
        raise InvalidInput("requires at least 1 pod, or --all")

    def one(name: str) -> str | None:
        pod: Pod | None = work(name)
        return pod.id if pod is not None else None

    return each(session, arguments, one)


def prune(session: Session, values: Values, arguments: list[str]) -> int:
    if confirmed(session, values, "This will remove all pods of which nothing runs."):
        for identity in session.engine.pods.prune():
            session.out.line(identity)
    return 0


ALL = "  -a, --all           All pods\n"


def _on_pods(summary: str, run: Any, more: str = "") -> Command:
    return Command(
        usage="[OPTIONS] POD [POD...]",
        summary=summary,
        run=run,
        flags=flag_table(ALL + more),
        most=-1,
    )


def _create_flags() -> dict[str, Flag]:
    own = flag_table(
        """
      --pod-id-file string         Write the pod ID to the file
      --share list                 Namespaces that the containers share: ipc, net, pid, uts, none;
                                   "+pid" for these and more (default ipc,net,uts)
"""
    )
    return {**own, **{name: CREATE_FLAGS[name] for name in _OF_CREATE if name in CREATE_FLAGS}}


CREATE = Command(
    usage="[OPTIONS] [NAME]",
    summary="Create a pod",
    run=create,
    flags=_create_flags(),
    most=1,
    checks=CHECKS,
)
PS = Command(
    usage="[OPTIONS]",
    summary="List pods",
    run=ps,
    flags=flag_table(
        """
  -f, --filter filter   Filter output: name, id, status, label
      --no-trunc        Do not truncate the output
  -q, --quiet           Only display pod IDs
"""
        + FORMAT_HELP
    ),
    aliases=("pod ps", "pod ls", "pod list"),
)
INSPECT = Command(
    usage="[OPTIONS] POD [POD...]",
    summary="Display detailed information on one or more pods",
    run=look,
    flags=flag_table(inspect.FORMAT),
    least=1,
    most=-1,
)
EXISTS = Command(usage="POD", summary="Exit with 0 if the pod exists", run=exists, least=1, most=1)
START = _on_pods("Start one or more pods with their containers", start)
STOP = _on_pods(
    "Stop one or more pods with their containers",
    stop,
    "  -t, --time int      Seconds to wait before killing the containers\n",
)
RESTART = _on_pods("Restart one or more pods", restart)
KILL = _on_pods(
    "Send a signal to the containers of one or more pods",
    kill,
    '  -s, --signal string   Signal to send (default "KILL")\n',
)
PAUSE = _on_pods("Pause the containers of one or more pods", pause)
UNPAUSE = _on_pods("Unpause the containers of one or more pods", unpause)
RM = _on_pods(
    "Remove one or more pods with their containers",
    rm,
    "  -f, --force         Stop what runs\n"
    "  -i, --ignore        A pod that does not exist is no error\n"
    "  -v, --volumes       Remove the containers' anonymous volumes too\n",
)
PRUNE = Command(
    usage="[OPTIONS]",
    summary="Remove pods of which nothing runs",
    run=prune,
    flags=flag_table(FORCE),
)
