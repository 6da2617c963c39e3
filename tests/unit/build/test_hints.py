"""The texts that teach."""

import time

import pytest

from onggi.build.hints import env_warnings, failed_command_hint


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PYTHONDONTWRITEBYCODE", "PYTHONDONTWRITEBYTECODE"),
        ("PYTHONUNBUFERED", "PYTHONUNBUFFERED"),
        ("PIP_NO_CACHE", ""),
        ("PIP_NO_CACHEDIR", "PIP_NO_CACHE_DIR"),
        ("DJANGO_SETTING_MODULE", "DJANGO_SETTINGS_MODULE"),
        ("UV_COMPILE_BYTECOD", "UV_COMPILE_BYTECODE"),
        ("PYTHONPATH", ""),
        ("PATH", ""),
        ("POSTGRES_PASSWORD", ""),
        ("PYTHON_VERSION", ""),
        ("PIPELINE", ""),
    ],
)
def test_env_names(name: str, meant: str) -> None:
    found = env_warnings([name], 3)
    assert [text.rpartition("did you mean ")[2] for text in found] == (
        [f"{meant}?"] if meant else []
    )


def test_env_names_are_checked_quickly() -> None:
    started = time.process_time()
    env_warnings([f"SETTING_{n}" for n in range(1000)], 1)
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("output", "name"),
    [
        ("ERROR: No matching distribution found for request\n", "requests"),
        (
            "ERROR: Could not find a version that satisfies the requirement djnago==5 (from",
            "django",
        ),
        ("ERROR: No matching distribution found for sklearn", "scikit-learn"),
        ("ERROR: No matching distribution found for some-private-package", ""),
        ("ERROR: No matching distribution found for requests", ""),
        ("make: *** [all] Error 2", ""),
    ],
)
def test_pip(output: str, name: str) -> None:
    hint = failed_command_hint(output)
    if name:
        assert hint is not None
        assert f'did you mean "{name}"? check the name first' in hint
    else:
        assert hint is None


def test_no_names() -> None:
    hint = failed_command_hint(
        "NewConnectionError(… [Errno -3] Temporary failure in name resolution')\n"
        "ERROR: No matching distribution found for Django==5.2\n"
    )
    assert hint is not None
    assert "-v /etc/pip.conf:/etc/pip.conf:ro" in hint
