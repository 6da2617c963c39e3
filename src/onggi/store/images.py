"""Rows of images, their tags and digests: adding, finding, listing, removing in docker's words."""

import builtins
from collections.abc import Callable, Sequence

from ..errors import CorruptData, InvalidInput, NotFound
from ..spec.digest import Digest, chain_id
from ..spec.image import Image, ImageConfig, parse_config
from ..spec.platform import Platform
from ..spec.reference import Reference, parse_reference
from ..typed import NamedTuple
from ..units import parse_rfc3339
from .containers import is_hexadecimal
from .content import Blobs
from .db import Connection, Database
from .layerrows import settle
from .layers import Layers
from .lock import Lock
from .removal import Removal, Removed


class _Row(NamedTuple):
    id: str
    manifest_digest: str | None
    parent: str
    size_bytes: int


_SELECT = (
    "SELECT image.id, image.manifest_digest, image.parent,"
    " (SELECT coalesce(sum(layer.tar_bytes), 0) FROM image_layer JOIN layer USING (diff_id)"
    " WHERE image_layer.image_id = image.id) FROM image"
)


class Images:
    def __init__(
        self,
        db: Database,
        blobs: Blobs,
        layers: Layers,
        lock: Lock,
        collect: Callable[[], object],
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._layers = layers
        self._lock = lock
        self._collect = collect

    def add(
        self,
        config: bytes,
        manifest: bytes | None = None,
        *,
        tags: Sequence[Reference] = (),
        repo_digests: Sequence[Reference] = (),
        parent: str = "",
    ) -> Image:
        """Store an image whose layers are all there, and point `tags` at it, in one transaction.

        A tag that named another image moves. Raises NotFound when a layer is missing, CorruptData
        when one links to a file that the layers below it do not have.
        """
        parsed = parse_config(config)
        self._layers.mounts(parsed.diff_ids)
        with self._lock.shared():
            image_id, _ = self._blobs.put([config])
            manifest_digest = self._blobs.put([manifest])[0] if manifest is not None else None

            def work(connection: Connection) -> None:
                _insert(connection, image_id, manifest_digest, parsed, parent)
                for tag in tags:
                    _set_tag(connection, tag, image_id)
                connection.executemany(
                    "INSERT OR REPLACE INTO repo_digest VALUES (?, ?, ?)",
                    [(r.name, r.digest, image_id) for r in repo_digests if r.digest is not None],
                )

            self._db.write(work)
        return self.get(image_id)

    def get(self, reference: str) -> Image:
        """By whole id, name, name:tag, name@digest, then by the start of the id.

        Raises NotFound in docker's words, InvalidInput when several ids start so or the text is no
        reference.
        """
        return self._image(self._find(reference))

    def exists(self, reference: str) -> bool:
        try:
            self._find(reference)
        except NotFound:
            return False
        return True

    def list(self) -> builtins.list[Image]:
        """All images, also untagged ones, newest first. One whose configuration is damaged is there
        with an empty one, so that it can be seen and removed."""
        rows = self._db.rows(f"{_SELECT} ORDER BY image.created_ns DESC, image.id")
        tags = _grouped(self._db.rows("SELECT image_id, reference FROM tag ORDER BY reference"))
        digests = _grouped(
            self._db.rows(
                "SELECT image_id, repository || '@' || digest FROM repo_digest"
                " ORDER BY repository, digest"
            )
        )
        return [
            self._build(row, tags.get(row.id, ()), digests.get(row.id, ()), forgiving=True)
            for row in (_Row(*values) for values in rows)
        ]

    def of_repository(self, name: str) -> builtins.list[Image]:
        """The images that are known under that name (domain/path), by tag or by digest."""
        rows = self._db.rows(
            "SELECT image_id FROM tag WHERE reference >= ?1 || ':' AND reference < ?1 || ';'"
            " UNION SELECT image_id FROM repo_digest WHERE repository = ?1",
            (name,),
        )
        return [self.get(row[0]) for row in rows]

    def tag(self, image_id: str, reference: Reference) -> None:
        """Point the name at the image; it leaves the image it named before."""

        def work(connection: Connection) -> None:
            if not connection.execute("SELECT 1 FROM image WHERE id = ?", (image_id,)).fetchone():
                raise NotFound(f"No such image: {image_id}")
            _set_tag(connection, reference, image_id)

        self._db.write(work)

    def untag(self, reference: Reference) -> bool:
        """Take the name away, whoever has it; whether there was one. The image stays."""
        name = f"{reference.name}:{reference.tag}"
        return self._db.execute("DELETE FROM tag WHERE reference = ?", (name,)) > 0

    def remove(
        self, reference: str, *, force: bool = False, keep_parents: bool = False
    ) -> builtins.list[Removed]:
        """What `docker rmi` does: remove a name, and the image with its last one, and unless
        `keep_parents` the nameless ones that it was made from.

        Returns docker's lines. Raises Conflict in docker's words when containers or child images
        need it. The files of layers that nobody needs any more are deleted.
        """

        def work(connection: Connection) -> builtins.list[Removed]:
            removal = Removal(connection)
            removal.remove(
                self._find(reference).id, reference, force=force, keep_parents=keep_parents
            )
            return removal.lines

        removed = self._db.write(work)
        self._collect()
        return removed

    def children(self, image_id: str) -> builtins.list[Digest]:
        """Images that were built or committed from this one."""
        rows = self._db.rows("SELECT id FROM image WHERE parent = ? ORDER BY id", (image_id,))
        return [Digest.parse(row[0]) for row in rows]

    def config_bytes(self, image_id: str) -> bytes:
        return self._blobs.read(Digest.parse(image_id))

    def manifest_bytes(self, image_id: str) -> bytes | None:
        """The manifest the image came with; None when it was made here."""
        row = self._db.row("SELECT manifest_digest FROM image WHERE id = ?", (image_id,))
        if row is None:
            raise NotFound(f"No such image: {image_id}")
        return self._blobs.read(Digest.parse(row[0])) if row[0] else None

    def _find(self, text: str) -> _Row:
        """The row that the user's text names."""
        bare = text.removeprefix("sha256:")
        if is_hexadecimal(bare) and (len(bare) == 64 or len(bare) < len(text)):
            return _only(self._starting(bare), text, shown=text)
        named = parse_reference(text)
        if named.digest is not None:
            rows = self._rows(
                "JOIN repo_digest ON image_id = image.id WHERE repository = ? AND digest = ?",
                named.name,
                named.digest,
            )
        else:
            rows = self._rows("JOIN tag ON image_id = image.id WHERE reference = ?", str(named))
            if not rows and is_hexadecimal(text):
                rows = self._starting(text)
        return _only(rows, text, shown=named.familiar)

    def _starting(self, prefix: str) -> builtins.list[_Row]:
        low = f"sha256:{prefix}"
        return self._rows("WHERE id >= ? AND id < ? LIMIT 2", low, low + "g")

    def _rows(self, where: str, *values: object) -> builtins.list[_Row]:
        return [_Row(*row) for row in self._db.rows(f"{_SELECT} {where}", values)]

    def _image(self, row: _Row) -> Image:
        tags = self._db.rows(
            "SELECT reference FROM tag WHERE image_id = ? ORDER BY reference", (row.id,)
        )
        digests = self._db.rows(
            "SELECT repository || '@' || digest FROM repo_digest WHERE image_id = ?"
            " ORDER BY repository, digest",
            (row.id,),
        )
        return self._build(row, tuple(t[0] for t in tags), tuple(d[0] for d in digests))

    def _build(
        self, row: _Row, tags: tuple[str, ...], digests: tuple[str, ...], *, forgiving: bool = False
    ) -> Image:
        image_id = Digest(row.id)
        try:
            config = parse_config(self._blobs.read(image_id))
        except (CorruptData, NotFound):
            if not forgiving:
                raise
            config = ImageConfig(Platform("", ""), ())
        return Image(
            id=image_id,
            config=config,
            manifest_digest=Digest(row.manifest_digest) if row.manifest_digest else None,
            size_bytes=row.size_bytes,
            created_ns=created_ns(config.created),
            tags=tags,
            repo_digests=digests,
            parent=row.parent,
        )


def created_ns(text: str) -> int:
    """An RFC 3339 time as ns since 1970; 0 for none or for what is not a time."""
    try:
        return parse_rfc3339(text)
    except ValueError:
        return 0


def _only(rows: list[_Row], text: str, *, shown: str) -> _Row:
    if not rows:
        raise NotFound(f"No such image: {shown}")
    if len(rows) > 1:
        raise InvalidInput(f"multiple images start with {text}: give more characters of the id")
    return rows[0]


def _grouped(rows: list[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    result: dict[str, tuple[str, ...]] = {}
    for key, value in rows:
        result[key] = (*result.get(key, ()), value)
    return result


def _insert(
    connection: Connection,
    image_id: Digest,
    manifest_digest: Digest | None,
    config: ImageConfig,
    parent: str,
) -> None:
    """The image and its layers, which it holds from now on."""
    connection.execute(
        "INSERT INTO image VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
        " manifest_digest = coalesce(excluded.manifest_digest, image.manifest_digest)",
        (image_id, manifest_digest, parent, created_ns(config.created)),
    )
    chain: Digest | None = None
    for position, diff_id in enumerate(config.diff_ids):
        if not connection.execute("SELECT 1 FROM layer WHERE diff_id = ?", (diff_id,)).fetchone():
            raise NotFound(f"layer {diff_id} of image {image_id} is not in the store")
        chain = chain_id((chain, diff_id) if chain else (diff_id,))
        connection.execute(
            "INSERT OR IGNORE INTO image_layer VALUES (?, ?, ?, ?)",
            (image_id, position, diff_id, chain),
        )
    settle(connection, config.diff_ids)


def _set_tag(connection: Connection, reference: Reference, image_id: str) -> None:
    if not reference.tag:
        raise InvalidInput(f"{reference.familiar} has no tag")
    name = f"{reference.name}:{reference.tag}"
    connection.execute("INSERT OR REPLACE INTO tag VALUES (?, ?)", (name, image_id))
