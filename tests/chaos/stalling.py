"""A TCP proxy that stops in the middle: what is behind it answers, but the answer does not come."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StallingProxy:
    """Passes everything until `limit` bytes of answers have gone through; then `stalled` is set and
    nothing passes until `limit` is raised or None."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._passed = 0
        self.limit: int | None = None
        self.stalled = threading.Event()
        self.ended = False
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"

    def stall_after(self, size: int | None) -> None:
        with self._lock:
            self._passed = 0
            self.limit = size
        self.stalled.clear()

    def serve(self) -> None:
        self._server.settimeout(0.05)
        while not self.ended:
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._relay, args=(client,))
            thread.start()
            self._threads.append(thread)
        self._server.close()
        for thread in self._threads:
            thread.join()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            while not self.ended:
                ready, _, _ = select.select([client, server], [], [], 0.05)
                for source in ready:
                    try:
                        data = source.recv(16 << 10)
                        if not data:
                            return
                        if source is client:
                            server.sendall(data)
                        elif self._may_pass(len(data)):
                            client.sendall(data)
                        else:
                            return
                    except OSError:
                        return

    def _may_pass(self, size: int) -> bool:
        """Waits while the answers are stalled; False at the end of the test."""
        pause = threading.Event()
        while not self.ended:
            with self._lock:
                if self.limit is None or self._passed < self.limit:
                    self._passed += size
                    return True
            self.stalled.set()
            pause.wait(0.02)
        return False


@contextmanager
def stalling_proxy(target: str) -> Iterator[StallingProxy]:
    proxy = StallingProxy(target)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended = True
        thread.join()
