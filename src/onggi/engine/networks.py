"""Networks as rows: the built-in three, look-ups, and who is on which. `wiring` does the rest."""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import NotFound, Unsupported
from ..spec.network import Endpoint, Network
from ..store.store import Store

BUILT_IN = ("bridge", "host", "none")


class Networks:
    def __init__(self, store: Store) -> None:
        self._store = store

    def list(self) -> Sequence[Network]:
        """The built-in three and the stored ones, by name."""
        self.ensure_built_in()
        return self._store.networks.list()

    def get(self, reference: str) -> Network:
        self.ensure_built_in()
        return self._store.networks.get(reference)

    def endpoints(self, container_id: str) -> Sequence[Endpoint]:
        return self._store.networks.endpoints(container_id=container_id)

    def users(self, network: Network) -> Sequence[Endpoint]:
        return self._store.networks.endpoints(network_id=network.id)

    def check_mode(self, mode: str) -> None:
        """Raises NotFound for a network that does not exist, Unsupported for what is to come."""
        if mode in BUILT_IN or mode == "default" or mode.startswith("container:"):
            return
        if mode.startswith("ns:"):
            raise Unsupported("joining a network namespace by path is not supported yet")
        self.get(mode)

    def ensure_built_in(self) -> None:
        """The rows docker users expect to be there: bridge, host, none."""
        known = {network.name for network in self._store.networks.list()}
        if known.issuperset(BUILT_IN):
            return
        with self.locked():
            known = {network.name for network in self._store.networks.list()}
            for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
                if name not in known:
                    self._store.networks.insert(
                        Network(os.urandom(32).hex(), name, driver, created_ns=time.time_ns())
                    )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time changes bridges and rules. The lock is on our network namespace
        itself: engines over other directories share its interfaces and address ranges too."""
        fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.set_inheritable(fd, True)  # an nft that outlives us must not undo what the next does
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def container_of_mode(mode: str) -> str:
    """The X of "container:X"; "" for any other mode."""
    kind, _, reference = mode.partition(":")
    if kind != "container":
        return ""
    if not reference:
        raise NotFound("invalid network mode: container: needs a name or id")
    return reference
