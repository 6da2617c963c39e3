"""--cache-from and --cache-to of build: buildx's grammar, and docker's names of images."""

import os

from ..build.options import CacheSource, CacheTarget
from ..errors import InvalidInput
from ..spec.digest import Digest
from ..spec.reference import parse_reference
from ..typed import Literal, get_args
from .buildfields import boolean, fields_of
from .session import client_side, refusal

_ELSEWHERE = ("gha", "s3", "azblob")
_HINT = "onggi keeps caches of type=registry, type=local and type=inline"
_COMPRESSIONS: dict[str, Literal["", "gzip", "zstd"]] = {
    "": "gzip", "gzip": "gzip", "zstd": "zstd", "uncompressed": "", "estargz": "gzip",
}  # fmt: skip
_MODES: tuple[Literal["min", "max"], ...] = get_args(Literal["min", "max"])


def sources(given: list[str], directory: str) -> tuple[CacheSource, ...]:
    """`NAME,NAME`, or `type=registry,ref=…`, `type=local,src=…`."""
    found: list[CacheSource] = []
    for text in given:
        if "=" not in text:
            found += [
                CacheSource("registry", _reference(name), plain=True) for name in text.split(",")
            ]
            continue
        fields = fields_of(text, "cache-from")
        kind = fields.pop("type", "")
        if kind == "local":
            name = fields.pop("digest", "") or fields.pop("tag", "") or "latest"
            found.append(CacheSource("local", _path(fields, "src", directory), _name(name)))
        elif kind == "registry":
            found.append(CacheSource("registry", _reference(fields.pop("ref", ""))))
        else:
            raise _unknown(kind, "cache-from")
        _refuse_rest(fields, text)
    return tuple(found)


def targets(given: list[str], directory: str) -> tuple[CacheTarget, ...]:
    """`NAME`, or `type=registry,ref=…`, `type=local,dest=…`, `type=inline`."""
    return tuple(_target(text, directory) for text in given)


def _target(text: str, directory: str) -> CacheTarget:
    if "=" not in text:
        return CacheTarget("registry", _reference(text))
    fields = fields_of(text, "cache-to")
    kind = fields.pop("type", "")
    if kind == "inline":
        if fields.pop("mode", "min") != "min":
            raise refusal("--cache-to type=inline: an image's own layers are all it can hold",
                          "mode=max needs type=registry or type=local")  # fmt: skip
        _refuse_rest(fields, text)
        return CacheTarget("inline")
    if kind not in ("registry", "local"):
        raise _unknown(kind, "cache-to")
    mode = next((m for m in _MODES if m == fields.get("mode", "min")), None)
    if mode is None:
        raise refusal(f'invalid cache mode "{fields["mode"]}": min or max')
    compression = _COMPRESSIONS.get(fields.get("compression", ""))
    if compression is None or fields.get("compression") == "estargz":
        raise refusal(f'unsupported cache compression "{fields["compression"]}"',
                      "one of gzip, zstd, uncompressed")  # fmt: skip
    if not boolean(fields, "oci-mediatypes", default=True):
        raise refusal("--cache-to oci-mediatypes=false: caches have OCI media types")
    made = CacheTarget(
        "registry",
        mode=mode,
        compression=compression,
        image_manifest=boolean(fields, "image-manifest", default=True),
        ignore_error=boolean(fields, "ignore-error", default=False),
    )
    if kind == "registry":
        made = made._replace(where=_reference(fields.pop("ref", "")))
    else:
        name = _name(fields.pop("tag", "latest"))
        made = made._replace(kind="local", where=_path(fields, "dest", directory), name=name)
    for known in ("mode", "compression", "oci-mediatypes", "image-manifest", "ignore-error"):
        fields.pop(known, None)
    _refuse_rest(fields, text)
    return made


def _unknown(kind: str, flag: str) -> Exception:
    if kind in _ELSEWHERE:
        return refusal(f"--{flag} type={kind} is not supported", _HINT)
    return refusal(f"unknown cache type {kind!r} of --{flag}" if kind else
                   f"type required form> \"--{flag} type=registry,ref=…\"", _HINT)  # fmt: skip


def _refuse_rest(fields: dict[str, str], text: str) -> None:
    if fields:
        raise refusal(f"unexpected key '{next(iter(fields))}' in '{text}'")


def _reference(text: str) -> str:
    if not text:
        raise refusal("a cache of type=registry needs ref=NAME")
    try:
        parse_reference(text)
    except InvalidInput as error:
        raise client_side(error) from error
    return text


def _path(fields: dict[str, str], key: str, directory: str) -> str:
    path = fields.pop(key, "")
    if not path:
        raise refusal(f"a cache of type=local needs {key}=DIRECTORY")
    return os.path.join(directory, path)


def _name(text: str) -> str:
    """A tag or digest of a layout."""
    if text.startswith("sha256:"):
        try:
            Digest.parse(text)
        except InvalidInput as error:
            raise client_side(error) from error
    return text
