"""Restart policies: what follows a container's end. Pure; moby's restartmanager is the model.

Durations are monotonic: a clock that jumps restarts nothing and delays nothing.
"""

from ..errors import InvalidInput
from ..typed import NamedTuple

POLICIES = ("no", "always", "on-failure", "unless-stopped")
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
STEADY_S = 10.0  # a run of this length forgets the delays before it


class Policy(NamedTuple):
    name: str = "no"
    retries: int = 0  # of on-failure; 0: no limit


class End(NamedTuple):
    """How a run ended. `restarts` counts those since somebody started the container."""

    exit_code: int
    ran_s: float
    restarts: int
    stopped_by_user: bool


def parse(text: str) -> Policy:
    """`on-failure:5` and its kin; "" is the default. Raises InvalidInput for what docker's client
    refuses; whether there is such a policy is for `check`."""
    name, colon, number = text.partition(":")
    if colon and not name:
        raise InvalidInput("invalid restart policy format: no policy provided before colon")
    retries = 0
    if number:
        digits = number[1:] if number[0] in "+-" else number
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise InvalidInput(
                "invalid restart policy format: maximum retry count must be an integer"
            )
        retries = int(number)
    return Policy(name or "no", retries)


def check(policy: Policy) -> None:
    """Raises InvalidInput with the daemon's words."""
    if policy.name not in POLICIES:
        raise InvalidInput(
            f"invalid restart policy: unknown policy '{policy.name[:64]}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    negative = policy.retries < 0
    if policy.name == "on-failure":
        if negative:
            raise InvalidInput("invalid restart policy: maximum retry count cannot be negative")
    elif policy.retries:
        raise InvalidInput(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
            + (" and cannot be negative" if negative else "")
        )


def restarts(policy: Policy, end: End) -> bool:
    """Whether another run follows."""
    if end.stopped_by_user:
        return False
    if policy.name == "on-failure":
        return end.exit_code != 0 and (policy.retries == 0 or end.restarts < policy.retries)
    return policy.name in ("always", "unless-stopped")


def next_delay(before_s: float, ran_s: float) -> float:
    """How long to wait, after a wait of `before_s` (0: none yet) and a run of `ran_s`."""
    if ran_s >= STEADY_S or before_s <= 0:
        return FIRST_DELAY_S
    return min(before_s * 2, LONGEST_DELAY_S)


def starts_at_boot(
    policy: Policy, *, was_started: bool, stopped_by_user: bool, interrupted: bool
) -> bool:
    """Whether `system start` starts it. `interrupted`: it ran when the host went down."""
    if not was_started:
        return False
    match policy.name:
        case "always":
            return True
        case "unless-stopped":
            return not stopped_by_user
        case "on-failure":
            return interrupted and not stopped_by_user
    return False
