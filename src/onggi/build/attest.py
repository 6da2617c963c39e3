"""--sbom and --provenance of a build: the facts gathered for `sbom` and `provenance`."""

import time

from .. import __version__
from ..spec.platform import host_platform
from ..spec.reference import parse_reference
from ..typed import TYPE_CHECKING
from . import ops, provenance, sbom
from .bases import OCI_LAYOUT
from .graph import GitOp, UrlOp
from .options import epoch_of
from .provenance import Material
from .publish import Attestation

if TYPE_CHECKING:
    from .finish import Solved, Work

_NO_CONTEXT = ("", "-")


def attestations(work: "Work", solved: "Solved") -> tuple[Attestation, ...]:
    """What was asked to be said of one platform's image."""
    options = work.options
    found = []
    if options.sbom:
        found.append(_sbom(work, solved))
    if options.provenance:
        facts = _facts(work, solved)
        content = provenance.predicate(facts, options.provenance)
        found.append(Attestation(provenance.PREDICATE, content))
    return tuple(found)


def _now_ns(work: "Work") -> int:
    epoch = epoch_of(work.options)
    return time.time_ns() if epoch is None else epoch * 10**9


def _sbom(work: "Work", solved: "Solved") -> Attestation:
    layers = solved.solution.results[solved.plan.result].layers
    name = f"{work.tags[0].name}:{work.tags[0].tag}" if work.tags else "image"
    with ops.merged(work.engine, layers, "the result") as tree:
        packages = sbom.packages(tree) if tree is not None else []
        system = sbom.system_of(tree) if tree is not None else ""
    return Attestation(sbom.PREDICATE, sbom.document(name, packages, system, _now_ns(work)))


def _facts(work: "Work", solved: "Solved") -> provenance.Facts:
    options = work.options
    context = options.context_dir
    local = context in _NO_CONTEXT or context.startswith("/")
    return provenance.Facts(
        platform=str(host_platform()),
        dockerfile=options.dockerfile.rpartition("/")[2],
        text=work.dockerfile,
        context="" if local else context,
        target=options.target,
        args={name: value for name, value in options.build_args.items() if value is not None},
        labels=options.labels,
        secrets=tuple(sorted(options.secrets)),
        agents=tuple(sorted(options.agents)),
        materials=(*_bases(work), *_remote(work, solved)),
        started_ns=work.began_ns if epoch_of(options) is None else _now_ns(work),
        finished_ns=_now_ns(work),
        version=__version__,
    )


def _bases(work: "Work") -> list[Material]:
    """Base images, with the digest of the manifest they came as."""
    found = {}
    for wanted, image in work.bases.images.items():
        if wanted.reference.startswith(OCI_LAYOUT):
            found[wanted.reference] = Material(wanted.reference, str(image.manifest_digest))
            continue
        reference = parse_reference(wanted.reference)
        names = [parse_reference(name) for name in image.repo_digests]
        digests = [name.digest for name in names if name.name == reference.name and name.digest]
        uri = provenance.package_url(f"{reference.name}:{reference.tag}", wanted.platform)
        digest = digests[0] if digests else image.manifest_digest or image.id
        found[uri] = Material(uri, str(digest))
    return list(found.values())


def _remote(work: "Work", solved: "Solved") -> list[Material]:
    """What ADD fetched."""
    found = []
    for index, made in sorted(solved.solution.results.items()):
        operation = solved.plan.vertices[index].operation
        told = work.cache.told(made.keys[0]) if made.keys else {}
        if isinstance(operation, UrlOp):
            found.append(Material(operation.url, operation.checksum or told.get("file", "")))
        elif isinstance(operation, GitOp):
            commit = told.get("commit", "")
            uri = f"{operation.remote}#{operation.ref}" if operation.ref else operation.remote
            found.append(Material(uri, f"sha1:{commit}" if commit else ""))
    return found
