"""Which operation a path means."""

import pytest

from onggi.api.call import Answer, Call
from onggi.api.route import Route, Table, split_path, version_of
from onggi.api.routes import all_routes
from onggi.errors import InvalidInput


def handler(call: Call) -> Answer:
    raise AssertionError


TABLE = Table(
    Route("GET", path, handler)
    for path in ("/images/json", "/images/{name*}/json", "/containers/{id}/json", "/images/search")
)


@pytest.mark.parametrize(
    ("path", "operation", "params"),
    [
        ("/images/json", "GET /images/json", {}),
        ("/images/a/json", "GET /images/{name*}/json", {"name": "a"}),
        ("/images/reg:5/a/b:1/json", "GET /images/{name*}/json", {"name": "reg:5/a/b:1"}),
        ("/images/a%2Fb/json", "GET /images/{name*}/json", {"name": "a/b"}),
        ("/containers/x/json", "GET /containers/{id}/json", {"id": "x"}),
    ],
)
def test_found(path: str, operation: str, params: dict[str, str]) -> None:
    found = TABLE.find("GET", split_path(path))
    assert found is not None
    assert (found.route.operation, found.params) == (operation, params)


@pytest.mark.sec("E3")
@pytest.mark.parametrize(
    "path",
    [
        "//containers/x/json", "/containers//json", "/containers/../json", "/containers/%2e/json",
        "/containers/%2e%2e/json", "/containers/x/json/", "/", "", "/containers/x/y/json",
        "/images//json", "/./images/json",
    ],
)  # fmt: skip
def test_not_found(path: str) -> None:
    assert TABLE.find("GET", split_path(path)) is None


def test_bad_path() -> None:
    with pytest.raises(InvalidInput):
        split_path("/containers/%00/json")


@pytest.mark.parametrize(
    ("path", "version", "rest"),
    [
        ("/v1.43/info", "1.43", ["info"]),
        ("/info", "", ["info"]),
        ("/v1/info", "", ["v1", "info"]),
        ("/v1.x/info", "", ["v1.x", "info"]),
        ("/v1.43", "1.43", []),
    ],
)
def test_version_prefix(path: str, version: str, rest: list[str]) -> None:
    assert version_of(split_path(path)) == (version, rest)


def test_no_operation_is_listed_twice() -> None:
    operations = [route.operation for route in all_routes()]
    assert len(operations) == len(set(operations))
