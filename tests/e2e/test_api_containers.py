"""Containers through the socket: what may be asked at create, files, races, and limits."""

import io
import json
import os
import signal
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_server import ApiServer, Reply

from .conftest import Onggi

pytestmark = pytest.mark.root
TIMEOUT_S = 60


def created(api: ApiServer, *command: str, name: str = "", **config: Any) -> str:
    body = {"Image": "busybox", "Cmd": list(command), **config}
    reply = api.request("POST", f"/containers/create{'?name=' + name if name else ''}", body)
    assert reply.status == 201, reply.body
    return str(reply.json()["Id"])


def started(api: ApiServer, *command: str, **config: Any) -> str:
    container = created(api, *command, **config)
    reply = api.request("POST", f"/containers/{container}/start")
    assert reply.status == 204, reply.body
    return container


def shown(api: ApiServer, container: str) -> Any:
    return api.request("GET", f"/containers/{container}/json").json()


def message(reply: Reply) -> str:
    return str(reply.json()["message"])


@pytest.fixture
def served(api: ApiServer, busybox: str) -> Iterator[ApiServer]:
    yield api


FULL: dict[str, Any] = {
    "Hostname": "box", "Domainname": "example.org", "User": "5:6", "Tty": True, "OpenStdin": True,
    "StdinOnce": True, "Env": ["A=1", "B=x y"], "WorkingDir": "/tmp", "Entrypoint": ["sh"],
    "Labels": {"x.y": "z"}, "StopSignal": "SIGINT", "StopTimeout": 7,
    "ExposedPorts": {"99/tcp": {}, "7/udp": {}}, "Volumes": {"/anonymous": {}},
    "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 2},
    "HostConfig": {
        "Binds": ["named:/data:ro"], "Memory": 64 << 20, "MemoryReservation": 32 << 20,
        "NanoCpus": 500_000_000, "CpuShares": 100, "CpusetCpus": "0", "PidsLimit": 50,
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8187"}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "CapAdd": ["NET_ADMIN", "CAP_SYS_TIME"], "CapDrop": ["mknod"],
        "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True, "ShmSize": 1 << 20,
        "Dns": ["1.2.3.4"], "DnsSearch": ["example.org"], "DnsOptions": ["ndots:2"],
        "ExtraHosts": ["peer:1.2.3.4"], "GroupAdd": ["20"], "OomScoreAdj": 100, "Init": True,
        "Sysctls": {"net.ipv4.ip_default_ttl": "40"}, "Tmpfs": {"/u": "mode=700"},
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20}}],
        "Annotations": {"a": "b"},
    },
}  # fmt: skip


def test_what_is_asked_is_what_is_shown(served: ApiServer) -> None:
    found = shown(served, created(served, "-c", "true", **FULL))
    config, host = found["Config"], found["HostConfig"]
    for name in ("Hostname", "Domainname", "User", "Tty", "OpenStdin", "StdinOnce", "WorkingDir",
                 "Entrypoint", "StopSignal", "StopTimeout", "Healthcheck"):  # fmt: skip
        assert config[name] == FULL[name], name
    assert set(FULL["Env"]) <= set(config["Env"])
    assert config["Labels"]["x.y"] == "z"
    assert set(config["ExposedPorts"]) == {"99/tcp", "7/udp", "80/tcp"}
    asked = FULL["HostConfig"]
    for name in set(asked) - {"Mounts", "SecurityOpt", "Annotations"}:
        assert host[name] == asked[name], name
    assert {mount["Destination"] for mount in found["Mounts"]} >= {"/data", "/anonymous", "/t"}


def test_what_is_shown_can_be_asked_again(served: ApiServer) -> None:
    """Tools recreate containers from what inspect says."""
    first = shown(served, created(served, "-c", "true", **FULL))
    body = {**first["Config"], "HostConfig": first["HostConfig"]}
    reply = served.request("POST", "/containers/create", body)
    assert reply.status == 201, reply.body
    second = shown(served, reply.json()["Id"])
    assert second["HostConfig"] == first["HostConfig"]
    assert second["Config"] == {**first["Config"], "Hostname": "box"}


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"User": "a b"}, 400, "invalid user"),
    ({"User": "99999999999"}, 400, "uids and gids"),
    ({"Hostname": "a b"}, 400, "invalid hostname"),
    ({"WorkingDir": "relative"}, 400, "absolute"),
    ({"StopSignal": "NOSUCH"}, 400, "invalid signal: NOSUCH"),
    ({"Env": ["=x"]}, 400, "invalid environment variable"),
    ({"ExposedPorts": {"x": {}}}, 400, "invalid port"),
    ({"ExposedPorts": {"70000/tcp": {}}}, 400, "invalid port"),
    ({"Healthcheck": {"Interval": 5}}, 400, "cannot be less than 1ms"),
    ({"Healthcheck": {"Retries": -1}}, 400, "cannot be negative"),
    ({"HostConfig": {"Memory": 1024}}, 400, "Minimum memory limit allowed is 6MB"),
    ({"HostConfig": {"NanoCpus": 10**15}}, 400, "range of CPUs"),
    ({"HostConfig": {"Binds": ["a:b:c:d"]}}, 400, "invalid volume specification"),
    ({"HostConfig": {"Binds": ["./x:/y"]}}, 400, "mount path must be absolute"),
    ({"HostConfig": {"Binds": ["x:/y:nosuch"]}}, 400, "invalid mode"),
    ({"HostConfig": {"Mounts": [{"Type": "nosuch", "Target": "/x"}]}}, 400, "mount type unknown"),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Target": "/x"}]}}, 400, "Source must not be"),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/nosuch", "Target": "/x"}]}}, 400,
     "bind source path does not exist"),
    ({"HostConfig": {"Mounts": [{"Type": "volume", "Target": "/x", "TmpfsOptions": {}}]}}, 400,
     "must not be specified"),
    ({"HostConfig": {"Tmpfs": {"/t": "bogus=1"}}}, 400, "invalid tmpfs option"),
    ({"HostConfig": {"PortBindings": {"x/tcp": []}}}, 400, "invalid port"),
    ({"HostConfig": {"PortBindings": {"80/xyz": []}}}, 400, "invalid port"),
    ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}}, 400, "invalid port"),
    ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "x"}]}}}, 400, "invalid IP"),
    ({"HostConfig": {"RestartPolicy": {"Name": "nosuch"}}}, 400, "unknown policy"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True}}, 400,
     "can't create 'AutoRemove' container"),
    ({"HostConfig": {"CapAdd": ["NOSUCH"]}}, 400, "CapAdd"),
    ({"HostConfig": {"SecurityOpt": ["nosuch=x"]}}, 400, "security-opt"),
    ({"HostConfig": {"SecurityOpt": ["seccomp={"]}}, 400, "seccomp"),
    ({"HostConfig": {"Sysctls": {"kernel.hostname": "x"}}}, 400, "sysctl"),
    ({"HostConfig": {"Sysctls": {"vm.overcommit_memory": "1"}}}, 400, "sysctl"),
    ({"HostConfig": {"Ulimits": [{"Name": "nosuch", "Soft": 1, "Hard": 1}]}}, 400, "ulimit"),
    ({"HostConfig": {"OomScoreAdj": 5000}}, 400, "range for oom score adj"),
    ({"HostConfig": {"LogConfig": {"Type": "nosuch"}}}, 400, "nosuch"),
    ({"HostConfig": {"Runtime": "/nosuch/runtime"}}, 400, "runtime"),
    ({"HostConfig": {"Devices": [{"PathOnHost": "x"}]}}, 400, "not an absolute path"),
    ({"HostConfig": {"DeviceRequests": [{"Driver": "nosuch"}]}}, 400, "could not select device"),
    ({"HostConfig": {"IOMaximumIOps": 5}}, 400, "QoS"),
    ({"HostConfig": {"ShmSize": -1}}, 400, "SHM size"),
    ({"HostConfig": {"PidMode": "nosuch"}}, 400, "mode"),
    ({"HostConfig": {"NetworkMode": "nosuch"}}, 400, "network nosuch not found"),
    ({"HostConfig": {"NetworkMode": "container:nosuch"}}, 400, "No such container: nosuch"),
    ({"HostConfig": {"VolumesFrom": ["nosuch"]}}, 400, "No such container: nosuch"),
    ({"HostConfig": {"MaskedPaths": ["x"]}}, 400, "invalid path in MaskedPaths"),
    ({"HostConfig": {"StorageOpt": {"size": "1g"}}}, 501, "storage-opt"),
    ({"Image": "nosuch:1"}, 404, "No such image: nosuch:1"),
    ({"Image": "Upper"}, 400, "reference"),
]  # fmt: skip


@pytest.mark.sec("E8")
@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refused(served: ApiServer, number: int) -> None:
    config, status, text = REFUSED[number]
    body = {"Image": "busybox", "Cmd": ["true"], **config}
    reply = served.request("POST", "/containers/create", body)
    assert (reply.status, text in message(reply)) == (status, True), reply.body
    assert served.request("GET", "/containers/json?all=1").json() == []


@pytest.mark.sec("E8")
@pytest.mark.parametrize(
    "name", ["x", "-x", ".x", "a/b", "../x", "a%20b", "a%0Ab", "a%00b", "%C3%A9", "a" + "%20" * 3]
)
def test_names(served: ApiServer, name: str) -> None:
    reply = served.request("POST", f"/containers/create?name={name}", {"Image": "busybox"})
    assert reply.status == 400
    for method, path in (("GET", "json"), ("POST", "start"), ("GET", "logs?stdout=1")):
        assert served.request(method, f"/containers/{name}/{path}").status in (400, 404)


def test_warnings(served: ApiServer) -> None:
    body = {
        "Image": "busybox",
        "HostConfig": {"NetworkMode": "host", "PublishAllPorts": True},
    }
    reply = served.request("POST", "/containers/create", body).json()
    assert reply["Warnings"] == ["Published ports are discarded when using host network mode"]


def test_name_taken(served: ApiServer) -> None:
    created(served, "true", name="taken")
    body = {"Image": "busybox", "Cmd": ["true"]}
    reply = served.request("POST", "/containers/create?name=taken", body)
    assert reply.status == 409 and 'The container name "/taken" is already in use' in message(reply)
    other = created(served, "true", name="other")
    assert served.request("POST", f"/containers/{other}/rename?name=taken").status == 409
    assert served.request("POST", f"/containers/{other}/rename?name=third").status == 204
    assert shown(served, "third")["Name"] == "/third"


def test_states(served: ApiServer) -> None:
    """Every verb in a state that it does not fit, with docker's status."""
    container = created(served, "sleep", "100")

    def status(verb: str) -> int:
        return served.request("POST", f"/containers/{container}/{verb}").status

    assert [status(v) for v in ("stop", "kill", "pause", "unpause")] == [304, 409, 409, 409]
    assert served.request("GET", f"/containers/{container}/top").status == 409
    assert [status("start"), status("start")] == [204, 304]
    assert served.request("DELETE", f"/containers/{container}").status == 409
    assert [status("pause"), status("pause"), status("start")] == [204, 409, 409]
    assert [status("unpause"), status("kill?signal=NOSUCH"), status("stop?t=0")] == [204, 400, 204]
    assert status("stop") == 304
    assert [status("restart?t=0"), status("kill")] == [204, 204]
    assert served.request("DELETE", f"/containers/{container}?force=1&v=1").status == 204
    assert [status("start"), status("stop"), status("wait")] == [404, 404, 404]


def test_start_takes_no_configuration(served: ApiServer) -> None:
    container = created(served, "true")
    reply = served.request("POST", f"/containers/{container}/start", {"Binds": ["/:/x"]})
    assert reply.status == 400 and "non-empty request body" in message(reply)


def test_update(served: ApiServer) -> None:
    container = started(served, "sleep", "100")
    body = {"Memory": 64 << 20, "RestartPolicy": {"Name": "always"}}
    reply = served.request("POST", f"/containers/{container}/update", body)
    assert (reply.status, reply.json()) == (200, {"Warnings": []})
    host = shown(served, container)["HostConfig"]
    assert (host["Memory"], host["RestartPolicy"]["Name"]) == (64 << 20, "always")
    bad = served.request("POST", f"/containers/{container}/update", {"Memory": "64m"})
    assert bad.status == 400 and "Memory" in message(bad)


def test_list(served: ApiServer) -> None:
    running = started(served, "sleep", "100", Labels={"a": "b"})
    created(served, "true", name="idle")
    (one,) = served.request("GET", "/containers/json").json()
    assert (one["Id"], one["State"], one["Image"]) == (running, "running", "busybox")
    assert one["Status"].startswith("Up ") and one["Command"] == "sleep 100"
    assert one["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert len(served.request("GET", "/containers/json?all=1").json()) == 2
    assert len(served.request("GET", "/containers/json?limit=1").json()) == 1
    for form in ('{"label":["a=b"]}', '{"label":{"a=b":true}}'):
        found = served.request("GET", f"/containers/json?filters={quote(form)}")
        assert [c["Id"] for c in found.json()] == [running]
    sized = served.request("GET", "/containers/json?size=1").json()[0]
    assert sized["SizeRootFs"] > sized["SizeRw"] >= 0


@pytest.mark.parametrize(("version", "has"), [("v1.43", True), ("v1.44", False)])
def test_versions_of_inspect(served: ApiServer, version: str, has: bool) -> None:
    container = started(served, "sleep", "100")
    found = served.request("GET", f"/{version}/containers/{container}/json").json()
    assert ("MacAddress" in found["Config"]) == has
    assert ("DNSNames" in found["NetworkSettings"]["Networks"]["bridge"]) != has


def test_stats(served: ApiServer) -> None:
    container = started(served, "sh", "-c", "while :; do :; done")
    once = served.request("GET", f"/containers/{container}/stats?stream=0&one-shot=1").json()
    assert once["pids_stats"]["current"] >= 1 and once["preread"].startswith("0001")
    both = served.request("GET", f"/containers/{container}/stats?stream=0").json()
    used = [both[name]["cpu_usage"]["total_usage"] for name in ("precpu_stats", "cpu_stats")]
    assert 0 < used[0] < used[1]
    assert both["memory_stats"]["usage"] > 0 and both["networks"]["eth0"]["rx_bytes"] >= 0
    connection = served.connection()
    try:
        connection.request("GET", f"/containers/{container}/stats")
        answer = connection.getresponse()
        first, second = (json.loads(answer.readline()) for _ in range(2))
    finally:
        connection.close()
    assert first["id"] == second["id"] == container
    assert second["preread"] == first["read"]
    idle = created(served, "true")
    nothing = served.request("GET", f"/containers/{idle}/stats?stream=0&one-shot=1").json()
    assert nothing["read"].startswith("0001") and nothing["memory_stats"] == {}


def test_stats_of_every_interface(served: ApiServer, onggi: Onggi) -> None:
    onggi("network", "create", "apistats")
    try:
        container = started(served, "sleep", "1000")
        body = {"Container": container}
        assert served.request("POST", "/networks/apistats/connect", body).status == 200
        onggi("exec", container, "ping", "-c", "1", "-w", "10", "127.0.0.1")  # not counted
        found = served.request("GET", f"/containers/{container}/stats?stream=0&one-shot=1").json()
        assert sorted(found["networks"]) == ["eth0", "eth1"]
        assert set(found["networks"]["eth1"]) == {
            f"{way}_{what}"
            for way in ("rx", "tx")
            for what in ("bytes", "packets", "errors", "dropped")
        }
    finally:
        onggi("rm", "-f", container)
        onggi("network", "rm", "apistats")


def test_paths_to_mask(served: ApiServer, onggi: Onggi) -> None:
    """Lists of their own take the place of the usual ones."""
    host = {"MaskedPaths": ["/etc/passwd", "/proc/kcore"], "ReadonlyPaths": ["/tmp"]}
    container = started(served, "sleep", "1000", HostConfig=host)
    has = shown(served, container)["HostConfig"]
    assert {name: has[name] for name in host} == host
    script = "test ! -s /etc/passwd && ! touch /tmp/x 2>/dev/null && test -e /proc/config.gz; wc -c"
    onggi("exec", container, "sh", "-c", f"{script} </proc/timer_list")
    for name, shape in (("MaskedPaths", []), ("ReadonlyPaths", ["/tmp"])):
        other = created(served, "true", HostConfig={name: shape})
        assert shown(served, other)["HostConfig"][name] == shape
    usual = shown(served, created(served, "true"))["HostConfig"]
    again = {name: usual[name] for name in host}
    assert shown(served, created(served, "true", HostConfig=again))["HostConfig"] == usual


def test_one_port_on_a_range(served: ApiServer, onggi: Onggi) -> None:
    """The first free one of `18700-18710`, each time."""
    bindings = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18700-18710"}]}
    config = {"HostConfig": {"PortBindings": bindings}, "ExposedPorts": {"80/tcp": {}}}
    taken = []
    for _ in range(2):
        found = shown(served, started(served, "sleep", "1000", **config))
        assert found["HostConfig"]["PortBindings"] == bindings
        (binding,) = found["NetworkSettings"]["Ports"]["80/tcp"]
        taken.append(int(binding["HostPort"]))
    third = onggi.out("run", "-d", "-p", "127.0.0.1:18700-18710:80", "busybox", "sleep", "1000")
    taken.append(int(onggi.out("port", third, "80").rpartition(":")[2]))
    assert len(set(taken)) == 3
    assert all(18700 <= port <= 18710 for port in taken)


def test_prune(served: ApiServer) -> None:
    keeps = created(served, "true", Labels={"keep": "1"})
    goes = created(served, "true")
    unwanted = served.request("POST", "/containers/prune?filters=%7B%22x%22:[%22y%22]%7D")
    assert unwanted.status == 400
    reply = served.request("POST", '/containers/prune?filters={"label!":["keep"]}'
                           .replace("{", "%7B").replace('"', "%22")).json()  # fmt: skip
    assert reply == {"ContainersDeleted": [goes], "SpaceReclaimed": 0}
    assert shown(served, keeps)["Id"] == keeps
    assert served.request("POST", "/containers/prune").json()["ContainersDeleted"] == [keeps]
    assert served.request("POST", "/containers/prune").json()["ContainersDeleted"] is None


def test_commit(served: ApiServer, onggi: Onggi) -> None:
    container = started(served, "sh", "-c", "echo x > /made; echo made; sleep 600")
    onggi.until("made", "logs", container)
    target = f"/commit?container={container}&repo=apimade&tag=1&comment=c&author=a&changes=USER+5"
    body = {"Cmd": ["cat", "/made"], "Env": ["Q=a $b"], "Labels": {"l": 'v"w'}}
    reply = served.request("POST", target, body)
    assert reply.status == 201
    try:
        config = json.loads(onggi.out("inspect", "--type", "image", "apimade:1"))[0]["Config"]
        assert config["Cmd"] == ["cat", "/made"] and config["User"] == "5"
        assert "Q=a $b" in config["Env"] and config["Labels"]["l"] == 'v"w'
        assert onggi.out("run", "--rm", "apimade:1") == "x"
    finally:
        onggi("rmi", "-f", "apimade:1")
    assert served.request("POST", "/commit").status == 400
    assert served.request("POST", "/commit?container=nosuch").status == 404


# -- files


def tar_of(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("running", [True, False])
def test_archive(served: ApiServer, running: bool) -> None:
    make: Callable[..., str] = started if running else created
    container = make(served, "sleep", "100")
    target = f"/containers/{container}/archive?path=/tmp"
    assert served.request("PUT", target, tar_of(one=b"1" * 100_000)).status == 200
    reply = served.request("GET", f"{target}/one")
    assert reply.headers["Content-Type"] == "application/x-tar"
    with tarfile.open(fileobj=io.BytesIO(reply.body)) as tar:
        member = tar.extractfile("one")
        assert member is not None and member.read() == b"1" * 100_000
    changes = served.request("GET", f"/containers/{container}/changes").json()
    assert {"Path": "/tmp/one", "Kind": 1} in changes


def test_archive_refused(served: ApiServer) -> None:
    container = started(served, "sleep", "100")
    read_only = started(served, "sleep", "100", HostConfig={"ReadonlyRootfs": True})
    good = tar_of(one=b"1")

    def put(path: str, body: bytes, where: str = container) -> int:
        return served.request("PUT", f"/containers/{where}/archive?path={path}", body).status

    assert put("/tmp", b"this is no archive" * 100) == 400
    assert put("/tmp", good[:700]) == 400
    assert put("/nosuch", good) == 404
    assert put("/etc/passwd", good) == 400
    assert put("", good) == 400
    assert put("/tmp", good, read_only) == 403
    assert put("/tmp", good, "nosuch") == 404
    escaping = tar_of(**{"../../../../escaped": b"x"})
    assert put("/tmp", escaping) in (200, 400)
    assert not Path("/escaped").exists()
    assert served.request("GET", f"/containers/{container}/archive?path=/nosuch").status == 404
    assert served.request("GET", "/containers/nosuch/export").status == 404


def test_an_upload_that_stops_half_way(served: ApiServer) -> None:
    container = started(served, "sleep", "100")
    connection = served.connection()
    body = tar_of(half=b"1" * 1_000_000)
    connection.putrequest("PUT", f"/containers/{container}/archive?path=/tmp")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:300_000])
    connection.close()
    assert served.request("PUT", f"/containers/{container}/archive?path=/tmp", body).status == 200


# -- races


@pytest.mark.parametrize(
    ("verbs", "allowed"),
    [
        (("POST start", "POST start"), {204, 304}),
        (("POST start", "DELETE"), {204, 404, 409}),
        (("POST stop?t=0", "POST kill"), {204, 304, 409}),
        (("POST start", "POST stop?t=0"), {204, 304, 409}),
        (("POST restart?t=0", "POST restart?t=0"), {204}),
        (("POST pause", "POST unpause"), {204, 409}),
        (("DELETE ?force=1", "DELETE ?force=1"), {204, 404, 409}),
    ],
)
def test_races(served: ApiServer, verbs: tuple[str, str], allowed: set[int]) -> None:
    """Two at once, on one container each: docker's statuses, never a 500."""
    begins = "start" not in verbs[0] or "restart" in verbs[0]

    def ask(container: str, verb: str) -> int:
        method, _, rest = verb.partition(" ")
        path = rest if rest.startswith("?") else f"/{rest}" if rest else ""
        return served.request(method, f"/containers/{container}{path}").status

    with ThreadPoolExecutor(8) as pool:
        found: Counter[int] = Counter()
        for _ in range(2):
            containers = [
                (started if begins else created)(served, "sleep", "100") for _ in range(3)
            ]
            jobs = [pool.submit(ask, c, verb) for c in containers for verb in verbs]
            found.update(job.result() for job in jobs)
            for container in containers:
                assert ask(container, "DELETE ?force=1") in (204, 404)
    assert set(found) <= allowed


def test_names_swapped_at_once(served: ApiServer) -> None:
    one, two = created(served, "true", name="left"), created(served, "true", name="right")
    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            jobs = [
                pool.submit(served.request, "POST", f"/containers/{who}/rename?name={name}")
                for who, name in ((one, "right"), (two, "left"))
            ]
            assert {job.result().status for job in jobs} <= {204, 400, 409}
    assert {shown(served, c)["Name"] for c in (one, two)} <= {"/left", "/right"}


def test_prune_during_creates(served: ApiServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(started, served, "sleep", "100") for _ in range(12)]
        pruned = [pool.submit(served.request, "POST", "/containers/prune") for _ in range(6)]
        assert {job.result().status for job in pruned} == {200}
        for job in made:
            try:
                container = job.result()
            except AssertionError as error:
                assert "No such container" in str(error)  # pruned before its start
            else:
                assert shown(served, container)["State"]["Running"]


# -- the spawner


def test_a_killed_spawner_is_replaced(served: ApiServer) -> None:
    container = started(served, "sleep", "100")
    for child in Path(f"/proc/{served.pid}/task/{served.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT_S
    while served.request("POST", f"/containers/{container}/restart?t=0").status != 204:
        assert time.monotonic() < deadline  # what was under way when it died may fail
    assert shown(served, container)["State"]["Running"]
    started(served, "true")
