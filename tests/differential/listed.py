"""What docs/differences.md lists. Its bullets are read by their form:

- `command line` (code, out, err): what differs of it     -> LINES
- `container.HostConfig.Binds` (type): a field of inspect  -> FIELDS
"""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs/differences.md"
_LINE = re.compile(
    r"^- ``? ?(.+?) ?``? \(((?:code|out|err)(?:, (?:code|out|err))*)\)", re.MULTILINE
)
_FIELD = re.compile(
    r"^- `((?:container|image|network|volume)\.[^`]+)` "
    r"\(((?:missing|extra|type|value)(?:, (?:missing|extra|type|value))*)\)",
    re.MULTILINE,
)

_TEXT = PAGE.read_text()
LINES = {line: frozenset(parts.split(", ")) for line, parts in _LINE.findall(_TEXT)}
FIELDS = {(field, what) for field, whats in _FIELD.findall(_TEXT) for what in whats.split(", ")}
