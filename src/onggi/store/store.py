"""The store: one object that wires its parts. Cheap to make; opens nothing until it is used."""

from .ballast import Ballast
from .buildcache import BuildCache
from .containers import Containers
from .content import Blobs
from .db import Database
from .images import Images
from .layers import Layers
from .lock import Hold, Lock
from .networks import Networks
from .volumes import Volumes


class Store:
    """`root` outlives a boot (images, layers, rows), `run` does not."""

    def __init__(self, root: str, run: str) -> None:
        self.root = root
        self.run = run
        self.db = Database(f"{root}/onggi.db", Ballast(f"{root}/ballast"))
        self._lock = Lock(f"{root}/lock")
        self.blobs = Blobs(root, self.db, self._lock)
        self.layers = Layers(self.db)
        self.images = Images(self.db, self.blobs, self._lock, self.collect)
        self.containers = Containers(self.db)
        self.networks = Networks(self.db)
        self.volumes = Volumes(self.db)
        self.cache = BuildCache(self.db)

    def shared(self) -> Hold:
        """Keep garbage collection away while what no row names yet is in use."""
        return self._lock.shared()

    def collect(self) -> int:
        return 0

    def close(self) -> None:
        """Close the database; the next use opens it again. Call it before a fork."""
        self.db.close()
