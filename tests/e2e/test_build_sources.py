"""What ADD and COPY can take: URLs, git repositories, heredocs, whole paths, linked layers."""

import hashlib
import io
import json
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from .conftest import Onggi
from .test_build import UNIQUE, build, context, fails, run
from .web import Answer, repositories, web

pytestmark = pytest.mark.root


def layers(onggi: Onggi, image: str = "made") -> list[str]:
    found: list[str] = json.loads(onggi.out("inspect", image))[0]["RootFS"]["Layers"]
    return found


def test_a_heredoc_with_an_interpreter(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN <<-'EOF'
\t#!/bin/awk -f
\tBEGIN {{ print "awk $HOME" > "/seen" }}
EOF
RUN <<ONE cat - /dev/fd/3 3<<TWO >> /seen
one
ONE
$HOME
TWO
RUN ls -A /dev/pipes 2>> /seen; true
"""
    build(onggi, context(tmp_path / "c", text))
    seen = run(onggi, "cat", "/seen").split("\n")
    assert seen[:3] == ["awk $HOME", "one", "/root"]
    assert "No such file" in seen[3]
    history = onggi.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "made")
    assert "RUN /bin/sh -c /dev/pipes/EOF # buildkit" in history


def test_copy_with_parents(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
COPY --parents a/one.txt a/b/*.txt ./c /all/
COPY --parents a/./b/two.txt /pivot/
COPY --parents **/three.txt /deep/
RUN cd / && find all pivot deep -type f | sort > /seen && stat -c %a /all/a/b > /mode
"""
    top = context(tmp_path / "c", text)
    for name in ("a/one.txt", "a/b/two.txt", "a/b/no", "c/d/e", "c/d/three.txt"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("x")
    (top / "a/b").chmod(0o750)
    build(onggi, top)
    assert run(onggi, "cat", "/seen", "/mode").split() == [
        "all/a/b/two.txt", "all/a/one.txt", "all/c/d/e", "all/c/d/three.txt",
        "deep/c/d/three.txt", "pivot/b/two.txt", "750",
    ]  # fmt: skip


def test_a_linked_layer_survives_another_base(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    text = f"""FROM {busybox} AS tools
RUN {UNIQUE} > /tool
FROM {busybox}
RUN echo 1
COPY --link --chown=5:6 f /app/f
COPY --link --from=tools /tool /bin/tool
RUN cat /app/f /bin/tool > /seen
"""
    top = context(tmp_path / "c", text, f="x")
    build(onggi, top)
    first = layers(onggi)
    assert run(onggi, "sh", "-c", "stat -c %u:%g /app/f /app; cat /seen").startswith("5:6\n")
    (top / "Dockerfile").write_text(text.replace("echo 1", "echo 2 > /two"))
    again = build(onggi, top)
    assert layers(onggi)[2:4] == first[2:4]
    assert again.count("Using cache") == 3
    assert run(onggi, "cat", "/two") == "2"
    named = context(tmp_path / "n", f"FROM {busybox}\nCOPY --link --chown=root f /\n", f="x")
    assert "--link" in fails(onggi, named)


def test_add_a_url(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    data = b"from the web"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with web() as site:
        dated = ("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        site.pages = {
            "/f.txt": Answer(data, headers=(("ETag", '"1"'), dated)),
            "/moved": Answer(b"", 302, (("Location", "/f.txt"),)),
            "/f.txt?x=1": Answer(data),
        }
        top = context(
            tmp_path / "c",
            f"""FROM {busybox}
ARG SITE={site.url}
ADD $SITE/f.txt /web/
ADD --chmod=755 --chown=3:4 $SITE/moved /bin/tool
ADD --checksum={digest} $SITE/f.txt?x=1 /checked/name
RUN stat -c '%a %u:%g %Y %n' /web/f.txt /bin/tool > /seen
""",
        )
        build(onggi, top)
        assert run(onggi, "cat", "/seen", "/checked/name") == (
            "600 0:0 1445412480 /web/f.txt\n755 3:4 1445412480 /bin/tool\nfrom the web"
        )
        site.asked.clear()
        assert build(onggi, top).count("Using cache") == 5
        assert ("/f.txt", '"1"') in site.asked and ("/f.txt?x=1", "") not in site.asked
        site.pages["/f.txt"] = Answer(b"new", headers=(("ETag", '"2"'),))
        build(onggi, top)
        assert run(onggi, "cat", "/web/f.txt") == "new"


def test_add_several_urls(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    with web() as site:
        site.pages = {"/a": Answer(b"1"), "/b": Answer(b"2"), "/x/b": Answer(b"3")}
        line = f"ADD --chown=7:8 {site.url}/a {site.url}/b {site.url}/x/b /web/"
        top = context(tmp_path / "c", f"FROM {busybox}\n{line}\n", f="x")
        build(onggi, top)
        assert run(onggi, "sh", "-c", "cat /web/a /web/b; stat -c %u:%g /web/a") == "137:8"
        site.pages["/b"] = Answer(b"4")
        site.pages["/a"] = Answer(b"5")
        build(onggi, top)
        assert run(onggi, "cat", "/web/a", "/web/b") == "53"
        (top / "Dockerfile").write_text(f"FROM {busybox}\n{line.replace('/web/', '/web')}\n")
        assert "must be a directory" in fails(onggi, top)


def test_add_from_everywhere(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """A file from the web, a repository, a file, an archive, a folder and a heredoc on one line."""
    with web() as site, repositories(tmp_path / "repos") as git:
        site.pages = {"/a": Answer(b"1")}
        git.commit("app.git", {"in/repo": "2"})
        top = context(tmp_path / "c", f"""FROM {busybox}
ADD --chown=7:8 {site.url}/a {git.url}/app.git#main f packed.tar folder <<DOC /all/
6
DOC
RUN cd /all && cat a in/repo f packed/x y DOC > /seen && stat -c %u:%g a in/repo y DOC >> /seen
""", f="3", folder__y="5")  # fmt: skip
        with tarfile.open(top / "packed.tar", "w") as tar:
            info = tarfile.TarInfo("packed/x")
            info.size = 1
            tar.addfile(info, io.BytesIO(b"4"))
        build(onggi, top)
        assert run(onggi, "cat", "/seen") == "123456\n7:8\n7:8\n7:8\n7:8"
        assert "Using cache" in build(onggi, top)


@pytest.mark.sec("D9")
def test_urls_that_must_not_be_followed(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.close_connection = True

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"part")
        handler.close_connection = True

    with web() as site:
        site.pages = {
            "/loop": Answer(b"", 302, (("Location", "/loop"),)),
            "/file": Answer(b"", 302, (("Location", "file:///etc/passwd"),)),
            "/huge": endless,
            "/cut": cut,
            "/f": Answer(b"x"),
        }
        zeros = "0" * 64
        for line, told in (
            ("ADD {}/nope /x", "404"),
            ("ADD {}/loop /x", "stopped after 10 redirects"),
            ("ADD {}/file /x", "is not an http or https URL"),
            ("ADD {}/huge /x", "is larger than"),
            ("ADD {}/cut /x", "EOF"),
            (f"ADD --checksum=sha256:{zeros} {{}}/f /x", "digest mismatch"),
            ("ADD --checksum=sha256:12 {}/f /x", "invalid checksum"),
            ("ADD {}/ /x/", "cannot determine filename"),
            ("ADD --checksum=sha256:1 f /x", "checksum requires HTTP(S) or Git"),
            ("COPY {}/f /x", "source can't be a URL for COPY"),
            ("ADD file:///etc/passwd /x", "not found"),
        ):
            top = context(tmp_path / "c", f"FROM {busybox}\n{line.format(site.url)}\n", f="x")
            assert told in fails(onggi, top), line
    assert not list((onggi.root / "tmp").iterdir())


def test_add_a_repository(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    with repositories(tmp_path / "repos") as git:
        git.commit("lib.git", {"lib.txt": "library"})
        first = git.commit("app.git", {"f": "1", "sub/g": "1"}, tag="v1")
        git.git("app.git", "submodule", "add", "-q", str(tmp_path / "repos/lib.git"), "lib")
        git.git("app.git", "config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
        git.commit("app.git", {"f": "2"})
        top = context(
            tmp_path / "c",
            f"""FROM {busybox}
ADD {git.url}/app.git#v1 /v1
ADD {git.url}/app.git#main /main/
ADD --keep-git-dir=true {git.url}/app.git#v1:sub /sub
ADD --checksum={first[:12]} {git.url}/app.git#{first} /same
RUN cat /v1/f /main/f /main/lib/lib.txt /sub/g /same/sub/g > /seen; ls -A /v1 >> /seen
""",
        )
        build(onggi, top)
        assert run(onggi, "cat", "/seen") == "12library11f\nsub"
        assert build(onggi, top).count("Using cache") == 5
        git.commit("app.git", {"f": "3"})
        assert build(onggi, top).count("Using cache") == 1
        assert run(onggi, "cat", "/main/f") == "3"
        line = f"ADD --checksum={first} {git.url}/app.git#main /x"
        error = fails(onggi, context(tmp_path / "m", f"FROM {busybox}\n{line}\n"))
        assert f"expected checksum to match {first}" in error
        line = f"ADD {git.url}/app.git#nope /x"
        error = fails(onggi, context(tmp_path / "n", f"FROM {busybox}\n{line}\n"))
        assert "does not contain ref nope" in error


@pytest.mark.sec("D5")
@pytest.mark.parametrize(
    "address",
    [
        "{0}/app.git#--upload-pack=touch${{IFS}}/canary",
        "{0}/app.git#-x",
        "{0}/app.git#main:../../etc",
        "{0}/app.git?ref=main&exec=1",
        "ext::sh -c touch% {1}/canary.git",
        "file://{1}/repos/app.git",
        "git@-oProxyCommand=x:y.git",
        "{0}/bad.git#main",
    ],
)
def test_repositories_that_attack(onggi: Onggi, busybox: str, tmp_path: Path, address: str) -> None:
    with repositories(tmp_path / "repos") as git:
        git.commit("app.git", {"f": "1"})
        git.commit("bad.git", {"f": "1"})
        modules = f'[submodule "x"]\n\tpath = x\n\turl = file://{tmp_path}/repos/app.git\n'
        commit = git.git("app.git", "rev-parse", "HEAD").strip()
        git.commit("bad.git", {".gitmodules": modules})
        git.git("bad.git", "update-index", "--add", "--cacheinfo", f"160000,{commit},x")
        git.git("bad.git", "commit", "-q", "-m", "bad")
        line = f"ADD {address.format(git.url, tmp_path)} /x"
        fails(onggi, context(tmp_path / "c", f"FROM {busybox}\n{line}\n"))
    assert not (tmp_path / "canary").exists() and not Path("/canary").exists()
    assert not list((onggi.root / "tmp").iterdir())


@pytest.mark.sec("D5")
def test_links_of_a_repository(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    """A link in a repository is a link in the image; what it names on the host is never read."""
    secret = tmp_path / "host-file"
    secret.write_text("of the host")
    with repositories(tmp_path / "repos") as git:
        git.commit("app.git", {"f": "1"})
        (git.top / "app.git/out").symlink_to(secret)
        (git.top / "app.git/dir").symlink_to(tmp_path)
        git.commit("app.git", {"g": "1"})
        text = f"FROM {busybox}\nADD {git.url}/app.git /x\nRUN readlink /x/out > /seen\n"
        build(onggi, context(tmp_path / "c", text))
        assert run(onggi, "cat", "/seen") == str(secret)
        text = f"FROM {busybox}\nADD {git.url}/app.git#main:dir /x\n"
        assert "leads out" in fails(onggi, context(tmp_path / "d", text))
