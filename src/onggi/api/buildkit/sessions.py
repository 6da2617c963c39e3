"""What clients of a build offer on `POST /session`: their files, secrets, credentials, agents.

A session is a connection on which the client serves and we ask. It ends with the connection.
"""

import threading
import time

from ...errors import Conflict, InvalidInput, NotFound
from ...registry.credentials import HUB_KEY
from ...registry.protocol import Secret
from .grpc import NOT_FOUND, UNIMPLEMENTED, Caller, Failed
from .http2 import Channel
from .messages_pb2 import CredentialsRequest, CredentialsResponse, NameRequest
from .wire import parsed

MAX_SESSIONS = 256
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 - a method's name
_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
HUB_HOST = "registry-1.docker.io"  # what clients file Docker Hub under


class Session:
    """`methods` are the paths of what the client serves, in lower case."""

    def __init__(self, id_: str, methods: frozenset[str], channel: Channel) -> None:
        self.id = id_
        self.channel = channel
        self.caller = Caller(channel)
        self._methods = methods

    def offers(self, path: str) -> bool:
        return path.lower() in self._methods

    def credentials(self, server: str) -> Secret | None:
        """Raises Failed, Gone."""
        if not self.offers(_CREDENTIALS):
            return None
        host = HUB_HOST if server == HUB_KEY else server
        request = CredentialsRequest(Host=host)
        answer = self.caller.ask(_CREDENTIALS, request.SerializeToString())
        found = parsed(CredentialsResponse, answer)
        if found.Username:
            return Secret(found.Username, found.Secret)
        return Secret("", "", found.Secret) if found.Secret else None

    def secret(self, name: str) -> bytes | None:
        """None when the client has none of that name. Raises Failed, Gone."""
        from .messages_pb2 import Bytes

        if not self.offers(_SECRET):
            return None
        try:
            answer = self.caller.ask(_SECRET, NameRequest(ID=name).SerializeToString())
        except Failed as error:
            if error.code in (NOT_FOUND, UNIMPLEMENTED):
                return None
            raise
        return parsed(Bytes, answer).data

    def has_agent(self, name: str) -> bool:
        """Raises Gone."""
        if not self.offers(_AGENT):
            return False
        try:
            self.caller.ask(_AGENT, NameRequest(ID=name).SerializeToString())
        except Failed:
            return False
        return True


class Sessions:
    """Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open: dict[str, Session] = {}

    def serve(self, session: Session) -> None:
        """Until the client's connection ends."""
        with self._changed:
            if len(self._open) >= MAX_SESSIONS:
                raise Conflict("too many sessions")
            self._open[session.id] = session
            self._changed.notify_all()
        try:
            session.channel.run()
        finally:
            with self._changed:
                del self._open[session.id]

    def check_free(self, id_: str) -> None:
        """Raises InvalidInput."""
        if not id_ or len(id_) > 200:
            raise InvalidInput("the session has no id")
        with self._changed:
            if id_ in self._open:
                raise InvalidInput(f"session {id_} already exists")

    def find(self, id_: str, timeout_s: float) -> Session:
        """A client's two connections come in any order. Raises NotFound."""
        id_ = id_.rpartition(":")[2]
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while id_ not in self._open:
                left = deadline - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise NotFound(f"no active session for {id_[:200]}: context deadline exceeded")
            return self._open[id_]
