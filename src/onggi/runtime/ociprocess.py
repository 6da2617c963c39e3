"""The `process` object of an OCI configuration, as `create` and `exec --process` read it."""

from ..errors import InvalidInput, Unsupported
from ..linux import capability, lsm, rlimit
from .plan import Capabilities, Labels, ProcessPlan, Scheduling, Stdio
from .reader import Reader

_POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
_POLICY_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip
_IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
_NO_LIMIT = 1 << 63
_MAX_PROCESSOR = 8191  # Linux knows no more (NR_CPUS)


def parse_process(process: Reader) -> ProcessPlan:
    """Also the `process.json` of exec."""
    args = process.strings("args")
    if not args:
        raise process.error("args", "must not be empty")
    cwd = process.get("cwd", str, "")
    if not cwd.startswith("/"):
        raise process.error("cwd", "must be an absolute path")
    user = process.object("user")
    uid, gid = user.get("uid", int, 0), user.get("gid", int, 0)
    tty = process.get("terminal", bool, False)
    size = process.object("consoleSize")
    stdio: Stdio = "inherit"
    return ProcessPlan(
        args=args,
        env=process.strings("env"),
        cwd=cwd,
        user=f"{uid}:{gid}",
        group_add=tuple(str(number) for number in user.numbers("additionalGids")),
        capabilities=_capabilities(process.object("capabilities")),
        no_new_privileges=process.get("noNewPrivileges", bool, False),
        rlimits=_rlimits(process),
        oom_score_adj=process.get("oomScoreAdj", int, None),
        umask=user.get("umask", int, 0o022),
        tty=tty,
        rows=size.get("height", int, 0),
        columns=size.get("width", int, 0),
        stdin=stdio,
        output=stdio,
        scheduling=_scheduling(process),
        labels=_labels(process),
    )


def _labels(process: Reader) -> Labels:
    """Labels of a security module are never left out in silence."""
    found = Labels(process.get("apparmorProfile", str, ""), process.get("selinuxLabel", str, ""))
    for key, module, name, label in (
        ("apparmorProfile", "apparmor", "AppArmor", found.apparmor),
        ("selinuxLabel", "selinux", "SELinux", found.selinux),
    ):
        if label and not lsm.is_on(module):
            raise Unsupported(
                f"config.json: process.{key} asks for {name}: this kernel does not have it"
            )
    return found


def _scheduling(process: Reader) -> Scheduling | None:
    if not (
        process.has("scheduler") or process.has("ioPriority") or process.has("execCPUAffinity")
    ):
        return None
    policy = io_priority = None
    if process.has("scheduler"):
        wanted = process.object("scheduler")
        flags = 0
        for word in wanted.strings("flags"):
            if word not in _POLICY_FLAGS:
                raise wanted.error("flags", f"has {word[:64]!r}, which is no flag")
            flags |= _POLICY_FLAGS[word]
        policy = (
            wanted.choice("policy", _POLICIES),
            flags,
            wanted.number("nice", -20, 19),
            wanted.number("priority", 0, 99),
            wanted.number("runtime", 0, _NO_LIMIT),
            wanted.number("deadline", 0, _NO_LIMIT),
            wanted.number("period", 0, _NO_LIMIT),
        )
    if process.has("ioPriority"):
        wanted = process.object("ioPriority")
        io_priority = (wanted.choice("class", _IO_CLASSES), wanted.number("priority", 0, 7))
    affinity = process.object("execCPUAffinity")
    first, final = (_processors(affinity, key) for key in ("initial", "final"))
    return Scheduling(policy, io_priority, None, first, final)


def _processors(affinity: Reader, key: str) -> frozenset[int]:
    """A list such as "0-3,7"."""
    found: set[int] = set()
    for part in filter(None, affinity.get(key, str, "").replace(" ", "").split(",")):
        low, dash, high = part.partition("-")
        numbers = (low, high) if dash else (low,)
        if not all(n.isascii() and n.isdigit() and len(n) < 5 for n in numbers) or any(
            int(n) > _MAX_PROCESSOR for n in numbers
        ):
            raise affinity.error(key, f"has {part[:32]!r}, which is no processor")
        found.update(range(int(low), int(high or low) + 1))
    return frozenset(found)


def _capabilities(sets: Reader) -> Capabilities:
    def mask(key: str) -> int:
        return capability.mask_of(capability.parse(name) for name in sets.strings(key))

    return Capabilities(*map(mask, Capabilities._fields))


def _rlimits(process: Reader) -> tuple[tuple[str, int, int], ...]:
    limits: list[rlimit.Limit] = []
    for item in process.objects("rlimits"):
        name = item.get("type", str, "").removeprefix("RLIMIT_").lower()
        soft, hard = (_unlimited(item.get(key, int, 0)) for key in ("soft", "hard"))
        try:
            rlimit.check((name, soft, hard))
        except InvalidInput as error:
            raise item.error("type", f"is wrong: {error.message}") from error
        if any(name == known for known, _, _ in limits):
            raise item.error("type", f"RLIMIT_{name.upper()} is given twice")
        limits.append((name, soft, hard))
    return tuple(limits)


def _unlimited(value: int) -> int:
    return rlimit.UNLIMITED if value >= 1 << 63 else value
