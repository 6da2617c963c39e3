"""Handing a seccomp listener to whoever is to answer it (SCMP_ACT_NOTIFY).

The filtered process tells us its descriptor; we take it by pidfd and send it, with the state of
the container, to the socket that the profile names. Ours is closed then.
"""

import json
import os

from ..errors import OnggiError
from ..linux import process
from ..typed import Any
from .plan import Listener


def hand_over(wanted: Listener, pid: int, pidfd: int, number: int) -> None:
    """Raises OnggiError when nobody listens."""
    import socket

    state: dict[str, Any] = json.loads(wanted.state)
    message = {
        "ociVersion": state.get("ociVersion", "1.2.0"),
        "fds": ["seccompFd"],
        "pid": pid,
        **({"metadata": wanted.metadata} if wanted.metadata else {}),
        "state": {**state, "pid": state.get("pid") or pid},
    }
    taken = process.pidfd_getfd(pidfd, number)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(wanted.path)
            socket.send_fds(connection, [json.dumps(message).encode()], [taken])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise OnggiError(f"seccomp listener {wanted.path}: {reason}") from error
    finally:
        os.close(taken)
