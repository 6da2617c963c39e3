"""What onggi has no part of: swarm and its kin answer as a docker that is in no swarm, plugins as
something that is not there."""

from ..errors import Unavailable, Unsupported
from .call import Answer, Call, json_answer
from .route import Route

NOT_A_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect '
    "this node to swarm and try again."
)


def no_manager(call: Call) -> Answer:
    raise Unavailable(NOT_A_MANAGER)


def no_swarm(call: Call) -> Answer:
    raise Unsupported("swarm mode is not supported by onggi")


def no_plugins(call: Call) -> Answer:
    raise Unsupported("plugins are not supported by onggi")


def list_plugins(call: Call) -> Answer:
    """None are installed, which is no error to ask for."""
    return json_answer([])


def _kin(noun: str, listing: str = "") -> tuple[Route, ...]:
    one = f"/{noun}/{{id}}"
    return (
        Route("GET", listing or f"/{noun}", no_manager),
        Route("GET", one, no_manager),
        Route("DELETE", one, no_manager),
        Route("POST", f"{one}/update", no_manager),
    )


ROUTES = (
    Route("GET", "/swarm", no_manager),
    Route("POST", "/swarm/init", no_swarm),
    Route("POST", "/swarm/join", no_swarm),
    Route("POST", "/swarm/leave", no_manager),
    Route("POST", "/swarm/update", no_manager),
    Route("POST", "/swarm/unlock", no_manager),
    Route("GET", "/swarm/unlockkey", no_manager),
    *_kin("nodes"),
    *_kin("services"),
    Route("POST", "/services/create", no_manager),
    Route("GET", "/services/{id}/logs", no_manager),
    Route("GET", "/tasks", no_manager),
    Route("GET", "/tasks/{id}", no_manager),
    Route("GET", "/tasks/{id}/logs", no_manager),
    *_kin("secrets"),
    Route("POST", "/secrets/create", no_manager, since=(1, 25)),
    *_kin("configs"),
    Route("POST", "/configs/create", no_manager, since=(1, 30)),
    Route("GET", "/plugins", list_plugins, since=(1, 25)),
    Route("GET", "/plugins/privileges", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/pull", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/create", no_plugins, since=(1, 25)),
    Route("GET", "/plugins/{name*}/json", no_plugins, since=(1, 25)),
    Route("DELETE", "/plugins/{name*}", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/{name*}/enable", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/{name*}/disable", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/{name*}/upgrade", no_plugins, since=(1, 26)),
    Route("POST", "/plugins/{name*}/push", no_plugins, since=(1, 25)),
    Route("POST", "/plugins/{name*}/set", no_plugins, since=(1, 25)),
)
