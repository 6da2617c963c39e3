"""`onggi build`: every instruction, the cache, the flags, and what a failure leaves."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root
UNIQUE = os.urandom(8).hex()  # nothing built before has it

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def context(tmp_path: Path) -> Write:
    """Writes files into one folder and returns it."""

    def write(files: dict[str, str]) -> Path:
        folder = tmp_path / "context"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return write


def config_of(onggi: Onggi, image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(onggi.out("inspect", "-f", "{{json .Config}}", image))
    return found


def test_every_metadata_instruction(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
# a comment
FROM {busybox} AS base
ARG WHERE=/srv
ARG who
ENV ONE=1 \\
    # a comment between
    TWO="two words"
ENV OLD style value
ENV PLACE=${{WHERE}}/app WHO=${{who:-nobody}}
LABEL a=1 "b c"="d e"
WORKDIR $WHERE
WORKDIR app
EXPOSE 80 53/udp
VOLUME ["/one", "/two"]
USER www-data:wheel
STOPSIGNAL SIGUSR1
SHELL ["/bin/sh", "-ec"]
ENTRYPOINT ["echo", "entry"]
CMD ["cmd"]
"""
        }
    )
    onggi("build", "-t", "meta", "--build-arg", "who=me", str(folder))
    config = config_of(onggi, "meta")
    env = config["Env"]
    assert isinstance(env, list)
    assert {"ONE=1", "TWO=two words", "OLD=style value", "PLACE=/srv/app", "WHO=me"} <= set(env)
    assert config["Labels"] == {"a": "1", "b c": "d e"}
    assert config["WorkingDir"] == "/srv/app"
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/one": {}, "/two": {}}
    assert config["User"] == "www-data:wheel"
    assert config["StopSignal"] == "SIGUSR1"
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert (config["Entrypoint"], config["Cmd"]) == (["echo", "entry"], ["cmd"])
    assert onggi.out("run", "--rm", "meta") == "entry cmd"
    assert onggi.out("run", "--rm", "--entrypoint", "pwd", "meta") == "/srv/app"
    assert onggi.out("run", "--rm", "--entrypoint", "id", "meta", "-un") == "www-data"


def test_run_is_the_same_sandbox_as_run(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
FROM {busybox}
ENV A=1
WORKDIR /w
RUN pwd > /proof; echo $A >> /proof; grep -E 'CapEff|^Seccomp:' /proc/self/status >> /proof
RUN ["sh", "-c", "echo exec form >> /proof"]
USER 33
RUN id -u > /tmp/id
SHELL ["/bin/sh", "-e", "-c"]
RUN false || echo $0 > /tmp/shell
"""
        }
    )
    onggi("build", "-t", "proof", str(folder))
    found = onggi.out("run", "--rm", "proof", "cat", "/proof", "/tmp/id")
    assert found.splitlines() == [
        "/w", "1", "CapEff:\t00000000a80425fb", "Seccomp:\t2", "exec form", "33",
    ]  # fmt: skip
    assert onggi.out("run", "--rm", "proof", "stat", "-c", "%u:%g", "/tmp/id") == "33:33"


def test_copy(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
FROM {busybox}
COPY one /
COPY one two.txt /several/
COPY dir /dir
COPY *.txt /globbed/
COPY --chown=33:10 --chmod=0640 one /owned
COPY --chown=www-data dir /owned-dir
COPY ["with space", "/spaced name"]
ADD dir/deep /added
""",
            "one": "1", "two.txt": "2", "dir/deep/file": "deep", "with space": "s",
        }
    )  # fmt: skip
    (folder / "dir/link").symlink_to("deep/file")
    (folder / "one").chmod(0o755)
    onggi("build", "-t", "copied", str(folder))
    script = (
        "cat /one /several/one /several/two.txt /dir/deep/file /globbed/two.txt '/spaced name'"
        " /added/file; echo; readlink /dir/link;"
        " stat -c '%u:%g %a' /one /owned /owned-dir/deep/file"
    )
    assert onggi.out("run", "--rm", "copied", "sh", "-c", script).splitlines() == [
        "112deep2sdeep", "deep/file", "0:0 755", "33:10 640", "33:33 644",
    ]  # fmt: skip


def test_add_unpacks_archives(onggi: Onggi, busybox: str, context: Write) -> None:
    import tarfile

    folder = context({"Dockerfile": f"FROM {busybox}\nADD a.tar.gz /here/\nCOPY a.tar.gz /\n"})
    (folder / "inside").write_text("unpacked")
    with tarfile.open(folder / "a.tar.gz", "w:gz") as archive:
        archive.add(folder / "inside", "inside")
    (folder / "inside").unlink()
    onggi("build", "-t", "added", str(folder))
    assert onggi.out("run", "--rm", "added", "cat", "/here/inside") == "unpacked"
    onggi("run", "--rm", "added", "test", "-f", "/a.tar.gz")


def test_stages(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
ARG BASE={busybox}
FROM $BASE AS make
RUN echo made > /made
FROM $BASE AS unused
RUN echo this must not run; false
FROM make AS more
RUN echo more >> /made
FROM $BASE AS final
COPY --from=more /made /one
COPY --from=0 /made /two
COPY --from={busybox} /etc/passwd /three
"""
        }
    )
    done = onggi("build", "-t", "staged", str(folder))
    assert "this must not run" not in done.stdout + done.stderr
    script = "cat /one /two; head -n 1 /three; ls /made"
    found = onggi("run", "--rm", "staged", "sh", "-c", script, code=1).stdout
    assert found.splitlines() == ["made", "more", "made", "root:x:0:0:root:/root:/bin/sh"]
    onggi("build", "-t", "half", "--target", "make", str(folder))
    assert onggi.out("run", "--rm", "half", "cat", "/made") == "made"
    done = onggi("build", "--target", "mkae", str(folder), code=1)
    assert 'target stage "mkae" could not be found' in done.stderr


def test_second_build_is_from_the_cache(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"FROM {busybox}\nCOPY first /\n"
            "RUN cat /proc/sys/kernel/random/uuid > /when\nCOPY second /\n"
            "RUN cat /second > /third\nCMD cat /when\n",
            "first": "1", "second": "2",
        }
    )  # fmt: skip
    onggi("build", "-t", "cached", str(folder))
    first_id, when = (
        onggi.out("images", "-q", "--no-trunc", "cached"),
        onggi.out("run", "--rm", "cached"),
    )
    done = onggi("build", "-t", "cached", str(folder))
    assert done.stdout.count(" ---> Using cache\n") == 5
    assert onggi.out("images", "-q", "--no-trunc", "cached") == first_id

    os.utime(folder / "first", (1, 1))  # another time is no other content
    done = onggi("build", "-t", "cached", str(folder))
    assert done.stdout.count(" ---> Using cache\n") == 5

    (folder / "second").write_text("changed")
    done = onggi("build", "-t", "cached", str(folder))
    assert done.stdout.count(" ---> Using cache\n") == 2
    assert onggi.out("run", "--rm", "cached") == when
    assert onggi.out("run", "--rm", "cached", "cat", "/third") == "changed"

    (folder / "first").chmod(0o700)  # another mode is
    done = onggi("build", "-t", "cached", str(folder))
    assert done.stdout.count(" ---> Using cache\n") == 0
    changed = onggi.out("run", "--rm", "cached")
    assert changed != when
    done = onggi("build", "--no-cache", "-t", "cached", str(folder))
    assert " ---> Using cache" not in done.stdout
    assert onggi.out("run", "--rm", "cached") != changed


def test_a_build_argument_invalidates_what_uses_it(
    onggi: Onggi, busybox: str, context: Write
) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
FROM {busybox}
RUN cat /proc/sys/kernel/random/uuid > /before
ARG V=default
RUN echo $V > /after
"""
        }
    )
    seen = set()
    for value in (None, "1", "2", "1"):
        flags = [] if value is None else ["--build-arg", f"V={value}"]
        done = onggi("build", "-t", "args", *flags, str(folder))
        before, after = onggi.out("run", "--rm", "args", "cat", "/before", "/after").splitlines()
        seen.add(before)
        assert after == (value or "default")
    assert len(seen) == 1
    assert done.stdout.count(" ---> Using cache\n") == 3  # V=1 was built before
    done = onggi("build", "--build-arg", "V", str(folder), V="from the caller")
    assert onggi.out("run", "--rm", done.stdout.split()[-1], "cat", "/after") == "from the caller"
    done = onggi("build", "--build-arg", "UNKNOWN=1", str(folder))
    assert "[UNKNOWN] were not consumed" in done.stdout + done.stderr
    assert "V=1" not in str(config_of(onggi, "args")["Env"])


def test_metadata_is_cached_when_it_was_met_before(
    onggi: Onggi, busybox: str, context: Write
) -> None:
    folder = context({"Dockerfile": f"FROM {busybox}\nENV NEW={UNIQUE}\nLABEL a=b\n"})
    for cached in (0, 2):
        lines = onggi("build", str(folder)).stdout.splitlines()
        assert lines.count(" ---> Using cache") == cached
        assert lines[-2] == f" ---> {lines[-1].split()[-1]}", "the last step makes the image"
    assert " ---> Using cache" not in onggi("build", "--no-cache", str(folder)).stdout


def test_a_failed_run_says_where_and_keeps_the_good_steps(
    onggi: Onggi, busybox: str, context: Write
) -> None:
    folder = context(
        {
            "Dockerfile": f"FROM {busybox}\nRUN echo good > /good\nRUN echo bad luck; exit 7\n"
            "RUN true\n"
        }
    )
    before = onggi.out("images", "-aq")
    done = onggi("build", "-t", "failing", str(folder), code=1)
    assert "Step 3/4 : RUN echo bad luck; exit 7\n" in done.stdout
    assert "bad luck\n" in done.stdout
    first = done.stderr.splitlines()[0]
    assert first == ("The command '/bin/sh -c echo bad luck; exit 7' returned a non-zero code: 7")
    assert done.stderr.splitlines()[1:] == ["  line 3 | RUN echo bad luck; exit 7"]
    assert onggi.out("images", "-q", "failing") == ""
    assert onggi.out("images", "-aq") == before
    assert onggi.out("ps", "-aq") == ""
    (folder / "Dockerfile").write_text(f"FROM {busybox}\nRUN echo good > /good\nRUN echo better\n")
    done = onggi("build", "-t", "failing", str(folder))
    assert done.stdout.count(" ---> Using cache\n") == 1


def test_output_of_a_build(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context({"Dockerfile": f"FROM {busybox}\nRUN echo to stdout; echo to stderr >&2\n"})
    done = onggi("build", "-t", "test:latest", "-t", "test:again", str(folder))
    image = onggi.out("images", "-q", "test:latest")
    assert re.fullmatch(
        rf"""Step 1/2 : FROM {busybox}
 ---> [0-9a-f]{{12}}
Step 2/2 : RUN echo to stdout; echo to stderr >&2
to stdout
 ---> [0-9a-f]{{12}}
Successfully built {image}
Successfully tagged test:latest
Successfully tagged test:again
""",
        done.stdout,
    )
    assert done.stderr == "to stderr\n"


def test_quiet_and_iidfile(onggi: Onggi, busybox: str, context: Write, tmp_path: Path) -> None:
    folder = context({"Dockerfile": f"FROM {busybox}\nRUN echo chatter\n"})
    iid = tmp_path / "iid"
    done = onggi("build", "-q", "--iidfile", str(iid), str(folder))
    assert re.fullmatch("sha256:[0-9a-f]{64}\n", done.stdout)
    assert done.stderr == ""
    assert iid.read_text() == done.stdout.strip()
    (folder / "Dockerfile").write_text(f"FROM {busybox}\nRUN echo what went wrong; false\n")
    done = onggi("build", "-q", "--iidfile", str(iid), str(folder), code=1)
    assert done.stdout == ""
    assert "what went wrong" in done.stderr
    assert not iid.exists()


def test_other_dockerfiles(onggi: Onggi, busybox: str, context: Write, tmp_path: Path) -> None:
    folder = context({"dev/Special": f"FROM {busybox}\nCOPY here /\n", "here": "x"})
    for cwd, arguments in (
        (tmp_path, ["-f", "context/dev/Special", "context"]),
        (folder, ["-f", "dev/Special", "."]),
        (folder / "dev", ["-f", "Special", ".."]),
    ):
        onggi("build", "-q", *arguments, cwd=cwd)
    done = onggi("build", "-q", "-f", "-", ".", stdin=f"FROM {busybox}\nCOPY here /\n", cwd=folder)
    assert done.stdout.startswith("sha256:")
    done = onggi("build", ".", cwd=folder, code=1)
    assert "Dockerfile" in done.stderr
    assert "no such file or directory" in done.stderr


def test_dockerignore(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"FROM {busybox}\nCOPY . /all\n",
            ".dockerignore": "# comment\n*.log\n!keep.log\n**/secret\nnode_modules\n/top/only\n",
            "a.log": "", "keep.log": "", "secret": "", "deep/er/secret": "", "deep/er/fine": "",
            "node_modules/x/y": "", "top/only": "", "deep/top/only": "", "plain": "",
        }
    )  # fmt: skip
    onggi("build", "-t", "ignoring", str(folder))
    found = onggi.out("run", "--rm", "ignoring", "sh", "-c", "cd /all; find . -type f | sort")
    assert found.splitlines() == [
        "./.dockerignore", "./Dockerfile", "./deep/er/fine", "./deep/top/only", "./keep.log",
        "./plain",
    ]  # fmt: skip
    (folder / "secret").write_text("changed")  # what is ignored does not spoil the cache
    assert " ---> Using cache" in onggi.out("build", "-t", "ignoring", str(folder))


def test_from_scratch(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
FROM {busybox} AS tools
FROM scratch
COPY --from=tools /bin/busybox /
ENTRYPOINT ["/busybox"]
"""
        }
    )
    onggi("build", "-t", "scratched", str(folder))
    assert onggi.out("run", "--rm", "scratched", "echo", "alone") == "alone"


def test_deletions_are_in_the_layers(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
FROM {busybox}
RUN mkdir /d && touch /d/a /d/b && ln /d/a /d/hard
RUN rm /d/a && rm -r /home && mkdir /home && touch /home/new && chmod 700 /d
RUN rm -r /d && mkdir /d && touch /d/c
"""
        }
    )
    onggi("build", "-t", "deleted", str(folder))
    found = onggi.out("run", "--rm", "deleted", "sh", "-c", "ls /d /home; stat -c %a /d")
    assert found.split() == ["/d:", "c", "/home:", "new", "755"]
    history = onggi.out(
        "history", "--no-trunc", "--format", "{{.CreatedBy}}", "deleted"
    ).splitlines()
    assert history[0].endswith("rm -r /d && mkdir /d && touch /d/c # buildkit")
    assert len(history) == 4


def test_pull_from_a_registry(onggi: Onggi, busybox: str, registry, context: Write) -> None:  # type: ignore[no-untyped-def]
    name = f"{registry.host}/base:1"
    onggi("tag", busybox, name)
    onggi("push", "-q", name)
    onggi("rmi", name)
    folder = context({"Dockerfile": f"FROM {name}\nRUN true\n"})
    done = onggi("build", "-t", "derived", str(folder))
    assert "1: Pulling from base" in done.stdout
    done = onggi("build", "--pull", "-t", "derived", str(folder))
    assert "Image is up to date" in done.stdout
    assert " ---> Using cache" in done.stdout
    onggi("rmi", "derived", name)


def test_heredoc_and_variables(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context(
        {
            "Dockerfile": f"""\
# syntax=docker/dockerfile:1
FROM {busybox}
ENV NAME=world
RUN <<EOF
echo hello $NAME > /out
echo second >> /out
EOF
COPY <<TEXT /written
$NAME is written
TEXT
RUN echo '$NAME' "${{NAME%d}}" "${{NAME:+set}}" >> /out
"""
        }
    )
    onggi("build", "-t", "here", str(folder))
    found = onggi.out("run", "--rm", "here", "cat", "/out", "/written").splitlines()
    assert found == ["hello world", "second", "$NAME worl set", "world is written"]


def test_a_killed_build_leaves_nothing_running(onggi: Onggi, busybox: str, context: Write) -> None:
    folder = context({"Dockerfile": f"FROM {busybox}\nRUN echo going; sleep 600\n"})
    process = onggi.popen("build", str(folder))
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "going\n":
        assert line, "the build has ended"
    process.kill()
    process.communicate()
    (folder / "Dockerfile").write_text(f"FROM {busybox}\nRUN echo fine\n")
    onggi("build", "-q", "-t", "after", str(folder))
    assert onggi.out("ps", "-aq") == ""
