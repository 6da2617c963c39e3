"""Content digests: `sha256:<64 hex>` or `sha512:<128 hex>`, never anything else."""

import sys

from ..errors import InvalidInput
from ..typed import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import sha256 as sha256
else:
    # What hashlib has where OpenSSL is missing: hashlib itself takes 2 ms to import.
    if sys.version_info >= (3, 12):
        from _sha2 import sha256 as sha256
    else:
        from _sha256 import sha256

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """A validated digest. It is a str, so it sorts, hashes and prints; make one with `parse`."""

    __slots__ = ()

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The 12 characters docker shows."""
        return self.partition(":")[2][:12]

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Raises InvalidInput on an unknown algorithm, a wrong length or any other character."""
        algorithm, _, hexadecimal = text.partition(":")
        if len(hexadecimal) != _HEX_LENGTH.get(algorithm) or not _HEX.issuperset(hexadecimal):
            raise InvalidInput(f"invalid digest {text[:160]!r}")
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> "Digest":
        """Of a document: for megabytes hashlib is five times as fast."""
        return cls("sha256:" + sha256(data).hexdigest())


def chain_id(diff_ids: tuple[Digest, ...]) -> Digest:
    """Chain ID of a non-empty stack of layers, bottom first (OCI image-spec, config.md)."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = Digest.of(f"{chain} {diff_id}".encode())
    return chain
