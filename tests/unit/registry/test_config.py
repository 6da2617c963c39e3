from pathlib import Path

import pytest

from onggi.errors import InvalidInput
from onggi.registry.config import HostSettings, Settings, Trust, load


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_later_files_win_key_by_key(tmp_path: Path) -> None:
    first = write(
        tmp_path / "a",
        '[registry."docker.io"]\nmirrors = ["http://127.0.0.1:5000/"]\n'
        '[registry."h:5000"]\nplain_http = true\n[other]\nx = 1\n',
    )
    second = write(tmp_path / "b", '[registry."h:5000"]\nca = "/ca.pem"\n')
    settings = load([first, str(tmp_path / "missing"), second])
    assert settings.mirrors("docker.io") == ("http://127.0.0.1:5000",)
    assert settings.mirrors("h:5000") == ()
    assert settings.host("h:5000") == HostSettings(plain_http=True, ca="/ca.pem")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("registry = 5", "registry is not a table"),
        ('[registry]\n"h" = 5', 'registry."h" is not a table'),
        ('[registry."h"]\nplain = true', 'registry."h".plain: unknown key'),
        ('[registry."h"]\nplain_http = "yes"', 'registry."h".plain_http is not a bool'),
        ('[registry."http://h"]\n', "without scheme or path"),
        ('[registry."h"]\nmirrors = "x"', 'registry."h".mirrors is not a list'),
        ('[registry."h"]\nmirrors = ["h:5000"]', "is not a URL with http:// or https://"),
        ('[registry."h"]\nca = "ca.pem"', "not an absolute path"),
        ("[registry", ": "),
        ("x" * (2 << 20), "larger than"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path / "config.toml", text)
    with pytest.raises(InvalidInput) as caught:
        load([path])
    assert caught.value.message.startswith(path)
    assert words in caught.value.message


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Is a directory"):
        load([str(tmp_path)])


@pytest.mark.sec("C15")
@pytest.mark.parametrize(
    ("name", "said", "schemes", "verify"),
    [
        ("h", None, ("https",), True),
        ("127.0.0.1:5000", None, ("https", "http"), False),
        ("localhost:5000", None, ("https", "http"), False),
        ("[::1]:5000", None, ("https", "http"), False),
        ("localhost.evil.example", None, ("https",), True),
        ("127.0.0.1.evil.example", None, ("https",), True),
        ("h", HostSettings(plain_http=True), ("http",), True),
        ("h", HostSettings(insecure=True), ("https", "http"), False),
        ("127.0.0.1:5000", HostSettings(insecure=False), ("https",), True),
        ("127.0.0.1:5000", HostSettings(ca="/ca.pem"), ("https",), True),
    ],
)
def test_plain_http_only_where_asked_or_on_loopback(
    name: str, said: HostSettings | None, schemes: tuple[str, ...], verify: bool
) -> None:
    settings = Settings({name: said} if said else {}, ())
    assert settings.schemes(name) == schemes
    assert settings.trust(name).verify is verify


def test_certificate_directories(tmp_path: Path) -> None:
    home = tmp_path / "h:5000"
    home.mkdir()
    for name in ("ca.crt", "client.cert", "client.key", "lonely.cert", "note.txt"):
        (home / name).touch()
    settings = Settings({}, (str(tmp_path), str(tmp_path / "none")))
    assert settings.trust("h:5000") == Trust(
        True, (f"{home}/ca.crt",), f"{home}/client.cert", f"{home}/client.key"
    )
    assert settings.trust("other") == Trust()
