"""Credentials that clients send along: X-Registry-Auth, X-Registry-Config, the body of /auth.

Their values reach nothing but the registry client. What is there but cannot be read is refused, in
words without it (docker takes it for no credentials, and a private image then seems not to exist).
"""

import base64
import binascii
from collections.abc import Mapping

from ..errors import InvalidInput, Unsupported
from ..spec.reference import parse_reference
from ..typed import TYPE_CHECKING
from .call import Call
from .decode import Fields, parse_json

if TYPE_CHECKING:
    from ..registry.protocol import Secret

MAX_BYTES = 256 << 10


def of_image(call: Call, name: str) -> dict[str, "Secret"]:
    """By registry, from X-Registry-Auth: they are for the registry of that image."""
    header = call.request.header("x-registry-auth")
    secret = secret_of(Fields(_decoded(header, "X-Registry-Auth"))) if header else None
    return {} if secret is None else {parse_reference(name).domain: secret}


def of_build(call: Call) -> dict[str, "Secret"]:
    """By registry, from X-Registry-Config."""
    header = call.request.header("x-registry-config")
    if not header:
        return {}
    found = {}
    for server, fields in Fields({"": _decoded(header, "X-Registry-Config")}).members(""):
        secret = secret_of(fields)
        if secret is not None:
            found[server] = secret
    return found


def secret_of(fields: Fields) -> "Secret | None":
    """docker's AuthConfig; None for one that holds nothing."""
    from ..registry.protocol import Secret

    if fields.text("registrytoken"):
        raise Unsupported("a registrytoken is not supported: send a username and a password")
    username, password = fields.text("username"), fields.text("password")
    if fields.text("auth") and not password:
        username, _, password = _plain(fields.text("auth"), "auth").decode().partition(":")
    token = fields.text("identitytoken")
    return Secret(username, password, token) if username or token else None


def _decoded(header: str, what: str) -> Mapping[str, object] | None:
    if len(header) > MAX_BYTES:
        raise InvalidInput(f"invalid {what} header: larger than {MAX_BYTES} bytes")
    value = parse_json(_plain(header, f"{what} header"), what=f"{what} header")
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"invalid {what} header: it is no JSON object")
    return value


def _plain(text: str, what: str) -> bytes:
    """Base64 of either alphabet, padded or not."""
    try:
        standard = text.strip().rstrip("=").translate(str.maketrans("-_", "+/"))
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        data.decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise InvalidInput(f"invalid {what}: it is not base64 of text") from None
    return data
