"""`onggi-registry`: what `onggi registry serve` becomes. The options come as one JSON argument from
the parser of the command line."""

import json
import threading
from collections.abc import Mapping

from ..engine.engine import Engine
from ..errors import OnggiError
from ..httpd import listen
from ..httpd.foreground import obey_signals, quiet, to_stderr
from ..httpd.server import Server
from ..linux import process
from ..spec.codec import decode
from ..typed import NamedTuple
from .service import Service, refusal
from .uploads import Uploads

MAX_CONNECTIONS = 256
TIDY_EVERY_S = 60.0


class Options(NamedTuple):
    """`tls` are files: certificate, key, and the authority of clients' certificates or ""."""

    root: str
    run: str
    host: str
    port: int
    writable: bool = False
    tls: tuple[str, str, str] | None = None
    hosts: tuple[str, ...] = ()
    quiet: bool = False


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    options = decode(Options, json.loads(argv[0]))
    process.set_title("onggi registry serve")
    try:
        serve(options)
    except OnggiError as error:
        to_stderr(f"onggi: {error.message}")
        if error.hint:
            to_stderr(error.hint)
        return 1
    return 0


def serve(options: Options) -> None:
    """Until SIGTERM or SIGINT. Raises OnggiError when it cannot begin."""
    tls = None
    if options.tls is not None:
        certificate, key, authority = options.tls
        tls = listen.server_tls(certificate, key, authority)
    listener = listen.tcp(options.host, options.port, tls)
    engine = Engine(options.root, options.run)
    engine.store.backend.kind  # noqa: B018 - tried out before there are threads
    uploads = Uploads(engine.store) if options.writable else None
    service = Service(
        engine.offering, uploads, log=quiet if options.quiet else to_stderr,
        hosts=frozenset(options.hosts),
    )  # fmt: skip
    server = Server([listener], service.handle, refusal, max_connections=MAX_CONNECTIONS)
    obey_signals(server)
    host = f"[{options.host}]" if ":" in options.host else options.host
    to_stderr(f"onggi: registry listens on {host}:{listener.server.getsockname()[1]}")
    ended = threading.Event()
    tidier = threading.Thread(target=_tidy, args=(uploads, ended), daemon=True)
    tidier.start()
    try:
        server.run()
    finally:
        ended.set()
        tidier.join()
        if uploads is not None:
            uploads.close()
        engine.close()


def _tidy(uploads: Uploads | None, ended: threading.Event) -> None:
    while not ended.wait(TIDY_EVERY_S):
        if uploads is not None:
            uploads.tidy()
