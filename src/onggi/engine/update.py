"""`update`: other limits and another restart policy for a container, while it runs or not."""

from collections.abc import Callable

from ..errors import Conflict, OnggiError
from ..spec.container import Container, Resources
from ..store.store import Store
from . import hostcheck, limits, restart
from .cgroups import cgroup_of
from .paths import Paths
from .reaper import ACTIVE


def update(
    store: Store,
    paths: Paths,
    find: Callable[[str], Container],
    container: Container,
    change: Resources,
    policy: restart.Policy | None,
) -> list[str]:
    """Change the row, and the control groups of a container that runs; warnings. Raises Conflict,
    InvalidInput with docker's words; the limits are then as before."""
    warnings = hostcheck.check_resources(change, update=True)
    with paths.locked(container.id):
        container = find(container.id)
        host = container.config.options.host
        if policy is not None:
            restart.check(policy)
            if host.auto_remove and policy.name not in ("", "no"):
                raise Conflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the "
                    "container"
                )
            host = host._replace(restart_policy=policy.name, restart_retries=policy.retries)
        try:
            resources = limits.merge(host.resources, change)
            hostcheck.check_resources(resources, update=True)
            host = host._replace(resources=resources)
            if container.state.status in ACTIVE and change != Resources():
                warnings += cgroup_of(container).set(_effective(change, resources))
        except OSError as error:
            raise OnggiError(f"Cannot update container {container.id}: {error}") from error
        except OnggiError as error:
            error.message = f"Cannot update container {container.id}: {error.message}"
            raise
        options = container.config.options._replace(host=host)
        config = container.config._replace(options=options)
        store.containers.update_config(container.id, config)
    return list(dict.fromkeys(warnings))


def _effective(change: Resources, result: Resources) -> Resources:
    """What is to be written: the change, with what goes together. Swap follows a new memory limit
    unless it was set on its own; a quota needs its period."""
    if change.memory_bytes or change.memory_swap_bytes:
        change = change._replace(
            memory_bytes=result.memory_bytes, memory_swap_bytes=result.memory_swap_bytes
        )
    if change.cpu_quota_us or change.cpu_period_us:
        change = change._replace(
            cpu_quota_us=result.cpu_quota_us, cpu_period_us=result.cpu_period_us
        )
    return change
