"""config.toml: mirrors, plain HTTP and certificates, per registry host. Reads files, knows no home.

    [registry."docker.io"]
    mirrors = ["http://127.0.0.1:5000", "https://mirror.example/hub"]

    [registry."registry.lan:5000"]
    plain_http = true          # never https
    insecure = true            # https without checking the certificate, then plain http
    ca = "/etc/ssl/lan.pem"    # trust this authority for this host only

Later files win key by key. Tables other than `registry` belong to others.
"""

import os
from collections.abc import Iterable

from ..errors import InvalidInput
from ..typed import Any, NamedTuple
from .protocol import Proxies, host_of, is_loopback, split_url

MAX_BYTES = 1 << 20
CERTIFICATE_DIRECTORIES = ("/etc/onggi/certs.d", "/etc/docker/certs.d")
_KEYS = {"mirrors": list, "plain_http": bool, "insecure": bool, "ca": str}


class HostSettings(NamedTuple):
    """What config.toml says about one registry; None: it says nothing."""

    mirrors: tuple[str, ...] = ()
    plain_http: bool = False
    insecure: bool | None = None
    ca: str = ""


class Trust(NamedTuple):
    """How to speak TLS with one host."""

    verify: bool = True
    authorities: tuple[str, ...] = ()
    client_certificate: str = ""
    client_key: str = ""


class Settings(NamedTuple):
    """All the registry package needs to know about this machine and user; made by `load`."""

    hosts: dict[str, HostSettings] = {}  # noqa: RUF012 - never mutated
    certificate_directories: tuple[str, ...] = CERTIFICATE_DIRECTORIES
    proxies: Proxies = Proxies()

    def host(self, name: str) -> HostSettings:
        return self.hosts.get(name, HostSettings())

    def mirrors(self, domain: str) -> tuple[str, ...]:
        return self.host(domain).mirrors

    def schemes(self, name: str) -> tuple[str, ...]:
        """The schemes to try, in order. Plain http only where it was asked for, or on loopback
        (as docker) unless that host has an authority or `insecure = false`."""
        said = self.host(name)
        if said.plain_http:
            return ("http",)
        if said.insecure or (said.insecure is None and self._loopback(name)):
            return ("https", "http")
        return ("https",)

    def trusting(self, name: str) -> "Settings":
        """The same, but this host needs no certificate, nor https (`--insecure`)."""
        return self._replace(hosts={**self.hosts, name: self.host(name)._replace(insecure=True)})

    def trust(self, name: str) -> Trust:
        said = self.host(name)
        authorities = [said.ca] if said.ca else []
        certificate = key = ""
        for directory in self.certificate_directories:
            found = _certificates(os.path.join(directory, name))
            authorities += [path for path in found if path.endswith(".crt")]
            for path in found:
                pair = path.removesuffix(".cert") + ".key"
                if path.endswith(".cert") and pair in found and not certificate:
                    certificate, key = path, pair
        verify = not said.insecure and (bool(authorities) or not self._loopback(name))
        return Trust(verify or said.insecure is False, tuple(authorities), certificate, key)

    def _loopback(self, name: str) -> bool:
        return is_loopback(host_of(name)) and not self._has_authority(name)

    def _has_authority(self, name: str) -> bool:
        return bool(self.host(name).ca) or any(
            path.endswith(".crt")
            for directory in self.certificate_directories
            for path in _certificates(os.path.join(directory, name))
        )


def load(
    files: Iterable[str],
    *,
    certificate_directories: tuple[str, ...] = CERTIFICATE_DIRECTORIES,
    proxies: Proxies = Proxies(),  # noqa: B008 - immutable
) -> Settings:
    """Settings from the given files, missing ones skipped. Raises InvalidInput naming file and
    key."""
    hosts: dict[str, HostSettings] = {}
    for path in files:
        for name, table in _registries(path).items():
            known = hosts.get(name, HostSettings())
            hosts[name] = known._replace(**_host(path, name, table))
    return Settings(hosts, certificate_directories, proxies)


def _registries(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{path} is larger than {MAX_BYTES} bytes")
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}") from error
    table = document.get("registry", {})
    if not isinstance(table, dict):
        raise InvalidInput(f'{path}: registry is not a table: write [registry."host:port"]')
    return table


def _host(path: str, name: str, table: Any) -> dict[str, Any]:
    where = f'{path}: registry."{name}"'
    if not isinstance(table, dict):
        raise InvalidInput(f'{where} is not a table: write [registry."{name}"]')
    if not name or "/" in name or name != name.strip():
        raise InvalidInput(
            f"{where}: a registry is named host or host:port, without scheme or path"
        )
    for key, value in table.items():
        if key not in _KEYS:
            raise InvalidInput(f"{where}.{key}: unknown key", hint=f"known: {', '.join(_KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise InvalidInput(f"{where}.{key} is not a {_KEYS[key].__name__}")
    values = dict(table)
    if "mirrors" in values:
        values["mirrors"] = tuple(_mirror(f"{where}.mirrors", item) for item in values["mirrors"])
    if "ca" in values and not os.path.isabs(values["ca"]):
        raise InvalidInput(f"{where}.ca: {values['ca']!r} is not an absolute path")
    return values


def _mirror(where: str, value: Any) -> str:
    if not isinstance(value, str) or "://" not in value:
        raise InvalidInput(f"{where}: {value!r} is not a URL with http:// or https://")
    parts = split_url(value, f"{where}:")
    if parts.query or parts.fragment:
        raise InvalidInput(f"{where}: {value!r} has a query")
    return value.rstrip("/")


def _certificates(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return sorted(
        os.path.join(directory, n) for n in names if n.endswith((".crt", ".cert", ".key"))
    )
