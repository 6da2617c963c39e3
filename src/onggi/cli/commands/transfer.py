"""`pull`, `push`, `save`, `load`, `import`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import InvalidInput
from ...spec.reference import parse_reference
from ...typed import BinaryIO
from ..bars import reporter
from ..command import Command, NotSupportedYet
from ..flags import Values, flag_table
from ..session import Session, client_side, refusal, write_all


def checked_reference(text: str) -> str:
    try:
        parse_reference(text)
    except InvalidInput as error:
        raise client_side(error) from error
    return text


def refuse_trust(values: Values) -> None:
    if not values.on("disable-content-trust"):
        raise NotSupportedYet("flag --disable-content-trust=false is not supported yet")


def has_tag(text: str) -> bool:
    return bool(parse_reference(text, default_tag="").tag) or "@" in text


def pull(session: Session, values: Values, arguments: list[str]) -> int:
    refuse_trust(values)
    name = checked_reference(arguments[0])
    if values.on("all-tags") and has_tag(name):
        raise refusal("tag can't be used with --all-tags/-a")
    report = reporter(session, session.out, quiet=values.on("quiet"))
    session.engine.images.pull(
        name,
        platform=values.text("platform"),
        report=report,
        all_tags=values.on("all-tags"),
    )
    session.out.line(str(parse_reference(name)))
    return 0


def push(session: Session, values: Values, arguments: list[str]) -> int:
    refuse_trust(values)
    if arguments[0].startswith("ssh://"):
        from . import scp

        if values.on("all-tags"):
            raise refusal("--all-tags is not there for ssh://")
        return scp.push(session, arguments[0], quiet=values.on("quiet"))
    name = checked_reference(arguments[0])
    reference = parse_reference(name, default_tag="")
    if values.on("all-tags") and reference.tag:
        raise refusal("tag can't be used with --all-tags/-a")
    quiet = values.on("quiet")
    if values.text("platform"):
        session.engine.images.require(name, values.text("platform"))
    session.engine.images.push(
        name,
        report=reporter(session, session.out, quiet=quiet),
        all_tags=values.on("all-tags"),
    )
    if quiet:
        session.out.line(str(parse_reference(name)))
    return 0


def save(session: Session, values: Values, arguments: list[str]) -> int:
    path = values.text("output")
    if not path and os.isatty(1):
        raise refusal("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    for name in arguments if values.text("platform") else ():
        session.engine.images.require(name, values.text("platform"))
    with written(path, "failed to save image") as fd:
        session.engine.images.save(arguments, lambda data: write_all(fd, data))
    return 0


@contextmanager
def written(path: str, failure: str) -> Iterator[int]:
    """A descriptor for -o PATH: a file that takes its place only when it is complete, or stdout."""
    if not path:
        yield 1
        return
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise refusal(f"{failure}: invalid output path: stat {folder}: no such file or directory")
    if os.path.isdir(path):
        raise refusal(f"{failure}: invalid output path: {path} is a directory")
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb", buffering=0) as device:  # a FIFO, /dev/null
            yield device.fileno()
        return
    temporary = f"{path}.onggi-{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600)
    try:
        yield fd
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


@contextmanager
def read_from(path: str) -> Iterator[BinaryIO]:
    """The file, or stdin for "" and "-"."""
    if path in ("", "-"):
        with open(0, "rb", closefd=False) as stream:
            yield stream
        return
    try:
        opened = open(path, "rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise refusal(f"open {path}: {reason}") from error
    with opened:
        yield opened


def load(session: Session, values: Values, arguments: list[str]) -> int:
    path = values.text("input")
    if not path and os.isatty(0):
        raise refusal("requested load from stdin, but stdin is empty")
    report = reporter(session, session.out, quiet=values.on("quiet"))
    with read_from(path) as stream:
        loaded = session.engine.images.load(
            stream.read, report=report, platform=values.text("platform")
        )
    for name in loaded:
        kind = "Loaded image ID" if name.startswith("sha256:") else "Loaded image"
        session.out.line(f"{kind}: {name}")
    return 0


def import_(session: Session, values: Values, arguments: list[str]) -> int:
    source = arguments[0]
    name = checked_reference(arguments[1]) if len(arguments) > 1 else ""
    if source.startswith(("http://", "https://")):
        raise NotSupportedYet("import from a URL is not supported yet: download it first")
    with read_from(source) as stream:
        digest = session.engine.images.import_(
            stream.read,
            name,
            values.many("change"),
            values.text("message"),
            platform=values.text("platform"),
        )
    session.out.line(str(digest))
    return 0


PULL = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    summary="Download an image from a registry",
    run=pull,
    flags=flag_table(
        """
  -a, --all-tags                 Download all tagged images in the repository
      --platform string          Set platform if server is multi-platform capable
  -q, --quiet                    Suppress verbose output
      --disable-content-trust    Skip image verification (default true)
"""
    ),
    least=1,
    most=1,
    aliases=("image pull", "pull"),
)
PUSH = Command(
    usage="[OPTIONS] NAME[:TAG]",
    summary="Upload an image to a registry",
    run=push,
    flags=flag_table(
        """
  -a, --all-tags                 Push all tags of an image to the repository
  -q, --quiet                    Suppress verbose output
      --disable-content-trust    Skip image signing (default true)
      --platform string          Push a platform-specific manifest as a single-platform image to the
                                 registry.
                                 |Image index won't be pushed, meaning that other manifests,
                                 including attestations won't be preserved.
                                 |'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)
"""
    ),
    least=1,
    most=1,
    aliases=("image push", "push"),
)
SAVE = Command(
    usage="[OPTIONS] IMAGE [IMAGE...]",
    summary="Save one or more images to a tar archive (streamed to STDOUT by default)",
    run=save,
    flags=flag_table(
        """
  -o, --output string     Write to a file, instead of STDOUT
      --platform string   Save only the given platform variant. Formatted as "os[/arch[/variant]]"
                          (e.g., "linux/amd64")
"""
    ),
    least=1,
    most=-1,
    aliases=("image save", "save"),
)
LOAD = Command(
    usage="[OPTIONS]",
    summary="Load an image from a tar archive or STDIN",
    run=load,
    flags=flag_table(
        """
  -i, --input string      Read from tar archive file, instead of STDIN
      --platform string   Load only the given platform variant. Formatted as "os[/arch[/variant]]"
                          (e.g., "linux/amd64")
  -q, --quiet             Suppress the load output
"""
    ),
    aliases=("image load", "load"),
)
IMPORT = Command(
    usage="[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    summary="Import the contents from a tarball to create a filesystem image",
    run=import_,
    flags=flag_table("""
  -c, --change list       Apply Dockerfile instruction to the created image
  -m, --message string    Set commit message for imported image
      --platform string   Set platform if server is multi-platform capable
"""),
    least=1,
    most=-1,
    aliases=("image import", "import"),
)
