"""The monitor's loop over real processes, pipes and sockets."""

import json
import os
import pty
import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from onggi.linux import process
from onggi.monitor.attach import INPUT, OUTPUT, Attachment, connect, listen
from onggi.monitor.log import LogWriter
from onggi.monitor.main import Task, supervise


def started(script: str, *, stdin: bool = False, terminal: bool = False) -> Task:
    """A shell as a container's process would be: pipes or a pty, our child."""
    if terminal:
        pid, master = pty.fork()
        if pid == 0:
            os.execv("/bin/sh", ["sh", "-c", script])
        return Task(process.pidfd_open(pid), pty_fd=master)
    out, err = os.pipe(), os.pipe()
    source = os.pipe() if stdin else None
    pid = os.fork()
    if pid == 0:
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(source[0] if source else null, 0)
        os.dup2(out[1], 1)
        os.dup2(err[1], 2)
        os.closerange(3, 100)
        os.execv("/bin/sh", ["sh", "-c", script])
    for fd in (out[1], err[1], *(source[:1] if source else ())):
        os.close(fd)
    return Task(process.pidfd_open(pid), source[1] if source else -1, out[0], err[0])


def watched(
    task: Task,
    talk: Callable[[Attachment], None] = lambda attachment: None,
    *,
    log: LogWriter | None = None,
    flags: int = OUTPUT | INPUT,
) -> tuple[int, dict[int, bytes], int | None]:
    """Supervise in this thread while a client in another talks and collects."""
    mine, theirs = socket.socketpair()
    attachment = Attachment(mine, flags)
    collected: dict[int, bytes] = {}

    def client() -> None:
        talk(attachment)
        for stream, data in attachment.frames():
            collected[stream] = collected.get(stream, b"") + data
        attachment.close()

    thread = threading.Thread(target=client)
    thread.start()
    code = supervise(task, log=log, first_client=theirs, on_exit=lambda code: "")
    thread.join(60)
    assert not thread.is_alive()
    os.close(task.pidfd)
    return code, collected, attachment.exit_code


def test_output_streams_and_code_reach_the_client() -> None:
    code, output, told = watched(started("echo out; echo err >&2; exit 7"))
    assert (code, told) == (7, 7)
    assert output == {1: b"out\n", 2: b"err\n"}


def test_a_signal_is_128_more() -> None:
    assert watched(started("kill -9 $$"))[0] == 137


def test_stdin_is_passed_on_and_closed() -> None:
    def talk(attachment: Attachment) -> None:
        attachment.send_stdin(b"one\n")
        attachment.send_stdin(b"two\n")
        attachment.close_stdin()

    code, output, _ = watched(started("cat; echo end", stdin=True), talk)
    assert (code, output) == (0, {1: b"one\ntwo\nend\n"})


def test_much_stdin_comes_back_whole() -> None:
    data = os.urandom(3 << 20)

    def talk(attachment: Attachment) -> None:
        feeder = threading.Thread(
            target=lambda: (attachment.send_stdin(data), attachment.close_stdin())
        )
        feeder.start()

    _, output, _ = watched(started("cat", stdin=True), talk)
    assert output[1] == data


def test_a_slow_first_client_slows_the_process_and_loses_nothing() -> None:
    hold = threading.Event()

    def talk(attachment: Attachment) -> None:
        hold.wait(0.3)  # nobody reads meanwhile; far more than every buffer is on its way

    _, output, _ = watched(started("head -c 20000000 /dev/zero"), talk)
    assert len(output[1]) == 20_000_000


def test_terminal_output_and_resize() -> None:
    def talk(attachment: Attachment) -> None:
        attachment.resize(33, 77)
        attachment.send_stdin(b"\n")

    code, output, _ = watched(started("read x; stty size", terminal=True), talk)
    assert code == 0
    assert b"33 77" in output[1]


def test_a_grandchild_that_keeps_the_pipe_does_not_keep_the_monitor() -> None:
    code, output, _ = watched(started("echo out; sleep 5 & exit 3"))
    assert (code, output) == (3, {1: b"out\n"})


def test_a_build_step_dies_with_its_builder() -> None:
    task = started("sleep 60")._replace(kill_with_client=True)
    mine, theirs = socket.socketpair()
    Attachment(mine, OUTPUT).close()
    assert supervise(task, first_client=theirs, on_exit=lambda code: "") == 137
    os.close(task.pidfd)


def test_clients_join_and_leave_by_the_socket(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    server = listen(directory)
    os.close(directory)
    seen: list[object] = []

    def late() -> None:
        silent = connect(str(tmp_path), 0)
        loud = connect(str(tmp_path), OUTPUT | INPUT)
        loud.send_stdin(b"go\n")
        seen.append(b"".join(data for _, data in loud.frames()))
        seen.append(loud.exit_code)
        assert list(silent.frames()) == []
        seen.append(silent.exit_code)
        silent.close()
        loud.close()

    thread = threading.Thread(target=late)
    thread.start()
    task = started("read x; echo $x; exit 4", stdin=True)
    assert supervise(task, server=server, on_exit=lambda code: "") == 4
    thread.join(60)
    os.close(task.pidfd)
    assert seen == [b"go\n", 4, 4]


class Answering:
    """A relay that takes one connection for itself and ends."""

    def __init__(self, door: socket.socket, status: int) -> None:
        self.door = door
        self.doors = (door.fileno(),)
        self.status = status
        self.started = 0
        self.pidfd = -1

    def start(self) -> int:
        self.started += 1
        pid = os.fork()
        if pid == 0:
            connection, _ = self.door.accept()
            connection.send(b"here")
            os._exit(self.status)
        self.pidfd = os.pidfd_open(pid)
        return self.pidfd

    def ended(self) -> bool:
        os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        return self.status == 0


@pytest.mark.parametrize(("status", "answers"), [(0, 3), (1, 1)])
def test_the_relay_is_started_for_who_knocks(tmp_path: Path, status: int, answers: int) -> None:
    """Anew each time it has done its work; not after it failed."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        relay = Answering(door, status)
        task = started("read x", stdin=True)._replace(relay=relay)
        mine, theirs = socket.socketpair()
        attachment = Attachment(mine, INPUT)

        def knock() -> None:
            for _ in range(answers):
                with socket.create_connection(door.getsockname(), timeout=60) as client:
                    assert client.recv(16) == b"here"
            attachment.send_stdin(b"\n")

        thread = threading.Thread(target=knock)
        thread.start()
        supervise(task, first_client=theirs, on_exit=lambda code: "")
        thread.join(60)
    os.close(task.pidfd)
    attachment.close()
    assert relay.started == answers


def test_nonsense_from_a_client_drops_only_the_client() -> None:
    mine, theirs = socket.socketpair()
    mine.sendall(b"\xff" * 64)
    task = started("echo out; exit 5")
    assert supervise(task, first_client=theirs, on_exit=lambda code: "") == 5
    os.close(task.pidfd)
    mine.close()


def test_the_end_is_told_after_the_callback(tmp_path: Path) -> None:
    mine, theirs = socket.socketpair()
    attachment = Attachment(mine, OUTPUT)
    early: list[bool] = []

    def on_exit(code: int) -> str:
        poll = select.poll()
        poll.register(mine, select.POLLIN)
        early.append(bool(poll.poll(0)))
        return "stop timeout"

    task = started("exit 2")
    supervise(task, first_client=theirs, on_exit=on_exit)
    os.close(task.pidfd)
    assert early == [False]
    assert list(attachment.frames()) == []
    assert (attachment.exit_code, attachment.kill_reason) == (2, "stop timeout")
    attachment.close()


def test_the_log_is_dockers_json(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    watched(started("echo 'a\"b\té'; printf tail; echo oops >&2"), log=LogWriter(str(path)))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((r["stream"], r["log"]) for r in records) == [
        ("stderr", "oops\n"),
        ("stdout", 'a"b\té\n'),
        ("stdout", "tail"),
    ]
    assert all(len(r["time"]) == 30 and r["time"].endswith("Z") for r in records)


def test_logs_rotate_and_keep_only_so_many(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    log = LogWriter(str(path), max_bytes=2000, max_files=3)
    for number in range(200):
        log.write("stdout", b"line %d\n" % number)
    log.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.log", "c.log.1", "c.log.2"]
    texts = [p.read_text() for p in (tmp_path / "c.log.2", tmp_path / "c.log.1", path)]
    lines = [json.loads(line)["log"] for text in texts for line in text.splitlines()]
    assert lines == [f"line {n}\n" for n in range(200 - len(lines), 200)]
    assert max(len(text) for text in texts) < 2200


def test_long_lines_are_cut_between_characters(tmp_path: Path) -> None:
    path = tmp_path / "c.log"
    log = LogWriter(str(path))
    log.write("stdout", b"x" + "é".encode() * 20000 + b"\n")
    log.close()
    logs = [json.loads(line)["log"] for line in path.read_text().splitlines()]
    assert "".join(logs) == "x" + "é" * 20000 + "\n"
    assert len(logs) == 3


def test_the_end_is_told_though_what_follows_it_fails() -> None:
    mine, theirs = socket.socketpair()
    attachment = Attachment(mine, OUTPUT)

    def fails(code: int) -> str:
        raise OSError("the network cannot be taken down")

    task = started("exit 3")
    with pytest.raises(OSError, match="taken down"):
        supervise(task, first_client=theirs, on_exit=fails)
    os.close(task.pidfd)
    assert list(attachment.frames()) == []
    assert attachment.exit_code == 3
    attachment.close()


def test_what_runs_for_a_while_is_told_once() -> None:
    task = started("read first; read second; exit 7", stdin=True)
    told = []

    def settled() -> None:
        told.append(os.write(task.stdin_fd, b"1\n2\n"))  # until then it waits

    assert supervise(task._replace(settled=settled), on_exit=lambda code: "") == 7
    assert told == [4]
