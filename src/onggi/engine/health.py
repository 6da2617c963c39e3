"""Health checks as decisions: defaults, what a result makes of the state, when the next one is due.
Pure; moby's daemon/health.go is the model.
"""

from ..errors import InvalidInput
from ..spec.container import ContainerConfig, Health, HealthResult
from ..spec.image import Healthcheck

SECOND_NS = 10**9
MINIMUM_NS = 10**6
DEFAULTS = Healthcheck(
    interval_ns=30 * SECOND_NS,
    timeout_ns=30 * SECOND_NS,
    retries=3,
    start_interval_ns=5 * SECOND_NS,
)
KEPT_RESULTS = 5
MAX_OUTPUT = 4096
DEFAULT_SHELL = ("/bin/sh", "-c")


def merge(user: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """The user's check, with what it leaves open as the image says."""
    if user is None or image is None:
        return user or image
    values = [mine or its for mine, its in zip(user, image, strict=True)]
    return Healthcheck._make(values)


def check(wanted: Healthcheck) -> None:
    """Raises InvalidInput with the daemon's words."""
    for name, value in (
        ("Interval", wanted.interval_ns),
        ("Timeout", wanted.timeout_ns),
        ("StartPeriod", wanted.start_period_ns),
        ("StartInterval", wanted.start_interval_ns),
    ):
        if value and value < MINIMUM_NS:
            raise InvalidInput(f"{name} in Healthcheck cannot be less than 1ms")
    if wanted.retries < 0:
        raise InvalidInput("Retries in Healthcheck cannot be negative")


def is_checked(config: ContainerConfig) -> bool:
    return bool(command(config))


def command(config: ContainerConfig) -> tuple[str, ...]:
    """What a check executes; () when there is none."""
    kind, *words = config.health.test if config.health else ("NONE",)
    if kind == "CMD-SHELL" and words:
        return (*(config.shell or DEFAULT_SHELL), *words)
    return tuple(words) if kind == "CMD" else ()


def resolved(wanted: Healthcheck) -> Healthcheck:
    """With docker's defaults for what is 0."""
    return Healthcheck._make(
        value or default for value, default in zip(wanted, DEFAULTS, strict=True)
    )


def after(state: Health, result: HealthResult, wanted: Healthcheck, since_start_ns: int) -> Health:
    """The state that a result leads to; `wanted` is resolved, `since_start_ns` is when the check
    began. Failures in the start period count only once the container has been healthy."""
    log = (*state.log, result)[-KEPT_RESULTS:]
    if result.exit_code == 0:
        return Health("healthy", 0, log)
    if state.status == "starting" and since_start_ns < wanted.start_period_ns:
        return state._replace(log=log)
    streak = state.failing_streak + 1
    status = "unhealthy" if streak >= wanted.retries else state.status
    return Health(status, streak, log)


def wait_ns(state: Health, wanted: Healthcheck, since_start_ns: int) -> int:
    """How long until the next check."""
    if state.status == "starting" and since_start_ns < wanted.start_period_ns:
        return wanted.start_interval_ns
    return wanted.interval_ns
