"""Git repositories as sources: which commit a ref is now, and its files in a directory of ours.

git runs with a configuration of its own: no hooks, no helpers, no local paths, nothing of the
user's but the agent and token that were lent to this build (SECURITY D5).
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..dockerfile.address import Repository, is_commit
from ..errors import InvalidInput, NotFound, OnggiError, Unavailable
from ..linux import tools
from ..typed import NamedTuple
from .loans import Loans

FETCH_TIMEOUT_S = 1800
_QUICK_S = 120
TOKEN = "GIT_AUTH_TOKEN"  # noqa: S105 - docker's name of the secret
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "core.autocrlf": "false",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "credential.helper": "",
    "init.defaultBranch": "main",
    "advice.detachedHead": "false",
    "transfer.fsckObjects": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "initial",
}


class Checkout(NamedTuple):
    commit: str
    time: int  # of the commit, in seconds


class Git:
    """`proxies` as git's libcurl reads them: {"http": url, ...}."""

    def __init__(self, loans: Loans, proxies: Mapping[str, str]) -> None:
        self._env = _environment(loans, proxies)
        self._token = loans.secrets.get(TOKEN)

    def resolve(self, wanted: Repository) -> str:
        """The commit that the ref is now. Raises NotFound, Unavailable."""
        if is_commit(wanted.ref):
            return self._checked(wanted, wanted.ref)
        ref = wanted.ref or "HEAD"
        names = [ref] if ref == "HEAD" else [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}",
                                             f"refs/tags/{ref}", ref]  # fmt: skip
        out = self._git(wanted, "ls-remote", "--", wanted.remote, *names).stdout.decode()
        found = {
            name: commit for commit, _, name in (line.partition("\t") for line in out.split("\n"))
        }
        for name in names:
            if is_commit(found.get(name, "")):
                return self._checked(wanted, found[name])
        raise NotFound(f"repository {_shown(wanted.remote)} does not contain ref {ref}")

    def _checked(self, wanted: Repository, commit: str) -> str:
        if wanted.commit and not commit.startswith(wanted.commit):
            raise InvalidInput(
                f"expected checksum to match {wanted.commit}, got {commit}: "
                f"{_shown(wanted.remote)} has moved on"
            )
        return commit

    def checkout(self, wanted: Repository, commit: str, directory: str) -> Checkout:
        """The commit's files, submodules too, in the empty `directory`, with .git in it."""
        self._git(wanted, "init", "--quiet", "--", directory)
        where = ("-C", directory)
        fetch = ("fetch", "--quiet", "--no-tags", "--depth", "1", "--", wanted.remote)
        try:
            self._git(wanted, *where, *fetch, commit, timeout_s=FETCH_TIMEOUT_S)
        except OnggiError:  # a server that gives out no commits by name, or no shallow copies
            everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
            whole = ("fetch", "--quiet", "--", wanted.remote)
            self._git(wanted, *where, *whole, *everything, timeout_s=FETCH_TIMEOUT_S)
        self._git(
            wanted, *where, "checkout", "--quiet", "--force", commit, "--", timeout_s=_QUICK_S
        )
        if wanted.submodules and os.path.lexists(f"{directory}/.gitmodules"):
            update = ("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
            # A relative submodule address is relative to this remote.
            self._git(wanted, *where, "remote", "add", "origin", wanted.remote)
            self._git(wanted, *where, *update, timeout_s=FETCH_TIMEOUT_S)
        shown = self._git(wanted, *where, "show", "-s", "--format=%ct", commit, "--").stdout
        return Checkout(commit, int(shown.decode().split("\n")[0] or "0"))

    def _git(
        self, wanted: Repository, *arguments: str, timeout_s: float = _QUICK_S
    ) -> tools.Output:
        env = dict(self._env)
        settings = dict(_SETTINGS)
        if self._token is not None and wanted.remote.startswith("https://"):
            settings |= _token_header(wanted.remote, self._token.read(TOKEN))
        env |= {"GIT_CONFIG_COUNT": str(len(settings))}
        for index, (key, value) in enumerate(settings.items()):
            env |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
        done = tools.run(("git", *arguments), env=env, timeout_s=timeout_s, check=False)
        if done.status:
            said = done.stderr.decode(errors="replace").strip().rpartition("fatal: ")[2]
            raise Unavailable(f"git {_shown(wanted.remote)}: {said[:500] or 'failed'}")
        return done


def _token_header(remote: str, token: bytes) -> dict[str, str]:
    """By the environment, never on a command line that others can see."""
    import base64

    pair = base64.b64encode(b"x-access-token:" + token.strip()).decode()
    host = urlsplit(remote).netloc
    return {f"http.https://{host}/.extraHeader": f"Authorization: Basic {pair}"}


def _environment(loans: Loans, proxies: Mapping[str, str]) -> dict[str, str]:
    env = {
        **tools.ENVIRONMENT,
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ALLOW_PROTOCOL": "http:https:git:ssh",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/true",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_SSH_COMMAND": "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new "
        "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
    }
    for name in ("http", "https", "no"):
        if proxies.get(name):
            env[f"{name}_proxy"] = proxies[name]
    if "default" in loans.agents:
        env["SSH_AUTH_SOCK"] = loans.agents["default"]
    return env


def _shown(remote: str) -> str:
    """Without a password that somebody wrote into it."""
    head, at, tail = remote.partition("://")
    if at and "@" in tail.partition("/")[0]:
        return f"{head}://{tail.partition('@')[2]}"
    return remote
