"""`cp` in both directions, and images made from containers."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


@pytest.fixture(params=["running", "stopped"])
def box(request: pytest.FixtureRequest, onggi: Onggi, busybox: str) -> str:
    """A container with files in its layer and in a volume."""
    onggi("run", "-d", "--name", "box", "-v", "/vol", busybox, "sh", "-c",
          "mkdir -p /d/sub && echo one > /d/one && echo two > /d/sub/two && ln -s one /d/link"
          " && ln -s /etc/passwd /abs && chown -R 33:10 /d && chmod 750 /d/sub && echo v > /vol/v"
          " && touch /ready && exec sleep 600")  # fmt: skip
    onggi.until("ready", "exec", "box", "ls", "/")
    if request.param == "stopped":
        onggi("kill", "box")
        onggi("wait", "box")
    return "box"


def test_out(onggi: Onggi, box: str, tmp_path: Path) -> None:
    onggi("cp", f"{box}:/d/one", str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").read_text() == "one\n"
    onggi("cp", f"{box}:/d", str(tmp_path))
    assert (tmp_path / "d/sub/two").read_text() == "two\n"
    assert os.readlink(tmp_path / "d/link") == "one"
    assert (tmp_path / "d/sub").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "d/one").stat().st_uid == 0  # the caller's, without -a
    onggi("cp", "-a", f"{box}:/d", str(tmp_path / "kept"))
    assert (tmp_path / "kept/one").stat().st_uid == 33
    (tmp_path / "into").mkdir()
    onggi("cp", f"{box}:/d/.", str(tmp_path / "into"))
    assert sorted(os.listdir(tmp_path / "into")) == ["link", "one", "sub"]
    onggi("cp", "-L", f"{box}:/d/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "one\n"
    onggi("cp", f"{box}:/abs", str(tmp_path / "abs"))
    assert os.readlink(tmp_path / "abs") == "/etc/passwd"


def test_in(onggi: Onggi, box: str, tmp_path: Path) -> None:
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/deep/file").write_text("from the host")
    (tmp_path / "src/link").symlink_to("deep/file")
    (tmp_path / "plain").write_text("plain")
    onggi("cp", str(tmp_path / "plain"), f"{box}:/d/new name")
    onggi("cp", str(tmp_path / "src"), f"{box}:/d")
    onggi("cp", f"{tmp_path}/src/.", f"{box}:/made")
    onggi("cp", str(tmp_path / "plain"), f"{box}:/d/sub/")
    back = tmp_path / "back"
    onggi("cp", f"{box}:/d", str(back))
    assert (back / "new name").read_text() == "plain"
    assert (back / "src/deep/file").read_text() == "from the host"
    assert os.readlink(back / "src/link") == "deep/file"
    assert (back / "sub/plain").read_text() == "plain"
    onggi("cp", f"{box}:/made/deep/file", str(tmp_path / "x"))
    assert (tmp_path / "x").read_text() == "from the host"


def test_through_pipes(onggi: Onggi, box: str) -> None:
    raw = subprocess.run(
        [onggi.command, "cp", f"{box}:/d/sub", "-"],
        env=onggi.environment, capture_output=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        assert tar.getnames() == ["sub", "sub/two"]
        assert (tar.getmember("sub/two").uid, tar.getmember("sub/two").gid) == (33, 10)
    subprocess.run(
        [onggi.command, "cp", "-", f"{box}:/tmp"],
        env=onggi.environment, input=raw, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    again = subprocess.run(
        [onggi.command, "cp", f"{box}:/tmp/sub/two", "-"],
        env=onggi.environment, capture_output=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(again)) as tar:
        content = tar.extractfile("two")
        assert content is not None
        assert content.read() == b"two\n"


def test_a_reader_that_leaves_is_no_missing_file(onggi: Onggi, box: str) -> None:
    with onggi.popen("cp", f"{box}:/bin", "-") as command:
        assert command.stdout is not None and command.stderr is not None
        command.stdout.close()
        assert (command.wait(60), command.stderr.read()) == (141, "")


def test_volumes_are_seen(onggi: Onggi, box: str, tmp_path: Path) -> None:
    onggi("cp", f"{box}:/vol/v", str(tmp_path / "v"))
    assert (tmp_path / "v").read_text() == "v\n"
    onggi("cp", str(tmp_path / "v"), f"{box}:/vol/back")
    volume = onggi.out("inspect", "-f", "{{(index .Mounts 0).Source}}", box)
    assert Path(volume, "back").read_text() == "v\n"


def test_what_cannot_be_copied(onggi: Onggi, box: str, tmp_path: Path) -> None:
    for source, target, text in (
        (
            f"{box}:/nothing",
            str(tmp_path / "x"),
            "Could not find the file /nothing in container box",
        ),
        (str(tmp_path / "nothing"), f"{box}:/x", "no such file or directory"),
        ("nowhere:/x", str(tmp_path), "No such container: nowhere"),
        (f"{box}:/a", f"{box}:/b", "copying between containers is not supported"),
        (str(tmp_path), str(tmp_path / "y"), "must specify at least one container source"),
        (str(tmp_path), f"{box}:/d/one", "cannot copy directory"),
        (f"{box}:/d", str(tmp_path / "no/parent"), f'directory "{tmp_path}/no" does not exist'),
    ):
        done = onggi("cp", source, target, code=1)
        assert text.lower() in done.stderr.lower(), (source, target)


def test_a_link_in_the_container_leads_nowhere_else(
    onggi: Onggi, busybox: str, tmp_path: Path
) -> None:
    """An absolute link is resolved inside: the host's file is neither read nor written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("host")
    onggi("run", "--name", "evil", busybox, "ln", "-s", str(outside), "/escape")
    onggi("cp", "evil:/escape/canary", str(tmp_path / "stolen"), code=1)
    (tmp_path / "payload").write_text("payload")
    onggi("cp", str(tmp_path / "payload"), "evil:/escape/canary", code=None)
    assert (outside / "canary").read_text() == "host"
    assert os.listdir(outside) == ["canary"]


def test_commit(onggi: Onggi, busybox: str) -> None:
    onggi("run", "--name", "box", "-e", "KEPT=1", busybox, "sh", "-c",
          "echo new > /new; rm /etc/shadow; rm -r /home; mkdir /home; touch /home/x")  # fmt: skip
    told = onggi.out(
        "commit", "-a", "Me <me@example.org>", "-m", "a message", "-c", "CMD cat /new",
        "--change", "ENV B=2", "--change", "EXPOSE 80", "--change", "LABEL a=b",
        "--change", 'ENTRYPOINT ["sh", "-c"]', "--change", "WORKDIR /srv", "box", "made:1",
    )  # fmt: skip
    assert told.startswith("sha256:")
    (item,) = json.loads(onggi.out("image", "inspect", "made:1"))
    assert item["Id"] == told
    assert item["Author"] == "Me <me@example.org>"
    assert item["Comment"] == "a message"
    config = item["Config"]
    assert {"KEPT=1", "B=2"} <= set(config["Env"])
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert (config["WorkingDir"], config["Labels"]) == ("/srv", {"a": "b"})
    assert len(item["RootFS"]["Layers"]) == 2
    script = "cat /new; ls /home; ls /etc/shadow"
    done = onggi("run", "--rm", "made:1", script, code=1)
    assert done.stdout == "new\nx\n"
    assert "No such file" in done.stderr
    assert "a message" in onggi.out("history", "made:1")


def test_commit_of_a_running_container(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", "-v", "/data", busybox, "sh", "-c",
          "echo x > /file; echo y > /data/file; touch /ready; sleep 600")  # fmt: skip
    onggi.until("ready", "exec", "box", "ls", "/")
    told = onggi.out("commit", "box")
    assert onggi.out("ps", "--format", "{{.State}}") == "running"
    assert onggi.out("run", "--rm", told, "cat", "/file") == "x"
    onggi(
        "run", "--rm", told, "test", "-e", "/data/file", code=1
    )  # volumes are not the container's
    onggi("commit", "--pause=false", "box", "named:2")
    assert onggi.out("run", "--rm", "named:2", "cat", "/file") == "x"


def test_commit_of_what_cannot_be(onggi: Onggi, busybox: str) -> None:
    done = onggi("commit", "nowhere", code=1)
    assert "No such container: nowhere" in done.stderr
    onggi("create", "--name", "box", busybox, "true")
    done = onggi("commit", "box", "Upper:Case", code=1)
    assert "must be lowercase" in done.stderr
    done = onggi("commit", "-c", "RUN true", "box", "x:1", code=1)
    assert "run is not a valid change command" in done.stderr.lower()


def test_export_of_a_running_container(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sh", "-c", "echo x > /file; sleep 600")
    onggi.until("file", "exec", "box", "ls", "/")
    onggi("export", "-o", str(tmp_path / "t"), "box")
    with tarfile.open(tmp_path / "t") as tar:
        assert "file" in tar.getnames()
        assert not [name for name in tar.getnames() if name.startswith("proc/")]
