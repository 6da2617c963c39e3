"""/volumes and /system/df through the socket."""

import json
from collections.abc import Iterator
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
def volume(api: ApiServer, onggi: Onggi) -> Iterator[str]:
    reply = api.request("POST", "/volumes/create", {"Name": "apivol", "Labels": {"team": "a"}})
    assert reply.status == 201, reply.body
    yield "apivol"
    onggi("volume", "rm", "-f", "apivol")


def names(api: ApiServer, query: str = "") -> list[str]:
    reply = api.request("GET", f"/volumes?{query}")
    assert reply.status == 200, reply.body
    return [volume["Name"] for volume in reply.json()["Volumes"]]


def test_create_and_inspect(api: ApiServer, onggi: Onggi, volume: str) -> None:
    found = api.request("GET", "/volumes/apivol").json()
    assert found["Mountpoint"] == onggi.out("volume", "inspect", "-f", "{{.Mountpoint}}", volume)
    assert {**found, "CreatedAt": "", "Mountpoint": ""} == {
        "CreatedAt": "", "Driver": "local", "Labels": {"team": "a"}, "Mountpoint": "",
        "Name": "apivol", "Options": None, "Scope": "local",
    }  # fmt: skip
    again = api.request("POST", "/volumes/create", {"Name": "apivol", "Labels": {"other": "b"}})
    assert (again.status, again.json()) == (201, found)
    reply = api.request("GET", "/volumes/ghost")
    assert (reply.status, message(reply)) == (404, "get ghost: no such volume")


def test_a_nameless_volume(api: ApiServer, onggi: Onggi) -> None:
    made = api.request("POST", "/volumes/create", {}).json()
    assert len(made["Name"]) == 64
    assert made["Labels"] == {"com.docker.volume.anonymous": ""}
    assert api.request("DELETE", f"/volumes/{made['Name']}").status == 204


def test_options(api: ApiServer, onggi: Onggi) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    made = api.request("POST", "/volumes/create", {"Name": "apitmp", "DriverOpts": options})
    assert made.json()["Options"] == options
    assert api.request("DELETE", "/volumes/apitmp").status == 204


def test_refusals(api: ApiServer) -> None:
    for body, status in (
        ({"Name": "x/y"}, 400),
        ({"Name": 1}, 400),
        ({"Labels": {"a": 1}}, 400),
        ({"Labels": []}, 400),
        ({"Name": "x", "Driver": "nosuch"}, 404),
        ({"Name": "x", "DriverOpts": {"nosuch": "1"}}, 400),
        ({"ClusterVolumeSpec": {}}, 503),
    ):
        assert api.request("POST", "/volumes/create", body).status == status, body
    assert api.request("POST", "/volumes/create", b"{}", Content_Type="text/plain").status == 400
    assert api.request("PUT", "/volumes/x?version=1", {}).status == 503
    assert api.request("DELETE", "/volumes/ghost").status == 404
    assert api.request("DELETE", "/volumes/ghost?force=1").status == 204


def test_list(api: ApiServer, onggi: Onggi, volume: str, busybox: str) -> None:
    assert volume in names(api)
    assert names(api, f"filters={filters(label=['team=a'])}") == [volume]
    assert names(api, f"filters={filters(name=['^apiv'], driver=['local'])}") == [volume]
    assert names(api, f"filters={filters(driver=['nosuch'])}") == []
    onggi("create", "--name", "holder", "-v", f"{volume}:/v", busybox)
    assert volume not in names(api, f"filters={filters(dangling=['true'])}")
    assert volume in names(api, f"filters={filters(dangling=['0'])}")
    reply = api.request("DELETE", f"/volumes/{volume}")
    assert reply.status == 409 and "volume is in use - [" in message(reply)
    onggi("rm", "holder")
    reply = api.request("GET", f"/volumes?filters={filters(nosuch=['1'])}")
    assert (reply.status, message(reply)) == (400, "invalid filter 'nosuch'")


def test_prune_of_each_version(api: ApiServer, onggi: Onggi, volume: str) -> None:
    """Up to 1.41 also volumes with a name."""
    onggi("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", "echo some data > /v/f")
    nameless = api.request("POST", "/volumes/create", {}).json()["Name"]
    labelled = filters(**{"label!": ["team"]})
    kept = api.request("POST", f"/v1.41/volumes/prune?filters={labelled}").json()
    assert nameless in kept["VolumesDeleted"] and volume not in kept["VolumesDeleted"]
    assert volume not in api.request("POST", "/volumes/prune").json()["VolumesDeleted"]
    for query, status in (
        (filters(all=["x"]), 400),
        (filters(all=["1", "0"]), 400),
        (filters(until=["1h"]), 400),
        (filters(all=["false"], label=["nosuch"]), 200),
    ):
        assert api.request("POST", f"/volumes/prune?filters={query}").status == status, query
    report = api.request("POST", f"/volumes/prune?filters={filters(all=['1'])}").json()
    assert volume in report["VolumesDeleted"] and report["SpaceReclaimed"] >= len("some data\n")


def test_disk_usage(api: ApiServer, onggi: Onggi, volume: str, busybox: str) -> None:
    onggi("run", "--name", "writer", "-v", f"{volume}:/v", busybox, "sh", "-c", "echo x > /f")
    found = api.request("GET", "/system/df").json()
    image = next(item for item in found["Images"] if "busybox:latest" in item["RepoTags"])
    assert found["LayersSize"] >= image["Size"] > 0
    assert image["Containers"] == 1 and image["SharedSize"] >= 0
    (container,) = found["Containers"]
    assert container["Names"] == ["/writer"] and container["SizeRw"] > 0
    mine = next(item for item in found["Volumes"] if item["Name"] == volume)
    assert mine["UsageData"]["RefCount"] == 1
    assert isinstance(found["BuildCache"], list) and "BuilderSize" not in found
    only = api.request("GET", "/system/df?type=volume").json()
    assert only["Images"] is only["Containers"] is None and "BuildCache" not in only
    old = api.request("GET", "/v1.41/system/df?type=volume").json()
    assert "BuilderSize" in old and old["Images"][0]["VirtualSize"]
    assert api.request("GET", "/system/df?type=nosuch").status == 400
    onggi("rm", "writer")


def test_the_docker_client(api: ApiServer, onggi: Onggi) -> None:
    assert api.out("volume", "create", "--label", "a=b", "apicli") == "apicli"
    assert "apicli" in api.out("volume", "ls", "-q", "-f", "label=a=b")
    assert api.out("volume", "inspect", "-f", "{{.Driver}}", "apicli") == "local"
    assert "Local Volumes" in api.out("system", "df")
    assert "apicli" in api.out("system", "df", "-v")
    assert "Total reclaimed space" in api.out("volume", "prune", "-f")
    assert "apicli" in api.out("volume", "prune", "-f", "-a")
    assert api.docker("volume", "rm", "apicli", code=1).stderr.strip().endswith("no such volume")
