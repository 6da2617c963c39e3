"""Debian's docker-registry on a free loopback port, storing in a directory of the test.

    with registry_server(tmp_path) as registry: ...            # plain http, no authentication
    with registry_server(tmp_path, users={"me": "pw"}) ...     # basic authentication
    with registry_server(tmp_path, tls=True) as registry: ...  # registry.ca is its authority
    with registry_server(tmp_path, tokens=True, users=…) ...   # bearer tokens of a server in here

Needs the Debian packages docker-registry, and openssl for `tls` and `tokens`.
"""

import base64
import ctypes
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest

PROGRAM = shutil.which("docker-registry", path="/usr/bin:/usr/local/bin")
needs_registry = pytest.mark.skipif(PROGRAM is None, reason="no docker-registry")


class RegistryServer(NamedTuple):
    """`host` is how image names begin: `f"{registry.host}/name:tag"`."""

    host: str
    url: str
    storage: Path
    ca: str = ""


@contextmanager
def registry_server(
    directory: Path,
    *,
    users: dict[str, str] | None = None,
    tls: bool = False,
    tokens: bool = False,
    days: int = 2,
) -> Iterator[RegistryServer]:
    """A running registry; it is gone when the block ends."""
    home = directory / f"registry-{secrets.token_hex(4)}"
    storage = home / "storage"
    storage.mkdir(parents=True)
    config: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
    }
    http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "one-registry-only"}
    with ExitStack() as stack:
        if tls:
            make_authority(home, "127.0.0.1", days=days)
            http["tls"] = {"certificate": f"{home}/server.crt", "key": f"{home}/server.key"}
        if tokens:
            make_authority(home, "token server")
            realm = stack.enter_context(token_server(home, users or {}))
            config["auth"] = {
                "token": {
                    "realm": realm, "service": "test registry", "issuer": "test issuer",
                    "rootcertbundle": f"{home}/ca.crt",
                }
            }  # fmt: skip
        elif users is not None:
            lines = [f"{name}:{bcrypt(password)}\n" for name, password in users.items()]
            (home / "htpasswd").write_text("".join(lines))
            config["auth"] = {"htpasswd": {"realm": "test", "path": f"{home}/htpasswd"}}
        config["http"] = http
        (home / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        port = stack.enter_context(_running(home))
        host = f"127.0.0.1:{port}"
        scheme = "https" if tls else "http"
        yield RegistryServer(host, f"{scheme}://{host}", storage, f"{home}/ca.crt" if tls else "")


@contextmanager
def _running(home: Path) -> Iterator[int]:
    assert PROGRAM is not None
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", str(home / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin", "OTEL_TRACES_EXPORTER": "none"},
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"listening on 127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)  # its log is the only sign it gives
        yield int(found[1])
    finally:
        process.terminate()
        process.wait()


def bcrypt(password: str) -> str:
    """A bcrypt hash by libcrypt, which every Debian has (the `crypt` module is gone in 3.13)."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = base64.b64encode(os.urandom(18), b"./")[:22].replace(b"=", b".")[:21] + b"."
    hashed = library.crypt(password.encode(), b"$2b$05$" + salt)
    assert hashed and hashed.startswith(b"$2b$"), hashed
    return str(hashed.decode())


def make_authority(home: Path, name: str, *, days: int = 2) -> None:
    """ca.crt, ca.key and a server.crt, server.key signed by it, for 127.0.0.1 and `days` (negative:
    expired)."""
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    _openssl(home, *new, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt")
    _openssl(
        home, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", "server.key", "-out", "server.csr",
    )  # fmt: skip
    (home / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    _openssl(
        home, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", str(days), "-extfile", "names", "-out", "server.crt",
    )  # fmt: skip


def _openssl(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *arguments], cwd=home, input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def token_server(home: Path, users: dict[str, str]) -> Iterator[str]:
    """A token server for docker-registry: anybody may pull, `users` may push; yields its realm."""
    der = _openssl(home, "x509", "-in", "server.crt", "-outform", "DER")
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}

    def token(user: str, query: dict[str, list[str]]) -> str:
        access = []
        for scope in query.get("scope", []):
            kind, name, actions = scope.split(":", 2)
            granted = [a for a in actions.split(",") if user or a == "pull"]
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        claims = {
            "iss": "test issuer", "sub": user, "aud": query["service"][0], "access": access,
            "nbf": now - 10, "iat": now, "exp": now + 300, "jti": secrets.token_hex(8),
        }  # fmt: skip
        parts = [_base64(json.dumps(part).encode()) for part in (header, claims)]
        signed = ".".join(parts).encode()
        signature = _openssl(home, "dgst", "-sha256", "-sign", "server.key", data=signed)
        return f"{signed.decode()}.{_base64(signature)}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            user, status = _user(self.headers.get("Authorization", ""), users)
            if status != 200:
                body = json.dumps({"details": "incorrect username or password"})
            else:
                body = json.dumps({"token": token(user, query), "expires_in": 300})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/token"
        finally:
            server.shutdown()
            thread.join()


def _user(authorization: str, users: dict[str, str]) -> tuple[str, int]:
    if not authorization:
        return "", 200
    name, _, password = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
    return (name, 200) if users.get(name) == password else ("", 401)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
