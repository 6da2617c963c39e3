"""A conversation with one registry: scheme, authentication, redirects and retries over Transport.

Credentials and tokens go to the origin they were made for and to its token server, nowhere else.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ..errors import Forbidden, OnggiError, Unauthorized, Unavailable
from ..spec.reference import Reference
from ..typed import NamedTuple
from . import protocol
from .config import Settings
from .protocol import Challenge, Origin, Secret
from .protocol_errors import (
    RETRIED_STATUSES,
    Action,
    failure,
    printable,
    status_text,
    token_refusal,
)
from .transport import Body, ConnectionFailed, Response, Transport

MAX_ERROR_BYTES = 64 << 10
FIRST_CONTACT_ATTEMPTS = 2


class Patience(NamedTuple):
    """Exponential back-off: `attempts` tries again after first_s, twice that, …"""

    attempts: int = 5
    first_s: float = 0.5
    longest_s: float = 15.0

    def pause_s(self, attempt: int) -> float:
        return min(self.first_s * 2.0**attempt, self.longest_s)


class Cancelled(Unavailable):
    """Another part of the same work failed; this one stops without a cause of its own."""


class Work:
    """What all conversations of one pull or push share. `secret` finds credentials by registry
    host, as it is written in references."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        secret: Callable[[str], Secret | None],
        patience: Patience,
    ) -> None:
        self.settings = settings
        self.transport = transport
        self.secret = secret
        self.patience = patience
        self._stopped = threading.Event()
        self._bodies: set[Response] = set()

    def stop(self) -> None:
        """End every pause and every waiting read of the other threads."""
        self._stopped.set()
        for response in tuple(self._bodies):
            response.abort()

    def pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise Cancelled("cancelled")

    def check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled("cancelled")

    @contextmanager
    def watch(self, response: Response) -> Iterator[None]:
        """While a body is read, `stop` can end the reading."""
        self._bodies.add(response)
        try:
            self.check()
            yield
        finally:
            self._bodies.discard(response)


class Refused(OnggiError):
    """An answer that is no success, before it is known what it means for the user."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.wait_s = protocol.retry_after_s(response.headers.get("Retry-After", ""), time.time())
        self.body = response.read(MAX_ERROR_BYTES)[:MAX_ERROR_BYTES]
        super().__init__(f"received unexpected HTTP status: {status_text(self.status)}")
        response.close()

    def explain(self, reference: Reference, action: Action) -> OnggiError:
        return failure(self.status, self.body, reference, action)


class Session:
    """`name` is what credentials and settings are filed under; `base` is set for a mirror."""

    def __init__(self, work: Work, name: str, *, base: str = "") -> None:
        self.name = name
        self._work = work
        self._base = base
        self._challenge: Challenge | None = None
        self._ready = False
        self._lock = threading.Lock()
        self._authorizations: dict[tuple[str, ...], tuple[str, float]] = {}
        self._secret: Secret | None = None

    @property
    def origin(self) -> Origin:
        return protocol.origin(self._base, f"registry {self.name}")

    def url(self, path: str) -> str:
        """The absolute URL of `/v2/` + path."""
        self.connect()
        return f"{self._base}/v2/{path}"

    def connect(self) -> None:
        """Find the scheme and the challenge with one request to /v2/."""
        with self._lock:
            if self._ready:
                return
            if self._base:
                bases = [self._base]
            else:
                host = protocol.UPSTREAM.get(self.name, self.name)
                schemes = self._work.settings.schemes(host)
                bases = [protocol.registry_base(self.name, scheme) for scheme in schemes]
            for base in bases:
                try:
                    self._ping(base)
                    break
                except ConnectionFailed:
                    if base == bases[-1]:
                        raise
            self._secret = self._work.secret(self.name)
            self._base, self._ready = base, True

    def _ping(self, base: str) -> None:
        for attempt in range(FIRST_CONTACT_ATTEMPTS + 1):
            try:
                with self._work.transport.send("GET", f"{base}/v2/", _headers()) as response:
                    if response.status not in RETRIED_STATUSES or attempt == FIRST_CONTACT_ATTEMPTS:
                        self._learn(response)
                        return
            except ConnectionFailed as error:
                if error.kind not in ("timeout", "cut") or attempt == FIRST_CONTACT_ATTEMPTS:
                    raise
            self._work.pause(self._work.patience.pause_s(attempt))

    def _learn(self, response: Response) -> None:
        if response.status == 401:
            challenges = protocol.parse_challenges(response.headers.get("WWW-Authenticate", ""))
            self._challenge = protocol.choose_challenge(challenges) or self._challenge

    def request(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        expect: tuple[int, ...] = (200,),
        retry: bool = True,
    ) -> Response:
        """The answer, with a status of `expect`. Raises Refused for any other one, after retries
        for those that may pass, and ConnectionFailed."""
        attempt = 0
        while True:
            self._work.check()
            try:
                return self._attempt(method, url, scopes, dict(headers or {}), body, expect)
            except Refused as error:
                wait_s = error.wait_s
                if error.status not in RETRIED_STATUSES:
                    raise
                if not retry or attempt >= self._work.patience.attempts:
                    raise
            except ConnectionFailed as error:
                wait_s = None
                if error.kind in ("tls", "plain") or not retry:
                    raise
                if attempt >= self._work.patience.attempts:
                    raise
            self._work.pause(self._work.patience.pause_s(attempt) if wait_s is None else wait_s)
            attempt += 1

    def fetch(
        self, url: str, scopes: tuple[str, ...], max_bytes: int, *, accept: str = "*/*"
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and whole body of a document; at most `max_bytes` + 1 of it."""
        for attempt in range(self._work.patience.attempts + 1):
            with self.request("GET", url, scopes, headers={"Accept": accept}) as response:
                protocol.check_encoding(response.headers)
                try:
                    return response.headers, response.read(max_bytes)
                except ConnectionFailed:
                    if attempt == self._work.patience.attempts:
                        raise
            self._work.pause(self._work.patience.pause_s(attempt))
        raise AssertionError("unreachable")

    def _attempt(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: dict[str, str],
        body: Body,
        expect: tuple[int, ...],
    ) -> Response:
        for fresh in (False, True):
            response = self._follow(method, url, scopes, headers, body, fresh)
            if response.status in expect:
                return response
            if response.status != 401 or fresh or protocol.origin(response.url) != self.origin:
                raise Refused(response)
            before = self._challenge
            self._learn(response)
            if self._challenge is None or (
                before == self._challenge and self._challenge.scheme == "basic"
            ):
                raise Refused(response)
            response.close()
        raise AssertionError("unreachable")

    def _follow(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: dict[str, str],
        body: Body,
        fresh: bool,
    ) -> Response:
        """Send, following redirects of reads; authorization only to our own origin."""
        for _ in range(protocol.MAX_REDIRECTS + 1):
            sent = _headers(headers)
            if protocol.origin(url) == self.origin:
                authorization = self._authorization(scopes, fresh)
                if authorization:
                    sent["Authorization"] = authorization
            response = self._work.transport.send(method, url, sent, body)
            location = response.headers.get("Location", "")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            response.close()
            if method not in ("GET", "HEAD") and response.status not in (307, 308):
                raise Forbidden(f"registry {self.name} redirects {method}: refused")
            reading = method in ("GET", "HEAD")
            url = protocol.follow(url, location, self.origin, reading=reading)
        raise Unavailable(f"registry {self.name} redirects in a circle")

    def _authorization(self, scopes: tuple[str, ...], fresh: bool) -> str:
        challenge = self._challenge
        if challenge is None:
            return ""
        secret = self._secret
        if challenge.scheme == "basic":
            if secret is None or not secret.username:
                raise Unauthorized(
                    f'Get "{self._base}/v2/": no basic auth credentials',
                    hint="onggi login" + ("" if self.name == "docker.io" else f" {self.name}"),
                )
            return protocol.basic(secret)
        with self._lock:
            known = self._authorizations.get(scopes)
            if known is None or known[1] < time.monotonic() or fresh:
                token = self._token(challenge, scopes, secret)
                until_s = time.monotonic() + token.life_s * 0.9 - 5
                known = self._authorizations[scopes] = (f"Bearer {token.value}", until_s)
        return known[0]

    def prove(self, secret: Secret) -> Secret:
        """Check `secret` at the registry; what is to be stored for it (an identity token where the
        registry gives one). Raises Unauthorized."""
        url = self.url("")
        challenge = self._challenge
        if challenge is not None and challenge.scheme == "bearer":
            token = self._token(challenge, (), secret, offline=True)
            if token.refresh_token:
                return Secret(secret.username, "", token.refresh_token)
            authorization = f"Bearer {token.value}"
        else:
            authorization = protocol.basic(secret)
        sent = _headers({"Authorization": authorization})
        with self._work.transport.send("GET", url, sent) as response:
            if response.status != 200:
                kind = Unauthorized if response.status in (401, 403) else Unavailable
                raise kind(
                    f"login attempt to {url} failed with status: {status_text(response.status)}"
                )
        return secret

    def _token(
        self,
        challenge: Challenge,
        scopes: tuple[str, ...],
        secret: Secret | None,
        *,
        offline: bool = False,
    ) -> protocol.Token:
        """Ask the token server that the registry named; its redirects are not followed."""
        request = protocol.token_request(challenge, self.origin, scopes, secret, offline=offline)
        host = protocol.origin(request.url).host
        for attempt in range(self._work.patience.attempts + 1):
            last = attempt == self._work.patience.attempts
            try:
                with self._work.transport.send(*request) as response:
                    if response.status == 200:
                        return protocol.parse_token(response.read(protocol.MAX_TOKEN_BYTES), host)
                    if response.status not in RETRIED_STATUSES or last:
                        raise self._token_error(response, host)
            except ConnectionFailed as error:
                if last or error.kind in ("tls", "plain", "name", "refused"):
                    raise
            self._work.pause(self._work.patience.pause_s(attempt))
        raise AssertionError("unreachable")

    def _token_error(self, response: Response, host: str) -> OnggiError:
        if 300 <= response.status < 400:
            return Forbidden(f"token server {host} answered with a redirect: refused")
        said = token_refusal(response.read(MAX_ERROR_BYTES)[:MAX_ERROR_BYTES])
        if response.status in (400, 401, 403):
            text = said or "unauthorized: incorrect username or password"
            return Unauthorized(f'Get "{self._base}/v2/": {text}')
        return Unavailable(
            f"token server {host}: received unexpected HTTP status: "
            f"{status_text(response.status)} {printable(said)}".strip()
        )


def _headers(more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"User-Agent": protocol.USER_AGENT, "Accept-Encoding": "identity", **(more or {})}
