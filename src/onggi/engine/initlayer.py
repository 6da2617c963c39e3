"""The mount points every container needs, made once per image as one more layer below it.

What docker calls the init layer: /dev, /proc, /sys, /.dockerenv and the three files in /etc that
are mounted over. Standing in a layer of their own they never show up in a container's own changes
(diff, commit, a build step), and starting a container creates nothing in its root filesystem.
"""

import os

from ..linux import mount, safefs
from ..spec.digest import Digest, chain_id
from ..spec.mount import LayerMount, RootFilesystem
from ..store.store import Store
from .paths import Paths
from .tier import current

DIRECTORIES = ("/dev", "/proc", "/sys")
FILES = ("/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
APT = "/etc/apt/apt.conf.d"
SCRATCH = "scratch"  # the name for an image without layers


def lowers(store: Store, paths: Paths, layers: tuple[Digest, ...]) -> tuple[LayerMount, ...]:
    """An image's layers with its init layer on top, bottom first."""
    return (*store.layers.mounts(layers), _ensure(store, paths, layers))


def collect(store: Store, paths: Paths) -> None:
    """Remove the init layers of images that are gone from the store and from every container."""
    directory = _directory(paths)
    if not os.path.isdir(directory):
        return
    containers = store.containers.list(all=True, purpose=None)
    kept = {_name(image.config.diff_ids) for image in store.images.list()}
    kept |= {_name(tuple(map(Digest, c.config.layers))) for c in containers}
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(parent):
            if name not in kept and not _is_being_made(name):
                safefs.remove_tree(parent, name)
    finally:
        os.close(parent)


def _ensure(store: Store, paths: Paths, layers: tuple[Digest, ...]) -> LayerMount:
    name = _name(layers)
    path = f"{_directory(paths)}/{name}"
    if not os.path.isdir(path):
        _make(store, paths, layers, name)
    return LayerMount(store.backend.tree_kind, f"{path}/tree")


def _make(store: Store, paths: Paths, layers: tuple[Digest, ...], name: str) -> None:
    """Build beside, then rename: whoever is second finds the first one's."""
    directory = _directory(paths)
    os.makedirs(directory, 0o700, exist_ok=True)
    fresh = f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
    os.mkdir(f"{directory}/{fresh}", 0o700)
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree, work = f"{directory}/{fresh}/tree", f"{directory}/{fresh}/work"
        os.mkdir(tree, 0o755)
        os.mkdir(work, 0o700)
        root = mount.mount_overlay(RootFilesystem(store.layers.mounts(layers), tree, work))
        try:
            for path in DIRECTORIES:
                os.close(safefs.mkdirs_in_root(root, path))
            for path in FILES:
                os.close(safefs.make_file_in_root(root, path))
            if current().ids == 1:
                _keep_apt_root(root)
        finally:
            os.close(root)
        safefs.remove_tree(parent, f"{fresh}/work")
        try:
            os.rename(f"{directory}/{fresh}", f"{directory}/{name}")
        except OSError:
            if not os.path.isdir(f"{directory}/{name}"):
                raise
    finally:
        safefs.remove_tree(parent, fresh)
        os.close(parent)


def _keep_apt_root(root: int) -> None:
    """Where there is one id apt cannot become its user _apt, and refuses to go on as root unless it
    is told to. In this layer it is told, and no image ever holds it."""
    try:
        directory = safefs.open_in_root(root, APT, safefs.O_PATH_DIRECTORY)
    except OSError:
        return  # no apt
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open("00onggi-one-id", flags, 0o644, dir_fd=directory)
        os.write(fd, b'APT::Sandbox::User "root";\n')
        os.close(fd)
    finally:
        os.close(directory)


def _is_being_made(name: str) -> bool:
    """Whether it is a draft (NAME.PID.NOISE) whose maker may still be at it."""
    _, _, rest = name.partition(".")
    return bool(rest) and os.path.exists(f"/proc/{rest.partition('.')[0]}")


def _directory(paths: Paths) -> str:
    return f"{paths.root}/init"


def _name(layers: tuple[Digest, ...]) -> str:
    return chain_id(layers).hex if layers else SCRATCH
