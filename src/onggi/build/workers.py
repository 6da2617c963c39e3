"""Processes that do the work of independent steps beside each other.

    builder ── fork ──> worker: the step, its container's monitor
       └── poll <── pipe: events, then the result or a typed error, each as [length u32][JSON]

A RUN forks, which a process with threads must not: so workers are processes. Each has the builder's
memory as it was, a database connection of its own, and dies with the builder.
"""

import json
import os
import select
from collections.abc import Callable
from types import TracebackType

from .. import signals as signal
from ..engine import detach
from ..errors import OnggiError
from ..linux import process
from ..progress import Report, from_json, to_json
from ..spec import codec
from ..typed import Any
from .operate import Result

_PIECE = 1 << 16
_HEAD = 4
Job = Callable[[Report], Result]


class Workers:
    """`before_fork` closes what a child must not share. Use it with `with`: at the end, whatever it
    is, no worker is left."""

    def __init__(self, before_fork: Callable[[], None], limit: int) -> None:
        self._before_fork = before_fork
        self._limit = limit
        self._pids: dict[int, int] = {}  # by the descriptor that we read
        self._held: dict[int, bytearray] = {}
        self._vertices: dict[int, int] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Workers that are still busy stop their commands and clean up behind them."""
        for pid in self._pids.values():
            os.kill(pid, signal.SIGTERM)  # our own child, not yet reaped: the pid is ours
        for fd in tuple(self._pids):
            self._end(fd)

    @property
    def busy(self) -> set[int]:
        """The vertices at work."""
        return set(self._vertices.values())

    @property
    def free(self) -> int:
        """How many more can start."""
        return max(self._limit - len(self._pids), 0)

    def start(self, vertex: int, job: Job) -> None:
        reader, writer = os.pipe()
        self._before_fork()
        pid = os.fork()
        if pid == 0:
            _serve(job, writer)
        os.close(writer)
        self._pids[reader], self._held[reader] = pid, bytearray()
        self._vertices[reader] = vertex

    def wait(self, report: Report) -> dict[int, Result]:
        """Pass events on until at least one worker is done: its vertex and result. Raises what a
        worker's step raised."""
        poll = select.poll()
        for fd in self._pids:
            poll.register(fd, select.POLLIN)
        done: dict[int, Result] = {}
        while not done:
            for fd, _ in poll.poll():
                for kind, value in self._messages(fd):
                    if kind == "event":
                        report(from_json(value))
                        continue
                    poll.unregister(fd)
                    vertex = self._end(fd)
                    if kind == "error":
                        raise detach.error_of(*value)
                    done[vertex] = codec.decode(Result, value)
                    break
        return done

    def _messages(self, fd: int) -> list[tuple[str, Any]]:
        data = os.read(fd, _PIECE)
        if not data:
            return [("error", ("OnggiError", "a worker of the build died", None))]
        held = self._held[fd]
        held += data
        found = []
        while len(held) >= _HEAD:
            end = _HEAD + int.from_bytes(held[:_HEAD], "little")
            if len(held) < end:
                break
            kind, value = json.loads(held[_HEAD:end])
            found.append((kind, value))
            del held[:end]
        return found

    def _end(self, fd: int) -> int:
        """Reap the worker; the vertex it was at."""
        os.close(fd)
        os.waitpid(self._pids.pop(fd), 0)
        del self._held[fd]
        return self._vertices.pop(fd)


def _serve(job: Job, writer: int) -> None:
    """The worker. Never returns."""

    def send(kind: str, value: Any) -> None:
        data = json.dumps([kind, value], ensure_ascii=False).encode("utf-8", "surrogatepass")
        data = len(data).to_bytes(_HEAD, "little") + data
        while data:
            data = data[os.write(writer, data) :]

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        os.setpgid(0, 0)  # the terminal's Ctrl-C goes to the builder, which tells us
        signal.signal(signal.SIGTERM, stop)
        process.set_parent_death_signal(signal.SIGKILL)
        detach.forget_all()
        send("result", codec.encode(job(lambda event: send("event", to_json(event)))))
    except OnggiError as error:
        send("error", (type(error).__name__, error.message, error.hint))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except Exception as error:  # an entry loop: whatever it is, the builder must hear of it
        send("error", ("OnggiError", f"internal error: {type(error).__name__}: {error}", None))
    finally:
        os._exit(0)
