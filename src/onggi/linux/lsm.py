"""AppArmor and SELinux: whether the kernel has them, the label that a process gets at execve, and
that of a file.

A label is written to the process's own attributes in a proc file system of our own making, by
descriptor (SECURITY A5): the container's /proc is the container's to arrange.
"""

import errno
import os
import stat

from . import mount, safefs

PROC_MAGIC = 0x9FA0
_BENEATH = safefs.RESOLVE_BENEATH | safefs.RESOLVE_NO_SYMLINKS
_STAY = _BENEATH | safefs.RESOLVE_NO_MAGICLINKS | safefs.RESOLVE_NO_XDEV
# AppArmor has had a directory of its own since 5.8; what is there before belongs to one module.
_ATTRIBUTES = {"apparmor": ("attr/apparmor/exec", "attr/exec"), "selinux": ("attr/exec",)}
_FILE_ATTRIBUTE = "security.selinux"
_NAMES = {"apparmor": "AppArmor", "selinux": "SELinux"}


def is_on(module: str, sys: str = "/sys") -> bool:
    """Whether the kernel has the module at work: "apparmor" or "selinux"."""
    if module == "selinux":
        return os.path.exists(f"{sys}/fs/selinux/enforce")
    return _read(f"{sys}/module/apparmor/parameters/enabled")[:1] == "Y"


def loaded_profiles(sys: str = "/sys") -> frozenset[str]:
    """AppArmor's profiles; none where securityfs is not mounted."""
    lines = _read(f"{sys}/kernel/security/apparmor/profiles").splitlines()
    return frozenset(line.rpartition(" (")[0] for line in lines)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def open_proc() -> int:
    """A detached proc file system of our process id namespace; nobody sees it but us."""
    options = (("source", "proc"),)
    return mount.fsmount("proc", options, mount.NOSUID | mount.NODEV | mount.NOEXEC)


def set_exec_label(proc_fd: int, module: str, label: str, *, magic: int = PROC_MAGIC) -> None:
    """The label that our next execve puts on. Raises OSError naming module and label where the
    kernel refuses it; `magic` is the type that the file system must have."""
    text = f"exec {label}" if module == "apparmor" else label
    try:
        fd = _open_attribute(proc_fd, _ATTRIBUTES[module])
        try:
            if mount.file_system_type(fd) != magic:
                raise OSError(errno.EXDEV, "not a proc file system")
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        what = f"label {label[:128]!r} of {_NAMES[module]}: {error.strerror}"
        raise OSError(error.errno, what) from error


def set_file_label(fd: int, label: str) -> None:
    """SELinux's label of a file, or of a directory with all below it; `fd` may be an O_PATH one.
    A file system that keeps no labels (nfs) has those that its mount says. Raises OSError."""
    value = label.encode()

    def put(directory_fd: int, name: str, _: os.stat_result) -> None:
        path = f"/proc/self/fd/{directory_fd}/{name}"
        os.setxattr(path, _FILE_ATTRIBUTE, value, follow_symlinks=False)

    try:
        os.setxattr(f"/proc/self/fd/{fd}", _FILE_ATTRIBUTE, value)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            top = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                safefs.visit_below(top, put)
            finally:
                os.close(top)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise OSError(error.errno, f"label {label[:128]!r}: {error.strerror}") from error


def _open_attribute(proc_fd: int, names: tuple[str, ...]) -> int:
    me = os.readlink("self", dir_fd=proc_fd)
    for name in names:
        try:
            return safefs.openat2(proc_fd, f"{me}/{name}", os.O_WRONLY, resolve=_STAY)
        except FileNotFoundError:
            if name == names[-1]:
                raise
    raise AssertionError("unreachable")
