"""Compiled filters, asked for verdicts by a machine in Python and compared with what the profile
says, with libseccomp, and with docker's default profile."""

import ctypes
import functools
import hashlib
import json
import os
import random
import struct

import pytest

from onggi.errors import InvalidInput, Unsupported
from onggi.linux import bpf, syscall_tables
from onggi.linux.seccomp_compiler import compile_profile
from onggi.linux.seccomp_profile import Argument, Profile, Rule, default_profile, parse_profile

AUDIT = {
    "x86_64": 0xC000003E, "x32": 0xC000003E, "i386": 0x40000003,
    "aarch64": 0xC00000B7, "arm": 0x40000028,
}  # fmt: skip
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
DOCKER = frozenset(
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE"
    " SYS_CHROOT KILL AUDIT_WRITE".split()
)
NOTHING: frozenset[str] = frozenset()
EVERYTHING = DOCKER | frozenset(
    "DAC_READ_SEARCH SYS_ADMIN SYS_BOOT SYS_MODULE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME"
    " SYS_TTY_CONFIG SYS_NICE SYSLOG BPF PERFMON".split()
)
KERNEL = (6, 18)
_TESTS = {
    bpf.EQUAL: lambda a, k: a == k,
    bpf.GREATER: lambda a, k: a > k,
    bpf.GREATER_EQUAL: lambda a, k: a >= k,
}


class Filter:
    """What the kernel does with a seccomp program."""

    def __init__(self, program: bytes) -> None:
        self.code = bpf.disassemble(program)
        self.check()

    def check(self) -> None:
        """The kernel's conditions: jumps land inside, the end is a return, loads are aligned."""
        assert 0 < len(self.code) <= bpf.MAX_INSTRUCTIONS
        assert self.code[-1][0] == bpf.RETURN
        for at, (code, yes, no, value) in enumerate(self.code):
            if code in _TESTS:
                assert at + 1 + max(yes, no) < len(self.code)
            elif code == bpf.JUMP:
                assert at + 1 + value < len(self.code)
            elif code == bpf.LOAD:
                assert value % 4 == 0 and value < 64
            else:
                assert code in (bpf.RETURN, bpf.AND)

    def __call__(self, architecture: str, number: int, *arguments: int) -> int:
        padded = arguments + (0,) * (6 - len(arguments))
        data = struct.pack("<IIQ6Q", number, AUDIT[architecture], 0, *padded)
        words = struct.unpack("<16I", data)
        at = accumulator = 0
        while True:
            code, yes, no, value = self.code[at]
            at += 1
            if code == bpf.LOAD:
                accumulator = words[value >> 2]
            elif code == bpf.RETURN:
                return value
            elif code == bpf.JUMP:
                at += value
            elif code == bpf.AND:
                accumulator &= value
            else:
                at += yes if _TESTS[code](accumulator, value) else no


numbers = functools.cache(syscall_tables.numbers)


def passes(argument: Argument, value: int, bits: int) -> bool:
    mask = (1 << min(bits, argument.bits)) - 1
    value, wanted, two = value & mask, argument.value & mask, argument.value_two & mask
    return {
        "SCMP_CMP_NE": value != wanted,
        "SCMP_CMP_EQ": value == wanted,
        "SCMP_CMP_LT": value < wanted,
        "SCMP_CMP_LE": value <= wanted,
        "SCMP_CMP_GT": value > wanted,
        "SCMP_CMP_GE": value >= wanted,
        "SCMP_CMP_MASKED_EQ": value & wanted == two,
    }[argument.operator]


class Reading:
    """What a profile says for one architecture, written down as straight as it reads."""

    def __init__(self, default: int, rules: list[Rule], table: str) -> None:
        self.default, self.bits = default, 64 if table in ("x86_64", "aarch64") else 32
        self.by_number: dict[int, list[Rule]] = {}
        for rule in rules:
            for number in {numbers(table)[name] for name in rule.names if name in numbers(table)}:
                self.by_number.setdefault(number, []).append(rule)
        common = [number for number in self.by_number if table != "arm" or number < 0xF0000]
        self.newest = max(common, default=1 << 32)

    def __call__(self, number: int, arguments: tuple[int, ...]) -> int:
        for rule in self.by_number.get(number, ()):
            tests = [passes(each, arguments[each.position], self.bits) for each in rule.arguments]
            repeated = len({each.position for each in rule.arguments}) < len(tests)
            if (any if repeated else all)(tests):
                return rule.result
        unknown = number > self.newest and number not in self.by_number
        return ENOSYS if unknown and self.default != ALLOW else self.default


def applicable(profile: Profile, held: frozenset[str], go_name: str = "amd64") -> list[Rule]:
    def kept(rule: Rule) -> bool:
        bare = [name.removeprefix("CAP_") for name in rule.includes.capabilities]
        without = [name.removeprefix("CAP_") for name in rule.excludes.capabilities]
        here = not rule.includes.architectures or go_name in rule.includes.architectures
        return here and held.issuperset(bare) and not held.intersection(without)

    return [rule for rule in profile.rules if kept(rule)]


SAMPLES: tuple[tuple[int, ...], ...] = (
    (0,) * 6,
    (8, 1, 2, 3, 4, 5),
    (38, 0, 0, 0, 0, 0),
    (39, 0, 0, 0, 0, 0),
    (40, 0, 0, 0, 0, 0),
    (41, 0, 0, 0, 0, 0),
    (0x20000, 0x7E020000, 0, 0, 0, 0),
    (0x20008, 0, 0, 0, 0, 0),
    (0x10000000, 0, 0, 0, 0, 0),
    (0x00020000, 0, 0, 0, 0, 0),
    (0x7E020000, 0x1, 0, 0, 0, 0),
    (0x01200011, 0, 0, 0, 0, 0),
    (0xFFFFFFFF, 0, 0, 0, 0, 0),
    (0x100000026, 0, 0, 0, 0, 0),
    (0x100000028, 0, 0, 0, 0, 0),
    ((1 << 64) - 1,) * 6,
)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("held", [NOTHING, DOCKER, EVERYTHING], ids=["none", "docker", "all"])
def test_default_says_what_its_rules_say(machine: str, held: frozenset[str]) -> None:
    """600 numbers x 16 arguments x 5 architectures x 3 capability sets."""
    profile = default_profile()
    ask = Filter(compile_profile(profile, held, machine, KERNEL))
    tables = ("x86_64", "x32", "i386") if machine == "x86_64" else ("aarch64", "arm")
    rules = applicable(profile, held, "amd64" if machine == "x86_64" else "arm64")
    multiplexers = {numbers("i386")["socketcall"], numbers("i386")["ipc"]}
    for table in tables:
        says = Reading(profile.default_result, rules, table)
        base = syscall_tables.X32_BIT if table == "x32" else 0
        extra = [*range(0xF0000, 0xF0008)] if table == "arm" else [0x3FFFFFFF - 5, 999]
        for number in [*range(base, base + 600), *(base + each for each in extra)]:
            if table == "i386" and number in multiplexers:
                assert ask(table, number) == ALLOW
                continue
            for arguments in SAMPLES:
                answer = says(number, arguments)
                assert ask(table, number, *arguments) == answer, (table, number, arguments)


OPERATORS = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
INTERESTING = [0, 1, 2, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 40, 1 << 63,
               (1 << 64) - 1]  # fmt: skip


def random_profile(dice: random.Random) -> str:
    names = ["read", "write", "socket", "clone", "openat", "mseal", "getpid", "ioctl", "nonsense"]
    actions = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "KILL_THREAD"]

    def argument() -> dict[str, object]:
        return {
            "index": dice.randrange(6),
            "value": dice.choice(INTERESTING),
            "valueTwo": dice.choice(INTERESTING),
            "op": f"SCMP_CMP_{dice.choice(OPERATORS)}",
        }

    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": dice.choice([None, 1, 13]),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [
                {
                    "names": dice.sample(names, dice.randint(1, 4)),
                    "action": f"SCMP_ACT_{dice.choice(actions)}",
                    "errnoRet": dice.choice([None, 2, 38]),
                    "args": [argument() for _ in range(dice.choice([0, 1, 1, 2, 3]))],
                }
                for _ in range(dice.randint(1, 12))
            ],
        }
    )


@pytest.mark.parametrize("seed", range(40))
def test_any_profile_says_what_its_rules_say(seed: int) -> None:
    """The first matching rule wins, for every operator and action, on both halves of arguments."""
    dice = random.Random(seed)
    profile = parse_profile(random_profile(dice))
    ask = Filter(compile_profile(profile, NOTHING, "x86_64", KERNEL))
    for table in ("x86_64", "x32", "i386"):
        says = Reading(profile.default_result, list(profile.rules), table)
        for name in ("read", "write", "socket", "clone", "openat", "mseal", "getpid", "ioctl"):
            for _ in range(25):
                arguments = tuple(dice.choice(INTERESTING) for _ in range(6))
                number = numbers(table)[name]
                answer = says(number, arguments)
                assert ask(table, number, *arguments) == answer, (table, name, arguments)


def docker_verdicts(profile: Profile, held: frozenset[str], machine: str) -> str:
    """A digest of the verdicts for every name and sample without bits above an int's 32."""
    ask = Filter(compile_profile(profile, held, machine, KERNEL))
    lines = []
    for table in ("x86_64", "x32", "i386") if machine == "x86_64" else ("aarch64", "arm"):
        for name, number in sorted(numbers(table).items()):
            lines += [
                f"{table} {name} {sample} {ask(table, number, *sample):#x}"
                for sample in SAMPLES
                if max(sample) >> 32 == 0
            ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("machine", "held", "digest"),
    [
        # Of profiles/seccomp/default.json in moby/profiles at 3c28324 (2026-05-06), compiled by us.
        ("x86_64", NOTHING, "00758dc18ecd5f74"),
        ("x86_64", DOCKER, "6c314f4e5c781c41"),
        ("x86_64", EVERYTHING, "898877aa24dbe303"),
        ("aarch64", NOTHING, "0a82a7c113551975"),
        ("aarch64", DOCKER, "9ca3702bef69db3c"),
        ("aarch64", EVERYTHING, "aa7609eafaa6a4d3"),
    ],
)
def test_same_verdicts_as_docker(machine: str, held: frozenset[str], digest: str) -> None:
    assert docker_verdicts(default_profile(), held, machine) == digest


def test_sizes_stay_small() -> None:
    assert len(compile_profile(default_profile(), DOCKER, "x86_64", KERNEL)) // bpf.SIZE < 500


@pytest.mark.sec("B6")
@pytest.mark.sec("B7")
@pytest.mark.sec("B8")
@pytest.mark.sec("B10")
def test_what_the_threat_table_asks_for() -> None:
    ask = Filter(compile_profile(default_profile(), DOCKER, "x86_64", KERNEL))
    for table in ("x86_64", "i386", "x32"):
        known = numbers(table)
        for name in ("io_uring_setup", "io_uring_enter", "keyctl", "add_key", "request_key",
                     "unshare", "setns", "mount", "bpf", "userfaultfd", "open_by_handle_at",
                     "kexec_load", "init_module", "perf_event_open", "pivot_root"):  # fmt: skip
            assert ask(table, known[name]) == EPERM, (table, name)
        assert ask(table, known["clone3"]) == ENOSYS
        assert ask(table, known["clone"], 0x10000000) == EPERM
        assert ask(table, known["clone"], 0x01200011) == ALLOW
        for family in (38, 40, (7 << 32) + 38, (1 << 63) + 40):
            assert ask(table, known["socket"], family) == EPERM, (table, family)
        for family in (1, 2, 10, 16, 17):
            assert ask(table, known["socket"], family) == ALLOW
    assert ask("x86_64", 999) == ENOSYS
    assert ask("x86_64", 467) == ENOSYS  # newer than docker's list: a libc may fall back


@pytest.mark.sec("B16")
def test_foreign_architectures_are_killed() -> None:
    ask = Filter(compile_profile(default_profile(), DOCKER, "x86_64", KERNEL))
    assert ask("arm", 20) == KILL
    only = parse_profile('{"defaultAction": "SCMP_ACT_ALLOW"}')
    ask = Filter(compile_profile(only, NOTHING, "x86_64", KERNEL))
    assert ask("x86_64", 39) == ALLOW
    assert ask("i386", 20) == KILL
    assert ask("x86_64", syscall_tables.X32_BIT + 39) == KILL
    assert ask("x86_64", 0xFFFFFFFF) == ALLOW  # a call cancelled by a tracer


def test_multiplexed_calls_follow_libseccomp() -> None:
    text = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["bind", "shmget"], "action": "SCMP_ACT_ALLOW"}],
    }
    ask = Filter(compile_profile(parse_profile(json.dumps(text)), NOTHING, "x86_64", KERNEL))
    known = numbers("i386")
    assert ask("i386", known["bind"]) == ask("i386", known["socketcall"], 2) == ALLOW
    assert ask("i386", known["shmget"]) == ask("i386", known["ipc"], 23) == ALLOW
    assert ask("i386", known["socketcall"], 1) == ask("i386", known["ipc"], 22) == EPERM


def test_kernel_and_permissive_defaults() -> None:
    text = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "4.8"}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "excludes": {"minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"arches": ["amd64"]}},
        ],
    }
    profile = parse_profile(json.dumps(text))
    new = Filter(compile_profile(profile, NOTHING, "x86_64", (4, 8)))
    old = Filter(compile_profile(profile, NOTHING, "x86_64", (4, 7)))
    known = numbers("x86_64")
    assert (new("x86_64", known["ptrace"]), old("x86_64", known["ptrace"])) == (EPERM, ALLOW)
    assert (new("x86_64", known["kcmp"]), old("x86_64", known["kcmp"])) == (ALLOW, EPERM)
    assert new("x86_64", known["bpf"]) == ALLOW
    assert new("x86_64", 999) == ALLOW  # no ENOSYS where the default allows


def test_what_cannot_be_compiled() -> None:
    with pytest.raises(Unsupported, match="s390x"):
        compile_profile(default_profile(), DOCKER, "s390x", KERNEL)
    odd = default_profile()._replace(architectures=("SCMP_ARCH_VAX",))
    with pytest.raises(InvalidInput, match="SCMP_ARCH_VAX"):
        compile_profile(odd, DOCKER, "x86_64", KERNEL)
    foreign = default_profile()._replace(architectures=("SCMP_ARCH_S390X",))
    compile_profile(foreign, DOCKER, "x86_64", KERNEL)
    test = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    many = [
        {"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{**test, "value": value << 8}]}
        for value in range(2000)
    ]
    huge = parse_profile(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": many}))
    with pytest.raises(InvalidInput, match="too large"):
        compile_profile(huge, DOCKER, "x86_64", KERNEL)


class Comparison(ctypes.Structure):
    _fields_ = [
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    ]


def libseccomp_filter(rules: list[Rule]) -> tuple[Filter, set[str]]:
    """The same rules through libseccomp, as runc hands them over; and the names it knows."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("no libseccomp here")
    pointer, u32 = ctypes.c_void_p, ctypes.c_uint32
    library.seccomp_init.restype, library.seccomp_init.argtypes = pointer, [u32]
    library.seccomp_arch_add.argtypes = [pointer, u32]
    library.seccomp_rule_add_array.argtypes = [pointer, u32, ctypes.c_int, u32, pointer]
    library.seccomp_export_bpf.argtypes = [pointer, ctypes.c_int]
    library.seccomp_release.argtypes = [pointer]
    order = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
    context = library.seccomp_init(EPERM)
    known = set()
    for token in (0x40000003, 0x4000003E):
        assert library.seccomp_arch_add(context, token) == 0
    for rule in rules:
        tests = [
            Comparison(
                each.position,
                order.index(each.operator.removeprefix("SCMP_CMP_")),
                each.value,
                each.value_two,
            )
            for each in rule.arguments
        ]
        array = (Comparison * len(tests))(*tests)
        for name in rule.names:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            known.add(name)
            result = library.seccomp_rule_add_array(
                context, rule.result, number, len(tests), ctypes.byref(array)
            )
            assert result == 0, (name, result)
    descriptor = os.memfd_create("program")
    assert library.seccomp_export_bpf(context, descriptor) == 0
    library.seccomp_release(context)
    program = os.pread(descriptor, 1 << 20, 0)
    os.close(descriptor)
    return LibseccompFilter(program), known


class LibseccompFilter(Filter):
    def check(self) -> None:
        """Its programs are its own matter."""


@pytest.mark.parametrize("held", [DOCKER, EVERYTHING], ids=["docker", "all"])
def test_same_verdicts_as_libseccomp(held: frozenset[str]) -> None:
    profile = default_profile()
    rules = applicable(profile, held)
    theirs, known = libseccomp_filter(rules)
    ours = Filter(compile_profile(profile, held, "x86_64", KERNEL))
    compared = 0
    for table in ("x86_64", "x32", "i386"):
        named = {name for rule in rules for name in rule.names}
        # What libseccomp does not know yet it denies; what nobody names both deny.
        for name, number in numbers(table).items():
            if name in named - known:
                continue
            newest = max(numbers(table)[each] for each in named if each in numbers(table))
            for sample in SAMPLES:
                wide = name == "socket" and sample[0] >> 32  # the hole we close
                if wide or number > newest:
                    continue
                assert ours(table, number, *sample) == theirs(table, number, *sample), (
                    name,
                    sample,
                )
                compared += 1
    assert compared > 15_000
