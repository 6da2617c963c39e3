"""Seccomp profiles as records, and docker's and OCI's JSON form of them.

Reads everything moby's and the OCI runtime specification's profiles may hold; what it does not
know it refuses, naming the rule by its number, because a filter half understood is a hole. The
rules keep their order: the first that matches decides.
"""

from .. import jsons
from ..errors import InvalidInput, Unsupported
from ..typed import Any, NamedTuple

_EPERM = 1
_MAX_ERRNO = 4095
_MAX_ARGUMENT = 5
_UINT64 = (1 << 64) - 1

# Return values of linux/seccomp.h.
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ALLOW, KILL_PROCESS = _ACTIONS["SCMP_ACT_ALLOW"], _ACTIONS["SCMP_ACT_KILL_PROCESS"]
_ERRNO, _TRACE = _ACTIONS["SCMP_ACT_ERRNO"], _ACTIONS["SCMP_ACT_TRACE"]
_NOTIFY = _ACTIONS["SCMP_ACT_NOTIFY"]
PERMISSIVE = frozenset((ALLOW, _ACTIONS["SCMP_ACT_LOG"], _TRACE))
ACTION_MASK = 0xFFFF0000

OPERATORS = frozenset(
    f"SCMP_CMP_{operator}" for operator in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
)
_FLAGS = {  # we filter a process of one thread: nothing to synchronise
    "": 0, "SECCOMP_FILTER_FLAG_TSYNC": 0, "SECCOMP_FILTER_FLAG_LOG": 0x2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x4, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 0x20,
}  # fmt: skip


class Argument(NamedTuple):
    """A test of one argument. For MASKED_EQ `value` is the mask and `value_two` the outcome.

    `bits` 32 looks at the lower half only, as the kernel does with an argument of type int.
    """

    position: int
    operator: str
    value: int
    value_two: int = 0
    bits: int = 64


class Condition(NamedTuple):
    """When a rule is part of the filter at all. Architectures in Go's words: amd64, arm64."""

    capabilities: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    min_kernel: tuple[int, int] | None = None


class Rule(NamedTuple):
    """`result` is the filter's 32-bit answer when all arguments pass. No arguments: always."""

    names: tuple[str, ...]
    result: int
    arguments: tuple[Argument, ...] = ()
    includes: Condition = Condition()
    excludes: Condition = Condition()


class Profile(NamedTuple):
    """`architectures` are SCMP_ARCH names; `sub_architectures` lists those that come with one."""

    default_result: int
    rules: tuple[Rule, ...]
    architectures: tuple[str, ...] = ()
    sub_architectures: tuple[tuple[str, tuple[str, ...]], ...] = ()
    flags: int = 0
    listener_path: str = ""  # the socket of the agent that answers SCMP_ACT_NOTIFY
    listener_metadata: str = ""


def errno_result(number: int) -> int:
    return _ERRNO | number


def action_of(result: int) -> tuple[str, int | None]:
    """The name of a filter's answer, and its errno where it has one."""
    kind = result & ACTION_MASK
    name = next(name for name, value in reversed(_ACTIONS.items()) if value == kind)
    return name, (result & 0xFFFF if kind in (_ERRNO, _TRACE) else None)


def flag_names(flags: int) -> list[str]:
    return [name for name, bit in _FLAGS.items() if bit and flags & bit]


def default_profile() -> Profile:
    """The verdicts of docker's default profile."""
    from . import seccomp_default  # the lists are needed only when a filter is compiled

    return seccomp_default.PROFILE


def parse_profile(text: str | bytes) -> Profile:
    """A docker or OCI profile. An agent answers its SCMP_ACT_NOTIFY where it names one. Raises
    InvalidInput saying where, Unsupported."""
    try:
        whole = jsons.loads(text)
    except ValueError as error:
        raise InvalidInput(f"invalid seccomp profile: {error}") from error
    except RecursionError as error:
        raise InvalidInput("invalid seccomp profile: nested too deeply") from error
    named = isinstance(whole, dict) and bool(whole.get("listenerPath"))
    return profile_from(whole, listener=named)


def profile_from(value: object, *, listener: bool = False) -> Profile:
    """The same from parsed JSON: `linux.seccomp` of an OCI config. With `listener` there is an
    agent that answers SCMP_ACT_NOTIFY."""
    whole = _object(value, "profile")
    path = _string(whole.get("listenerPath") or "", "listenerPath")
    metadata = _string(whole.get("listenerMetadata") or "", "listenerMetadata")
    if path and not path.startswith("/"):
        raise InvalidInput("seccomp profile: listenerPath must be absolute")
    if metadata and not path:
        raise InvalidInput("seccomp profile: listenerMetadata without a listenerPath")
    flags = 0
    for flag in _strings(whole.get("flags"), "flags"):
        if flag not in _FLAGS:
            raise Unsupported(f"seccomp profile: flag {flag} is not offered")
        flags |= _FLAGS[flag]
    architectures = _strings(whole.get("architectures"), "architectures")
    arch_map = _list(whole.get("archMap"), "archMap")
    if architectures and arch_map:
        raise InvalidInput("seccomp profile: use either 'architectures' or 'archMap'")
    rules = _list(whole.get("syscalls"), "syscalls")
    profile = Profile(
        _result(whole.get("defaultAction"), whole.get("defaultErrnoRet"), "defaultAction"),
        tuple(_rule(rule, f"syscalls[{number}]") for number, rule in enumerate(rules)),
        architectures,
        tuple(_arch_entry(entry, f"archMap[{n}]") for n, entry in enumerate(arch_map)),
        flags,
        path,
        metadata,
    )
    _check_notify(profile, listener)
    return profile


def _check_notify(profile: Profile, listener: bool) -> None:
    """An agent must be named, and may not hold the call by which it is told to begin."""
    asked = [rule for rule in profile.rules if rule.result == _NOTIFY]
    if not listener and (asked or profile.default_result == _NOTIFY):
        raise Unsupported("seccomp profile: SCMP_ACT_NOTIFY needs a listenerPath")
    if profile.default_result == _NOTIFY or any("write" in rule.names for rule in asked):
        raise InvalidInput("seccomp profile: SCMP_ACT_NOTIFY cannot be used for write")


def _arch_entry(value: object, where: str) -> tuple[str, tuple[str, ...]]:
    entry = _object(value, where)
    main = _string(entry.get("architecture"), f"{where}.architecture")
    return main, _strings(entry.get("subArchitectures"), f"{where}.subArchitectures")


def _rule(value: object, where: str) -> Rule:
    rule = _object(value, where)
    names = _strings(rule.get("names"), f"{where}.names")
    if rule.get("name"):
        if names:
            raise InvalidInput(f"seccomp profile: {where}: use either 'name' or 'names'")
        names = (_string(rule["name"], f"{where}.name"),)
    if not names or "" in names:
        raise InvalidInput(f"seccomp profile: {where}: names no system call")
    arguments = _list(rule.get("args"), f"{where}.args")
    return Rule(
        names,
        _result(rule.get("action"), rule.get("errnoRet"), f"{where}.action"),
        tuple(_argument(each, f"{where}.args[{n}]") for n, each in enumerate(arguments)),
        _condition(rule.get("includes"), f"{where}.includes"),
        _condition(rule.get("excludes"), f"{where}.excludes"),
    )


def _argument(value: object, where: str) -> Argument:
    argument = _object(value, where)
    operator = argument.get("op")
    if operator not in OPERATORS:
        raise InvalidInput(f"seccomp profile: {where}: unknown operator {operator!r}")
    return Argument(
        _integer(argument.get("index", 0), f"{where}.index", _MAX_ARGUMENT),
        operator,
        _integer(argument.get("value", 0), f"{where}.value", _UINT64),
        _integer(argument.get("valueTwo", 0), f"{where}.valueTwo", _UINT64),
    )


def _condition(value: object, where: str) -> Condition:
    if value is None:
        return Condition()
    condition = _object(value, where)
    for key in condition:
        if key not in ("caps", "arches", "minKernel"):
            raise InvalidInput(f"seccomp profile: {where}: unknown condition {key!r}")
    kernel = condition.get("minKernel")
    return Condition(
        _strings(condition.get("caps"), f"{where}.caps"),
        _strings(condition.get("arches"), f"{where}.arches"),
        None if kernel in (None, "") else _kernel(kernel, f"{where}.minKernel"),
    )


def _kernel(value: object, where: str) -> tuple[int, int]:
    """MAJOR.MINOR and nothing longer, as moby reads it."""
    major, dot, minor = _string(value, where).partition(".")
    if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
        raise InvalidInput(f"seccomp profile: {where}: want MAJOR.MINOR, not {value!r}")
    return int(major[:9]), int(minor[:9])


def _result(action: object, errno: object, where: str) -> int:
    if not isinstance(action, str) or action not in _ACTIONS:
        raise InvalidInput(f"seccomp profile: {where}: unknown action {action!r}")
    result = _ACTIONS[action]
    if result in (_ERRNO, _TRACE):
        number = _EPERM if errno is None else errno
        result |= _integer(number, f"errno of {where}", _MAX_ERRNO)
    return result


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"seccomp profile: {where}: want an object, not {_kind(value)}")
    return value


def _list(value: object, where: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInput(f"seccomp profile: {where}: want a list, not {_kind(value)}")
    return value


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"seccomp profile: {where}: want a string, not {_kind(value)}")
    return value


def _strings(value: object, where: str) -> tuple[str, ...]:
    return tuple(_string(each, where) for each in _list(value, where))


def _integer(value: object, where: str, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= highest:
        raise InvalidInput(f"seccomp profile: {where}: want 0 to {highest}, not {value!r}")
    return value


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
