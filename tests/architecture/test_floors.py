"""The floors of the house: who may import whom, and who may touch the outside world."""

import ast
import re
import sys
import tomllib
from pathlib import Path

SRC = Path(__file__).parents[2] / "src" / "onggi"
FLOORS = [  # a package imports only lower floors and itself, never a sibling
    {"shelf", "typed"},
    {"jsons", "patterns", "signals", "trace"},
    {"errors", "progress", "streams", "units"},
    {"linux", "spec"},
    {"dockerfile", "httpd", "monitor", "network", "registry", "runtime", "store"},
    {"engine"},
    {"build"},
    {"remote"},
    {"api", "cli", "cri", "distribution", "library"},
]
LEVEL = {name: floor for floor, names in enumerate(FLOORS) for name in names}
OWNERS = {
    "ctypes": "linux",
    "_ctypes": "linux",
    "subprocess": "linux",
    "sqlite3": "store",
    "_sqlite3": "store",
    "grpc": "cri",
    "h11": "httpd",
    "h2": "api",
    "google": "api",
    "wsproto": "httpd",
    "urllib3": "registry",
}
PURE = (
    "api/decode",
    "api/progresslines",
    "api/route",
    "dockerfile/",
    "httpd/strict",
    "registry/protocol",
    "store/tarindex",
    "store/tarwrite",
    "store/erofs",
    "streams",
    "linux/bpf",
    "linux/nlmsg",
    "runtime/plan",
    "runtime/identity",
    "network/ipam",
    "network/rules",
    "engine/health",
    "engine/lifecycle",
    "engine/restart",
    "engine/specgen",
    "build/graph",
    "cli/flags",
    "cli/gotemplate",
)
IMPURE = {
    "os", "socket", "subprocess", "threading", "sqlite3", "ctypes", "_ctypes",
    "shutil", "time", "http", "logging",
}  # fmt: skip
AMBIENT = {("os", "environ"), ("os", "getenv"), ("sys", "argv")}  # an entry point passes them down
ENTRY_POINTS = {"main", "boot"}
MAX_LINES = 600


def imports(tree: ast.AST, here: list[str]) -> set[tuple[str, ...]]:
    """Every imported module, absolute; `here` is the importing package, e.g. ['onggi', 'store']."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            stem = [*base, *(node.module.split(".") if node.module else [])]
            found |= {(*stem, alias.name) for alias in node.names}
    return found


def violations_in(relative: Path, text: str) -> list[str]:
    bad = []
    home = relative.parts[0]
    if text.count("\n") > MAX_LINES:
        bad.append(f"{relative}: over {MAX_LINES} lines")
    tree = ast.parse(text)
    reads = {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    if relative.name not in ENTRY_POINTS and reads & AMBIENT:
        bad.append(f"{relative}: only a main.py may read the environment")
    for name in imports(tree, ["onggi", *relative.parts[:-1]]):
        top, sub = name[0], name[1] if name[0] == "onggi" and len(name) > 1 else None
        if home in LEVEL and sub in LEVEL and sub != home and LEVEL[sub] >= LEVEL[home]:
            bad.append(f"{relative}: imports {sub}, which is not below {home}")
        if OWNERS.get(top, home) != home:
            bad.append(f"{relative}: only {OWNERS[top]} may import {top}")
        if str(relative).startswith(PURE) and top in IMPURE:
            bad.append(f"{relative}: is sans-IO but imports {top}")
    return bad


def violations() -> list[str]:
    return [
        line
        for path in sorted(SRC.rglob("*.py"))
        for line in violations_in(path.relative_to(SRC).with_suffix(""), path.read_text())
    ]


def test_floors_hold() -> None:
    assert violations() == []


def test_the_check_can_fail() -> None:
    assert violations_in(Path("store/x"), "from onggi.engine import thing\n")
    assert violations_in(Path("store/x"), "from ..registry import client\n")
    assert violations_in(Path("cli/x"), "import subprocess\n")
    assert violations_in(Path("engine/specgen"), "import os\n")
    assert violations_in(Path("engine/x"), "import os\nos.environ['A']\n")
    assert not violations_in(Path("engine/x"), "import os\nfrom ..store import db\n")


def test_what_is_imported_is_what_is_declared() -> None:
    project = tomllib.loads((SRC.parents[1] / "pyproject.toml").read_text())["project"]
    texts = [*project["dependencies"], *project["optional-dependencies"]["buildkit"]]
    declared = {re.split(r"[^a-z0-9]", text.lower())[0] for text in texts}
    declared = {{"pyyaml": "yaml", "protobuf": "google"}.get(name, name) for name in declared}
    found = {
        name[0]
        for path in SRC.rglob("*.py")
        for name in imports(
            ast.parse(path.read_text()), ["onggi", *path.relative_to(SRC).parts[:-1]]
        )
    }
    # _sha2 is of 3.12; a plugin of pytest is loaded by pytest.
    assert found - sys.stdlib_module_names - {"onggi", "_sha2", "pytest"} == declared
