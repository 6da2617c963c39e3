"""Help texts in docker's layout, from the same tables that parse. Loaded only when asked."""

from collections.abc import Mapping

from . import tree
from .command import Command
from .flags import Flag

_SLOP = 5  # pflag: a last word may stick out this far


def command_help(command: Command, path: str, columns: int) -> str:
    """What `onggi PATH --help` prints."""
    parts = [usage_line(command, path), "", command.description or command.summary]
    if command.aliases:
        parts += ["", "Aliases:", "  " + ", ".join(f"onggi {alias}" for alias in command.aliases)]
    options = flag_lines(command.flags, columns)
    if options:
        parts += ["", "Options:", *options]
    return "\n".join(parts) + "\n"


def usage_line(command: Command, path: str) -> str:
    return f"Usage:  onggi {path} {command.usage}".rstrip()


def group_help(group: str, summaries: Mapping[str, str]) -> str:
    lines = [f"Usage:  onggi {group} COMMAND", "", tree.GROUPS[group], "", "Commands:"]
    lines += _listing(summaries)
    lines += ["", f"Run 'onggi {group} COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def top_help(summaries: Mapping[str, str], flags: Mapping[str, Flag], columns: int) -> str:
    """What `onggi --help` prints. `summaries` has the top-level commands."""
    common = {name: summaries[name] for name in tree.COMMON}
    rest = {name: text for name, text in sorted(summaries.items()) if name not in tree.COMMON}
    lines = ["Usage:  onggi [OPTIONS] COMMAND", "", "Containers and images, without a daemon"]
    for title, table in (
        ("Common Commands:", common),
        ("Management Commands:", tree.GROUPS),
        ("Commands:", rest),
    ):
        lines += ["", title, *_listing(table)]
    lines += ["", "Global Options:", *flag_lines(flags, columns)]
    lines += ["", "Run 'onggi COMMAND --help' for more information on a command."]
    return "\n".join(lines) + "\n"


def _listing(table: Mapping[str, str]) -> list[str]:
    return [f"  {name:<11} {text}" for name, text in table.items()]


def flag_lines(flags: Mapping[str, Flag], columns: int) -> list[str]:
    """The options in pflag's layout, wrapped to `columns`; those not done yet are left out."""
    rows = []
    for flag in sorted(flags.values(), key=lambda flag: flag.name):
        if flag.supported and flag.text and not flag.text.startswith("(default"):
            start = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
            rows.append((f"{start} {flag.kind}" if flag.kind else start, flag.text))
    width = max((len(left) for left, _ in rows), default=0)
    lines = []
    for left, text in rows:
        lines += f"{left:<{width}}   {_wrapped(width + 3, columns, text)}".split("\n")
    return lines


def _wrapped(indent: int, columns: int, text: str) -> str:
    """pflag's wrap: its own idea of where to break is kept, so that helps compare equal."""
    room = columns - indent
    result = ""
    if room < 24:
        indent = 16
        room = columns - indent
        result = "\n" + " " * indent
    margin = "\n" + " " * indent
    if room < 24:
        return text.replace("\n", margin)
    line, text = _break(room - _SLOP, text)
    result += line.replace("\n", margin)
    while text:
        line, text = _break(room - _SLOP, text)
        result += margin + line.replace("\n", margin)
    return result


def _break(width: int, text: str) -> tuple[str, str]:
    if width + _SLOP > len(text):
        return text, ""
    head = text[:width]
    space = max(head.rfind(c) for c in " \t\n")
    if space <= 0:
        return text, ""
    newline = head.rfind("\n")
    cut = newline if 0 < newline < space else space
    return text[:cut], text[cut + 1 :]
