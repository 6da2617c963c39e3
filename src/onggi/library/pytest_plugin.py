"""Fixtures for tests that need real services. pytest finds them when onggi is installed.

    def test_orders(onggi_container):
        database = onggi_container("redis:7", ports={6379: None}).wait_port(6379)
        host, port = database.port(6379)

Nothing stays: a container goes with its test, and all of them when pytest is killed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from ..typed import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .container import Container


@pytest.fixture(scope="session")
def onggi_client() -> "Iterator[Client]":
    """`onggi.connect()`, for the session."""
    from .main import connect

    with connect() as client:
        yield client


@pytest.fixture
def onggi_container(onggi_client: "Client") -> "Iterator[Callable[..., Container]]":
    """Starts containers as `Client.start` does; they are removed when the test ends."""
    with ExitStack() as started:

        def start(image: str, command: Any = None, **asked: Any) -> "Container":
            return started.enter_context(onggi_client.start(image, command, **asked))

        yield start


@pytest.fixture(scope="session")
def onggi_session_container(onggi_client: "Client") -> "Iterator[Callable[..., Container]]":
    """The same for containers that all tests of a session share."""
    with ExitStack() as started:

        def start(image: str, command: Any = None, **asked: Any) -> "Container":
            return started.enter_context(onggi_client.start(image, command, **asked))

        yield start
