"""What source code may not do (design/SECURITY 6, item 2), each with its few exceptions by file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "onggi"
# What is banned, and where it is allowed.
IMPORTS = {
    "typing": ("typed.py", "library/asked.py"), "tarfile": (), "pickle": (),
    "marshal": ("shelf.py",), "shelve": (), "random": (),
    "yaml": ("engine/cdi.py",), "dbm": (),
    "ctypes": (), "_ctypes": ("linux/libc.py",), "subprocess": ("linux/tools.py",), "pty": (),
    "multiprocessing": (), "xmlrpc": (), "telnetlib": (), "http.server": (), "tempfile": (),
}  # fmt: skip
CALLS = {
    "os.chroot": (), "os.system": (), "os.popen": (), "tempfile.mktemp": (), "eval": (),
    "exec": ("shelf.py",),
    "os.umask": ("runtime/init.py", "runtime/become.py"),  # the init stage: a process of its own
    "os.set_inheritable": ("engine/networks.py",),  # a lock that nft is to hold on to
    "os.kill": (
        "linux/tools.py", "runtime/reaper.py", "build/workers.py",  # own children, not reaped yet
    ),
    "os.killpg": ("runtime/reaper.py",),
    "yaml.load": (), "os.putenv": (), "shutil.rmtree": (), "os.tempnam": (),
}  # fmt: skip
PROC_WRITERS = {
    "runtime/become.py": "/proc/self/oom_score_adj, before the container's /proc is there",
    "runtime/cloning.py": "/proc/self/timens_offsets, before anything of the container is mounted",
    "network/netns.py": "/proc/sys/net of a namespace, from the host's /proc",
}
REAPERS = ("runtime/reaper.py",)  # process 1 of a container: every orphan is its own
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def literal(node: ast.expr | None) -> str:
    """The text of a string, of an f-string without its fields."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) for part in node.values)
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return node.value if isinstance(node.value, str) else node.value.decode("latin-1")
    return ""


def is_narrowing(test: ast.expr) -> bool:
    """`assert x is not None` and `assert isinstance(x, …)`: for the type checker. Anything else is
    a check, and -O takes it away."""
    if isinstance(test, ast.BoolOp):
        return all(map(is_narrowing, test.values))
    if isinstance(test, ast.Compare):
        return isinstance(test.ops[0], (ast.IsNot, ast.Is))
    return isinstance(test, ast.Call) and dotted(test.func) == "isinstance"


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module


def violations_in(name: str, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        for module in imported(node):
            for banned, allowed in IMPORTS.items():
                if (module == banned or module.startswith(f"{banned}.")) and name not in allowed:
                    yield f"{where}: imports {module}"
        if isinstance(node, ast.Assert) and not is_narrowing(node.test):
            yield f"{where}: a check by assert, which -O takes away"
        if isinstance(node, ast.Call):
            yield from call_violations(name, where, node)


def call_violations(name: str, where: str, node: ast.Call) -> Iterator[str]:
    called = dotted(node.func)
    first = node.args[0] if node.args else None
    if called in CALLS and name not in CALLS[called]:
        yield f"{where}: calls {called}"
    for keyword in node.keywords:
        if keyword.arg == "shell" and is_true(keyword.value):
            yield f"{where}: shell=True"
    whom = ast.unparse(first) if first is not None else ""
    takes_any = (called, whom) in (("os.waitpid", "-1"), ("os.waitid", "os.P_ALL"))
    if takes_any and name not in REAPERS:
        yield f"{where}: {called}({whom}) takes the status of others' children"
    if called in ("open", "os.open") and literal(first).startswith("/proc"):
        mode = "".join(ast.unparse(part) for part in node.args[1:])
        writes = WRITING.search(mode) if called == "os.open" else re.search(r"[wax+]", mode)
        if writes and name not in PROC_WRITERS:
            yield f"{where}: writes {literal(first)} by path (A5)"


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def sources() -> Iterator[tuple[str, str]]:
    for path in sorted(SRC.rglob("*.py")):
        yield str(path.relative_to(SRC)), path.read_text()


def test_nothing_banned_is_used() -> None:
    assert [line for name, text in sources() for line in violations_in(name, text)] == []


def test_every_exception_is_still_needed() -> None:
    texts = dict(sources())
    for word, files in (*IMPORTS.items(), *CALLS.items()):
        for file in files:
            assert word in texts[file], f"{file} does not use {word} any more"
    assert set(PROC_WRITERS) <= texts.keys()


def test_tokens_are_compared_in_constant_time() -> None:
    """None is compared by == : there are none to compare."""
    for name, text in sources():
        assert not re.search(r"(secret|token|password)\w* == ", text), name


@pytest.mark.parametrize(
    "text",
    [
        "import tarfile", "from pickle import loads", "import ctypes.util", "import random",
        "run(x, shell=True)", "os.kill(pid, 9)", "os.waitpid(-1, 0)", "os.chroot('/x')",
        "open('/proc/sys/kernel/x', 'w')", "os.open(f'/proc/{p}/attr', os.O_WRONLY)",
        "os.umask(0)", "tempfile.mktemp()", "assert token == x", "eval(x)", "yaml.load(x)",
        "os.waitid(os.P_ALL, 0, 4)",
    ],
)  # fmt: skip
def test_the_lint_can_fail(text: str) -> None:
    assert list(violations_in("engine/x.py", text))


@pytest.mark.parametrize(
    "text",
    ["assert x is not None", "assert isinstance(x, int)", "os.waitpid(pid, 0)", "run(shell=False)",
     "open('/proc/self/stat')", "os.open('/proc/self/exe', os.O_RDONLY)"],
)  # fmt: skip
def test_the_lint_can_pass(text: str) -> None:
    assert not list(violations_in("engine/x.py", text))
