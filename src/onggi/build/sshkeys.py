"""--ssh id=KEY: an agent of our own for a build, with the keys of the user's files.

    builder ── pipe ──> keeper ── spawns ──> ssh-agent

The keeper ends the agent when the pipe closes, also when the builder is killed: no key outlives its
build. A key with a passphrase is refused: nobody is there to type it.
"""

import base64
import binascii
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack

from ..engine import detach
from ..engine.engine import Engine
from ..errors import InvalidInput, OnggiError, Unavailable
from ..linux import tools
from .loans import is_agent

DEADLINE_S = 20
_MAX_KEY_BYTES = 1 << 20
_OPENSSH = b"openssh-key-v1\0"


def agents_of(engine: Engine, named: Mapping[str, str], held: ExitStack) -> dict[str, str]:
    """By id the path of a socket, for as long as `held` is open. `named` has sockets, and files
    with commas between. Raises InvalidInput naming the file."""
    found = {}
    for name, path in named.items():
        found[name] = path if is_agent(path) else _agent(engine, path.split(","), held)
    return found


def _agent(engine: Engine, keys: list[str], held: ExitStack) -> str:
    for key in keys:
        _check(key)
    directory = held.enter_context(engine.store.scratch.directory())
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    held.callback(os.close, fd)
    # The path of a socket has room for 107 characters; this one is as good as the directory's own.
    place = f"/proc/{os.getpid()}/fd/{fd}/agent"
    agent, add = tools.find("ssh-agent"), tools.find("ssh-add")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    engine.store.close()  # before a fork
    log = f"{engine.paths.run}/ssh-agent.log"
    keeper = detach.fork_helper(
        lambda: tools.run_while([agent, "-D", "-a", place], reader), log, keep=(reader,)
    )
    os.close(reader)
    held.callback(os.waitpid, keeper, 0)
    held.callback(os.close, writer)
    _wait_for(place)
    environment = {**tools.ENVIRONMENT, "SSH_AUTH_SOCK": place, "SSH_ASKPASS_REQUIRE": "never"}
    for key in keys:
        try:
            tools.run([add, "-q", key], env=environment)
        except OnggiError as error:
            raise InvalidInput(f"SSH key {key}: {error.message}") from error
    return place


def _wait_for(place: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_agent(place):
        if time.monotonic() > deadline:
            raise Unavailable(f"ssh-agent did not start within {DEADLINE_S} s")
        time.sleep(0.005)


def _check(path: str) -> None:
    """Raises InvalidInput for what is no private key, or one with a passphrase."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise InvalidInput(f"SSH agent or key {path}: {error.strerror}") from error
    if b"PRIVATE KEY-----" not in text:
        raise InvalidInput(
            f"{path} is neither an agent's socket nor a private key",
            hint="lend an agent: --ssh default; or a key: --ssh default=~/.ssh/id_ed25519",
        )
    if has_passphrase(text):
        raise InvalidInput(
            f"SSH key {path} has a passphrase, which a build cannot ask for",
            hint=f"ssh-add {path}, then --ssh default",
        )


def has_passphrase(text: bytes) -> bool:
    """Of a private key as OpenSSH, PKCS#8 or the older PEM write it."""
    if b"BEGIN ENCRYPTED" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        return True
    lines = text.split(b"-----")
    if len(lines) < 3 or b"OPENSSH" not in lines[1]:
        return False
    try:
        data = base64.b64decode(b"".join(lines[2].split()))
    except binascii.Error:
        return False
    size = int.from_bytes(data[len(_OPENSSH) : len(_OPENSSH) + 4], "big")
    cipher = data[len(_OPENSSH) + 4 : len(_OPENSSH) + 4 + size]
    return data.startswith(_OPENSSH) and cipher != b"none"
