"""`doctor` and `unshare`: what this host lets us do, and a look into the user namespace."""

import os

from ...errors import InvalidInput
from ..command import Command
from ..flags import Values, flag_table
from ..session import CommandError, Session, os_error_text

FORMAT = """
  -f, --format string   Format the output: "json", or a Go template
"""


def doctor(session: Session, values: Values, arguments: list[str]) -> int:
    """One line for each finding, its command below; 1 when there is a problem."""
    from ...engine import doctor

    tier = session.engine_settings.tier
    found = doctor.findings(session.engine.store, tier)
    failed = any(finding.level == "problem" for finding in found)
    if values.text("format"):
        from .system import templated

        data = {
            "Tier": tier.number,
            "Name": tier.name,
            "Findings": [
                {"Name": f.name, "Level": f.level, "About": f.about, "Fix": f.fix} for f in found
            ],
        }
        templated(session, values.text("format"), data)
        return int(failed)
    width = max(len(finding.name) for finding in found)
    for finding in found:
        session.out.line(f"{finding.level:8} {finding.name:{width}}  {finding.about}")
        if finding.fix:
            session.out.line(f"{'':8} {'':{width}}  raise it: {finding.fix}")
    return int(failed)


def unshare(session: Session, values: Values, arguments: list[str]) -> int:
    """Execute a command, or a shell, in the user namespace of our containers."""
    tier = session.engine_settings.tier
    if tier.is_root:
        raise InvalidInput(
            "please use unshare with rootless: root has no user namespace of its own"
        )
    if tier.number == 4:
        raise CommandError(f"there is no user namespace: {tier.why}", hint="onggi doctor")
    shell = session.environ.get("SHELL") or "/bin/sh"
    command = arguments or [shell]
    try:
        os.execvpe(command[0], command, dict(session.environ))  # noqa: S606
    except OSError as error:
        refusal = CommandError(f"onggi: {command[0]}: {os_error_text(error)}")
        refusal.exit_code = 126 if isinstance(error, PermissionError) else 127
        raise refusal from error


DOCTOR = Command(
    usage="[OPTIONS]",
    summary="Tell what this host lets onggi do, and how to get more",
    run=doctor,
    flags=flag_table(FORMAT),
)
UNSHARE = Command(
    usage="[COMMAND [ARG...]]",
    summary="Run a command in the user namespace of your containers",
    run=unshare,
    most=-1,
    interspersed=False,
)
