"""--device, --device-cgroup-rule, CDI and --gpus as a user types them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


def test_a_device_with_its_mode_and_no_more_access_than_given(onggi: Onggi, busybox: str) -> None:
    script = "stat -c '%t:%T %a' /dev/xnull; echo x > /dev/xnull && echo written"
    free = onggi.out("run", "--rm", "--device", "/dev/null:/dev/xnull", busybox, "sh", "-c", script)
    assert free == "1:3 666\nwritten"
    done = onggi(
        "run", "--rm", "--device", "/dev/loop0:/dev/l:r", busybox, "sh", "-c",
        "head -c 1 /dev/l >/dev/null && echo read; echo x > /dev/l", code=None,
    )  # fmt: skip
    assert done.stdout == "read\n"
    assert "Operation not permitted" in done.stderr


def test_a_device_elsewhere_and_a_directory_of_devices(onggi: Onggi, busybox: str) -> None:
    out = onggi.out(
        "run", "--rm", "--device", "/dev/null:/my/null", "--device", "/dev/net",
        busybox, "sh", "-c", "stat -c %F /my/null; ls /dev/net",
    )  # fmt: skip
    assert out.splitlines()[0] == "character special file"
    assert out.splitlines()[1:] == sorted(path.name for path in Path("/dev/net").iterdir())


def test_a_rule_allows_what_the_container_makes(onggi: Onggi, busybox: str) -> None:
    script = "mknod /n c 10 200 && dd if=/n count=0 2>&1 | tail -1"
    denied = onggi("run", "--rm", busybox, "sh", "-c", script, code=None).stdout
    assert "Operation not permitted" in denied
    allowed = onggi.out(
        "run", "--rm", "--device-cgroup-rule", "c 10:* rwm", busybox, "sh", "-c", script
    )
    assert "Operation not permitted" not in allowed


@pytest.mark.sec("16")
@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("/dev/null:/x:zzz", "bad mode specified: zzz"),
        ("/dev/nosuch", 'custom device "/dev/nosuch": no such file or directory'),
        ("/etc/passwd", 'custom device "/etc/passwd": not a device node'),
        ("/dev/null:x/y", "x/y is not an absolute path"),
        ("/dev/sd*", 'custom device "/dev/sd*": no such file or directory'),
        ("vendor.com/class=none", "unresolvable CDI devices vendor.com/class=none"),
    ],
)
def test_bad_devices(onggi: Onggi, busybox: str, flag: str, words: str) -> None:
    done = onggi("run", "--rm", "--device", flag, busybox, "true", code=125)
    assert words in done.stderr
    assert onggi.out("ps", "-aq") == ""


@pytest.fixture
def cdi_file() -> Iterator[Path]:
    path = Path("/var/run/cdi/onggi-test.json")
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    edits = {
        "env": ["CARD=7"],
        "deviceNodes": [{"path": "/dev/card", "hostPath": "/dev/null"}],
        "mounts": [{"hostPath": str(path), "containerPath": "/spec.json", "options": ["ro"]}],
    }
    path.write_text(json.dumps({
        "cdiVersion": "0.6.0", "kind": "onggi.test/card",
        "devices": [{"name": "one", "containerEdits": edits}],
    }))  # fmt: skip
    yield path
    path.unlink()
    if made:
        path.parent.rmdir()


def test_cdi(onggi: Onggi, busybox: str, cdi_file: Path) -> None:
    out = onggi.out(
        "run", "--name", "cdi", "--device", "onggi.test/card=one", busybox, "sh", "-c",
        "echo $CARD; stat -c %t:%T /dev/card; head -c 5 /spec.json; echo x > /dev/card && echo ok",
    )  # fmt: skip
    assert out == '7\n1:3\n{"cdiok'
    (found,) = json.loads(onggi.out("inspect", "cdi"))
    assert found["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["onggi.test/card=one"]


def test_gpus_without_any(onggi: Onggi, busybox: str) -> None:
    done = onggi("run", "--rm", "--gpus", "all", busybox, "true", code=125)
    assert 'could not select device driver "" with capabilities: [[gpu]]' in done.stderr
    assert "nvidia-ctk cdi generate" in done.stderr


def test_inspect(onggi: Onggi, busybox: str) -> None:
    onggi("create", "--name", "dev", "--device", "/dev/null:/dev/x:rw", busybox)
    (found,) = json.loads(onggi.out("inspect", "dev"))
    assert found["HostConfig"]["Devices"] == [
        {"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rw"}
    ]
