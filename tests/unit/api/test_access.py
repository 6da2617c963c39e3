"""What the access log hides, and the names in Host headers."""

import pytest

from onggi.api.access import host_of, redacted


@pytest.mark.sec("E7")
@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/info", "/info"),
        ("/x?all=1&name=a", "/x?all=1&name=a"),
        ("/build?buildargs=%7B%22T%22%3A%22secret%22%7D&t=x", "/build?buildargs=[redacted]&t=x"),
        ("/x?unknown=secret&all", "/x?unknown=[redacted]&all"),
        ("/x?secret", "/x?[redacted]"),
    ],
)
def test_redacted(target: str, shown: str) -> None:
    assert redacted(target) == shown


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Host", "host"), ("host:2376", "host"), ("127.0.0.1:1", "127.0.0.1"), ("[::1]:5", "::1"),
        ("[::1]", "::1"), ("::1", "::1"), ("", ""),
    ],
)  # fmt: skip
def test_host_of(header: str, name: str) -> None:
    assert host_of(header) == name
