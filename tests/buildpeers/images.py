"""What a docker-archive holds, in a form in which the work of two builders can be compared."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

# Config keys that a Dockerfile decides; the rest is the builder's own.
KEYS = ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "ExposedPorts", "Volumes", "Labels",
        "StopSignal", "Healthcheck", "OnBuild", "Shell")  # fmt: skip
BUILDERS_LABELS = ("io.buildah.version",)
# Written by programs with the time, or a process id, in it.
CHANGING = ("var/log/", "var/cache/", "var/lib/dpkg/", "root/.cache/", "tmp/")
UV_NOTE = "uv_cache.json"  # when a wheel's inode changed; listed in RECORD with its digest
# What an engine puts there for a RUN, and leaves as an empty file or not at all.
ENGINES = {"etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/mtab", "dev", "proc", "sys", "run"}

Entry = str  # "file 644 0:0 sha256…", "dir 755 0:0", "link 0:0 target", …
Tree = dict[str, Entry]


class Built(NamedTuple):
    config: dict[str, Any]
    tree: Tree


def read(archive: Path) -> Built:
    with tarfile.open(archive) as outer:
        manifest = json.loads(_bytes(outer, "manifest.json"))[0]
        config = json.loads(_bytes(outer, manifest["Config"]))
        tree: Tree = {}
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(_bytes(outer, name))) as layer:
                _apply(tree, layer)
    return Built(_decided(config.get("config") or {}), _still(tree))


def content(archive: Path, path: str) -> bytes:
    """Of a file, in the topmost layer that has it."""
    with tarfile.open(archive) as outer:
        manifest = json.loads(_bytes(outer, "manifest.json"))[0]
        for name in reversed(manifest["Layers"]):
            with tarfile.open(fileobj=io.BytesIO(_bytes(outer, name))) as layer:
                for member in layer:
                    if member.name.removeprefix("./") == path:
                        stream = layer.extractfile(member)
                        assert stream is not None
                        return stream.read()
    raise FileNotFoundError(path)


def _bytes(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)  # follows the links that docker makes between layers
    assert stream is not None, name
    return stream.read()


def _decided(config: dict[str, Any]) -> dict[str, Any]:
    """Empty and missing are the same."""
    found = {key: config[key] for key in KEYS if config.get(key)}
    labels = {k: v for k, v in found.get("Labels", {}).items() if k not in BUILDERS_LABELS}
    found["Labels"] = labels
    if found.get("WorkingDir") == "/":
        del found["WorkingDir"]
    return {key: value for key, value in found.items() if value}


def _apply(tree: Tree, layer: tarfile.TarFile) -> None:
    added: set[str] = set()
    for member in layer:
        path = member.name.removeprefix("./").strip("/")
        parent, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            _remove_below(tree, parent, added)
        elif name.startswith(".wh."):
            gone = f"{parent}/{name[4:]}" if parent else name[4:]
            tree.pop(gone, None)
            _remove_below(tree, gone, set())
        elif path not in ("", "."):
            if not member.isdir():
                _remove_below(tree, path, set())
            tree[path] = _entry(tree, layer, member)
            added.add(path)


def _remove_below(tree: Tree, directory: str, kept: set[str]) -> None:
    for path in [p for p in tree if p.startswith(f"{directory}/") and p not in kept]:
        del tree[path]


def _entry(tree: Tree, layer: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    owner = f"{member.uid}:{member.gid}"
    if member.isdir():
        return f"dir {member.mode & 0o7777:o} {owner}"
    if member.issym():
        return f"link {owner} {member.linkname}"
    if member.islnk():
        target = member.linkname.removeprefix("./").strip("/")
        return tree[target]
    if member.isfile():
        stream = layer.extractfile(member)
        assert stream is not None
        data = stream.read()
        if member.name.endswith(".dist-info/RECORD"):
            data = b"".join(line for line in data.splitlines(True) if UV_NOTE.encode() not in line)
        digest = hashlib.sha256(data).hexdigest()[:16]
        return f"file {member.mode & 0o7777:o} {owner} {member.size} {digest}"
    return f"{member.type!r} {member.mode & 0o7777:o} {owner}"


def _still(tree: Tree) -> Tree:
    return {
        path: entry
        for path, entry in sorted(tree.items())
        if path not in ENGINES
        and not path.startswith(CHANGING)
        and not path.endswith((".pyc", UV_NOTE))
        and "__pycache__" not in path
    }


def changed(built: Tree, base: Tree) -> Tree:
    """What the Dockerfile made of the tree of its base; "gone" for what it removed. Copies of the
    program of the base, which is of another version elsewhere, are told as such."""
    program = " ".join(base.get("bin/busybox", "no").split()[3:])
    made = {
        path: entry.replace(program, "busybox") if program and entry.endswith(program) else entry
        for path, entry in built.items()
        if base.get(path) != entry
    }
    return made | {path: "gone" for path in base if path not in built}
