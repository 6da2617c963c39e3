"""Instructions to vertices and steps: variables expanded, paths made absolute. Pure.

Owns the scopes of ARG and ENV and the order of everything; file contents play no part here.
"""

import hashlib
import posixpath
import re
from collections.abc import Mapping

from ..dockerfile import address, metadata, modes, runmount
from ..dockerfile import instructions as df
from ..dockerfile.expand import expand, expand_words
from ..dockerfile.ignore import IgnoreRules
from ..dockerfile.lexer import Heredoc, heredoc_header, parse_check
from ..dockerfile.parser import Source
from ..dockerfile.problem import at_line, placed
from ..errors import InvalidInput, OnggiError
from ..spec.image import ImageConfig, config_document
from ..spec.mount import MountRequest
from ..spec.platform import Platform
from ..typed import NamedTuple
from . import graph_lint
from .graph import (
    CONTEXT,
    BaseOp,
    CopyOp,
    GitOp,
    MergeOp,
    Operation,
    Plan,
    RunMount,
    RunOp,
    Step,
    UrlOp,
    Vertex,
    WorkdirOp,
    canonical,
    operation_digest,
)
from .graph_select import (
    Arguments,
    ImageWanted,
    Selection,
    Triggers,
    declared_arguments,
    origin_of,
)
from .hints import env_warnings, outside_context

SCRIPTS = "/dev/pipes"  # where docker puts a heredoc with a #! line
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


class PlanOptions(NamedTuple):
    """What a plan depends on beside the file and the images. `context_name` is for messages."""

    arguments: Arguments
    labels: Mapping[str, str]
    network_mode: str
    mounts: tuple[MountRequest, ...]
    extra_hosts: tuple[str, ...]
    shm_bytes: int
    context_name: str
    epoch: int | None = None
    allowed: frozenset[str] = frozenset()  # --allow: network.host, security.insecure
    ignore_rules: IgnoreRules = IgnoreRules(())


Images = Mapping[ImageWanted, ImageConfig]


class StageState(NamedTuple):
    """Where a stage stands. `variables` is its ENV and ARG together, `args` the declared ARGs that
    `RUN` history names; `history` are indices of steps."""

    vertex: int
    config: ImageConfig
    variables: dict[str, str]
    args: dict[str, str]
    history: tuple[int, ...] = ()
    cmd_set: bool = False


def plan(
    file: df.Dockerfile,
    selection: Selection,
    images: Images,
    triggers: Triggers,
    options: PlanOptions,
) -> Plan:
    """Raises InvalidInput naming the line."""
    planner = _Planner(file, selection, images, triggers, options)
    for arg in file.arguments:
        planner.global_step(arg)
    for index in selection.needed:
        planner.stage(index)
    return planner.finish()


class _Planner:
    def __init__(
        self,
        file: df.Dockerfile,
        selection: Selection,
        images: Images,
        triggers: Triggers,
        options: PlanOptions,
    ) -> None:
        self.file = file
        self.selection = selection
        self.images = images
        self.triggers = triggers
        self.options = options
        self.given = options.arguments.build_args
        self.vertices: list[Vertex] = []
        self.known: dict[str, int] = {}
        self.steps: list[Step] = []
        self.done: dict[int, StageState] = {}
        self.names: dict[str, int] = {}
        self.warnings: list[str] = list(file.warnings)
        self.findings = list(graph_lint.lint(file))
        said = self.given.get("BUILDKIT_DOCKERFILE_CHECK")
        self.check = file.check if said is None else parse_check(said)[0]
        self.at = file.stages[0].base.at
        self.index = 0
        self.stage_workdir = ""  # what a WORKDIR of this stage has set
        self.workdirs: dict[int, str] = {}
        self.label = ""

    def vertex(self, operation: Operation, *inputs: int) -> int:
        """Equal definitions are one vertex, so that stages share work."""
        digest = operation_digest(operation, tuple(self.vertices[i].digest for i in inputs))
        if digest not in self.known:
            self.known[digest] = len(self.vertices)
            self.vertices.append(Vertex(operation, inputs, digest))
        return self.known[digest]

    def global_step(self, arg: df.Arg) -> None:
        base = self.vertex(BaseOp())
        self.steps.append(Step(arg.at.text, "", arg.at, base, False, "", ""))

    def stage(self, index: int) -> None:
        stage = self.file.stages[index]
        self.index = index
        base = self.selection.bases[index].stage
        self.stage_workdir = self.workdirs.get(base, "") if base is not None else ""
        many = len(self.file.stages) > 1
        self.label = stage.base.name or (f"stage-{index}" if many else "")
        state = self.begin(index)
        self.step(stage.base.at, state, makes=False, created_by="")
        for item in (*self.triggers.get(index, ()), *stage.instructions):
            state = self.instruction(item, state)
        self.done[index] = state
        self.workdirs[index] = self.stage_workdir
        if stage.base.name:
            self.names[stage.base.name] = index

    def begin(self, index: int) -> StageState:
        base = self.selection.bases[index]
        if base.stage is not None:
            state = self.done[base.stage]
            state = state._replace(config=state.config._replace(on_build=()))
        elif base.image is not None:
            config = self.images[base.image]
            at = self.file.stages[index].base.at
            self.findings += graph_lint.other_platform(
                base.image.reference, config.platform, base.platform, at
            )
            state = StageState(self.vertex(BaseOp(config.diff_ids)), config, {}, {})
        else:
            vertex = self.vertex(BaseOp())
            if base.context:
                files = CopyOp((".",), "/", f"{CONTEXT}:{base.context}", epoch=self.options.epoch)
                vertex = self.vertex(files, vertex)
            state = StageState(vertex, ImageConfig(base.platform, ()), {}, {})
        env = state.config.env
        if "PATH" not in metadata.split_env(env):
            env = (*env, f"PATH={metadata.DEFAULT_PATH}")
        config = state.config._replace(env=env, on_build=())
        variables = {**state.variables, **metadata.split_env(env)}
        return state._replace(config=config, variables=variables, cmd_set=False)

    def step(self, at: Source, state: StageState, *, makes: bool, created_by: str) -> StageState:
        """Note the instruction; returns the state with its history entry."""
        config = state.config._replace(history=(), diff_ids=(), created="")
        short = hashlib.sha256(canonical(config_document(config))).hexdigest()
        number = len(self.steps)
        self.steps.append(Step(at.text, self.label, at, state.vertex, makes, created_by, short))
        return state._replace(history=(*state.history, number)) if created_by else state

    def expand(self, text: str, state: StageState) -> str:
        if "$" in text:
            known = dict.fromkeys((*state.args, *PROXIES, *map(str.lower, PROXIES)), "")
            self.findings += graph_lint.undefined(text, known | state.variables, self.at)
        return expand(text, state.variables, self.file.escape)

    def instruction(self, item: df.Instruction, state: StageState) -> StageState:
        self.at = item.at
        try:
            return self.evaluate(item, state)
        except OnggiError as error:
            if error.message.startswith("dockerfile parse error"):
                raise
            if isinstance(error, InvalidInput):
                text = item.at.text
                raise at_line(error.message, item.at.line, text, hint=error.hint) from error
            raise placed(error, item.at.line, item.at.text) from error

    def evaluate(self, item: df.Instruction, state: StageState) -> StageState:
        if isinstance(item, df.Run):
            return self.run(item, state)
        if isinstance(item, df.Copy):
            return self.copy(item, state)
        if isinstance(item, df.Value) and item.keyword == "WORKDIR":
            return self.workdir(item, state)
        if isinstance(item, df.Arg):
            return self.arg(item, state)
        if isinstance(item, df.Env):
            return self.env(item, state)
        config, created_by = self.metadata(item, state)
        is_cmd = isinstance(item, df.Command) and item.keyword == "CMD"
        state = state._replace(config=config, cmd_set=state.cmd_set or is_cmd)
        return self.step(item.at, state, makes=False, created_by=created_by)

    def metadata(self, item: df.Instruction, state: StageState) -> tuple[ImageConfig, str]:
        config = state.config
        if isinstance(item, df.Label):
            pairs = [(self.expand(k, state), self.expand(v, state)) for k, v in item.pairs]
            shown = " ".join(f"{name}={value}" for name, value in pairs)
            return config._replace(labels={**config.labels, **dict(pairs)}), f"LABEL {shown}"
        if isinstance(item, df.Command):
            self.findings += graph_lint.shell_form(item, config.shell)
            return metadata.command(config, item.keyword, item.args, item.shell, state.cmd_set)
        if isinstance(item, df.Health):
            return metadata.health(config, item.check)
        if isinstance(item, df.Values) and item.keyword == "EXPOSE":
            words = [expand_words(v, state.variables, self.file.escape) for v in item.values]
            return metadata.expose(config, [word for group in words for word in group])
        if isinstance(item, df.Values):
            return metadata.volume(config, tuple(self.expand(v, state) for v in item.values))
        assert isinstance(item, df.Value)
        return self.single(item, state)

    def single(self, item: df.Value, state: StageState) -> tuple[ImageConfig, str]:
        config = state.config
        if item.keyword == "ONBUILD":
            return config._replace(on_build=(*config.on_build, item.value)), ""
        if item.keyword == "MAINTAINER":
            return config._replace(author=item.value), f"MAINTAINER {item.value}"
        value = self.expand(item.value, state)
        if item.keyword == "STOPSIGNAL":
            return metadata.stop_signal(config, value)
        return config._replace(user=value), f"USER {value}"

    def arg(self, item: df.Arg, state: StageState) -> StageState:
        variables, args, shown = dict(state.variables), dict(state.args), []
        for name, default in item.pairs:
            value = default
            if name in self.given:
                value = self.given[name]
            elif default is not None:
                value = expand(default, variables, self.file.escape)
            else:
                value = self.selection.globals.get(name)
            if value is not None:
                variables[name] = value
            args[name] = value or ""
            shown.append(name if value is None else f"{name}={value}")
        state = state._replace(variables=variables, args=args)
        return self.step(item.at, state, makes=False, created_by=f"ARG {' '.join(shown)}")

    def env(self, item: df.Env, state: StageState) -> StageState:
        pairs = [(self.expand(k, state), self.expand(v, state)) for k, v in item.pairs]
        variables, env = dict(state.variables), state.config.env
        for name, value in pairs:
            if not name or "=" in name or "\0" in value:
                raise InvalidInput(f"ENV name {name[:80]!r} is not a name")
            variables[name] = value
            env = metadata.set_env(env, name, value)
        names = [name for name, _ in pairs]
        self.warnings += env_warnings(names, item.at.line)
        state = state._replace(variables=variables, config=state.config._replace(env=env))
        shown = " ".join(f"{name}={value}" for name, value in pairs)
        return self.step(item.at, state, makes=False, created_by=f"ENV {shown}")

    def workdir(self, item: df.Value, state: StageState) -> StageState:
        written = self.expand(item.value, state)
        self.findings += graph_lint.relative_workdir(written, self.stage_workdir, item.at)
        path = self.stage_workdir = metadata.working_dir(state.config.working_dir, written)
        state = state._replace(config=state.config._replace(working_dir=path))
        if path != "/":
            operation = WorkdirOp(path, state.config.user, self.options.epoch)
            state = state._replace(vertex=self.vertex(operation, state.vertex))
        return self.step(item.at, state, makes=path != "/", created_by=f"WORKDIR {path}")

    def run(self, item: df.Run, state: StageState) -> StageState:
        options = self.options
        _check_run_flags(item, options)
        args = _run_arguments(item)
        lent, inputs = self.mounts(item, state)
        if item.heredocs and args[0].startswith("#!"):
            name, vertex = self.script(item.heredocs[0], args[0])
            inputs = (*inputs, vertex)
            lent = (*lent, RunMount("bind", SCRIPTS, origin=len(inputs)))
            args = (f"{SCRIPTS}/{name}",)
        if item.shell:
            args = (*(state.config.shell or metadata.DEFAULT_SHELL), args[0])
        operation = RunOp(
            args=args,
            env=tuple(f"{name}={value}" for name, value in state.variables.items()),
            working_dir=state.config.working_dir or "/",
            user=state.config.user,
            network_mode={"": options.network_mode, "default": options.network_mode}.get(
                item.network, item.network
            ),
            mounts=options.mounts,
            extra_hosts=options.extra_hosts,
            shm_bytes=options.shm_bytes,
            platform=str(state.config.platform),
            lent=lent,
            insecure=item.security == "insecure",
            epoch=options.epoch,
            devices=item.devices,
            hostname=self.given.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        )
        state = state._replace(vertex=self.vertex(operation, state.vertex, *inputs))
        declared = [f"{name}={state.variables.get(name, v)}" for name, v in state.args.items()]
        shown = [f"|{len(declared)}", *declared] if declared else []
        text = " ".join(("RUN", *shown, *args, "# buildkit"))
        return self.step(item.at, state, makes=True, created_by=text)

    def script(self, document: Heredoc, text: str) -> tuple[str, int]:
        """A heredoc with a `#!` line is a file to run: (its name, the vertex that holds it)."""
        name = posixpath.basename(document.name) or "script"
        file = Heredoc(name, text, False, False)
        operation = CopyOp((), f"/{name}", chmod="755", inline=(file,), epoch=self.options.epoch)
        return name, self.vertex(operation, self.vertex(BaseOp()))

    def mounts(
        self, item: df.Run, state: StageState
    ) -> tuple[tuple[RunMount, ...], tuple[int, ...]]:
        """The --mount of a RUN, and the vertices they come from."""
        found: list[RunMount] = []
        inputs: list[int] = []
        agents = 0
        for text in item.mounts:
            wanted = runmount.parse_mount(text, lambda value: self.expand(value, state))
            target = wanted.target
            if wanted.kind == "ssh" and not target:
                target, agents = f"{runmount.AGENTS}.{agents}", agents + 1
            if target:
                target = metadata.working_dir(state.config.working_dir, target)
                if target == "/":
                    raise InvalidInput(f'invalid mount target "{wanted.target}"')
            if wanted.kind in ("bind", "cache") and (wanted.origin or wanted.kind == "bind"):
                inputs.append(self.mount_origin(item, wanted, state))
            fields = wanted._asdict() | {"target": target, "origin": 0}
            if wanted.kind == "bind" or wanted.origin:
                fields["origin"] = len(inputs)
            if wanted.kind == "cache" and (space := self.given.get("BUILDKIT_CACHE_MOUNT_NS")):
                fields["id"] = f"{space}/{wanted.id}"
            found.append(RunMount(**fields))
        targets = [mount.target for mount in found if mount.target]
        for target in targets:
            if targets.count(target) > 1:
                raise InvalidInput(f"Duplicate mount point: {target}")
        return tuple(found), tuple(inputs)

    def mount_origin(self, item: df.Run, wanted: runmount.Mount, state: StageState) -> int:
        """The vertex a mount shows: another stage or image whole, of a context no more than the
        source, so that nothing else in it matters."""
        inputs: tuple[int, ...] = ()
        origin = CONTEXT
        if wanted.origin:
            origin, inputs = self.origin(wanted.origin, item.at)
        if inputs:
            return inputs[0]
        _check_context_source("RUN --mount", wanted.source, self.options.context_name)
        source = posixpath.normpath(wanted.source.lstrip("/") or ".")
        whole = source == "."
        operation = CopyOp((source,), "/", origin, parents=not whole, epoch=self.options.epoch)
        return self.vertex(operation, self.vertex(BaseOp()))

    def copy(self, item: df.Copy, state: StageState) -> StageState:
        grow = self.expand
        sources = tuple(grow(source, state) for source in item.sources)
        written = grow(item.destination, state)
        copied, origin, inputs = self.copy_source(item, sources, grow(item.checksum, state))
        inline = tuple(
            doc._replace(content=expand(doc.content, state.variables, quotes=False))
            if doc.expand else doc for doc in item.inline
        )  # fmt: skip
        local = item.keyword == "ADD" and origin == CONTEXT
        if origin == CONTEXT:
            for source in sources:
                rules = self.options.ignore_rules
                self.findings += graph_lint.ignored_file(item.keyword, source, rules, item.at)
        operation = CopyOp(
            sources=copied,
            destination=metadata.destination(state.config.working_dir, written),
            origin=origin,
            unpack=local if item.unpack is None else item.unpack,
            parents=item.parents,
            chown=grow(item.chown, state),
            chmod=_check_mode(grow(item.chmod, state)),
            excludes=tuple(grow(pattern, state) for pattern in item.excludes),
            inline=inline,
            epoch=self.options.epoch,
        )
        if item.link:
            _check_link(operation)
            made = self.vertex(operation, self.vertex(BaseOp()), *inputs)
            state = state._replace(vertex=self.vertex(MergeOp(), state.vertex, made))
        else:
            state = state._replace(vertex=self.vertex(operation, state.vertex, *inputs))
        flags = ["--parents"] if item.parents else []
        flags += [f"--chown={operation.chown}"] if operation.chown else []
        flags += [f"--chmod={operation.chmod}"] if operation.chmod else []
        documents = [f"<<{doc.name}" for doc in inline]
        words = (item.keyword, *flags, *sources, *documents, written, "# buildkit")
        return self.step(item.at, state, makes=True, created_by=" ".join(words))

    def copy_source(
        self, item: df.Copy, sources: tuple[str, ...], checksum: str
    ) -> tuple[tuple[str, ...], str, tuple[int, ...]]:
        """(CopyOp.sources, CopyOp.origin, the second input)."""
        remote = [source for source in sources if not item.stage and _is_address(item, source)]
        if checksum and len(sources) != 1:
            raise InvalidInput("checksum can't be specified for multiple sources")
        if checksum and not remote:
            raise InvalidInput("checksum requires HTTP(S) or Git sources")
        if not remote:
            origin, inputs = self.origin(item.stage, item.at) if item.stage else (CONTEXT, ())
            if origin:
                for source in sources:
                    _check_context_source(item.keyword, source, self.options.context_name)
            return sources, origin, inputs
        if len(sources) + len(item.inline) > 1:
            return self.gathered(item, sources, checksum)
        repository = address.repository(remote[0])
        operation: Operation
        if repository is None:
            name = address.file_name(remote[0])
            sums = _check_sum(checksum)
            operation = UrlOp(remote[0], name, sums, self.options.epoch)
        else:
            repository = repository._replace(commit=checksum or repository.commit)
            operation, name = GitOp(*repository, item.keep_git_dir), "/"
        return (name,), "", (self.vertex(operation, self.vertex(BaseOp())),)

    def gathered(
        self, item: df.Copy, sources: tuple[str, ...], checksum: str
    ) -> tuple[tuple[str, ...], str, tuple[int, ...]]:
        """Several sources, some of them remote, as one origin: files from the web by their names
        (of two with the same the later counts), whatever else in a directory of its own."""
        base, epoch = self.vertex(BaseOp()), self.options.epoch
        names: list[str] = []
        made: list[int] = []
        for index, source in enumerate(sources):
            repository = address.repository(source)
            if repository is None and address.is_url(source):
                names.append(address.file_name(source))
                file = UrlOp(source, names[-1], _check_sum(checksum), epoch)
                made.append(self.vertex(file, base))
                continue
            names.append(f".{index}/")
            part = CopyOp((".",), f"/.{index}/", "", epoch=epoch)
            if repository is not None:
                repository = repository._replace(commit=checksum or repository.commit)
                tree = self.vertex(GitOp(*repository, item.keep_git_dir), base)
                made.append(self.vertex(part, base, tree))
                continue
            _check_context_source(item.keyword, source, self.options.context_name)
            unpack = item.unpack is not False
            part = part._replace(sources=(source,), origin=CONTEXT, unpack=unpack)
            made.append(self.vertex(part, base))
        stack = made[0]
        for vertex in made[1:]:
            stack = self.vertex(MergeOp(), stack, vertex)
        return tuple(dict.fromkeys(names)), "", (stack,)

    def origin(self, name: str, at: Source) -> tuple[str, tuple[int, ...]]:
        """(CopyOp.origin, the second input) of what from= names."""
        count, arguments = len(self.file.stages), self.options.arguments
        found = origin_of(name, at, self.index, self.names, count, arguments)
        if isinstance(found, str):
            return f"{CONTEXT}:{found}", ()
        if isinstance(found, ImageWanted):
            return "", (self.vertex(BaseOp(self.images[found].diff_ids)),)
        return "", (self.done[found].vertex,)

    def finish(self) -> Plan:
        state = self.done[self.selection.target]
        unused = sorted(
            name
            for name in set(self.given) - declared_arguments(self.file, self.triggers)
            if name.upper() not in PROXIES and not name.startswith("BUILDKIT_")
            and name not in self.selection.globals and name != "SOURCE_DATE_EPOCH"
        )  # fmt: skip
        if unused:
            self.warnings.append(f"One or more build-args [{' '.join(unused)}] were not consumed")
        labels = {**state.config.labels, **self.options.labels}
        platform: Platform = self.selection.bases[self.selection.target].platform
        config = state.config._replace(labels=labels, platform=platform.normalized())
        return Plan(
            tuple(self.vertices), tuple(self.steps), state.vertex, config, state.history,
            tuple(dict.fromkeys(self.warnings)), graph_lint.kept(self.findings, self.check),
            self.check,
        )  # fmt: skip


def _run_arguments(item: df.Run) -> tuple[str, ...]:
    """The command with its heredocs: a lone `<<NAME` is the script itself, others are left to the
    shell."""
    if not item.heredocs:
        return item.args
    if not item.shell:
        raise InvalidInput("RUN in JSON form cannot have a heredoc")
    if heredoc_header(item.args[0].strip()):
        return (item.heredocs[0].text,)
    bodies = "".join(f"\n{doc.content}{doc.name}" for doc in item.heredocs)
    return (item.args[0] + bodies,)


def _check_run_flags(item: df.Run, options: PlanOptions) -> None:
    """More rights than a container has are the user's to give, never the file's (SECURITY D3)."""
    if item.security not in ("", "sandbox", "insecure"):
        raise InvalidInput(f"invalid security mode: {item.security[:40]}: sandbox or insecure")
    if item.network not in ("", "default", "none", "host"):
        raise InvalidInput(f"invalid network mode: {item.network[:40]}: default, none or host")
    wanted = {"security.insecure"} if item.security == "insecure" else set()
    if item.network == "host" and options.network_mode != "host":
        wanted.add("network.host")
    for entitlement in sorted(wanted - options.allowed):
        raise InvalidInput(
            f"{entitlement} is not allowed",
            hint=f"if you trust this Dockerfile: onggi build --allow {entitlement}",
        )


def _is_address(item: df.Copy, source: str) -> bool:
    found = address.is_url(source) or address.repository(source) is not None
    if found and item.keyword == "COPY":
        raise InvalidInput("source can't be a URL for COPY", hint=f"ADD {source} fetches it")
    return found


def _check_link(operation: CopyOp) -> None:
    """A linked layer knows nothing of the stage below, so not its users either."""
    if operation.chown and not re.fullmatch(r"[0-9]+(:[0-9]+)?", operation.chown):
        raise InvalidInput(
            f"--link with --chown={operation.chown[:40]}: a linked layer knows no user names",
            hint="give the numbers, for example --chown=1000:1000",
        )


def _check_sum(text: str) -> str:
    if text and not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise InvalidInput(f"invalid checksum {text[:80]!r}: sha256: and 64 hexadecimal digits")
    return text


def _check_context_source(keyword: str, source: str, context_name: str) -> None:
    """The context is all there is: nothing above it, and never clamped in silence."""
    normal = posixpath.normpath(source.lstrip("/") or ".")
    if normal == ".." or normal.startswith("../"):
        raise outside_context(keyword, source, normal, context_name)


def _check_mode(text: str) -> str:
    if text:
        modes.parse(text)
    return text
