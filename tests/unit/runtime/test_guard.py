"""What a sealed process can still do."""

import subprocess
import sys
from pathlib import Path

import onggi

SEALED = """
import sys
sys.path.insert(0, sys.argv[1])
from onggi.runtime import guard
from onggi.runtime.identity import resolve
groups = b"".join(b"g%d:x:%d:u\\n" % (n, n) for n in range(100))
guard.seal()
found = resolve("u:g7", (), b"u:x:5:5::/:/bin/sh\\n", groups)
assert (found.uid, found.gid) == (5, 7), found
"""


def test_records_can_be_made_in_any_number() -> None:
    """A record gets a compiled constructor when it is made often: not any more."""
    source = str(Path(onggi.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", SEALED, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
