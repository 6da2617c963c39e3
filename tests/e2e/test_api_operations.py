"""What a container's whole life is as requests: the operations that no other file asks by hand."""

import io
import tarfile

import pytest

from api_server import ApiServer

from .conftest import Onggi

pytestmark = pytest.mark.root


def archive(name: str, text: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return data.getvalue()


def test_who_is_there(api: ApiServer) -> None:
    head = api.request("HEAD", "/_ping")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Api-Version"] == "1.51" and head.headers["Ostype"] == "linux"
    assert api.request("GET", "/v1.24/version").json()["MinAPIVersion"] == "1.24"


def test_a_life(api: ApiServer, onggi: Onggi, busybox: str) -> None:
    body = {"Image": busybox, "Cmd": ["sleep", "1000"], "HostConfig": {"Memory": 64 << 20}}
    made = api.request("POST", "/containers/create?name=apilife", body)
    assert made.status == 201 and made.json()["Warnings"] == []
    assert api.request("POST", "/containers/apilife/start").status == 204
    assert api.request("POST", "/containers/apilife/start").status == 304

    top = api.request("GET", "/containers/apilife/top").json()
    assert top["Titles"] and len(top["Processes"]) == 1
    stats = api.request("GET", "/containers/apilife/stats?stream=0&one-shot=1").json()
    assert stats["id"] == made.json()["Id"] and stats["memory_stats"]
    tar = archive("note", b"put\n")
    put = api.request(
        "PUT", "/containers/apilife/archive?path=/tmp", tar, Content_Type="application/x-tar"
    )
    assert put.status == 200
    changes = api.request("GET", "/containers/apilife/changes").json()
    assert {"Path": "/tmp/note", "Kind": 1} in changes

    assert api.request("POST", "/containers/apilife/pause").status == 204
    assert api.request("POST", "/containers/apilife/pause").status == 409
    assert api.request("POST", "/containers/apilife/unpause").status == 204
    update = {"Memory": 96 << 20, "MemorySwap": -1, "RestartPolicy": {"Name": "no"}}
    updated = api.request("POST", "/containers/apilife/update", update)
    assert updated.status == 200 and not updated.json()["Warnings"]
    assert api.request("POST", "/containers/apilife/restart?t=0").status == 204
    assert api.request("POST", "/containers/apilife/kill?signal=KILL").status == 204
    assert api.request("POST", "/containers/apilife/wait").json()["StatusCode"] == 137
    assert api.request("POST", "/containers/apilife/kill").status == 409
    assert api.request("DELETE", "/containers/apilife?v=1").status == 204
    for method, operation in (
        ("GET", "top"), ("GET", "stats"), ("GET", "changes"), ("POST", "kill"), ("POST", "pause"),
        ("POST", "unpause"), ("POST", "restart"),
    ):  # fmt: skip
        reply = api.request(method, f"/containers/apilife/{operation}")
        assert reply.status == 404, operation
        assert reply.json()["message"].endswith("No such container: apilife")
