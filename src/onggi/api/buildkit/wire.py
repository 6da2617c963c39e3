"""Messages of others, read: a client's bytes are no message until they have been."""

import time

from google.protobuf.message import DecodeError, Message

from ...typed import TypeVar
from .grpc import Failed
from .messages_pb2 import Timestamp

_INVALID = 3
M = TypeVar("M", bound=Message)


def parsed(kind: type[M], data: bytes) -> M:
    """Raises Failed."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Failed(_INVALID, f"malformed {kind.DESCRIPTOR.name}") from error


def now() -> Timestamp:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
