"""Each tier has a command that raises it, and each lack one that ends it."""

import pytest

from onggi.engine import diagnosis, subids
from onggi.engine.diagnosis import Facts
from onggi.engine.tier import EVERY_ID, NOTHING, ROOT, Tier

TWO, THREE = Tier(2, "subordinate ids", 65537), Tier(3, "single id", 1)
GOOD = Facts(
    tier=TWO,
    user="alice",
    kernel=(6, 12),
    release="6.12.1",
    user_namespaces=1000,
    restricted_by="",
    inside=False,
    has_uidmap=True,
    subordinate=True,
    next_free=100000,
    backend="user-directory",
    overlay="",
    cgroup_version=2,
    delegated=True,
    network="",
    network_fix="",
    helper="pasta",
    first_port=1024,
    landlock=7,
)


def by_name(facts: Facts) -> dict[str, diagnosis.Finding]:
    return {finding.name: finding for finding in diagnosis.findings(facts)}


def test_a_good_host_has_no_problem() -> None:
    for tier in (ROOT, TWO):
        found = by_name(GOOD._replace(tier=tier, backend="erofs" if tier is ROOT else GOOD.backend))
        assert {finding.level for finding in found.values()} <= {"ok", "note"}
    assert "65537 ids" in found["privilege"].about
    assert found["ports"].fix.endswith("ip_unprivileged_port_start=80")
    assert "ports" not in by_name(GOOD._replace(first_port=80))


@pytest.mark.parametrize(
    ("facts", "fix"),
    [
        (GOOD._replace(has_uidmap=False), "sudo apt-get install uidmap"),
        (
            GOOD._replace(subordinate=False, next_free=165536),
            "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice",
        ),
        (
            GOOD._replace(has_uidmap=False, subordinate=False),
            "sudo apt-get install uidmap && sudo usermod --add-subuids 100000-165535 "
            "--add-subgids 100000-165535 alice",
        ),
        (GOOD, "sudo chmod u+s /usr/bin/newuidmap /usr/bin/newgidmap"),
    ],
)
def test_a_single_id(facts: Facts, fix: str) -> None:
    found = by_name(facts._replace(tier=THREE))["privilege"]
    assert (found.level, found.fix) == ("warning", fix)


@pytest.mark.parametrize(
    ("facts", "fix"),
    [
        (GOOD._replace(user_namespaces=0), "sudo sysctl -w user.max_user_namespaces=15000"),
        (
            GOOD._replace(restricted_by="apparmor"),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (
            GOOD._replace(restricted_by="kernel.unprivileged_userns_clone"),
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (GOOD._replace(inside=True), "run the outer container with --privileged"),
        (GOOD, "run the outer container with --security-opt seccomp=unconfined"),
    ],
)
def test_no_namespace(facts: Facts, fix: str) -> None:
    found = by_name(facts._replace(tier=NOTHING._replace(why="refused")))["privilege"]
    assert (found.level, found.fix) == ("problem", fix)
    assert "refused" in found.about


@pytest.mark.parametrize(
    ("facts", "name", "level"),
    [
        (GOOD._replace(kernel=(5, 10)), "kernel", "problem"),
        (GOOD._replace(kernel=(5, 10), tier=ROOT), "kernel", "ok"),
        (GOOD._replace(overlay="no such device"), "layers", "problem"),
        (GOOD._replace(delegated=False), "control groups", "warning"),
        (GOOD._replace(cgroup_version=1, delegated=False), "control groups", "warning"),
        (GOOD._replace(cgroup_version=0, tier=ROOT), "control groups", "warning"),
        (GOOD._replace(network="pasta is not installed"), "network", "problem"),
        (GOOD._replace(landlock=0), "landlock", "note"),
    ],
)
def test_what_is_missing(facts: Facts, name: str, level: str) -> None:
    assert by_name(facts)[name].level == level


def test_the_next_free_id() -> None:
    assert diagnosis.next_free("") == 100000
    assert diagnosis.next_free("a:100000:65536\nb:300000:10\n", "c:165536:65536\n") == 300010
    assert diagnosis.next_free("root:0:4294967295\nnonsense\na:b:c") == 100000


def test_ranges_by_name_and_number() -> None:
    text = "# a comment\nalice:100000:65536\n1000:200000:10\nbob:1:2\nalice:x:1\nalice:5:0\n"
    assert subids.ranges(text, "alice", 1000) == ((100000, 65536), (200000, 10))
    assert subids.ranges(text, "carol", 7) == ()
    assert subids.mapping(1000, ((100000, 65536), (200000, 10))) == (
        (0, 1000, 1),
        (1, 100000, 65536),
        (65537, 200000, 10),
    )
    assert subids.mapping(1000, ()) == ((0, 1000, 1),)
    assert EVERY_ID == 0xFFFFFFFF
