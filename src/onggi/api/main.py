"""`onggi-server`: what `onggi serve` becomes. The options come as one JSON argument from the parser
of the command line; the environment is systemd's (LISTEN_PID, LISTEN_FDS).

Order: sockets, the spawner, then threads.
"""

import json
import os
import resource
from collections.abc import Mapping

from ..engine import spawner as spawners
from ..engine.engine import Engine
from ..engine.settings import Settings
from ..errors import InvalidInput, OnggiError
from ..httpd import listen
from ..httpd.foreground import obey_signals, quiet, to_stderr
from ..httpd.server import Listener, Server
from ..linux import inotify, inotifyhub, process
from ..spec.codec import decode
from ..typed import NamedTuple
from . import access, metrics, service, warnings


class Options(NamedTuple):
    root: str
    run: str
    hosts: tuple[str, ...] = ()  # unix://PATH, tcp://HOST:PORT, fd://
    group: str = ""
    tls: tuple[str, str, str] | None = None  # files: authority, certificate, key
    metrics: bool = False
    quiet: bool = False
    read_only: tuple[str, ...] = ()  # paths of sockets that answer nothing but GET and HEAD
    settings: Settings = Settings()


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    options = decode(Options, json.loads(argv[0]))
    process.set_title("onggi serve")
    process.close_range_cloexec(3)  # systemd's sockets are not for the programs we start
    log = quiet if options.quiet else to_stderr
    try:
        serve(options, environ, log)
    except OnggiError as error:
        to_stderr(f"onggi: {error.message}")
        if error.hint:
            to_stderr(error.hint)
        return 1
    return 0


def serve(options: Options, environ: Mapping[str, str], log: service.Log) -> None:
    """Until SIGTERM or SIGINT. Raises OnggiError when it cannot begin."""
    listeners = _listeners(options, environ)
    settings = options.settings
    spawner = spawners.launch(options.root, options.run, settings)
    try:
        _prepare_for_many()
        engine = Engine(
            options.root, options.run, settings=settings, warn=warnings.note, spawner=spawner
        )
        counters = metrics.Counters() if options.metrics else None
        api = service.Service(
            engine,
            log=log,
            hosts=_names(options),
            counters=counters,
            sockets=frozenset(map(os.path.realpath, _paths(options))),
        )
        server = Server(listeners, api.handle, service.refusal)
        obey_signals(server)
        for address in options.hosts:
            to_stderr(f"onggi: API listen on {address}")
        server.run()
        engine.close()
    finally:
        spawner.close()
        for path in _paths(options):
            _unlink(path)


def _paths(options: Options) -> list[str]:
    """Of the unix sockets that are ours."""
    whole = [a.removeprefix("unix://") for a in options.hosts if a.startswith("unix://")]
    return [*whole, *options.read_only]


def _prepare_for_many() -> None:
    """Streams by the hundred: descriptors, and watches of directories. Not before the spawner has
    been started: containers have the limits that we were started with."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    hub = inotifyhub.Hub()
    hub.start()
    inotify.share(hub)


def _listeners(options: Options, environ: Mapping[str, str]) -> list[Listener]:
    found: list[Listener] = []
    for address in options.hosts:
        kind, _, place = address.partition("://")
        if kind == "unix":
            found.append(_unix(options, place))
        elif kind == "fd":
            handed = listen.handed_over(
                environ.get("LISTEN_PID", ""), environ.get("LISTEN_FDS", "")
            )
            if not handed:
                raise InvalidInput("systemd handed over no socket: -H fd:// needs a socket unit")
            found += handed
        else:
            assert options.tls is not None  # the command line sees to it
            host, _, port = place.rpartition(":")
            found.append(listen.tcp(host.strip("[]"), int(port), listen.mutual_tls(*options.tls)))
    found += [_unix(options, path, service.READ_ONLY) for path in options.read_only]
    return found


def _unix(options: Options, path: str, label: str = "") -> Listener:
    """Its group must be able to reach it: what else is in our directory has modes of its own."""
    listener = listen.unix(path, group=_group(options.group), label=label)
    if os.path.dirname(path) == options.run:
        os.chmod(options.run, 0o711)  # noqa: S103 - to pass, not to look
    return listener


def _group(name: str) -> int | None:
    """Docker's rule: the default group may be missing, one that was asked for may not."""
    import grp

    if not name:
        for usual in ("onggi", "docker"):
            try:
                return grp.getgrnam(usual).gr_gid
            except KeyError:
                continue
        return None
    try:
        return int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise InvalidInput(f"group {name} not found") from error


def _names(options: Options) -> frozenset[str]:
    """What a Host header on TCP may say."""
    found = {"localhost", "127.0.0.1", "::1", os.uname().nodename.lower()}
    for address in options.hosts:
        if address.startswith("tcp://"):
            found.add(access.host_of(address.removeprefix("tcp://")))
    return frozenset(found)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
