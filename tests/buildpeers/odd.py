"""Odd Dockerfiles, and what docker (BuildKit) makes of each: odd.json, written by

tools/dockerd .venv/bin/python -m buildpeers.odd    (PYTHONPATH=tests, as root)
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from . import builders, images
from .builders import Builder
from .images import Tree

RECORDED = Path(__file__).parent / "odd.json"
FAILS = "fails"
ODD = (
    'FROM busybox\nENV A=1 B="2 3" C=\'4 $A\' D=$A\\ x\nRUN echo "$C|$D" > /x',
    'FROM busybox\nENV a b c  d\nLABEL x="a\\"b" \'y z\'=1 w=a\\ b\n',
    "FROM busybox\nCMD [ 'echo', 'x' ]\n",
    'FROM busybox\nCMD ["a",\n "b"]\n',
    'FROM busybox\nENTRYPOINT ["a"]\nCMD b\nENTRYPOINT c\n',
    "FROM busybox\nRUN echo a \\\n# c\n\n  && echo b > /x \\\n",
    "FROM busybox\nCOPY f /d/e/\nCOPY f /d/e/g\nCOPY . /all\n",
    "FROM busybox\nWORKDIR a\nWORKDIR ../b/./c\nCOPY f .\nCOPY f ..\n",
    "FROM busybox\nARG X=1\nENV X=2\nARG X=3\nRUN echo $X > /x\n",
    "ARG V=1\nFROM busybox\nARG V\nARG W=${V:-9}${Z:+8}\nRUN echo $V-$W > /x\nLABEL l=$W\n",
    'FROM busybox\nVOLUME /a /b\nVOLUME ["/c d"]\nRUN mkdir -p /a && echo x > /a/f\n',
    "FROM busybox\nEXPOSE 80 90/udp 100-102\nEXPOSE 80/TCP\n",
    "FROM busybox\nUSER 7:8\nWORKDIR /w/x\nCOPY f g\nRUN id > /tmp/id\n",
    'FROM busybox\nHEALTHCHECK --interval=1m30s --retries=3 CMD ["a", "b"]\n',
    "FROM busybox\nHEALTHCHECK CMD x\nHEALTHCHECK NONE\n",
    'FROM busybox\nSHELL ["/bin/ash", "-ec"]\nRUN false; echo x > /x\n',
    'FROM busybox\nSHELL ["/bin/ash", "-ec"]\nRUN echo $0 > /x\nCMD y\n',
    'FROM busybox\nONBUILD RUN x\nONBUILD COPY ["a", "/b c"]\n',
    "FROM busybox\nSTOPSIGNAL ${S:-SIGUSR1}\n",
    "FROM busybox\nSTOPSIGNAL NOPE\n",
    "FROM busybox AS a\nRUN echo 1 > /one\nFROM busybox\n"
    "COPY --from=0 /one /two\nCOPY --from=a /one /three/\n",
    "FROM busybox\nCOPY --from=busybox /bin/busybox /b\nCOPY --chown=5 f /own\n",
    "# escape=`\nFROM busybox\nRUN echo a`\n b > /x\nENV P=C:\\x\n",
    "#escape=x\nFROM busybox\n",
    'from busybox\nrun echo hi > /x\ncmd ["x"]\n',
    "FROM busybox\nADD f* d/* /m/\n",
    "FROM busybox\nCOPY missing /x\n",
    "FROM busybox\nCOPY f /etc\nCOPY f /etc/passwd/\n",
    "FROM busybox\nCOPY d /etc/passwd\n",
    "FROM busybox\nRUN ln -s /real /link && mkdir /real\nCOPY f /link/\nCOPY d /link\n",
    'FROM busybox\nMAINTAINER a <b>\nLABEL multi="a\\\n b"\n',
    "FROM busybox\nENV A\n",
    "FROM busybox\nCMD\n",
    "FROM busybox\nRUN\n",
    "FROM busybox\nENTRYPOINT\n",
    "FROM busybox\nWORKDIR ${N}\n",
    "FROM busybox\nUSER ${N}\n",
    "FROM busybox\nENV E=${N:-${M:-deep}} F=\"${N:+x}\" G='${N}' H=\\$N\n",
    'FROM busybox\nRUN ["sh", "-c", "echo $HOME > /x"]\n',
    'FROM busybox\nCOPY ["f", "d/g", "/j/"]\n',
    'FROM scratch\nCOPY f /\nCMD ["/f"]\n',
    "FROM busybox\nENV =x\n",
    "FROM busybox\nLABEL a=b =c\n",
    "FROM busybox\nCOPY --frm=x f /\n",
)


def made(builder: Builder, text: str, base: Tree, scratch: Path) -> dict[str, Any] | str:
    """The configuration and what changed of the base image; FAILS for a build that does."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    context = directory / "context"
    (context / "d").mkdir(parents=True)
    for name, content in (("Dockerfile", text), ("f", "f"), ("fog", "x"), ("d/g", "g")):
        (context / name).write_text(content)
        (context / name).chmod(0o644)
    for path in (context, context / "d"):
        path.chmod(0o755)
    try:
        builder.build(context, directory / "image.tar")
    except RuntimeError:
        return FAILS
    built = images.read(directory / "image.tar")
    return {"config": built.config, "changed": images.changed(built.tree, base)}


def main() -> int:
    from .record import base_image

    archive, builder = base_image("busybox:latest"), builders.docker()
    builder.load(archive, "busybox:latest")
    base = images.read(archive).tree
    with tempfile.TemporaryDirectory() as scratch:
        recorded = {text: made(builder, text, base, Path(scratch)) for text in ODD}
    RECORDED.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
