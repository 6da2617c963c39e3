"""--sbom: the packages of a finished file system, as an SPDX 2.3 document.

Reads what dpkg, apk and Python's packages say of themselves, inside the image's root and by no link
out of it. Runs nothing of the image.
"""

import re
import stat
from collections.abc import Iterator

from ..errors import OnggiError
from ..typed import Any, NamedTuple
from ..units import format_rfc3339
from .context import MAX_DEPTH, Tree

PREDICATE = "https://spdx.dev/Document"
MAX_DATABASE_BYTES = 64 << 20
MAX_METADATA_BYTES = 1 << 20
_PYTHON = ("site-packages", "dist-packages")
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")


class Package(NamedTuple):
    """`kind` is a package URL's type: deb, apk, pypi."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""
    supplier: str = ""


def packages(tree: Tree) -> list[Package]:
    """Sorted, each once."""
    return sorted(set(_dpkg(tree)) | set(_apk(tree)) | set(_python(tree)))


def document(name: str, found: list[Package], system: str, created_ns: int) -> dict[str, Any]:
    """The SPDX document; `system` is os-release's ID, for package URLs."""
    described = [_described(index, package, system) for index, package in enumerate(found)]
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"urn:onggi:sbom:{_UNSAFE.sub('-', name)}",
        "creationInfo": {
            "created": format_rfc3339(created_ns // 10**9 * 10**9),
            "creators": ["Tool: onggi"],
        },
        "packages": described,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": item["SPDXID"],
            }
            for item in described
        ],
    }


def system_of(tree: Tree) -> str:
    """os-release's ID: debian, alpine; "" when it says none."""
    for path in ("etc/os-release", "usr/lib/os-release"):
        for line in _text(tree, path, 1 << 16).splitlines():
            name, _, value = line.partition("=")
            if name == "ID":
                return value.strip("\"'")
    return ""


def _described(index: int, package: Package, system: str) -> dict[str, Any]:
    identity = _UNSAFE.sub("-", f"{package.kind}-{package.name}-{index}")
    return {
        "SPDXID": f"SPDXRef-Package-{identity}",
        "name": package.name,
        "versionInfo": package.version,
        "supplier": f"Organization: {package.supplier}" if package.supplier else "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        **({"licenseComments": package.license} if package.license else {}),
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": _purl(package, system),
            }
        ],
    }


def _purl(package: Package, system: str) -> str:
    name, version = _quoted(package.name), _quoted(package.version)
    if package.kind == "pypi":
        return f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    more = f"?arch={_quoted(package.architecture)}" if package.architecture else ""
    return f"pkg:{package.kind}/{_quoted(system or 'linux')}/{name}@{version}{more}"


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


# -- what package managers keep


def _dpkg(tree: Tree) -> Iterator[Package]:
    """Debian's status file; distroless images have one file a package."""
    paths = ["var/lib/dpkg/status"]
    paths += [f"var/lib/dpkg/status.d/{name}" for name, _ in tree.listing("var/lib/dpkg/status.d")]
    for path in paths:
        for fields in _paragraphs(_text(tree, path, MAX_DATABASE_BYTES), ": "):
            said = fields.get("Status", "install ok installed")
            if fields.get("Package") and said.endswith(" installed"):
                yield Package(
                    "deb", fields["Package"], fields.get("Version", ""),
                    fields.get("Architecture", ""), "", fields.get("Maintainer", ""),
                )  # fmt: skip


def _apk(tree: Tree) -> Iterator[Package]:
    for path in ("lib/apk/db/installed", "usr/lib/apk/db/installed"):
        for fields in _paragraphs(_text(tree, path, MAX_DATABASE_BYTES), ":"):
            if fields.get("P"):
                yield Package(
                    "apk", fields["P"], fields.get("V", ""), fields.get("A", ""),
                    fields.get("L", ""), fields.get("m", ""),
                )  # fmt: skip


def _python(tree: Tree) -> Iterator[Package]:
    for place in _folders(tree, "", 0):
        for name, _ in tree.listing(place):
            file = "METADATA" if name.endswith(".dist-info") else "PKG-INFO"
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            text = _text(tree, f"{place}/{name}/{file}", MAX_METADATA_BYTES)
            fields = next(_paragraphs(text, ": "), {})
            if fields.get("Name"):
                license_ = fields.get("License-Expression") or fields.get("License", "")
                yield Package(
                    "pypi", fields["Name"], fields.get("Version", ""), "",
                    license_[:200], fields.get("Author", ""),
                )  # fmt: skip


def _folders(tree: Tree, below: str, depth: int) -> Iterator[str]:
    """Where Python's packages are; a folder of packages is not searched for more."""
    if depth > MAX_DEPTH:
        return
    for name, status in tree.listing(below):
        path = f"{below}/{name}".lstrip("/")
        if not stat.S_ISDIR(status.st_mode) or path in ("proc", "sys", "dev"):
            continue
        if name in _PYTHON:
            yield path
        else:
            yield from _folders(tree, path, depth + 1)


def _paragraphs(text: str, sign: str) -> Iterator[dict[str, str]]:
    """Groups of `name: value` lines between empty ones; continued lines are left out."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t":
            name, found, value = line.partition(sign)
            if found:
                fields.setdefault(name, value.strip())
    if fields:
        yield fields


def _text(tree: Tree, path: str, limit: int) -> str:
    """A file of the image, "" when there is none or it is no file."""
    real = tree.resolve(path)
    if real is None:
        return ""
    try:
        fd = tree.open(real)
    except OnggiError:
        return ""
    with open(fd, "rb") as file:
        return file.read(limit).decode("utf-8", "replace")
