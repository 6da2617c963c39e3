"""--secret, --ssh and --allow of build: what the user lends and permits. docker's grammar."""

import os
from collections.abc import Iterable, Mapping

from ..build import devices
from ..build.loans import Secret
from ..dockerfile.spelling import nearest
from ..errors import InvalidInput
from .buildfields import fields_of
from .session import refusal

ENTITLEMENTS = ("network.host", "security.insecure", devices.ENTITLEMENT)


def secrets(given: Iterable[str], directory: str, environ: Mapping[str, str]) -> dict[str, Secret]:
    """`id=x,src=path`, `id=x,env=NAME`; with the id alone the variable of that name, or else the
    file."""
    found: dict[str, Secret] = {}
    for text in given:
        fields = fields_of(text, "secret")
        kind = fields.pop("type", "")
        name = fields.pop("id", "")
        path = fields.pop("source", "") or fields.pop("src", "")
        variable = fields.pop("env", "")
        if fields:
            raise refusal(f"unexpected key '{next(iter(fields))}' in '{text}'")
        if kind not in ("", "file", "env"):
            raise refusal(f'unsupported secret type "{kind}"')
        if not name:
            raise refusal(f"secret missing ID: {text}", "for example: --secret id=token,src=FILE")
        if kind == "env" and path and not variable:
            variable, path = path, ""
        if not path and not variable:
            variable, path = (name, "") if kind == "env" or name in environ else ("", name)
        if variable:
            if variable not in environ:
                raise refusal(f"secret {name}: the variable {variable} is not set")
            found[name] = Secret(value=os.fsencode(environ[variable]))
            continue
        path = os.path.join(directory, path)
        if not os.path.isfile(path):
            raise refusal(f"failed to stat {path}: no such file (secret {name})")
        found[name] = Secret(path)
    return found


def agents(given: Iterable[str], directory: str, environ: Mapping[str, str]) -> dict[str, str]:
    """`default`, `id=socket` or `id=key,key`; with no path the agent of SSH_AUTH_SOCK."""
    found: dict[str, str] = {}
    for text in given:
        name, _, path = text.partition("=")
        given_paths = [os.path.join(directory, part) for part in path.split(",")] if path else []
        path = ",".join(given_paths) or environ.get("SSH_AUTH_SOCK", "")
        if not path:
            raise refusal(
                f"invalid empty ssh agent socket for {name or text}: make sure SSH_AUTH_SOCK is set"
            )
        found[name] = path
    return found


def entitlements(given: Iterable[str]) -> frozenset[str]:
    given = tuple(given)
    for name in given:
        known = name.partition("=")[0] if name.startswith(f"{devices.ENTITLEMENT}=") else name
        if known not in ENTITLEMENTS:
            guess = nearest(name, ENTITLEMENTS)
            raise refusal(f"unknown entitlement {name}", f"did you mean {guess}" if guess else None)
    try:
        devices.allowed(given)
    except InvalidInput as error:
        raise refusal(error.message) from error
    return frozenset(given)
