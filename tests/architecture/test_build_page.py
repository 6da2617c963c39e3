"""docs/build-coverage.md is made from the builder's own tables and the tests that use each word:
running this file writes it, and the tests here hold it to them.
"""

import ast
import re
from pathlib import Path

from onggi.build.graph_lint import RULES
from onggi.build.options import OUTPUT_KINDS as OUTPUTS
from onggi.cli.buildcall import METHODS
from onggi.cli.cachefilters import KNOWN as FILTERS
from onggi.cli.commands.build import BUILD
from onggi.cli.commands.builder import DU
from onggi.cli.commands.prune import BUILDER_PRUNE
from onggi.dockerfile import instructions, runmount
from onggi.dockerfile.parser import KEYWORDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/build-coverage.md"
SHOWN = 4  # tests named in a row
HEAD = """# The builder's words and their tests

Made from the builder's own tables by `python tests/architecture/test_build_page.py`; a test
fails for a word that none uses, and for a name that is no test's. Four tests at most are named.
"""
ATTACKS = {
    "D1": "a cache's folder or id that leads to the host",
    "D2": "the removal of mount points turned on the host",
    "D3": "more rights than the user gave",
    "D4": "sources and options of bind mounts",
    "D5": "contexts that lead out: links, archives, git",
    "D6": "files written by somebody's frontend",
    "D7": "poisoned caches",
    "D8": "secrets in images, caches, logs, provenance",
    "D9": "ADD of URLs: redirects, sizes, checksums",
    "D10": "a step with a weaker sandbox than run's",
    "D11": "files that are too much for the parser",
}
DIRECTIVES = ("syntax", "escape", "check")
ARGUMENTS = (
    "TARGETPLATFORM TARGETARCH TARGETOS TARGETVARIANT TARGETSTAGE BUILDPLATFORM BUILDARCH BUILDOS "
    "HTTP_PROXY SOURCE_DATE_EPOCH BUILDKIT_SYNTAX BUILDKIT_DOCKERFILE_CHECK "
    "BUILDKIT_CONTEXT_KEEP_GIT_DIR BUILDKIT_SANDBOX_HOSTNAME BUILDKIT_CACHE_MOUNT_NS"
).split()
CONTEXTS = (
    "docker-image://",
    "oci-layout://",
    "http",
    "git",
    "archive",
    "stdin",
    "--build-context",
)
CACHES = (
    "type=registry type=local type=inline mode=max image-manifest compression ignore-error tag="
).split()
Rows = list[tuple[str, list[str]]]


def candidates() -> dict[str, str]:
    """Every test that could be meant: `file: words of its name`, and its text with what its module
    says outside of tests."""
    found = {}
    paths = [
        *ROOT.glob("tests/e2e/test_build*.py"), ROOT / "tests/e2e/test_dockerfile.py",
        *ROOT.glob("tests/unit/build/test_*.py"), *ROOT.glob("tests/unit/dockerfile/test_*.py"),
        *ROOT.glob("tests/unit/cli/test_*.py"), *ROOT.glob("tests/kernel/test_build*.py"),
    ]  # fmt: skip
    for path in sorted(paths):
        text = path.read_text()
        module = ast.parse(text)
        for item in module.body:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                parts = [ast.get_source_segment(text, node) or "" for node in item.decorator_list]
                parts.append(ast.get_source_segment(text, item) or "")
                used = {node.id for node in ast.walk(item) if isinstance(node, ast.Name)}
                parts += [
                    ast.get_source_segment(text, node) or ""
                    for node in module.body
                    if isinstance(node, ast.Assign)
                    and any(isinstance(t, ast.Name) and t.id in used for t in node.targets)
                ]
                name = item.name.removeprefix("test_").replace("_", " ")
                found[f"{path.stem}: {name}"] = "\n".join(parts)
    return found


def users(pattern: str, known: dict[str, str]) -> list[str]:
    return [name for name, text in known.items() if re.search(pattern, text)]


def sections(known: dict[str, str]) -> dict[str, Rows]:
    def rows(words: list[tuple[str, str]]) -> Rows:
        return [(shown, users(pattern, known)) for shown, pattern in words]

    def flags(table: dict[str, object]) -> list[tuple[str, str]]:
        made = []
        for name in sorted(table):
            short = getattr(table[name], "short", "")
            other = rf'|"-{short}"' if short else ""
            made.append((f"`--{name}`", rf'"--{name}["=]|--{name}[ =]{other}'))
        return made

    supported = {name: flag for name, flag in BUILD.flags.items() if flag.supported}
    of_instructions = [
        (f"`{keyword} --{flag}`", rf"(?i){keyword}\b[^\n]*--{flag}\b")
        for keyword, names in sorted(instructions._FLAGS.items())
        for flag in names
    ]
    mounts = [
        (f"`RUN --mount=type={kind}` `{key}`", _mount_pattern(kind, key))
        for kind, keys in runmount._KEYS.items()
        for key in keys
    ]
    return {
        "Instructions": rows([(f"`{word}`", rf"\b{word}\b[ \[=]") for word in KEYWORDS]),
        "Their flags": rows(of_instructions),
        "Mounts of RUN": rows(mounts),
        "Directives and arguments": rows(
            [(f"`# {word}=`", rf"# {word}=") for word in DIRECTIVES]
            + [(f"`{word}`", rf"\b{word}\b") for word in ARGUMENTS]
        ),
        "Lint rules": rows([(f"`{rule}`", rf"\b{rule}\b") for rule in RULES]),
        "Contexts": rows([(f"`{word}`", re.escape(word)) for word in CONTEXTS]),
        "Flags of build": rows(flags(dict(supported))),
        "Outputs": rows([(f"`type={kind}`", rf"type={kind}\b|\"{kind}\"") for kind in OUTPUTS]),
        "Caches elsewhere": rows([(f"`{word}`", re.escape(word)) for word in CACHES]),
        "Methods of --call": rows([(f"`{word}`", rf"\b{word}\b") for word in METHODS]),
        "Flags of builder du and prune": rows(flags({**DU.flags, **BUILDER_PRUNE.flags})),
        "Filters of the cache": rows([(f"`{word}`", rf'"{word}[="]') for word in FILTERS]),
    }


def _mount_pattern(kind: str, key: str) -> str:
    spelled = {
        "source": "(?:source|src)", "target": "(?:target|dst|destination)",
        "readonly": "(?:readonly|ro)", "readwrite": "(?:readwrite|rw)", "required": "required",
    }.get(key, key)  # fmt: skip
    first = rf"type={kind}\b" if kind != "bind" else r"(?:type=bind\b|--mount=)"
    return rf"{first}[^ ]*\b{spelled}\b"


def attacks() -> Rows:
    found: dict[str, list[str]] = {row: [] for row in ATTACKS}
    for path in sorted(ROOT.glob("tests/**/test_*.py")):
        for item in ast.walk(ast.parse(path.read_text())):
            if not isinstance(item, ast.FunctionDef):
                continue
            for mark in item.decorator_list:
                row = mark.args[0] if isinstance(mark, ast.Call) and mark.args else None
                if isinstance(row, ast.Constant) and row.value in found:
                    name = item.name.removeprefix("test_").replace("_", " ")
                    found[str(row.value)].append(f"{path.stem}: {name}")
    return [(f"{row}: {ATTACKS[row]}", names) for row, names in found.items()]


def page() -> str:
    parts = [HEAD]
    for title, rows in everything().items():
        parts.append(f"\n## {title}\n\n| word | tests |\n|---|---|\n")
        for word, names in rows:
            shown = names if title == "Attacks" else names[:SHOWN]
            parts.append(f"| {word} | {'<br>'.join(shown)} |\n")
    return "".join(parts)


def everything() -> dict[str, Rows]:
    return {**sections(candidates()), "Attacks": attacks()}


def test_every_word_has_a_test() -> None:
    without = [
        f"{title}: {word}"
        for title, rows in everything().items()
        for word, names in rows
        if not names
    ]
    assert not without


def test_the_page_is_true() -> None:
    """It has every word, and each test it names is there and uses it; it may miss a newer test."""
    titles: dict[str, dict[str, list[str]]] = {}
    here: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            here = titles.setdefault(line[3:], {})
        elif line.startswith("| ") and not line.startswith("| word"):
            word, names = line.strip("| ").split(" | ")
            here[word] = names.split("<br>")
    hint = "run python tests/architecture/test_build_page.py"
    for title, rows in everything().items():
        assert list(titles.get(title, ())) == [word for word, _ in rows], f"{title}: {hint}"
        for word, names in rows:
            wrong = set(titles[title][word]) - set(names)
            assert not wrong, f"{word}: no test {wrong}: {hint}"


if __name__ == "__main__":
    PAGE.write_text(page())
