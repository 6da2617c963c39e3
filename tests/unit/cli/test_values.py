"""What flags mean: ports, mounts, variables, limits. Strict, in docker's words."""

from pathlib import Path

import pytest

from onggi.cli import environment, limits, mounts
from onggi.cli.ports import parse_expose, parse_publish
from onggi.engine import bindspec
from onggi.errors import OnggiError
from onggi.spec.container import Ulimit
from onggi.spec.mount import MountRequest
from onggi.spec.network import PortBinding


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", [PortBinding("", 0, 80)]),
        ("8080:80", [PortBinding("", 8080, 80)]),
        ("8080:80/udp", [PortBinding("", 8080, 80, "udp")]),
        ("8080:80/TCP", [PortBinding("", 8080, 80)]),
        ("127.0.0.1:8080:80", [PortBinding("127.0.0.1", 8080, 80)]),
        ("127.0.0.1::80", [PortBinding("127.0.0.1", 0, 80)]),
        ("[::1]:8080:80", [PortBinding("::1", 8080, 80)]),
        ("::1:8080:80", [PortBinding("::1", 8080, 80)]),
        ("[::]:80:80", [PortBinding("::", 80, 80)]),
        (":80", [PortBinding("", 0, 80)]),
        ("80-81", [PortBinding("", 0, 80), PortBinding("", 0, 81)]),
        ("8080-8081:80-81", [PortBinding("", 8080, 80), PortBinding("", 8081, 81)]),
        ("0:80", [PortBinding("", 0, 80)]),
    ],
)
def test_published_ports(spec: str, bindings: list[PortBinding]) -> None:
    assert parse_publish(spec) == bindings


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "no port specified: <empty>"),
        ("80:", "no port specified: 80:<empty>"),
        ("99999:80", "invalid hostPort: 99999"),
        ("abc:80", "invalid hostPort: abc"),
        ("80:99999", "invalid containerPort: 99999"),
        ("foo", "invalid containerPort: foo"),
        ("80-90:80-91", "invalid ranges specified for container and host Ports: 80-91 and 80-90"),
        ("80:80-81", "invalid ranges specified for container and host Ports: 80-81 and 80"),
        ("::80", "invalid port spec '::80': the host address is empty"),
        ("0.0.0.0:80:80:80", "invalid IP address: 0.0.0.0:80"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("80/foo", "invalid proto: foo"),
        ("10-5:80", "invalid hostPort: 10-5"),
        ("-1:80", "invalid hostPort: -1"),
        ("+80:80", "invalid hostPort: +80"),
        ("80:-1", "invalid containerPort: -1"),
        ("٨٠:80", "invalid hostPort: ٨٠"),
    ],
)
def test_bad_ports(spec: str, words: str) -> None:
    with pytest.raises(OnggiError) as error:
        parse_publish(spec)
    assert error.value.message == words


def test_exposed_ports() -> None:
    assert parse_expose("80") == ["80/tcp"]
    assert parse_expose("80-82/udp") == ["80/udp", "81/udp", "82/udp"]
    for bad in ("abc", "80-70", "70000", ""):
        with pytest.raises(OnggiError, match="invalid range format for --expose"):
            parse_expose(bad)


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        ("/data", MountRequest("volume", "", "/data")),
        ("/a:/b", MountRequest("bind", "/a", "/b", create_source=True)),
        ("/a:/b:ro", MountRequest("bind", "/a", "/b", True, create_source=True, mode="ro")),
        ("./a/../b:/c", MountRequest("bind", "/here/b", "/c", create_source=True)),
        (".:/c", MountRequest("bind", "/here", "/c", create_source=True)),
        ("vol:/b", MountRequest("volume", "vol", "/b")),
        ("vol:/b:ro,nocopy",
         MountRequest("volume", "vol", "/b", True, no_copy=True, mode="ro,nocopy")),
        ("vol:/b:U,Z", MountRequest("volume", "vol", "/b", mode="U,Z", change_owner=True)),
        ("/a:/b:rslave,z",
         MountRequest("bind", "/a", "/b", False, "rslave", create_source=True, mode="rslave,z")),
        ("/a:/b//c/../d/", MountRequest("bind", "/a", "/b/d", create_source=True)),
    ],
)  # fmt: skip
def test_volumes(spec: str, request_: MountRequest) -> None:
    assert mounts.parse_volume(spec, "/here") == request_


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "invalid empty volume spec"),
        (":", "empty section between colons"),
        (":/b", "empty section between colons"),
        ("/a:/b:/c:/d", "too many colons"),
        ("/a:rel", "mount path must be absolute"),
        ("/a:/b:zz", "invalid mode: zz"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("/a:/b:shared,slave", "invalid mode: shared,slave"),
        ("/a:/b:nocopy", "field VolumeOptions must not be specified"),
        ("vol:/b:rshared", "field BindOptions must not be specified"),
        ("/a:/", "destination can't be '/'"),
        ("/a:/..", "destination can't be '/'"),
        ("rel/path:/b", "includes invalid characters for a local volume name"),
        ("a\nb:/b", "includes invalid characters"),
        ("/a:/b\nc", "control characters"),
    ],
)
def test_bad_volumes(spec: str, words: str) -> None:
    with pytest.raises(OnggiError, match=words):
        mounts.parse_volume(spec, "/here")


def test_a_relative_path_gets_a_hint() -> None:
    with pytest.raises(OnggiError) as error:
        mounts.parse_volume("rel/path:/b", "/here")
    assert error.value.hint == ("a host path starts with / or ./ – did you mean: -v ./rel/path:/b")


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        ("type=bind,source=/a,target=/b", MountRequest("bind", "/a", "/b")),
        ("type=bind,src=/a,dst=/b,readonly", MountRequest("bind", "/a", "/b", True)),
        ("type=bind,src=/a,dst=/b,ro=false", MountRequest("bind", "/a", "/b")),
        ("target=/v", MountRequest("volume", "", "/v")),
        ("src=vol,dst=/v,volume-nocopy", MountRequest("volume", "vol", "/v", no_copy=True)),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
            MountRequest("tmpfs", "", "/t", tmpfs_options="size=1048576,mode=1770"),
        ),
        ('type=bind,"src=/a,b",dst=/c', MountRequest("bind", "/a,b", "/c")),
        ('type=bind,"src=/a""q""",dst=/c', MountRequest("bind", '/a"q"', "/c")),
        ('src=v,dst=/v,volume-driver=local,volume-opt=type=nfs,"volume-opt=o=addr=1.2.3.4,rw"',
         MountRequest("volume", "v", "/v", options={"type": "nfs", "o": "addr=1.2.3.4,rw"},
                      driver="local")),
        ("type=bind,src=/a,dst=/b,bind-propagation=rshared",
         MountRequest("bind", "/a", "/b", propagation="rshared")),
    ],
)  # fmt: skip
def test_mounts(spec: str, request_: MountRequest) -> None:
    assert mounts.parse_mount(spec) == request_._replace(origin="mount")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("type=zzz,target=/x", "mount type unknown"),
        ("type=bind", "target is required"),
        ("type=,dst=/x", "type is required"),
        ("foo", "invalid field 'foo' must be a key=value pair"),
        ("type=bind,foo=bar", "unexpected key 'foo' in 'foo=bar'"),
        ("=", "unexpected key '' in '='"),
        ("type=bind,src=/a,dst=/b,readonly=maybe", "invalid value for readonly: maybe"),
        ("dst=/x,ro=", "invalid value for ro: "),
        ("dst=/x,target=/y", "given twice"),
        ("type=bind,dst=/x", "source is required"),
        ("type=bind,src=/,dst=rel", "must be an absolute path"),
        ("type=bind,src=/,dst=/", "must be an absolute path"),
        ("type=volume,src=v,dst=/x,bind-propagation=shared",
         r"cannot mix 'bind-\*' options with mount type 'volume'"),
        ("type=tmpfs,dst=/x,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=bind,src=/,dst=/x,bind-propagation=x", "invalid propagation mode: x"),
        ("type=volume,dst=/x,volume-nocopy=maybe", "invalid value for volume-nocopy: maybe"),
        ("type=volume,dst=/x,volume-opt=a", "must be a key=value pair"),
        ('type=bind,"src=/a', "missing \" in quoted-field"),
        ('type=bind,"src=/a"x,dst=/b', "in quoted-field"),
        ('type=bind,s"rc=/a,dst=/b', "bare \" in non-quoted-field"),
        ("type=bind,src=/a\nb,dst=/b", "more than one line"),
    ],
)  # fmt: skip
def test_bad_mounts(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mounts.parse_mount(spec)


def test_tmpfs() -> None:
    assert bindspec.parse_tmpfs("/t:size=64m,mode=1777,ro") == MountRequest(
        "tmpfs", "", "/t", True, tmpfs_options="size=64m,mode=1777,ro"
    )
    for bad in ("rel", "/t:bad", "/t:size=x", "/", "/t:mode=9999"):
        with pytest.raises(OnggiError):
            bindspec.parse_tmpfs(bad)


def test_variables(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\n\nA=1\n  B=x y\nHOME\nNOT_SET\r\nC=2\r\n")
    found = environment.variables({"HOME": "/h", "USER": "u"}, [str(file)], ["D=", "USER", "GONE"])
    assert found == ("A=1", "B=x y", "HOME=/h", "C=2", "D=", "USER=u")


@pytest.mark.parametrize("text", ["=v", "", "A\nB=c", "A\0B", "A=\0"])
def test_bad_variables(text: str) -> None:
    with pytest.raises(ValueError, match="invalid environment variable"):
        environment.check_variable(text)


def test_bad_env_files(tmp_path: Path) -> None:
    file = tmp_path / "env"
    for content, words in (
        (b"a b=c\n", "contains whitespaces"),
        (b"=v\n", "no variable name on line '=v'"),
        (b"A=1\nB=\xff\n", "invalid utf8 bytes at line 2"),
    ):
        file.write_bytes(content)
        with pytest.raises(OnggiError, match=words):
            environment.variables({}, [str(file)], [])
    with pytest.raises(OnggiError, match=r"^open /nonexistent: no such file or directory$"):
        environment.variables({}, ["/nonexistent"], [])


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels"
    file.write_text("a=1\nb\n")
    assert environment.labels([str(file)], ["c=x=y", "a=2"]) == {"a": "2", "b": "", "c": "x=y"}
    for bad in ("=x", ""):
        with pytest.raises(ValueError, match="empty name"):
            environment.check_label(bad)


def test_ulimits() -> None:
    assert limits.parse_ulimit("nofile=10:20") == Ulimit("nofile", 10, 20)
    assert limits.parse_ulimit("core=-1") == Ulimit("core", -1, -1)
    for text, words in (
        ("nofile", "invalid ulimit argument: nofile"),
        ("bogus=1", "invalid ulimit type: bogus"),
        ("nofile=abc", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("nofile=10:5", "ulimit soft limit must be less than or equal to hard limit: 10 > 5"),
        ("nofile=1:2:3", "too many limit value arguments"),
        ("nofile=-1:5", "soft: -1 .unlimited., hard: 5"),
        ("nofile=-5", "invalid ulimit value"),
    ):
        with pytest.raises(ValueError, match=words):
            limits.parse_ulimit(text)


def test_sysctls() -> None:
    assert limits.parse_sysctl("net.ipv4.ip_forward=1") == ("net.ipv4.ip_forward", "1")
    assert limits.parse_sysctl("kernel.shmmax=1 2\t3")[1] == "1 2\t3"
    for bad in ("foo", "kernel.core_pattern=|x", "net.ipv4.ip_forward=1\nx", "=x", "net.a",
                "net.../../kernel/core_pattern=x", "vm.swappiness=1"):  # fmt: skip
        with pytest.raises(ValueError, match="is not allowed"):
            limits.parse_sysctl(bad)


@pytest.mark.parametrize("text", ["0", "1000:1000", "app", "app:staff", "2147483647", ""])
def test_users(text: str) -> None:
    assert limits.checked_user(text) == text


@pytest.mark.parametrize(
    "text", ["1_0", "+1", "-1", "4294967295", "4294967296", " 0", "a:b:c", "a b", "0\n", ":", "a:"]
)
def test_bad_users(text: str) -> None:
    with pytest.raises(OnggiError):
        limits.checked_user(text)


def test_extra_hosts() -> None:
    assert limits.parse_extra_host("a:1.2.3.4") == "a:1.2.3.4"
    assert limits.parse_extra_host("a=1.2.3.4") == "a:1.2.3.4"
    assert limits.parse_extra_host("a:[::1]") == "a:::1"
    assert limits.parse_extra_host("a:host-gateway") == "a:host-gateway"
    for bad in ("foo", "a:b", ":1.2.3.4", "a=", "a b:1.2.3.4"):
        with pytest.raises(ValueError, match="add-host"):
            limits.parse_extra_host(bad)


def test_signals() -> None:
    for good in ("", "TERM", "SIGTERM", "sigterm", "15", "RTMIN+3", "SIGRTMAX-1"):
        assert limits.checked_signal(good) == good
    for bad in ("FOO", "99", "0", "-9", "SIGSIGTERM", "RTMIN+x"):
        with pytest.raises(OnggiError, match="invalid signal"):
            limits.checked_signal(bad)
