"""`commit`."""

from ...errors import InvalidInput, NotFound
from ...spec.reference import parse_reference
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, client_side
from .lifecycle import missing_hint


def run(session: Session, values: Values, arguments: list[str]) -> int:
    target = arguments[1] if len(arguments) > 1 else ""
    if target:
        try:
            parse_reference(target)
        except InvalidInput as error:
            raise client_side(error) from error
    try:
        digest = session.engine.containers.commit(
            arguments[0],
            target=target,
            author=values.text("author"),
            message=values.text("message"),
            changes_=values.many("change"),
            pause=values.on("pause"),
        )
    except NotFound as error:
        raise missing_hint(session, error, arguments[0]) from error
    session.out.line(str(digest))
    return 0


COMMIT = Command(
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    summary="Create a new image from a container's changes",
    run=run,
    flags=flag_table("""
  -a, --author string    Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
  -c, --change list      Apply Dockerfile instruction to the created image
  -m, --message string   Commit message
  -p, --pause            Pause container during commit (default true)
"""),
    least=1,
    most=2,
    aliases=("container commit", "commit"),
)
