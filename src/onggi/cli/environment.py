"""`-e`, `--env-file`, `--label`, `--label-file`: variables and labels by docker's rules."""

from collections.abc import Iterable, Mapping

from .session import refusal

MAX_FILE = 16 << 20


def check_variable(text: str) -> None:
    """ValueError for what `-e` refuses: an empty name, control characters in it, NUL anywhere."""
    name = text.partition("=")[0]
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if "\0" in text or any(ord(c) < 32 for c in name):
        raise ValueError(f"invalid environment variable: {text!r}")


def variables(
    environ: Mapping[str, str], files: Iterable[str], given: Iterable[str]
) -> tuple[str, ...]:
    """`K=V` of the files, then of the flags; a bare K is taken from the caller's environment."""
    found: list[str] = []
    for path in files:
        found += read_pairs(path, environ, "env")
    for item in given:
        name, equals, _ = item.partition("=")
        if equals:
            found.append(item)
        elif name in environ:
            found.append(f"{name}={environ[name]}")
    return tuple(found)


def check_label(text: str) -> None:
    if not text.partition("=")[0]:
        raise ValueError(f"invalid label '{text}': empty name")
    if "\0" in text:
        raise ValueError(f"invalid label {text!r}")


def labels(files: Iterable[str], given: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in files:
        for item in read_pairs(path, {}, "label"):
            name, _, value = item.partition("=")
            found[name] = value
    for item in given:
        name, _, value = item.partition("=")
        found[name] = value
    return found


def read_pairs(path: str, environ: Mapping[str, str], what: str) -> list[str]:
    """A line-delimited file: `#` comments, `K=V`, and bare `K` for the caller's own variable."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise refusal(f"open {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > MAX_FILE:
        raise refusal(f"invalid {what} file ({path}): larger than {MAX_FILE} bytes")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise refusal(
            f"invalid {what} file ({path}): invalid utf8 bytes at line {number}"
        ) from error
    found = []
    for line in text.splitlines() if "\r" not in text else text.replace("\r\n", "\n").split("\n"):
        stripped = line.lstrip()
        if not stripped or stripped[0] == "#":
            continue
        name, equals, value = stripped.partition("=")
        if not name:
            raise refusal(f"invalid {what} file ({path}): no variable name on line '{line}'")
        if any(c.isspace() for c in name) or "\0" in line:
            raise refusal(f"invalid {what} file ({path}): variable '{name}' contains whitespaces")
        if equals:
            found.append(f"{name}={value}")
        elif what == "label":
            found.append(name)
        elif name in environ:
            found.append(f"{name}={environ[name]}")
    return found
