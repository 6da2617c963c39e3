"""Health checks as decisions: docker's defaults, streaks and start period."""

import pytest

from onggi.engine import health
from onggi.errors import InvalidInput
from onggi.spec.container import ContainerConfig, ContainerOptions, Health, HealthResult, Process
from onggi.spec.image import Healthcheck, ImageConfig, config_document, parse_config
from onggi.spec.jsontext import canonical
from onggi.spec.platform import Platform

SECOND = health.SECOND_NS
WANTED = health.resolved(Healthcheck(("CMD", "true"), start_period_ns=10 * SECOND))
GOOD, BAD = HealthResult(0, 1, 0, "fine"), HealthResult(0, 1, 1, "no")


def config(*test: str, shell: tuple[str, ...] = ()) -> ContainerConfig:
    process = Process((), (), "/", "", False)
    return ContainerConfig(
        ContainerOptions("x"), process, "", (), "", "", health=Healthcheck(test), shell=shell
    )


def test_defaults() -> None:
    assert health.resolved(Healthcheck(("CMD", "x"))) == Healthcheck(
        ("CMD", "x"), 30 * SECOND, 30 * SECOND, 0, 3, 5 * SECOND
    )
    assert health.resolved(Healthcheck(("CMD", "x"), interval_ns=5)).interval_ns == 5


def test_the_user_overrides_the_image_piece_by_piece() -> None:
    image = Healthcheck(("CMD", "a"), 1, 2, 3, 4, 5)
    assert health.merge(None, image) == image
    assert health.merge(Healthcheck(interval_ns=9), image) == image._replace(interval_ns=9)
    assert health.merge(Healthcheck(("NONE",)), image) == image._replace(test=("NONE",))
    assert health.merge(Healthcheck(("CMD", "b")), None) == Healthcheck(("CMD", "b"))
    assert health.merge(None, None) is None


def test_what_is_executed() -> None:
    assert health.command(config("CMD", "a", "b")) == ("a", "b")
    assert health.command(config("CMD-SHELL", "a b")) == ("/bin/sh", "-c", "a b")
    assert health.command(config("CMD-SHELL", "a", shell=("bash", "-c"))) == ("bash", "-c", "a")
    for none in (config("NONE"), config("CMD"), config("CMD-SHELL"), config("ODD", "x")):
        assert not health.is_checked(none)
    assert not health.is_checked(config("NONE")._replace(health=None))


@pytest.mark.parametrize("field", ["interval_ns", "timeout_ns", "start_period_ns"])
def test_less_than_a_millisecond_is_refused(field: str) -> None:
    with pytest.raises(InvalidInput, match="in Healthcheck cannot be less than 1ms"):
        health.check(Healthcheck(("CMD", "x"))._replace(**{field: 999_999}))
    health.check(Healthcheck(("CMD", "x"))._replace(**{field: 1_000_000}))
    with pytest.raises(InvalidInput, match="Retries in Healthcheck cannot be negative"):
        health.check(Healthcheck(("CMD", "x"), retries=-1))


def test_healthy_after_one_good_unhealthy_after_three_bad() -> None:
    state = health.after(Health(), BAD, WANTED, 11 * SECOND)
    assert (state.status, state.failing_streak) == ("starting", 1)
    state = health.after(state, GOOD, WANTED, 12 * SECOND)
    assert (state.status, state.failing_streak) == ("healthy", 0)
    for streak, status in ((1, "healthy"), (2, "healthy"), (3, "unhealthy"), (4, "unhealthy")):
        state = health.after(state, BAD, WANTED, 13 * SECOND)
        assert (state.failing_streak, state.status) == (streak, status)
    assert health.after(state, GOOD, WANTED, 14 * SECOND).status == "healthy"


def test_failures_in_the_start_period_do_not_count_until_it_was_healthy() -> None:
    state = Health()
    for _ in range(9):
        state = health.after(state, BAD, WANTED, 9 * SECOND)
    assert (state.status, state.failing_streak) == ("starting", 0)
    state = health.after(health.after(state, GOOD, WANTED, SECOND), BAD, WANTED, 2 * SECOND)
    assert state.failing_streak == 1


def test_five_results_are_kept() -> None:
    state = Health()
    for number in range(8):
        state = health.after(state, HealthResult(number, number, 0), WANTED, 0)
    assert [result.start_ns for result in state.log] == [3, 4, 5, 6, 7]


def test_the_start_interval_holds_while_starting() -> None:
    assert health.wait_ns(Health(), WANTED, SECOND) == 5 * SECOND
    assert health.wait_ns(Health(), WANTED, 10 * SECOND) == 30 * SECOND
    assert health.wait_ns(Health("healthy"), WANTED, SECOND) == 30 * SECOND


def test_an_image_keeps_all_of_it() -> None:
    check = Healthcheck(("CMD", "x"), 1, 2, 3, 4, 5)
    image = ImageConfig(Platform("linux", "amd64"), (), healthcheck=check)
    assert parse_config(canonical(config_document(image))).healthcheck == check
