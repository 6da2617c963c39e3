"""User-defined networks: made, joined and left, and the names that containers have on them."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from dnslib import RR, A, DNSRecord

from .conftest import Onggi

pytestmark = pytest.mark.root

SLEEP = ("sleep", "600")
UPSTREAM = "127.7.7.7"
Make = Callable[..., str]


@pytest.fixture
def make(onggi: Onggi) -> Iterator[Make]:
    """`make("name", "--internal")`: a network that goes with the test, after the containers."""
    made: list[str] = []

    def create(name: str, *flags: str) -> str:
        onggi("network", "create", *flags, name)
        made.append(name)
        return name

    yield create
    onggi.remove_containers()
    for name in made:
        onggi("network", "rm", "-f", name)


def start(onggi: Onggi, image: str, name: str, *flags: str) -> None:
    onggi("run", "-d", "--name", name, *flags, image, *SLEEP)


def field(onggi: Onggi, name: str, path: str) -> str:
    return onggi.out("inspect", "-f", "{{" + path + "}}", name)


def looked_up(onggi: Onggi, asker: str, name: str, *more: str) -> set[str]:
    """What `asker` gets for a name, by busybox's nslookup."""
    done = onggi("exec", asker, "nslookup", *more, name, code=None)
    answer = done.stdout.partition("Address:")[2]
    return set(re.findall(r"^Address: (\S+)$", answer, re.M)) | set(
        re.findall(r"name = (\S+)$", answer, re.M)
    )


def fetched(onggi: Onggi, image: str, port: str) -> str:
    """The page published there, from the host's loopback, once its server listens."""
    get = f"timeout 60 wget -q -O - http://127.0.0.1:{port}/"
    script = f"for i in $(seq 300); do {get} && exit; sleep 0.1; done; exit 1"
    return onggi.out("run", "--rm", "--network", "host", image, "sh", "-c", script)


def processes() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                found.append(file.read().strip())
        except OSError:
            continue
    return found


def has_ended(pid: int) -> bool:
    """Gone, or a zombie: everything of it is closed."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def run_directory(onggi: Onggi) -> str:
    return onggi.environment["ONGGI_RUN"]


def resolvers(onggi: Onggi) -> list[int]:
    """Pids of the name resolvers of this engine: those with its directory open."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/fd/4") == f"{run_directory(onggi)}/dns":
                with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                    if file.read().strip() == "onggi resolver":
                        found.append(int(pid))
        except OSError:
            continue
    return found


# -- the commands


def test_a_network_from_create_to_rm(onggi: Onggi, make: Make, busybox: str) -> None:
    make("net1", "--subnet", "10.91.0.0/24", "--ip-range", "10.91.0.128/25",
         "--label", "a=b", "--aux-address", "router=10.91.0.129",
         "-o", "com.docker.network.driver.mtu=1400")  # fmt: skip
    assert onggi.out("network", "ls", "-f", "label=a", "--format", "{{.Name}} {{.Driver}}") == (
        "net1 bridge"
    )
    (shown,) = json.loads(onggi.out("network", "inspect", "net1"))
    assert shown["IPAM"]["Config"] == [{
        "Subnet": "10.91.0.0/24", "IPRange": "10.91.0.128/25", "Gateway": "10.91.0.1",
        "AuxiliaryAddresses": {"router": "10.91.0.129"},
    }]  # fmt: skip
    assert shown["Options"] == {"com.docker.network.driver.mtu": "1400"}
    start(onggi, busybox, "c1", "--network", "net1")
    start(onggi, busybox, "c2", "--network", "name=net1,ip=10.91.0.7,mac-address=02:00:00:00:00:07")
    assert field(onggi, "c1", ".NetworkSettings.Networks.net1.IPAddress") == "10.91.0.128"
    shown = onggi.out("exec", "c2", "ip", "address", "show", "eth0")
    assert "10.91.0.7/24" in shown and "02:00:00:00:00:07" in shown and "mtu 1400" in shown
    refused = onggi("network", "rm", "net1", code=1).stderr
    assert refused.startswith("Error response from daemon: error while removing network: network")
    onggi("rm", "-f", "c1", "c2")
    assert onggi.out("network", "rm", "net1") == "net1"
    assert onggi("network", "inspect", "net1", code=1).stderr == (
        "Error response from daemon: network net1 not found\n"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--subnet 10.91.0.1/24 x", "invalid network config:\ninvalid subnet 10.91.0.1/24: it "
         "should be 10.91.0.0/24"),
        ("--subnet 10.91.0.0/24 --gateway 10.92.0.1 x", "no matching subnet for gateway 10.92.0.1"),
        ("--subnet nonsense x", "invalid subnet nonsense: invalid CIDR block notation"),
        ("--gateway 10.92.0.1 x", "every ip-range or gateway must have a corresponding subnet"),
        ("host", "operation is not permitted on predefined host network"),
        ("-d host x", 'only one instance of "host" network is allowed'),
        ("-o com.docker.network.bridge.enable_icc=perhaps x", "failed to parse com.docker.network."
         "bridge.enable_icc value: perhaps"),
        ("--ipv4=false x", "IPv4 or IPv6 must be enabled"),
        ("-d macvlan -o parent=nosuch0 --subnet 10.91.0.0/24 -o macvlan_mode=odd x",
         "requested macvlan mode 'odd' is not valid"),
        ("--config-from nosuch x", 'configuration network "nosuch" not found'),
    ],
)  # fmt: skip
def test_what_cannot_be_made(onggi: Onggi, words: str, text: str) -> None:
    assert text in onggi("network", "create", *words.split(), code=1).stderr
    assert onggi.out("network", "ls", "-q", "-f", "name=x") == ""


def test_ranges_do_not_overlap_and_prune_takes_what_is_unused(
    onggi: Onggi, make: Make, busybox: str
) -> None:
    make("used", "--subnet", "10.91.0.0/16")
    make("idle")
    assert (
        "Pool overlaps"
        in onggi("network", "create", "--subnet", "10.91.7.0/24", "x", code=1).stderr
    )
    start(onggi, busybox, "c1", "--network", "used")
    assert onggi.out("network", "ls", "-f", "dangling=true", "--format", "{{.Name}}") == "idle"
    assert onggi.out("network", "prune", "-f") == "Deleted Networks:\nidle\n"
    make("copied", "--config-from", make("template", "--config-only", "--subnet", "10.93.0.0/24"))
    assert "10.93.0.0/24" in onggi.out("network", "inspect", "copied")


# -- containers on several networks


def test_several_networks_come_and_go(onggi: Onggi, make: Make, busybox: str) -> None:
    make("aaa", "--subnet", "10.91.1.0/24"), make("bbb", "--subnet", "10.91.2.0/24")
    make("ccc", "--subnet", "10.91.3.0/24")
    start(onggi, busybox, "c1", "--network", "bbb", "--network", "name=aaa,alias=one")

    def routes() -> str:
        return onggi.out("exec", "c1", "ip", "route")

    assert "default via 10.91.1.1 dev eth1" in routes()  # the first by name
    assert "10.91.1.2\t" in (hosts := onggi.out("exec", "c1", "cat", "/etc/hosts"))
    assert "10.91.2.2\t" in hosts
    onggi("network", "connect", "--gw-priority", "1", "--ip", "10.91.3.9", "ccc", "c1")
    assert "default via 10.91.3.1 dev eth2" in routes()
    assert "10.91.3.9\t" in onggi.out("exec", "c1", "cat", "/etc/hosts")
    again = onggi("network", "connect", "ccc", "c1", code=1).stderr
    assert again.endswith("endpoint with name c1 already exists in network ccc\n")
    onggi("network", "disconnect", "ccc", "c1")
    assert "default via 10.91.1.1 dev eth1" in routes() and "10.91.3" not in routes()
    assert "10.91.3.9" not in onggi.out("exec", "c1", "cat", "/etc/hosts")
    assert (
        "is not connected to network ccc"
        in onggi("network", "disconnect", "ccc", "c1", code=1).stderr
    )
    onggi("stop", "-t", "0", "c1")
    onggi("network", "disconnect", "bbb", "c1")
    onggi("network", "connect", "--alias", "two", "ccc", "c1")
    onggi("start", "c1")
    networks = json.loads(field(onggi, "c1", "json .NetworkSettings.Networks"))
    assert sorted(networks) == ["aaa", "ccc"] and networks["ccc"]["Aliases"] == ["two"]
    assert networks["aaa"]["DNSNames"][:2] == ["c1", "one"]
    onggi("network", "disconnect", "aaa", "c1")
    onggi("network", "disconnect", "ccc", "c1")
    assert onggi.out("exec", "c1", "ip", "route") == ""


def test_published_ports_follow_the_way_out(onggi: Onggi, make: Make, busybox: str) -> None:
    make("aaa"), make("zzz")
    serve = ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"]
    onggi("run", "-d", "--name", "web", "--network", "zzz", "-p", "80", busybox, *serve)
    port = onggi.out("port", "web", "80").rpartition(":")[2]

    def page() -> str:
        return fetched(onggi, busybox, port)

    assert page() == "page"
    onggi("network", "connect", "aaa", "web")  # the first by name: the ports are published of it
    assert page() == "page" and onggi.out("port", "web", "80").endswith(port)
    onggi("network", "disconnect", "aaa", "web")
    assert page() == "page"
    onggi("network", "disconnect", "zzz", "web")
    assert onggi.out("port", "web") == ""
    onggi("network", "connect", "zzz", "web")
    assert page() == "page" and onggi.out("port", "web", "80").endswith(port)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--network none", "private (none) mode"),
        ("--network host", "disconnected from host network or connected to host network"),
    ],
)
def test_what_cannot_be_joined(
    onggi: Onggi, make: Make, busybox: str, flags: str, text: str
) -> None:
    make("net1")
    start(onggi, busybox, "c1", *flags.split())
    assert text in onggi("network", "connect", "net1", "c1", code=1).stderr


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--network net1 --ip 10.9.9.9", "only when connecting to networks with user configured"),
        ("--network name=net1,ip=300.1.1.1", "invalid IPv4 address: 300.1.1.1"),
        ("--network net1 --network bridge", "cannot attach both user-defined and non-user-defined"),
        ("--network net1 --network net1", 'network "net1" is specified multiple times'),
        ("--network-alias x", "network-scoped aliases are only supported for user-defined"),
        ("--network name=net1,alias=x --network-alias y", "both --network-alias and per-network"),
        ("--network name=net1,colour=red", "invalid field key colour"),
        ("--network net1 -p [::1]::80/sctp", "the container's network has no IPv6"),
    ],
)
def test_refused_wishes(onggi: Onggi, make: Make, busybox: str, flags: str, text: str) -> None:
    make("net1")
    assert text in onggi("run", "--rm", *flags.split(), busybox, "true", code=125).stderr


def test_ipv6(onggi: Onggi, make: Make, busybox: str) -> None:
    make("six", "--ipv6")
    start(onggi, busybox, "c1", "--network", "six")
    start(onggi, busybox, "c2", "--network", "six", "-p", "80")
    one, two = (
        field(onggi, c, ".NetworkSettings.Networks.six.GlobalIPv6Address") for c in ("c1", "c2")
    )
    assert one.startswith("fd") and one != two
    onggi("exec", "c1", "ping", "-c", "1", "-W", "30", two)
    assert looked_up(onggi, "c1", "c2") >= {two}
    assert len(onggi.out("port", "c2", "80").splitlines()) == 2  # 0.0.0.0 and [::]


def test_macvlan_without_a_parent_joins_containers(onggi: Onggi, make: Make, busybox: str) -> None:
    make("wire", "-d", "macvlan", "--subnet", "10.91.4.0/24", "--subnet", "10.91.5.0/24")
    start(onggi, busybox, "c1", "--network", "wire")
    start(onggi, busybox, "c2", "--network", "wire", "--ip", "10.91.5.7")
    start(onggi, busybox, "c3", "--network", "wire")
    onggi("exec", "c1", "ping", "-c", "1", "-W", "30", "c3")
    assert "10.91.5.7/24" in onggi.out("exec", "c2", "ip", "address")
    assert "default" not in onggi.out("exec", "c1", "ip", "route")
    onggi("network", "disconnect", "wire", "c3")
    assert "eth0" not in onggi.out("exec", "c3", "ip", "link")


# -- names


@contextmanager
def upstream() -> Iterator[list[str]]:
    """A DNS server on this host that knows every name as 192.0.2.53; what it was asked."""
    asked: list[str] = []
    with ExitStack() as undo:
        udp = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        tcp = undo.enter_context(socket.create_server((UPSTREAM, 53)))
        udp.bind((UPSTREAM, 53))

        def answer(query: bytes) -> bytes:
            record = DNSRecord.parse(query)
            asked.append(str(record.q.qname))
            made = record.reply()
            made.add_answer(RR(record.q.qname, rdata=A("192.0.2.53"), ttl=60))
            return bytes(made.pack())

        def datagrams() -> None:
            while True:
                query, sender = udp.recvfrom(4096)
                if not query:
                    return
                udp.sendto(answer(query), sender)

        def streams() -> None:
            while True:
                connection, _ = tcp.accept()
                with connection:
                    head = connection.recv(2)
                    if len(head) < 2:
                        return
                    data = answer(connection.recv(int.from_bytes(head, "big")))
                    connection.sendall(len(data).to_bytes(2, "big") + data)

        threads = [threading.Thread(target=work) for work in (datagrams, streams)]
        for thread in threads:
            thread.start()
        try:
            yield asked
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (UPSTREAM, 53))
            socket.create_connection((UPSTREAM, 53)).close()
            for thread in threads:
                thread.join()


def test_names_aliases_links_and_reverse(onggi: Onggi, make: Make, busybox: str) -> None:
    make("net1"), make("net2")
    start(onggi, busybox, "web", "--network", "net1", "--network-alias", "api")
    start(onggi, busybox, "db", "--network", "net1", "--network-alias", "api", "-h", "database")
    start(onggi, busybox, "far", "--network", "net2")
    start(onggi, busybox, "c1", "--network", "net1", "--link", "db:store")
    web, db = (field(onggi, c, ".NetworkSettings.Networks.net1.IPAddress") for c in ("web", "db"))
    assert looked_up(onggi, "c1", "web") == {web} == looked_up(onggi, "c1", "web.net1")
    assert looked_up(onggi, "c1", "api") == {web, db}
    for name in ("db", "DB", "database", "store", field(onggi, "db", ".Id")[:12]):
        assert looked_up(onggi, "c1", name) == {db}, name
    assert looked_up(onggi, "c1", db) == {"db.net1"}
    assert looked_up(onggi, "web", "store") == set()
    assert looked_up(onggi, "c1", "far") == set() == looked_up(onggi, "far", "web")
    onggi("network", "connect", "--alias", "near", "net1", "far")
    assert len(looked_up(onggi, "c1", "near")) == 1 and looked_up(onggi, "far", "web") == {web}
    onggi("rename", "web", "site")
    assert looked_up(onggi, "c1", "site") == {web} and looked_up(onggi, "c1", "web") == set()
    onggi("rm", "-f", "site")
    assert looked_up(onggi, "c1", "api") == {db}
    assert len(resolvers(onggi)) == 1


def test_links_of_the_default_network(onggi: Onggi, busybox: str) -> None:
    start(onggi, busybox, "db", "-e", "USER=me", "--expose", "5432", "--expose", "53/udp")
    address = field(onggi, "db", ".NetworkSettings.IPAddress")
    flags = ("run", "--rm", "--name", "web", "--link", "db:store-1", busybox)
    env = onggi.out(*flags, "env").splitlines()
    assert {
        f"STORE_1_PORT=tcp://{address}:5432", f"STORE_1_PORT_5432_TCP_ADDR={address}",
        "STORE_1_PORT_5432_TCP_PROTO=tcp", f"STORE_1_PORT_53_UDP=udp://{address}:53",
        "STORE_1_NAME=/web/store-1", "STORE_1_ENV_USER=me",
    } <= set(env)  # fmt: skip
    hosts = onggi.out(*flags, "cat", "/etc/hosts")
    assert re.search(rf"^{address}\tstore-1 [0-9a-f]+ db$", hosts, re.M)
    start(onggi, busybox, "stays", "--link", "db:store-1")
    onggi("stop", "-t", "0", "db")
    start(onggi, busybox, "squats")  # on the address that was db's
    onggi("start", "db")
    moved = field(onggi, "db", ".NetworkSettings.IPAddress")
    assert moved != address
    hosts = onggi.out("exec", "stays", "cat", "/etc/hosts")
    assert re.findall(r"^(\S+)\tstore-1 ", hosts, re.M) == [moved]
    onggi("stop", "-t", "0", "db")
    refused = onggi(*flags, "true", code=125).stderr
    assert "cannot link to a non running container: /db AS /web/store-1" in refused


def test_resolv_conf_follows_the_networks(onggi: Onggi, make: Make, busybox: str) -> None:
    make("net1")
    start(onggi, busybox, "c1", "--dns", "192.0.2.9", "--dns-search", "example.org")
    show = ("exec", "c1", "cat", "/etc/resolv.conf")
    assert "nameserver 192.0.2.9\n" in onggi.out(*show)
    onggi("network", "connect", "net1", "c1")
    assert "nameserver 127.0.0.11\nsearch example.org\n" in (text := onggi.out(*show))
    assert "ndots:0" in text
    onggi("network", "disconnect", "net1", "c1")
    assert "nameserver 192.0.2.9\n" in onggi.out(*show)


@pytest.mark.sec("F5")
def test_other_names_are_asked_for_but_not_from_internal_networks(
    onggi: Onggi, make: Make, python: str, busybox: str
) -> None:
    make("out"), make("inner", "--internal")
    with upstream() as asked:
        start(onggi, busybox, "c1", "--network", "out", "--dns", UPSTREAM)
        start(onggi, busybox, "c2", "--network", "inner", "--dns", UPSTREAM)
        assert looked_up(onggi, "c1", "onggi.example", "-type=a") == {"192.0.2.53"}
        refused = onggi("exec", "c2", "nslookup", "leak.example", code=1).stdout
        assert "REFUSED" in refused and "leak.example." not in asked
        ask = (
            "import socket,sys; s=socket.create_connection(('127.0.0.11',53));"
            "q=bytes.fromhex(sys.argv[1]); s.sendall(len(q).to_bytes(2,'big')+q);"
            "print(s.recv(4096).hex())"
        )
        query = DNSRecord.question("stream.example").pack().hex()
        got = onggi.out("run", "--rm", "--network", "out", "--dns", UPSTREAM, python,
                        "python", "-c", ask, query)  # fmt: skip
        assert "192.0.2.53" in str(DNSRecord.parse(bytes.fromhex(got)[2:]))
        assert "stream.example." in asked


def test_a_container_may_serve_dns_itself(onggi: Onggi, make: Make, python: str) -> None:
    make("net1")
    program = (
        "import socket; names = [socket.gethostbyname('box')];"
        "all = [socket.socket(socket.AF_INET, k) for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM)];"
        "[s.bind(('0.0.0.0', 53)) for s in all]; print(names + [socket.gethostbyname('box')])"
    )
    shown = onggi.out("run", "--rm", "--network", "name=net1,alias=box", python,
                      "python", "-c", program)  # fmt: skip
    assert len(set(json.loads(shown.replace("'", '"')))) == 1


def test_the_resolver_has_no_rights_and_is_replaced_when_it_dies(
    onggi: Onggi, make: Make, busybox: str
) -> None:
    make("net1")
    start(onggi, busybox, "c1", "--network", "net1")
    start(onggi, busybox, "c2", "--network", "net1")
    (pid,) = resolvers(onggi)
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4 and int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1" and int(status["VmRSS"].split()[0]) < 40_000
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while not has_ended(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(looked_up(onggi, "c1", "c2")) == 1  # exec found it dead
    (other,) = resolvers(onggi)
    assert other != pid
    onggi("rm", "-f", "c1", "c2")
    while resolvers(onggi) or os.path.exists(f"{run_directory(onggi)}/dns"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- repair


@pytest.mark.sec("F3")
def test_repair_after_a_flush(onggi: Onggi, make: Make, busybox: str) -> None:
    make("one"), make("two")
    start(onggi, busybox, "c1", "--network", "one")
    start(onggi, busybox, "c2", "--network", "two")
    c2 = field(onggi, "c2", ".NetworkSettings.Networks.two.IPAddress")
    ping = ("exec", "c1", "ping", "-c", "1", c2, "-W")
    assert onggi(*ping, "1", code=None).returncode == 1
    mark = f"{zlib.crc32(os.fsencode(run_directory(onggi))):08x}"
    listed = subprocess.check_output(["nft", "list", "tables"], text=True).split()
    (table,) = {word for word in listed if mark in word}
    subprocess.run(["nft", "delete", "table", "inet", table], check=True)
    assert onggi(*ping, "30", code=None).returncode == 0
    onggi("network", "repair")
    assert onggi(*ping, "1", code=None).returncode == 1
    port = f"veth{field(onggi, 'c1', '.Id')[:10]}"
    shown = subprocess.check_output(["ip", "-j", "link", "show", port], text=True)
    bridge = json.loads(shown)[0]["master"]
    subprocess.run(["ip", "link", "delete", bridge], check=True)
    start(onggi, busybox, "c3", "--network", "two")  # another network's start does not mind
    onggi("network", "repair")
    start(onggi, busybox, "c4", "--network", "one")
    onggi("exec", "c4", "ping", "-c", "1", "-W", "30", "c1")


def test_ports_are_relayed_where_there_is_no_nft(onggi: Onggi, busybox: str) -> None:
    """In a mount namespace in which nft cannot be executed."""
    hidden = 'for f in /usr/sbin/nft /sbin/nft; do mount --bind /dev/null "$f"; done; exec "$@"'
    serve = "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"
    argv = [str(onggi.command), "run", "-d", "--name", "web", "-p", "80", "-p", "53/udp", busybox,
            "sh", "-c", serve]  # fmt: skip
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", hidden, "sh", *argv],
        env=onggi.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nftables is not installed" in done.stderr
    port = onggi.out("port", "web", "80").rpartition(":")[2]
    assert fetched(onggi, busybox, port) == "page"
    assert [name for name in processes() if name == "onggi proxy"] == ["onggi proxy"]
    onggi("rm", "-f", "web")
    deadline = time.monotonic() + 60
    while "onggi proxy" in processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "onggi proxy" not in processes()
    onggi("network", "repair")  # what a test before left to the last container, which had no nft


# -- many


def test_a_hundred_containers_on_one_network_under_a_client(
    onggi: Onggi, make: Make, busybox: str
) -> None:
    """Names are right the moment a container runs, and gone the moment it is removed."""
    make("crowd")
    start(onggi, busybox, "client", "--network", "crowd")
    script = (
        "while :; do nslookup client > /tmp/out 2>&1 || { cat /tmp/out; echo FAILED; }; "
        "sleep 0.05; done"
    )
    asking = onggi.popen("exec", "client", "sh", "-c", script)
    try:
        names = [f"member{n}" for n in range(99)]
        for name in names:
            start(onggi, busybox, name, "--network", "crowd")
        addresses = [
            field(onggi, n, ".NetworkSettings.Networks.crowd.IPAddress") for n in names[::9]
        ]
        asked = "for n in " + " ".join(names[::9]) + "; do nslookup -type=a $n; done"
        shown = onggi.out("exec", "client", "sh", "-c", asked)
        assert re.findall(r"^Address: (\S+)$", shown, re.M) == addresses
        (pid,) = resolvers(onggi)
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            (rss,) = (line.split()[1] for line in file if line.startswith("VmRSS"))
        assert int(rss) < 60_000  # kB, for a hundred
        onggi("rm", "-f", *names[:50])
        assert looked_up(onggi, "client", names[0]) == set()
        assert len(looked_up(onggi, "client", names[-1])) == 1
        assert asking.poll() is None
    finally:
        onggi("rm", "-f", "client", code=None)
        output, _ = asking.communicate(timeout=60)
    assert "FAILED" not in output
