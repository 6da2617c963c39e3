"""The registry client: pull, push, tags, login. One object per command; it keeps nothing on disk.

Frees its caller of endpoints and mirrors, credentials and connections; knows no store: a pull fills
the sink it is given, a push reads the layers it is given.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import CorruptData, InvalidInput, NotFound
from ..progress import Event, Report
from ..spec.jsontext import loads_strict
from ..spec.platform import Platform, host_platform
from ..spec.reference import Reference
from . import protocol
from .config import Settings
from .credentials import Credentials, server_key
from .protocol import Secret
from .pulling import Described, Pull, Pulled, Sink
from .pushing import Push, Pushed, PushImage
from .repository import Repository
from .session import Patience, Refused, Session, Work
from .transport import Timeouts, Transport

MAX_LIST_BYTES = 4 << 20
MAX_PAGES = 1000
MAX_TAGS = 100_000


class Registry:
    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        timeouts: Timeouts | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._timeouts = timeouts or Timeouts()
        self._patience = patience or Patience()

    def pull(
        self,
        reference: Reference,
        platform: Platform,
        sink: Sink,
        report: Report,
        *,
        resolved: Callable[[Pulled], bool] | None = None,
    ) -> Pulled:
        """Fetch an image: its documents are returned, its layers go to `sink`. `resolved` is called
        before the first layer moves and says whether any shall. Mirrors are asked first."""
        with self.pulling(reference, platform, report) as pull:
            pulled = pull.resolve()
            if resolved is None or resolved(pulled):
                pull.layers(pulled.layers, sink)
            return pulled

    @contextmanager
    def pulling(self, reference: Reference, platform: Platform, report: Report) -> Iterator[Pull]:
        """The parts of a pull, for what is no plain image."""
        with Transport(self._settings, self._timeouts) as transport:
            work = self._work(transport)
            sessions = [
                Session(work, _netloc(mirror), base=mirror)
                for mirror in self._settings.mirrors(reference.domain)
            ]
            sessions.append(Session(work, reference.domain))
            yield Pull(work, sessions, reference, platform, _serial(report))

    def describe(self, reference: Reference, report: Report) -> Described:
        """What the registry itself has under the reference; no layer moves."""
        with Transport(self._settings, self._timeouts) as transport:
            work = self._work(transport)
            session = Session(work, reference.domain)
            pull = Pull(work, [session], reference, host_platform(), _serial(report))
            return pull.describe()

    def push(self, reference: Reference, image: PushImage, report: Report) -> Pushed:
        """Upload what the registry does not have, then the manifest under the reference's tag."""
        with self.pushing(reference, report) as push:
            return push.run(image)

    @contextmanager
    def pushing(self, reference: Reference, report: Report) -> Iterator[Push]:
        """The parts of a push, for what is more than one image."""
        with Transport(self._settings, self._timeouts) as transport:
            work = self._work(transport)
            session = Session(work, reference.domain)
            yield Push(work, session, reference, _serial(report))

    def tags(self, reference: Reference) -> list[str]:
        """All tags of a repository, in the registry's order."""
        with Transport(self._settings, self._timeouts) as transport:
            session = Session(self._work(transport), reference.domain)
            scopes = (protocol.scope(reference.path, "pull"),)
            url: str | None = session.url(f"{reference.path}/tags/list")
            tags: list[str] = []
            seen: set[str] = set()
            while url is not None:
                if url in seen or len(seen) >= MAX_PAGES or len(tags) > MAX_TAGS:
                    raise CorruptData(f"the tag list of {reference.familiar_name} does not end")
                seen.add(url)
                try:
                    headers, body = session.fetch(url, scopes, MAX_LIST_BYTES)
                except Refused as error:
                    raise error.explain(reference, "pull") from error
                tags += _tag_page(body)
                url = protocol.next_page(url, headers.get("Link", ""), session.origin)
            return tags

    @contextmanager
    def repository(self, reference: Reference) -> Iterator[Repository]:
        """A repository by its documents, at the registry itself; for the block."""
        with Transport(self._settings, self._timeouts) as transport:
            work = self._work(transport)
            yield Repository(work, Session(work, reference.domain), reference)

    def login(self, server: str, username: str, password: str) -> bool:
        """Check the credentials at the registry and store them; whether they lie unencrypted in
        the file. Raises Unauthorized when they are wrong."""
        if not username or not password:
            raise InvalidInput("username and password must not be empty")
        return self._credentials.put(server, self.prove(server, Secret(username, password)))

    def prove(self, server: str, secret: Secret) -> Secret:
        """Check credentials at the registry; what is to be stored for them."""
        name = _server_name(server)
        with Transport(self._settings, self._timeouts) as transport:
            return Session(self._work(transport), name).prove(secret)

    def logout(self, server: str) -> bool:
        """Forget the credentials; False when there were none."""
        return self._credentials.erase(server)

    def _work(self, transport: Transport) -> Work:
        return Work(self._settings, transport, self._credentials.get, self._patience)


def _server_name(server: str) -> str:
    """The registry a `login` argument means, as references write it."""
    if server_key(server).startswith("https://"):
        return "docker.io"
    name = server_key(server)
    protocol.split_url(f"https://{name}", "registry")
    return name


def _netloc(url: str) -> str:
    return protocol.split_url(url, "mirror").netloc


def _serial(report: Report) -> Report:
    """Frontends need no locks: events of several threads come one at a time."""
    lock = threading.Lock()

    def tell(event: Event) -> None:
        with lock:
            report(event)

    return tell


def _tag_page(body: bytes) -> list[str]:
    document = loads_strict(body, what="tag list", max_bytes=MAX_LIST_BYTES)
    tags = document.get("tags") if isinstance(document, dict) else None
    if tags is None:
        raise NotFound("the registry lists no tags")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise CorruptData("tag list: tags is not a list of strings")
    return tags
