"""Dockerfile text to a plan: scopes, stages, configuration, history, digests. No file is read."""

from collections.abc import Mapping

import pytest

from onggi.build.graph import CONTEXT, CopyOp, Plan, RunOp, WorkdirOp, operation_digest
from onggi.build.graph_plan import PlanOptions, plan
from onggi.build.graph_select import Arguments, ImageWanted, select
from onggi.dockerfile.ignore import IgnoreRules
from onggi.dockerfile.instructions import read, trigger
from onggi.errors import InvalidInput
from onggi.spec.digest import Digest
from onggi.spec.image import Healthcheck, ImageConfig
from onggi.spec.platform import Platform

AMD64 = Platform("linux", "amd64")
LAYER = Digest.of(b"layer")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE = ImageConfig(AMD64, (LAYER,), env=("PATH=/bin", "LANG=C"), cmd=("sh",), working_dir="/srv")


def make(
    text: str,
    *,
    build_args: Mapping[str, str] | None = None,
    target: str = "",
    base: ImageConfig = BASE,
    contexts: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
    ignored: IgnoreRules = IgnoreRules(()),  # noqa: B008 - never changed
) -> Plan:
    file = read(text.encode())
    arguments = Arguments(build_args or {}, target, AMD64, AMD64, contexts)
    selection = select(file, arguments, {})
    triggers = {
        index: tuple(trigger(line, 1) for line in base.on_build)
        for index in selection.needed
        if selection.bases[index].image is not None and base.on_build
    }
    selection = select(file, arguments, triggers)
    images: dict[ImageWanted, ImageConfig] = dict.fromkeys(selection.images, base)
    options = PlanOptions(arguments, labels or {}, "bridge", (), (), 64 << 20, "/home/me/site",
                          ignore_rules=ignored)  # fmt: skip
    return plan(file, selection, images, triggers, options)


def runs(made: Plan) -> list[RunOp]:
    return [v.operation for v in made.vertices if isinstance(v.operation, RunOp)]


def copies(made: Plan) -> list[CopyOp]:
    return [v.operation for v in made.vertices if isinstance(v.operation, CopyOp)]


def created_by(made: Plan) -> list[str]:
    return [made.steps[index].created_by for index in made.history]


def refuse(text: str, message: str, **options: object) -> InvalidInput:
    with pytest.raises(InvalidInput, match=message) as caught:
        make(text, **options)  # type: ignore[arg-type]
    return caught.value


# -- environment, arguments ---------------------------------------------------------------------


def test_env_expands_against_the_state_before_the_instruction() -> None:
    made = make("FROM a\nENV A=1\nENV A=2 B=$A C=${X:-d}\nENV OLD $A b  'c'\n")
    assert made.config.env == ("PATH=/bin", "LANG=C", "A=2", "B=1", "C=d", "OLD=2 b  c")
    assert created_by(made)[1] == "ENV A=2 B=1 C=d"


def test_arg_scopes() -> None:
    text = "ARG V=1\nARG W=$V.0\nFROM a:$W\nARG V\nARG U=x$V\nRUN env\n"
    made = make(text)
    assert "V=1" in runs(made)[0].env
    assert "U=x1" in runs(made)[0].env
    assert "V=1" not in made.config.env
    assert created_by(made)[-1] == "RUN |2 V=1 U=x1 /bin/sh -c env # buildkit"
    given = make(text, build_args={"V": "2"})
    assert {"V=2", "U=x2"} < set(runs(given)[0].env)


def test_an_undeclared_global_argument_is_not_seen_in_a_stage() -> None:
    assert not [entry for entry in runs(make("ARG V=1\nFROM a\nRUN x\n"))[0].env if "V=" in entry]


def test_a_build_arg_that_nothing_declares_is_a_warning() -> None:
    made = make("FROM a\nRUN x\n", build_args={"NOPE": "1", "HTTP_PROXY": "http://p"})
    assert made.warnings == ("One or more build-args [NOPE] were not consumed",)
    assert all("PROXY" not in entry for entry in runs(made)[0].env)


def test_predefined_platform_arguments() -> None:
    made = make("FROM --platform=$BUILDPLATFORM a\nARG TARGETARCH\nARG TARGETPLATFORM\nRUN x\n")
    assert {"TARGETARCH=amd64", "TARGETPLATFORM=linux/amd64"} < set(runs(made)[0].env)


def test_a_child_stage_inherits_arguments_and_configuration() -> None:
    made = make("FROM a AS base\nARG V=1\nENV E=2\nUSER u\nFROM base\nRUN x\n")
    assert {"V=1", "E=2"} < set(runs(made)[0].env)
    assert runs(made)[0].user == "u"
    assert len(made.history) == 4


def test_an_unknown_python_variable_is_a_warning() -> None:
    made = make("FROM a\nENV PYTHONDONTWRITEBYCODE 1\nENV PYTHONUNBUFFERED=1 PORT=80\n")
    assert made.warnings == (
        "line 2: ENV PYTHONDONTWRITEBYCODE is not read by Python – "
        "did you mean PYTHONDONTWRITEBYTECODE?",
    )


# -- metadata -----------------------------------------------------------------------------------


def test_metadata_and_buildkits_history() -> None:
    made = make(
        "FROM a\n"
        "LABEL k=\"v w\" n=$LANG\n"
        "EXPOSE 8000 53/udp 70-71\n"
        "VOLUME /data /more\n"
        "USER app:app\n"
        "STOPSIGNAL SIGQUIT\n"
        "MAINTAINER me\n"
        "SHELL [\"/bin/bash\", \"-c\"]\n"
        "HEALTHCHECK --interval=90s CMD true\n"
        "ENTRYPOINT [\"./x\"]\n"
        "CMD a b\n"
        "ONBUILD RUN x\n"
    )  # fmt: skip
    config = made.config
    assert config.labels == {"k": "v w", "n": "C"}
    assert config.exposed_ports == ("53/udp", "70/tcp", "71/tcp", "8000/tcp")
    assert config.volumes == ("/data", "/more")
    assert (config.user, config.stop_signal, config.author) == ("app:app", "SIGQUIT", "me")
    assert config.healthcheck == Healthcheck(("CMD-SHELL", "true"), 90 * 10**9)
    assert (config.entrypoint, config.cmd) == (("./x",), ("/bin/bash", "-c", "a b"))
    assert config.on_build == ("RUN x",)
    assert created_by(made) == [
        "LABEL k=v w n=C",
        "EXPOSE map[53/udp:{} 70/tcp:{} 71/tcp:{} 8000/tcp:{}]",
        "VOLUME [/data /more]",
        "USER app:app",
        "STOPSIGNAL SIGQUIT",
        "MAINTAINER me",
        "SHELL [/bin/bash -c]",
        "HEALTHCHECK {Test:[CMD-SHELL true] Interval:1m30s Timeout:0s StartPeriod:0s "
        "StartInterval:0s Retries:0}",
        'ENTRYPOINT ["./x"]',
        'CMD ["/bin/bash" "-c" "a b"]',
    ]
    assert len(made.vertices) == 1


def test_entrypoint_drops_the_bases_command_but_not_the_files() -> None:
    assert make("FROM a\nENTRYPOINT x\n").config.cmd == ()
    assert make('FROM a\nCMD ["y"]\nENTRYPOINT ["x"]\n').config.cmd == ("y",)


def test_scratch_gets_a_path_and_labels_come_last() -> None:
    made = make("FROM scratch\nLABEL a=1 b=2\n", labels={"b": "3"})
    assert made.config.env == (PATH,)
    assert made.config.labels == {"a": "1", "b": "3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EXPOSE 99999/xyz", "invalid proto: xyz"),
        ("EXPOSE 99999", "not a range within"),
        ("EXPOSE 9-8", "not a range within"),
        ("EXPOSE x", "invalid containerPort"),
        ("STOPSIGNAL 99", "Invalid signal: 99"),
        ("STOPSIGNAL SIGNOPE", "Invalid signal"),
        ("VOLUME $NOPE", "can not be an empty string"),
        ("COPY --chmod=9 a /", "invalid chmod parameter"),
        ("COPY --chmod=10000 a /", "invalid chmod parameter"),
        ("COPY --checksum=x a /", "unknown flag: --checksum"),
        ("COPY https://x/y /", "source can't be a URL"),
        ("COPY --from=$X a /", "variable expansion is not supported for --from"),
        ("COPY --from=7 a /", "invalid stage index 7"),
        ("ENV A=${", "missing '}'"),
        ("RUN --security=insecure x", "not allowed"),
        ("RUN --network=weird x", "invalid network mode"),
    ],
)
def test_refusals_name_the_line(text: str, message: str) -> None:
    assert "on line 2: " in refuse(f"FROM a\n{text}\n", message).message


def test_sources_from_everywhere_are_one_origin() -> None:
    made = make("FROM a\nADD https://x/y a https://x/z.git#v1 /d/\n")
    kinds = {type(v.operation).__name__ for v in made.vertices}
    assert kinds == {"BaseOp", "UrlOp", "CopyOp", "GitOp", "MergeOp"}
    copy = copies(made)[-1]
    assert copy.sources == ("y", ".1/", ".2/") and copy.destination == "/d/" and not copy.unpack
    local = next(copy for copy in copies(made) if copy.origin == CONTEXT)
    assert local.sources == ("a",) and local.destination == "/.1/" and local.unpack
    refuse("FROM a\nADD https://x/y ../a /\n", "outside the build context")


# -- directories, copies, runs ------------------------------------------------------------------


def test_workdir_is_relative_to_the_last_and_makes_a_directory() -> None:
    made = make("FROM a\nWORKDIR x\nWORKDIR ../y/./z/\nWORKDIR /\n")
    assert made.config.working_dir == "/"
    wanted = [WorkdirOp("/srv/x"), WorkdirOp("/srv/y/z")]
    assert [v.operation for v in made.vertices[1:]] == wanted


@pytest.mark.parametrize(
    ("destination", "expected"),
    [(".", "/srv/"), ("./", "/srv/"), ("/x", "/x"), ("/x/", "/x/"), ("x/y/..", "/srv/x/"),
     ("..", "/"), ("/", "/"), ("$D/", "/d e/")],
)  # fmt: skip
def test_copy_destinations(destination: str, expected: str) -> None:
    made = make(f"FROM a\nENV D='/d e'\nCOPY f {destination}\n")
    assert copies(made)[0].destination == expected


def test_copy_fields_and_history() -> None:
    made = make("FROM a\nARG U=app\nCOPY --chown=$U:$U --chmod=0640 a b /d/\nADD x.tar /d\n")
    copy, add = copies(made)
    assert (copy.chown, copy.chmod, copy.origin, copy.unpack) == ("app:app", "0640", CONTEXT, False)
    assert add.unpack
    assert created_by(made)[1:] == [
        "COPY --chown=app:app --chmod=0640 a b /d/ # buildkit",
        "ADD x.tar /d # buildkit",
    ]


def test_inline_files_expand_unless_quoted() -> None:
    made = make("FROM a\nCOPY <<A <<'B' /d/\n$LANG\nA\n$LANG\nB\n")
    assert [doc.content for doc in copies(made)[0].inline] == ["C\n", "$LANG\n"]
    assert created_by(made)[-1] == "COPY <<A <<B /d/ # buildkit"


def test_run_forms_and_heredocs() -> None:
    made = make('FROM a\nRUN a "b"\nRUN ["x", "$LANG"]\nRUN <<E\none\ntwo\nE\nRUN cat <<E\nx\nE\n')
    assert [run.args for run in runs(made)] == [
        ("/bin/sh", "-c", 'a "b"'),
        ("x", "$LANG"),
        ("/bin/sh", "-c", "one\ntwo\n"),
        ("/bin/sh", "-c", "cat <<E\nx\nE"),
    ]
    assert runs(made)[0].working_dir == "/srv"


@pytest.mark.parametrize("source", ["../app/", "./../app", "a/../../app", "/../app"])
def test_a_source_above_the_context_names_both_paths_and_two_ways_out(source: str) -> None:
    error = refuse(f"FROM a\nCOPY {source} /app/\n", "/home/me/app is outside the build context")
    assert "/home/me/site" in error.message
    assert error.hint is not None
    assert "onggi build -f site/Dockerfile /home/me and write COPY app" in error.hint
    assert "--build-context NAME=/home/me/app and COPY --from=NAME ." in error.hint


# -- stages -------------------------------------------------------------------------------------

STAGES = """FROM a AS one
RUN one
FROM b AS two
RUN two
FROM scratch AS three
COPY --from=one /x /x
FROM three
COPY --from=1 /y /y
COPY --from=nginx:latest /z /z
"""


def test_only_needed_stages_are_planned() -> None:
    assert [run.args[2] for run in runs(make(STAGES))] == ["one", "two"]
    assert [run.args[2] for run in runs(make(STAGES, target="three"))] == ["one"]
    assert [run.args[2] for run in runs(make(STAGES, target="two"))] == ["two"]
    assert [run.args[2] for run in runs(make(STAGES, target="1"))] == ["two"]


def test_copy_from_an_image_has_a_base_vertex_as_origin() -> None:
    made = make(STAGES)
    origin = made.vertices[made.vertices[made.result].inputs[1]]
    assert origin.operation == type(origin.operation)((LAYER,))


def test_a_named_context() -> None:
    made = make("FROM a\nCOPY --from=lib . /lib/\n", contexts=("lib",))
    assert copies(made)[0].origin == "context:lib"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a AS x\nCOPY --from=x a /\n", "it is itself"),
        ("FROM a\nCOPY --from=1 a /\nFROM b\n", "it is a later stage"),
        ("FROM $NOPE\n", "should not be blank"),
        ("FROM --platform=a/b/c/d x\n", "invalid platform"),
    ],
)
def test_bad_stages(text: str, message: str) -> None:
    refuse(text, message)


def test_an_unknown_target_has_a_suggestion() -> None:
    error = refuse(STAGES, 'target stage "thre" could not be found', target="thre")
    assert error.hint == "did you mean three"


def test_equal_steps_of_two_stages_are_one_vertex() -> None:
    made = make("FROM a AS x\nRUN same\nFROM a AS y\nRUN same\nCOPY --from=x /f /f\n")
    assert len(runs(made)) == 1


def test_onbuild_triggers_of_the_base_run_first() -> None:
    made = make("FROM a\nRUN second\n", base=BASE._replace(on_build=("RUN first",)))
    assert [run.args[2] for run in runs(made)] == ["first", "second"]
    assert made.config.on_build == ()


# -- keys ---------------------------------------------------------------------------------------


@pytest.mark.sec("D7")
@pytest.mark.parametrize(
    "change",
    [
        {"args": ("b",)}, {"env": ("B=2",)}, {"working_dir": "/b"}, {"user": "b"},
        {"network_mode": "none"}, {"extra_hosts": ("b:1.2.3.4",)}, {"shm_bytes": 1},
        {"platform": "linux/arm64"},
    ],
)  # fmt: skip
def test_every_field_of_a_run_is_in_its_key(change: dict[str, object]) -> None:
    run = RunOp(("a",), ("A=1",), "/a", "a")
    other = run._replace(**change)  # type: ignore[arg-type]
    assert operation_digest(run, ("x",)) != operation_digest(other, ("x",))
    assert operation_digest(run, ("x",)) != operation_digest(run, ("y",))


def test_keys_do_not_depend_on_metadata_that_cannot_matter() -> None:
    one = make("FROM a\nLABEL a=1\nEXPOSE 1\nRUN x\n")
    two = make("FROM a\nCMD y\nRUN x\n")
    assert one.vertices[one.result].digest == two.vertices[two.result].digest


def test_a_plan_is_the_same_twice() -> None:
    assert make(STAGES) == make(STAGES)


def test_an_address_that_cannot_be_read_is_an_error_of_its_line() -> None:
    with pytest.raises(InvalidInput, match=r"line 2: 'http://\[::1' is not a URL"):
        make("FROM scratch\nADD http://[::1 /x\n")


@pytest.mark.parametrize("name", ["app", "app:latest", "docker.io/library/app"])
def test_a_named_context_stands_for_the_image(name: str) -> None:
    made = make(f"FROM {name}\nCOPY --from={name} x /\n", contexts=("app",))
    assert [copy.origin for copy in copies(made)] == ["context:app", "context:app"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "COPY --link --parents --chown=1 --chmod=g=u a b /",
            "COPY --parents --chown=1 --chmod=g=u a b / # buildkit",
        ),
        ("RUN", "RUN /bin/sh -c  # buildkit"),
        ("CMD", 'CMD ["/bin/sh" "-c" ""]'),
        ("ENTRYPOINT []", "ENTRYPOINT []"),
        ("USER $NOPE", "USER "),
        ("WORKDIR $NOPE", "WORKDIR /srv"),
        ("RUN <<\\EOF\necho $x\nEOF", "RUN /bin/sh -c echo $x\n # buildkit"),
    ],
)
def test_odd_lines_are_buildkits(line: str, told: str) -> None:
    made = make(f"FROM a\n{line}\n")
    assert made.steps[made.history[-1]].created_by == told


def test_arguments_for_the_builder() -> None:
    given = {"BUILDKIT_SANDBOX_HOSTNAME": "here", "BUILDKIT_CACHE_MOUNT_NS": "ours"}
    text = "FROM a\nRUN --mount=type=cache,target=/c x\n"
    ((run,), (plain,)) = (runs(make(text, build_args=args)) for args in (given, {}))
    assert run.hostname == "here" and run.lent[0].id == "ours//c"
    assert plain.hostname == "" and plain.lent[0].id == "/c"
    assert make(text, build_args=given).warnings == ()
