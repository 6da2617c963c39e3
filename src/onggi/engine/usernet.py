"""The network namespace in which an unprivileged user's own networks are, with bridges and rules.

    host ── pasta or slirp4netns ── RUN/net's namespace ── onggi0 ── containers
                                                        `─ onggi1 ── containers

It belongs to the user's namespace, so that there our root may do what root does on the host. A
small process holds it, from the first container on such a network to the last; RUN/net/holder says
which. Nobody comes back from there, for our own network namespace is not ours: work there is a
child's.
"""

import os
from collections.abc import Callable

from .. import jsons
from ..errors import OnggiError, Unavailable
from ..linux import namespace, process
from ..network import outside, pasta
from ..spec.network import Endpoint
from ..typed import TypeVar
from . import detach, rootless

T = TypeVar("T")
TITLE = "onggi: keeps the networks"
_UPLINK = Endpoint("", "", "10.0.2.100", pasta.PREFIX_LENGTH, pasta.GATEWAY, "", "")


class UserNetwork:
    def __init__(self, run: str) -> None:
        self._directory = f"{run}/net"

    def holder(self) -> int:
        """The process that keeps the namespace; 0 when there is none."""
        pid, start = self._recorded()
        return pid if process.same_process(pid, start) else 0

    def _recorded(self) -> tuple[int, int]:
        try:
            with open(f"{self._directory}/holder", encoding="utf-8") as file:
                pid, start = map(int, file.read().split())
        except (FileNotFoundError, ValueError):
            return 0, 0
        return pid, start

    def ensure(self) -> None:
        """It is there, and leads out. With the network lock. Raises Unavailable."""
        if self.holder():
            return
        self.end()
        os.makedirs(self._directory, 0o700, exist_ok=True)
        pid, pidfd = namespace.clone3(namespace.CLONE_NEWNET)
        if pid == 0:
            _hold()
        os.close(pidfd)
        detach.forget(pid)
        with open(f"{self._directory}/holder", "w", encoding="utf-8") as file:
            file.write(f"{pid} {process.start_time(pid) or 0}")
        try:
            outside.start(pid, self._directory, _UPLINK)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """It goes with all that is in it. Idempotent."""
        if not os.path.isdir(self._directory):
            return
        outside.stop(self._directory)
        pidfd = process.open_process(*self._recorded())
        if pidfd is not None:
            try:
                process.pidfd_send_signal(pidfd, 9)
            except ProcessLookupError:
                pass  # it has just ended
            os.close(pidfd)
        for name in os.listdir(self._directory):
            os.unlink(f"{self._directory}/{name}")
        os.rmdir(self._directory)

    def visit(self, work: Callable[[], T]) -> T | None:
        """Do it there, in a child; what it returns (JSON) and raises is ours. None when there is no
        such namespace: then nothing is in it either."""
        pid = self.holder()
        if not pid:
            return None
        reader, writer = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            _report(writer, pid, work)
        os.close(writer)
        with open(reader, "rb") as answer:
            told = answer.read()
        os.waitpid(child, 0)
        if not told:
            raise Unavailable("the process that was to set up the network died")
        kind, *rest = jsons.loads(told)
        if not kind:
            found: T = rest[0]
            return found
        if kind == "OSError":
            raise OSError(*rest)
        raise detach.error_of(kind, *rest)


def _report(writer: int, pid: int, work: Callable[[], object]) -> None:
    """The child's part. Never returns."""
    try:
        try:
            fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            namespace.setns(fd, namespace.CLONE_NEWNET)
            answer = jsons.dumps(["", work()]).encode()
        except OnggiError as error:
            answer = detach.encoded(error)
        except OSError as error:
            answer = jsons.dumps(["OSError", error.errno, error.strerror]).encode()
        except Exception as error:  # an entry loop: our parent must hear of it
            answer = detach.encoded(OnggiError(f"internal error: {detach.described(error)}"))
        os.write(writer, answer)
    finally:
        os._exit(0)


def _hold() -> None:
    """The holder's part. Never returns."""
    try:
        os.setsid()
        os.chdir("/")
        detach.close_inherited()
        rootless.hold(TITLE)
    finally:
        os._exit(1)
