"""`build`."""

import os
import sys
from functools import partial

from ...build.bases import OCI_LAYOUT
from ...build.graph_select import context_name
from ...build.options import STDOUT, BuildOptions, CacheSource, CacheTarget, Failure
from ...build.service import build, check, outline_of, targets_of
from ...dockerfile import address
from ...engine import tier
from ...errors import InvalidInput, OnggiError
from ...progress import Event, ignore
from ...spec.container import HostOptions, Resources
from ...spec.digest import Digest
from ...spec.platform import parse_platform
from ...spec.reference import parse_reference
from ...typed import Protocol
from ...units import parse_size
from .. import (
    buildattest,
    buildcall,
    buildelsewhere,
    buildloans,
    buildoutput,
    environment,
    limits,
    mounts,
    waterfall,
)
from ..command import Command, NotSupportedYet
from ..flags import Values, flag_table
from ..session import CommandError, Session, client_side, refusal, working_directory
from ..steps import StepLines

MAX_DOCKERFILE = 16 << 20
EXPLAIN_COLUMNS = 120


class Progress(Protocol):
    """What tells a user of a build, whatever way."""

    def __call__(self, event: Event) -> None: ...

    def failed(self) -> None: ...

    def finished(
        self, image_id: Digest, tags: tuple[str, ...], steps: int, cached: int
    ) -> None: ...


class BadTag(CommandError):
    exit_code = 125


def run(session: Session, values: Values, arguments: list[str]) -> int:
    session.debug = session.debug or values.on("debug")
    if session.elsewhere is not None:
        buildelsewhere.refuse(values)
    options = build_options(session, values, arguments[0])
    if values.text("iidfile"):
        remove_old(values.text("iidfile"))
    method = buildcall.method(values.text("call"), check=values.on("check"))
    if method.name != "build":
        return run_call(session, options, method)
    on_terminal = session.out.is_terminal() and sys.stdin.isatty()
    to_stdout = any(output.destination == STDOUT for output in options.outputs)
    if to_stdout and sys.stdout.isatty():
        raise refusal(
            "refusing to write a tar to the terminal", "redirect it, or name a file: -o FILE"
        )
    lines = progress(session, values, quiet=values.on("quiet") or to_stdout)
    if on_terminal and values.text("on-error") == "shell":
        options = options._replace(on_failure=partial(failed_shell, session, lines))
    try:
        if session.elsewhere is not None:
            result = buildelsewhere.build(session, values, options, lines)
        else:
            for text in tier.warnings(""):
                session.warn(text)
            result = build(session.engine, options, lines)
    except OnggiError as error:
        lines.failed()
        raise client_side(error) from error  # it names the Dockerfile's line; nobody else spoke
    except BaseException:
        lines.failed()
        raise
    if not to_stdout:
        lines.finished(result.image_id, result.tags, result.steps, result.cached_steps)
    if values.on("explain"):
        for line in waterfall.lines(result.reports, EXPLAIN_COLUMNS):
            session.err.line(line)
    if values.text("iidfile"):
        with open(values.text("iidfile"), "w", encoding="ascii") as stream:
            stream.write(str(result.image_id))
    if values.text("metadata-file"):
        buildoutput.write_metadata(values.text("metadata-file"), result)
    return 0


def progress(session: Session, values: Values, *, quiet: bool) -> Progress:
    """--progress, or docker's variable for it; on a terminal a live view unless told otherwise."""
    mode = values.text("progress")
    if not values.given("progress"):
        mode = session.environ.get("BUILDKIT_PROGRESS") or mode
    if mode not in ("auto", "plain", "tty", "quiet", "rawjson"):
        raise refusal(f"invalid progress mode {mode}")
    if mode == "rawjson":
        from ..rawjson import RawJson

        return RawJson(session)
    drawn = session.out.is_terminal() and session.environ.get("TERM", "dumb") != "dumb"
    if mode == "tty" and not drawn:
        raise refusal(
            "--progress=tty needs a terminal", "auto looks for itself whether there is one"
        )
    if drawn and not quiet and mode in ("auto", "tty"):
        from ..livesteps import LiveSteps

        return LiveSteps(session)
    return StepLines(session, quiet=quiet, mode=mode)


def failed_shell(session: Session, lines: Progress, failure: Failure) -> None:
    """--on-error=shell: the error, then a shell where the step stood."""
    from ..relay import Interrupted, Relay

    lines.failed()
    session.complain(client_side(failure.error))
    session.err.line("")
    session.err.line("A shell in the failed step's file system; leave it with exit:")
    session.err.flush()
    stream = failure.shell.attached(stdin=True)
    try:
        Relay(stream, stdin=True, terminal=True, detach_keys=b"", forward=None).run()
    except Interrupted:
        pass  # the builder was told to end, and does
    finally:
        stream.close()


def run_call(session: Session, options: BuildOptions, method: buildcall.Method) -> int:
    """--call and --check: nothing is built."""
    try:
        if method.name == "check":
            return buildcall.show_check(session, check(session.engine, options, ignore), method)
        if method.name == "targets":
            found = targets_of(session.engine, options)
            return buildcall.show_targets(session, found, as_json=method.json)
        outline = outline_of(session.engine, options, ignore)
        return buildcall.show_outline(session, outline, as_json=method.json)
    except OnggiError as error:
        raise client_side(error) from error


def build_options(session: Session, values: Values, context: str) -> BuildOptions:
    if values.text("on-error") not in ("", "shell"):
        raise refusal(f"invalid --on-error {values.text('on-error')}: shell is known")
    if values.text("builder") not in ("", "default"):
        raise refusal(
            f'no builder "{values.text("builder")}" found', "onggi is the one builder there is"
        )
    for name in ("rm", "disable-content-trust"):
        if not values.on(name):
            raise NotSupportedYet(f"flag --{name}=false is not supported yet")
    dockerfile, text = values.text("file"), None
    where = context_place(context, needs_stdin=dockerfile == "-")
    if dockerfile == "-":
        text = stdin_text()
    elif dockerfile and where.startswith("/"):
        dockerfile = os.path.join(working_directory(), dockerfile)
    for text_ in values.text("platform").split(",") if values.given("platform") else ():
        try:
            parse_platform(text_.strip())
        except InvalidInput as error:
            raise client_side(error) from error
    said = buildattest.wanted(values.text("sbom"), values.text("provenance"), values.many("attest"))
    return BuildOptions(
        context_dir=where,
        stdin=(lambda size: os.read(0, size)) if where == "-" else None,
        build_contexts=dict(map(named_context, values.many("build-context"))),
        dockerfile=dockerfile,
        dockerfile_text=text,
        tags=tuple(
            checked_tag(name)
            for name in (*values.many("tag"), *buildoutput.names(values.many("output")))
        ),
        build_args=build_arguments(session, values.many("build-arg")),
        no_cache=values.on("no-cache"),
        target=values.text("target"),
        pull=values.on("pull"),
        labels=environment.labels((), values.many("label")),
        platform=values.text("platform"),
        network_mode=network_mode(values.text("network")),
        volumes=tuple(
            mounts.parse_volume(spec, working_directory()) for spec in values.many("volume")
        ),
        extra_hosts=tuple(limits.parse_extra_host(text_) for text_ in values.many("add-host")),
        shm_bytes=parse_size(values.text("shm-size") or "0") or 64 << 20,
        secrets=buildloans.secrets(values.many("secret"), working_directory(), session.environ),
        agents=buildloans.agents(values.many("ssh"), working_directory(), session.environ),
        allowed=buildloans.entitlements(values.many("allow")),
        outputs=buildoutput.outputs(
            values.many("output"), working_directory(), load=values.on("load")
        ),
        stdout=session.out.write_bytes,
        push=values.on("push") or buildoutput.pushes(values.many("output")),
        squash=values.on("squash"),
        sbom=said.sbom,
        provenance=said.provenance,
        annotations=buildattest.annotations(values.many("annotation")),
        cache_from=cache_sources(values),
        cache_to=cache_targets(values),
        no_cache_filter=frozenset(
            name.strip().lower()
            for text in values.many("no-cache-filter")
            for name in text.split(",")
        ),
        limits=step_limits(values),
    )


def cache_sources(values: Values) -> tuple[CacheSource, ...]:
    if not values.given("cache-from"):
        return ()
    from .. import buildcache

    return buildcache.sources(values.many("cache-from"), working_directory())


def cache_targets(values: Values) -> tuple[CacheTarget, ...]:
    if not values.given("cache-to"):
        return ()
    from .. import buildcache

    return buildcache.targets(values.many("cache-to"), working_directory())


def security_options(values: Values) -> tuple[str, ...]:
    if not values.given("security-opt"):
        return ()
    from ..options import security_option

    return tuple(security_option(text) for text in values.many("security-opt"))


def step_limits(values: Values) -> HostOptions:
    """What each RUN may use."""
    return HostOptions(
        resources=Resources(
            memory_bytes=parse_size(values.text("memory") or "0"),
            memory_swap_bytes=limits.swap_bytes(values.text("memory-swap")),
            cpu_shares=values.number("cpu-shares"),
            cpu_period_us=values.number("cpu-period"),
            cpu_quota_us=values.number("cpu-quota"),
            cpuset_cpus=values.text("cpuset-cpus"),
            cpuset_mems=values.text("cpuset-mems"),
        ),
        ulimits=tuple(limits.parse_ulimit(text) for text in values.many("ulimit")),
        cgroup_parent=values.text("cgroup-parent"),
        security_opt=security_options(values),
    )


def context_place(context: str, *, needs_stdin: bool) -> str:
    """The folder as an absolute path, or what else a context can be as it is."""
    if context == "-":
        if needs_stdin:
            raise refusal("invalid argument: can't use stdin for both build context and dockerfile")
        if sys.stdin.isatty():
            raise refusal(
                "cannot read the build context from a terminal",
                "give a folder, or pipe an archive or Dockerfile in: onggi build - < Dockerfile",
            )
        return context
    path = os.path.join(working_directory(), context)
    if not os.path.exists(path) and is_remote(context):
        return context
    if not os.path.exists(path):
        raise refusal(f'unable to prepare context: path "{context}" not found')
    if not os.path.isdir(path):
        raise refusal(
            f"unable to prepare context: {context} is not a directory",
            f"the context is a folder; a Dockerfile is named with -f: onggi build -f {context} .",
        )
    return os.path.normpath(path)


def is_remote(context: str) -> bool:
    try:
        return address.is_url(context) or address.repository(context, context=True) is not None
    except InvalidInput as error:
        raise client_side(error) from error


def named_context(text: str) -> tuple[str, str]:
    """`name=path`, or an address after the sign."""
    name, equals, where = text.partition("=")
    if not equals or not name or not where:
        raise refusal(f"invalid context value: {text}, expected key=value")
    name = context_name(name)
    if where.startswith(OCI_LAYOUT):
        return name, OCI_LAYOUT + os.path.join(working_directory(), where[len(OCI_LAYOUT) :])
    if "://" in where or is_remote(where):
        return name, where
    return name, context_place(where, needs_stdin=True)


def stdin_text() -> bytes:
    text = sys.stdin.buffer.read(MAX_DOCKERFILE + 1)
    if len(text) > MAX_DOCKERFILE:
        raise refusal("the Dockerfile on stdin is larger than 16 MiB")
    return text


def checked_tag(name: str) -> str:
    try:
        reference = parse_reference(name)
    except InvalidInput as error:
        raise BadTag(
            f'invalid argument "{name}" for "-t, --tag" flag: {error.message}', hint=error.hint
        ) from error
    if reference.digest is not None:
        raise BadTag(f'invalid argument "{name}" for "-t, --tag" flag: a tag has no digest')
    return name


def build_arguments(session: Session, given: list[str]) -> dict[str, str | None]:
    """`K=V`; a bare K takes the caller's variable, or else the Dockerfile's default."""
    found: dict[str, str | None] = {}
    if "SOURCE_DATE_EPOCH" in session.environ:  # as buildx passes it on
        found["SOURCE_DATE_EPOCH"] = session.environ["SOURCE_DATE_EPOCH"]
    for item in given:
        name, equals, value = item.partition("=")
        if equals:
            found[name] = value
        elif name in session.environ:
            found[name] = session.environ[name]
        else:
            found[name] = None
    return found


def network_mode(text: str) -> str:
    return "bridge" if text in ("", "default") else text


def remove_old(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


BUILD = Command(
    usage="[OPTIONS] PATH | URL | -",
    summary="Build an image from a Dockerfile",
    run=run,
    flags=flag_table(
        """
      --add-host list            Add a custom host-to-IP mapping ("host:ip")
      --annotation list          Add annotation to the image
      --attest list              Attestation parameters (format: "type=sbom")
      --allow list               Allow extra privileged entitlement (e.g., "network.host",
                                 "security.insecure")
      --builder string           Override the configured builder instance
      --build-arg list           Set build-time variables
      --build-context list       Additional build contexts (e.g., name=path)
      --disable-content-trust    Skip image verification (default true)
      --cache-from strings       Images to consider as cache sources
      --cache-to list            Cache export destinations (e.g., "user/app:cache",
                                 "type=local,dest=path/to/dir")
      --cgroup-parent string     Set the parent cgroup for the "RUN" instructions during build
      --compress                 Compress the build context using gzip
      --cpu-period int           Limit the CPU CFS (Completely Fair Scheduler) period
      --cpu-quota int            Limit the CPU CFS (Completely Fair Scheduler) quota
  -c, --cpu-shares int           CPU shares (relative weight)
      --cpuset-cpus string       CPUs in which to allow execution (0-3, 0,1)
      --cpuset-mems string       MEMs in which to allow execution (0-3, 0,1)
      --explain                  Say for each step whether and why it was done again, and
                                 what it cost
      --call string              Set method for evaluating build ("check", "outline", "targets")
                                 (default "build")
      --check                    Shorthand for "--call=check" (default false)
  -D, --debug                    Enable debug logging
  -f, --file string              Name of the Dockerfile (Default is "PATH/Dockerfile")
      --force-rm                 Always remove intermediate containers
      --iidfile string           Write the image ID to the file
      --label list               Set metadata for an image
      --load                     Shorthand for "--output=type=docker"
  -m, --memory bytes             Memory limit
      --memory-swap bytes        Swap limit equal to memory plus swap: -1 to enable unlimited swap
      --metadata-file string     Write build result metadata to a file
      --network string           Set the networking mode for the RUN instructions during build
                                 (default "default")
      --no-cache                 Do not use cache when building the image
      --no-cache-filter list     Do not cache specified stages
      --on-error string          What to do when a step fails ("shell": open one in its file
                                 system, on a terminal)
  -o, --output list              Output destination (format: "type=local,dest=path")
      --platform string          Set platform if server is multi-platform capable
      --progress string          Set type of progress output ("auto", "plain", "tty")
                                 (default "auto")
      --provenance string        Shorthand for "--attest=type=provenance"
      --pull                     Always attempt to pull a newer version of the image
      --push                     Shorthand for "--output=type=registry,push=true"
  -q, --quiet                    Suppress the build output and print image ID on success
      --rm                       Remove intermediate containers after a successful build (default
                                 true)
      --sbom string              Shorthand for "--attest=type=sbom"
      --secret list              Secret to expose to the build (format:
                                 "id=mysecret[,src=/local/secret]")
      --security-opt strings     Security options
      --shm-size bytes           Size of "/dev/shm"
      --ssh list                 SSH agent socket or keys to expose to the build (format:
                                 "default|<id>[=<socket>|<key>[,<key>]]")
      --squash                   Squash newly built layers into a single new layer
  -t, --tag list                 Name and optionally a tag in the "name:tag" format
      --target string            Set the target build stage to build.
      --ulimit ulimit            Ulimit options (default [])
  -v, --volume list              Bind mount a volume while RUN instructions are executed
""",
        "isolation:string",
    ),
    least=1,
    most=1,
    checks={
        "label": environment.check_label,
        "add-host": limits.parse_extra_host,
        "ulimit": limits.parse_ulimit,
        "memory": parse_size,
        "memory-swap": limits.swap_bytes,
    },
    aliases=("image build", "build", "builder build"),
)
