"""The table of all operations that we serve: each noun's file lists its own.

To add operations: a file `api/NOUN.py` with functions `(call: Call) -> Answer | None` (call.py
tells what they get and may answer) and `ROUTES = (Route("GET", "/images/json", list_images), …)`;
then its name below. What is not here is answered with docker's "page not found".
"""

from . import (
    attach,
    build,
    containerfiles,
    containers,
    containerstats,
    diskusage,
    distribution,
    events,
    execs,
    images,
    networks,
    refused,
    system,
    volumes,
)
from .route import Route

NOUNS = (
    system,
    containers,
    attach,
    containerfiles,
    containerstats,
    execs,
    images,
    build,
    distribution,
    volumes,
    networks,
    diskusage,
    events,
    refused,
)


def all_routes() -> tuple[Route, ...]:
    return tuple(route for noun in NOUNS for route in noun.ROUTES)
