"""The three files every container gets from its host: hostname, hosts, resolv.conf.

Every user string in them has passed `check_host_word` (SECURITY C12).
"""

from collections.abc import Sequence

from ..errors import InvalidInput
from ..spec.container import HostOptions

EMBEDDED = "127.0.0.11"  # of user-defined networks
FALLBACK_NAMESERVERS = ("8.8.8.8", "8.8.4.4")
_HOSTS_HEAD = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%")


def check_host_word(text: str, what: str) -> str:
    """A host name, search domain or address that can stand in these files; InvalidInput if not."""
    if not text or len(text) > 255 or not _WORD.issuperset(text) or text.startswith("-"):
        raise InvalidInput(f"invalid {what} {text[:80]!r}")
    return text


def hosts(
    hostname: str,
    domainname: str,
    addresses: Sequence[str],
    extra: Sequence[str],
    gateway: str = "",
    links: Sequence[tuple[str, Sequence[str]]] = (),
) -> str:
    """/etc/hosts. `extra` holds "name:ip"; the word host-gateway stands for `gateway`. `links` are
    (address, names) of other containers."""
    lines = [_HOSTS_HEAD]
    for entry in extra:
        name, _, target = entry.partition(":")
        check_host_word(name, "--add-host name")
        target = target.strip("[]")
        if target == "host-gateway":
            if not gateway:
                raise InvalidInput(f"--add-host {entry}: this network has no gateway on the host")
            target = gateway
        lines.append(f"{check_host_word(target, '--add-host address')}\t{name}\n")
    for address, names in links:
        lines.append(f"{address}\t{' '.join(check_host_word(n, 'link') for n in names)}\n")
    own = own_names(hostname, domainname)
    lines += [f"{address}\t{own}\n" for address in addresses]
    return "".join(lines)


def own_names(hostname: str, domainname: str) -> str:
    """What stands behind the container's own addresses."""
    full = f"{hostname}.{domainname}" if domainname else hostname
    short, dot, _ = full.partition(".")
    return f"{full} {short}" if dot else full


def with_addresses(text: str, add: Sequence[str], remove: Sequence[str], names: str) -> str:
    """/etc/hosts after the container came to other networks; what else stands in it stays."""
    gone = {f"{address}\t{names}" for address in (*add, *remove)}
    kept = [line for line in text.splitlines() if line not in gone]
    return "".join(f"{line}\n" for line in (*kept, *(f"{a}\t{names}" for a in add)))


def with_link(text: str, address: str, names: Sequence[str]) -> str:
    """/etc/hosts after the container of these names got another address; what else stands in it
    stays."""
    known = " ".join(names)
    lines = (
        f"{address}\t{known}" if line.partition("\t")[2] == known else line
        for line in text.splitlines()
    )
    return "".join(f"{line}\n" for line in lines)


def resolv_conf(
    host_text: str,
    *,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    shares_host_network: bool = False,
    embedded: bool = False,
) -> str:
    """/etc/resolv.conf from the host's and the user's --dns* flags. A resolver on the host's own
    loopback is of no use in another network namespace and is left out; with none left, docker's
    fallback stands in. With `embedded` our own resolver is asked, who asks those servers."""
    found: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in host_text.splitlines():
        words = line.split("#")[0].split()
        if len(words) > 1 and words[0] in found:
            if words[0] == "nameserver":
                found["nameserver"].append(words[1])
            else:
                found[words[0]] = words[1:]
    nameservers = list(servers) or [
        server
        for server in found["nameserver"]
        if shares_host_network or not (server.startswith("127.") or server == "::1")
    ]
    if embedded:
        nameservers = [EMBEDDED]
        if not any(option.startswith("ndots:") for option in options):
            options = [*(options or found["options"]), "ndots:0"]
    lines = [
        f"nameserver {check_host_word(server, '--dns address')}\n"
        for server in nameservers or FALLBACK_NAMESERVERS
    ]
    domains = [item for item in (search or found["search"]) if item != "."]
    if domains:
        words_ = " ".join(check_host_word(item, "--dns-search domain") for item in domains)
        lines.append(f"search {words_}\n")
    chosen = options or found["options"]
    if chosen:
        lines.append(
            "options " + " ".join(check_host_word(o, "--dns-option") for o in chosen) + "\n"
        )
    return "".join(lines)


def resolv_conf_of(host: HostOptions, *, embedded: bool) -> str:
    """A container's, on this host as it is now."""
    return resolv_conf(
        host_resolv_conf(),
        servers=host.dns,
        search=host.dns_search,
        options=host.dns_options,
        shares_host_network=host.network_mode == "host",
        embedded=embedded,
    )


def host_resolv_conf() -> str:
    """The host's; where systemd-resolved answers on a loopback address, the servers behind it."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 16)
        except OSError:
            continue
        if "nameserver 127.0.0.53" not in text:
            return text
    return ""
