"""`serve`: the Docker Engine REST API. Reads the flags and becomes the server's own program, which
has threads and heavy libraries that no other command should load."""

import json
import os

from ...engine import autostart, programs
from ...linux import tools
from ...spec.codec import encode
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal
from .system import own_program

TLS_FILES = ("tlscacert", "tlscert", "tlskey")
INSECURE = (
    "onggi: refused to serve {host} without TLS: whoever reaches that port would be root on this "
    "host"
)
WAYS_OUT = (
    "use one of: --tlsverify with --tlscacert, --tlscert and --tlskey; -H unix:///PATH and ssh "
    "(DOCKER_HOST=ssh://USER@HOST); -H fd:// with a systemd socket"
)


def serve(session: Session, values: Values, arguments: list[str]) -> int:
    hosts = [checked_host(session, text) for text in values.many("host")]
    if values.on("print-unit"):
        session.out.write(unit(session))
        return 0
    hosts = hosts or [f"unix://{session.run}/onggi.sock"]
    options = {
        "root": session.root,
        "run": session.run,
        "hosts": hosts,
        "group": values.text("group"),
        "tls": tls_files(values, hosts),
        "metrics": values.on("metrics"),
        "quiet": values.on("quiet"),
        "read_only": [checked_path(text) for text in values.many("read-only")],
        "settings": encode(session.engine_settings),
    }
    argv = [*programs.command("onggi-server"), json.dumps(options)]
    session.out.flush()
    return tools.replace(argv, session.environ)


def checked_host(session: Session, text: str) -> str:
    """An address to listen on, whole. Raises CommandError."""
    kind, mark, place = text.partition("://")
    if not mark:
        raise refusal(
            f"invalid bind address ({text}): must be unix://PATH, tcp://HOST:PORT or fd://"
        )
    if kind == "unix":
        path = place or f"{session.run}/onggi.sock"
        if not path.startswith("/"):
            raise refusal(f"invalid bind address ({text}): the path must be absolute")
        return f"unix://{path}"
    if kind == "fd":
        return "fd://"
    if kind != "tcp":
        raise refusal(f"invalid bind address ({text}): unsupported proto {kind}")
    host, _, port = place.rstrip("/").rpartition(":")
    if not host:
        host, port = port or "127.0.0.1", "2376"
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise refusal(f"invalid bind address ({text}): bad port")
    return f"tcp://{host}:{port}"


def checked_path(text: str) -> str:
    if not text.startswith("/"):
        raise refusal(f"invalid socket ({text}): the path must be absolute")
    return text


def tls_files(values: Values, hosts: list[str]) -> list[str] | None:
    """The three files, when they are asked for. Raises CommandError for TCP without them."""
    if not values.on("tlsverify"):
        for host in hosts:
            if host.startswith("tcp://"):
                raise refusal(INSECURE.format(host=host), WAYS_OUT)
        return None
    missing = [f"--{name}" for name in TLS_FILES if not values.text(name)]
    if missing:
        raise refusal(f"--tlsverify needs {', '.join(missing)}", WAYS_OUT)
    return [os.path.abspath(values.text(name)) for name in TLS_FILES]


def unit(session: Session) -> str:
    return autostart.server_units(own_program(), session.root, session.run, usual_group())


def usual_group() -> str:
    """Whose the socket is: that of onggi or docker, where there is one."""
    import grp

    for name in ("onggi", "docker"):
        try:
            return grp.getgrnam(name).gr_name
        except KeyError:
            continue
    return "root"


SERVE = Command(
    usage="[OPTIONS]",
    summary="Serve the Docker Engine API",
    run=serve,
    flags=flag_table("""
      --group string       Group that may use the unix socket (default: onggi or docker, if there)
  -H, --host list          Address to listen on: unix://PATH, tcp://HOST:PORT, fd:// (systemd)
      --metrics            Serve figures for prometheus as GET /metrics
      --print-unit         Print a systemd service and socket unit
  -q, --quiet              Write no access log
      --read-only list     Path of one more unix socket, which only answers GET and HEAD
      --tlscacert string   Trust client certificates signed by this authority
      --tlscert string     The server's certificate
      --tlskey string      The key of the server's certificate
      --tlsverify          Serve TCP to clients with a certificate
"""),
    description="Serve the Docker Engine API, for docker, docker-py and all that speaks it",
)
