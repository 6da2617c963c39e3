"""The JSON of `inspect`, field by field: which objects are made on both sides, and what differs.

Every field of docker's must be there with the same type (or null) and, where it does not say where
or when something was made, the same value; and no field may be there that docker has not.
"""

import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .sides import Side, normal

SETUP = """
    volume create --label a=1 labelled
    volume create plain-volume
    create --name plain busybox true
    create --name rich -it -h box --domainname example.org -u 5:6 -w /tmp -e A=1 --label x.y=z --entrypoint sh --stop-signal INT --stop-timeout 7 --expose 99 -p 8101:80 -p 127.0.0.1:8102:81/udp -v named:/data:ro -v /anonymous --mount type=tmpfs,dst=/t,tmpfs-size=1m --tmpfs /u:mode=700 --cap-add NET_ADMIN --cap-drop MKNOD --security-opt no-new-privileges -m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 100 --cpuset-cpus 0 --pids-limit 50 --ulimit nofile=10:20 --shm-size 1m --dns 1.2.3.4 --dns-search example.org --dns-option ndots:2 --add-host peer:1.2.3.4 --group-add 20 --sysctl net.ipv4.ip_default_ttl=40 --init --read-only --oom-score-adj 100 --log-opt max-size=1m --pid host --ipc host busybox -c true
    create --name limits --uts host --cpu-period 50000 --cpu-quota 10000 --privileged --rm -P --log-driver none --network none -v ./:/here busybox true
    run -d --name runs -p 8103:80 -v plain-volume:/data busybox sleep 100
    run --name ended busybox sh -c 'exit 3'
    commit -m message -a author -c 'CMD ["true"]' -c 'EXPOSE 80' -c 'VOLUME /v' -c 'LABEL l=v' -c 'USER 5' -c 'WORKDIR /w' -c 'ENTRYPOINT ["sh"]' ended made:one
    tag busybox other:name
"""  # fmt: skip

INSPECTED = (
    ("container", "plain"), ("container", "rich"), ("container", "limits"), ("container", "runs"),
    ("container", "ended"), ("image", "busybox"), ("image", "made:one"), ("network", "bridge"),
    ("network", "none"), ("network", "host"), ("volume", "labelled"), ("volume", "plain-volume"),
)  # fmt: skip


class Difference(NamedTuple):
    """`field` like `container.HostConfig.Binds`; `what` is missing, extra, type or value."""

    field: str
    what: str
    object: str
    docker: Any
    onggi: Any


def objects(side: Side) -> dict[str, Any]:
    """Normalised JSON of every inspected object by "kind name"."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            for line in SETUP.strip().splitlines():
                done = side.call(*shlex.split(line), cwd=folder)
                if done.returncode not in (0, 3):
                    raise AssertionError(f"{line}: {done.stderr.decode()}")
            found = {}
            for kind, reference in INSPECTED:
                text = side.checked("inspect", "--type", kind, reference)
                found[f"{kind} {reference}"] = settled(json.loads(normal(text, folder))[0])
            return found
        finally:
            side.clean()


def settled(document: dict[str, Any]) -> dict[str, Any]:
    """Without the numbers of one run, and with the mounts in the order of their places."""
    if document.get("Mounts"):
        document["Mounts"].sort(key=lambda mount: mount["Destination"])
    if document.get("State", {}).get("Pid"):
        document["State"]["Pid"] = 1
    if document.get("NetworkSettings", {}).get("SandboxKey"):
        document["NetworkSettings"]["SandboxKey"] = "<path>"
    return document


def differences(docker: dict[str, Any], onggi: dict[str, Any]) -> Iterator[Difference]:
    for name, theirs in docker.items():
        yield from _compare(name.partition(" ")[0], name, theirs, onggi[name])


def _compare(field: str, name: str, theirs: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted({*theirs, *ours}):
            if key not in ours:
                yield Difference(f"{field}.{key}", "missing", name, theirs[key], None)
            elif key not in theirs:
                yield Difference(f"{field}.{key}", "extra", name, None, ours[key])
            else:
                yield from _compare(f"{field}.{key}", name, theirs[key], ours[key])
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for mine, other in zip(ours, theirs, strict=True):
            yield from _compare(f"{field}[]", name, other, mine)
    elif type(theirs) is not type(ours):
        yield Difference(field, "type", name, theirs, ours)
    elif theirs != ours:
        yield Difference(field, "value", name, theirs, ours)
