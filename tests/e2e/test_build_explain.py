"""Why a step was done again, and what the cache holds."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import UNIQUE, build, context

pytestmark = pytest.mark.root


def explained(onggi: Onggi, top: Path, *flags: str) -> dict[str, str]:
    """The reason of each instruction that was done again."""
    done = onggi("build", "-t", "made", "--explain", *flags, str(top))
    lines = done.stderr.split("\n")
    found = {}
    for line, following in pairwise(lines):
        if "\u2514 " in following:
            found[line[48:].strip()] = following.partition("\u2514 ")[2]
    assert onggi.out("builder", "explain").split("\n")[1:] == lines[:-1]
    return found


def test_reasons(lone_onggi: Onggi, onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    lone = lone_onggi
    saved = tmp_path / "image.tar"
    onggi("save", "-o", str(saved), busybox)
    lone("load", "-q", "-i", str(saved))
    text = f"""FROM {busybox}
ARG WHO=me
ENV A=1
RUN echo $WHO > /who
COPY src/ /src/
RUN {UNIQUE} > /stamp
"""
    top = context(tmp_path / "c", text, src__a="1", src__b="2")
    new = "it was not built here before, or its result was pruned"
    after = "the step before it changed"
    command = f"RUN {UNIQUE} > /stamp"
    assert explained(lone, top) == {
        "RUN echo $WHO > /who": new, "COPY src/ /src/": after, command: after,
    }  # fmt: skip
    assert explained(lone, top) == {}

    (top / "src/a").write_text("changed")
    (top / "src/c").write_text("new")
    (top / "src/b").unlink()
    reasons = explained(lone, top)
    assert reasons == {
        "COPY src/ /src/": "src/a changed, src/c is new, src/b is gone", command: after,
    }  # fmt: skip

    (top / "src/a").chmod(0o700)
    assert explained(lone, top)["COPY src/ /src/"].startswith("modes, owners or names")

    reasons = explained(lone, top, "--build-arg", "WHO=you")
    assert reasons["RUN echo $WHO > /who"] == "variable WHO changed"

    (top / "Dockerfile").write_text(text.replace("ENV A=1", "ENV A=1 B=2"))
    assert explained(lone, top)["RUN echo $WHO > /who"] == "variable B is new"

    (top / "Dockerfile").write_text(text.replace("COPY src/", "COPY --chmod=600 src/"))
    assert explained(lone, top)["COPY --chmod=600 src/ /src/"] == "--chmod changed"
    assert set(explained(lone, top, "--no-cache").values()) == {"--no-cache"}

    container = lone.out("create", busybox, "sh", "-c", "echo x > /x")
    lone("start", "-a", container)
    lone("commit", container, busybox)
    assert explained(lone, top)["RUN echo $WHO > /who"] == "the base image changed"

    (top / "Dockerfile").write_text(text)
    lone("builder", "prune", "-af")
    assert explained(lone, top)["RUN echo $WHO > /who"] == new


def test_du_and_prune(lone_onggi: Onggi, onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    lone = lone_onggi
    saved = tmp_path / "image.tar"
    onggi("save", "-o", str(saved), busybox)
    lone("load", "-q", "-i", str(saved))
    text = f"""FROM {busybox}
RUN dd if=/dev/urandom of=/big bs=1k count=300 2> /dev/null
RUN --mount=type=cache,target=/c,id=things dd if=/dev/zero of=/c/f bs=1k count=500
"""
    top = context(tmp_path / "c", text)
    build(lone, top)
    table = lone.out("builder", "du", "--verbose")
    assert table.startswith("ID ") and "exec.cachemount" in table and "things" in table
    sizes = lone.out("builder", "du", "--format", "{{.Type}} {{.Size}} {{.Reclaimable}}")
    assert "exec.cachemount 51" in sizes and "regular" in sizes
    assert "false" in sizes  # an image holds the layer
    mounts = lone.out("builder", "du", "--filter", "type=exec.cachemount", "--format", "{{.ID}}")
    assert len(mounts.split()) == 1
    lone("builder", "prune", "-af", "--filter", "id=none")
    lone("builder", "prune", "-f", "--max-used-space", "1g", "--min-free-space", "1")
    lone("builder", "prune", "-f", "--reserved-space", "1g")
    assert lone.out("builder", "du", "--filter", "type=exec.cachemount", "--format", "{{.ID}}")
    lone("builder", "prune", "-f", "--keep-storage", "400k")  # what the image holds frees nothing
    left = lone.out("builder", "du", "--format", "{{.Type}}").split()
    assert left == ["regular", "regular"]
    assert "Using cache" in build(lone, top)
    lone("builder", "prune", "-af")
    assert lone.out("builder", "du", "--format", "{{.ID}}") == ""
    assert not list((lone.root / "buildcache-mounts").iterdir())
    build(lone, top)


def stored(onggi: Onggi) -> int:
    return sum(path.stat().st_size for path in (onggi.root / "layers").iterdir())


def test_the_cache_keeps_to_its_budget(
    lone_onggi: Onggi, onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    """Layers of images do not count; the longest unused goes first, what was just made stays."""
    lone = lone_onggi
    saved = tmp_path / "image.tar"
    onggi("save", "-o", str(saved), busybox)
    lone("load", "-q", "-i", str(saved))
    config = Path(lone.environment["HOME"], ".config/onggi/config.toml")
    config.parent.mkdir(parents=True)
    config.write_text('[build]\nmax_used_space = "1MB"\n')
    top = context(tmp_path / "c", f"FROM {busybox}\nARG N\nRUN head -c 600000 /dev/urandom > /$N\n")
    before = stored(lone)
    for name in "abc":
        build(lone, top, "--build-arg", f"N={name}", tag=f"made:{name}")
        if name != "c":
            lone("rmi", f"made:{name}")  # its layer is the cache's alone now
    kept = lone.out("builder", "du", "--format", "{{.Size}} {{.Shared}}").split("\n")
    assert [row.split()[1] for row in kept] == ["false", "true"] and kept[0].startswith("60")
    assert stored(lone) - before < 1_500_000
    found = "> /$N\n ---> Using cache"
    assert found in build(lone, top, "--build-arg", "N=b")
    assert found not in build(lone, top, "--build-arg", "N=a")
    config.write_text('[build]\nmax_used_space = "lots"\n')
    assert "build.max_used_space" in lone("build", str(top), code=1).stderr
    config.write_text("[build]\ngc = false\n")
    build(lone, top, "--build-arg", "N=e")
    config.write_text("[build]\ngd = false\n")
    assert "build.gd: not understood" in lone("build", str(top), code=1).stderr


def test_a_prune_while_a_build_stands_on_what_it_found(
    lone_onggi: Onggi, onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    """One stage was found in the cache and is needed later, when somebody has pruned it."""
    lone = lone_onggi
    saved = tmp_path / "image.tar"
    onggi("save", "-o", str(saved), busybox)
    lone("load", "-q", "-i", str(saved))
    text = f"""FROM {busybox} AS found
RUN {UNIQUE} > /stamp
FROM {busybox}
RUN --mount=type=cache,target=/c,id=gate echo begun; until test -e /c/go; do sleep 0.05; done
COPY --from=found /stamp /stamp
"""
    top = context(tmp_path / "c", text)
    lone("build", "--target", "found", str(top))
    with lone.popen("build", "-t", "made", str(top)) as process:
        assert process.stdout is not None
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith("begun"):
                break
        lone("builder", "prune", "-af")
        lone("image", "prune", "-f")
        (gate,) = (lone.root / "buildcache-mounts").glob("*.id")
        gate.with_suffix("").joinpath("go").touch()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert len(lone.out("run", "--rm", "made", "cat", "/stamp")) == 36
    assert "looking again" in out


def test_a_cache_mount_in_use_is_not_pruned(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    name = f"used-{tmp_path.name}"
    text = f"""FROM {busybox}
RUN --mount=type=cache,target=/c,id={name} touch /c/f; echo begun; \\
    until test -e /c/go; do sleep 0.05; done; ls /c > /seen
"""
    top = context(tmp_path / "c", text)
    with onggi.popen("build", "-t", "made", str(top)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("begun"):
                break
        onggi("builder", "prune", "-af")
        notes = [
            p for p in (onggi.root / "buildcache-mounts").glob("*.id") if p.read_text() == name
        ]
        assert len(notes) == 1
        notes[0].with_suffix("").joinpath("go").touch()
        process.communicate(timeout=120)
        assert process.returncode == 0


def test_explaining_nothing(lone_onggi: Onggi) -> None:
    assert "no build to explain" in lone_onggi("builder", "explain", code=1).stderr


def test_lint(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox} as one\nENV A b\nRUN true\n"
    top = context(tmp_path / "c", text)
    out = build(onggi, top)
    assert "WARNING: FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)" in out
    done = onggi("build", "--check", str(top), code=1)
    assert "WARNING: LegacyKeyValueFormat" in done.stdout and "line 2 | ENV A b" in done.stdout
    assert "Check complete, 2 warnings have been found!" in done.stdout
    (top / "Dockerfile").write_text(f"# check=error=true\n{text}")
    done = onggi("build", str(top), code=1)
    assert "lint violation found for rules: FromAsCasing, LegacyKeyValueFormat" in done.stderr
    (top / "Dockerfile").write_text(f"# check=skip=all\n{text}")
    assert "no warnings found" in onggi.out("build", "--check", str(top))


OUTLINE = """ARG BASE=busybox
# base holds the tools
FROM $BASE AS base
# WHO is greeted
ARG WHO=you TOKEN
RUN --mount=type=secret,id=token,required=true --mount=type=secret,id=other true
FROM $BASE AS unused
ARG NEVER
# app is what runs
FROM base AS app
RUN --mount=type=ssh true
"""


def test_outline_and_targets(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", OUTLINE)
    shown = onggi.out("build", "--call", "targets", str(top)).split("\n")
    assert [line.rstrip() for line in shown] == [
        "TARGET          DESCRIPTION", "base            holds the tools", "unused",
        "app (default)   is what runs",
    ]  # fmt: skip
    lines = onggi.out("build", "--call=outline", "--build-arg", "WHO=me", str(top)).split("\n")
    assert lines[:2] == ["TARGET:      app", "DESCRIPTION: is what runs"]
    words = [line.split() for line in lines]
    assert ["WHO", "me", "is", "greeted"] in words and ["BASE", "busybox"] in words
    assert ["token", "true"] in words and ["other"] in words and ["default"] in words
    assert "NEVER" not in "".join(lines)
    told = json.loads(onggi.out("build", "--call", "outline,format=json", str(top)))
    assert told["secrets"] == [
        {"name": "token", "required": True}, {"name": "other", "required": False},
    ]  # fmt: skip
    told = json.loads(onggi.out("build", "--call", "targets,format=json", str(top)))
    assert [t["name"] for t in told["targets"] if t["default"]] == ["app"]
    (top / "Dockerfile").write_text(f"FROM {busybox} as x\n")
    told = json.loads(onggi("build", "--call", "check,format=json", str(top), code=1).stdout)
    assert [finding["ruleName"] for finding in told["warnings"]] == ["FromAsCasing"]
    onggi("build", "--call", "check,ignorestatus=true", str(top))
    assert "did you mean outline" in onggi("build", "--call", "outlin", str(top), code=1).stderr


def test_a_copy_of_what_is_ignored_is_told_when_asked(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    text = f"# check=experimental=all\nFROM {busybox}\nCOPY f /\n"
    top = context(tmp_path / "c", text, f="", _dot_dockerignore="f\n")
    told = onggi("build", "--check", str(top), code=1).stdout
    assert 'Attempting to Copy file "f" that is excluded by .dockerignore' in told
