"""`onggi.connect()`: where a program enters. Reads the environment as the command line does."""

import os
from collections.abc import Mapping

from ..engine import settings
from ..engine.tier import current
from ..errors import Forbidden
from .client import Client


def connect(root: str = "", run: str = "", *, environ: Mapping[str, str] = os.environ) -> Client:
    """An engine in this program, over the directories that the command line would use: `root`
    outlives a boot, `run` does not. Raises Forbidden for who is not root."""
    tier = current()
    if not tier.is_root:
        raise Forbidden(
            "onggi.connect() needs root",
            hint="without root: onggi serve, and a client of Docker's API such as docker-py",
        )
    return Client(
        root or environ.get("ONGGI_ROOT") or settings.DEFAULT_ROOT,
        run or environ.get("ONGGI_RUN") or settings.DEFAULT_RUN,
        settings.from_environment(environ)._replace(tier=tier),
    )
