"""SELinux labels as docker makes them, and the text of our AppArmor profile."""

from pathlib import Path

import pytest

from onggi.engine import mac
from onggi.errors import InvalidInput
from onggi.spec.container import HostOptions

POLICY = """\
# of the policy's package
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
file = "system_u:object_r:container_file_t:s0"
"""
ID = "00000005" + "00000002" + "f" * 48


@pytest.mark.parametrize(
    ("words", "process", "files"),
    [
        ((), "system_u:system_r:container_t:s0:c5,c8",
         "system_u:object_r:container_file_t:s0:c5,c8"),
        (("type:mine_t",), "system_u:system_r:mine_t:s0:c5,c8",
         "system_u:object_r:container_file_t:s0:c5,c8"),
        (("level:s0:c1,c2", "user:u", "role:r", "filetype:f_t"),
         "u:r:container_t:s0:c1,c2", "u:object_r:f_t:s0:c1,c2"),
    ],
)  # fmt: skip
def test_labels(words: tuple[str, ...], process: str, files: str) -> None:
    assert mac.selinux(words, POLICY, ID) == (process, files)


@pytest.mark.parametrize("bad", ["x", "type:", "what:x", ":", "filetype"])
def test_bad_words_are_refused_as_docker_does(bad: str) -> None:
    with pytest.raises(InvalidInput, match=f'bad label option "{bad}"'):
        mac.selinux((bad,), POLICY, ID)


def test_every_container_has_two_categories_of_its_own() -> None:
    seen = set()
    for number in range(500):
        label, _ = mac.selinux((), POLICY, f"{number * 7919:08x}{number:08x}" + "0" * 48)
        low, high = (int(word[1:]) for word in label.rpartition(":")[2].split(","))
        assert 0 <= low < high < mac.CATEGORIES
        seen.add((low, high))
    assert len(seen) == 500


def test_the_hosts_policy_is_read_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "contexts").write_text(POLICY.replace("container_t", "other_t"))
    text = mac.contexts((str(tmp_path / "none"), str(tmp_path / "contexts")))
    assert ":other_t:" in mac.selinux((), text, ID)[0]
    assert ":container_t:" in mac.selinux((), mac.contexts((str(tmp_path / "none"),)), ID)[0]
    with pytest.raises(InvalidInput, match="no label for a container's process"):
        mac.selinux((), "file = x\n", ID)


def test_the_profile_closes_what_docker_default_closes() -> None:
    text = mac.profile_text()
    assert text.startswith("@{PROC}=/proc/\n")
    for rule in ("deny mount,", "deny @{PROC}/sysrq-trigger rwklx,", "deny /sys/firmware/** rwklx,",
                 f"profile {mac.PROFILE} "):  # fmt: skip
        assert rule in text
    assert text.count("{") - text.count("@{") == text.count("\n}") == 1


def test_no_profile_without_the_module() -> None:
    if mac.lsm.is_on("apparmor"):
        pytest.skip("this kernel has AppArmor")
    assert mac.profile(HostOptions(), "default") == ""
