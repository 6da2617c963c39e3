"""What `docker rmi` does: which names and images go, or which conflict forbids it, in its words.

Works inside the caller's transaction, so that a conflict undoes all. Touches no file.
"""

from ..errors import Conflict
from ..spec.reference import parse_reference
from ..typed import Literal, NamedTuple
from .containers import ACTIVE
from .db import Connection

Removed = tuple[Literal["Untagged", "Deleted"], str]


class _Name(NamedTuple):
    """A tag or a digest that points at the image."""

    repository: str
    tag: str
    digest: str

    @property
    def familiar(self) -> str:
        text = f"{self.repository}:{self.tag}" if self.tag else f"{self.repository}@{self.digest}"
        return parse_reference(text).familiar


class Removal:
    """One `rmi` of one image; `lines` is what it did so far."""

    def __init__(self, connection: Connection) -> None:
        self.lines: list[Removed] = []
        self._connection = connection

    def remove(
        self, image_id: str, reference: str, *, force: bool, keep_parents: bool = False
    ) -> None:
        """Remove what `reference`, a name or an id of this image, stands for, and the nameless
        images that only it was made from. Raises Conflict."""
        names = self._names(image_id)
        if not _is_id(image_id, reference):
            if self._remove_name(image_id, reference, names, force=force):
                return
            if self._conflict(image_id, [], force=force):
                return  # untagged only: a container or a child image still needs it
        else:
            counted = [] if _single_repository(names) else names
            conflict = self._conflict(image_id, counted, force=force)
            if conflict is not None:
                raise conflict
        while True:
            image_id = self._delete(image_id)
            if keep_parents or not image_id:
                return
            if self._conflict(image_id, self._names(image_id), force=False):
                return

    def _remove_name(
        self, image_id: str, reference: str, names: list[_Name], *, force: bool
    ) -> list[_Name]:
        """Take the name away, and with a repository's last tag its digests; the names that stay."""
        user = self._user(image_id)
        if not force and _single_repository(names) and user:
            raise Conflict(
                f'conflict: unable to remove repository reference "{reference}" (must force) - '
                f"container {user[:12]} is using its referenced image {_short(image_id)}"
            )
        named = parse_reference(reference)
        gone = [
            name
            for name in names
            if name.repository == named.name
            and (name.digest == named.digest if named.digest else name.tag == named.tag)
        ]
        left = [name for name in names if name not in gone]
        if not named.digest and not any(n.tag and n.repository == named.name for n in left):
            gone += [name for name in left if name.repository == named.name]
            left = [name for name in left if name.repository != named.name]
        for name in gone:
            self._untag(name)
        return left

    def _untag(self, name: _Name) -> None:
        if name.tag:
            tag = f"{name.repository}:{name.tag}"
            self._connection.execute("DELETE FROM tag WHERE reference = ?", (tag,))
        else:
            self._connection.execute(
                "DELETE FROM repo_digest WHERE repository = ? AND digest = ?",
                (name.repository, name.digest),
            )
        self.lines.append(("Untagged", name.familiar))

    def _delete(self, image_id: str) -> str:
        """Delete the image with all its names; returns its parent."""
        for name in self._names(image_id):
            self._untag(name)
        freed = self._connection.execute(
            "SELECT chain_id FROM image_layer AS mine WHERE image_id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM image_layer AS other"
            "   WHERE other.chain_id = mine.chain_id AND other.image_id <> ?1)"
            " AND diff_id NOT IN (SELECT diff_id FROM container_layer)"
            " AND diff_id NOT IN (SELECT diff_id FROM build_cache) ORDER BY position DESC",
            (image_id,),
        ).fetchall()
        parent = "SELECT parent FROM image WHERE id = ?"
        row = self._connection.execute(parent, (image_id,)).fetchone()
        self._connection.execute("DELETE FROM image WHERE id = ?", (image_id,))
        self.lines.append(("Deleted", image_id))
        self.lines.extend(("Deleted", chain) for (chain,) in freed)
        return self._existing(str(row[0]))

    def _existing(self, image_id: str) -> str:
        query = "SELECT 1 FROM image WHERE id = ?"
        return image_id if self._connection.execute(query, (image_id,)).fetchone() else ""

    def _names(self, image_id: str) -> list[_Name]:
        tags = self._connection.execute(
            "SELECT reference FROM tag WHERE image_id = ? ORDER BY reference", (image_id,)
        )
        names = []
        for (reference,) in tags:
            repository, _, tag = reference.rpartition(":")
            names.append(_Name(repository, tag, ""))
        digests = self._connection.execute(
            "SELECT repository, digest FROM repo_digest WHERE image_id = ? ORDER BY 1, 2",
            (image_id,),
        )
        return names + [_Name(repository, "", digest) for repository, digest in digests]

    def _conflict(self, image_id: str, names: list[_Name], *, force: bool) -> Conflict | None:
        """Why the image cannot be deleted; `force` overrides names and stopped containers."""

        def unable(how: str, why: str) -> Conflict:
            return Conflict(f"conflict: unable to delete {_short(image_id)} ({how}) - {why}")

        if user := self._user(image_id, running=True):
            why = f"image is being used by running container {user[:12]}"
            return unable("cannot be forced", why)
        child = "SELECT 1 FROM image WHERE parent = ?"
        if self._connection.execute(child, (image_id,)).fetchone():
            return unable("cannot be forced", "image has dependent child images")
        if force:
            return None
        if names:
            return unable("must be forced", "image is referenced in multiple repositories")
        if user := self._user(image_id):
            why = f"image is being used by stopped container {user[:12]}"
            return unable("must be forced", why)
        return None

    def _user(self, image_id: str, *, running: bool = False) -> str:
        """The oldest container of the image, "" for none."""
        rows = self._connection.execute(
            "SELECT id, status FROM container WHERE image_id = ? ORDER BY created_ns", (image_id,)
        )
        return next((str(id_) for id_, status in rows if not running or status in ACTIVE), "")


def _is_id(image_id: str, reference: str) -> bool:
    return image_id.removeprefix("sha256:").startswith(reference.removeprefix("sha256:"))


def _single_repository(names: list[_Name]) -> bool:
    """At most one tag, and every digest in that tag's repository."""
    return sum(bool(name.tag) for name in names) <= 1 and len({n.repository for n in names}) <= 1


def _short(image_id: str) -> str:
    return image_id.partition(":")[2][:12]
