"""From a seccomp profile to the program the kernel runs.

For each architecture the numbers are merged into ranges of equal outcome and searched as a binary
tree; calls with argument tests are leaves of their own. Verdicts are those of runc with libseccomp
on docker's reading of the profile, with one rule on top: the first rule that matches decides.
Numbers above the newest that the profile names answer ENOSYS, so that a libc which tries a new call
first falls back instead of failing.
"""

from collections.abc import Iterable, Iterator, Mapping

from ..errors import InvalidInput, Unsupported
from ..typed import NamedTuple
from . import bpf, syscall_tables
from .seccomp_profile import (
    ACTION_MASK,
    KILL_PROCESS,
    PERMISSIVE,
    Argument,
    Condition,
    Profile,
    Rule,
    errno_result,
)

_ENOSYS = errno_result(38)
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOW = 0xFFFFFFFF
_X32 = syscall_tables.X32_BIT


class _Architecture(NamedTuple):
    table: str
    audit: int  # AUDIT_ARCH_* of linux/audit.h
    bits: int  # how much of an argument libseccomp compares


class _Machine(NamedTuple):
    go_name: str  # the word for it in a profile's conditions
    native: str
    architectures: dict[str, _Architecture]  # the machine's own first


_MACHINES = {
    "x86_64": _Machine(
        "amd64",
        "SCMP_ARCH_X86_64",
        {
            "SCMP_ARCH_X86_64": _Architecture("x86_64", 0xC000003E, 64),
            "SCMP_ARCH_X32": _Architecture("x32", 0xC000003E, 32),
            "SCMP_ARCH_X86": _Architecture("i386", 0x40000003, 32),
        },
    ),
    "aarch64": _Machine(
        "arm64",
        "SCMP_ARCH_AARCH64",
        {
            "SCMP_ARCH_AARCH64": _Architecture("aarch64", 0xC00000B7, 64),
            "SCMP_ARCH_ARM": _Architecture("arm", 0x40000028, 32),
        },
    ),
}
_KNOWN_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "LOONGARCH64", "M68K", "MIPS", "MIPS64",
        "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32", "PARISC", "PARISC64", "PPC", "PPC64",
        "PPC64LE", "RISCV64", "S390", "S390X", "SH", "SHEB",
    )
)  # fmt: skip

# On i386 these are also reached through one call that takes their number as its first argument.
_MULTIPLEXED = {
    "socketcall": (
        "", "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername",
        "socketpair", "send", "recv", "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt",
        "sendmsg", "recvmsg", "accept4", "recvmmsg", "sendmmsg",
    ),
    "ipc": (
        "", "semop", "semget", "semctl", "semtimedop", "", "", "", "", "", "", "msgsnd", "msgrcv",
        "msgget", "msgctl", "", "", "", "", "", "", "shmat", "shmdt", "shmget", "shmctl",
    ),
}  # fmt: skip

_Case = tuple[tuple[Argument, ...], int]  # all of these arguments -> this result
_Cases = tuple[_Case, ...]  # tried in order; the last has no arguments and always applies
_Outcome = int | _Cases  # int: whatever the arguments are


def compile_profile(
    profile: Profile, capabilities: Iterable[str], machine: str, kernel: tuple[int, int]
) -> bytes:
    """`machine` and `kernel` as uname says; `capabilities` are those of the bounding set.

    Raises Unsupported on a machine whose calls we do not know, InvalidInput when the profile names
    no architecture that exists or becomes longer than the kernel takes.
    """
    target = _MACHINES.get(machine)
    if target is None:
        raise Unsupported(f"seccomp filters for {machine} are not offered")
    rules = applicable(profile, capabilities, machine, kernel)
    assembler = bpf.Assembler()
    start = assembler.ret(KILL_PROCESS)
    for audit, ranges in _sections(profile, rules, target):
        body = assembler.load(_NUMBER, _tree(assembler, ranges))
        start = assembler.branch(bpf.EQUAL, audit, body, start)
    start = assembler.load(_ARCHITECTURE, start)
    try:
        return assembler.finish(start)
    except ValueError as error:
        raise InvalidInput(f"seccomp profile is too large: {error}") from error


def applicable(
    profile: Profile, capabilities: Iterable[str], machine: str, kernel: tuple[int, int]
) -> list[Rule]:
    """The rules whose conditions hold here, in order."""
    held = frozenset(_bare(name) for name in capabilities)
    go_name = _MACHINES[machine].go_name
    return [rule for rule in profile.rules if _applies(rule, held, go_name, kernel)]


def architectures(profile: Profile, machine: str) -> list[str]:
    """The SCMP_ARCH names that a profile speaks about on this machine."""
    return sorted(_architectures(profile, _MACHINES[machine]))


def _bare(capability: str) -> str:
    return capability.upper().removeprefix("CAP_")


def _applies(rule: Rule, held: frozenset[str], go_name: str, kernel: tuple[int, int]) -> bool:
    """moby's reading: any one exclusion drops the rule, every inclusion must hold."""
    excludes, includes = rule.excludes, rule.includes
    if go_name in excludes.architectures or held & _capabilities(excludes):
        return False
    if excludes.min_kernel and kernel >= excludes.min_kernel:
        return False
    if includes.architectures and go_name not in includes.architectures:
        return False
    if includes.min_kernel and kernel < includes.min_kernel:
        return False
    return held >= _capabilities(includes)


def _capabilities(condition: Condition) -> frozenset[str]:
    return frozenset(_bare(name) for name in condition.capabilities)


# -- which numbers mean what


def _sections(
    profile: Profile, rules: list[Rule], target: _Machine
) -> Iterator[tuple[int, list[tuple[int, _Outcome]]]]:
    """(audit architecture, ranges) for each, the machine's own last: it is tested first."""
    wanted = _architectures(profile, target)
    by_audit: dict[int, list[_Architecture]] = {}
    for name, architecture in reversed(target.architectures.items()):
        if name in wanted:
            by_audit.setdefault(architecture.audit, []).append(architecture)
    for audit, architectures in by_audit.items():
        ranges: list[tuple[int, _Outcome]] = []
        for architecture in sorted(architectures, key=lambda each: each.table == "x32"):
            ranges += _ranges(architecture, rules, profile.default_result)
        if architectures[-1].table == "x86_64" and len(architectures) == 1:
            # x32 is not wanted, but its calls come as x86-64; -1 is a call a tracer cancelled.
            ranges += [(_X32, KILL_PROCESS), (_LOW, profile.default_result)]
        yield audit, ranges


def _architectures(profile: Profile, target: _Machine) -> set[str]:
    wanted = {target.native, *profile.architectures}
    for main, others in profile.sub_architectures:
        if main == target.native:
            wanted.update(others)
    unknown = wanted - _KNOWN_ARCHITECTURES
    if unknown:
        raise InvalidInput(f"seccomp profile: unknown architecture {min(unknown)}")
    return wanted


def _ranges(
    architecture: _Architecture, rules: list[Rule], default: int
) -> list[tuple[int, _Outcome]]:
    """(first number, outcome) in rising order; each range ends where the next begins."""
    numbers = syscall_tables.numbers(architecture.table)
    outcomes = {
        number: _outcome(cases, default)
        for number, cases in _cases_by_number(architecture, rules, numbers).items()
    }
    common = [number for number in outcomes if not _is_private(architecture, number)]
    floor = _X32 if architecture.table == "x32" else 0
    newest = max(common, default=_LOW)
    beyond = default if default & ACTION_MASK in PERMISSIVE else _ENOSYS
    ranges: list[tuple[int, _Outcome]] = []
    following = floor
    for number in sorted(outcomes):
        if number > following:
            _append(ranges, following, default if following <= newest else beyond)
        _append(ranges, number, outcomes[number])
        following = number + 1
    _append(ranges, following, default if following <= newest else beyond)
    return ranges


def _is_private(architecture: _Architecture, number: int) -> bool:
    return architecture.table == "arm" and number >= syscall_tables.ARM_PRIVATE


def _append(ranges: list[tuple[int, _Outcome]], first: int, outcome: _Outcome) -> None:
    if not ranges or ranges[-1][1] != outcome:
        ranges.append((first, outcome))


def _cases_by_number(
    architecture: _Architecture, rules: list[Rule], numbers: Mapping[str, int]
) -> dict[int, list[_Case]]:
    """A name this architecture does not have is passed over, as libseccomp does."""
    found: dict[int, list[_Case]] = {}
    for rule in rules:
        for arguments in _alternatives(rule.arguments, architecture.bits):
            for name in rule.names:
                if name in numbers:
                    found.setdefault(numbers[name], []).append((arguments, rule.result))
                if architecture.table == "i386":
                    for multiplexer, index in _multiplexed(name):
                        case = (_through(index, arguments), rule.result)
                        found.setdefault(numbers[multiplexer], []).append(case)
    return found


def _alternatives(arguments: tuple[Argument, ...], bits: int) -> list[tuple[Argument, ...]]:
    """runc's reading: tests of different arguments must all hold; when one argument is tested
    twice, each test of the rule is a rule of its own."""
    narrowed = tuple(each._replace(bits=min(each.bits, bits)) for each in arguments)
    if len({each.position for each in arguments}) < len(arguments):
        return [(each,) for each in narrowed]
    return [narrowed]


def _multiplexed(name: str) -> Iterator[tuple[str, int]]:
    for multiplexer, names in _MULTIPLEXED.items():
        if name in names:
            yield multiplexer, names.index(name)


def _through(index: int, arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """libseccomp's reading: the call's number takes the place of the first argument, whose own
    test is lost (it lies behind a pointer, where no filter can look)."""
    rest = tuple(each for each in arguments if each.position)
    return (Argument(0, "SCMP_CMP_EQ", index, bits=32), *rest)


def _outcome(cases: list[_Case], default: int) -> _Outcome:
    """Drop what can never be reached; a plain result when arguments do not matter."""
    reachable: list[_Case] = []
    for case in cases:
        reachable.append(case)
        if not case[0]:
            break
    else:
        reachable.append(((), default))
    if all(result == reachable[0][1] for _arguments, result in reachable):
        return reachable[0][1]
    return tuple(reachable)


# -- code


def _tree(assembler: bpf.Assembler, ranges: list[tuple[int, _Outcome]]) -> bpf.Label:
    """A binary search for the range of the number in the accumulator."""
    if len(ranges) == 1:
        return _leaf(assembler, ranges[0][1])
    middle = len(ranges) // 2
    above = _tree(assembler, ranges[middle:])
    below = _tree(assembler, ranges[:middle])
    return assembler.branch(bpf.GREATER_EQUAL, ranges[middle][0], above, below)


def _leaf(assembler: bpf.Assembler, outcome: _Outcome) -> bpf.Label:
    if isinstance(outcome, int):
        return assembler.ret(outcome)
    *tested, (_none, otherwise) = outcome
    label = assembler.ret(otherwise)
    for arguments, result in reversed(tested):
        match, fail = assembler.ret(result), label
        for argument in reversed(arguments):
            match = _compare(assembler, argument, match, fail)
        label = match
    return label


def _compare(
    assembler: bpf.Assembler, argument: Argument, match: bpf.Label, fail: bpf.Label
) -> bpf.Label:
    """Both halves of the argument, unsigned. NE, LT and LE are EQ, GE and GT turned round."""
    operator = argument.operator.removeprefix("SCMP_CMP_")
    if operator in ("NE", "LT", "LE"):
        operator = {"NE": "EQ", "LT": "GE", "LE": "GT"}[operator]
        match, fail = fail, match
    if operator == "MASKED_EQ":
        return _compare_masked(assembler, argument, match, fail)
    offset = _ARGUMENTS + 8 * argument.position
    low, high = argument.value & _LOW, argument.value >> 32
    tests = {"EQ": bpf.EQUAL, "GT": bpf.GREATER, "GE": bpf.GREATER_EQUAL}
    label = assembler.load(offset, assembler.branch(tests[operator], low, match, fail))
    if argument.bits == 32:
        return label
    equal = assembler.branch(bpf.EQUAL, high, label, fail)
    if operator != "EQ":
        equal = assembler.branch(bpf.GREATER, high, match, equal)
    return assembler.load(offset + 4, equal)


def _compare_masked(
    assembler: bpf.Assembler, argument: Argument, match: bpf.Label, fail: bpf.Label
) -> bpf.Label:
    offset = _ARGUMENTS + 8 * argument.position
    halves = [(offset, 0)] if argument.bits == 32 else [(offset, 0), (offset + 4, 32)]
    for place, shift in halves:
        mask, wanted = argument.value >> shift & _LOW, argument.value_two >> shift & _LOW
        if mask or wanted:
            equal = assembler.branch(bpf.EQUAL, wanted, match, fail)
            match = assembler.load(place, assembler.mask(mask, equal))
    return match
