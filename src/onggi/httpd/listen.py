"""Listening sockets: a unix one that only a group may use, TCP with client certificates, and those
that systemd hands over (sd_listen_fds(3))."""

import errno
import os
import socket
import ssl
import stat

from ..errors import InvalidInput, Unavailable
from .server import BACKLOG, Listener

FIRST_HANDED_OVER = 3


def unix(path: str, *, mode: int = 0o660, group: int | None = None, label: str = "") -> Listener:
    """Bound with its final mode from the first moment; a dead server's socket is replaced, a live
    one's is refused."""
    os.makedirs(os.path.dirname(path) or "/", 0o711, exist_ok=True)
    _remove_dead(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    temporary = f"{path}.{os.getpid()}"
    try:
        server.bind(temporary)
        os.chmod(temporary, 0o600)
        if group is not None:
            os.chown(temporary, -1, group)
        os.chmod(temporary, mode)
        server.listen(BACKLOG)
        os.rename(temporary, path)
    except OSError as error:
        server.close()
        raise Unavailable(f"cannot listen on unix://{path}: {error.strerror or error}") from error
    return Listener(server, label=label)


def _remove_dead(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise InvalidInput(f"cannot listen on unix://{path}: the file is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise Unavailable(f"cannot listen on unix://{path}: {error}") from error
    raise Unavailable(f"cannot listen on unix://{path}: another server is there")


def tcp(host: str, port: int, tls: ssl.SSLContext | None) -> Listener:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.listen(BACKLOG)
    except OSError as error:
        server.close()
        where = f"tcp://{host}:{port}"
        raise Unavailable(f"cannot listen on {where}: {error.strerror or error}") from error
    return Listener(server, tls)


def mutual_tls(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Clients must show a certificate that `ca` signed. Raises InvalidInput naming the file."""
    return server_tls(certificate, key, ca)


def server_tls(certificate: str, key: str, ca: str = "") -> ssl.SSLContext:
    """With a `ca` clients must show a certificate that it signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca:
        context.verify_mode = ssl.CERT_REQUIRED
    for path in (*((ca,) if ca else ()), certificate, key):
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise InvalidInput(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        if ca:
            context.load_verify_locations(cafile=ca)
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise InvalidInput(f"cannot use {certificate} and {key}: {error}") from error
    return context


def handed_over(pid: str, count: str) -> list[Listener]:
    """The sockets systemd opened for us, of its LISTEN_PID and LISTEN_FDS. Only unix sockets: one
    on TCP would be served without TLS."""
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit():
        return []
    found = []
    for fd in range(FIRST_HANDED_OVER, FIRST_HANDED_OVER + min(int(count), 64)):
        try:
            server = socket.socket(fileno=fd)
        except OSError as error:
            if error.errno == errno.ENOTSOCK:
                raise InvalidInput(
                    f"descriptor {fd} that systemd handed over is no socket"
                ) from error
            raise
        if server.family != socket.AF_UNIX:
            raise InvalidInput("systemd handed over a socket that is not a unix socket")
        found.append(Listener(server))
    return found
