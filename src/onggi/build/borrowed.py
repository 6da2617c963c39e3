"""What a build asks of the client it is for while it runs: secrets, credentials, agents.

The builder and its workers share one socket to whoever started the build. Each question brings a
socket of its own along, so that any process may ask at any time:

    builder:  one end of a fresh pair by SCM_RIGHTS, then {"kind": …, "name": …} on the other
    answer:   bytes until the end, one JSON document

Nothing of it is stored.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping

from ..errors import Unavailable
from ..registry.protocol import Secret as Credential
from ..typed import Any
from .loans import Secret

MAX_QUESTION = 64 << 10
_PIECE = 64 << 10


class Lender:
    """The builder's side."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ask(self, kind: str, name: str) -> Any:
        """The answer, None for no such thing. Raises Unavailable when nobody is there to ask."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with ours:
                with theirs, socket.socket(fileno=os.dup(self._fd)) as lender:
                    socket.send_fds(lender, [b"?"], [theirs.fileno()])
                ours.sendall(json.dumps({"kind": kind, "name": name}).encode())
                ours.shutdown(socket.SHUT_WR)
                data = bytearray()
                while piece := ours.recv(_PIECE):
                    data += piece
        except OSError as error:
            raise Unavailable(f"the client of the build has gone: {error.strerror}") from error
        if not data:
            raise Unavailable(f"the client of the build did not answer for {kind} {name}")
        return json.loads(data)

    def credential(self, server: str) -> Credential | None:
        found = self.ask("credential", server)
        return None if found is None else Credential(*found)

    def secret(self, name: str) -> Secret | None:
        found = self.ask("secret", name)
        return None if found is None else Secret(value=found.encode("latin-1"))

    def agent(self, name: str) -> str | None:
        """The path of a socket that leads to it."""
        found: str | None = self.ask("agent", name)
        return found


class Borrowed(Mapping[str, Any]):
    """By name, asked for when it is first wanted. What nobody wanted is not in it."""

    def __init__(self, ask: Callable[[str], Any]) -> None:
        self._ask = ask
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._ask(name)
        if self._known[name] is None:
            raise KeyError(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, found in self._known.items() if found is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
