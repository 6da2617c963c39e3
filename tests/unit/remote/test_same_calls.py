"""What the command line calls of an engine, an engine elsewhere has too: no type checker looks."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import onggi.cli
from onggi.remote import archive, containers, images, objects

COMMANDS = Path(onggi.cli.__file__).parent
SERVICES = {
    "containers": containers.Containers, "execs": containers.Execs, "logs": containers.Logs,
    "images": images.Images, "volumes": objects.Volumes, "networks": objects.Networks,
    "system": objects.System, "archive": archive.Archive,
}  # fmt: skip
# Of commands that cli/elsewhere does not let through.
HERE_ONLY = {
    ("images", "login"), ("images", "logout"),
    ("images", "manifest_lists"), ("networks", "repair"),
}  # fmt: skip


def calls() -> Iterator[tuple[str, str, str, frozenset[str]]]:
    """(where, service, method, keywords) of `….engine.SERVICE.METHOD(…)`, also by a short name."""
    for path in sorted(COMMANDS.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
            short = {
                node.targets[0].id: ast.unparse(node.value).removeprefix("session.")
                for node in ast.walk(function)
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                and ast.unparse(node.value).startswith("session.engine.")
            }  # fmt: skip
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    owner = ast.unparse(node.func.value).removeprefix("session.")
                    owner = short.get(owner, owner)
                    head, _, service = owner.partition(".")
                    if head == "engine" and service in SERVICES:
                        words = frozenset(k.arg for k in node.keywords if k.arg)
                        yield f"{path.name}:{node.lineno}", service, node.func.attr, words


@pytest.mark.parametrize(("where", "service", "method", "words"), sorted(set(calls())))
def test_it_is_there(where: str, service: str, method: str, words: frozenset[str]) -> None:
    if (service, method) in HERE_ONLY:
        assert not hasattr(SERVICES[service], method)
        return
    signature = inspect.signature(getattr(SERVICES[service], method))
    assert words <= set(signature.parameters), where


def test_the_calls_are_found() -> None:
    found = {(service, method) for _, service, method, _ in calls()}
    assert {("containers", "network_names"), ("images", "load"), ("logs", "read")} <= found
