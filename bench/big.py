"""The image of the storage rows: 250 MB in 13,000 files, as packages have them: most are small, and
half of the bytes compress well. The same bytes every time."""

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

NAME = "big:latest"
FILES = 13_000
BYTES = 250 << 20


def archive(path: Path) -> Path:
    """A docker-archive, made once. It has busybox too, so that a container of it can run."""
    if path.exists():
        return path
    noise = random.Random(1)  # noqa: S311 - the same bytes every time
    words = [noise.randbytes(6).hex().encode() for _ in range(4000)]
    temporary = path.with_suffix(".new")
    layer = path.with_suffix(".layer")
    with tarfile.open(layer, "w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, "bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        for applet in ("sh", "true", "sleep", "dd", "cp"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        left = BYTES
        for number in range(FILES):
            size = min(left, int(noise.expovariate(FILES / BYTES)))
            left -= size
            text = b" ".join(noise.choices(words, k=size // 24 + 1))[: size // 2]
            data = text + noise.randbytes(size - len(text))
            _add(tar, f"usr/lib/p{number % 130}/m{number}.py", data, 0o644)
    diff_id = f"sha256:{_digest(layer)}"
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [NAME], "Layers": ["layer.tar"]}]
    with tarfile.open(temporary, "w") as tar:
        _add(tar, "config.json", config, 0o644)
        tar.add(layer, "layer.tar")
        _add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)
    layer.unlink()
    temporary.rename(path)
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
