"""Metadata instructions: what they do to an image's configuration, and their history text. Pure.

The texts are BuildKit's, so that `history` reads as with docker.
"""

import json
import posixpath
import re
from collections.abc import Iterable

from ..errors import InvalidInput
from ..spec.image import Healthcheck, ImageConfig
from ..units import format_duration
from . import instructions as df
from .expand import expand, expand_words

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MAX_PORTS = 65536
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_SIGNALS = frozenset((
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP "
    "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS IOT CLD POLL"
).split())  # fmt: skip


def set_env(env: tuple[str, ...], name: str, value: str) -> tuple[str, ...]:
    """Replace in place, else append."""
    entry = f"{name}={value}"
    if any(item.startswith(f"{name}=") for item in env):
        return tuple(entry if item.startswith(f"{name}=") else item for item in env)
    return (*env, entry)


def split_env(env: Iterable[str]) -> dict[str, str]:
    """ "K=V" entries as a map."""
    pairs = (entry.partition("=") for entry in env)
    return {name: value for name, _, value in pairs}


def go_strings(words: Iterable[str]) -> str:
    """Go's %q of a list of strings."""
    return "[" + " ".join(json.dumps(word, ensure_ascii=False) for word in words) + "]"


def command(
    config: ImageConfig, keyword: str, args: tuple[str, ...], shell: bool, cmd_set: bool
) -> tuple[ImageConfig, str]:
    """CMD, ENTRYPOINT, SHELL. ENTRYPOINT drops a CMD that the base image set."""
    if keyword == "SHELL":
        return config._replace(shell=args), f"SHELL [{' '.join(args)}]"
    if shell:
        args = (*(config.shell or DEFAULT_SHELL), " ".join(args))
    text = f"{keyword} {go_strings(args)}"
    if keyword == "CMD":
        return config._replace(cmd=args, args_escaped=True), text
    return config._replace(entrypoint=args, cmd=config.cmd if cmd_set else ()), text


def expose(config: ImageConfig, words: Iterable[str]) -> tuple[ImageConfig, str]:
    """Raises InvalidInput for a port that is none."""
    ports = sorted({port for word in words for port in _ports(word)})
    merged = tuple(sorted({*config.exposed_ports, *ports}))
    shown = " ".join(f"{port}:{{}}" for port in ports)
    return config._replace(exposed_ports=merged), f"EXPOSE map[{shown}]"


def _ports(word: str) -> list[str]:
    numbers, slash, protocol = word.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidInput(f'invalid port: "{word[:80]}": invalid proto: {protocol[:40]}')
    numbers = numbers.rpartition(":")[2]  # a host part is accepted and means nothing, as docker
    first, dash, last = numbers.partition("-")
    last = last if dash else first
    if not _PORT.fullmatch(first) or not _PORT.fullmatch(last):
        raise InvalidInput(f"invalid containerPort: {word[:80]}")
    if not int(first) <= int(last) < MAX_PORTS:
        raise InvalidInput(f"invalid containerPort: {word[:80]}: not a range within 0-65535")
    return [f"{number}/{protocol}" for number in range(int(first), int(last) + 1)]


def volume(config: ImageConfig, paths: tuple[str, ...]) -> tuple[ImageConfig, str]:
    if "" in paths:
        raise InvalidInput("VOLUME specified can not be an empty string")
    merged = tuple(sorted({*config.volumes, *paths}))
    return config._replace(volumes=merged), f"VOLUME [{' '.join(paths)}]"


def stop_signal(config: ImageConfig, name: str) -> tuple[ImageConfig, str]:
    known = name.isascii() and (
        (name.isdigit() and 1 <= int(name[:4]) <= 64)
        or name.upper().removeprefix("SIG") in _SIGNALS
        or re.fullmatch(r"(?:SIG)?RTM(?:IN(?:\+[0-9]{1,2})?|AX(?:-[0-9]{1,2})?)", name.upper())
        is not None
    )
    if not known:
        raise InvalidInput(f"Invalid signal: {name[:40]}")
    return config._replace(stop_signal=name), f"STOPSIGNAL {name}"


def health(config: ImageConfig, check: Healthcheck) -> tuple[ImageConfig, str]:
    times = (check.interval_ns, check.timeout_ns, check.start_period_ns, 0)
    names = ("Interval", "Timeout", "StartPeriod", "StartInterval")
    shown = " ".join(f"{n}:{format_duration(t)}" for n, t in zip(names, times, strict=True))
    text = f"HEALTHCHECK {{Test:[{' '.join(check.test)}] {shown} Retries:{check.retries}}}"
    return config._replace(healthcheck=check), text


def working_dir(current: str, path: str) -> str:
    """WORKDIR's result: absolute and clean."""
    joined = posixpath.normpath(posixpath.join("/", current, path))
    return "/" + joined.lstrip("/")


def destination(current: str, path: str) -> str:
    """COPY's destination: absolute and clean, with the last slash kept."""
    whole = working_dir(current, path or ".")
    directory = path in ("", ".", "..") or path.endswith(("/", "/.", "/.."))
    return whole if whole == "/" or not directory else f"{whole}/"


def change(config: ImageConfig, item: df.Instruction) -> ImageConfig:
    """One instruction of `commit --change`; variables are the image's environment."""
    variables = split_env(config.env)

    def grow(text: str) -> str:
        return expand(text, variables)

    if isinstance(item, df.Env):
        for name, value in item.pairs:
            config = config._replace(env=set_env(config.env, grow(name), grow(value)))
        return config
    if isinstance(item, df.Label):
        pairs = {grow(name): grow(value) for name, value in item.pairs}
        return config._replace(labels={**config.labels, **pairs})
    if isinstance(item, df.Health):
        return health(config, item.check)[0]
    if isinstance(item, df.Command) and item.keyword != "SHELL":
        return command(config, item.keyword, item.args, item.shell, True)[0]
    if isinstance(item, df.Values) and item.keyword == "EXPOSE":
        words = [word for value in item.values for word in expand_words(value, variables)]
        return expose(config, words)[0]
    if isinstance(item, df.Values):
        return volume(config, tuple(map(grow, item.values)))[0]
    if isinstance(item, df.Value) and item.keyword != "MAINTAINER":
        return _change_value(config, item.keyword, item.value, grow(item.value))
    raise InvalidInput(f"{item.at.text.split()[0].upper()} is not a valid change command")


def _change_value(config: ImageConfig, keyword: str, raw: str, value: str) -> ImageConfig:
    if keyword == "ONBUILD":
        return config._replace(on_build=(*config.on_build, raw))
    if keyword == "WORKDIR":
        return config._replace(working_dir=working_dir(config.working_dir, value))
    if keyword == "STOPSIGNAL":
        return stop_signal(config, value)[0]
    return config._replace(user=value)
