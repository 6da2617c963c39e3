"""Commands in running containers: create, start, resize, inspect."""

from ..engine import lifecycle
from ..engine.execnotes import Note
from ..engine.execs import ExecOptions, new_id
from ..errors import Conflict, InvalidInput, OnggiError
from ..monitor.detachkeys import DEFAULT, parse_keys
from ..streams import STDERR, STDOUT
from ..typed import Any
from .attach import MULTIPLEXED, RAW, size_of
from .call import Answer, Call, json_answer
from .containerconfig import checked_user
from .decode import Fields
from .relay import Bare, Relay
from .route import Route
from .shared import Execution


def create(call: Call) -> Answer:
    body = call.json()
    container = call.engine.containers.get(call.params["id"])
    options = ExecOptions(
        args=body.words("Cmd") or (),
        env=body.strings("Env"),
        working_dir=body.text("WorkingDir"),
        user=checked_user(body.text("User")),
        tty=body.flag("Tty"),
        stdin=body.flag("AttachStdin"),
        privileged=body.flag("Privileged"),
    )
    rows, columns = _console_size(body)
    options = options._replace(rows=rows, columns=columns)
    keys = body.text("DetachKeys")
    _keys(keys)
    call.engine.execs.checked(container.id, options)
    streams = (options.stdin, body.flag("AttachStdout"), body.flag("AttachStderr"))
    note = Note(new_id(), container.id, options, keys, streams)
    call.shared.add(note)
    call.engine.execs.tell_created(note.id, container, options)
    return json_answer({"Id": note.id}, 201)


def start(call: Call) -> Answer | None:
    body = call.json(optional=True)
    found = call.shared.find(call.params["id"])
    container = call.engine.containers.get(found.container_id)
    lifecycle.require(container, "exec")
    rows, columns = _console_size(body)
    if rows and columns:
        found.options = found.options._replace(rows=rows, columns=columns)
    call.shared.begin(found)
    if body.flag("Detach"):
        _start_detached(call, found)
        return Answer(200)
    _start_attached(call, found)
    return None


def _start_detached(call: Call, found: Execution) -> None:
    options = found.options._replace(stdin=False)
    try:
        found.watch, found.pid = call.engine.execs.start_as(
            found.id, found.container_id, options, output=False
        )
    except OnggiError as error:
        found.finish(error.exit_code or 126)
        raise


def _start_attached(call: Call, found: Execution) -> None:
    options = found.options
    kind = MULTIPLEXED if not options.tty and call.version >= (1, 42) else RAW
    raw = call.hijack(kind)
    codec = Bare(framed=not options.tty)
    try:
        attachment, found.pid = call.engine.execs.start_as(found.id, found.container_id, options)
    except OnggiError as error:  # docker: the connection is taken over before the start is tried
        found.finish(error.exit_code or 126)
        raw.connection.sendall(codec.encode(STDOUT, f"{error.message}\r\n".encode()))
        return
    wanted = zip((STDOUT, STDERR), found.streams[1:], strict=True)
    outputs = frozenset(number for number, on in wanted if on)
    if options.tty:
        outputs |= {STDOUT}
    relay = Relay(
        raw.connection,
        raw.pending,
        codec,
        attachment,
        stdin=options.stdin,
        closes_stdin=not options.tty,
        outputs=outputs,
        detach_keys=_keys(found.detach_keys) if options.tty and options.stdin else b"",
    )
    found.relay = relay
    end = relay.run()
    if end == "ended":  # first the code: a client that sees the end asks for it
        found.finish(137 if attachment.exit_code is None else attachment.exit_code)
        relay.farewell()
        attachment.close()
        return
    if end == "detached":
        relay.farewell()
    found.relay = None
    relay.leave()  # the command may go on, and its end can still be asked for
    found.watch = attachment


def resize(call: Call) -> Answer:
    rows, columns = size_of(call.query)
    found = call.shared.find(call.params["id"])
    if not found.running:
        raise Conflict(f"exec process is not started: {found.id}")
    if found.relay is not None:
        found.relay.resize(rows, columns)
    elif found.watch is not None:
        found.watch.resize(rows, columns)
    else:
        raise Conflict(f"the terminal of exec process {found.id} went with the server it had")
    return Answer(200)


def inspect(call: Call) -> Answer:
    found = call.shared.find(call.params["id"])
    options = found.options
    running = found.running
    config: dict[str, Any] = {
        "tty": options.tty,
        "entrypoint": options.args[0],
        "arguments": list(options.args[1:]),
        "privileged": options.privileged,
    }
    if options.user:
        config["user"] = options.user
    return json_answer(
        {
            "ID": found.id,
            "Running": running,
            "ExitCode": found.exit_code,
            "ProcessConfig": config,
            "OpenStdin": found.streams[0],
            "OpenStderr": found.streams[2],
            "OpenStdout": found.streams[1],
            "CanRemove": not running and found.started,
            "ContainerID": found.container_id,
            "DetachKeys": found.detach_keys,
            "Pid": found.pid,
        }
    )


def _keys(text: str) -> bytes:
    try:
        return parse_keys(text or DEFAULT)
    except ValueError as error:
        raise InvalidInput(f"Invalid detach keys ({text}) provided") from error


def _console_size(body: Fields) -> tuple[int, int]:
    """[rows, columns] of the terminal at the start; (0, 0) when it is not told."""
    value = body.get("ConsoleSize")
    if value is None:
        return 0, 0
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidInput("invalid JSON: ConsoleSize is not a list of two numbers")
    if not all(type(side) is int and 0 <= side <= 65535 for side in value):
        raise InvalidInput("invalid JSON: ConsoleSize is not a list of two numbers")
    return value[0], value[1]


ROUTES = (
    Route("POST", "/containers/{id}/exec", create),
    Route("POST", "/exec/{id}/start", start),
    Route("POST", "/exec/{id}/resize", resize),
    Route("GET", "/exec/{id}/json", inspect),
)
