"""Volumes, networks, events and the system of an engine elsewhere."""

import json
from collections.abc import Iterator, Mapping, Sequence

from ..engine.pruning import Chosen
from ..engine.system import Usage
from ..errors import NotFound
from ..spec.mount import Volume
from ..spec.network import EndpointOptions, Network, NetworkOptions
from ..typed import Any
from ..units import format_rfc3339
from . import records, requests
from .images import chosen_filters, filters_json
from .transport import Transport, escaped


class Volumes:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        name: str = "",
        labels: dict[str, str] | None = None,
        options: dict[str, str] | None = None,
        *,
        driver: str = "local",
    ) -> Volume:
        body = {"Name": name, "Labels": labels or {}, "DriverOpts": options or {}, "Driver": driver}
        return records.volume(self._transport.json("POST", "/volumes/create", None, body))

    def get(self, name: str) -> Volume:
        return records.volume(self._inspected(name))

    def path(self, name: str) -> str:
        return str(self._inspected(name)["Mountpoint"])

    def list(self) -> Sequence[Volume]:
        found = self._transport.json("GET", "/volumes").get("Volumes") or ()
        return [records.volume(item) for item in found]

    def users(self, name: str) -> Sequence[str]:
        query = {"all": True, "filters": json.dumps({"volume": [name]})}
        return [item["Id"] for item in self._transport.json("GET", "/containers/json", query)]

    def remove(self, name: str, *, force: bool = False) -> None:
        self._transport.json("DELETE", f"/volumes/{escaped(name)}", {"force": force})

    def prune(self, *, all: bool = False, chosen: Chosen | None = None) -> Sequence[str]:
        filters = chosen_filters(chosen) if chosen is not None else {}
        if all:
            filters["all"] = ["true"]
        told = self._transport.json("POST", "/volumes/prune", {"filters": filters_json(filters)})
        return told.get("VolumesDeleted") or ()

    def _inspected(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._transport.json("GET", f"/volumes/{escaped(name)}")
        return found


class Networks:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, options: NetworkOptions) -> Network:
        body = requests.network(options)
        made = self._transport.json("POST", "/networks/create", None, body)
        return self.get(made["Id"])

    def get(self, reference: str) -> Network:
        return records.network(self.inspect(reference))

    def inspect(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = self._transport.json("GET", f"/networks/{escaped(reference)}")
        return found

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Network]:
        query = {"filters": filters_json(filters or {})}
        return [records.network(item) for item in self._transport.json("GET", "/networks", query)]

    def remove(self, reference: str, *, force: bool = False) -> None:
        try:
            self._transport.json("DELETE", f"/networks/{escaped(reference)}")
        except NotFound:
            if not force:
                raise

    def connect(
        self, reference: str, container: str, options: EndpointOptions | None = None
    ) -> None:
        asked = requests.endpoint(options or EndpointOptions())
        body = {"Container": container, "EndpointConfig": asked}
        self._transport.json("POST", f"/networks/{escaped(reference)}/connect", None, body)

    def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        body = {"Container": container, "Force": force}
        self._transport.json("POST", f"/networks/{escaped(reference)}/disconnect", None, body)

    def prune(self, chosen: Chosen | None = None) -> Sequence[str]:
        filters = chosen_filters(chosen) if chosen is not None else {}
        query = {"filters": filters_json(filters)}
        return self._transport.json("POST", "/networks/prune", query).get("NetworksDeleted") or ()


class System:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def version(self) -> dict[str, Any]:
        found: dict[str, Any] = self._transport.json("GET", "/version")
        return found

    def info(self) -> dict[str, Any]:
        found: dict[str, Any] = self._transport.json("GET", "/info")
        return found

    def usage(self) -> Sequence[Usage]:
        """What images, containers, volumes and the build cache take."""
        return records.usage(self._transport.json("GET", "/system/df"))


class Events:
    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def read(
        self, *, since_ns: int = 0, until_ns: int = 0, filters: Mapping[str, Sequence[str]]
    ) -> Iterator[dict[str, Any]]:
        """As they come, until `until_ns`."""
        query = {
            "since": format_rfc3339(since_ns) if since_ns else None,
            "until": format_rfc3339(until_ns) if until_ns else None,
            "filters": filters_json(filters),
        }
        yield from self._transport.documents("GET", "/events", query)
