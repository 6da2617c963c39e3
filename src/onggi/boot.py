"""The first module of every onggi process: decides where code may come from, then calls a main.

The launchers in bin/ run `python -I -S …/onggi/__main__.py SITE PROGRAM ARGUMENT…`; SITE is the
directory that holds onggi's dependencies. Nothing comes from the caller's directory, from PYTHON*
variables or from .pth files. It never looks at the arguments: that is each program's own main.
"""

import os
import sys
import time

from .shelf import FILE, Shelf

OLDEST_PYTHON = (3, 11)
# Packages of commands that take seconds: what they import would only make the shelf longer.
SLOW = frozenset(
    f"onggi.{name}" for name in ("api", "build", "cri", "httpd", "network.resolver", "registry")
)
BEGAN_NS, USED_NS = time.monotonic_ns(), time.process_time_ns()  # for --trace


def site_directories(site: str, base_prefix: str, version: str) -> list[str]:
    """`site` and what belongs to it: nothing of the system's for a plain virtual environment."""
    home = os.path.dirname(os.path.dirname(os.path.dirname(site)))
    found = [site, os.path.join(home, "lib64", version, "site-packages")]
    try:
        with open(os.path.join(home, "pyvenv.cfg"), encoding="utf-8") as lines:
            settings = {line.replace(" ", "").strip().lower() for line in lines}
        own_only = "include-system-site-packages=true" not in settings
    except OSError:
        own_only = False
    if not own_only:
        found += [
            os.path.join(base_prefix, "local", "lib", version, "dist-packages"),
            os.path.join(base_prefix, "lib", version, "site-packages"),
            os.path.join(base_prefix, "lib64", version, "site-packages"),
            os.path.join(base_prefix, "lib", "python3", "dist-packages"),
        ]
    return list(dict.fromkeys(os.path.realpath(path) for path in found if os.path.isdir(path)))


def group_has_others(group: int, owner: int) -> bool:
    """Whether anybody but root and `owner` is in the group (nobody is in Debian's staff)."""
    if group in (0, owner):  # the owner's private group
        return False
    import grp
    import pwd

    accounts = pwd.getpwall()
    try:
        members = set(grp.getgrgid(group).gr_mem)
    except KeyError:
        members = set()
    members |= {account.pw_name for account in accounts if account.pw_gid == group}
    return bool(members - {account.pw_name for account in accounts if account.pw_uid in (0, owner)})


def changeable_by_others(directories: list[str]) -> str:
    """The first directory here, or above, whose entries another account may replace; else "".

    In a sticky directory, such as /tmp, others can add names but not replace ours.
    """
    safe: set[str] = set()
    for leaf in directories:
        path = leaf
        while path not in safe:
            status = os.stat(path)
            mode = status.st_mode
            if path == leaf or not mode & 0o1000:
                by_group = mode & 0o020 and group_has_others(status.st_gid, status.st_uid)
                if mode & 0o002 or by_group:
                    return path
            safe.add(path)
            path = os.path.dirname(path)
    return ""


def open_standard_streams() -> None:
    """A caller may have closed 0, 1 or 2: the next file we open must not become one of them."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def collect_rarely() -> None:
    """The garbage collector looks for cycles among all that we import, finds none, and takes 2 ms
    of every start: only after this many new objects."""
    import gc

    gc.set_threshold(100_000, 20, 100)


def prepare(site: str) -> str:
    """Set the import path; the text of the refusal when code would come from an unsafe place."""
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return f"needs Python {oldest} or newer; {sys.executable} is {sys.version.split()[0]}"
    package = os.path.dirname(os.path.realpath(__file__))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    sites = site_directories(os.path.realpath(site), sys.base_prefix, version)
    sys.path[:] = list(dict.fromkeys([*sys.path, *sites]))
    # As another account we would leave files that the owner cannot delete, or fail to.
    sys.dont_write_bytecode = os.stat(package).st_uid != os.geteuid()
    unsafe = changeable_by_others([package, *sites]) if os.geteuid() == 0 else ""
    if unsafe:
        return (
            f"root's code would come from {unsafe}, which other accounts may change: "
            f"chmod go-w {unsafe}"
        )
    return ""


def finish(status: int) -> None:
    """Flush and leave at once: tearing the interpreter down costs more than `--version` does."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        status = 128 + 13
    except OSError as error:
        os.write(2, f"onggi: write error: {error.strerror}\n".encode())
        status = status or 1
    os._exit(status)


def open_shelf() -> Shelf:
    package = os.path.dirname(__file__)
    shelf = Shelf(f"{package}/__pycache__/{FILE}", os.stat(package).st_uid)
    sys.meta_path.insert(0, shelf)
    return shelf


def boot() -> None:
    site, program, *arguments = sys.argv[1:]
    open_standard_streams()
    collect_rarely()
    refusal = prepare(site)
    if refusal:
        sys.stderr.write(f"{program}: {refusal}\n")
        finish(1)
    os.environ.pop("SSLKEYLOGFILE", None)  # urllib3 would write session keys there
    shelf = open_shelf()
    if program == "onggi-runtime":
        from .runtime.main import main
    elif program == "onggi-server":
        from .api.main import main
    elif program == "onggi-registry":
        from .distribution.main import main
    elif program == "onggi-spawner":
        from .engine.spawner import main
    elif program == "onggi-proxy":
        from .network.proxy import main
    elif program == "onggi-resolver":
        from .network.resolver import main
    else:
        from .cli.main import main
    status = main(arguments, dict(os.environ))
    if not sys.dont_write_bytecode and SLOW.isdisjoint(sys.modules):
        shelf.stock((f"{os.path.dirname(__file__)}/", f"{os.path.dirname(os.__file__)}/"))
    finish(status)
