"""`login` and `logout`. A password is never echoed, printed or put into an error."""

import os

from ..bars import reporter
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session, refusal
from ..tty import read_secret

HUB = "https://index.docker.io/v1/"
MAX_PASSWORD = 64 << 10


def login(session: Session, values: Values, arguments: list[str]) -> int:
    server = arguments[0] if arguments else ""
    user, password = values.text("username"), values.text("password")
    if password:
        session.err.line("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
        session.err.flush()
        if values.on("password-stdin"):
            raise refusal("--password and --password-stdin are mutually exclusive")
    if values.on("password-stdin"):
        if not user:
            raise refusal("the --password-stdin option requires --username to be set")
        password = secret_from_stdin()
    if not user or not password:
        user, password = asked(session, user, password)
    if not user:
        raise refusal("Error: username is required")
    if not password:
        raise refusal("Error: Password Required")
    session.engine.images.login(server, user, password, reporter(session, session.err))
    session.out.line("Login Succeeded")
    return 0


def secret_from_stdin() -> str:
    data = b""
    while len(data) <= MAX_PASSWORD and (chunk := os.read(0, 1 << 16)):
        data += chunk
    if len(data) > MAX_PASSWORD:
        raise refusal("the password on stdin is longer than 64 KiB")
    text = data.decode("utf-8", "surrogateescape")
    return text.removesuffix("\n").removesuffix("\r")


def asked(session: Session, user: str, password: str) -> tuple[str, str]:
    """What is missing, from the terminal."""
    if not os.isatty(0):
        raise refusal("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        session.out.write("Username: ")
        session.out.flush()
        user = os.read(0, 4096).decode("utf-8", "surrogateescape").strip()
    if user and not password:
        password = read_secret("Password: ")
    return user, password


def logout(session: Session, values: Values, arguments: list[str]) -> int:
    server = arguments[0] if arguments else ""
    shown = server or HUB
    if session.engine.images.logout(server):
        session.out.line(f"Removing login credentials for {shown}")
    else:
        session.out.line(f"Not logged in to {shown}")
    return 0


LOGIN = Command(
    usage="[OPTIONS] [SERVER]",
    summary="Authenticate to a registry",
    description="Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    run=login,
    flags=flag_table("""
  -p, --password string   Password or Personal Access Token (PAT)
      --password-stdin    Take the Password or Personal Access Token (PAT) from stdin
  -u, --username string   Username
"""),
    most=1,
)
LOGOUT = Command(
    usage="[SERVER]",
    summary="Log out from a registry",
    description="Log out from a registry.\nIf no server is specified, it is Docker Hub.",
    run=logout,
    most=1,
)
