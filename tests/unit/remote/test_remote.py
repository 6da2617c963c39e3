"""Addresses, errors, requests and records of an engine elsewhere."""

import pytest

from onggi.errors import CommandNotExecutable, CommandNotFound, Conflict, InvalidInput, NotFound
from onggi.remote import records, requests
from onggi.remote.address import Address, Tls, parse
from onggi.remote.transport import error_of
from onggi.spec.container import ContainerOptions, HostOptions, Resources
from onggi.spec.mount import MountRequest
from onggi.spec.network import EndpointOptions, PortBinding


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unix:///run/x.sock", Address("unix", "/run/x.sock")),
        ("tcp://host", Address("tcp", "host:2375")),
        ("tcp://host:99/", Address("tcp", "host:99")),
        ("tcp://[::1]", Address("tcp", "[::1]:2375")),
        ("host:2375", Address("tcp", "host:2375")),
        ("https://host", Address("tcp", "host:2376", tls=Tls())),
        ("ssh://me@host:22", Address("ssh", "me@host", 22)),
        ("ssh://host", Address("ssh", "host")),
    ],
)
def test_addresses(text: str, wanted: Address) -> None:
    assert parse(text) == wanted


def test_tls_has_a_port_of_its_own() -> None:
    assert parse("tcp://host", Tls()).place == "host:2376"


@pytest.mark.parametrize(
    "text", ["", "unix://", "unix://relative", "tcp://", "tcp://h/path", "ssh://-oX=y", "ssh://",
             "ftp://x", "tcp://h:0", "tcp://h:99999"]
)  # fmt: skip
def test_bad_addresses(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"message": "No such container: x"}', NotFound),
        (409, b'{"message": "in use"}', Conflict),
        (400, b'{"message": "unable to start container process: exec: \\"x\\": executable file not '
              b'found in $PATH"}', CommandNotFound),
        (400, b'{"message": "unable to start container process: exec: /x: permission denied"}',
         CommandNotExecutable),
        (404, b"<html>", NotFound),
        (400, b'["no object"]', InvalidInput),
    ],
)  # fmt: skip
def test_errors(status: int, body: bytes, kind: type[Exception]) -> None:
    assert type(error_of(status, body)) is kind


def test_a_request_to_create() -> None:
    options = ContainerOptions(
        "busybox", command=("sh",), env=("A=b",), tty=True, exposed_ports=("90/tcp",),
        host=HostOptions(
            mounts=(MountRequest("bind", "/a", "/b", mode="ro", read_only=True),
                    MountRequest("volume", "", "/anonymous")),
            ports=(PortBinding("127.0.0.1", 8080, 80),),
            network_mode="net",
            endpoints={"net": EndpointOptions(aliases=("db",), address="10.0.0.2")},
            security_opt=("systempaths=unconfined", "no-new-privileges=true"),
        ),
    )  # fmt: skip
    body = requests.create(options)
    host = body["HostConfig"]
    assert (body["Image"], body["Cmd"], body["Tty"], body["Env"]) == (
        "busybox",
        ["sh"],
        True,
        ["A=b"],
    )
    assert body["ExposedPorts"] == {"90/tcp": {}, "80/tcp": {}}
    assert body["Volumes"] == {"/anonymous": {}}
    assert host["Binds"] == ["/a:/b:ro"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
    assert (host["Runtime"], host["IpcMode"], host["MaskedPaths"]) == ("", "", [])
    assert host["SecurityOpt"] == ["no-new-privileges"]
    endpoint = body["NetworkingConfig"]["EndpointsConfig"]["net"]
    assert (endpoint["Aliases"], endpoint["IPAMConfig"]["IPv4Address"]) == (["db"], "10.0.0.2")
    assert "Entrypoint" not in body


def test_a_request_to_update_has_what_changes_only() -> None:
    assert requests.resources(Resources(memory_bytes=1 << 20)) == {"Memory": 1 << 20}


def test_records_of_an_old_engine() -> None:
    """What is missing or null is empty."""
    state, nothing = {"Status": "running"}, {"Ports": None}
    told = {"Id": "ab", "Name": "/x", "State": state, "Config": {"Labels": None}}
    found = records.container({**told, "NetworkSettings": nothing})
    assert (found.id, found.name, found.state.status, found.config.labels) == (
        "ab",
        "x",
        "running",
        {},
    )
    assert records.ports({"NetworkSettings": {"Ports": {"80/tcp": None}}}) == ()
    image = records.image({"Id": "sha256:" + "a" * 64, "RepoTags": ["<none>:<none>"], "Created": 1})
    assert (image.tags, image.created_ns) == ((), 10**9)
    assert records.moment("0001-01-01T00:00:00Z") == 0
