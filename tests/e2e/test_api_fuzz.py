"""Requests made from docs/openapi.json, right and wrong ones: none ends in a 500, none hangs.

Names in paths are those of real objects half of the time. What would reach other hosts or never
ends is steered away from: that is other tests' business.
"""

import http.client
import io
import json
import tarfile
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from api_server import ApiServer, Connection, api_server

from .conftest import COMMAND, Onggi

pytestmark = pytest.mark.root
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text())
EXAMPLES = 6
BUDGET_S = 40.0
ANSWER_S = 60.0
ENDLESS = {"/containers/{id}/attach", "/containers/{id}/attach/ws", "/containers/{id}/wait"}
NOWHERE = "127.0.0.1:1/x"
FILTERS = [
    '{"label":["a=b"]}',
    '{"name":{"real":true}}',
    '{"until":["1h"]}',
    '{"reference":["r*"]}',
]
REFUSED = (501, 503)  # what we do not have, and hosts that cannot be reached


def operations() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schemathesis = pytest.importorskip("schemathesis")
        schemathesis.serializer.alias("application/x-tar", "application/octet-stream")
        schema = schemathesis.openapi.from_dict(DOCUMENT)
        found = [found.ok() for found in schema.get_all_operations()]
    return sorted(found, key=removes)


def removes(operation: Any) -> bool:
    return operation.method.upper() == "DELETE" or operation.path.endswith("/prune")


@pytest.fixture
def fuzzed(lone_onggi: Onggi, base_image: Any, tmp_path: Path) -> Iterator[ApiServer]:
    """A server whose store has one of everything, under the name "real"."""
    lone_onggi("load", "-q", "-i", str(base_image("busybox:latest")))
    lone_onggi("tag", "busybox", "real")
    lone_onggi("tag", "busybox", NOWHERE)
    lone_onggi("create", "--name", "real", "busybox", "true")
    lone_onggi("volume", "create", "real")
    with api_server(COMMAND, lone_onggi.environment, tmp_path) as server:
        yield server


@pytest.mark.sec("E10")
def test_no_request_is_our_fault(fuzzed: ApiServer) -> None:
    began, asked = time.monotonic(), 0
    found = operations()
    for operation in found:
        if time.monotonic() - began > BUDGET_S and asked > 100:
            break
        asked += fuzz(fuzzed, operation)
    assert asked > 100


def fuzz(api: ApiServer, operation: Any) -> int:
    """How many requests that were."""
    from schemathesis import GenerationMode

    path = operation.path
    asked = 0

    @seed(20)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        nonlocal asked
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        try:
            case = data.draw(operation.as_strategy(generation_mode=mode))
        except Exception as error:  # nothing wrong can be said to an operation without parameters
            if type(error).__name__ not in ("Unsatisfiable", "UnsatisfiedAssumption", "SkipTest"):
                raise
            return
        real = path not in ENDLESS and data.draw(st.booleans())
        asked += 1
        body = TAR if real and case.media_type == "application/x-tar" else addressed(case)
        where = target(case, path, real=real, filters=data.draw(st.sampled_from(FILTERS)))
        status, reply = send(api, operation.method.upper(), where, body, case.media_type)
        said = (operation.label, status, reply[:500])
        assert status < 500 or status in REFUSED, said
        assert b"Traceback" not in reply, said
        if status >= 400 and operation.method.upper() != "HEAD":
            assert isinstance(json.loads(reply)["message"], str), said

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ask()
    return asked


def target(case: Any, path: str, *, real: bool, filters: str) -> str:
    for name, value in (case.path_parameters or {}).items():
        text = "real" if real else str(value)  # which is encoded
        if path.startswith("/distribution") or path.endswith("/push"):
            text = quote(NOWHERE, safe="")
        path = path.replace(f"{{{name}}}", text)
    query = {str(k): texts(v) for k, v in (case.query or {}).items()}
    if "fromImage" in query:
        query["fromImage"] = NOWHERE
    if "fromSrc" in query:
        query["fromSrc"] = "-"
    if path.endswith("/search"):
        query["term"] = NOWHERE
    if path == "/events":
        query["until"] = "1"
    for name in {"follow", "stream"} & query.keys():
        query[name] = "0"
    if path.endswith("/stats"):
        query["stream"] = "0"
    if real and "filters" in query:
        query["filters"] = filters
    query.pop("remote", None)
    return f"/v1.51{path}?{urlencode(query, doseq=True, errors='replace')}"


def texts(value: Any) -> Any:
    if isinstance(value, list):
        return [str(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


def send(
    api: ApiServer, method: str, where: str, content: Any, media_type: str | None
) -> tuple[int, bytes]:
    body, headers = None, {}
    if media_type and type(content).__name__ != "NotSet":
        headers["Content-Type"] = media_type
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
    connection: Connection = api.connection(ANSWER_S)
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was read
            connection.request(method, where, body, headers)
        answer = connection.getresponse()
        return answer.status, b"" if answer.status == 101 else answer.read()
    except http.client.RemoteDisconnected:
        pytest.fail(f"{method} {where}: the connection was closed without an answer")
    finally:
        connection.close()


def addressed(case: Any) -> Any:
    """The body, with no host in it but one that is not there."""
    if isinstance(case.body, dict) and case.path == "/auth":
        return {**case.body, "serveraddress": NOWHERE}
    return case.body


def context() -> bytes:
    data, text = io.BytesIO(), b"FROM scratch\nCOPY Dockerfile /\n"
    with tarfile.open(fileobj=data, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return data.getvalue()


TAR = context()
