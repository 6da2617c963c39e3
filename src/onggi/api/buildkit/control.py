"""The services that clients of BuildKit call on `POST /grpc`, and what is common to them."""

import threading
import time
from collections.abc import Callable

from ... import __version__
from ...build import pruning
from ...engine.engine import Engine
from ...errors import InvalidInput
from ...httpd.exchange import Raw
from ...spec.platform import host_platform
from . import methods, usage
from .builds import Build, Builds
from .frontend import Asked, Place, asked
from .grpc import UNIMPLEMENTED, Failed, Incoming, Method, serve
from .http2 import Channel, Stream
from .making import Making
from .messages_pb2 import (
    APICap,
    BridgeSolveRequest,
    BridgeSolveResponse,
    DiskUsageRequest,
    DiskUsageResponse,
    Empty,
    HealthCheckResponse,
    InfoResponse,
    ListWorkersResponse,
    Platform,
    PongResponse,
    PruneRequest,
    Ref,
    Result,
    ReturnRequest,
    SolveRequest,
    SolveResponse,
    Status,
    StatusRequest,
    Typed,
    Version,
    WorkerRecord,
)
from .sessions import Session, Sessions
from .wire import parsed

ARRIVAL_S = 30.0  # how long one of a client's calls waits for another
BUILD_ID = "buildkit-controlapi-buildid"
_CONTROL = "/moby.buildkit.v1.Control"
_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge"
# What the bridge can do, by BuildKit's names; a client goes by them.
_BRIDGE_CAPS = (
    "solve.base", "return", "returnmap", "proto.refarray", "importcaches", "frontend.caps",
    "gateway.solve.metadata", "gateway.solve.evaluate", "gateway.evaluate",
)  # fmt: skip
_SOLVER_CAPS = ("exporter.image.attestations", "exporter.multiple")
# A client of docker's driver takes this label for: can make archives and indexes of images, and
# push by itself.
_SNAPSHOTTER = "org.mobyproject.buildkit.worker.snapshotter"


class BuildKit:
    """One for a server. `fault` writes what went wrong with us to its log."""

    def __init__(self, engine: Engine, fault: Callable[[], None]) -> None:
        self._engine = engine
        self._fault = fault
        self.sessions = Sessions()
        self._builds = Builds()
        self._methods: dict[str, Method] = {
            f"{_CONTROL}/Solve": self._solve,
            f"{_CONTROL}/Status": self._status,
            f"{_CONTROL}/ListWorkers": self._list_workers,
            f"{_CONTROL}/Info": _info,
            f"{_CONTROL}/DiskUsage": self._disk_usage,
            f"{_CONTROL}/Prune": self._prune,
            f"{_BRIDGE}/Ping": self._ping,
            f"{_BRIDGE}/Solve": self._bridge_solve,
            f"{_BRIDGE}/Evaluate": _evaluate,
            f"{_BRIDGE}/Return": self._return,
            "/grpc.health.v1.Health/Check": _health,
        }

    def serve_calls(self, raw: Raw) -> None:
        """A client's connection, until it ends."""
        Channel(raw.connection, raw.pending, client=False, accept=self._accept).run()

    def serve_session(self, raw: Raw, id_: str, methods: frozenset[str]) -> None:
        """A connection on which the client serves, until it ends."""
        channel = Channel(raw.connection, raw.pending, client=True)
        self.sessions.serve(Session(id_, methods, channel))

    def _accept(self, stream: Stream) -> None:
        serve(stream, self._methods, self._fault)

    # -- building

    def _solve(self, call: Incoming) -> None:
        request = parsed(SolveRequest, call.one())
        if not request.Ref or len(request.Ref) > 200:
            raise InvalidInput("the build has no reference")
        build = self._builds.begin(request)
        call.stream.watch(build.give_up)
        try:
            if request.Definition.ops:
                raise Failed(UNIMPLEMENTED, "LLB definitions are not run by onggi")
            if "requestid" in request.FrontendAttrs:
                raise Failed(UNIMPLEMENTED, "subrequests are answered through the bridge")
            if request.Frontend:
                wanted = self._asked(build, request.Frontend, dict(request.FrontendAttrs))
                build.answer = self._made(build, wanted, call)
            else:
                error = build.wait()
                if error is not None:
                    raise Failed(error.code, error.message, error.details)
            call.send(SolveResponse(ExporterResponse=build.answer).SerializeToString())
        finally:
            self._builds.end(build)

    def _asked(self, build: Build, frontend: str, words: dict[str, str]) -> Asked:
        request = build.request
        return asked(
            frontend,
            words,
            exporters=map(_place, request.Exporters),
            entitlements=request.Entitlements,
            cache_exports=map(_place, request.Cache.Exports),
        )

    def _made(self, build: Build, wanted: Asked, call: Incoming) -> dict[str, str]:
        return self._making(build, wanted, call).run()

    def _making(self, build: Build, wanted: Asked, call: Incoming) -> Making:
        session = self.sessions.find(build.request.Session, ARRIVAL_S)
        return Making(self._engine, build, session, wanted, call)

    def _status(self, call: Incoming) -> None:
        build = self._builds.find(parsed(StatusRequest, call.one()).Ref, ARRIVAL_S)
        lost = threading.Event()

        def wake() -> None:
            lost.set()
            build.feed.wake()

        call.stream.watch(wake)
        for response in build.feed.responses(lost):
            call.send(response)

    # -- a client that drives the build

    def _build_of(self, call: Incoming) -> Build:
        return self._builds.find(call.metadata(BUILD_ID), ARRIVAL_S)

    def _ping(self, call: Incoming) -> None:
        self._build_of(call)
        answer = PongResponse(
            FrontendAPICaps=map(_cap, _BRIDGE_CAPS),
            LLBCaps=map(_cap, _SOLVER_CAPS),
            Workers=[_worker()],
        )
        call.send(answer.SerializeToString())

    def _bridge_solve(self, call: Incoming) -> None:
        build = self._build_of(call)
        request = parsed(BridgeSolveRequest, call.one())
        if not request.Frontend:
            raise Failed(UNIMPLEMENTED, "LLB definitions are not run by onggi")
        wanted = self._asked(build, request.Frontend, dict(request.FrontendOpt))
        result = Result(ref=Ref(id=build.request.Ref))
        if not wanted.method:
            build.answer = self._made(build, wanted, call)
        elif methods.known(wanted.method):
            result.metadata.update(self._making(build, wanted, call).describe())
        else:
            result.metadata.update(methods.describe())
        call.send(BridgeSolveResponse(result=result).SerializeToString())

    def _return(self, call: Incoming) -> None:
        build = self._build_of(call)
        request = parsed(ReturnRequest, call.one())
        failed = request.HasField("error") and request.error.code
        build.give_back(Status.FromString(request.error.SerializeToString()) if failed else None)
        call.send(Empty().SerializeToString())

    # -- what there is

    def _list_workers(self, call: Incoming) -> None:
        call.send(ListWorkersResponse(record=[_worker()]).SerializeToString())

    def _disk_usage(self, call: Incoming) -> None:
        wanted = usage.wanted(parsed(DiskUsageRequest, call.one()).filter)
        records = [usage.record(item) for item in pruning.items(self._engine) if wanted(item)]
        call.send(DiskUsageResponse(record=records).SerializeToString())

    def _prune(self, call: Incoming) -> None:
        request = parsed(PruneRequest, call.one())
        kept = pruning.Kept(
            until_ns=time.time_ns() - request.keepDuration if request.keepDuration else 0,
            reserved_bytes=request.reservedSpace,
            max_used_bytes=request.maxUsedSpace,
            min_free_bytes=request.minFreeSpace,
            everything=request.all,
            wanted=usage.wanted(request.filter),
        )
        before = {item.id: item for item in pruning.items(self._engine)}
        for id_ in pruning.prune(self._engine, kept).ids:
            if id_ in before:
                call.send(usage.record(before[id_]).SerializeToString())


def _info(call: Incoming) -> None:
    call.send(InfoResponse(buildkitVersion=_version()).SerializeToString())


def _evaluate(call: Incoming) -> None:
    """Whatever was solved has been made."""
    call.send(Empty().SerializeToString())


def _health(call: Incoming) -> None:
    call.send(HealthCheckResponse(status=1).SerializeToString())


def _version() -> Version:
    return Version(package="onggi", version=f"v{__version__}", revision="")


def _worker() -> WorkerRecord:
    platform = host_platform()
    return WorkerRecord(
        ID="onggi",
        Labels={
            "org.mobyproject.buildkit.worker.executor": "onggi",
            "org.mobyproject.buildkit.worker.network": "bridge",
            _SNAPSHOTTER: "onggi",
        },
        platforms=[
            Platform(OS=platform.os, Architecture=platform.architecture, Variant=platform.variant)
        ],
        BuildkitVersion=_version(),
    )


def _cap(name: str) -> APICap:
    return APICap(ID=name, Enabled=True)


def _place(typed: Typed) -> Place:
    return typed.Type, dict(typed.Attrs)
