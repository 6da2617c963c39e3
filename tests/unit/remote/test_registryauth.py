"""Credentials as the headers of docker's API."""

import base64
import json

from onggi.registry.credentials import Credentials, Lent
from onggi.registry.protocol import Secret
from onggi.remote import registryauth
from onggi.typed import Any


class Stored(Lent):
    def servers(self) -> tuple[str, ...]:
        return ("one:5000", "two.example", "empty.example")


def read(header: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(header))


def stored() -> Credentials:
    return Stored({"one:5000": Secret("me", "pw"), "two.example": Secret("", "", "token")})


def test_for_one_registry() -> None:
    assert registryauth.for_registry(None, "one:5000") == {}
    assert registryauth.for_registry(stored(), "nobody") == {}
    (header,) = registryauth.for_registry(stored(), "one:5000").values()
    assert read(header) == {
        "username": "me", "password": "pw", "identitytoken": "", "serveraddress": "one:5000",
    }  # fmt: skip
    assert read(registryauth.anonymous()["X-Registry-Auth"]) == {}


def test_for_a_build() -> None:
    assert registryauth.for_all(None) == {}
    found = read(registryauth.for_all(stored())["X-Registry-Config"])
    assert set(found) == {"one:5000", "two.example"}
    assert found["two.example"]["identitytoken"] == "token"
