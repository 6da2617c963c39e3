import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from onggi.errors import InvalidInput, Unavailable
from onggi.registry.credentials import HUB_KEY, NOT_FOUND, Credentials, Lent, server_key
from onggi.registry.protocol import Secret


class Helper:
    """docker-credential-test, in memory."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, str]] = {}
        self.calls: list[list[str]] = []

    def run(self, argv: Sequence[str], data: bytes) -> tuple[int, bytes]:
        self.calls.append(list(argv))
        assert argv[0] == "docker-credential-test"
        if argv[1] == "store":
            document = json.loads(data)
            self.stored[document["ServerURL"]] = document
            return 0, b""
        found = self.stored.get(data.decode())
        if found is None:
            return 1, NOT_FOUND.encode() + b"\n"
        if argv[1] == "erase":
            del self.stored[data.decode()]
            return 0, b""
        return 0, json.dumps(found).encode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".docker" / "config.json"


def write(path: Path, document: object, mode: int = 0o600) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    path.chmod(mode)


def test_put_get_erase(path: Path) -> None:
    credentials = Credentials(str(path))
    assert credentials.get("h:5000") is None
    assert credentials.put("h:5000", Secret("me", "pä:ss"))
    assert json.loads(path.read_text())["auths"] == {
        "h:5000": {"auth": base64.b64encode("me:pä:ss".encode()).decode()}
    }
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert credentials.get("h:5000") == Secret("me", "pä:ss")
    assert credentials.get("h:5001") is None
    assert credentials.erase("h:5000")
    assert not credentials.erase("h:5000")
    assert os.listdir(path.parent) == ["config.json"]


def test_other_keys_stay(path: Path) -> None:
    write(path, {"psFormat": "x", "auths": {"other": {"auth": "YTpi"}}, "detachKeys": "y"})
    Credentials(str(path)).put("h", Secret("me", "pw"))
    document = json.loads(path.read_text())
    assert list(document) == ["psFormat", "auths", "detachKeys"]
    assert list(document["auths"]) == ["other", "h"]
    assert path.read_text().startswith('{\n\t"psFormat"')


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "real.json"
    path.parent.mkdir()
    path.symlink_to(target)
    Credentials(str(path)).put("h", Secret("me", "pw"))
    assert path.is_symlink()
    assert "auths" in target.read_text()


def test_names_of_docker_hub(path: Path) -> None:
    names = ("docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io")
    assert {server_key(name) for name in names} == {HUB_KEY}
    assert server_key("https://h:5000/v2/") == "h:5000"
    credentials = Credentials(str(path))
    credentials.put("docker.io", Secret("me", "pw"))
    assert list(json.loads(path.read_text())["auths"]) == [HUB_KEY]
    assert credentials.get("index.docker.io") == Secret("me", "pw")


def test_what_others_wrote(path: Path) -> None:
    write(
        path,
        {
            "auths": {
                "https://a.example/v1/": {"auth": base64.b64encode(b"u:p\0").decode()},
                "b.example": {"username": "u", "password": "p"},
                "c.example": {"identitytoken": "t", "auth": base64.b64encode(b"u:").decode()},
                "d.example": {},
                "e.example": {"auth": "!!!"},
                "f.example": None,
            }
        },
    )
    credentials = Credentials(str(path))
    assert credentials.get("a.example") == Secret("u", "p")
    assert credentials.get("b.example") == Secret("u", "p")
    assert credentials.get("c.example") == Secret("u", "", "t")
    assert [credentials.get(f"{name}.example") for name in "def"] == [None] * 3


@pytest.mark.sec("C16")
def test_loose_modes_warn(path: Path) -> None:
    write(path, {"auths": {"h": {"auth": "YTpi"}}}, 0o644)
    warnings: list[str] = []
    credentials = Credentials(str(path), warn=warnings.append)
    assert credentials.get("h") == Secret("a", "b")
    assert warnings == [f"{path} holds credentials and has mode 0644: chmod 600 {path}"]
    credentials.put("h", Secret("a", "c"))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', "[" * 100_000, "x" * (2 << 20)])
def test_a_broken_file_warns_and_is_not_overwritten(path: Path, text: str) -> None:
    write(path, text)
    warnings: list[str] = []
    credentials = Credentials(str(path), warn=warnings.append)
    assert credentials.get("h") is None
    assert str(path) in warnings[0]
    with pytest.raises(InvalidInput):
        credentials.put("h", Secret("a", "b"))
    assert path.read_text() == text


def test_odd_files(path: Path) -> None:
    path.parent.mkdir()
    warnings: list[str] = []
    credentials = Credentials(str(path), warn=warnings.append)
    path.symlink_to(path)
    assert credentials.get("h") is None
    path.unlink()
    os.mkfifo(path)
    assert credentials.get("h") is None
    path.unlink()
    path.mkdir()
    assert credentials.get("h") is None
    assert len(warnings) == 3


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_helpers(path: Path, key: str) -> None:
    write(path, {key: "test" if key == "credsStore" else {"h": "test"}})
    helper = Helper()
    credentials = Credentials(str(path), run=helper.run)
    assert credentials.get("h") is None
    assert credentials.put("h", Secret("me", "marker")) is False
    assert "marker" not in path.read_text()
    assert json.loads(path.read_text())["auths"] == {"h": {}}
    assert credentials.get("h") == Secret("me", "marker")
    credentials.put("h", Secret("me", "", "marker"))
    assert credentials.get("h") == Secret(identity_token="marker")
    assert credentials.erase("h")
    assert credentials.get("h") is None
    assert all("marker" not in word for call in helper.calls for word in call)


@pytest.mark.sec("C16")
def test_a_helper_that_fails(path: Path) -> None:
    write(path, {"credsStore": "test"})
    broken = Credentials(str(path), run=lambda argv, data: (2, b"no dbus marker"))
    with pytest.raises(Unavailable) as caught:
        broken.get("h")
    assert "marker" not in caught.value.message
    with pytest.raises(Unavailable):
        Credentials(str(path), run=lambda argv, data: (0, b"junk")).get("h")
    with pytest.raises(Unavailable):
        Credentials(str(path)).get("h")


@pytest.mark.sec("C16")
@pytest.mark.parametrize("name", ["../x", "a/b", "-x", "a b", 5])
def test_a_helper_is_a_plain_name(path: Path, name: object) -> None:
    write(path, {"credsStore": name})
    with pytest.raises(InvalidInput):
        Credentials(str(path), run=Helper().run).get("h")


def test_what_a_client_lends_is_found_by_every_spelling_and_stored_nowhere(tmp_path: Path) -> None:
    lent = Lent({"https://index.docker.io/v1/": Secret("me", "pw"), "R.example:5000": Secret("x")})
    assert lent.get("docker.io") == Secret("me", "pw")
    assert lent.get("r.example:5000") == Secret("x")
    assert lent.get("elsewhere") is None
    assert not lent.put("elsewhere", Secret("y"))
    assert lent.get("elsewhere") == Secret("y")
    assert (lent.erase("elsewhere"), lent.erase("elsewhere")) == (True, False)
    assert not list(tmp_path.iterdir())
