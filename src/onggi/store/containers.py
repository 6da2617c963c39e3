"""Rows of containers: names, configuration, state. Says what was stored, never what really runs."""

import builtins
from collections.abc import Callable

from ..errors import Conflict, CorruptData, InvalidInput, NotFound
from ..spec.container import (
    Container,
    ContainerConfig,
    ContainerId,
    ContainerOptions,
    ContainerState,
    Process,
)
from .db import Connection, Database, IntegrityError
from .rowtext import dump, parse

ACTIVE = ("running", "paused", "restarting")
_COLUMNS = "SELECT id, name, created_ns, image_id, config, state FROM container"


class Containers:
    def __init__(self, db: Database) -> None:
        self._db = db

    def insert(self, container: Container) -> None:
        """Add a row that holds its layers from now on.

        Raises Conflict when the name is taken, NotFound when a layer is gone from the store.
        """

        def work(connection: Connection) -> None:
            _require_free_name(connection, container.name)
            _require_layers(connection, container.config)
            _require_volumes(connection, container.config)
            connection.execute(
                "INSERT INTO container VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    container.id,
                    container.name,
                    container.config.image_id,
                    container.config.options.purpose,
                    container.state.status,
                    container.created_ns,
                    dump(container.config),
                    dump(container.state),
                ),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO container_layer VALUES (?, ?)",
                [(container.id, diff_id) for diff_id in _layers(container.config)],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO container_volume VALUES (?, ?)",
                [(container.id, name) for name in _volumes(container.config)],
            )

        try:
            self._db.write(work)
        except IntegrityError as error:
            raise Conflict(f"container id {container.id} is already in use") from error

    def get(self, reference: str) -> Container:
        """By whole id, then by name, then by the start of the id. Raises NotFound, or InvalidInput
        when several ids start so."""
        name = reference.removeprefix("/")
        rows = self._db.rows(f"{_COLUMNS} WHERE id = ?1 OR name = ?1 ORDER BY id <> ?1", (name,))
        if not rows and is_hexadecimal(name):
            rows = self._db.rows(f"{_COLUMNS} WHERE id >= ? AND id < ? LIMIT 2", (name, name + "g"))
            if len(rows) > 1:
                raise InvalidInput(f"multiple IDs found with provided prefix: {reference}")
        if not rows:
            raise NotFound(f"No such container: {reference}")
        return _container(*rows[0])

    def list(self, *, all: bool = True, purpose: str | None = "run") -> builtins.list[Container]:
        """Newest first. Without `all` only those stored as running, paused or restarting; `purpose`
        None means also the containers of builds."""
        conditions, values = [], []
        if not all:
            conditions.append(f"status IN {ACTIVE!r}")
        if purpose is not None:
            conditions.append("purpose = ?")
            values.append(purpose)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._db.rows(f"{_COLUMNS}{where} ORDER BY created_ns DESC, id", tuple(values))
        return [_container(*row) for row in rows]

    def names(self) -> dict[str, ContainerId]:
        """Every name in use and its container's id."""
        return {
            str(name): str(id_) for name, id_ in self._db.rows("SELECT name, id FROM container")
        }

    def update_state(self, container_id: ContainerId, state: ContainerState) -> None:
        """Replace the state. Raises NotFound when the container is gone."""
        self.change_state(container_id, lambda _: state)

    def change_state(
        self, container_id: ContainerId, change: Callable[[ContainerState], ContainerState]
    ) -> ContainerState:
        """Replace the state by what `change` makes of the stored one, with nobody between."""

        def work(connection: Connection) -> ContainerState:
            row = connection.execute(
                "SELECT state FROM container WHERE id = ?", (container_id,)
            ).fetchone()
            if row is None:
                raise NotFound(f"No such container: {container_id}")
            state = change(_state(row[0], container_id))
            connection.execute(
                "UPDATE container SET status = ?, state = ? WHERE id = ?",
                (state.status, dump(state), container_id),
            )
            return state

        return self._db.write(work)

    def update_config(self, container_id: ContainerId, config: ContainerConfig) -> None:
        """Replace the configuration (`update`); layers, image and volumes stay as created."""
        changed = self._db.execute(
            "UPDATE container SET config = ? WHERE id = ?", (dump(config), container_id)
        )
        if not changed:
            raise NotFound(f"No such container: {container_id}")

    def rename(self, container_id: ContainerId, name: str) -> None:
        """Give another name. Raises Conflict when it is taken, NotFound when there is no such
        container."""

        def work(connection: Connection) -> None:
            _require_free_name(connection, name)
            if not connection.execute(
                "UPDATE container SET name = ? WHERE id = ?", (name, container_id)
            ).rowcount:
                raise NotFound(f"No such container: {container_id}")

        self._db.write(work)

    def remove(self, container_id: ContainerId) -> None:
        """Forget the container, its name and its hold on layers and volumes. Idempotent."""
        self._db.execute("DELETE FROM container WHERE id = ?", (container_id,))


def is_hexadecimal(text: str) -> bool:
    return 0 < len(text) <= 64 and not text.strip("0123456789abcdef")


def _container(
    id_: str, name: str, created_ns: int, image_id: str, config: str, state: str
) -> Container:
    """The row as a record. A damaged one is shown as dead with the reason, so that the others can
    be listed and this one be removed."""
    try:
        parsed = parse(ContainerConfig, config, f"container {name}")
        return Container(id_, name, created_ns, parsed, _state(state, id_))
    except CorruptData as error:
        nothing = Process((), (), "/", "", tty=False)
        remains = ContainerConfig(ContainerOptions(image_id), nothing, image_id, (), "", "SIGTERM")
        dead = ContainerState(status="dead", exit_code=255, error=error.message)
        return Container(id_, name, created_ns, remains, dead)


def _state(text: str, container_id: ContainerId) -> ContainerState:
    try:
        return parse(ContainerState, text, f"container {container_id}")
    except CorruptData as error:
        return ContainerState(status="dead", exit_code=255, error=error.message)


def _require_free_name(connection: Connection, name: str) -> None:
    row = connection.execute("SELECT id FROM container WHERE name = ?", (name,)).fetchone()
    if row is not None:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{row[0]}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


def _layers(config: ContainerConfig) -> tuple[str, ...]:
    """Those of the root and of the images that are mounted."""
    return config.layers + tuple(layer for point in config.mounts for layer in point.layers)


def _volumes(config: ContainerConfig) -> tuple[str, ...]:
    return tuple(point.name for point in config.mounts if point.kind == "volume")


def _require_volumes(connection: Connection, config: ContainerConfig) -> None:
    for name in _volumes(config):
        if not connection.execute("SELECT 1 FROM volume WHERE name = ?", (name,)).fetchone():
            raise NotFound(f"get {name}: no such volume", hint="it was removed meanwhile")


def _require_layers(connection: Connection, config: ContainerConfig) -> None:
    for diff_id in _layers(config):
        if not connection.execute("SELECT 1 FROM layer WHERE diff_id = ?", (diff_id,)).fetchone():
            raise NotFound(
                f"image {config.image_id} has lost its layer {diff_id}",
                hint="pull or build the image again",
            )
