"""Contexts: names for engines. Kept where docker keeps them and as docker does, so each knows the
other's: meta/<sha256 of the name>/meta.json, and tls/<the same>/docker/{ca,cert,key}.pem. Which one
is used is each program's own affair.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import Conflict, CorruptData, InvalidInput, NotFound
from ..patterns import Pattern
from ..typed import Any, NamedTuple
from .address import Address, Tls, parse

DEFAULT = "default"
NAME = Pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.+-]+")
FILES = ("ca.pem", "cert.pem", "key.pem")
MAX_FILE = 1 << 20


class Context(NamedTuple):
    """`host` "" is the engine of this machine. `tls` has the contents of FILES that there are."""

    name: str
    host: str = ""
    description: str = ""
    skip_verify: bool = False
    tls: dict[str, bytes] = {}  # noqa: RUF012 - never mutated


class Contexts:
    """`directory` is docker's: ~/.docker/contexts; `chosen` our file with the name in use."""

    def __init__(self, directory: str, chosen: str) -> None:
        self._directory = Path(directory)
        self._chosen = Path(chosen)

    def list(self) -> "list[Context]":
        found = [Context(DEFAULT)]
        for path in sorted(self._directory.glob("meta/*/meta.json")):
            try:
                found.append(self._read(path))
            except (OSError, CorruptData):
                continue  # another program's affair
        return found[:1] + sorted(found[1:], key=lambda context: context.name)

    def get(self, name: str) -> Context:
        """Raises NotFound with docker's words."""
        if name == DEFAULT:
            return Context(DEFAULT)
        try:
            return self._read(self._meta(name))
        except FileNotFoundError as error:
            raise NotFound(
                f'context "{name}": context not found: {os.fspath(error.filename)}: no such file'
            ) from error

    def put(self, context: Context, *, replace: bool = False) -> None:
        """Raises Conflict for a name that is taken, InvalidInput for one that cannot be."""
        check_name(context.name)
        if context.name == DEFAULT:
            raise InvalidInput('"default" is a reserved context name')
        meta = self._meta(context.name)
        if meta.exists() and not replace:
            raise Conflict(f'context "{context.name}" already exists')
        tls = self._tls(context.name)
        for name in FILES:
            if name in context.tls:
                tls.mkdir(0o700, parents=True, exist_ok=True)
                _write(tls / name, context.tls[name])
            elif tls.is_dir():
                (tls / name).unlink(missing_ok=True)
        meta.parent.mkdir(0o700, parents=True, exist_ok=True)
        _write(meta, json.dumps(document(context), separators=(",", ":")).encode())

    def remove(self, name: str) -> None:
        self.get(name)
        if name == DEFAULT:
            raise InvalidInput('default: context "default" cannot be removed')
        tls = self._tls(name)
        for path in (*(tls / file for file in FILES), self._meta(name)):
            path.unlink(missing_ok=True)
        for directory in (tls, tls.parent, self._meta(name).parent):
            try:
                directory.rmdir()
            except OSError:
                pass  # it is not there, or holds what we do not know

    def current(self) -> str:
        try:
            return self._chosen.read_text()[:256].strip() or DEFAULT
        except (OSError, UnicodeDecodeError):
            return DEFAULT

    def use(self, name: str) -> None:
        self.get(name)
        self._chosen.parent.mkdir(0o700, parents=True, exist_ok=True)
        _write(self._chosen, f"{name}\n".encode())

    def address(self, name: str) -> Address | None:
        """None: the engine of this machine."""
        context = self.get(name)
        if not context.host:
            return None
        if not context.tls and not context.skip_verify:
            return parse(context.host)
        authority, certificate, key = (
            str(self._tls(name) / file) if file in context.tls else "" for file in FILES
        )
        tls = Tls(authority, certificate, key, not context.skip_verify)
        return parse(context.host, tls)

    def paths(self, name: str) -> tuple[str, str]:
        """The directories of its metadata and of its certificates."""
        return str(self._meta(name).parent), str(self._tls(name).parent)

    def _meta(self, name: str) -> Path:
        return self._directory / "meta" / _key(name) / "meta.json"

    def _tls(self, name: str) -> Path:
        return self._directory / "tls" / _key(name) / "docker"

    def _read(self, path: Path) -> Context:
        context = of_document(_limited(path))
        tls = {}
        for file in FILES:
            try:
                tls[file] = _limited(self._tls(context.name) / file)
            except FileNotFoundError:
                continue
        return context._replace(tls=tls)


def check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise InvalidInput(
            f'context name "{name}" is invalid, names are validated against regexp '
            '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
        )


def document(context: Context) -> dict[str, Any]:
    """Docker's meta.json."""
    metadata = {"Description": context.description} if context.description else {}
    endpoint = {"Host": context.host, "SkipTLSVerify": context.skip_verify}
    return {"Name": context.name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}


def of_document(data: bytes) -> Context:
    """Without its certificates. Raises CorruptData."""
    try:
        found = json.loads(data)
        endpoint: Mapping[str, Any] = found["Endpoints"]["docker"]
        metadata: Mapping[str, Any] = found.get("Metadata") or {}
        return Context(
            str(found["Name"]),
            str(endpoint.get("Host") or ""),
            str(metadata.get("Description") or ""),
            endpoint.get("SkipTLSVerify") is True,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptData("meta.json is no context of docker's") from error


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _limited(path: Path) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise CorruptData(f"{path} is larger than {MAX_FILE} bytes")
    return data


def _write(path: Path, data: bytes) -> None:
    """0600, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
