"""An OCI runtime as engines call it, with a state directory of its own and one bundle."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[1] / "bin/onggi-runtime"


class Runtime:
    """The program with a state directory of its own, and one bundle."""

    def __init__(self, root: Path, bundle: Path, rootfs: Path) -> None:
        self.root, self.bundle = root, bundle
        self.command: tuple[str, ...] = (str(PROGRAM),)
        bundle.mkdir()
        self("spec", "--bundle", str(bundle))
        self.config: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        self.config["root"] = {"path": str(rootfs), "readonly": True}
        self.config["process"]["terminal"] = False
        self.config["linux"]["cgroupsPath"] = f"/onggi-test-{os.getpid()}/oci"

    def args(self, *args: str, **process: Any) -> None:
        self.config["process"] |= {"args": list(args), **process}
        self.write()

    def write(self) -> None:
        (self.bundle / "config.json").write_text(json.dumps(self.config))

    def __call__(self, *words: str, code: int = 0, **options: Any) -> str:
        """Standard output; the exit code must be `code`."""
        done = self.raw(*words, **options)
        assert done.returncode == code, done
        return done.stdout

    def raw(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        command = [*self.command, "--root", str(self.root), *words]
        options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(
            command, cwd=self.bundle, capture_output=True, text=True, timeout=120, **options
        )

    def detached(self, *words: str) -> None:
        """create and run -d leave processes with our streams: give them none."""
        command = [*self.command, "--root", str(self.root), *words]
        null = subprocess.DEVNULL
        subprocess.run(
            command, cwd=self.bundle, stdin=null, stdout=null, stderr=null, timeout=120, check=True
        )

    def status(self, name: str) -> str:
        return str(json.loads(self("state", name))["status"])
