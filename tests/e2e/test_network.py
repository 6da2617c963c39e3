"""Addresses, names, and published ports from everywhere they must be reachable."""

import json
import re
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from ports import free_port

from .conftest import DEADLINE_S, Onggi

pytestmark = pytest.mark.root

SERVE = ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"]
ECHO_UDP = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("0.0.0.0", 5353))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(100); s.sendto(data.upper(), sender)
"""
ASK_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(60)
s.sendto(b"hello", (sys.argv[1], int(sys.argv[2]))); print(s.recv(100).decode())
"""


def host_address() -> str:
    """An address of this host that is not loopback."""
    listed = json.loads(subprocess.check_output(["ip", "-j", "-4", "addr", "show", "up"]))
    for link in listed:
        for address in link["addr_info"]:
            if address["scope"] == "global" and "onggi" not in link["ifname"]:
                return str(address["local"])
    pytest.skip("this host has a loopback address only")


def fetch(address: str, port: str | int) -> str:
    """The page, once the server answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            url = f"http://{address}:{port}" + "/" * ("/" not in str(port))
            with opener.open(url, timeout=DEADLINE_S) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def ask_udp(address: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE_S)
        client.connect((address, port))
        client.send(b"hello")
        return client.recv(100).decode()


def port_of(onggi: Onggi, name: str, port: str = "80") -> int:
    return int(onggi.out("port", name, port).splitlines()[0].rpartition(":")[2])


def address_of(onggi: Onggi, name: str) -> str:
    return onggi.out("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name)


def test_published_and_reachable_from_everywhere(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "web", "-p", "80", busybox, *SERVE)
    port = port_of(onggi, "web")
    assert fetch("127.0.0.1", port) == "page\n"
    assert fetch("localhost", port) == "page\n"
    outside = host_address()
    assert fetch(outside, port) == "page\n"
    inside = address_of(onggi, "web")
    assert fetch(inside, 80) == "page\n"
    wget = ["timeout", "60", "wget", "-q", "-O", "-"]
    other = ["run", "--rm", busybox, *wget]
    assert onggi.out(*other, f"http://{inside}/") == "page"
    assert onggi.out(*other, f"http://{outside}:{port}/") == "page"
    gateway = onggi.out("inspect", "-f", "{{.NetworkSettings.Gateway}}", "web")
    assert onggi.out(*other, f"http://{gateway}:{port}/") == "page"
    hairpin = ["exec", "web", *wget]
    assert onggi.out(*hairpin, f"http://{outside}:{port}/") == "page"
    assert onggi.out("run", "--rm", "--network", "host", busybox, *wget,
                     f"http://127.0.0.1:{port}/") == "page"  # fmt: skip


def test_udp(onggi: Onggi, python: str) -> None:
    onggi("run", "-d", "--name", "echo", "-p", "5353/udp", python, "python", "-c", ECHO_UDP)
    onggi.until("ready", "logs", "echo")
    port = port_of(onggi, "echo", "5353/udp")
    outside, inside = host_address(), address_of(onggi, "echo")
    assert ask_udp("127.0.0.1", port) == "HELLO"
    assert ask_udp(outside, port) == "HELLO"
    for address, number in ((inside, 5353), (outside, port)):
        asked = ["python", "-c", ASK_UDP, address, str(number)]
        assert onggi.out("run", "--rm", python, *asked) == "HELLO"
        assert onggi.out("exec", "echo", *asked) == "HELLO"


@pytest.mark.parametrize("family", ["IPv4", "IPv4 and IPv6"])
def test_the_loopback_address_of_ipv6(onggi: Onggi, python: str, family: str) -> None:
    """What `localhost` is first on many hosts; a relay is there while somebody connects."""
    network, everywhere = "bridge", "0.0.0.0"
    if family != "IPv4":
        onggi("network", "create", "--ipv6", "six")
        network, everywhere = "six", "::"
    serve = f"import http.server, threading; echo = {ECHO_UDP!r}\n" + (
        "threading.Thread(target=exec, args=(echo, {})).start()\n"
        f"http.server.test(http.server.SimpleHTTPRequestHandler, port=80, bind={everywhere!r})"
    )
    onggi("run", "-d", "--name", "web", "--network", network, "-p", "80", "-p", "5353/udp",
          "-p", "[::1]::81", "-w", "/etc", python, "python", "-c", serve)  # fmt: skip
    onggi.until("ready", "logs", "web")
    port = port_of(onggi, "web")
    hostname = onggi.out("exec", "web", "cat", "/etc/hostname") + "\n"
    for address in ("[::1]", "localhost", "127.0.0.1"):
        assert fetch(address, f"{port}/hostname") == hostname
    if family == "IPv4":
        assert ask_udp("::1", port_of(onggi, "web", "5353/udp")) == "HELLO"
    assert "81/tcp -> [::1]:" in onggi.out("port", "web")
    onggi("restart", "-t", "0", "web")
    assert fetch("[::1]", f"{port_of(onggi, 'web')}/hostname") == hostname
    port = port_of(onggi, "web")
    onggi("rm", "-f", "web")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("::1", port), timeout=60)
    if family != "IPv4":
        onggi("network", "rm", "six")


def test_forms_of_publish(onggi: Onggi, busybox: str) -> None:
    first, second = free_port(), free_port()
    onggi(
        "run", "-d", "--name", "web", "-p", f"{first}:80", f"-p127.0.0.1:{second}:80/tcp",
        "--publish=127.0.0.1::80", "-p", "53:53/udp" if first == 0 else "127.0.0.1::53/udp",
        busybox, *SERVE,
    )  # fmt: skip
    found = onggi.out("port", "web").splitlines()
    assert f"80/tcp -> 0.0.0.0:{first}" in found
    assert f"80/tcp -> 127.0.0.1:{second}" in found
    assert len([line for line in found if line.startswith("80/tcp -> 127.0.0.1:")]) == 2
    assert len([line for line in found if line.startswith("53/udp -> 127.0.0.1:")]) == 1
    assert fetch("127.0.0.1", first) == fetch("127.0.0.1", second) == "page\n"
    with pytest.raises(OSError):  # published on loopback only
        socket.create_connection((host_address(), second), timeout=1).close()


def test_ranges_and_publish_all(onggi: Onggi, busybox: str, tmp_path: Path) -> None:
    onggi("create", "--name", "r1", "-p", "127.0.0.1:18080-18082:80-82",
          "-p", "127.0.0.1:18090-18092:18090-18092", busybox, "sleep", "600")  # fmt: skip
    onggi("start", "r1")
    assert onggi.out("port", "r1").splitlines()[:3] == [
        "80/tcp -> 127.0.0.1:18080",
        "81/tcp -> 127.0.0.1:18081",
        "82/tcp -> 127.0.0.1:18082",
    ]
    assert onggi.out("ps", "--format", "{{.Ports}}") == (
        "127.0.0.1:18090-18092->18090-18092/tcp, 127.0.0.1:18080->80/tcp,"
        " 127.0.0.1:18081->81/tcp, 127.0.0.1:18082->82/tcp"
    )
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nEXPOSE 80 53/udp\n")
    onggi("build", "-q", "-t", "exposing", str(tmp_path))
    onggi("run", "-d", "--name", "all", "-P", "--expose", "99", "exposing", "sleep", "600")
    found = [line.split(" ")[0] for line in onggi.out("port", "all").splitlines()]
    assert set(found) == {"80/tcp", "53/udp", "99/tcp"}
    onggi("run", "-d", "--name", "none", "exposing", "sleep", "600")
    assert onggi.out("port", "none") == ""
    assert "53/udp, 80/tcp" in onggi.out("ps", "--filter", "name=none", "--format", "{{.Ports}}")


def test_a_taken_port(onggi: Onggi, busybox: str) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = onggi("run", "-d", "--name", "late", "-p", f"{port}:80", busybox, "true", code=125)
        assert "driver failed programming external connectivity on endpoint late" in done.stderr
        assert f"failed to bind host port for 0.0.0.0:{port}" in done.stderr
        assert "address already in use" in done.stderr
        assert "pytest" in done.stderr or "python" in done.stderr  # by which process
    assert onggi.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "late created"
    onggi("start", "late")
    onggi("wait", "late")
    onggi("run", "-d", "--name", "first", "-p", f"{port}:80", busybox, "sleep", "600")
    done = onggi("run", "-d", "--name", "second", "-p", f"{port}:80", busybox, "true", code=125)
    assert done.stderr.splitlines()[-1] == f"port {port} is published by the container first"


def test_a_port_is_free_again_after_the_end(onggi: Onggi, busybox: str) -> None:
    port = free_port()
    for _ in range(3):
        onggi("run", "-d", "--name", "web", "-p", f"{port}:80", busybox, *SERVE)
        assert fetch("127.0.0.1", port) == "page\n"
        onggi("restart", "-t", "0", "web")
        assert fetch("127.0.0.1", port) == "page\n"
        onggi("rm", "-f", "web")


def test_none(onggi: Onggi, busybox: str) -> None:
    found = onggi.out("run", "--rm", "--network", "none", busybox, "ip", "-o", "addr")
    assert {line.split()[1] for line in found.splitlines()} == {"lo"}
    assert "127.0.0.1/8" in found
    onggi("run", "--rm", "--net=none", busybox, "ping", "-c", "1", "127.0.0.1")


def test_host(onggi: Onggi, busybox: str) -> None:
    found = onggi.out("run", "--rm", "--network", "host", busybox, "sh", "-c",
                      "readlink /proc/self/ns/net; hostname")  # fmt: skip
    assert found.splitlines() == [str(Path("/proc/self/ns/net").readlink()), socket.gethostname()]


def test_container(onggi: Onggi, busybox: str) -> None:
    full = onggi.out("run", "-d", "--name", "web", "-h", "webby", busybox, *SERVE)
    onggi.until("page", "exec", "web", "wget", "-q", "-O", "-", "http://127.0.0.1/")
    for reference in ("web", full, full[:6]):
        script = "hostname; wget -q -O - http://127.0.0.1/; grep -c webby /etc/hosts"
        mode = f"container:{reference}"
        found = onggi.out("run", "--rm", "--network", mode, busybox, "sh", "-c", script)
        assert found.splitlines() == ["webby", "page", "1"]
    done = onggi("run", "--network", "container:nowhere", busybox, "true", code=125)
    assert "No such container: nowhere" in done.stderr
    done = onggi("run", "--network", "container:web", "-p", "80", busybox, "true", code=125)
    assert "conflicting options: port publishing and the container type network mode" in done.stderr
    onggi("kill", "web")
    onggi("wait", "web")
    done = onggi("run", "--network", "container:web", busybox, "true", code=125)
    assert f"cannot join network of a non running container: {full}" in done.stderr


def test_bridge_address_gateway_and_names(onggi: Onggi, busybox: str) -> None:
    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    settings = json.loads(onggi.out("inspect", "-f", "{{json .NetworkSettings}}", "box"))
    (link,) = settings["Networks"].values()
    found = onggi.out(
        "exec", "box", "sh", "-c", "ip -o -4 addr show eth0; ip route; cat /etc/hosts"
    )
    assert f"inet {link['IPAddress']}/{link['IPPrefixLen']}" in found
    assert f"default via {link['Gateway']} dev eth0" in found
    assert re.search(rf"^{link['IPAddress']}\s+[0-9a-f]{{12}}$", found, re.MULTILINE)
    assert link["MacAddress"] in onggi.out("exec", "box", "ip", "link", "show", "eth0")
    onggi("exec", "box", "ping", "-c", "1", "-W", "30", link["Gateway"])


def test_the_way_out_is_masqueraded(onggi: Onggi, busybox: str) -> None:
    """What the host hears from a container comes from the host's own address."""
    outside = host_address()
    with socket.socket() as server:
        server.bind((outside, 0))
        server.listen()
        server.settimeout(DEADLINE_S)
        port = server.getsockname()[1]
        process = onggi.popen("run", "--rm", busybox, "sh", "-c", f"echo hi | nc {outside} {port}")
        connection, _ = server.accept()
        with connection:
            assert connection.recv(10) == b"hi\n"
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0


def test_dns_comes_from_the_host(onggi: Onggi, busybox: str) -> None:
    host = Path("/etc/resolv.conf").read_text()
    servers = re.findall(r"^nameserver\s+(\S+)", host, re.MULTILINE)
    usable = [server for server in servers if not server.startswith("127.") and server != "::1"]
    found = onggi.out("run", "--rm", busybox, "cat", "/etc/resolv.conf")
    assert re.findall(r"^nameserver (\S+)", found, re.MULTILINE) == (
        usable or ["8.8.8.8", "8.8.4.4"]
    )


def test_one_table_and_nothing_when_nobody_runs(onggi: Onggi, busybox: str) -> None:
    def tables() -> set[str]:
        listed = subprocess.check_output(["nft", "list", "tables"], text=True).splitlines()
        return {line for line in listed if "onggi" in line}

    before = tables()
    onggi("run", "-d", "--name", "web", "-p", "80", busybox, *SERVE)
    assert len(tables() - before) <= 1
    onggi("rm", "-f", "web")


def test_network_ls_and_inspect(onggi: Onggi, busybox: str) -> None:
    assert set(onggi.out("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()) == {
        "bridge bridge", "host host", "none null",
    }  # fmt: skip
    onggi("run", "-d", "--name", "box", busybox, "sleep", "600")
    (item,) = json.loads(onggi.out("network", "inspect", "bridge"))
    assert item["Name"] == "bridge"
    (member,) = item["Containers"].values()
    assert member["Name"] == "box"
    assert member["IPv4Address"].startswith(address_of(onggi, "box") + "/")


def test_an_app_on_loopback_only_is_told(onggi: Onggi, busybox: str) -> None:
    serve = "mkdir /www; exec httpd -f -p 127.0.0.1:80 -h /www"
    onggi("run", "-d", "--name", "shy", "-p", "80", busybox, "sh", "-c", serve)
    onggi.until("127.0.0.1:80", "exec", "shy", "netstat", "-ltn")
    told = (
        "shy listens on 127.0.0.1:80 inside the container only, so the published port cannot reach"
        " it: make the app bind 0.0.0.0:80\n"
    )
    for words in (["ps"], ["port", "shy"]):
        done = onggi(*words)
        assert done.stderr == told
        assert told not in done.stdout
