"""An engine elsewhere, with the services under the names that `engine.Engine` has.

Nothing is asked before it is needed; there is no state here.
"""

from collections.abc import Callable, Mapping
from functools import cached_property

from ..errors import Unsupported
from ..registry.credentials import Credentials
from ..typed import Any
from .address import Address
from .archive import Archive
from .builds import Builds
from .containers import Containers, Execs, Logs
from .images import Images
from .objects import Events, Networks, System, Volumes
from .transport import Transport


class RemoteEngine:
    def __init__(
        self,
        address: Address,
        *,
        environ: Mapping[str, str],
        credentials: Credentials | None,
        warn: Callable[[str], None],
    ) -> None:
        self.address = address
        self._transport = Transport(address, environ)
        self._credentials = credentials
        self._warn = warn

    @cached_property
    def images(self) -> Images:
        return Images(self._transport, self._credentials)

    @cached_property
    def containers(self) -> Containers:
        return Containers(self._transport, self.images, self._warn)

    @cached_property
    def execs(self) -> Execs:
        return Execs(self._transport)

    @cached_property
    def logs(self) -> Logs:
        return Logs(self._transport)

    @cached_property
    def archive(self) -> Archive:
        return Archive(self._transport)

    @cached_property
    def builds(self) -> Builds:
        return Builds(self._transport, self._credentials)

    @cached_property
    def volumes(self) -> Volumes:
        return Volumes(self._transport)

    @cached_property
    def networks(self) -> Networks:
        return Networks(self._transport)

    @cached_property
    def system(self) -> System:
        return System(self._transport)

    @cached_property
    def events(self) -> Events:
        return Events(self._transport)

    def __getattr__(self, name: str) -> Any:
        raise Unsupported(
            f"this cannot be done with an engine elsewhere ({self.address})",
            hint="run it on the machine of the engine",
        )
