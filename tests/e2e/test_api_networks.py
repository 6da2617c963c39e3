"""/networks through the socket."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from api_server import ApiServer, Reply

from .conftest import Onggi

pytestmark = pytest.mark.root


def filters(**given: list[str]) -> str:
    return quote(json.dumps(given))


def message(reply: Reply) -> str:
    return str(reply.json()["message"])


@pytest.fixture
def network(api: ApiServer, onggi: Onggi) -> Iterator[str]:
    reply = api.request("POST", "/networks/create", {"Name": "apinet", "Labels": {"team": "a"}})
    assert reply.status == 201 and reply.json()["Warning"] == "", reply.body
    yield reply.json()["Id"]
    onggi.remove_containers()
    onggi("network", "rm", "apinet", code=None)


def names(api: ApiServer, query: str = "") -> list[str]:
    reply = api.request("GET", f"/networks?{query}")
    assert reply.status == 200, reply.body
    return [found["Name"] for found in reply.json()]


def test_create_and_inspect(api: ApiServer, onggi: Onggi, network: str) -> None:
    for reference in ("apinet", network, network[:12]):
        found = api.request("GET", f"/networks/{reference}?verbose=true&scope=local").json()
        assert found["Id"] == network
    assert (found["Driver"], found["Scope"], found["Labels"]) == ("bridge", "local", {"team": "a"})
    assert found["IPAM"]["Config"][0]["Subnet"]
    reply = api.request("POST", "/networks/create", {"Name": "apinet"})
    assert (reply.status, message(reply)) == (409, "network with name apinet already exists")
    reply = api.request("GET", "/networks/ghost")
    assert (reply.status, message(reply)) == (404, "network ghost not found")
    assert api.request("GET", "/networks/apinet?scope=swarm").status == 404
    assert api.request("GET", "/networks/apinet?verbose=maybe").status == 400


def test_all_that_a_network_can_be(api: ApiServer, onggi: Onggi) -> None:
    pool = {
        "Subnet": "10.77.0.0/16",
        "Gateway": "10.77.0.9",
        "IPRange": "10.77.8.0/24",
        "AuxiliaryAddresses": {"router": "10.77.8.1"},
    }
    body = {
        "Name": "apifull",
        "Driver": "bridge",
        "Internal": True,
        "Attachable": True,
        "CheckDuplicate": True,
        "Options": {"com.docker.network.bridge.name": "onggi-api0"},
        "IPAM": {"Driver": "default", "Config": [pool], "Options": None},
    }
    try:
        assert api.request("POST", "/networks/create", body).status == 201
        found = api.request("GET", "/networks/apifull").json()
        assert found["IPAM"]["Config"] == [pool]
        assert found["Internal"] and found["Attachable"]
        assert found["Options"]["com.docker.network.bridge.name"] == "onggi-api0"
    finally:
        assert api.request("DELETE", "/networks/apifull").status == 204


def test_refusals(api: ApiServer) -> None:
    bad: list[tuple[dict[str, Any], int]] = [
        ({}, 400),
        ({"Name": "a b"}, 400),
        ({"Name": 1}, 400),
        ({"Name": "bridge"}, 403),
        ({"Name": "x", "Driver": "nosuch"}, 404),
        ({"Name": "x", "Driver": "overlay"}, 404),
        ({"Name": "x", "Scope": "swarm"}, 501),
        ({"Name": "x", "IPAM": []}, 400),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": "10.0.0.0/33"}]}}, 400),
        ({"Name": "x", "IPAM": {"Config": [{"Subnet": 1}]}}, 400),
        ({"Name": "x", "EnableIPv4": False}, 400),
    ]
    for body, status in bad:
        reply = api.request("POST", "/networks/create", body)
        assert reply.status == status, (body, reply)
    for name in ("bridge", "host", "none"):
        assert api.request("DELETE", f"/networks/{name}").status == 403
    assert api.request("DELETE", "/networks/ghost").status == 404


def test_list(api: ApiServer, network: str) -> None:
    assert {"bridge", "host", "none", "apinet"} <= set(names(api))
    assert names(api, f"filters={filters(label=['team=a'])}") == ["apinet"]
    assert names(api, f"filters={filters(name=['^apin'], driver=['bridge'])}") == ["apinet"]
    assert names(api, f"filters={filters(id=[network[:12]])}") == ["apinet"]
    assert "bridge" not in names(api, f"filters={filters(type=['custom'])}")
    assert "apinet" in names(api, f"filters={filters(dangling=['true'])}")
    assert names(api, f"filters={filters(scope=['swarm'])}") == []
    for query in (filters(nosuch=["1"]), filters(type=["x"]), filters(dangling=["x"])):
        assert api.request("GET", f"/networks?filters={query}").status == 400


def test_connect_and_disconnect(api: ApiServer, onggi: Onggi, network: str, busybox: str) -> None:
    id_ = onggi.out("run", "-d", "--name", "web", busybox, "sleep", "1000")
    asked = {"Container": "web", "EndpointConfig": {"Aliases": ["alias"]}}
    reply = api.request("POST", "/networks/apinet/connect", asked)
    assert (reply.status, reply.body) == (200, b"")
    there = api.request("GET", "/networks/apinet").json()["Containers"]
    assert there[id_]["Name"] == "web" and there[id_]["IPv4Address"]
    (listed,) = api.request("GET", f"/networks?filters={filters(name=['apinet'])}").json()
    assert listed["Containers"] == {}
    (old,) = api.request("GET", f"/v1.27/networks?filters={filters(name=['apinet'])}").json()
    assert id_ in old["Containers"]
    assert "eth1" in onggi.out("exec", "web", "ip", "addr")
    assert api.request("POST", "/networks/apinet/connect", {"Container": "web"}).status == 403
    assert api.request("DELETE", "/networks/apinet").status in (403, 409)
    reply = api.request("POST", "/networks/apinet/disconnect", {"Container": "web", "Force": True})
    assert reply.status == 200
    assert "eth1" not in onggi.out("exec", "web", "ip", "addr")
    for target, body, status in (
        ("/networks/ghost/connect", {"Container": "web"}, 404),
        ("/networks/apinet/connect", {"Container": "ghost"}, 404),
        ("/networks/apinet/connect", {}, 400),
        ("/networks/apinet/connect", {"Container": "web", "EndpointConfig": []}, 400),
        ("/networks/apinet/disconnect", {"Container": "ghost"}, 404),
        ("/networks/host/connect", {"Container": "web"}, 403),
    ):
        assert api.request("POST", target, body).status == status, (target, body)


def test_old_links_say_nothing_on_a_network_of_the_users(
    api: ApiServer, onggi: Onggi, network: str, busybox: str
) -> None:
    """docker-compose 1.29 sends them along with those of the network."""
    onggi("run", "-d", "--name", "other", "--network", "apinet", busybox, "sleep", "1000")
    body = {
        "Image": busybox,
        "Cmd": ["nslookup", "known"],
        "HostConfig": {"NetworkMode": "apinet", "Links": ["/other:/linked/known"]},
        "NetworkingConfig": {"EndpointsConfig": {"apinet": {"Links": ["other:known"]}}},
    }
    assert api.request("POST", "/containers/create?name=linked", body).status == 201
    assert api.request("POST", "/containers/linked/start").status == 204
    assert api.request("POST", "/containers/linked/wait").json()["StatusCode"] == 0


def test_prune(api: ApiServer, network: str) -> None:
    kept = api.request("POST", f"/networks/prune?filters={filters(**{'label!': ['team']})}").json()
    assert "apinet" not in (kept["NetworksDeleted"] or [])
    fresh = filters(until=["24h"])
    assert api.request("POST", f"/networks/prune?filters={fresh}").json() == {
        "NetworksDeleted": None
    }
    assert "apinet" in api.request("POST", "/networks/prune").json()["NetworksDeleted"]
    assert api.request("POST", f"/networks/prune?filters={filters(nosuch=['1'])}").status == 400


def test_the_docker_client(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "cli", busybox, "sleep", "1000")
    try:
        api.docker("network", "create", "--label", "a=b", "--subnet", "10.78.0.0/24", "apicli")
        assert api.out("network", "ls", "-q", "--filter", "label=a=b")
        api.docker("network", "connect", "--alias", "x", "--ip", "10.78.0.7", "apicli", "cli")
        inside = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}"
        assert api.out("network", "inspect", "-f", inside, "apicli") == "cli 10.78.0.7/24"
        api.docker("network", "disconnect", "apicli", "cli")
    finally:
        onggi.remove_containers()
        assert api.out("network", "rm", "apicli") == "apicli"
    assert "not found" in api.docker("network", "rm", "apicli", code=1).stderr
    assert api.docker("network", "prune", "-f").returncode == 0
