"""Why a step was done again: which of its inputs is not what it was. Pure; reads what the cache
recorded of earlier steps and compares.
"""

from collections.abc import Iterable, Mapping

from ..typed import Any, NamedTuple

SHOWN = 3  # files or variables named in a reason
_WORDS = {
    "args": "the command", "working_dir": "the working directory", "user": "the user",
    "network_mode": "the network", "mounts": "the volumes", "lent": "its mounts",
    "sources": "the sources", "destination": "the destination", "chown": "--chown",
    "chmod": "--chmod", "excludes": "--exclude", "inline": "the heredoc",
    "epoch": "SOURCE_DATE_EPOCH", "platform": "the platform", "extra_hosts": "--add-host",
    "shm_bytes": "--shm-size", "devices": "its devices",
    "hostname": "its host name",
}  # fmt: skip


class Missed(NamedTuple):
    """A step that was not found: its operation, the content of its parent, what else it read."""

    operation: Mapping[str, Any]
    parent: str
    told: Mapping[str, Any]


class StepReport(NamedTuple):
    """What became of one step. Times are seconds, `start_s` since the build began; `size_bytes` of
    its own layer."""

    number: int
    text: str
    stage: str
    cached: bool
    reason: str
    start_s: float
    took_s: float
    size_bytes: int


def why(missed: Missed, records: Iterable[Mapping[str, Any]], *, after_change: bool) -> str:
    """`records` are the inputs of earlier results, latest first; `after_change`: a step before this
    one was done again."""
    kind = missed.operation["kind"]
    known = [r for r in records if r.get("operation", {}).get("kind") == kind]
    same = [r for r in known if _same(r["operation"], missed.operation)]
    for record in same:
        if record.get("parent") == missed.parent:
            return _inputs_changed(missed.told, record)
    told = [
        _operation_changed(missed.operation, record["operation"])
        for record in known
        if record.get("parent") == missed.parent and _alike(record["operation"], missed.operation)
    ]
    if told:
        return _some(min(told, key=len))  # the most alike of them
    if same:
        return "the step before it changed" if after_change else "the base image changed"
    if after_change:
        return "the step before it changed"
    return "it was not built here before, or its result was pruned"


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return {k: v for k, v in one.items() if k != "version"} == {
        k: v for k, v in other.items() if k != "version"
    }


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether they are, for a person, the same instruction."""
    keys = ("args",) if "args" in other else ("destination",) if "destination" in other else ()
    return any(one.get(key) == other.get(key) for key in keys)


def _inputs_changed(told: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    if "files" in told and "files" in record and told["files"] != record["files"]:
        return files_changed(record["files"], told["files"])
    if told.get("manifest") != record.get("manifest"):
        return "modes, owners or names of the files changed"
    if told.get("origin") != record.get("origin"):
        return "the stage or image that it reads changed"
    return "its result was pruned from the cache"


def files_changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """`app.py changed, new.py is new and 3 more`."""
    told = [
        f"{path} {'is new' if path not in before else 'changed'}"
        for path in now
        if before.get(path) != now[path]
    ]
    told += [f"{path} is gone" for path in before if path not in now]
    return _some(told)


def _operation_changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    names = [name for name in now if name != "version" and now[name] != before.get(name)]
    told = [f"{_WORDS.get(name, name)} changed" for name in names if name != "env"]
    if "env" in names:
        told += variables_changed(before.get("env", ()), now["env"])
    return told


def variables_changed(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """By name only: a value may be what nobody should see."""
    old = dict(entry.partition("=")[::2] for entry in before)
    new = dict(entry.partition("=")[::2] for entry in now)
    told = [
        f"variable {name} {'is new' if name not in old else 'changed'}"
        for name in new
        if old.get(name) != new[name]
    ]
    return told + [f"variable {name} is gone" for name in old if name not in new]


def _some(told: list[str]) -> str:
    if not told:
        return "its result was pruned from the cache"
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more
