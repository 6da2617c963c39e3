"""The parameters of POST /build as the options of a build. Sans-IO.

What docker's classic builder needs and ours does without is taken and does nothing: `rm`, `forcerm`
(there are no intermediate containers to keep). `cachefrom` names images of this host; those that
have an inline cache bring it along.
"""

from ..build.options import BuildOptions, CacheSource
from ..dockerfile import address
from ..errors import InvalidInput, Unsupported
from ..spec.container import HostOptions, Resources, Ulimit
from ..spec.platform import parse_platform
from ..spec.reference import parse_reference
from ..typed import Any
from .call import Version
from .decode import Fields, Query

SHM_BYTES = 64 << 20
STDIN = "-"
_ISOLATIONS = ("", "default")


def options(query: Query, version: Version) -> BuildOptions:
    """Raises InvalidInput with docker's words."""
    _refuse(query)
    platform = query.text("platform") if version >= (1, 32) else ""
    if platform:
        parse_platform(platform)
    return BuildOptions(
        context_dir=_context(query.text("remote")),
        dockerfile=query.text("dockerfile"),
        tags=tuple(_tag(name) for name in query.many("t") if name),
        build_args=_arguments(query),
        no_cache=query.flag("nocache"),
        target=query.text("target"),
        pull=query.flag("pull"),
        labels=_object(query, "labels").string_map("labels"),
        platform=platform,
        network_mode=_network(query.text("networkmode")),
        extra_hosts=tuple(_extra_host(text) for text in query.many("extrahosts") if text),
        shm_bytes=query.integer("shmsize") or SHM_BYTES,
        limits=_limits(query),
        squash=query.flag("squash"),
        cache_from=tuple(
            CacheSource("image", str(parse_reference(name)))
            for name in _list(query, "cachefrom")
            if name
        ),
    )


def _refuse(query: Query) -> None:
    if query.many("securityopt"):
        raise InvalidInput("security options are not supported on linux")
    if query.text("isolation") not in _ISOLATIONS:
        raise InvalidInput(f'unsupported isolation: "{query.text("isolation")}"')
    builder = query.text("version")
    if builder not in ("", "1", "2"):
        raise InvalidInput(f'invalid version "{builder}"')
    if builder == "2":
        raise Unsupported(
            "BuildKit's builds come by /grpc, as buildx has them: install it, or set "
            "DOCKER_BUILDKIT=0"
        )
    if query.text("remote") == "client-session":
        raise InvalidInput(
            "experimental session with v1 builder is no longer supported, use builder version v2 "
            "(BuildKit) instead"
        )
    if query.json("outputs"):
        raise Unsupported("outputs need BuildKit: the classic builder makes an image")


def _context(remote: str) -> str:
    """The body, or an address: never a path, which would be one of the server's host."""
    if not remote:
        return STDIN
    if not address.is_url(remote) and address.repository(remote, context=True) is None:
        raise InvalidInput(f"remoteURL ({remote[:200]}) could not be recognized as URL")
    return remote


def _tag(name: str) -> str:
    if parse_reference(name).digest is not None:
        raise InvalidInput("build tag cannot contain a digest")
    return name


def _object(query: Query, name: str) -> Fields:
    return Fields({name: query.json(name)})


def _list(query: Query, name: str) -> tuple[str, ...]:
    return _object(query, name).strings(name)


def _arguments(query: Query) -> dict[str, str | None]:
    """Null is an argument that the user named and the environment does not have."""
    given = _object(query, "buildargs").object("buildargs")
    found: dict[str, str | None] = {}
    for name, value in given.raw.items():
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"error reading build args: {name} is no string")
        found[name] = value
    return found


def _network(text: str) -> str:
    return "bridge" if text in ("", "default") else text


def _extra_host(text: str) -> str:
    name, colon, address = text.partition(":")
    if not colon or not name or not address:
        raise InvalidInput(f'invalid extra host: "{text[:200]}": want name:address')
    return text


def _limits(query: Query) -> HostOptions:
    ulimits = tuple(_ulimit(fields) for fields in _object(query, "ulimits").objects("ulimits"))
    return HostOptions(
        resources=Resources(
            memory_bytes=_number(query, "memory"),
            memory_swap_bytes=_number(query, "memswap"),
            cpu_shares=_number(query, "cpushares"),
            cpu_period_us=_number(query, "cpuperiod"),
            cpu_quota_us=_number(query, "cpuquota"),
            cpuset_cpus=query.text("cpusetcpus"),
            cpuset_mems=query.text("cpusetmems"),
        ),
        ulimits=ulimits,
        cgroup_parent=query.text("cgroupparent"),
    )


def _number(query: Query, name: str) -> int:
    """Docker takes what is no number for none; so do its clients."""
    try:
        return query.integer(name)
    except InvalidInput:
        return 0


def _ulimit(fields: Any) -> Ulimit:
    return Ulimit(fields.text("Name"), fields.integer("Soft"), fields.integer("Hard"))
