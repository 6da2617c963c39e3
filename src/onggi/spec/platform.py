"""Platforms of images: os/architecture[/variant]."""

import os

from ..errors import InvalidInput
from ..typed import NamedTuple

_MACHINES = {
    "x86_64": ("amd64", ""), "amd64": ("amd64", ""), "aarch64": ("arm64", ""),
    "arm64": ("arm64", ""), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "i686": ("386", ""),
    "i386": ("386", ""), "riscv64": ("riscv64", ""), "ppc64le": ("ppc64le", ""),
    "s390x": ("s390x", ""), "loongarch64": ("loong64", ""),
}  # fmt: skip


_ARCHITECTURES = frozenset(_MACHINES) | {architecture for architecture, _ in _MACHINES.values()}


class Platform(NamedTuple):
    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in self if part)

    def matches(self, wanted: "Platform") -> bool:
        """Whether an image for self can serve `wanted`. arm64 means arm64/v8; no variant is any."""
        mine, theirs = self.normalized(), wanted.normalized()
        return mine[:2] == theirs[:2] and (
            not theirs.variant or not mine.variant or mine.variant == theirs.variant
        )

    def normalized(self) -> "Platform":
        architecture, variant = _MACHINES.get(self.architecture, (self.architecture, ""))
        variant = self.variant or variant
        if architecture == "arm64" and variant in ("8", "v8"):
            variant = ""
        return Platform(self.os, architecture, variant)


def host_platform() -> Platform:
    machine = os.uname().machine
    architecture, variant = _MACHINES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def parse_platform(text: str) -> Platform:
    """`linux/arm64/v8`, `linux/amd64`, `arm64`, `linux`. Raises InvalidInput on anything else."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(p and p.replace("_", "").isalnum() for p in parts):
        raise InvalidInput(f"{text!r} is an invalid platform: want os/architecture[/variant]")
    if len(parts) == 1:
        if parts[0] == "linux":
            return host_platform()
        if parts[0] not in _ARCHITECTURES:
            raise InvalidInput(
                f'"{text}": unknown operating system or architecture: invalid argument'
            )
        return Platform("linux", parts[0]).normalized()
    return Platform(*parts).normalized()
