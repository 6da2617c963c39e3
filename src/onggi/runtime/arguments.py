"""runc's command line as data: which flags a command has, and which take a value."""

from ..errors import InvalidInput
from ..typed import NamedTuple

Flags = dict[str, bool]  # name: takes a value


class Parsed(NamedTuple):
    """`values` holds every flag that was given: its values in order, [""] for one without."""

    values: dict[str, list[str]]
    rest: list[str]

    def has(self, name: str) -> bool:
        return name in self.values

    def last(self, name: str, default: str = "") -> str:
        return self.values[name][-1] if name in self.values else default

    def all(self, name: str) -> list[str]:
        return self.values.get(name, [])


SHORT = {
    "b": "bundle", "d": "detach", "f": "format", "q": "quiet", "t": "tty", "u": "user",
    "e": "env", "p": "process", "c": "cap", "g": "additional-gids", "a": "all", "h": "help",
    "v": "version", "r": "resources",
}  # fmt: skip
GLOBAL: Flags = {
    "root": True, "log": True, "log-format": True, "debug": False, "systemd-cgroup": False,
    "rootless": True, "cgroup-manager": True, "help": False, "version": False,
}  # fmt: skip
_START: Flags = {
    "bundle": True, "config": True, "console-socket": True, "pid-file": True, "no-pivot": False,
    "no-new-keyring": False, "preserve-fds": True,
}  # fmt: skip
COMMANDS: dict[str, tuple[Flags, str, str]] = {  # flags, arguments, what it does
    "create": (_START, "ID", "create a container"),
    "start": ({}, "ID", "execute the process of a created container"),
    "run": (
        {**_START, "detach": False, "keep": False, "no-subreaper": False},
        "ID",
        "create and start a container",
    ),
    "state": ({}, "ID", "print the state of a container"),
    "kill": ({"all": False}, "ID [SIGNAL]", "send a signal (default SIGTERM) to a container"),
    "delete": ({"force": False}, "ID", "delete what is left of a container"),
    "exec": (
        {
            "console-socket": True, "cwd": True, "env": True, "tty": False, "user": True,
            "additional-gids": True, "process": True, "detach": False, "pid-file": True,
            "no-new-privs": False, "cap": True, "preserve-fds": True, "ignore-paused": False,
        },
        "ID COMMAND [ARG...]",
        "execute a process in a running container",
    ),
    "list": ({"format": True, "quiet": False}, "", "list containers"),
    "ps": ({"format": True}, "ID [PS-OPTION...]", "list the processes of a container"),
    "events": (
        {"stats": False, "interval": True},
        "ID",
        "print resource usage and out-of-memory events as JSON",
    ),
    "pause": ({}, "ID", "suspend all processes of a container"),
    "resume": ({}, "ID", "let them go on"),
    "update": (
        {
            "resources": True, "memory": True, "memory-swap": True, "memory-reservation": True,
            "cpu-shares": True, "cpu-period": True, "cpu-quota": True, "cpuset-cpus": True,
            "cpuset-mems": True, "pids-limit": True,
        },
        "ID",
        "change the limits of a container",
    ),
    "spec": ({"bundle": True, "rootless": False}, "", "write a new config.json"),
    "features": ({}, "", "print what this runtime can do"),
}  # fmt: skip


def parse(arguments: list[str], flags: Flags) -> Parsed:
    """Flags up to the first word that is none; -- ends them. Raises InvalidInput."""
    values: dict[str, list[str]] = {}
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            index += 1
            break
        if not word.startswith("-") or word == "-":
            break
        name, equals, value = word.lstrip("-").partition("=")
        name = SHORT.get(name, name) if not word.startswith("--") else name
        if name == "f" or (name == "format" and "format" not in flags):
            name = "force"
        if name not in flags:
            raise InvalidInput(f"flag provided but not defined: {word.partition('=')[0]}")
        if flags[name] and not equals:
            index += 1
            if index >= len(arguments):
                raise InvalidInput(f"flag needs an argument: --{name}")
            value = arguments[index]
        values.setdefault(name, []).append(value)
        index += 1
    return Parsed(values, arguments[index:])


def usage() -> str:
    lines = [
        "onggi-runtime - an OCI runtime, with runc's command line",
        "",
        "Usage: onggi-runtime [--root DIR] [--log FILE] [--log-format text|json] COMMAND ...",
        "",
        "Commands:",
    ]
    for name, (flags, arguments, what) in COMMANDS.items():
        options = " ".join(
            f"[--{flag}{' VALUE' if takes else ''}]" for flag, takes in flags.items()
        )
        lines.append(f"  {name:<9} {what}")
        lines.append(f"            {' '.join(part for part in (options, arguments) if part)}")
    return "\n".join(lines)
