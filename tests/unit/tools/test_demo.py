"""What the demo lends a build of this machine's pip configuration."""

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("demo", str(CHECKOUT / "tools/demo"))
    specification = importlib.util.spec_from_loader("demo", loader)
    assert specification
    module = importlib.util.module_from_spec(specification)
    loader.exec_module(module)
    return module


def test_nothing_local_is_lent_but_copies(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("the authority\n")
    (tmp_path / "limits.txt").write_text("a<2\nb @ file:///wheels/b.whl\n-c more.txt\n")
    (tmp_path / "pip.conf").write_text(
        f"""[global]
index-url = https://user:secret@mirror.example/simple
extra-index-url = file:///wheels/simple
    https://other.example/simple
find-links = /wheels
cert = {tmp_path / "ca.pem"}
constraint = {tmp_path / "limits.txt"}
no-index = true
cache-dir = /cache
[install]
trusted-host = mirror.example
"""
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_RETRIES", "7")
    monkeypatch.delenv("PIP_CERT", raising=False)
    lent = tmp_path / "lent"
    lent.mkdir()
    demo.lend_pip_configuration(lent)
    lines = (lent / "pip.conf").read_text().splitlines()
    assert lines[0] == "[global]"
    assert set(lines[1:]) >= {
        "index-url = https://user:secret@mirror.example/simple",
        "extra-index-url = https://other.example/simple",
        f"cert = {demo.LENT}/certificates.pem",
        "trusted-host = mirror.example",
        "retries = 7",
    }
    text = "\n".join(lines)
    for word in ("file:", "find-links", "no-index", "cache-dir", str(tmp_path)):
        assert word not in text
    assert (lent / "certificates.pem").read_text() == "the authority\n"
    copies = [path.read_text() for path in lent.glob("constraints-*.txt")]
    assert "a<2\n" in copies
    assert f"constraint = {demo.LENT}/constraints-" in text
