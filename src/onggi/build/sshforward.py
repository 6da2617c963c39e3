"""The user's SSH agent, lent to one run: a socket of our own that a small process joins to it.

The agent itself would refuse another user's process, and its socket belongs to the host. Ours has
the owner and mode the Dockerfile asks for, and is gone when the step ends.
"""

import os
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..engine import detach
from ..errors import InvalidInput
from ..linux import mount as kernel
from ..linux import safefs, staging

_PIECE = 64 << 10
_MAX_CLIENTS = 64


@contextmanager
def forwarded(path: str, mode: int, owner: tuple[int, int], log: str) -> Iterator[int]:
    """A detached mount of a socket that leads to the agent's at `path`. The descriptor becomes the
    caller's."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError as error:
        raise InvalidInput(f"SSH agent {path}: {error.strerror}") from error
    if not is_socket:
        raise InvalidInput(
            f"SSH agent {path} is not a socket",
            hint="lend an agent, not a key: ssh-add KEY, then --ssh default",
        )
    options = (("source", "tmpfs"), ("size", "16k"), ("mode", "0700"))
    root = kernel.fsmount("tmpfs", options, kernel.NOSUID | kernel.NODEV | kernel.NOEXEC)
    reader, writer = os.pipe()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{root}/agent")
        os.chown("agent", *owner, dir_fd=root, follow_symlinks=False)
        os.chmod("agent", mode, dir_fd=root)
        listener.listen(8)
        pid = detach.fork_helper(
            lambda: _forward(listener, path, reader), log, keep=(listener.fileno(), reader)
        )
        try:
            part = safefs.open_beneath(root, "agent", os.O_PATH)
            try:
                fd = staging.part_of(root, part)
            finally:
                os.close(part)
            yield fd
        finally:
            os.close(writer)
            writer = -1
            os.waitpid(pid, 0)
    finally:
        listener.close()
        for left in (root, reader, writer):
            if left >= 0:
                os.close(left)


def _forward(listener: socket.socket, path: str, life: int) -> None:
    """Until the writing end of `life` is closed: every connection gets one to the agent."""
    peers: dict[int, tuple[socket.socket, socket.socket]] = {}
    poll = select.poll()
    poll.register(life, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == life:
                return
            if fd == listener.fileno():
                _join(listener, path, peers, poll)
            elif fd in peers:
                _pass_on(*peers[fd], peers, poll)


def _join(
    listener: socket.socket,
    path: str,
    peers: dict[int, tuple[socket.socket, socket.socket]],
    poll: select.poll,
) -> None:
    client, _ = listener.accept()
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if len(peers) >= 2 * _MAX_CLIENTS:
            raise ConnectionRefusedError
        agent.connect(path)
    except OSError:  # the agent is gone: its user sees a closed connection
        client.close()
        agent.close()
        return
    for one, other in ((client, agent), (agent, client)):
        peers[one.fileno()] = (one, other)
        poll.register(one, select.POLLIN)


def _pass_on(
    source: socket.socket,
    target: socket.socket,
    peers: dict[int, tuple[socket.socket, socket.socket]],
    poll: select.poll,
) -> None:
    """One message on; at an end or error both sides close."""
    try:
        data = source.recv(_PIECE)
        if data:
            target.sendall(data)
            return
    except OSError:
        pass
    for end in (source, target):
        with suppress(KeyError):
            poll.unregister(end.fileno())
        peers.pop(end.fileno(), None)
        end.close()
