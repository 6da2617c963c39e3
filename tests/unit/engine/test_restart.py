"""Restart policies: moby's table of when another run follows, and when."""

import pytest

from onggi.engine import restart
from onggi.engine.restart import End, Policy
from onggi.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Policy("no")),
        ("no", Policy("no")),
        ("always", Policy("always")),
        ("unless-stopped", Policy("unless-stopped")),
        ("on-failure", Policy("on-failure")),
        ("on-failure:5", Policy("on-failure", 5)),
        ("on-failure:", Policy("on-failure")),
        ("on-failure:+2", Policy("on-failure", 2)),
    ],
)
def test_policies_are_read(text: str, policy: Policy) -> None:
    assert restart.parse(text) == policy
    restart.check(policy)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("on-failure:x", "maximum retry count must be an integer"),
        ("on-failure:1:2", "maximum retry count must be an integer"),
        ("on-failure:" + "9" * 30, "maximum retry count must be an integer"),
        (":3", "no policy provided before colon"),
        ("always:1", "can only be used with 'on-failure'"),
        ("no:-1", "can only be used with 'on-failure' and cannot be negative"),
        ("on-failure:-1", "maximum retry count cannot be negative"),
        ("sometimes", "unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or"),
    ],
)
def test_docker_refuses_the_rest(text: str, refusal: str) -> None:
    with pytest.raises(InvalidInput, match=refusal):
        restart.check(restart.parse(text))


@pytest.mark.parametrize(
    ("policy", "code", "before", "follows"),
    [
        (Policy("no"), 1, 0, False),
        (Policy("always"), 0, 99, True),
        (Policy("unless-stopped"), 0, 99, True),
        (Policy("on-failure"), 0, 0, False),
        (Policy("on-failure"), 1, 10**6, True),
        (Policy("on-failure", 3), 1, 2, True),
        (Policy("on-failure", 3), 1, 3, False),
    ],
)
def test_whether_another_run_follows(policy: Policy, code: int, before: int, follows: bool) -> None:
    assert restart.restarts(policy, End(code, 1.0, before, False)) is follows
    assert not restart.restarts(policy, End(code, 1.0, before, stopped_by_user=True))


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits, wait = [], 0.0
    for _ in range(13):
        wait = restart.next_delay(wait, 0.01)
        waits.append(wait)
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-2:] == [60.0, 60.0]


def test_a_steady_run_forgets_the_waits_before_it() -> None:
    assert restart.next_delay(25.6, 9.9) == 51.2
    assert restart.next_delay(25.6, 10.0) == 0.1


@pytest.mark.parametrize(
    ("name", "plain", "stopped", "interrupted"),
    [
        ("no", False, False, False),
        ("always", True, True, True),
        ("unless-stopped", True, False, True),
        ("on-failure", False, False, True),
    ],
)
def test_what_a_boot_starts(name: str, plain: bool, stopped: bool, interrupted: bool) -> None:
    def starts(*, by_user: bool = False, ran: bool = False, started: bool = True) -> bool:
        return restart.starts_at_boot(
            Policy(name), was_started=started, stopped_by_user=by_user, interrupted=ran
        )

    assert (starts(), starts(by_user=True), starts(ran=True)) == (plain, stopped, interrupted)
    assert not starts(ran=True, started=False)
