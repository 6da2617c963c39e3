"""How a program of ours that runs beside is started: isolated, as bin/onggi does it."""

import os
import sys


def command(program: str) -> list[str]:
    """The arguments of "onggi-NAME"; `boot` knows which main that is."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    site = next(
        (path for path in sys.path if os.path.isdir(os.path.join(path, "urllib3"))),
        os.path.dirname(package),
    )
    return [sys.executable, "-I", "-S", f"{package}/__main__.py", os.path.abspath(site), program]
