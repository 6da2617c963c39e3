"""Images of an engine elsewhere."""

import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..engine.imageview import HistoryRow
from ..engine.pruning import Chosen
from ..errors import InvalidInput, NotFound
from ..progress import Layer, LayerAction, Message, Report, ignore
from ..registry.credentials import Credentials
from ..registry.searching import Hit
from ..spec.image import Image
from ..spec.platform import parse_platform
from ..spec.reference import parse_reference
from ..typed import Any, NamedTuple, get_args
from . import records, registryauth
from .transport import Transport, escaped

BLOCK = 1 << 18
ACTIONS = frozenset(get_args(LayerAction))


class Pruned(NamedTuple):
    removed: list[tuple[str, str]]
    freed_bytes: int


class Images:
    """As engine.images.Images; only what the command line calls."""

    def __init__(self, transport: Transport, credentials: Credentials | None = None) -> None:
        self._transport = transport
        self._credentials = credentials

    def list(self, all: bool = False) -> list[Image]:
        found = self._transport.json("GET", "/images/json", {"all": all, "digests": True})
        return [records.image(item) for item in found]

    def get(self, reference: str) -> Image:
        return records.image(self.inspect(reference))

    def require(self, reference: str, platform: str) -> Image:
        """The image, which must be of that platform ("": any)."""
        found = self.get(reference)
        if platform and not found.config.platform.matches(parse_platform(platform)):
            raise NotFound(
                f"image with reference {reference} was found but does not provide the "
                f"specified platform ({platform})"
            )
        return found

    def inspect(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = self._transport.json("GET", f"/images/{escaped(reference)}/json")
        return found

    def history(self, reference: str) -> Sequence[HistoryRow]:
        found = self._transport.json("GET", f"/images/{escaped(reference)}/history")
        return [records.history(item) for item in found]

    def tag(self, source: str, target: str) -> None:
        wanted = parse_reference(target)
        query = {"repo": wanted.familiar_name, "tag": wanted.tag}
        self._transport.json("POST", f"/images/{escaped(source)}/tag", query)

    def remove(
        self, reference: str, force: bool = False, *, keep_parents: bool = False
    ) -> Sequence[tuple[str, str]]:
        query = {"force": force, "noprune": keep_parents}
        return _removed(self._transport.json("DELETE", f"/images/{escaped(reference)}", query))

    def prune(self, chosen: Chosen, *, everything: bool = False) -> Pruned:
        filters = {**chosen_filters(chosen), "dangling": ["false" if everything else "true"]}
        told = self._transport.json("POST", "/images/prune", {"filters": json.dumps(filters)})
        return Pruned(_removed(told.get("ImagesDeleted") or ()), told.get("SpaceReclaimed") or 0)

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        report: Report = ignore,
        all_tags: bool = False,
    ) -> Image:
        wanted = parse_reference(reference)
        tag = "" if all_tags else str(wanted.digest) if wanted.digest else wanted.tag
        query = {
            "fromImage": wanted.familiar_name,
            "tag": tag or None,
            "platform": platform or None,
        }
        headers = registryauth.for_registry(self._credentials, wanted.domain)
        for told in self._transport.documents("POST", "/images/create", query, b"", headers):
            report_progress(told, report)
        return self.get(reference)

    def push(self, reference: str, report: Report = ignore, *, all_tags: bool = False) -> None:
        wanted = parse_reference(reference)
        path = f"/images/{escaped(wanted.familiar_name)}/push"
        query = {"tag": None if all_tags else wanted.tag}
        headers = registryauth.for_registry(self._credentials, wanted.domain)
        headers = headers or registryauth.anonymous()
        for told in self._transport.documents("POST", path, query, b"", headers):
            report_progress(told, report)

    def save(self, references: Sequence[str], write: Callable[[bytes], object]) -> None:
        path = "/images/get?" + urllib.parse.urlencode([("names", name) for name in references])
        with self._transport.answer("GET", path) as response:
            while data := response.read1(BLOCK):
                write(data)

    def load(
        self, read: Callable[[int], bytes], report: Report = ignore, *, platform: str = ""
    ) -> Sequence[str]:
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        query: dict[str, Any] = {"quiet": True}
        if platform:
            wanted = parse_platform(platform)
            query["platform"] = {"os": wanted.os, "architecture": wanted.architecture,
                                 "variant": wanted.variant}  # fmt: skip
        loaded = []
        for told in self._transport.documents(
            "POST", "/images/load", query, _pieces(read), headers
        ):
            _raise(told)
            line = str(told.get("stream", "")).strip()
            start, _, name = line.rpartition(": ")
            if start in ("Loaded image", "Loaded image ID"):
                loaded.append(name)
        return loaded

    def import_(
        self,
        read: Callable[[int], bytes],
        target: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        *,
        platform: str = "",
    ) -> str:
        """The image's id."""
        query = {
            "fromSrc": "-", "repo": target or None, "message": message or None,
            "changes": tuple(changes), "platform": platform or None,
        }  # fmt: skip
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        status = ""
        for told in self._transport.documents(
            "POST", "/images/create", query, _pieces(read), headers
        ):
            _raise(told)
            status = str(told.get("status") or status)
        return status

    def search(self, term: str, limit: int = 0) -> Sequence[Hit]:
        """What the engine is told by the registry."""
        found = self._transport.json(
            "GET", "/images/search", {"term": term, "limit": limit or None}
        )
        return [
            Hit(item["name"], item.get("description") or "", item.get("star_count") or 0,
                bool(item.get("is_official")))
            for item in found
        ]  # fmt: skip


def chosen_filters(chosen: Chosen) -> dict[str, list[str]]:
    found = {"label": list(chosen.labels), "label!": list(chosen.not_labels)}
    if chosen.until_ns:
        found["until"] = [str(chosen.until_ns // 10**9)]
    return {name: values for name, values in found.items() if values}


def filters_json(filters: Mapping[str, Sequence[str]]) -> str | None:
    return json.dumps({name: list(values) for name, values in filters.items()}) if filters else None


def _removed(told: Any) -> list[tuple[str, str]]:
    return [next(iter(item.items())) for item in told]


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while data := read(BLOCK):
        yield data


def report_progress(told: dict[str, Any], report: Report) -> None:
    """Docker's progress as ours. Raises what it says went wrong."""
    _raise(told)
    status, layer = str(told.get("status", "")), told.get("id", "")
    detail = told.get("progressDetail") or {}
    if status in ACTIONS and layer:
        action: Any = status
        report(Layer(layer, action, detail.get("current") or 0, detail.get("total") or 0))
    elif status:
        report(Message(f"{layer}: {status}" if layer else status))
    elif told.get("stream"):
        report(Message(str(told["stream"]).rstrip("\n")))


def _raise(told: dict[str, Any]) -> None:
    if "error" in told:
        message = str(told["error"])
        missing = "not found" in message or "manifest unknown" in message
        raise (NotFound if missing else InvalidInput)(message)
