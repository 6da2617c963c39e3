"""Containers: create, list, inspect, and the verbs. Streams: see attach; files: containerfiles."""

import os
import time

from ..engine import listing, pruning
from ..engine.containers import Containers
from ..engine.restart import Policy
from ..errors import Conflict, InvalidInput, NotFound, NotModified
from ..spec.network import Network
from ..typed import Any
from . import containerconfig, exits, hostconfig, warnings
from .call import EMPTY, Answer, Call, json_answer
from .decode import Fields
from .route import Route

SOCKET_INSIDE = (
    "The socket of the API is mounted at {path}: whoever is in the container is root on the host"
)


def create(call: Call) -> Answer:
    body = call.json()
    options = containerconfig.container_options(
        body, name=call.query.text("name"), platform=call.query.text("platform")
    )
    host = options.host
    with warnings.collected() as found:
        for mount in host.mounts:
            if mount.kind == "bind" and os.path.realpath(mount.source) in call.shared.sockets:
                warnings.note(SOCKET_INSIDE.format(path=mount.target))
        if host.network_mode == "host" and (host.ports or host.publish_all):
            warnings.note("Published ports are discarded when using host network mode")
        try:
            container = call.engine.containers.create(options, pull="never")
        except NotFound as error:
            if options.image in error.message:
                raise
            raise InvalidInput(error.message, hint=error.hint) from error  # a 404 is the image's
    return json_answer({"Id": container.id, "Warnings": list(dict.fromkeys(found))}, 201)


def list_containers(call: Call) -> Answer:
    query = call.query
    containers = call.engine.containers
    limit = max(query.integer("limit"), 0)
    found = containers.list(all=query.flag("all"), filters=query.filters(), limit=limit)
    networks = _networks(call)
    answer = []
    for container in found:
        sizes = _sizes(containers, container.id) if query.flag("size") else None
        endpoints = containers.endpoints(container)
        answer.append(listing.summary(container, endpoints, networks, sizes))
    return json_answer(answer)


def _sizes(containers: Containers, container_id: str) -> tuple[int, int]:
    """Nothing for one that has been removed since it was listed."""
    try:
        return containers.size(container_id)
    except (NotFound, FileNotFoundError):
        return 0, 0


def _networks(call: Call) -> dict[str, Network]:
    return {network.id: network for network in call.engine.networks.list()}


def inspect(call: Call) -> Answer:
    container = call.engine.containers.get(call.params["id"])
    found = call.engine.containers.inspect(container.id, size=call.query.flag("size"))
    found["ExecIDs"] = call.shared.execs_of(container.id) or None
    return json_answer(of_version(found, call.version))


def of_version(found: dict[str, Any], version: tuple[int, int]) -> dict[str, Any]:
    """As clients of an older API know it."""
    networks = found["NetworkSettings"]["Networks"] or {}
    if version < (1, 44):
        found["Config"]["MacAddress"] = found["NetworkSettings"]["MacAddress"]
        for endpoint in networks.values():
            endpoint.pop("DNSNames", None)
    if version < (1, 48):
        for endpoint in networks.values():
            endpoint.pop("GwPriority", None)
    if version < (1, 42):
        found["HostConfig"]["KernelMemory"] = 0
    return found


def start(call: Call) -> Answer:
    """The first client that attached before gets everything from the first byte on."""
    if call.exchange.has_body and call.exchange.body(1 << 16).strip() not in (b"", b"{}", b"null"):
        raise InvalidInput(
            "starting container with non-empty request body was deprecated since API v1.22 and "
            "removed in v1.24"
        )
    containers = call.engine.containers
    container = containers.get(call.params["id"])
    waiting = call.shared.take(container.id)
    try:
        if waiting:
            containers.start_for(container.id, waiting[0].theirs)
        else:
            containers.start(container.id)
    except NotModified:
        for one in waiting:
            one.superseded = True
        raise
    finally:
        for one in waiting:
            one.theirs.close()
    return EMPTY


def stop(call: Call) -> Answer:
    call.engine.containers.stop(
        call.params["id"], timeout_s=_timeout(call), signal=call.query.text("signal")
    )
    return EMPTY


def restart(call: Call) -> Answer:
    call.engine.containers.restart(
        call.params["id"], timeout_s=_timeout(call), signal=call.query.text("signal")
    )
    return EMPTY


def _timeout(call: Call) -> int | None:
    """Seconds, -1 for ever; None is the container's own."""
    return max(call.query.integer("t"), -1) if call.query.text("t") else None


def kill(call: Call) -> Answer:
    reference = call.params["id"]
    try:
        call.engine.containers.kill(reference, call.query.text("signal") or "KILL")
    except NotFound as error:
        error.message = f"cannot kill container: {reference}: {error.message}"
        raise
    return EMPTY


def pause(call: Call) -> Answer:
    call.engine.containers.pause(call.params["id"])
    return EMPTY


def unpause(call: Call) -> Answer:
    call.engine.containers.unpause(call.params["id"])
    return EMPTY


def rename(call: Call) -> Answer:
    name = call.query.text("name")
    if not name:
        raise InvalidInput("Neither old nor new names may be empty")
    call.engine.containers.rename(call.params["id"], name)
    return EMPTY


def wait(call: Call) -> None:
    """The head of the answer goes out at once: from then on no end is missed."""
    container = call.engine.containers.get(call.params["id"])
    condition = exits.condition_of(call.query.text("condition"))
    waiting = exits.Exit(call.engine, container, condition)
    with call.stream("application/json") as out:
        code = waiting.wait(out.fileno())
        if code is not None:
            out.json({"StatusCode": code})


def remove(call: Call) -> Answer:
    query = call.query
    if query.flag("link"):
        raise Conflict("Conflict, cannot remove the default link name of the container")
    call.engine.containers.remove(
        call.params["id"], force=query.flag("force"), volumes=query.flag("v")
    )
    return EMPTY


def top(call: Call) -> Answer:
    arguments = call.query.text("ps_args").split()
    titles, rows = call.engine.containers.top(call.params["id"], arguments)
    return json_answer({"Titles": titles, "Processes": rows})


def update(call: Call) -> Answer:
    body = call.json()
    policy = _policy(body.object("RestartPolicy"))
    found = call.engine.containers.update(call.params["id"], hostconfig.resources(body), policy)
    return json_answer({"Warnings": list(found)})


def _policy(fields: Fields) -> Policy | None:
    name = fields.text("Name")
    return Policy(name, fields.integer("MaximumRetryCount")) if name else None


def prune(call: Call) -> Answer:
    chosen = pruning.parse(call.query.filters(), time.time_ns())
    containers = call.engine.containers
    listed = containers.list(all=True)
    before = {c.id: _sizes(containers, c.id)[0] for c in listed if not c.state.pid}
    removed = containers.prune(chosen)
    reclaimed = sum(before.get(container_id, 0) for container_id in removed)
    return json_answer({"ContainersDeleted": list(removed) or None, "SpaceReclaimed": reclaimed})


def commit(call: Call) -> Answer:
    query = call.query
    reference = query.text("container")
    if not reference:
        raise InvalidInput("container name cannot be empty")
    container = call.engine.containers.get(reference)
    target, tag = query.text("repo"), query.text("tag")
    assert call.engine.spawner is not None
    image_id = call.engine.spawner.call(
        "engine.spawned:commit",
        {
            "id": container.id,
            "target": f"{target}:{tag}" if target and tag else target,
            "author": query.text("author"),
            "message": query.text("comment"),
            "changes": [
                *containerconfig.as_changes(call.json(optional=True)),
                *(line for text in query.many("changes") for line in text.splitlines()),
            ],
            "pause": query.flag("pause", default=True),
        },
    )
    return json_answer({"Id": str(image_id)}, 201)


ROUTES = (
    Route("GET", "/containers/json", list_containers),
    Route("POST", "/containers/create", create),
    Route("POST", "/containers/prune", prune, since=(1, 25)),
    Route("GET", "/containers/{id}/json", inspect),
    Route("GET", "/containers/{id}/top", top),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/update", update),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/wait", wait),
    Route("DELETE", "/containers/{id}", remove),
    Route("POST", "/commit", commit),
)
