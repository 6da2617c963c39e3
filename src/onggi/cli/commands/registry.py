"""`registry serve`: the local store as a registry. docs/transfer.md."""

import json
import os

from ...engine import programs
from ...linux import tools
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal

_LOOPBACK = ("localhost", "::1")
WAYS_OUT = "use one of: --listen 127.0.0.1:PORT; --tls-cert with --tls-key"


def serve(session: Session, values: Values, arguments: list[str]) -> int:
    host, port = address(values.text("listen"))
    local = host in _LOOPBACK or host.startswith("127.")
    tls = tls_files(values)
    if not local:
        check_open(host, values, tls)
    options = {
        "root": session.root,
        "run": session.run,
        "host": "127.0.0.1" if host == "localhost" else host,
        "port": port,
        "writable": values.on("writable"),
        "tls": tls,
        "hosts": ["localhost", "127.0.0.1", "::1", host, os.uname().nodename] if local else [],
        "quiet": values.on("quiet"),
    }
    argv = [*programs.command("onggi-registry"), json.dumps(options)]
    session.out.flush()
    return tools.replace(argv, session.environ)


def address(text: str) -> tuple[str, int]:
    """HOST:PORT, or a port alone of 127.0.0.1. Raises CommandError."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise refusal(f"invalid address to listen on ({text}): must be HOST:PORT")
    return host.strip("[]") or "127.0.0.1", int(port)


def tls_files(values: Values) -> list[str] | None:
    """Certificate, key and perhaps the authority of clients. Raises CommandError."""
    names = ("tls-cert", "tls-key", "tls-ca")
    certificate, key, authority = (
        os.path.abspath(values.text(name)) if values.text(name) else "" for name in names
    )
    if not certificate and not key and not authority:
        return None
    if not certificate or not key:
        raise refusal("--tls-cert, --tls-key and --tls-ca go together: the first two are needed")
    return [certificate, key, authority]


def check_open(host: str, values: Values, tls: list[str] | None) -> None:
    """What others than this host may reach. Raises CommandError."""
    if tls is None and not values.on("plain-http"):
        raise refusal(
            f"refused to serve on {host} without TLS: anybody on the way could change what is "
            "pulled",
            f"{WAYS_OUT}; --plain-http if the network is yours alone",
        )
    if values.on("writable") and not (tls and tls[2]):
        raise refusal(
            f"refused --writable on {host}: whoever reaches that port could replace any image",
            "use --tls-cert, --tls-key and --tls-ca: clients then need a certificate",
        )


SERVE = Command(
    usage="[OPTIONS]",
    summary="Serve the local images as a registry",
    run=serve,
    flags=flag_table("""
      --listen string     Address to listen on; port 0 takes a free one (default "127.0.0.1:5000")
      --plain-http        Serve without TLS on other addresses than 127.0.0.1
  -q, --quiet             Write no access log
      --tls-ca string     Clients need a certificate that this authority signed
      --tls-cert string   The server's certificate
      --tls-key string    The key of the server's certificate
      --writable          Take what is pushed
"""),
    description="Serve the local images to docker, podman, skopeo and onggi, as a registry",
)
