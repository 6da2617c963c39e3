"""Log drivers: which there are, what their options mean, and the log of a container.

Options are checked at create in docker's words; what must be reached (a syslog server, the journal)
is reached before the container's command runs.
"""

import os
from collections.abc import Mapping

from ..errors import InvalidInput, Unavailable, Unsupported
from ..monitor.log import DEFAULT_MAX_BYTES, DEFAULT_MAX_FILES, Log, LogWriter
from ..patterns import Pattern
from ..spec.container import Container, ContainerConfig
from ..typed import TYPE_CHECKING, NamedTuple
from ..units import parse_size
from .paths import Paths

if TYPE_CHECKING:
    import re
    import socket
    from collections.abc import Callable

    from ..monitor.locallog import LocalWriter
    from ..monitor.remotelog import Buffering

_DETAILS = ("labels", "labels-regex", "env", "env-regex", "tag")
_FILES = ("max-size", "max-file", "compress")
_CACHE = tuple(f"cache-{name}" for name in ("disabled", *_FILES))
_SYSLOG = ("syslog-address", "syslog-facility", "syslog-format")
_TLS = ("syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify")
_COMMON = ("mode", "max-buffer-size")
KNOWN = {
    "json-file": (*_FILES, *_DETAILS),
    "local": _FILES,
    "none": (),
    "journald": (*_DETAILS, *_CACHE),
    "syslog": (*_SYSLOG, *_TLS, *_DETAILS, *_CACHE),
}
_ELSEWHERE = ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk")
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_ADDRESS = Pattern(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]/?#\s]+))(?::([0-9]{1,5}))?/?")
_TAG_FIELD = Pattern(r"\{\{-?\s*\.([A-Za-z]+)\s*-?\}\}")
MAX_FILES = 1000


class FileOptions(NamedTuple):
    """Of a log in files; `max_bytes` 0 is no limit."""

    max_bytes: int
    max_files: int
    compress: bool


class Address(NamedTuple):
    """`syslog-address`. `scheme` is udp, tcp, unix or unixgram; "" looks for the host's own."""

    scheme: str = ""
    path: str = ""
    host: str = ""
    port: int = 0


def check(config: ContainerConfig) -> None:
    """Raises InvalidInput or Unsupported with docker's words."""
    host = config.options.host
    driver, options = host.log_driver, host.log_options
    if driver in _ELSEWHERE:
        raise Unsupported(
            f"logger: no log driver named '{driver}' is registered",
            hint="onggi has json-file, local, journald, syslog and none",
        )
    if driver not in KNOWN:
        raise InvalidInput(f"logger: no log driver named '{driver}' is registered")
    for name in options:
        if name not in (*KNOWN[driver], *_COMMON) or driver == "none":
            raise InvalidInput(f"unknown log opt '{name}' for {driver} log driver")
    _check_mode(options)
    if driver in ("json-file", "local"):
        file_options(config)
    if driver in ("journald", "syslog"):
        cache_options(config)
    if driver == "syslog":
        syslog_address(options.get("syslog-address", ""))
        syslog_facility(options.get("syslog-facility", ""))
        if options.get("syslog-format", "") not in _FORMATS:
            raise InvalidInput("Invalid syslog format")
    for name in ("labels-regex", "env-regex"):
        _pattern(options.get(name, ""))
    _check_tag(options.get("tag", ""))


def _check_mode(options: Mapping[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidInput(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidInput(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        _size("max-buffer-size", options["max-buffer-size"])


def _size(name: str, text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError as error:
        raise InvalidInput(f"error parsing option {name}: invalid size: '{text}'") from error
    if size <= 0:
        raise InvalidInput(f"{name} must be a positive number")
    return size


def _flag(name: str, text: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise InvalidInput(f'{name}: strconv.ParseBool: parsing "{text}": invalid syntax')


def file_options(config: ContainerConfig, prefix: str = "") -> FileOptions:
    """max-size, max-file and compress, with the driver's defaults. `max-size=-1` is no limit."""
    host = config.options.host
    options = host.log_options
    if host.log_driver == "json-file":
        default = FileOptions(DEFAULT_MAX_BYTES, DEFAULT_MAX_FILES, False)
    else:
        from ..monitor import locallog

        default = FileOptions(locallog.DEFAULT_MAX_BYTES, locallog.DEFAULT_MAX_FILES, True)
    size, number = options.get(f"{prefix}max-size", ""), options.get(f"{prefix}max-file", "")
    max_bytes = default.max_bytes if not size else 0 if size == "-1" else _size("max-size", size)
    max_files = default.max_files
    if number:
        if not number.removeprefix("-").isascii() or not number.removeprefix("-").isdigit():
            raise InvalidInput(f'strconv.Atoi: parsing "{number}": invalid syntax')
        max_files = int(number)
    if max_files < 1:
        raise InvalidInput("max-file cannot be less than 1")
    if max_files > MAX_FILES:
        raise InvalidInput(f"max-file cannot be more than {MAX_FILES}")
    asked = options.get(f"{prefix}compress", "")
    compress = _flag("compress", asked) if asked else default.compress and max_files > 1
    if compress and (max_files == 1 or not max_bytes):
        raise InvalidInput(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        )
    return FileOptions(max_bytes, max_files, compress)


def cache_options(config: ContainerConfig) -> FileOptions | None:
    """Of the local copy of a log that another program keeps; None when it is disabled."""
    disabled = config.options.host.log_options.get("cache-disabled", "")
    found = file_options(config, "cache-")
    return None if disabled and _flag("cache-disabled", disabled) else found


def syslog_facility(text: str) -> int:
    from ..monitor.remotelog import FACILITIES

    if not text:
        return FACILITIES.index("daemon")
    if text in FACILITIES and not text.isdigit():
        return FACILITIES.index(text)
    if text.isascii() and text.isdigit() and int(text) < len(FACILITIES):
        return int(text)
    raise InvalidInput("invalid syslog facility")


def syslog_address(text: str) -> Address:
    if not text:
        return Address()
    scheme, found, rest = text.partition("://")
    if not found or scheme not in ("udp", "tcp", "tcp+tls", "unix", "unixgram"):
        raise InvalidInput(f"syslog-address should be in form proto://address, got {text}")
    if scheme == "tcp+tls":
        raise Unsupported(
            "syslog over TLS is not supported", hint="use a local relay: syslog-address=unix://…"
        )
    if scheme.startswith("unix"):
        if not os.path.exists(rest):
            raise InvalidInput(f"stat {rest}: no such file or directory")
        return Address(scheme, path=rest)
    host, port = _host_and_port(rest, text)
    return Address(scheme, host=host, port=port)


def _host_and_port(rest: str, text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(rest)
    port = int(match[3] or 514) if match else 0
    if match is None or not 0 < port < 65536:
        raise InvalidInput(f"syslog-address should be in form proto://address, got {text}")
    return match[1] or match[2], port


# -- what a message carries


def _pattern(text: str) -> "re.Pattern[str] | None":
    if not text:
        return None
    import re

    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidInput(f"error parsing regexp: {error}: `{text}`") from error


def _check_tag(text: str) -> None:
    if "{{" not in text:
        return
    known = {"ID", "FullID", "Name", "FullName", "ImageID", "ImageFullID", "ImageName", "Command",
             "DaemonName", "Hostname"}  # fmt: skip
    unknown = {match[1] for match in _TAG_FIELD.finditer(text)} - known
    if unknown:
        raise InvalidInput(f"template: log-tag: can't evaluate field {sorted(unknown)[0]}")
    if "{{" in _TAG_FIELD.sub("", text):
        raise InvalidInput(f"log-opt tag: only fields such as {{{{.Name}}}} are known: {text!r}")


def tag(container: Container, text: str) -> str:
    """`{{.Name}}` and its kin, filled in; docker's default is the short id."""
    config = container.config
    image_id = config.image_id.removeprefix("sha256:")
    fields = {
        "ID": container.id[:12],
        "FullID": container.id,
        "Name": container.name,
        "FullName": f"/{container.name}",
        "ImageID": image_id[:12],
        "ImageFullID": config.image_id,
        "ImageName": config.options.image,
        "Command": " ".join(config.process.args),
        "DaemonName": "onggi",
        "Hostname": os.uname().nodename,
    }
    return _TAG_FIELD.sub(lambda match: str(fields[match[1]]), text or "{{.ID}}")


def attributes(config: ContainerConfig) -> dict[str, str]:
    """The labels and environment variables that the options name."""
    options = config.options.host.log_options
    variables = dict(entry.partition("=")[::2] for entry in config.process.env)
    found: dict[str, str] = {}
    for source, word in ((config.labels, "labels"), (variables, "env")):
        names = options.get(word, "").split(",") if options.get(word) else []
        pattern = _pattern(options.get(f"{word}-regex", ""))
        found |= {
            name: value
            for name, value in source.items()
            if name in names or (pattern is not None and pattern.search(name))
        }
    return found


# -- the log itself


def path_of(paths: Paths, container: Container) -> str:
    """The file that `logs` reads. Raises InvalidInput with docker's words when there is none."""
    config = container.config
    driver = config.options.host.log_driver
    if driver == "json-file":
        return paths.log(container.id)
    if driver == "local" or (driver != "none" and cache_options(config) is not None):
        return f"{paths.container(container.id)}/container.log"
    raise InvalidInput("configured logging driver does not support reading")


def open_log(paths: Paths, container: Container) -> Log | None:
    """The log of a container that is about to start; None for no log. Raises Unavailable when the
    program that should take it cannot be reached."""
    config = container.config
    options = config.options.host.log_options
    driver = config.options.host.log_driver
    if driver == "none":
        return None
    if driver == "json-file":
        files = file_options(config)
        found = attributes(config)
        if options.get("tag"):
            found = {"tag": tag(container, options["tag"]), **found}
        return LogWriter(
            paths.log(container.id),
            files.max_bytes,
            files.max_files,
            compress=files.compress,
            attributes=found,
        )
    if driver == "local":
        return _local(paths, container, file_options(config))
    try:
        return _remote(paths, container)
    except OSError as error:
        reason = _connect_error(driver, options, error)
        raise Unavailable(
            "failed to create task for container: failed to initialize logging driver: " + reason
        ) from error


def _local(paths: Paths, container: Container, files: FileOptions) -> "LocalWriter":
    from ..monitor.locallog import LocalWriter

    return LocalWriter(
        path_of(paths, container), files.max_bytes, files.max_files, compress=files.compress
    )


def _buffering(options: Mapping[str, str]) -> "Buffering":
    from ..monitor.remotelog import Buffering

    if options.get("mode") != "non-blocking":
        return Buffering()
    size = options.get("max-buffer-size")
    return Buffering(0.0, _size("max-buffer-size", size) if size else 1 << 20)


def _remote(paths: Paths, container: Container) -> Log:
    import socket

    from ..monitor import remotelog

    config = container.config
    options = config.options.host.log_options
    name = tag(container, options.get("tag", ""))
    if config.options.host.log_driver == "journald":
        encode = remotelog.journal_encoder(_journal_fields(container, name))
        connect = remotelog.unix_connector(remotelog.JOURNAL_SOCKET, socket.SOCK_DGRAM)
    else:
        encode = remotelog.syslog_encoder(
            options.get("syslog-format", ""),
            syslog_facility(options.get("syslog-facility", "")),
            name,
            os.uname().nodename,
        )
        connect = _syslog_connector(syslog_address(options.get("syslog-address", "")))
    log = remotelog.RemoteLog(
        encode,
        connect,
        buffering=_buffering(options),
        note_path=f"{paths.container(container.id)}/monitor.log",
    )
    files = cache_options(config)
    if files is not None:
        log.copy_to(_local(paths, container, files))
    return log


def _journal_fields(container: Container, name: str) -> dict[str, str]:
    from ..monitor.remotelog import journal_name

    extra = {journal_name(k): v for k, v in attributes(container.config).items()}
    return {
        **extra,
        "CONTAINER_ID": container.id[:12],
        "CONTAINER_ID_FULL": container.id,
        "CONTAINER_NAME": container.name,
        "CONTAINER_TAG": name,
        "IMAGE_NAME": container.config.options.image,
        "SYSLOG_IDENTIFIER": name,
    }


def _syslog_connector(address: Address) -> "Callable[[], socket.socket]":
    import socket

    from ..monitor import remotelog

    if address.scheme == "":
        for path in remotelog.SYSLOG_SOCKETS:
            if os.path.exists(path):
                return remotelog.unix_connector(path, socket.SOCK_DGRAM)
        raise FileNotFoundError(remotelog.SYSLOG_SOCKETS[0])
    if address.scheme.startswith("unix"):
        kind = socket.SOCK_STREAM if address.scheme == "unix" else socket.SOCK_DGRAM
        return remotelog.unix_connector(address.path, kind)
    kind = socket.SOCK_STREAM if address.scheme == "tcp" else socket.SOCK_DGRAM
    return remotelog.internet_connector(address.host, address.port, kind)


def _connect_error(driver: str, options: Mapping[str, str], error: OSError) -> str:
    if driver == "journald":
        return "journald is not enabled on this host"
    given = options.get("syslog-address", "")
    if not given:
        return "Unix syslog delivery error"
    scheme, _, rest = given.partition("://")
    return f"dial {scheme} {rest}: connect: {(error.strerror or str(error)).lower()}"
