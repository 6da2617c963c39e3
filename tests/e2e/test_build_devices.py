"""RUN --device: CDI devices in a step."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Onggi

pytestmark = pytest.mark.root


@pytest.fixture
def cdi_file() -> Iterator[None]:
    path = Path("/var/run/cdi/onggi-build-test.json")
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    edits = {"env": ["CARD=7"], "deviceNodes": [{"path": "/dev/card", "hostPath": "/dev/null"}]}
    path.write_text(json.dumps({
        "cdiVersion": "0.6.0", "kind": "onggi.build/card",
        "devices": [{"name": "one", "containerEdits": edits}],
    }))  # fmt: skip
    yield
    path.unlink()
    if made:
        path.parent.rmdir()


def test_devices_of_a_build(onggi: Onggi, busybox: str, cdi_file: None, tmp_path: Path) -> None:
    text = f"""FROM {busybox}
RUN --device=onggi.build/card,required echo $CARD $(stat -c %t:%T /dev/card) > /seen
RUN --device=onggi.build/gone=x echo ${{CARD:-none}} >> /seen
"""
    (tmp_path / "Dockerfile").write_text(text)
    done = onggi("build", str(tmp_path), code=1)
    assert (
        "device onggi.build/card=one is requested by the build but not allowed" in done.stderr
        and "--allow device=onggi.build/card=one" in done.stderr
    )
    for allow in ("device", "device=onggi.build/card=one"):
        done = onggi("build", "-t", "made", "--allow", allow, "--no-cache", str(tmp_path))
        assert 'optional device "onggi.build/gone=x" is not registered' in done.stderr
        assert onggi.out("run", "--rm", "made", "cat", "/seen") == "7 1:3\nnone"
    done = onggi("build", str(tmp_path), code=1)  # what is not allowed is not found either
    assert "not allowed" in done.stderr
    (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nRUN --device=a.b/c,required true\n")
    done = onggi("build", "--allow", "device", str(tmp_path), code=1)
    assert 'required device "a.b/c" is not registered' in done.stderr
