"""Image references: names with a tag or digest, docker's grammar (distribution/reference)."""

from ..errors import InvalidInput
from ..patterns import Pattern
from ..typed import NamedTuple
from .digest import Digest

DEFAULT_DOMAIN = "docker.io"
_HOST = Pattern(
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*(?::[0-9]{1,5})?"
    r"|\[[a-fA-F0-9:]+\](?::[0-9]{1,5})?"
)
_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
_COMPONENT = frozenset(_LOWER + "._-")
_TAG = frozenset(_LOWER + _LOWER.upper() + "._-")
_BLANK = dict.fromkeys(map(ord, _LOWER), " ")


class Reference(NamedTuple):
    """`domain/path[:tag][@digest]`, e.g. docker.io/library/python:3.11."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        return f"{self.domain}/{self.path}" + self._suffix()

    @property
    def name(self) -> str:
        """The full repository name, without tag or digest."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The repository as people type it: `python`, `me/app`, `localhost:5000/x`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse_reference(text: str, *, default_tag: str = "latest") -> Reference:
    """Parse what a user typed; no tag and no digest means `default_tag`.

    Raises InvalidInput with docker's words. "Test:Latest" gets a hint with the lower-case spelling.
    """
    remainder, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = Digest.parse(digest_text)
        except InvalidInput as error:
            raise InvalidInput(f"invalid reference format: {error.message}") from error
    slash, colon = remainder.rfind("/"), remainder.rfind(":")
    name, tag = remainder, ""
    if colon > slash:
        name, tag = remainder[:colon], remainder[colon + 1 :]
        if not (0 < len(tag) <= 128 and _TAG.issuperset(tag) and tag[0] not in ".-"):
            raise InvalidInput("invalid reference format")
    if len(name) == 64 and not name.strip("0123456789abcdef"):
        raise InvalidInput(
            f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings"
        )
    domain, path = _split_domain(name)
    if not path or not all(_is_component(part) for part in path.split("/")):
        if path.lower() != path:
            raise InvalidInput(
                f"invalid reference format: repository name ({path[:255]}) must be lowercase",
                hint=f"did you mean {text.lower()}",
            )
        raise InvalidInput("invalid reference format")
    if len(path) > 255 or (domain != DEFAULT_DOMAIN and not _HOST.fullmatch(domain)):
        raise InvalidInput("invalid reference format")
    if not tag and digest is None:
        tag = default_tag
    return Reference(domain, path, tag, digest)


def _is_component(text: str) -> bool:
    """Letters and digits, joined by a dot, one or two underscores, or dashes."""
    if not text or not _COMPONENT.issuperset(text) or text[0] in "._-" or text[-1] in "._-":
        return False
    joints = text.translate(_BLANK).split()
    return all(joint in (".", "_", "__") or not joint.strip("-") for joint in joints)


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_host = slash and (
        "." in first or ":" in first or first == "localhost" or first.lower() != first
    )
    domain, path = (first, rest) if is_host else (DEFAULT_DOMAIN, name)
    if domain in ("index.docker.io", "registry-1.docker.io"):
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and path and "/" not in path:
        path = f"library/{path}"
    return domain, path
