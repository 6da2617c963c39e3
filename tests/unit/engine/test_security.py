"""Profiles and options of the sandbox, as decisions."""

import pytest

from onggi.engine import security
from onggi.engine.configuration import profile
from onggi.errors import InvalidInput
from onggi.linux import capability
from onggi.runtime import plan
from onggi.spec.container import HostOptions, Resources

HOST = HostOptions()


def with_words(*words: str, **fields: object) -> HostOptions:
    return HOST._replace(security_opt=words, **fields)  # type: ignore[arg-type]


def test_ours_mask_whatever_docker_masks() -> None:
    assert set(security.DOCKER_MASKS) < set(plan.MASKED_PATHS)


def test_docker_and_default_keep_dockers_capabilities() -> None:
    for name in ("", "docker", "default"):
        host = HOST._replace(security=name)
        assert security.default_capabilities(host) == capability.DOCKER_DEFAULT
    assert security.default_capabilities(HOST._replace(security="strict")) == ("NET_BIND_SERVICE",)


def test_masks() -> None:
    ours = plan.masked_paths(2)
    thermal = ours[-2:]
    assert security.masks(HOST, ours, thermal) == ours
    docker = HOST._replace(security="docker")
    assert security.masks(docker, ours, thermal) == (*security.DOCKER_MASKS, *thermal)
    changed = with_words("unmask=/proc/acpi:/proc/keys", "mask=/secret")
    found = security.masks(changed, ours, thermal)
    assert "/proc/acpi" not in found and "/proc/keys" not in found and found[-1] == "/secret"
    assert security.masks(with_words("unmask=ALL", "mask=/x"), ours, thermal) == ("/x",)
    assert security.masks(with_words(privileged=True), ours, thermal) == ()


def test_no_new_privileges() -> None:
    strict = HOST._replace(security="strict")
    assert security.options(strict).no_new_privileges
    assert not security.options(
        strict._replace(security_opt=("no-new-privileges=false",))
    ).no_new_privileges
    assert security.options(with_words("no-new-privileges:true")).no_new_privileges
    assert not security.options(HOST).no_new_privileges


@pytest.mark.parametrize(
    "word",
    ["", "x", "no-new-privileges=1", "seccomp=", "systempaths=confined", "mask=", "mask=rel",
     "unmask=a:b", "landlock", "landlock=1", "apparmor=", "label"],
)  # fmt: skip
def test_words_that_mean_nothing(word: str) -> None:
    with pytest.raises(InvalidInput):
        security.options(with_words(word))


def test_processes_are_limited_to_half_of_what_is_free() -> None:
    assert security.pids_limit(HOST, 1 << 20) == security.PIDS_LIMIT
    assert security.pids_limit(HOST, 1000) == 500
    assert security.pids_limit(HOST._replace(security="docker"), 1000) == 0
    assert security.pids_limit(HOST._replace(resources=Resources(pids_limit=-1)), 1000) == -1
    assert security.pids_limit(HOST._replace(resources=Resources(pids_limit=9)), 1000) == 9


def test_scopes_only_where_a_namespace_is_the_hosts() -> None:
    strict = HOST._replace(security="strict")
    assert security.scopes(strict) == 0
    assert security.scopes(strict._replace(network_mode="host", pid_mode="host")) == 3
    assert security.scopes(HOST._replace(network_mode="host")) == 0
    assert security.scopes(with_words("landlock=on", network_mode="host")) == 1
    assert security.scopes(with_words("landlock=on", pid_mode="host", privileged=True)) == 0


def test_configuration(tmp_path: object) -> None:
    from pathlib import Path

    first, second = Path(str(tmp_path), "1"), Path(str(tmp_path), "2")
    names = [str(first), str(second)]
    assert profile(names) == ""
    first.write_text('[security]\nprofile = "docker"\n')
    assert profile(names) == "docker"
    second.write_text('[security]\nprofile = "strict"\n')
    assert profile(names) == "strict"
    for text in ("[security]\nprofile = 1\n", "security = 1\n", "[security\n",
                 '[security]\nprofile = "x"\n'):  # fmt: skip
        second.write_text(text)
        with pytest.raises(InvalidInput):
            profile(names)
