"""docker's config.json: who we are at each registry, in the file or behind a credential helper.

The file keeps every key it does not own and is replaced atomically with mode 0600. Secrets never
appear in errors. Helpers run through the runner that the caller injects.
"""

import base64
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Mapping, Sequence

from ..errors import InvalidInput, NotFound, Unavailable
from ..typed import Any
from .protocol import Secret

HUB_KEY = "https://index.docker.io/v1/"
HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
MAX_BYTES = 1 << 20
TOKEN_USER = "<token>"  # noqa: S105 - how helpers mark an identity token
NOT_FOUND = "credentials not found in native keychain"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

Run = Callable[[Sequence[str], bytes], tuple[int, bytes]]  # argv, stdin -> exit status, stdout
Warn = Callable[[str], None]


def server_key(server: str) -> str:
    """The name docker files credentials under: the host, or Docker Hub's old URL."""
    host = server.partition("://")[2] or server
    host = host.partition("/")[0].lower()
    return HUB_KEY if not host or host in HUB_HOSTS else host


class Credentials:
    """The credentials of one user, read anew at each call."""

    def __init__(self, path: str, *, run: Run | None = None, warn: Warn | None = None) -> None:
        self.path = path
        self._run = run
        self._warn = warn or (lambda text: None)

    def get(self, server: str) -> Secret | None:
        """What is stored for a registry; None for anonymous. A broken file warns and is empty."""
        key = server_key(server)
        try:
            document = self._read()
        except InvalidInput as error:
            self._warn(error.message)
            return None
        helper = self._helper(document, key)
        if helper:
            return self._ask_helper(helper, key)
        entry = self._entry(document, key)
        return None if entry is None else _decode(entry)

    def servers(self) -> tuple[str, ...]:
        """Those that there are credentials for; none of a broken file."""
        try:
            document = self._read()
        except InvalidInput as error:
            self._warn(error.message)
            return ()
        helpers = document.get("credHelpers")
        return tuple({**document.get("auths", {}), **(helpers or {})})

    def put(self, server: str, secret: Secret) -> bool:
        """Store; True when it went into the file unencrypted (docker then warns)."""
        key = server_key(server)
        document = self._read()
        helper = self._helper(document, key)
        auths = document.setdefault("auths", {})
        if helper:
            username = TOKEN_USER if secret.identity_token else secret.username
            value = secret.identity_token or secret.password
            request = {"ServerURL": key, "Username": username, "Secret": value}
            self._call(helper, "store", json.dumps(request).encode())
            auths[key] = {}
        else:
            pair = f"{secret.username}:{secret.password}".encode()
            auths[key] = {"auth": base64.b64encode(pair).decode("ascii")}
            if secret.identity_token:
                auths[key]["identitytoken"] = secret.identity_token
        self._write(document)
        return not helper

    def erase(self, server: str) -> bool:
        """Forget; False when nothing was stored."""
        key = server_key(server)
        document = self._read()
        helper = self._helper(document, key)
        auths = document.get("auths", {})
        mine = [name for name in auths if server_key(name) == key]
        if helper:
            try:
                self._call(helper, "erase", key.encode())
            except NotFound:
                pass
        if not mine:
            return False
        for name in mine:
            del auths[name]
        self._write(document)
        return True

    def _entry(self, document: dict[str, Any], key: str) -> dict[str, Any] | None:
        auths = document.get("auths", {})
        names = [key] if key in auths else [n for n in auths if server_key(n) == key]
        entry = auths[names[0]] if names else None
        return entry if isinstance(entry, dict) else None

    def _read(self) -> dict[str, Any]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise InvalidInput(f"cannot read {self.path}: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
                raise InvalidInput(f"{self.path} is not a config file of at most {MAX_BYTES} bytes")
            data = os.read(descriptor, MAX_BYTES)
        finally:
            os.close(descriptor)
        try:
            document = json.loads(data) if data.strip() else {}
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"error loading config file: {self.path}: {error}") from error
        if isinstance(document, dict) and document.get("auths") is None:
            document.pop("auths", None)
        if not isinstance(document, dict) or not isinstance(document.get("auths", {}), dict):
            raise InvalidInput(f"error loading config file: {self.path}: not docker's format")
        self._check_mode(status, document)
        return document

    def _check_mode(self, status: os.stat_result, document: dict[str, Any]) -> None:
        mode = stat.S_IMODE(status.st_mode)
        entries = [item for item in document.get("auths", {}).values() if item]
        if mode & 0o077 and entries:
            self._warn(
                f"{self.path} holds credentials and has mode {mode:04o}: chmod 600 {self.path}"
            )

    def _write(self, document: dict[str, Any]) -> None:
        """Replace the file a symbolic link may stand for, keeping its owner."""
        target = os.path.realpath(self.path)
        directory = os.path.dirname(target)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        temporary = os.path.join(directory, f".config.json.{secrets.token_hex(6)}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            try:
                try:
                    old = os.stat(target)
                    os.fchown(file.fileno(), old.st_uid, old.st_gid)
                except (FileNotFoundError, PermissionError):
                    pass
                file.write(json.dumps(document, indent="\t", ensure_ascii=False).encode())
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                os.unlink(temporary)
                raise

    def _helper(self, document: dict[str, Any], key: str) -> str:
        helpers = document.get("credHelpers")
        name = helpers.get(key) if isinstance(helpers, dict) else None
        if name is None and isinstance(helpers, dict) and key == HUB_KEY:
            name = next((helpers[host] for host in HUB_HOSTS if host in helpers), None)
        if name is None:
            name = document.get("credsStore") or ""
        if name and (not isinstance(name, str) or not _HELPER.fullmatch(name)):
            raise InvalidInput(f"{self.path}: {str(name)[:80]!r} is no name of a credential helper")
        return name

    def _ask_helper(self, helper: str, key: str) -> Secret | None:
        try:
            answer = self._call(helper, "get", key.encode())
        except NotFound:
            return None
        try:
            document = json.loads(answer)
            username, value = document["Username"], document["Secret"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"docker-credential-{helper} gave an answer that is none") from error
        if username == TOKEN_USER:
            return Secret(identity_token=value)
        return Secret(username, value)

    def _call(self, helper: str, verb: str, data: bytes) -> bytes:
        program = f"docker-credential-{helper}"
        if self._run is None:
            raise Unavailable(f"{program} cannot be run here")
        status, output = self._run([program, verb], data)
        if status == 0:
            return output
        text = output.decode("utf-8", "replace").strip()
        if text == NOT_FOUND:
            raise NotFound(text)
        words = text.splitlines()[0][:200] if text and verb != "get" else "no credentials"
        raise Unavailable(f"error getting credentials: {program} {verb} exited {status}: {words}")


class Lent(Credentials):
    """Credentials that a client sent along with its request, by registry; nothing is stored."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        super().__init__("")
        self._secrets = {server_key(server): secret for server, secret in secrets.items()}

    def get(self, server: str) -> Secret | None:
        return self._secrets.get(server_key(server))

    def put(self, server: str, secret: Secret) -> bool:
        self._secrets[server_key(server)] = secret
        return False

    def erase(self, server: str) -> bool:
        return self._secrets.pop(server_key(server), None) is not None


class Asked(Credentials):
    """Credentials that whoever the work is for is asked for, once for each registry."""

    def __init__(self, ask: Callable[[str], Secret | None]) -> None:
        super().__init__("")
        self._ask = ask
        self._known: dict[str, Secret | None] = {}

    def get(self, server: str) -> Secret | None:
        key = server_key(server)
        if key not in self._known:
            self._known[key] = self._ask(key)
        return self._known[key]

    def put(self, server: str, secret: Secret) -> bool:
        self._known[server_key(server)] = secret
        return False

    def erase(self, server: str) -> bool:
        return self._known.pop(server_key(server), None) is not None


def _decode(entry: dict[str, Any]) -> Secret | None:
    token = entry.get("identitytoken")
    username, password = entry.get("username", ""), entry.get("password", "")
    encoded = entry.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            pair = base64.b64decode(encoded, validate=True).decode("utf-8")
        except ValueError:
            return None
        username, _, password = pair.partition(":")
        password = password.rstrip("\0")
    if isinstance(token, str) and token:
        return Secret(username, "", token)
    return Secret(username, password) if username else None
