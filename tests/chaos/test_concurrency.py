"""Many commands at once on one store: each does its work, and one of those that exclude wins."""

import subprocess
from pathlib import Path

import pytest

from registry_server import RegistryServer

from .conftest import Victim, kill

pytestmark = pytest.mark.root

Outcome = tuple[int, str]


def all_at_once(victim: Victim, commands: list[list[str]], timeout_s: float = 300) -> list[Outcome]:
    processes = [victim.start(*command) for command in commands]
    try:
        outcomes = []
        for process in processes:
            output, _ = process.communicate(timeout=timeout_s)
            outcomes.append((process.returncode, output.decode()))
        return outcomes
    except subprocess.TimeoutExpired:
        for process in processes:
            kill(process)
        raise


def test_twenty_runs(victim: Victim, busybox: str) -> None:
    commands = [["run", "--rm", busybox, "echo", f"number {n}"] for n in range(20)]
    outcomes = all_at_once(victim, commands)
    assert outcomes == [(0, f"number {n}\n") for n in range(20)]
    victim.settled()
    assert victim.out("ps", "-aq") == ""


def test_runs_in_a_store_that_nobody_has_opened(victim: Victim, busybox: str) -> None:
    """The first commands of a machine, together: database, mount trial, networks, init layer."""
    outcomes = all_at_once(victim, [["run", "--rm", busybox, "true"]] * 8)
    assert outcomes == [(0, "")] * 8


def test_ten_builds_of_one_dockerfile(victim: Victim, busybox: str, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "file").write_text("content\n")
    (context / "Dockerfile").write_text(
        "FROM busybox\nCOPY file /\nRUN cat /file > /copy && echo more >> /copy\nCMD cat /copy\n"
    )
    commands = [["build", "-q", "-t", f"app:{n}", str(context)] for n in range(10)]
    outcomes = all_at_once(victim, commands)
    assert [code for code, _ in outcomes] == [0] * 10, outcomes
    for n in range(10):
        assert victim.out("run", "--rm", f"app:{n}") == "content\nmore"
    victim.settled()


def test_two_pulls_of_one_image(victim: Victim, busybox: str, registry: RegistryServer) -> None:
    name = f"{registry.host}/both/app:1"
    victim("tag", busybox, name)
    victim("push", "-q", name)
    victim("rmi", name, busybox)
    outcomes = all_at_once(victim, [["pull", name]] * 2)
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert victim.out("run", "--rm", name, "echo", "whole") == "whole"
    assert len(victim.out("images", "-q").splitlines()) == 1


def test_one_name(victim: Victim, busybox: str) -> None:
    outcomes = all_at_once(victim, [["create", "--name", "one", busybox, "true"]] * 20)
    winners = [text for code, text in outcomes if code == 0]
    losers = [text for code, text in outcomes if code != 0]
    assert len(winners) == 1
    assert all('The container name "/one" is already in use' in text for text in losers), losers
    assert victim.out("ps", "-aq", "--no-trunc") == winners[0].strip()
    assert len(list((victim.root / "containers").iterdir())) == 1


def test_one_port(victim: Victim, busybox: str) -> None:
    command = ["run", "-d", "-p", "18093:80", busybox, "sleep", "300"]
    outcomes = all_at_once(victim, [command] * 10)
    losers = [text for code, text in outcomes if code != 0]
    assert len(losers) == 9, outcomes
    assert all(code in (0, 125) for code, _ in outcomes)
    assert all("address already in use" in t or "port is already allocated" in t for t in losers)
    assert len(victim.out("ps", "-q").splitlines()) == 1
    assert len(victim.rows("SELECT * FROM endpoint")) == 1
    victim.remove_containers()
    victim("run", "--rm", "-p", "18093:80", busybox, "true")


def test_prunes_between_runs_and_builds(victim: Victim, busybox: str, tmp_path: Path) -> None:
    """Garbage collection beside work: nothing that is in use goes."""
    context = tmp_path / "context"
    context.mkdir()
    commands = []
    for n in range(6):
        (context / f"Dockerfile.{n}").write_text(f"FROM busybox\nRUN echo {n} > /n\nCMD cat /n\n")
        commands += [
            ["build", "-q", "-f", str(context / f"Dockerfile.{n}"), "-t", f"n{n}", str(context)],
            ["system", "prune", "-f"],
            ["run", "--rm", busybox, "true"],
        ]
    outcomes = all_at_once(victim, commands)
    assert [outcome for outcome in outcomes if outcome[0] != 0] == []
    for n in range(6):
        assert victim.out("run", "--rm", f"n{n}") == str(n)


def test_one_container_started_stopped_and_removed(victim: Victim, busybox: str) -> None:
    for _ in range(3):
        victim("create", "--name", "one", busybox, "sleep", "300")
        verbs = [
            ["start", "one"],
            ["start", "one"],
            ["stop", "-t", "0", "one"],
            ["rm", "-f", "one"],
        ] * 2
        all_at_once(victim, verbs)
        victim.works()
        victim("rm", "-f", "one", code=None)
        assert victim.out("ps", "-aq") == ""
    victim.settled()


def test_two_engines_beside_each_other(
    victim: Victim, busybox: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Engines over directories of their own share no bridge: what one takes down is its own."""
    other = Victim(tmp_path_factory.mktemp("other"))
    archive = tmp_path_factory.mktemp("archive") / "busybox.tar"
    victim("save", "-o", str(archive), busybox)
    other("load", "-q", "-i", str(archive))
    try:
        victim("run", "--rm", busybox, "true")
        victim.until_gone()  # with its bridge
        other("run", "-d", "--name", "stays", busybox, "sleep", "300")
        victim("run", "--rm", busybox, "true")
        victim.until_gone()
        route = other.out("exec", "stays", "ip", "route")
        gateway = route.split("default via ")[1].split()[0]
        other("exec", "stays", "ping", "-c", "1", "-W", "20", gateway)
    finally:
        other.remove_containers()
        other.until_gone()
