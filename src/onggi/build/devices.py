"""RUN --device: which CDI devices of the host a step gets. The Dockerfile asks, the user allows
(`--allow device`, `--allow device=NAME[,alias=OTHER]`), or the vendor's file does by BuildKit's
annotation.
"""

from collections.abc import Iterable

from ..dockerfile.rundevice import Device
from ..engine import cdi
from ..errors import InvalidInput
from ..progress import Report, Warning
from ..typed import NamedTuple

ENTITLEMENT = "device"


class Allowed(NamedTuple):
    """What --allow says of devices. `names` are requests and what they mean, themselves mostly."""

    all: bool
    names: dict[str, str]


def allowed(entitlements: Iterable[str]) -> Allowed:
    """Raises InvalidInput for an option that is none."""
    everything, names = False, {}
    for entitlement in entitlements:
        key, _, value = entitlement.partition("=")
        if key != ENTITLEMENT:
            continue
        name, *options = value.split(",")
        everything = everything or not name
        alias = name
        for option in options:
            word, equals, said = option.partition("=")
            if not equals:
                raise InvalidInput(f'invalid device config "{option[:80]}"')
            if word != "alias":
                raise InvalidInput(f'unknown device config key "{word[:80]}"')
            alias = said
        if name:
            names[alias] = name
    return Allowed(everything, names)


def granted(
    requests: Iterable[Device], entitlements: frozenset[str], report: Report
) -> tuple[str, ...]:
    """Full names, each once. Raises InvalidInput in BuildKit's words for a device that is not
    allowed, or is required and not there."""
    user = allowed(entitlements)
    trusted = {full for name in user.names.values() for full in cdi.matching(name)}
    found: dict[str, None] = {}
    forbidden = []
    for request in requests:
        names = cdi.matching(user.names.get(request.name, request.name))
        if not names:
            text = f'device "{request.name[:80]}" is not registered'
            if request.required:
                raise InvalidInput(f"required {text}")
            report(Warning(f"optional {text}"))
        for name, freely in names.items():
            if not (user.all or freely or name in trusted):
                forbidden.append(name)
            found[name] = None
    if forbidden:
        several = len(set(forbidden)) > 1
        raise InvalidInput(
            f"device{'s' if several else ''} {', '.join(dict.fromkeys(forbidden))} "
            f"{'are' if several else 'is'} requested by the build but not allowed",
            hint=f"if you trust this Dockerfile: onggi build --allow device={forbidden[0]}",
        )
    return tuple(found)
