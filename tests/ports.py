"""Ports of loopback for who cannot be given port 0."""

import random
import socket


def free_port() -> int:
    """A TCP port that nobody holds, below those that the kernel gives to connections: until it is
    bound nobody gets it by chance."""
    for port in random.sample(range(20_000, 32_000), 1000):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
