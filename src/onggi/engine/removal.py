"""Forgetting a container that does not run."""

from ..spec.container import Container
from .run import Services


def delete(services: Services, container: Container, *, with_volumes: bool) -> None:
    """Its row, its directory with everything that was its own, perhaps its anonymous volumes."""
    services.paths.remove_container(container.id)
    services.store.containers.remove(container.id)
    services.paths.forget_lock(container.id)
    services.events.container(container, "destroy")
    if with_volumes:
        services.volumes.remove_anonymous(container.config.mounts)
