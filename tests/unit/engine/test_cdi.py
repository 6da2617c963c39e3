"""CDI specifications: which devices there are, and what they add."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onggi.engine import cdi, devices
from onggi.errors import CorruptData, InvalidInput, NotFound, Unsupported
from onggi.linux.cgroup import DeviceRule
from onggi.runtime.plan import Device, PlanMount
from onggi.spec.container import DeviceMapping, HostOptions


def write(directory: Path, name: str, spec: object) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return path


def spec(*devices_: dict[str, Any], kind: str = "vendor.com/class", **more: Any) -> dict[str, Any]:
    return {"cdiVersion": "0.6.0", "kind": kind, "devices": list(devices_), **more}


def test_everything_a_device_can_add(tmp_path: Path) -> None:
    full = {
        "env": ["A=1"],
        "deviceNodes": [
            {"path": "/dev/card", "type": "c", "major": 226, "minor": 3, "fileMode": 0o640,
             "uid": 1, "gid": 2, "permissions": "rw"},
            {"path": "/dev/nothing", "hostPath": "/dev/null"},
        ],
        "mounts": [
            {"hostPath": "/usr/lib", "containerPath": "/vendor", "options": ["ro", "bind"]},
            {"hostPath": "/a", "containerPath": "/b"},
        ],
        "additionalGids": [44],
    }  # fmt: skip
    write(tmp_path, "v.json", spec({"name": "x", "containerEdits": full},
                                   containerEdits={"env": ["COMMON=1"]}))  # fmt: skip
    found = cdi.edits(["vendor.com/class=x"], [str(tmp_path)])
    assert found.env == ("COMMON=1", "A=1")
    assert found.nodes == (
        Device("/dev/card", "c", 226, 3, 0o640, 1, 2),
        Device("/dev/nothing", "c", 1, 3, 0o666),
    )
    assert found.rules == (DeviceRule(True, "c", 226, 3, "rw"), DeviceRule(True, "c", 1, 3))
    assert found.mounts == (
        PlanMount("/vendor", "bind", "/usr/lib", ("ro", "bind", "rprivate")),
        PlanMount("/b", "bind", "/a", ("ro", "nosuid", "nodev", "rbind", "rprivate")),
    )
    assert found.groups == ("44",)


def test_common_edits_are_made_once(tmp_path: Path) -> None:
    write(tmp_path, "v.json", spec({"name": "a"}, {"name": "b"}, containerEdits={"env": ["C=1"]}))
    names = ["vendor.com/class=a", "vendor.com/class=b"]
    assert cdi.edits(names, [str(tmp_path)]).env == ("C=1",)


def test_unknown_devices(tmp_path: Path) -> None:
    write(tmp_path, "v.json", spec({"name": "a"}))
    with pytest.raises(NotFound) as caught:
        cdi.edits(["vendor.com/class=b", "x.y/z=q"], [str(tmp_path)])
    assert caught.value.message == (
        "CDI device injection failed: unresolvable CDI devices vendor.com/class=b, x.y/z=q"
    )
    assert caught.value.hint == "vendor.com/class has: vendor.com/class=a"


def test_the_later_directory_wins_and_one_directory_conflicts(tmp_path: Path) -> None:
    etc, run = tmp_path / "etc", tmp_path / "run"
    write(etc, "v.json", spec({"name": "a", "containerEdits": {"env": ["FROM=etc"]}}))
    write(run, "v.json", spec({"name": "a", "containerEdits": {"env": ["FROM=run"]}}))
    assert cdi.edits(["vendor.com/class=a"], [str(etc), str(run)]).env == ("FROM=run",)
    write(etc, "w.json", spec({"name": "a"}))
    with pytest.raises(CorruptData, match=r"conflicting device 'vendor.com/class=a'.*w.json"):
        cdi.edits(["vendor.com/class=a"], [str(etc)])


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        (
            {"hooks": [{"hookName": "createContainer", "path": "/usr/bin/x"}]},
            "the hook '/usr/bin/x'",
        ),
        ({"intelRdt": {"closID": "x"}}, "intelRdt"),
    ],
)
def test_what_onggi_does_not_do_is_refused(
    tmp_path: Path, edits: dict[str, Any], words: str
) -> None:
    write(tmp_path, "v.json", spec({"name": "a", "containerEdits": edits}))
    with pytest.raises(Unsupported, match=words):
        cdi.edits(["vendor.com/class=a"], [str(tmp_path)])


@pytest.mark.parametrize(
    "bad",
    [
        "{", "[]", "null", '{"kind": 3}', '{"kind": "v.c/d", "devices": [3]}',
        '{"kind": "v.c/d", "devices": {"name": "a"}}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": {"env": "A=1"}}]}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": [1]}]}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": {"mounts": [{}]}}]}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": {"deviceNodes": [{}]}}]}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": {"additionalGids": 5}}]}',
        '{"kind": "v.c/d", "devices": [{"name": "a", "containerEdits": {"deviceNodes": '
        '[{"path": "/dev/x", "type": "c", "major": "x", "minor": 1}]}}]}',
    ],
)  # fmt: skip
def test_broken_files_are_named(tmp_path: Path, bad: str) -> None:
    write(tmp_path, "broken.json", bad)
    with pytest.raises(CorruptData, match=r"broken\.json"):
        cdi.edits(["v.c/d=a"], [str(tmp_path)])


YAML = """\
cdiVersion: "0.5.0"
kind: vendor.com/class
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/vendor0, type: c, major: 195, minor: 0}
    additionalGids: [44]
containerEdits:
  env:
  - VENDOR=void
"""


@pytest.mark.parametrize("name", ["vendor.yaml", "vendor.yml"])
def test_yaml(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, YAML)
    found = cdi.edits(["vendor.com/class=0"], [str(tmp_path)])
    assert (found.env, found.groups) == (("VENDOR=void",), ("44",))
    assert [node.path for node in found.nodes] == ["/dev/vendor0"]


@pytest.mark.parametrize("bad", ["kind: [", "- a\n", "kind: !!python/object:os.system {}\n", ""])
def test_broken_yaml_is_named(tmp_path: Path, bad: str) -> None:
    write(tmp_path, "broken.yaml", bad)
    with pytest.raises(CorruptData, match=r"broken\.yaml"):
        cdi.edits(["v.c/d=a"], [str(tmp_path)])


def test_yaml_is_not_needed_for_json(tmp_path: Path) -> None:
    write(tmp_path, "vendor.json", spec({"name": "0", "containerEdits": {"env": ["A=1"]}}))
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from onggi.engine import cdi\n"
        f"assert cdi.edits(['vendor.com/class=0'], [{str(tmp_path)!r}]).env == ('A=1',)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_gpus(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="could not select device driver"):
        cdi.gpus(["all"], [str(tmp_path)])
    write(tmp_path, "n.json", spec({"name": "0"}, {"name": "1"}, {"name": "all"}, kind=cdi.GPU))
    here = [str(tmp_path)]
    assert cdi.gpus([], here) == []
    assert cdi.gpus(["all"], here) == ["nvidia.com/gpu=all"]
    assert cdi.gpus(["count=1"], here) == ["nvidia.com/gpu=0"]
    assert cdi.gpus(["device=1", "device=0"], here) == ["nvidia.com/gpu=1", "nvidia.com/gpu=0"]
    with pytest.raises(InvalidInput, match="3 GPUs are asked for, the host has 2"):
        cdi.gpus(["count=3"], here)


# -- --device


def test_nodes_of_the_host() -> None:
    host = HostOptions(devices=(DeviceMapping("/dev/null", "/dev/x", "r"),),
                       device_cgroup_rules=("c 13:* rw", "b *:7 m", "a *:* rwm"))  # fmt: skip
    found = devices.asked(host)
    assert [(n.path, n.kind, n.major, n.minor) for n in found.nodes] == [("/dev/x", "c", 1, 3)]
    assert found.rules == (
        DeviceRule(True, "c", 1, 3, "r"),
        DeviceRule(True, "c", 13, -1, "rw"),
        DeviceRule(True, "b", -1, 7, "m"),
        DeviceRule(True, "a"),
    )


def test_what_is_no_device(tmp_path: Path) -> None:
    prefix = "error gathering device information while adding custom device"
    (tmp_path / "file").write_text("")
    for path, error, reason in (
        (str(tmp_path / "none"), NotFound, "no such file or directory"),
        (str(tmp_path / "file"), InvalidInput, "not a device node"),
        (str(tmp_path), InvalidInput, "not a device node"),
    ):
        with pytest.raises(error) as caught:
            devices.asked(HostOptions(devices=(DeviceMapping(path, "/x"),)))
        assert str(caught.value) == f'{prefix} "{path}": {reason}'


@pytest.mark.parametrize(
    "bad", ["", "c", "c 1:2", "d 1:2 r", "c 1 r", "c x:1 r", "c 1:1 z", "c  1:1 r"]
)
def test_bad_rules(bad: str) -> None:
    with pytest.raises(InvalidInput, match="invalid device cgroup format"):
        devices.parse_rule(bad)


def test_what_a_run_step_means(tmp_path: Path) -> None:
    """The example of the Dockerfile reference."""
    note = "org.mobyproject.buildkit.device.class"
    write(
        tmp_path, "v.json",
        spec(
            {"name": "foo"}, {"name": "bar", "annotations": {note: "class1"}},
            {"name": "baz", "annotations": {note: "class1"}},
            {"name": "qux", "annotations": {cdi.ALLOW_NOTE: "false"}},
            kind="vendor1.com/device", annotations={cdi.ALLOW_NOTE: True},
        ),
    )  # fmt: skip

    def meant(name: str) -> dict[str, bool]:
        found = cdi.matching(name, [str(tmp_path)])
        return {full.partition("=")[2]: free for full, free in found.items()}

    assert meant("vendor1.com/device") == {"bar": True}
    assert meant("vendor1.com/device=foo") == {"foo": True}
    assert meant("vendor1.com/device=*") == {"bar": True, "baz": True, "foo": True, "qux": False}
    assert meant("class1") == {"bar": True, "baz": True}
    assert meant("vendor1.com/device=x") == meant("x") == {}
