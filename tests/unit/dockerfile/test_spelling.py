"""Near names."""

from onggi.dockerfile.spelling import distance, nearest


def test_distance() -> None:
    assert distance("PYTHONDONTWRITEBYCODE", "PYTHONDONTWRITEBYTECODE") == 2
    assert distance("FORM", "FROM") == 1
    assert distance("same", "same") == 0
    assert distance("a", "abcdefgh") == 4


def test_nearest() -> None:
    assert nearest("rnu", ["RUN", "ENV", "ARG"]) == "RUN"
    assert nearest("xyz", ["RUN", "ENV"]) == ""
    assert nearest("x", ["RUN"]) == ""
