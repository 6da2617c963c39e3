"""onggi-runtime: the OCI runtime with runc's command line.

Errors are one line on stderr, and in the file of --log. Exit codes: 1 for an error of ours, for a
foreground process its own.
"""

import os
import sys
import time
from collections.abc import Callable

from .. import jsons
from ..errors import InvalidInput, OnggiError, Unsupported
from . import arguments as args
from .arguments import Parsed
from .handshake import CREATE_PREFIX, EXEC_PREFIX

DEFAULT_ROOT = "/run/onggi-runtime"
VERSION = "onggi-runtime version 0.1.0\nspec: 1.2.0"


def main(argv: list[str], environ: dict[str, str]) -> int:
    try:
        top = args.parse(argv, args.GLOBAL)
        if top.has("version"):
            print(VERSION)
            return 0
        if top.has("help") or not top.rest or top.rest[0] in ("help", "--help"):
            print(args.usage())
            return 0
        _check_manager(top)
        return _dispatch(top)
    except OnggiError as error:
        text = error.message.removeprefix(CREATE_PREFIX).removeprefix(EXEC_PREFIX)
        return _fail(argv, text, error.hint)
    except BrokenPipeError:
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(argv, f"{where}{error.strerror or error}", None)
    except KeyboardInterrupt:
        return 130


def _check_manager(top: Parsed) -> None:
    """Control groups are ours to write: there is no talking to systemd."""
    manager = top.last("cgroup-manager", "cgroupfs")
    if manager == "systemd" or top.has("systemd-cgroup"):
        raise Unsupported(
            "the systemd cgroup manager is not supported", hint="use --cgroup-manager cgroupfs"
        )
    if manager != "cgroupfs":
        raise InvalidInput(f"unknown cgroup manager {manager[:32]!r}: want cgroupfs")


def _dispatch(top: Parsed) -> int:
    name, *rest = top.rest
    if name not in args.COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, args.COMMANDS, 1)
        hint = f"did you mean: {near[0]}" if near else None
        raise InvalidInput(f"no such command {name!r}", hint=hint)
    flags, wanted, _ = args.COMMANDS[name]
    if "--help" in rest[:1] or "-h" in rest[:1]:
        print(args.usage())
        return 0
    parsed = args.parse(rest, flags)
    least = sum(1 for word in wanted.split() if not word.startswith("["))
    if name == "exec" and parsed.has("process"):
        least = 1
    if len(parsed.rest) < least or (len(parsed.rest) > least and "[" not in wanted):
        raise InvalidInput(f"{name} wants: {wanted or 'no arguments'}")
    return command(name)(top.last("root", DEFAULT_ROOT), parsed)


def command(name: str) -> Callable[[str, Parsed], int]:
    """What does it; the commands that only tell something are in a module of their own."""
    found: Callable[[str, Parsed], int]
    if name in ("events", "features", "list", "ps", "spec", "state"):
        from . import reports

        found = getattr(reports, f"{name}_container")
    else:
        from . import commands

        found = getattr(commands, f"{name}_container")
    return found


def _fail(argv: list[str], message: str, hint: str | None) -> int:
    line = " ".join(f"onggi-runtime: {message}".split("\n"))
    try:
        top = args.parse(argv, args.GLOBAL)
    except InvalidInput:
        top = Parsed({}, [])
    path = top.last("log")
    if path:
        _log(path, top.last("log-format"), message)
    os.write(2, (line + "\n" + (f"hint: {hint}\n" if hint else "")).encode(errors="replace"))
    sys.stdout.flush()
    return 1


def _log(path: str, form: str, message: str) -> None:
    """As runc writes it: engines show the last line of this file."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    entry = {"level": "error", "msg": message, "time": now}
    text = f"time={now} level=error msg={jsons.dumps(message)}"
    line = jsons.dumps(entry, compact=False) if form == "json" else text
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, (line + "\n").encode())
        os.close(fd)
    except OSError as error:
        os.write(2, f"onggi-runtime: cannot write {path}: {error.strerror}\n".encode())
