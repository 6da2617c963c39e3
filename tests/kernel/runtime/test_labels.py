"""Labels of AppArmor and SELinux reach the kernel, which says no where it has neither."""

from typing import Any

import pytest

from onggi.errors import OnggiError
from onggi.linux import lsm
from onggi.runtime import plan

Box = Any  # conftest.Box: conftests cannot be imported by name
pytestmark = pytest.mark.root
NEITHER = not (lsm.is_on("apparmor") or lsm.is_on("selinux"))
needs_neither = pytest.mark.skipif(not NEITHER, reason="this kernel takes labels")
CASES = [
    (plan.Labels(apparmor="mine"), "label 'mine' of AppArmor: Invalid argument"),
    (plan.Labels(selinux="u:r:t:s0"), "label 'u:r:t:s0' of SELinux: Invalid argument"),
]


@needs_neither
@pytest.mark.parametrize(("labels", "text"), CASES)
@pytest.mark.parametrize("init", [False, True])
def test_a_start_asks_the_kernel(box: Box, labels: plan.Labels, text: str, init: bool) -> None:
    with pytest.raises(OnggiError, match=text):
        box.run("true", init=init, labels=labels)


@needs_neither
@pytest.mark.parametrize(("labels", "text"), CASES)
def test_an_exec_asks_the_kernel(box: Box, labels: plan.Labels, text: str) -> None:
    running = box.start("sleep", "60")
    with pytest.raises(OnggiError, match=text):
        box.enter(running, "true", labels=labels)
