"""Images to push and a sink to pull into, both in memory."""

import gzip
import json
from collections.abc import Iterator

from onggi.errors import CorruptData
from onggi.registry.pulling import PullLayer, matches
from onggi.registry.pushing import Known, PushImage, PushLayer
from onggi.spec.digest import Digest


def layer_of(tar: bytes, *known: Known) -> PushLayer:
    blob = gzip.compress(tar, 1, mtime=0)
    digest = Digest.of(blob)

    def pieces() -> Iterator[bytes]:
        view = memoryview(blob)
        return (bytes(view[i : i + 65536]) for i in range(0, len(blob), 65536))

    return PushLayer(Digest.of(tar), "gzip", known, lambda: (digest, len(blob), pieces))


def image_of(*tars: bytes, manifest: bytes | None = None, known: Known | None = None) -> PushImage:
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(tar) for tar in tars]},
    }
    layers = tuple(layer_of(tar, *([known] if known else [])) for tar in tars)
    return PushImage(json.dumps(config).encode(), manifest, layers)


class Memory:
    def __init__(self) -> None:
        self.layers: dict[Digest, bytes] = {}

    def has(self, diff_id: Digest) -> bool:
        return diff_id in self.layers

    def ingest(self, layer: PullLayer, chunks: Iterator[bytes]) -> None:
        data = b"".join(chunks)
        if not matches(data, layer.descriptor.digest):
            raise CorruptData(f"verification failed for digest {layer.descriptor.digest}")
        self.layers[layer.diff_id] = gzip.decompress(data) if layer.compression else data
