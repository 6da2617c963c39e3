"""--sbom, --provenance, --attest and --annotation of build, buildx's grammar."""

import re

from ..build.options import Annotations
from ..dockerfile.spelling import nearest
from ..typed import Literal, NamedTuple
from .buildfields import boolean, fields_of
from .flags import parse_boolean
from .session import CommandError, refusal

_KINDS = ("sbom", "provenance")
_PLACES = {
    "manifest": "of_manifest", "index": "of_index", "manifest-descriptor": "of_descriptor",
}  # fmt: skip
_KEY = re.compile(r"(?:([a-z,-]+)(?:\[[^\]]*\])?:)?([^=:]+)", re.ASCII)


class Wanted(NamedTuple):
    sbom: bool = False
    provenance: Literal["", "min", "max"] = ""


def wanted(sbom: str, provenance: str, attest: list[str]) -> Wanted:
    """What is asked for; the short flags are of the long one's two kinds."""
    found = Wanted()
    texts = list(attest)
    texts += [_long("sbom", sbom)] if sbom else []
    texts += [_long("provenance", provenance)] if provenance else []
    for text in texts:
        fields = fields_of(text, "attest")
        kind = fields.pop("type", "")
        if kind not in _KINDS:
            guess = nearest(kind, _KINDS)
            raise refusal(
                f"attestation type {kind!r} is not known" if kind else "attestation type not given",
                f"did you mean type={guess}" if guess else "one of sbom, provenance",
            )
        on = not boolean(fields, "disabled", default=False)
        fields.pop("disabled", None)
        if kind == "sbom":
            if "generator" in fields:
                raise refusal("--sbom generator= is not supported: onggi lists the packages itself")
            found = found._replace(sbom=on)
        else:
            found = found._replace(provenance=_mode(fields) if on else "")
        if fields:
            raise refusal(f"unexpected key '{next(iter(fields))}' in '{text}'")
    return found


def _long(kind: str, text: str) -> str:
    """--sbom=true is --attest type=sbom."""
    try:
        return f"type={kind},disabled={str(not parse_boolean(text)).lower()}"
    except ValueError:
        return f"type={kind},{text}"


def _mode(fields: dict[str, str]) -> Literal["min", "max"]:
    mode = fields.pop("mode", "min")
    version = fields.pop("version", "v1")
    if version != "v1":
        raise refusal(f"provenance version {version!r} is not supported", "onggi writes v1")
    if mode == "max":
        return "max"
    if mode != "min":
        raise refusal(f"provenance mode {mode!r} is not known", "one of min, max")
    return "min"


def annotations(given: list[str]) -> Annotations | None:
    """`[PLACE,PLACE:]KEY=VALUE`; None when there are none."""
    found: dict[str, dict[str, str]] = {field: {} for field in _PLACES.values()}
    for text in given:
        head, equals, value = text.partition("=")
        match = _KEY.fullmatch(head)
        if not equals or match is None:
            raise refusal(f'invalid annotation "{text}", expected key=value')
        for place in (match[1] or "manifest").split(","):
            if place not in _PLACES:
                raise _unknown(place)
            found[_PLACES[place]][match[2]] = value
    return Annotations(**found) if given else None


def _unknown(place: str) -> CommandError:
    guess = nearest(place, _PLACES)
    return refusal(
        f"unknown annotation type {place!r}",
        f"did you mean {guess}" if guess else f"one of {', '.join(_PLACES)}",
    )
