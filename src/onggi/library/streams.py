"""Feeding and reading an attachment to its end, or to a deadline."""

import select
import threading
import time
from collections.abc import Callable

from ..monitor.attach import Attachment
from ..streams import STDERR
from .result import Result

MAX_OUTPUT = 64 << 20


def collect(
    attachment: Attachment,
    *,
    stdin: bytes = b"",
    timeout_s: float | None = None,
    max_output: int = MAX_OUTPUT,
    expired: Callable[[], None] = lambda: None,
) -> tuple[Result, bool]:
    """Everything until the end, and whether the deadline passed first: then `expired` is called,
    which must see to an end. Each stream is kept up to `max_output` bytes, and drained after."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    kept = {False: bytearray(), True: bytearray()}  # by "is stderr"
    cut = late = False
    feeder = threading.Thread(target=_feed, args=(attachment, stdin))
    feeder.start()  # both ways at once: a command may fill our pipe before it reads all of its own
    try:
        while not attachment.ended:
            if deadline is not None and not _ready(attachment, deadline):
                late, deadline = True, None
                expired()
                continue
            for stream, data in attachment.receive():
                buffer = kept[stream == STDERR]
                room = max_output - len(buffer)
                buffer += data[:room]
                cut = cut or len(data) > room
    finally:
        attachment.shut()  # a feeder that nobody reads from any more
        feeder.join()
        attachment.close()
    code = attachment.exit_code
    result = Result(137 if code is None else code, bytes(kept[False]), bytes(kept[True]), cut)
    return result, late


def _feed(attachment: Attachment, data: bytes) -> None:
    try:
        if data:
            attachment.send_stdin(data)
        attachment.close_stdin()
    except OSError:
        pass  # the end is told to the reader


def _ready(attachment: Attachment, deadline: float) -> bool:
    poll = select.poll()
    poll.register(attachment.fileno(), select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
