"""The standard module `signal` without its enumerations, which take 1 ms to import: numbers are
plain ints. A type checker sees the standard one."""

from .typed import TYPE_CHECKING

if TYPE_CHECKING:
    from signal import *  # noqa: F403
else:
    from _signal import *  # noqa: F403

NUMBERS: dict[str, int] = {
    name: int(number)
    for name, number in sorted(globals().items(), reverse=True)
    if name.startswith("SIG") and name[3] != "_" and name.isupper()
}
NAMES = {number: name for name, number in NUMBERS.items()}  # of two names the one Python uses
