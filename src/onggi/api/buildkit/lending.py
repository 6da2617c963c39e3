"""The other end of `build.borrowed`: what a build asks for is asked of its client's session.

Agents get a socket in a directory of their own, whose path is told by way of /proc (a socket's
path is short); each connection to it becomes a call of the session.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ...build.borrowed import MAX_QUESTION
from ...build.loans import MAX_SECRET_BYTES
from ...errors import OnggiError
from ...httpd.exchange import Gone
from ...typed import Any
from .grpc import Outgoing
from .messages_pb2 import Bytes
from .sessions import Session
from .wire import parsed

MAX_ASKING = 64
_FORWARD = "/moby.sshforward.v1.SSH/ForwardAgent"
_PIECE = 32 << 10


@contextmanager
def lending(session: Session, directory: str) -> Iterator[int]:
    """A descriptor for the build; `directory` is nobody else's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    lender = _Lender(session, ours, directory)
    thread = threading.Thread(target=lender.run, daemon=True)
    thread.start()
    try:
        with theirs:
            yield theirs.fileno()
    finally:
        ours.shutdown(socket.SHUT_RDWR)
        thread.join()
        lender.close()


class _Lender:
    def __init__(self, session: Session, asked: socket.socket, directory: str) -> None:
        self._session = session
        self._asked = asked
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._agents: dict[str, _Agent] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(self._asked, 16, 4)
            except OSError:
                return
            if not data:
                return
            for fd in fds:
                self._begin(socket.socket(fileno=fd))

    def _begin(self, question: socket.socket) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MAX_ASKING:
            question.close()
            return
        thread = threading.Thread(target=self._answer, args=(question,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _answer(self, question: socket.socket) -> None:
        with question:
            try:
                asked = json.loads(_all_of(question))
                found = self._found(asked["kind"], asked["name"])
                question.sendall(json.dumps(found).encode())
            except (OSError, OnggiError, Gone):
                pass  # an end without an answer: there is nobody to ask

    def _found(self, kind: str, name: str) -> Any:
        if kind == "credential":
            secret = self._session.credentials(name)
            return None if secret is None else list(secret)
        if kind == "secret":
            value = self._session.secret(name)
            # One more than what is allowed is refused where it is used.
            return None if value is None else value[: MAX_SECRET_BYTES + 1].decode("latin-1")
        return self._agent(name)

    def _agent(self, name: str) -> str | None:
        with self._lock:
            if name in self._agents:
                return self._agents[name].path
        if not self._session.has_agent(name):
            return None
        with self._lock:
            if name not in self._agents:
                path = f"/proc/{os.getpid()}/fd/{self._directory}/agent{len(self._agents)}"
                self._agents[name] = _Agent(self._session, name, path)
            return self._agents[name].path

    def close(self) -> None:
        self._asked.close()
        for agent in self._agents.values():
            agent.close()
        for thread in self._threads:
            thread.join()
        os.close(self._directory)


def _all_of(question: socket.socket) -> bytes:
    data = bytearray()
    while piece := question.recv(_PIECE):
        data += piece
        if len(data) > MAX_QUESTION:
            raise OSError("too long a question")
    return bytes(data)


class _Agent:
    """A listening socket, and a call for each of its connections."""

    def __init__(self, session: Session, name: str, path: str) -> None:
        self.path = path
        self._session = session
        self._name = name
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._server.bind(path)
        os.chmod(path, 0o600)
        self._server.listen(8)
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self._clients.add(client)
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        back: threading.Thread | None = None
        try:
            call = self._session.caller.call(_FORWARD, [("buildkit.ssh.id", self._name)])
            back = threading.Thread(target=_back, args=(call, client), daemon=True)
            back.start()
            while data := client.recv(_PIECE):
                call.send(Bytes(data=data).SerializeToString())
            call.end()
        except (OSError, Gone):
            pass  # one of the two has gone
        finally:
            if back is not None:
                back.join()
            with self._lock:
                self._clients.discard(client)
            client.close()

    def close(self) -> None:
        try:
            self._server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._server.close()
        with self._lock:
            for client in self._clients:
                _cut(client)
        for thread in self._threads:
            thread.join()
        os.unlink(self.path)


def _back(call: Outgoing, client: socket.socket) -> None:
    try:
        while (message := call.receive()) is not None:
            client.sendall(parsed(Bytes, message).data)
    except (OSError, OnggiError, Gone):
        pass
    _cut(client)


def _cut(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
