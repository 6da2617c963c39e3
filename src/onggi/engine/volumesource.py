"""What a volume with options (`type`, `o`, `device`) mounts, as docker's local driver has them.

Such a volume is mounted anew for each container, straight into its own mount namespace: nothing is
mounted on the host. Deciding (`check`, `plan`) is pure; `mounted` acts.
"""

import os
from collections.abc import Mapping

from ..errors import InvalidInput, OnggiError
from ..linux import mount
from ..runtime.plan import MountOptions, parse_options
from ..typed import NamedTuple

_KNOWN = ("type", "o", "device")
_NEEDS = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_NETWORKED = ("nfs", "nfs4", "cifs", "smb3")


class Source(NamedTuple):
    """`file_system` "" is a bind of the directory `device`."""

    file_system: str
    device: str
    options: MountOptions

    @property
    def is_memory(self) -> bool:
        """Whether what it holds lives only while it is mounted."""
        return self.file_system in ("tmpfs", "ramfs")

    @property
    def is_read_only(self) -> bool:
        return bool(self.options.set_attributes & mount.RDONLY)

    @property
    def host(self) -> str:
        """Whose address the kernel wants and was not given: "" for none."""
        if self.file_system not in _NETWORKED:
            return ""
        given = dict(self.options.data)
        address = given.get("addr") or ""
        if not address and "ip" not in given:
            address = _host_of(self.device)
        return "" if _is_address(address) else address


def check(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidInput in docker's words."""
    for key in options:
        if key == "size":
            raise InvalidInput(
                f"create {name}: quota size requested but no quota support",
                hint="a tmpfs takes its size in o: -o type=tmpfs -o device=tmpfs -o o=size=64m",
            )
        if key not in _KNOWN:
            raise InvalidInput(f'create {name}: invalid option: "{key}"')
    for key in options:
        for needed in _NEEDS[key]:
            if not options.get(needed):
                raise InvalidInput(f'create {name}: missing required option: "{needed}"')
    if any("\0" in value for value in options.values()):
        raise InvalidInput(f"create {name}: an option has a NUL in it")
    if not options:
        return
    source = plan(options)
    if not source.file_system and not source.device.startswith("/"):
        raise InvalidInput(f"create {name}: invalid device {source.device!r}: no absolute path")


def plan(options: Mapping[str, str]) -> Source:
    """What to mount. `type` none, or a `bind` among the words, is a directory of the host."""
    words = tuple(word for word in options.get("o", "").split(",") if word)
    kind = options["type"]
    if kind in ("none", "bind") or "bind" in words or "rbind" in words:
        kind = ""
    return Source(kind, options["device"], parse_options(words))


def is_memory(options: Mapping[str, str]) -> bool:
    return bool(options) and plan(options).is_memory


def mounted(options: Mapping[str, str], place: str) -> int:
    """A detached mount of it. Raises OnggiError in docker's words, where `place` is the volume's
    directory on the host."""
    source = plan(options)
    try:
        return _file_system(source) if source.file_system else _bind(source)
    except OSError as error:
        reason = error.strerror or str(error)
        for step in (f"mount {source.file_system}: ", "open_tree: "):
            reason = reason.removeprefix(step)
        raise OnggiError(
            f"error while mounting volume '{place}': failed to mount local volume: "
            f"mount {source.device}:{place}: {reason[:1].lower()}{reason[1:]}"
        ) from error


def _bind(source: Source) -> int:
    options = source.options
    fd = mount.open_tree(source.device, recursive=options.bind_recursive)
    try:
        mount.mount_setattr(fd, propagation=mount.MS_PRIVATE, recursive=True)
        set_bits, clear_bits = options.set_attributes, options.clear_attributes
        if set_bits or clear_bits:
            mount.mount_setattr(fd, set_attributes=set_bits, clear_attributes=clear_bits)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _file_system(source: Source) -> int:
    options = source.options
    data: list[mount.Option] = [("source", source.device), *options.data]
    if source.host:
        data = [option for option in data if option[0] != "addr"]
        data.append(("addr", _address_of(source.host)))
    if source.is_read_only:
        data.append(("ro", None))  # the file system itself too: a device may not be writable
    return mount.fsmount(source.file_system, data, options.set_attributes)


def _host_of(device: str) -> str:
    """The server in "host:/path", "[::1]:/path" and "//host/share"."""
    if device.startswith("//"):
        return device[2:].partition("/")[0]
    if device.startswith("["):
        return device[1:].partition("]")[0]
    return device.partition(":/")[0] if ":/" in device else ""


def _is_address(text: str) -> bool:
    """Whether the kernel can read it; "" needs no reading."""
    return not text or ":" in text or not text.strip("0123456789.")


def _address_of(host: str) -> str:
    import socket

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        text = f"cannot resolve {host}: {error.strerror or error}"
        raise OSError(error.errno or 0, text) from error
    return str(found[0][4][0])
