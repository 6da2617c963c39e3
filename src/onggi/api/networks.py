"""`/networks`: list, create, inspect, connect, disconnect, remove, prune.

Connecting enters a container's network namespace, which is a worker's work (engine.spawned).
"""

import time

from ..engine import pruning
from ..errors import InvalidInput, NotFound, Unsupported
from ..spec import codec
from ..spec.network import EndpointOptions, NetworkOptions, Pool
from ..typed import Any
from .call import EMPTY, Answer, Call, json_answer
from .decode import Fields
from .route import Route

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def list_networks(call: Call) -> Answer:
    networks = call.engine.networks
    found = [networks.inspect(network.id) for network in networks.list(call.query.filters())]
    if call.version >= (1, 28):  # who is on a network is told by an inspection only
        found = [{**network, "Containers": {}} for network in found]
    return json_answer(found)


def inspect(call: Call) -> Answer:
    verbose, scope = call.query.text("verbose"), call.query.text("scope")
    if verbose and verbose not in _BOOLEANS:
        raise InvalidInput(
            f'invalid value for verbose: {verbose}: strconv.ParseBool: parsing "{verbose}": '
            "invalid syntax"
        )
    if scope not in ("", "local"):
        raise NotFound(f"network {call.params['id']} not found")
    return json_answer(call.engine.networks.inspect(call.params["id"]))


def create(call: Call) -> Answer:
    network = call.engine.networks.create(options(call.json(), call.version))
    return json_answer({"Id": network.id, "Warning": ""}, 201)


def options(fields: Fields, version: tuple[int, int]) -> NetworkOptions:
    """Docker's CreateRequest."""
    if fields.flag("Ingress") or fields.text("Scope") not in ("", "local"):
        raise Unsupported("networks of a swarm are not supported by onggi")
    ipam = fields.object("IPAM")
    ipv4 = fields.optional_flag("EnableIPv4") if version >= (1, 48) else None
    return NetworkOptions(
        name=fields.text("Name"),
        driver=fields.text("Driver") or "bridge",
        pools=tuple(_pool(pool) for pool in ipam.objects("Config")),
        ipv4=True if ipv4 is None else ipv4,
        ipv6=fields.flag("EnableIPv6"),
        internal=fields.flag("Internal"),
        attachable=fields.flag("Attachable"),
        options=fields.string_map("Options"),
        labels=fields.string_map("Labels"),
        ipam_driver=ipam.text("Driver") or "default",
        ipam_options=ipam.string_map("Options"),
        config_only=fields.flag("ConfigOnly"),
        config_from=fields.object("ConfigFrom").text("Network"),
    )


def _pool(fields: Fields) -> Pool:
    return Pool(
        fields.text("Subnet"),
        fields.text("Gateway"),
        fields.text("IPRange"),
        fields.string_map("AuxiliaryAddresses"),
    )


def endpoint(fields: Fields) -> EndpointOptions:
    """Docker's EndpointSettings, as far as they are asked for."""
    ipam = fields.object("IPAMConfig")
    return EndpointOptions(
        aliases=fields.strings("Aliases"),
        links=fields.strings("Links"),
        address=ipam.text("IPv4Address"),
        address6=ipam.text("IPv6Address"),
        link_local=ipam.strings("LinkLocalIPs"),
        mac_address=fields.text("MacAddress"),
        driver_options=fields.string_map("DriverOpts"),
        gateway_priority=fields.integer("GwPriority"),
    )


def connect(call: Call) -> Answer:
    fields = call.json()
    asked = endpoint(fields.object("EndpointConfig")) if fields.has("EndpointConfig") else None
    _worker(call, "connect_network", fields, options=codec.encode(asked) if asked else None)
    return Answer(200)


def disconnect(call: Call) -> Answer:
    fields = call.json()
    _worker(call, "disconnect_network", fields, force=fields.flag("Force"))
    return Answer(200)


def _worker(call: Call, operation: str, fields: Fields, **more: Any) -> None:
    spawner = call.engine.spawner
    assert spawner is not None  # a server has one
    container = fields.text("Container")
    if not container:
        raise InvalidInput("invalid container name or ID: value is empty")
    arguments = {"network": call.params["id"], "container": container, **more}
    spawner.call(f"engine.spawned:{operation}", arguments)


def remove(call: Call) -> Answer:
    call.engine.networks.remove(call.params["id"])
    return EMPTY


def prune(call: Call) -> Answer:
    chosen = pruning.parse(call.query.filters(), time.time_ns())
    removed = call.engine.networks.prune(chosen)
    return json_answer({"NetworksDeleted": list(removed) or None})


ROUTES = (
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune, since=(1, 25)),
    Route("GET", "/networks/{id}", inspect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
)
