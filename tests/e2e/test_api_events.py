"""/events through the socket: the past and the future, filters, and listeners that leave."""

import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_server import ApiServer

from .conftest import Onggi

pytestmark = pytest.mark.root


def filters(**given: list[str]) -> str:
    return quote(json.dumps(given))


def past(api: ApiServer, since: str, **given: list[str]) -> list[dict[str, Any]]:
    query = f"since={since}&until={stamp()}&filters={filters(**given)}"
    return api.request("GET", f"/events?{query}").lines()


def stamp() -> str:
    now = time.time_ns()
    return f"{now // 10**9}.{now % 10**9:09d}"


def test_the_past(api: ApiServer, onggi: Onggi) -> None:
    since = stamp()
    onggi("volume", "create", "--label", "team=a", "ev1")
    onggi("volume", "create", "ev2")
    onggi("volume", "rm", "ev1", "ev2")
    found = past(api, since, type=["volume"])
    assert [(event["Action"], event["Actor"]["ID"]) for event in found] == [
        ("create", "ev1"), ("create", "ev2"), ("destroy", "ev1"), ("destroy", "ev2"),
    ]  # fmt: skip
    assert found[0]["scope"] == "local" and found[0]["timeNano"] // 10**9 == found[0]["time"]
    assert len(past(api, since, volume=["ev1"])) == 2
    assert len(past(api, since, event=["create"], volume=["ev1", "ev2"])) == 2


def test_the_future_comes_at_once(api: ApiServer, onggi: Onggi) -> None:
    connection = api.connection()
    connection.request("GET", f"/events?filters={filters(type=['volume'])}")
    answer = connection.getresponse()  # the head comes before the first event
    assert answer.getheader("Content-Type") == "application/json"
    onggi("volume", "create", "evnow")
    event = json.loads(answer.readline())
    assert (event["Action"], event["Actor"]["ID"]) == ("create", "evnow")
    onggi("volume", "rm", "evnow")
    assert json.loads(answer.readline())["Action"] == "destroy"
    connection.close()


@pytest.mark.sec("E5")
def test_listeners_that_leave_cost_nothing(api: ApiServer, onggi: Onggi) -> None:
    before = threads(api)
    connections = [api.connection() for _ in range(50)]
    for connection in connections:
        connection.request("GET", "/events")
        connection.getresponse()
    assert threads(api) > 50
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 60
    while threads(api) > before:
        assert time.monotonic() < deadline, "threads of listeners that left"
        time.sleep(0.02)


def threads(api: ApiServer) -> int:
    return len(os.listdir(Path("/proc", str(api.pid), "task")))


def test_refusals(api: ApiServer) -> None:
    for query, words in (
        ("since=2&until=1", "`since` time (2) cannot be after `until` time (1)"),
        ("since=never", "failed to parse value as time or duration"),
        (f"filters={filters(nosuch=['1'])}", "invalid filter 'nosuch'"),
        ("filters=x", "invalid JSON"),
    ):
        reply = api.request("GET", f"/events?{query}")
        assert reply.status == 400 and words in reply.json()["message"], query


def test_the_docker_client(api: ApiServer, onggi: Onggi) -> None:
    since = stamp()
    onggi("volume", "create", "evcli")
    onggi("volume", "rm", "evcli")
    said = api.out("events", "--since", since, "--until", stamp(), "--format", "{{.Action}}")
    assert said.split() == ["create", "destroy"]
