"""docs/openapi.json and the table in docs/api.md say what the table of routes says today."""

import json
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]


def test_the_pages_are_current_and_every_operation_is_asked_by_a_test() -> None:
    tool = [sys.executable, str(CHECKOUT / "tools/openapi"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_references_lead_somewhere() -> None:
    text = (CHECKOUT / "docs/openapi.json").read_text()
    schemas = json.loads(text)["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) == schemas.keys()
