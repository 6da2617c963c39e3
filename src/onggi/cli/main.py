"""The entry of `onggi`: the only module of the package that is handed the environment.

It imports nothing before it knows that there is something to do: `--version` costs what the bare
interpreter costs.
"""

import os
from collections.abc import Mapping

from .. import __version__


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Run one command line, `argv` without the program's name; the exit code."""
    if argv in (["--version"], ["-v"]):
        return version()
    from . import dispatch
    from .session import Session, WriteError

    session = Session(environ)
    try:
        code = dispatch.guarded(session, argv)
        session.out.flush()
        session.err.flush()
    except BrokenPipeError:
        return 141  # as a program that SIGPIPE ended
    except WriteError as error:
        complain(str(error))
        return 1
    return code


def version() -> int:
    try:
        os.write(1, f"onggi version {__version__}\n".encode())
    except OSError as error:
        complain(f"write error: {error.strerror}")
        return 1
    return 0


def complain(text: str) -> None:
    try:
        os.write(2, f"onggi: {text}\n".encode())
    except OSError:
        pass  # nobody is left to be told
