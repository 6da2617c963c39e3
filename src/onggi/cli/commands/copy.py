"""`cp` and `export`."""

import os
import stat
from collections.abc import Callable, Iterator

from ...engine.archive import PathStat
from ...errors import NotFound
from ...store import tree, unpack
from ...units import format_size
from .. import copyplan
from ..command import Command
from ..copyplan import Place
from ..flags import Values, flag_table
from ..session import Session, refusal, working_directory, write_all
from .lifecycle import missing_hint
from .transfer import written

CHUNK = 1 << 18
MAX_LINKS = 40
Write = Callable[[bytes], object]


def cp(session: Session, values: Values, arguments: list[str]) -> int:
    source, target = (copyplan.split_argument(text) for text in arguments)
    if source[0] and target[0]:
        raise refusal("copying between containers is not supported")
    if not source[0] and not target[0]:
        raise refusal("must specify at least one container source")
    if not all(arguments):
        raise refusal("source can not be empty" if not arguments[0] else
                      "destination can not be empty")  # fmt: skip
    try:
        if source[0]:
            size = from_container(session, values, source[0], source[1], target[1])
        else:
            size = to_container(session, values, source[1], target[0], target[1])
    except NotFound as error:
        raise missing_hint(session, error, source[0] or target[0]) from error
    if size >= 0 and session.err.is_terminal() and not values.on("quiet"):
        session.err.line(f"Successfully copied {format_size(size, 3)} to {arguments[1]}")
    return 0


# -- out of a container


def from_container(session: Session, values: Values, container: str, path: str, target: str) -> int:
    """Bytes of the archive; -1 when it went to stdout."""
    archive = session.engine.archive
    source_path = copyplan.absolute(path, "/")
    follow = values.on("follow-link")
    if target == "-":
        archive.copy_out(
            container, source_path, lambda data: write_all(1, data), follow_link=follow
        )
        return -1
    place = local_target(copyplan.absolute(target, working_directory()))
    resolved, found = stat_inside(session, container, source_path, follow=follow)
    source = Place(source_path, True, stat.S_ISDIR(found.mode))
    if copyplan.is_contents(source_path) and not source.is_directory:
        raise refusal("not a directory")
    where = copyplan.landing(source, place)
    before, after = copyplan.renamed(copyplan.base_name(resolved), where.name)
    owner = None if values.on("archive") else (os.geteuid(), os.getegid())
    spool = Spool(spool_directory(session))
    try:
        archive.copy_out(container, resolved, spool.write)
        root = os.open(where.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            unpack.extract_into(
                root,
                "/",
                spool.chunks(),
                owner=owner,
                keep_types=True,
                rename=lambda member: copyplan.rename_member(member, before, after),
            )
        finally:
            os.close(root)
        return spool.size
    finally:
        spool.close()


def local_target(path: str) -> Place:
    parent = os.path.dirname(path.removesuffix("/.").rstrip("/")) or "/"
    if not os.path.isdir(parent):
        raise refusal(f'invalid output path: directory "{parent}" does not exist')
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Place(path, os.path.lexists(path.rstrip("/")))
    if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
        raise refusal(f'invalid output path: "{path}" must be a directory or a regular file')
    return Place(path, True, stat.S_ISDIR(status.st_mode))


def stat_inside(
    session: Session, container: str, path: str, *, follow: bool
) -> tuple[str, PathStat]:
    """The path and what is there. Links are followed when asked, and when the path says that it is
    a directory."""
    archive = session.engine.archive
    end = "/." if copyplan.is_contents(path) else ""
    clean = path.removesuffix("/.").rstrip("/") or "/"
    found = archive.stat(container, clean)
    if not (follow or copyplan.says_directory(path)):
        return path, found
    for _ in range(MAX_LINKS):
        if not found.link_target:
            break
        clean = found.link_target
        found = archive.stat(container, clean)
    return clean + end, found


# -- into a container


def to_container(session: Session, values: Values, source: str, container: str, path: str) -> int:
    archive = session.engine.archive
    place = inside_target(session, container, copyplan.absolute(path, "/"))
    owner = None if values.on("archive") else (0, 0)
    if source == "-":
        if not place.is_directory:
            raise refusal(f'destination "{container}:{path}" must be a directory')
        if session.elsewhere is not None:
            owner = None  # docker's API has an archive's owners only
        archive.copy_in(container, place.path, stdin_chunks(), owner=owner)
        return -1
    source_path = copyplan.absolute(source, working_directory())
    found = local_source(source_path, follow=values.on("follow-link"))
    where = copyplan.landing(found, place)
    spool = Spool(spool_directory(session))
    try:
        pack_local(
            source_path, where.name, spool.write, follow=values.on("follow-link"), owner=owner
        )
        archive.copy_in(container, where.directory, spool.chunks())
        return spool.size
    finally:
        spool.close()


def inside_target(session: Session, container: str, path: str) -> Place:
    """The destination in the container; a link there is followed, as docker does."""
    archive = session.engine.archive
    session.engine.containers.get(container)
    clean = path.removesuffix("/.").rstrip("/") or "/"
    try:
        found = archive.stat(container, clean)
        if found.link_target:
            path = found.link_target
            found = archive.stat(container, path)
    except NotFound:
        return Place(path, False)
    if not (stat.S_ISDIR(found.mode) or stat.S_ISREG(found.mode)):
        raise refusal(f'destination "{container}:{path}" must be a directory or a regular file')
    return Place(path, True, stat.S_ISDIR(found.mode))


def local_source(path: str, *, follow: bool) -> Place:
    clean = path.removesuffix("/.").rstrip("/") or "/"
    try:
        links = follow or copyplan.says_directory(path)
        status = os.stat(clean) if links else os.lstat(clean)
    except OSError as error:
        raise refusal(f"lstat {clean}: {(error.strerror or str(error)).lower()}") from error
    if copyplan.says_directory(path) and not stat.S_ISDIR(status.st_mode):
        raise refusal("not a directory")
    return Place(path, True, stat.S_ISDIR(status.st_mode))


def pack_local(
    path: str, name: str, write: Write, *, follow: bool, owner: tuple[int, int] | None
) -> None:
    """The local file or directory as a tar whose members begin with `name`, and belong to `owner`
    when it is given."""
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree.write_tar_of(
            root,
            path,
            write,
            name=name,
            follow_link=follow or copyplan.says_directory(path),
            exact_times=True,
            owner=owner,
        )
    finally:
        os.close(root)


def stdin_chunks() -> Iterator[bytes]:
    while chunk := os.read(0, CHUNK):
        yield chunk


def spool_directory(session: Session) -> str:
    if session.elsewhere is not None:
        return session.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - the file has no name
    directory = f"{session.root}/tmp"  # noqa: S108 - our own, 0700
    os.makedirs(directory, 0o700, exist_ok=True)
    return directory


class Spool:
    """An archive on its way from a writer to a reader: an unnamed file that no crash leaves."""

    def __init__(self, directory: str) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_TMPFILE
        self._fd = os.open(directory, flags, 0o600)
        self.size = 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        self.size += len(view)
        while view:
            view = view[os.write(self._fd, view) :]

    def chunks(self) -> Iterator[bytes]:
        offset = 0
        while chunk := os.pread(self._fd, CHUNK, offset):
            offset += len(chunk)
            yield chunk

    def close(self) -> None:
        os.close(self._fd)


def export(session: Session, values: Values, arguments: list[str]) -> int:
    path = values.text("output")
    if not path and os.isatty(1):
        raise refusal("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with written(path, "failed to export container") as fd:
        try:
            session.engine.archive.export(arguments[0], lambda data: write_all(fd, data))
        except NotFound as error:
            raise missing_hint(session, error, arguments[0]) from error
    return 0


CP = Command(
    usage="[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tonggi cp [OPTIONS] SRC_PATH|- "
    "CONTAINER:DEST_PATH",
    summary="Copy files/folders between a container and the local filesystem",
    description="""Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.""",
    run=cp,
    flags=flag_table("""
  -a, --archive        Archive mode (copy all uid/gid information)
  -L, --follow-link    Always follow symbol link in SRC_PATH
  -q, --quiet          Suppress progress output during copy. Progress output is automatically
                       suppressed if no terminal is attached
"""),
    least=2,
    most=2,
    aliases=("container cp", "cp"),
)
EXPORT = Command(
    usage="[OPTIONS] CONTAINER",
    summary="Export a container's filesystem as a tar archive",
    run=export,
    flags=flag_table("  -o, --output string   Write to a file, instead of STDOUT"),
    least=1,
    most=1,
    aliases=("container export", "export"),
)
