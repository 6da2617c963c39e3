"""Where a build's result goes, and what a step may use."""

import json
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from registry_server import RegistryServer

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run

pytestmark = pytest.mark.root


def test_a_folder_and_tars(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(
        tmp_path / "c",
        f"FROM {busybox} AS made\nRUN mkdir /o && echo hi > /o/f && ln -s f /o/l\n"
        "RUN chown 7:8 /o/f\n"
        "FROM scratch\nCOPY --from=made /o /o\n",
    )
    onggi("build", "-o", str(tmp_path / "out"), str(top))
    assert (tmp_path / "out/o/f").read_text() == "hi\n"
    assert (tmp_path / "out/o/l").is_symlink() and (tmp_path / "out/o/f").stat().st_uid == 7
    onggi("build", "-o", f"type=local,dest={tmp_path}/out", str(top))

    done = subprocess.run(
        [onggi.command, "build", "-o", "-", str(top)], capture_output=True, env=onggi.environment
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(fileobj=BytesIO(done.stdout)) as tar:
        assert tar.getnames() == ["o", "o/f", "o/l"]
    onggi("build", "-o", f"type=tar,dest={tmp_path}/out.tar", str(top))
    assert (tmp_path / "out.tar").read_bytes() == done.stdout


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_archives_of_the_image(onggi: Onggi, busybox: str, tmp_path: Path, kind: str) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    onggi("build", "-t", "made", "-o", f"type={kind},dest={tmp_path}/i.tar", str(top))
    stamp = run(onggi, "cat", "/stamp")
    onggi("rmi", "made")
    onggi("load", "-i", f"{tmp_path}/i.tar")
    assert run(onggi, "cat", "/stamp") == stamp


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("type=lokal,dest=x", "did you mean type=local"),
        ("type=local", "dest is required for local output"),
        ("dest=x", "type is required for output"),
        ("type=tar,dest=/nope/x", "No such file"),
        ("type=image,compression=zstd", "output type image: compression= is not supported"),
        ("type=local,dest=x,name=y", "output type local: name= is not supported"),
        ("type=image,push=maybe", "non-bool value"),
        ("type=registry", "tag is needed when pushing"),
    ],
)
def test_outputs_that_cannot_be(
    onggi: Onggi, busybox: str, tmp_path: Path, text: str, told: str
) -> None:
    assert told in fails(onggi, context(tmp_path / "c", f"FROM {busybox}\n"), "-o", text)


def test_push_and_metadata(
    onggi: Onggi, busybox: str, registry: RegistryServer, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    name = f"{registry.host}/made:1"
    facts, image = tmp_path / "facts.json", tmp_path / "image"
    flags = ("--push", "--metadata-file", str(facts), "--iidfile", str(image))
    onggi("build", "-t", name, *flags, str(top))
    told = json.loads(facts.read_text())
    assert told["containerimage.config.digest"] == image.read_text()
    assert told["image.name"] == name
    stamp = run(onggi, "cat", "/stamp", image=name)
    onggi("rmi", name)
    onggi("pull", f"{registry.host}/made@{told['containerimage.digest']}")
    assert (
        run(onggi, "cat", "/stamp", image=name.replace(":1", "@" + told["containerimage.digest"]))
        == stamp
    )
    assert "tag is needed" in fails(onggi, top, "--push")


def test_outputs_that_name_and_push(
    onggi: Onggi, busybox: str, registry: RegistryServer, tmp_path: Path
) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /stamp\n")
    for number, kind in enumerate(("type=registry", "type=image,push=true")):
        name = f"{registry.host}/named:{number}"
        onggi("build", "-o", f"{kind},name={name}", str(top))
        stamp = run(onggi, "cat", "/stamp", image=name)
        onggi("rmi", name)
        onggi("pull", "-q", name)
        assert run(onggi, "cat", "/stamp", image=name) == stamp
    onggi("build", "-o", 'type=image,"name=one:1,two:2"', str(top))
    assert onggi.out("images", "-q", "one:1") == onggi.out("images", "-q", "two:2")


def test_only_some_stages_without_cache(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox} AS one
RUN {UNIQUE} > /1
FROM {busybox} AS two
RUN {UNIQUE} > /2
FROM {busybox}
COPY --from=one /1 /
COPY --from=two /2 /
"""
    top = context(tmp_path / "c", text)
    build(onggi, top)
    first = run(onggi, "cat", "/1", "/2").split()
    build(onggi, top, "--no-cache-filter", "two")
    second = run(onggi, "cat", "/1", "/2").split()
    assert first[0] == second[0] and first[1] != second[1]


def test_limits_of_a_step(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"FROM {busybox}\nRUN ulimit -n > /n && cat /proc/self/cgroup > /g\n"
    top = context(tmp_path / "c", text)
    build(
        onggi, top, "--ulimit", "nofile=123:456", "--shm-size", "1m", "--add-host", "there:1.2.3.4"
    )
    assert run(onggi, "cat", "/n") == "123"
    eater = context(tmp_path / "e", f"FROM {busybox}\nRUN tail /dev/zero\n")
    assert "OOM-killed" in fails(onggi, eater, "-m", "16m")


def test_progress_as_json(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    top = context(tmp_path / "c", f"FROM {busybox}\nRUN {UNIQUE} > /u; echo said\n")
    done = onggi("build", "--progress", "rawjson", str(top))
    records = [json.loads(line) for line in done.stderr.splitlines()]
    vertices = [v for r in records for v in r.get("vertexes", ())]
    assert next(v["name"] for v in vertices if "completed" not in v) == f"[1/2] FROM {busybox}"
    assert sum("completed" in v for v in vertices) == 2
    (log,) = [log for r in records for log in r.get("logs", ())]
    assert log["data"] == "c2FpZAo=" and log["vertex"] == vertices[-1]["digest"]
    (top / "Dockerfile").write_text(f"FROM {busybox}\nRUN exit 3\n")
    failed = onggi("build", "--progress", "rawjson", str(top), code=1)
    assert '"error": "failed"' in failed.stderr


def test_a_quiet_build_that_fails_tells_the_end_of_its_output(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    text = f"FROM {busybox}\nRUN yes | head -c 20000000; echo the end; exit 1\n"
    error = fails(onggi, context(tmp_path / "c", text), "-q")
    assert "the end" in error and len(error) < 6_000_000
