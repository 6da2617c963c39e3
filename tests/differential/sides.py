"""Runs a scene on one side, docker's or onggi's, and says what came out in words both can say."""

import io
import json
import os
import re
import shlex
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from .scenes import FILES, SCENES

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
IMAGE = "busybox:latest"
TIMEOUT_S = 300


class Outcome(NamedTuple):
    """What a user sees of one command, normalised; `err` is the first line only."""

    code: int
    out: str
    err: str


def lines_of(scene: str) -> list[str]:
    return [line.strip() for line in SCENES[scene].strip().splitlines()]


class Side:
    """One program with an environment. Nothing else uses its store."""

    def __init__(self, program: str, environment: dict[str, str], archive: Path) -> None:
        self._program = program
        self._environment = {"PATH": os.environ["PATH"], **environment}
        self._archive = archive

    def prepare(self) -> None:
        self.clean()
        if self.call("image", "inspect", IMAGE).returncode:
            self.checked("load", "-i", str(self._archive))

    def call(
        self, *words: str, stdin: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self._program, *words],
            input=stdin.encode(),
            capture_output=True,
            cwd=cwd,
            timeout=TIMEOUT_S,
            env=self._environment,
        )

    def checked(self, *words: str) -> str:
        done = self.call(*words)
        if done.returncode:
            raise AssertionError(f"{self._program} {words}: {done.stderr.decode()}")
        return done.stdout.decode()

    def play(self, scene: str) -> dict[str, Outcome]:
        """Every line of the scene with what it came to; the store is as before afterwards."""
        outcomes = {}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for path, text in FILES.items():
                folder.joinpath(path).parent.mkdir(parents=True, exist_ok=True)
                folder.joinpath(path).write_text(text)
            try:
                for number, line in enumerate(lines_of(scene), 1):
                    outcomes[f"{number}. {line}"] = self._line(line, folder)
            finally:
                self.clean()
        return outcomes

    def _line(self, line: str, folder: Path) -> Outcome:
        command, _, text = line.partition(" <<< ")
        stdin = shlex.split(text)[0] + "\n" if text else ""
        words = [self._with_ids(word) for word in shlex.split(command)]
        done = self.call(*words, stdin=stdin, cwd=folder)
        said = done.stderr.decode(errors="replace").splitlines()
        err = next((line for line in said if line and not line.startswith("time=")), "")
        out = listing(done.stdout) if b"\0" in done.stdout else done.stdout.decode(errors="replace")
        out = in_order(command, normal(out, folder))
        return Outcome(done.returncode, out, small(normal(err, folder)))

    def _with_ids(self, word: str) -> str:
        def found(match: re.Match[str]) -> str:
            full = self.checked("inspect", "-f", "{{.Id}}", match[1]).strip()
            return full[: int(match[2] or 64)]

        return re.sub(r"@(\w+)(?::(\d+))?@", found, word)

    def clean(self) -> None:
        """No containers, no volumes, no image but the one, and of it one name."""
        containers = self.checked("ps", "-aq", "--no-trunc").split()
        if containers:
            self.call("unpause", *containers)
            self.checked("rm", "-f", "-v", *containers)
        volumes = self.checked("volume", "ls", "-q").split()
        if volumes:
            self.checked("volume", "rm", "-f", *volumes)
        form = "{{.Repository}}:{{.Tag}} {{.ID}}"
        while other := [
            line.split()
            for line in self.checked("images", "-a", "--format", form).splitlines()
            if not line.startswith(f"{IMAGE} ")
        ]:
            for name, identity in other:
                self.call("rmi", "-f", identity if "<none>" in name else name)


# What may differ without meaning anything, and what it becomes. In this order.
_SAME = (
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b(?=[a-f]*\d)[0-9a-f]{12}\b", "<id>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} [A-Z]+", "<time>"),
    (r"(Less than a second|About an? (minute|hour)|\d+ (second|minute|hour|day|week|month|year)s?)"
     r"( ago)?", "<duration>"),
    (r"\b(?!0B)\d+(\.\d+)?(B|kB|MB|GB)\b", "<size>"),
    (r"\b172\.\d+\.\d+\.\d+\b", "<address>"),
    (r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b", "<mac>"),
    (r"0x[0-9a-f]{10}", "<pointer>"),
    (r"/[\w./-]*/(volumes|containers|overlay2)/", r"<root>/\1/"),
    (r"\b[a-z]+_[a-z]+(?= busybox )", "<name>"),
    (r"(?m)^root +\d+ +\d+ +\d+ +\d\d:\d\d", "root  <pids> <time>"),
    (r"(?m)^\d+ +(?=[a-z]+$)", "<pid>  "),
    (r"(?<![\w.])docker\b|\bDocker\b", "onggi"),
    (r"template: (\w*):1(:\d+)?: ", r"template: \1:1: "),
    # The recorded daemon is 20.10 with runc 1.1: newer ones say more of the way to an error.
    (r"failed to create (task for container: failed to create )?shim task: ",
     "failed to create shim task: "),
    (r"container process: (error during container init: )?", "container process: "),
    (r"(?m): unknown$", ""),
)  # fmt: skip


def normal(text: str, folder: Path) -> str:
    """Ids, times, durations, sizes, addresses, directories and our names as words; and columns
    two blanks apart, for their width follows from what those were."""
    text = text.replace(str(folder), "<folder>").replace("\r\n", "\n")
    for pattern, word in _SAME:
        text = re.sub(pattern, word, text)
    return re.sub(r"(?m)(?<=\S) {2,}(?=\S)", "  ", re.sub(r"(?m) +$", "", text))


def small(error: str) -> str:
    """The recorded daemon begins its errors with capitals, those since 25 do not."""
    return re.sub(r"(?<=: )[A-Z](?=[a-z])", lambda match: match[0].lower(), error)


def in_order(command: str, out: str) -> str:
    """What docker lists by chance: changes, and images of one second."""
    chance = command.startswith(("diff ", "images --format '{{.Repository}}:"))
    return "".join(sorted(out.splitlines(keepends=True))) if chance else out


def listing(archive: bytes) -> str:
    """A tar on stdout as lines: type, mode, owner, size and name."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return "".join(
            f"{m.type!r} {m.mode & 0o7777:o} {m.uid}:{m.gid} {m.size} {m.name} {m.linkname}\n"
            for m in tar
        )


def recorded() -> dict[str, dict[str, Outcome]]:
    """What docker said when it was last asked; by scene, then by line."""
    document = json.loads(RECORDED.read_text())
    return {
        scene: {line: Outcome(*outcome) for line, outcome in lines.items()}
        for scene, lines in document["scenes"].items()
    }
