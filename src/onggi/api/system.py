"""`/_ping`, `/version`, `/info`: who answers, and what the host is."""

import os
import time
from functools import cache
from importlib.util import find_spec

from ..engine.inspection import rfc3339
from ..engine.system import API_VERSION
from ..typed import Any
from .call import Answer, Call, json_answer
from .route import OLDEST, Route

PING_HEADERS = (
    ("Swarm", "inactive"),
    ("Cache-Control", "no-cache, no-store, must-revalidate"),
    ("Pragma", "no-cache"),
)


def ping(call: Call) -> Answer:
    head = call.request.method == "HEAD"
    body = b"" if head else b"OK"
    builder = ("Builder-Version", "2" if _serves_buildkit() else "1")
    return Answer(200, body, "text/plain; charset=utf-8", (builder, *PING_HEADERS))


@cache
def _serves_buildkit() -> bool:
    """Whether docker's client may speak BuildKit to us, rather than to the classic builder."""
    return all(find_spec(name) is not None for name in ("h2", "google", "google.protobuf"))


def version(call: Call) -> Answer:
    found = call.engine.system.version()
    oldest = f"{OLDEST[0]}.{OLDEST[1]}"
    about = {
        "GitCommit": "",
        "Os": found["Os"],
        "Arch": found["Arch"],
        "KernelVersion": found["KernelVersion"],
    }
    details = {
        **about,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": oldest,
        "GoVersion": "",
        "BuildTime": "",
        "Experimental": "false",
    }
    return json_answer(
        {
            "Platform": {"Name": "onggi"},
            "Components": [{"Name": "Engine", "Version": found["Version"], "Details": details}],
            "Version": found["Version"],
            "ApiVersion": API_VERSION,
            "MinAPIVersion": oldest,
            "GoVersion": "",
            **about,
            "BuildTime": "",
        }
    )


def info(call: Call) -> Answer:
    found = call.engine.system.info()
    return json_answer({**_fixed(), **found, **_now(call, found)})


def _now(call: Call, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "ID": found["Name"],
        "SystemTime": rfc3339(time.time_ns()),
        "CgroupDriver": "cgroupfs",
        "OSVersion": "",
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": 0,
        "KernelMemoryTCP": False,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
    }


def _fixed() -> dict[str, Any]:
    """What docker tells of itself and is the same on every host of ours."""
    always = (
        "MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet",
        "PidsLimit", "IPv4Forwarding", "OomKillDisable",
    )  # fmt: skip
    runtime = {"path": "onggi-runtime"}
    return {
        **dict.fromkeys(always, True),
        "Debug": False,
        "NEventsListener": 0,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "IndexConfigs": {},
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "Mirrors": None,
        },
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": ["json-file", "local", "none"],
        },
        "GenericResources": None,
        "Labels": [],
        "ExperimentalBuild": False,
        "Runtimes": {"onggi-runtime": runtime, "runc": {"path": "runc"}},
        "DefaultRuntime": "onggi-runtime",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "onggi-init",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
        "Warnings": None,
    }


ROUTES = (
    Route("GET", "/_ping", ping),
    Route("HEAD", "/_ping", ping),
    Route("GET", "/version", version),
    Route("GET", "/info", info),
)
