"""Messages between a child that is being set up and its parent."""

import os

import pytest

from onggi.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidInput, OnggiError
from onggi.runtime import handshake


@pytest.mark.parametrize("kind", [CommandNotFound, CommandNotExecutable, InvalidInput, Conflict])
def test_errors_keep_their_kind(kind: type[OnggiError]) -> None:
    error = handshake.unpack_error(handshake.pack_error(kind("text: é"), "step"), "before: ")
    assert type(error) is kind
    assert error.message == "before: text: é"


def test_system_errors_name_the_step() -> None:
    packed = handshake.pack_error(OSError(2, "No such file or directory", "/x"), "mount things")
    error = handshake.unpack_error(packed, "")
    assert type(error) is OnggiError
    assert error.message == "mount things '/x': no such file or directory"


def test_faults_of_ours_name_their_type() -> None:
    packed = handshake.pack_error(ZeroDivisionError("division"), "count")
    assert handshake.unpack_error(packed, "").message == "count: ZeroDivisionError: division"


@pytest.mark.parametrize("junk", [b"", b"E", b"X\0\0\0", b"Ea\0b", b"\xff" * 100])
def test_junk_is_a_death(junk: bytes) -> None:
    assert "died" in handshake.unpack_error(junk, "").message


def test_messages_are_written_in_one_piece() -> None:
    packed = handshake.pack_error(InvalidInput("x" * 100_000), "s")
    assert len(packed) <= 4096
    assert b"\0" not in handshake.pack_error(InvalidInput("a\0b"), "s\0").replace(b"\0", b"", 3)


def test_the_conversation() -> None:
    parent, child = handshake.pair("p: ")
    parent.tell(handshake.GO)
    child.wait(handshake.GO)
    child.tell(handshake.READY)
    parent.expect(handshake.READY)
    child.tell(handshake.pack_error(CommandNotFound("gone"), "exec"))
    with pytest.raises(CommandNotFound, match="p: gone"):
        parent.expect_exec()
    for fd in (child.go, child.report):
        os.close(fd)
    parent.expect_exec()  # the end of file: it executes
    parent.tell(handshake.START)  # nobody listens: no error here
    assert parent.pending_error() is None
    with pytest.raises(OnggiError, match="died"):
        parent.expect(handshake.READY)
    parent.close()
    parent.close()


def test_ready_and_error_in_one_read() -> None:
    parent, child = handshake.pair("")
    child.tell(handshake.READY)
    child.tell(handshake.pack_error(InvalidInput("late"), "s"))
    with pytest.raises(InvalidInput, match="late"):
        parent.expect_exec()
    for fd in (child.go, child.report):
        os.close(fd)
    parent.close()
