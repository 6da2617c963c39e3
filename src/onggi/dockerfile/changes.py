"""`--change` of commit and import: single metadata instructions laid over a configuration. Pure."""

from collections.abc import Sequence

from ..errors import InvalidInput
from ..spec.image import ImageConfig


def apply(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """The configuration after the instructions, in order. Raises InvalidInput."""
    if not changes:
        return config
    from . import instructions, metadata  # heavy for a commit without changes

    for text in changes:
        lines = instructions.read_lines(text)
        if len(lines) != 1:
            raise InvalidInput(f"--change {text[:80]!r} is not one instruction")
        config = metadata.change(config, lines[0])
    return config
