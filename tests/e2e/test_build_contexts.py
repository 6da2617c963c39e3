"""Where a build can start from: archives and Dockerfiles on stdin, URLs, git, named contexts."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import build, context, fails, run
from .web import Answer, repositories, web

pytestmark = pytest.mark.root


def piped(onggi: Onggi, data: bytes, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [onggi.command, "build", "-t", "made", *arguments],
        input=data, capture_output=True, env=onggi.environment, timeout=120,
    )  # fmt: skip
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == code and "Traceback" not in text, text
    return text


def archive(compression: str, **files: str) -> bytes:
    with io.BytesIO() as out:
        mode = {"": "w", "gz": "w:gz", "xz": "w:xz"}.get(compression, "w")
        with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
        data = out.getvalue()
    if compression == "zst":
        data = subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout
    return data


@pytest.mark.parametrize("compression", ["", "gz", "xz", "zst"])
def test_an_archive_on_stdin(onggi: Onggi, busybox: str, compression: str) -> None:
    files = {
        "Dockerfile": f"FROM {busybox}\nCOPY . /c/\nRUN ls -A /c > /seen\n",
        "f": "x", "noise": "y", ".dockerignore": "noise\n",
    }  # fmt: skip
    piped(onggi, archive(compression, **files), "-")
    assert run(onggi, "cat", "/seen", "/c/f") == ".dockerignore\nDockerfile\nf\nx"
    assert "Using cache" in piped(onggi, archive(compression, **files), "-")
    other = {"sub/Other": files["Dockerfile"], "sub/Other.dockerignore": "f\n", **files}
    piped(onggi, archive(compression, **other), "-f", "sub/Other", "-")
    assert "noise" in run(onggi, "cat", "/seen") and "\nf" not in run(onggi, "cat", "/seen")


def test_a_dockerfile_on_stdin(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    piped(onggi, f"FROM {busybox}\nRUN echo x > /seen\n".encode(), "-")
    assert run(onggi, "cat", "/seen") == "x"
    text = f"FROM {busybox}\nCOPY f /\n".encode()
    assert "the build has no context" in piped(onggi, text, "-", code=1)
    top = context(tmp_path / "c", "FROM nope\n", f="y")
    piped(onggi, text, "-f", "-", str(top))
    assert run(onggi, "cat", "/f") == "y"
    assert "cannot be empty" in piped(onggi, b"", "-", code=1)


@pytest.mark.sec("D5")
def test_archives_that_attack(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """Nothing of an archive is ever a path of the host."""
    canary = tmp_path / "canary"
    canary.write_text("host")
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w") as tar:
            text = f"FROM {busybox}\nCOPY link/canary /x\n".encode()
            member = tarfile.TarInfo("Dockerfile")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
            tar.addfile(link)
        data = out.getvalue()
    assert "leads out of the build context" in piped(onggi, data, "-", code=1)
    for name in ("../canary", "/canary", "a/../../canary"):
        text = {"Dockerfile": f"FROM {busybox}\nCOPY . /\n", name: "evil"}
        piped(onggi, archive("", **text), "-", code=1 if ".." in name else 0)
    assert canary.read_text() == "host" and not Path("/canary").exists()
    piped(onggi, archive("gz", Dockerfile="FROM scratch\n")[:40], "-", code=1)
    piped(onggi, b"\x1f\x8bgarbage" * 100, "-", code=1)


def test_a_url(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    with web() as site:
        text = f"FROM {busybox}\nRUN echo url > /seen\n"
        site.pages = {
            "/Dockerfile": Answer(text.encode()),
            "/c.tar.gz": Answer(archive("gz", Dockerfile=text + "COPY f /\n", f="f")),
        }
        onggi("build", "-t", "made", f"{site.url}/Dockerfile")
        assert run(onggi, "cat", "/seen") == "url"
        onggi("build", "-t", "made", f"{site.url}/c.tar.gz")
        assert run(onggi, "cat", "/f") == "f"
        assert "404" in onggi("build", f"{site.url}/nope", code=1).stderr


def test_a_repository(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    with repositories(tmp_path / "repos") as git:
        text = f"FROM {busybox}\nCOPY . /c\nRUN ls -A /c > /seen\n"
        git.commit("app.git", {"Dockerfile": text, "sub/Dockerfile": text, "sub/g": "1"}, tag="v1")
        git.commit("app.git", {"new": "1"})
        onggi("build", "-t", "made", f"{git.url}/app.git")
        assert run(onggi, "cat", "/seen") == "Dockerfile\nnew\nsub"
        onggi("build", "-t", "made", f"{git.url}/app.git#v1")
        assert run(onggi, "cat", "/seen") == "Dockerfile\nsub"
        onggi("build", "-t", "made", f"{git.url}/app.git#v1:sub")
        assert run(onggi, "cat", "/seen") == "Dockerfile\ng"
        keep = ("--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1")
        onggi("build", "-t", "made", *keep, f"{git.url}/app.git#v1")
        assert ".git" in run(onggi, "cat", "/seen")


def test_named_contexts(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    other = context(tmp_path / "other", "x", f="named", noise="n", _dot_dockerignore="noise\n")
    top = context(
        tmp_path / "c",
        """FROM base AS one
COPY --from=files f /f
RUN --mount=from=files,target=/m ls -A /m > /seen
COPY --from=tools /bin/busybox /tool
ADD --chmod=600 f /g
FROM files AS two
FROM one
COPY --from=two /f /h
""",
        f="main",
    )
    with repositories(tmp_path / "repos") as git, web() as site:
        git.commit("app.git", {"f": "git"})
        site.pages = {"/c.tar": Answer(archive("", f="url"))}
        for where, content in (
            (str(other), "named"),
            (f"{git.url}/app.git", "git"),
            (f"{site.url}/c.tar", "url"),
        ):
            build(
                onggi, top, "--build-context", f"base=docker-image://{busybox}",
                "--build-context", f"tools=docker-image://{busybox}",
                "--build-context", f"files={where}",
            )  # fmt: skip
            assert run(onggi, "cat", "/f", "/g", "/h") == f"{content}main{content}"
            assert "noise" not in run(onggi, "cat", "/seen").split()
    assert "expected key=value" in fails(onggi, top, "--build-context", "x")
    assert "not found" in fails(onggi, top, "--build-context", "x=/nope")
