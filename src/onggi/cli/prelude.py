"""An unprivileged user's command enters the user's namespace and begins anew, as root in there."""

import os
import sys
from collections.abc import Mapping

from ..engine import rootless
from ..errors import Unavailable
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


def become_root(session: "Session") -> None:
    """Does not return, unless there can be no such namespace: then `session.trouble` says why.

    We execute ourselves once more, though we are in the namespace already: the memory of a program
    belongs to the namespace that it was executed in, and what we fork must be ours to look at.
    """
    try:
        rootless.enter(session.root, session.run)
    except Unavailable as error:
        session.trouble = error.message
        return
    environment = {**session.environ, "ONGGI_ROOT": session.root, "ONGGI_RUN": session.run}
    os.execve("/proc/self/exe", sys.orig_argv, environment)  # noqa: S606 - the same program


def directories(environ: Mapping[str, str], uid: int) -> tuple[str, str]:
    """An unprivileged user's ROOT and RUN, by the XDG base directory specification."""
    home = environ.get("HOME") or "/"
    data = environ.get("XDG_DATA_HOME") or f"{home}/.local/share"
    run = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    usable = os.path.isdir(run) and os.stat(run).st_uid == uid
    return f"{data}/onggi", f"{run}/onggi" if usable else f"/tmp/onggi-run-{uid}"  # noqa: S108
