"""docs/security-tests.md is made from the marks of the tests: running this file writes it, and the
test here compares it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security-tests.md"
ROWS = {
    "A1": "`/proc/self/exe` leads to the host's interpreter",
    "A2": "leaked descriptors, a working directory by descriptor",
    "A3": "masks made from a `/dev/null` that the container swapped",
    "A4": "the console bound over something else",
    "A5": "writes to /proc led elsewhere",
    "A6": "images whose /dev, /proc, /etc are links",
    "A7": "mount targets and sources swapped while mounting",
    "A8": "tracing or opening the runtime while it joins",
    "A9": "the container's code run by the engine",
    "A10": "`cp` through swapped directories",
    "A11": "hostile checkpoints",
    "A12": "keystrokes and escape sequences for the caller's terminal",
    "A13": "abstract sockets of the engine",
    "A14": "the old root, chroot tricks",
    "A15": "signals to a reused pid",
    "A16": "user files that are pipes, links or endless",
    "B1": "release_agent of cgroup v1",
    "B2": "kernel settings, smuggled sysctls",
    "B3": "inheritable and ambient capabilities",
    "B4": "open_by_handle_at",
    "B5": "raw sockets; ping without them",
    "B6": "io_uring",
    "B7": "AF_ALG, AF_VSOCK",
    "B8": "keyrings",
    "B9": "groups; user namespace maps",
    "B10": "new user namespaces",
    "B11": "the kernel's log",
    "B12": "device nodes",
    "B13": "the store, as other users see it",
    "B14": "side channels in /proc and /sys",
    "B15": "a container's own limits",
    "B16": "system calls of another table",
    "B17": "page cache shared by containers of one layer",
    "B18": "namespaces of dead containers",
}
NOT_RUN = {
    "A11": "onggi has no checkpoints.",
    "B17": "Not closed: layers are shared, as in docker. Kernel bugs that write to the page cache "
    "cross containers of one image.",
}
HEAD = """# The sandbox's tests, row by row

Made from the marks in `tests/security`; a test compares this page with them. The rows are the
classes of attack of the design, by what they aim at. Each test runs the real engine with a real
attacker. A race lasts 4 seconds (`ONGGI_RACE_SECONDS` makes it longer), and tests called `control`
show that the attacker does get through once the protection is torn out, or when it is given the
right.

    pytest tests/security                         # as root; two minutes on two processors
    ONGGI_RACE_SECONDS=20 pytest tests/security

| row | attack | tests |
|---|---|---|
"""
TAIL = """
## What is not proven

- Races are lost by luck as well as by design: a run that finds nothing is no proof. Where the
  design makes a race impossible (mounts and copies by descriptor) the test is the lesser argument.
  Controls exist for A1 to A5, A7, A9, A10, B1, B4, B8 and B14.
- With `--cap-add SYS_PTRACE` (and `--privileged`) a container can trace the process that joins it
  by `onggi exec`, while that still has the host's rights; `landlock=on` keeps all from it but what
  `exec` started before: see docs/security.md.
- B1: `--privileged --cgroupns host` on a host with cgroup v1 can write release_agent, as docker's
  `--privileged` can; one line warns of it.
- B5: docker's NET_RAW is kept by default, and with it ARP spoofing on a bridge.
- B16: a 32-bit program reaches AF_ALG through socketcall, as with docker: docs/seccomp.md.
- AppArmor and SELinux: only that asking for them where they are not is an error, and that labels
  reach a kernel, which refuses them.
- Machines other than x86-64: the springboard's code for arm64 was run under an emulator only.
"""


def marks() -> dict[str, set[str]]:
    """Row to tests. Tests elsewhere have marks too; they are not listed."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests/security").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                if ast.unparse(decorator).startswith("pytest.mark.sec("):
                    row = ast.literal_eval(decorator.args[0])  # type: ignore[attr-defined]
                    name = node.name.removeprefix("test_").replace("_", " ")
                    found.setdefault(row, set()).add(f"{path.stem}: {name}")
    return found


def render() -> str:
    found = marks()
    lines = []
    for row, attack in ROWS.items():
        tests = "<br>".join(sorted(found.get(row, set())))
        lines.append(f"| {row} | {attack} | {NOT_RUN.get(row) or tests} |\n")
    return HEAD + "".join(lines) + TAIL


def test_every_row_has_a_test_or_a_reason() -> None:
    assert ROWS.keys() - marks().keys() == NOT_RUN.keys()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render()


if __name__ == "__main__":
    PAGE.write_text(render())
