"""One build for a client of BuildKit: what it needs is fetched from the session, the builder makes
it in a worker of the spawner, and what came of it goes where the exporters say.
"""

import base64
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ...build import spawned
from ...build.options import BuildOptions, Output
from ...dockerfile import ignore, problem
from ...engine.engine import Engine
from ...engine.spawner import Abandoned
from ...errors import InvalidInput, NotFound, OnggiError
from ...httpd.exchange import Gone
from ...progress import from_json
from ...typed import Any, NamedTuple
from . import archive, filesync, methods
from .builds import Build
from .frontend import STDIN, Asked
from .grpc import UNKNOWN, Failed, Incoming
from .lending import lending
from .messages_pb2 import Any as Detail
from .messages_pb2 import Bytes, SourceInfo
from .sessions import Session
from .wire import parsed

IGNORE = ".dockerignore"
_PULL = "/moby.upload.v1.Upload/Pull"
_TOLD_EVERY_S = 0.1
_WORDS = {
    "image": "image",
    "local": "client directory",
    "tar": "client tarball",
    "oci": "oci image format",
    "docker": "docker image format",
}


class Texts(NamedTuple):
    dockerfile: bytes
    ignore: bytes


class Making:
    """`call` is the one that waits for the build: when it is lost the build is given up."""

    def __init__(
        self, engine: Engine, build: Build, session: Session, asked: Asked, call: Incoming
    ) -> None:
        self._engine = engine
        self._build = build
        self._session = session
        self._asked = asked
        self._call = call
        self._telling = build.telling

    def run(self) -> dict[str, str]:
        """What the exporters answer. Raises Failed with the place in the Dockerfile, OnggiError,
        Gone."""
        with self._told(), ExitStack() as held:
            return self._run(held)

    def describe(self) -> methods.Metadata:
        """The answer to a method of --call. Raises as `run`."""
        with self._told(), ExitStack() as held:
            return self._described(held)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Failed:
            raise
        except Abandoned as error:
            raise Gone("the client has gone") from error
        except OnggiError as error:
            message, line = problem.place_of(error.message)
            message = self._telling.failure or message
            self._telling.failed(message)
            raise Failed(UNKNOWN, message, self._details(line)) from error

    def _run(self, held: ExitStack) -> dict[str, str]:
        options = self._begun(held)
        context = self._context(options)
        named = {name: self._named(name, where) for name, where in self._asked.contexts.items()}
        options, files = self._with_files(options)
        told = self._worked("run", options, context, named)
        answer = _answer(options, told)
        for place, export in enumerate(self._asked.exports):
            with self._telling.doing(f"exporting to {_WORDS[export.kind]}") as vertex:
                if export.kind == "image":
                    vertex.done("exporting layers")
                    vertex.done(f"writing image {told['id']}")
                    for tag in told["tags"]:
                        vertex.done(f"naming to {tag}")
                else:
                    self._send(place, export.kind, files[place], answer)
        return answer

    def _described(self, held: ExitStack) -> methods.Metadata:
        options = self._begun(held)
        if self._from_client:  # its files are not looked at
            options = options._replace(context_dir="")
        found = self._worked("describe", options, self._context(options), {})
        return methods.answer(self._asked.method, found, self._telling.source)

    def _begun(self, held: ExitStack) -> BuildOptions:
        directory = held.enter_context(self._engine.store.scratch.directory())
        self._held, self._directory = held, directory
        options = self._asked.options
        if not self._asked.text_apart:
            return options
        texts = self._texts()
        return options._replace(dockerfile_text=texts.dockerfile, ignore_text=texts.ignore)

    # -- what the build needs

    def _scratch(self) -> int:
        """A file of nobody else's."""
        path = f"{self._directory}/file"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._held.callback(os.close, fd)
        os.unlink(path)
        return fd

    def _received(self, vertex: str, wanted: filesync.Wanted, what: str) -> int:
        fd = self._scratch()
        with self._telling.doing(vertex) as doing:
            last = 0.0
            line = f"transferring {what}:"

            def progress(size: int) -> None:
                nonlocal last
                if time.monotonic() - last > _TOLD_EVERY_S:
                    last = time.monotonic()
                    doing.progress(line, size)

            size = filesync.receive(self._session, wanted, fd, progress)
            doing.progress(line, size, ended=True)
        return fd

    def _texts(self) -> Texts:
        """The Dockerfile and the ignore rules, from the client."""
        asked, name = self._asked, self._asked.filename
        beside = f"{name}{IGNORE}"
        names = [name, beside]
        if os.path.basename(name) == "Dockerfile":
            names.append(os.path.join(os.path.dirname(name), "dockerfile"))
        fd = self._received(
            f"[internal] load build definition from {name}",
            filesync.Wanted(asked.dockerfile_name, tuple(names)),
            "dockerfile",
        )
        text = archive.text_of(fd, name)
        if text is None and len(names) > 2:
            text = archive.text_of(fd, names[2])
        if text is None:
            raise NotFound(f"failed to read dockerfile: open {name}: no such file or directory")
        self._telling.source = SourceInfo(filename=name, data=text, language="Dockerfile")
        if not text.strip():
            raise InvalidInput("the Dockerfile cannot be empty")
        rules = archive.text_of(fd, beside)
        if rules is None and self._from_client:
            fd = self._received(
                f"[internal] load {IGNORE}",
                filesync.Wanted(asked.context_name, (IGNORE,)),
                "context",
            )
            rules = archive.text_of(fd, IGNORE)
        return Texts(text, rules or b"")

    @property
    def _from_client(self) -> bool:
        return self._asked.options.context_dir == STDIN and not self._asked.upload

    def _context(self, options: BuildOptions) -> int:
        if self._asked.upload:
            return self._uploaded()
        if options.context_dir != STDIN:
            fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            self._held.callback(os.close, fd)
            return fd
        wanted = filesync.Wanted(
            self._asked.context_name, (), _patterns(options.ignore_text or b"")
        )
        return self._received("[internal] load build context", wanted, "context")

    def _named(self, name: str, where: str) -> int:
        """A named context has ignore rules of its own, which are read from it."""
        label = f"[context {name}] load from client"
        rules_fd = self._received(
            f"[context {name}] load {IGNORE}", filesync.Wanted(where, (IGNORE,)), "context"
        )
        patterns = _patterns(archive.text_of(rules_fd, IGNORE) or b"")
        return self._received(label, filesync.Wanted(where, (), patterns), "context")

    def _uploaded(self) -> int:
        """An archive that the client has on its stdin."""
        host, _, path = self._asked.upload.removeprefix("http://").partition("/")
        fd = self._scratch()
        with self._telling.doing("[internal] load remote build context") as doing:
            call = self._session.caller.call(_PULL, [("urlpath", f"/{path}"), ("urlhost", host)])
            call.end()
            size = 0
            while (message := call.receive()) is not None:
                size += _write(fd, parsed(Bytes, message).data)
            doing.progress("transferring context:", size, ended=True)
        os.lseek(fd, 0, os.SEEK_SET)
        return fd

    # -- the build

    def _with_files(self, options: BuildOptions) -> tuple[BuildOptions, dict[int, str]]:
        """Outputs into files of ours, by the place of their exporters."""
        outputs: list[Output] = []
        files: dict[int, str] = {}
        for place, export in enumerate(self._asked.exports):
            if export.kind == "image":
                continue
            files[place] = f"{self._directory}/output{place}"
            kind = "tar" if export.kind == "local" else export.kind
            outputs.append(Output(kind, files[place]))
        kept = [output for output in options.outputs if output.kind == "image"]
        return options._replace(outputs=(*outputs, *kept)), files

    def _worked(
        self, operation: str, options: BuildOptions, context: int, named: dict[str, int]
    ) -> dict[str, Any]:
        """What a worker did with all of it."""
        os.mkdir(f"{self._directory}/agents", 0o700)
        asked = self._held.enter_context(lending(self._session, f"{self._directory}/agents"))
        spawner = self._engine.spawner
        assert spawner is not None  # a server has one
        arguments = spawned.arguments(options, {}, archives=tuple(named), borrows=True)
        arguments["method"] = self._asked.method
        leash, theirs = socket.socketpair()
        with _listening(self._call) as listener, leash, theirs:
            told: dict[str, Any] = spawner.call(
                f"build.spawned:{operation}",
                arguments,
                fds=(context, theirs.fileno(), *named.values(), asked),
                report=lambda event: self._telling.report(from_json(event)),
                listener=listener,
            )
        self._telling.finished()
        return told

    def _send(self, place: int, kind: str, path: str, answer: dict[str, str]) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if kind == "local":
                filesync.send_tree(self._session, place, archive.members(fd), fd)
            else:
                told = [(f"exporter-md-{name}", value) for name, value in answer.items()]
                filesync.send_file(self._session, place, told, fd)
        finally:
            os.close(fd)

    # -- what went wrong

    def _details(self, line: int) -> list[Detail]:
        """Where, for a client that shows it. BuildKit's details are JSON."""
        source = self._telling.source
        if not line or source is None:
            return []
        where = {"line": line}
        shown = {
            "info": {
                "filename": source.filename,
                "data": base64.b64encode(source.data).decode(),
                "language": source.language,
            },
            "ranges": [{"start": where, "end": where}],
        }
        url = "github.com/moby/buildkit/errdefs.Source+json"
        return [Detail(type_url=url, value=json.dumps(shown).encode())]


@contextmanager
def _listening(call: Incoming) -> Iterator[int]:
    """A socket whose other end is closed when the call is lost."""
    ours, theirs = socket.socketpair()

    def lost() -> None:
        try:
            theirs.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # closed: the build was over

    with ours, theirs:
        call.stream.watch(lost)
        yield ours.fileno()


def _patterns(rules: bytes) -> tuple[str, ...]:
    """For the client's side, so that what is ignored is not even sent."""
    return tuple(rule.text for rule in ignore.parse(rules).rules)


def _write(fd: int, data: bytes) -> int:
    view: memoryview = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def _answer(options: BuildOptions, told: dict[str, Any]) -> dict[str, str]:
    answer = {"containerimage.digest": told["manifest"] or told["id"]}
    if answer["containerimage.digest"] == told["id"] or not (
        options.provenance or options.sbom or "," in options.platform
    ):
        answer["containerimage.config.digest"] = told["id"]
    if told["tags"]:
        answer["image.name"] = ",".join(told["tags"])
    return answer
