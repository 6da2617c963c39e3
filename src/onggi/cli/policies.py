"""--restart and the --health flags of run and create: their values, with docker's refusals."""

from ..engine import restart
from ..engine.restart import Policy
from ..errors import InvalidInput
from ..spec.image import Healthcheck
from .flags import Values
from .session import client_side, refusal

NUMBERS = (
    "health-interval", "health-timeout", "health-retries", "health-start-period",
    "health-start-interval",
)  # fmt: skip


def restart_policy(values: Values) -> Policy:
    """Docker's client knows the form, its daemon the policies (launch.check)."""
    text = values.text("restart")
    name = text.partition(":")[0]
    if values.on("rm") and name not in ("", "no"):
        raise refusal("conflicting options: cannot specify both --restart and --rm")
    try:
        return restart.parse(text)
    except InvalidInput as error:
        raise client_side(error) from error


def healthcheck(values: Values) -> Healthcheck | None:
    """None: as the image says."""
    command = values.text("health-cmd")
    given = bool(command) or any(_number(values, name) for name in NUMBERS)
    if values.on("no-healthcheck"):
        if given:
            raise refusal("--no-healthcheck conflicts with --health-* options")
        return Healthcheck(("NONE",))
    if not given:
        return None
    for name in NUMBERS:
        if _number(values, name) < 0:
            raise refusal(f"--{name} cannot be negative")
    return Healthcheck(
        test=("CMD-SHELL", command) if command else (),
        interval_ns=_number(values, "health-interval"),
        timeout_ns=_number(values, "health-timeout"),
        start_period_ns=_number(values, "health-start-period"),
        retries=_number(values, "health-retries"),
        start_interval_ns=_number(values, "health-start-interval"),
    )


def _number(values: Values, name: str) -> int:
    """Nanoseconds, or the number of retries."""
    text = values.text(name)
    if not text or name == "health-retries":
        return values.number(name)
    from ..units import parse_duration

    return parse_duration(text)
