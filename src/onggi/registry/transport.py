"""HTTP for registries: pools, TLS and proxies by urllib3. It sends one request and says what came.

No redirect, retry or authentication happens here, and no error of urllib3 leaves this file: a
failed connection is a ConnectionFailed in docker's words.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterator

import urllib3
from urllib3 import exceptions

from ..errors import InvalidInput, Unavailable
from ..typed import Literal, NamedTuple
from .config import Settings, Trust
from .protocol import proxy_for, split_url

CHUNK = 64 << 10
MIN_BYTES_PER_WINDOW = 1 << 10  # less than this in one stall time counts as stalled

Kind = Literal["name", "refused", "unreachable", "timeout", "tls", "plain", "cut"]


class Timeouts(NamedTuple):
    connect_s: float = 15.0
    stall_s: float = 60.0


class ConnectionFailed(Unavailable):
    """No (whole) answer. `kind` tells those apart that deserve another attempt."""

    def __init__(self, message: str, kind: Kind, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


class Response:
    """One answer. Read it wholly or close it; as a context manager it closes itself."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, url: str, label: str, stall_s: float) -> None:
        self.status = raw.status
        self.headers = raw.headers
        self.url = url
        self._raw = raw
        self._label = label
        self._stall_s = stall_s

    def __enter__(self) -> "Response":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back when little or nothing is left to read, drop it otherwise."""
        left = getattr(self._raw, "length_remaining", None)
        if left is not None and left <= CHUNK:
            self._raw.drain_conn()
            self._raw.release_conn()
        else:
            self._raw.close()

    def chunks(self) -> Iterator[bytes]:
        """The raw body as it arrives. Raises ConnectionFailed on a cut or a stall."""
        window_s, window_bytes = time.monotonic() + self._stall_s, 0
        while True:
            try:
                data = self._raw.read1(CHUNK, decode_content=False)
            except (exceptions.HTTPError, OSError, ValueError) as error:
                raise _explain(error, self._label) from error
            if not data:
                return
            window_bytes += len(data)
            if time.monotonic() > window_s:
                if window_bytes < MIN_BYTES_PER_WINDOW:
                    raise ConnectionFailed(f"{self._label}: stalled", "timeout")
                window_s, window_bytes = time.monotonic() + self._stall_s, 0
            yield data

    def read(self, max_bytes: int) -> bytes:
        """The whole body, at most `max_bytes` + 1 of it (so that callers see it is too long)."""
        parts, size = [], 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > max_bytes:
                break
        return b"".join(parts)[: max_bytes + 1]

    def abort(self) -> None:
        """Make a read that waits in another thread end now."""
        try:
            self._raw.shutdown()
        except (ValueError, RuntimeError, OSError):
            pass  # it has ended already


Body = bytes | Callable[[], Iterator[bytes]] | None


class Transport:
    """All connections of one piece of work; safe for threads. Close it, or use `with`."""

    def __init__(self, settings: Settings, timeouts: Timeouts | None = None) -> None:
        self._settings = settings
        self.timeouts = timeouts or Timeouts()
        self._pools: dict[tuple[str, str, str], urllib3.PoolManager] = {}

    def __enter__(self) -> "Transport":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for manager in self._pools.values():
            for key in manager.pools.keys():  # noqa: SIM118 - no dict: it cannot be iterated
                manager.pools[key].close()  # clear() alone leaves that to the garbage collector
            manager.clear()
        self._pools.clear()

    def send(self, method: str, url: str, headers: dict[str, str], body: Body = None) -> Response:
        """One request, one answer, whatever its status."""
        parts = split_url(url, "URL")
        pool = self._pool(parts.scheme, parts.netloc, proxy_for(url, self._settings.proxies))
        label = f'{method.capitalize()} "{url.partition("?")[0]}"'
        data = body() if callable(body) else body
        try:
            raw = pool.request(
                method, url, headers=headers, body=data, redirect=False, retries=False,
                preload_content=False, decode_content=False,
                timeout=urllib3.Timeout(
                    connect=self.timeouts.connect_s, read=self.timeouts.stall_s
                ),
            )  # fmt: skip
        except (exceptions.HTTPError, OSError, ValueError) as error:
            raise _explain(error, label, parts.netloc) from error
        return Response(raw, url, label, self.timeouts.stall_s)

    def _pool(self, scheme: str, netloc: str, proxy: str) -> urllib3.PoolManager:
        key = (scheme, netloc, proxy)
        pool = self._pools.get(key)
        if pool is None:
            tls = _tls_context(self._settings.trust(netloc), netloc) if scheme == "https" else None
            if proxy:
                pool = urllib3.ProxyManager(
                    proxy, maxsize=8, ssl_context=tls, proxy_headers=_proxy_headers(proxy)
                )
            else:
                pool = urllib3.PoolManager(maxsize=8, ssl_context=tls)
            pool = self._pools.setdefault(key, pool)
        return pool


def _proxy_headers(proxy: str) -> dict[str, str] | None:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return urllib3.make_headers(proxy_basic_auth=pair)


def _tls_context(trust: Trust, netloc: str) -> ssl.SSLContext:
    """Built by hand: create_default_context would obey SSLKEYLOGFILE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_default_certs()
    try:
        for path in trust.authorities:
            context.load_verify_locations(cafile=path)
        if trust.client_certificate:
            context.load_cert_chain(trust.client_certificate, trust.client_key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"certificates of registry {netloc}: {error}") from error
    return context


def _explain(error: Exception, label: str, netloc: str = "") -> ConnectionFailed:
    """docker's one-liner for what went wrong, from the innermost cause."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        for argument in cause.args:
            if isinstance(argument, BaseException) and argument not in chain:
                chain.append(argument)
        reason = getattr(cause, "reason", None)
        cause = (
            reason if isinstance(reason, BaseException) else cause.__cause__ or cause.__context__
        )
    for link in chain:
        if isinstance(link, ssl.SSLError):
            return _explain_tls(link, label, netloc)
        if isinstance(link, socket.gaierror):
            words = "no such host"
            if link.errno == socket.EAI_AGAIN:
                words = "temporary failure in name resolution"
            return ConnectionFailed(
                f"{label}: dial tcp: lookup {_bare(netloc)}: {words}",
                "name",
                hint="is this machine online? mirrors can be named in /etc/onggi/config.toml",
            )
    for link in chain:
        if isinstance(link, ConnectionRefusedError):
            text = f"{label}: dial tcp {netloc}: connect: connection refused"
            return ConnectionFailed(text, "refused")
        if isinstance(link, (ConnectionResetError, BrokenPipeError)):
            return ConnectionFailed(f"{label}: connection reset by peer", "cut")
        if isinstance(link, exceptions.IncompleteRead):
            return ConnectionFailed(f"{label}: unexpected EOF", "cut")
        if isinstance(link, OSError) and link.strerror and link.errno:
            text = f"{label}: dial tcp {netloc}: connect: {link.strerror.lower()}"
            return ConnectionFailed(text, "unreachable")
    if any(isinstance(link, (exceptions.TimeoutError, TimeoutError)) for link in chain):
        words = "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
        return ConnectionFailed(f"{label}: {words}", "timeout")
    return ConnectionFailed(f"{label}: EOF", "cut")


def _bare(netloc: str) -> str:
    return netloc.rpartition(":")[0] if netloc.rpartition(":")[2].isdigit() else netloc


def _explain_tls(error: ssl.SSLError, label: str, netloc: str) -> ConnectionFailed:
    text = str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        words = {
            10: "x509: certificate has expired or is not yet valid",
            9: "x509: certificate has expired or is not yet valid",
            62: f"x509: certificate is not valid for {_bare(netloc)}",
            64: f"x509: certificate is not valid for {_bare(netloc)}",
        }.get(error.verify_code, "x509: certificate signed by unknown authority")
        where = f"/etc/onggi/certs.d/{netloc}/ca.crt"
        return ConnectionFailed(
            f"{label}: tls: failed to verify certificate: {words}",
            "tls",
            hint=f"put the registry's authority into {where}" if "authority" in words else None,
        )
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text or "HTTP_REQUEST" in text:
        return ConnectionFailed(
            f"{label}: http: server gave HTTP response to HTTPS client",
            "plain",
            hint=f'if this registry is trusted: [registry."{netloc}"] plain_http = true '
            "in /etc/onggi/config.toml",
        )
    reason = (error.reason or text).lower().replace("_", " ")
    return ConnectionFailed(f"{label}: remote error: tls: {reason}", "tls")
