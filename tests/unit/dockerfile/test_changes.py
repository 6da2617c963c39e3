"""`commit --change` and `import --change`."""

import pytest

from onggi.dockerfile.changes import apply
from onggi.errors import InvalidInput
from onggi.spec.image import ImageConfig
from onggi.spec.platform import Platform

CONFIG = ImageConfig(Platform("linux", "amd64"), (), env=("A=1",), working_dir="/srv", cmd=("sh",))


def test_changes_are_laid_over_in_order() -> None:
    config = apply(
        CONFIG,
        [
            "ENV B=$A", 'CMD ["x"]', "ENTRYPOINT e", "EXPOSE 80 $A/udp", "LABEL l=$A", "USER u",
            "VOLUME /v", "WORKDIR w", "ONBUILD RUN $A", "STOPSIGNAL INT", "HEALTHCHECK NONE",
        ],
    )  # fmt: skip
    assert config.env == ("A=1", "B=1")
    assert (config.cmd, config.entrypoint) == (("x",), ("/bin/sh", "-c", "e"))
    assert config.exposed_ports == ("1/udp", "80/tcp")
    assert (config.labels, config.user, config.volumes) == ({"l": "1"}, "u", ("/v",))
    assert (config.working_dir, config.on_build) == ("/srv/w", ("RUN $A",))
    assert config.stop_signal == "INT"
    assert config.healthcheck is not None


@pytest.mark.parametrize("text", ["RUN x", "COPY a b", "FROM a", 'SHELL ["a"]', "MAINTAINER m"])
def test_instructions_that_are_no_metadata(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a valid change command"):
        apply(CONFIG, [text])


def test_two_lines_in_one_change() -> None:
    with pytest.raises(InvalidInput, match="not one instruction"):
        apply(CONFIG, ["ENV A=1\nENV B=2"])


def test_no_changes() -> None:
    assert apply(CONFIG, []) is CONFIG
