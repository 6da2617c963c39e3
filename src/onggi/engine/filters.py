"""`ps --filter`: docker's filters over containers. Pure; AND between keys, OR between values."""

from collections.abc import Callable, Mapping, Sequence

from ..errors import InvalidInput
from ..spec.container import Container
from ..spec.image import Image
from ..spec.mount import MountPoint

Filters = Mapping[str, Sequence[str]]
KNOWN = frozenset(
    "id name label status ancestor exited before since publish expose network volume health "
    "is-task".split()
)
HEALTH = ("starting", "healthy", "unhealthy", "none")
RUNNING = ("running", "paused")
STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")


def check(filters: Filters) -> None:
    """Raises InvalidInput with docker's words for an unknown key or value."""
    for key, values in filters.items():
        if key not in KNOWN:
            raise InvalidInput(f"invalid filter '{key}'")
        if key == "status":
            for value in values:
                if value not in STATUSES:
                    raise InvalidInput(
                        f"invalid filter 'status={value}'; must be one of: {', '.join(STATUSES)}"
                    )
        if key == "health":
            for value in values:
                if value not in HEALTH:
                    raise InvalidInput(f"Unrecognised filter value for health: {value}")
        if key == "is-task" and not all(v in ("true", "1", "false", "0") for v in values):
            raise InvalidInput(f"invalid filter 'is-task=[{' '.join(values)}]'")
        if key == "exited" and not all(v.isascii() and v.isdigit() for v in values):
            raise InvalidInput("invalid filter 'exited': want a number")


def select(
    containers: Sequence[Container],
    filters: Filters,
    *,
    image_of: Callable[[str], Image | None],
    networks_of: Callable[[Container], Sequence[str]],
    find: Callable[[str], Container],
) -> list[Container]:
    """Those that pass every filter. `image_of` resolves an image reference or id, `networks_of`
    names a container's networks, `find` resolves a container reference."""
    check(filters)
    tests = [
        _test(key, values, image_of, networks_of, find) for key, values in filters.items() if values
    ]
    return [container for container in containers if all(test(container) for test in tests)]


def _test(
    key: str,
    values: Sequence[str],
    image_of: Callable[[str], Image | None],
    networks_of: Callable[[Container], Sequence[str]],
    find: Callable[[str], Container],
) -> Callable[[Container], bool]:
    match key:
        case "id":
            return _matching(values, lambda c: (c.id,))
        case "name":
            return _matching(values, lambda c: (c.name, f"/{c.name}"))
        case "status":
            return lambda c: c.state.status in values
        case "exited":
            return lambda c: c.state.status == "exited" and str(c.state.exit_code) in values
        case "label":
            return lambda c: all(has_label(c.config.labels, value) for value in values)
        case "ancestor":
            return _ancestor(values, image_of)
        case "before":
            limit = min(find(value).created_ns for value in values)
            return lambda c: c.created_ns < limit
        case "since":
            limit = max(find(value).created_ns for value in values)
            return lambda c: c.created_ns > limit
        case "network":
            return lambda c: bool(set(values) & set(networks_of(c)))
        case "volume":
            return lambda c: any(_mounts(point, v) for point in c.config.mounts for v in values)
        case "publish":
            return lambda c: any(_port_matches(_published(c), value) for value in values)
        case "expose":
            return lambda c: any(_port_matches(c.config.exposed_ports, value) for value in values)
        case "health":
            return lambda c: (c.state.health.status if c.state.health else "none") in values
        case _:
            return lambda c: values[0] in ("0", "false", "False")


def _matching(
    values: Sequence[str], texts_of: Callable[[Container], Sequence[str]]
) -> Callable[[Container], bool]:
    """Regular expressions that may begin anywhere, as docker's filters for ids and names are."""
    import re

    try:
        patterns = [re.compile(value) for value in values]
    except re.error as error:
        raise InvalidInput(f"invalid filter: {error}") from error
    return lambda c: any(pattern.search(text) for pattern in patterns for text in texts_of(c))


def has_label(labels: Mapping[str, str], wanted: str) -> bool:
    """Whether `wanted`, "key" or "key=value", holds."""
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _ancestor(
    values: Sequence[str], image_of: Callable[[str], Image | None]
) -> Callable[[Container], bool]:
    images = [image for value in values if (image := image_of(value)) is not None]
    ids = {str(image.id) for image in images}
    stacks = [image.config.diff_ids for image in images if image.config.diff_ids]

    def descends(container: Container) -> bool:
        layers = container.config.layers
        return container.config.image_id in ids or any(
            layers[: len(stack)] == tuple(stack) for stack in stacks
        )

    return descends


def _mounts(point: MountPoint, wanted: str) -> bool:
    return wanted in (point.name, point.target, point.source)


def _published(container: Container) -> list[str]:
    """Ports of the host, as docker's filter means them; nothing is published by what is stopped."""
    ports = container.state.published if container.state.status in RUNNING else ()
    return [f"{port.host_port}/{port.protocol}" for port in ports]


def _port_matches(ports: Sequence[str], wanted: str) -> bool:
    number, _, protocol = wanted.partition("/")
    low, _, high = number.partition("-")
    if not all(n.isascii() and n.isdigit() for n in (low, high or low)):
        raise InvalidInput(f"invalid port filter {wanted!r}")
    for port in ports:
        have, _, have_protocol = port.partition("/")
        if int(low) <= int(have) <= int(high or low) and have_protocol == (protocol or "tcp"):
            return True
    return False
