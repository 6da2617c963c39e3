"""The store: one object that wires its parts. Cheap to make; opens nothing until it is used."""

from functools import cached_property

from ..typed import TYPE_CHECKING
from .backend import Backend, Kind
from .ballast import Ballast
from .buildcache import BuildCache
from .containers import Containers
from .content import Blobs
from .db import Database
from .gc import Collector
from .idranges import IdRanges
from .images import Images
from .layerrows import LayerRows
from .layers import Layers
from .lock import Hold, Lock
from .networks import Networks
from .scratch import Scratch
from .volumes import Volumes

if TYPE_CHECKING:
    from .archive import Archive


class Store:
    """`root` outlives a boot (images, layers, rows), `run` does not. `backend` forces how layers
    are mounted, for tests."""

    def __init__(self, root: str, run: str, *, backend: Kind | None = None) -> None:
        ballast = Ballast(f"{root}/ballast")
        self.root = root
        self.run = run
        self.db = Database(f"{root}/onggi.db", ballast)
        self.scratch = Scratch(root)
        self._lock = Lock(f"{root}/lock")
        self._collector = Collector(root, self.db, self._lock, self.scratch, ballast)
        self.backend = Backend(run, self.scratch, backend)
        self.blobs = Blobs(root, self.db, self._lock)
        self.layers = Layers(
            root, LayerRows(self.db), self.blobs, self._lock, self.backend, self.scratch
        )
        self.images = Images(self.db, self.blobs, self.layers, self._lock, self.collect)
        self.containers = Containers(self.db)
        self.networks = Networks(self.db)
        self.id_ranges = IdRanges(self.db)
        self.volumes = Volumes(self.db)
        self.cache = BuildCache(self.db)

    @cached_property
    def archive(self) -> "Archive":
        """Images as files: `save` and `load`."""
        from .archive import Archive

        return Archive(self.images, self.layers, self.collect)

    def shared(self) -> Hold:
        """Keep garbage collection away while what no row names yet is in use."""
        return self._lock.shared()

    def collect(self) -> int:
        """Remove what nothing needs; the bytes that were freed. Does nothing while another
        command is in the middle of storing something."""
        return self._collector.collect()

    def close(self) -> None:
        """Close the database; the next use opens it again. Call it before a fork."""
        self.db.close()
