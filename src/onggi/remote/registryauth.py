"""What an engine elsewhere is told of who we are at registries: docker's headers."""

import base64
import json

from ..registry.credentials import Credentials
from ..typed import Any


def for_registry(credentials: Credentials | None, server: str) -> dict[str, str]:
    """X-Registry-Auth, of what docker's config.json has for the registry; else no header."""
    told = _told(credentials, server)
    return {"X-Registry-Auth": _encoded(told)} if told else {}


def anonymous() -> dict[str, str]:
    """A push must say something."""
    return {"X-Registry-Auth": _encoded({})}


def for_all(credentials: Credentials | None) -> dict[str, str]:
    """X-Registry-Config, of all registries: only the engine knows which ones a build needs."""
    servers = credentials.servers() if credentials is not None else ()
    found = {server: told for server in servers if (told := _told(credentials, server))}
    return {"X-Registry-Config": _encoded(found)} if found else {}


def _told(credentials: Credentials | None, server: str) -> dict[str, str]:
    secret = credentials.get(server) if credentials is not None else None
    if secret is None:
        return {}
    return {
        "username": secret.username, "password": secret.password,
        "identitytoken": secret.identity_token, "serveraddress": server,
    }  # fmt: skip


def _encoded(told: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(told).encode()).decode()
