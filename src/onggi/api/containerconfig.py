"""The body of POST /containers/create, decoded to what the engine is asked for. Pure.

Every field of docker's Config, HostConfig and NetworkingConfig is read here or in hostconfig: it is
supported, has no meaning on Linux, or is refused when it asks for what we do not have.
"""

import json
import re

from ..engine import control
from ..errors import InvalidInput
from ..spec.container import ContainerOptions
from ..spec.image import Healthcheck
from . import hostconfig
from .decode import Fields

_HOSTNAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,62}", re.ASCII)
_USER_PART = re.compile(r"[a-zA-Z0-9_.][a-zA-Z0-9_.@-]{0,255}\$?", re.ASCII)
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_MAX_ID = 2**31 - 1
_MIN_HEALTH_NS = 1_000_000


def container_options(body: Fields, *, name: str = "", platform: str = "") -> ContainerOptions:
    """Raises InvalidInput, Unsupported."""
    if not body.raw:
        raise InvalidInput("config cannot be empty in order to create a container")
    image = body.text("Image")
    if not image:
        raise InvalidInput("invalid reference format")
    host = hostconfig.host_options(
        body.object("HostConfig"),
        body.object("NetworkingConfig"),
        mac_address=body.text("MacAddress"),
        network_mode="none" if body.flag("NetworkDisabled") else "",
        volumes=body.keys("Volumes"),
    )
    body.strings("OnBuild")
    body.strings("Shell")  # of the image; what a container runs is Cmd and Entrypoint
    return ContainerOptions(
        image=image,
        command=body.words("Cmd") or None,
        entrypoint=_entrypoint(body),
        name=name.removeprefix("/"),
        env=_environment(body.strings("Env")),
        working_dir=body.text("WorkingDir"),
        user=checked_user(body.text("User")),
        hostname=_hostname(body.text("Hostname"), "hostname"),
        domainname=_hostname(body.text("Domainname"), "domainname"),
        labels=body.string_map("Labels"),
        tty=body.flag("Tty"),
        open_stdin=body.flag("OpenStdin"),
        stdin_once=body.flag("StdinOnce"),
        stop_signal=_signal(body.text("StopSignal")),
        stop_timeout_s=body.optional_integer("StopTimeout"),
        exposed_ports=tuple(p for text in body.keys("ExposedPorts") for p in exposed(text)),
        platform=platform,
        host=host,
        health=_healthcheck(body),
    )


def _entrypoint(body: Fields) -> tuple[str, ...] | None:
    """null is the image's; [] and [""] are none at all (docker's client sends the latter)."""
    words = body.words("Entrypoint")
    if not words:
        return None
    return () if words == ("",) else words


def _environment(entries: tuple[str, ...]) -> tuple[str, ...]:
    for entry in entries:
        if not entry.partition("=")[0]:
            raise InvalidInput(f"invalid environment variable: {entry}")
    return entries


def checked_user(text: str) -> str:
    """`user[:group]`, names or numbers; who they are is decided in the container."""
    for part in text.split(":", 1) if text else ():
        if part.isascii() and part.isdigit():
            if len(part) > 10 or int(part) > _MAX_ID:
                raise InvalidInput(f"uids and gids must be in range 0-{_MAX_ID}")
        elif not _USER_PART.fullmatch(part) or part.replace("_", "").isdigit():
            raise InvalidInput(f"invalid user {text!r}: want NAME|UID[:GROUP|GID]")
    return text


def _hostname(text: str, what: str) -> str:
    if text and not _HOSTNAME.fullmatch(text):
        raise InvalidInput(f"invalid {what} {text!r}: letters, digits, dot, dash, at most 63")
    return text


def _signal(text: str) -> str:
    if text:
        control.signal_number(text)
    return text


def exposed(text: str) -> list[str]:
    """ "80", "80/udp", "80-82/tcp" as "80/tcp" keys."""
    match = _PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if match is None or last < first or last > 65535:
        raise InvalidInput(f"invalid port specification: {text!r}")
    return [f"{port}/{(match[3] or 'tcp').lower()}" for port in range(first, last + 1)]


def _healthcheck(body: Fields) -> Healthcheck | None:
    if not body.has("Healthcheck"):
        return None
    fields = body.object("Healthcheck")
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = fields.integer(name)
        if value and value < _MIN_HEALTH_NS:
            raise InvalidInput(f"{name} in Healthcheck cannot be less than 1ms")
    retries = fields.integer("Retries")
    if retries < 0:
        raise InvalidInput("Retries in Healthcheck cannot be negative")
    found = Healthcheck(
        test=fields.strings("Test"),
        interval_ns=fields.integer("Interval"),
        timeout_ns=fields.integer("Timeout"),
        start_period_ns=fields.integer("StartPeriod"),
        retries=retries,
        start_interval_ns=fields.integer("StartInterval"),
    )
    return None if found == Healthcheck() else found


def as_changes(body: Fields) -> list[str]:
    """The Config that a commit may bring, as instructions of a Dockerfile."""
    found = []
    for field, word in (("Cmd", "CMD"), ("Entrypoint", "ENTRYPOINT")):
        words = body.words(field)
        if words:
            found.append(f"{word} {json.dumps(list(words))}")
    for entry in body.strings("Env"):
        name, _, value = entry.partition("=")
        found.append(f"ENV {name}={_quoted(value)}")
    for name, value in body.string_map("Labels").items():
        found.append(f"LABEL {_quoted(name)}={_quoted(value)}")
    found += [f"EXPOSE {port}" for port in body.keys("ExposedPorts")]
    found += [f"VOLUME {json.dumps([path])}" for path in body.keys("Volumes")]
    for field, word in (("User", "USER"), ("WorkingDir", "WORKDIR"), ("StopSignal", "STOPSIGNAL")):
        if body.text(field):
            found.append(f"{word} {body.text(field)}")
    found += [f"ONBUILD {line}" for line in body.strings("OnBuild")]
    return found


def _quoted(text: str) -> str:
    """As a word of a Dockerfile that expands nothing."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
