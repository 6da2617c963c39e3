"""`system dial-stdio`: what `-H ssh://` runs on the machine of the engine."""

import os
import select
import socket

from ..command import Command
from ..flags import Values
from ..session import Session, refusal, write_all

BLOCK = 1 << 16


def dial(session: Session, values: Values, arguments: list[str]) -> int:
    """Our streams are the connection to `onggi serve`, until the engine has nothing more to say."""
    path = f"{session.run}/onggi.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            server.connect(path)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise refusal(f"failed to open connection to {path}: {reason}",
                          "start it: onggi serve") from error  # fmt: skip
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(server, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd != 0:
                    data = server.recv(BLOCK)
                    if not data:
                        return 0
                    write_all(1, data)
                    continue
                data = os.read(0, BLOCK)
                if data:
                    server.sendall(data)
                else:
                    poll.unregister(0)
                    server.shutdown(socket.SHUT_WR)


DIAL_STDIO = Command(
    usage="",
    summary="Proxy the stdio stream to the daemon connection. Should not be invoked manually.",
    run=dial,
)
