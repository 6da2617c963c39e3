"""Whether this kernel runs programs of another architecture: its own compat modes, and what is
registered with binfmt_misc (qemu-user). Reads; registers nothing.
"""

import os

from ..errors import Unsupported
from ..typed import Literal

DIRECTORY = "/proc/sys/fs/binfmt_misc"
_ELF = bytes.fromhex("7f454c46")
# architecture: (word size: 1 for 32 bits, 2 for 64; byte order: 1 little, 2 big; e_machine)
_MACHINES = {
    "386": (1, 1, 3), "amd64": (2, 1, 62), "arm": (1, 1, 40), "arm64": (2, 1, 183),
    "riscv64": (2, 1, 243), "ppc64le": (2, 1, 21), "s390x": (2, 2, 22), "loong64": (2, 1, 258),
    "mips64le": (2, 1, 8),
}  # fmt: skip
_COMPATIBLE = {"x86_64": ("amd64", "386"), "aarch64": ("arm64",)}


def require(architecture: str, directory: str = DIRECTORY) -> None:
    """Raises Unsupported, with the ways out, when programs of that architecture cannot run."""
    if architecture in _COMPATIBLE.get(os.uname().machine, ()):
        return
    found = handlers(architecture, directory)
    if any("F" in flags for _, flags in found):
        return
    if found:
        raise Unsupported(
            f"programs for {architecture} cannot run in a container: {found[0][0]} is registered "
            "without the flag F, so the container would need it inside",
            hint="register it again with the flag F (Debian: qemu-user-static does)",
        )
    raise Unsupported(
        f"this machine cannot run programs for {architecture}: no emulator is registered",
        hint="apt-get install qemu-user-static binfmt-support; or do the RUN in a stage "
        "FROM --platform=$BUILDPLATFORM and COPY its result",
    )


def handlers(architecture: str, directory: str = DIRECTORY) -> list[tuple[str, str]]:
    """(interpreter, flags) of what is registered and on for that architecture's programs."""
    known = _MACHINES.get(architecture)
    if known is None:
        return []
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    entries = [_entry(f"{directory}/{n}") for n in names if n not in ("register", "status")]
    head = program_head(architecture)
    return [
        (entry.get("interpreter", ""), entry.get("flags:", ""))
        for entry in entries
        if "enabled" in entry and _matches(entry, head)
    ]


def program_head(architecture: str) -> bytes:
    """The first bytes of an executable for that architecture."""
    bits, order, machine = _MACHINES[architecture]
    endian: Literal["little", "big"] = "little" if order == 1 else "big"
    numbers = (2).to_bytes(2, endian) + machine.to_bytes(2, endian)
    return _ELF + bytes((bits, order, 1)) + bytes(9) + numbers


def _entry(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return {}
    return {word: rest for word, _, rest in (line.partition(" ") for line in lines)}


def _matches(entry: dict[str, str], head: bytes) -> bool:
    try:
        magic = bytes.fromhex(entry.get("magic", ""))
        mask = bytes.fromhex(entry.get("mask", "")) or b"\xff" * len(magic)
        offset = int(entry.get("offset", "0"))
    except ValueError:
        return False
    if not magic or offset or len(magic) > len(head):
        return False
    pairs = zip(head, magic, mask, strict=False)
    return all((byte ^ wanted) & bits == 0 for byte, wanted, bits in pairs)
