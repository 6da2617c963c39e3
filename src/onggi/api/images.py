"""`/images`: list, inspect, history, pull, import, push, tag, remove, search, prune, get, load."""

import time
from collections.abc import Callable, Iterable

from ..engine import imagelist, pruning
from ..engine.imageview import layer_sizes
from ..errors import Forbidden, InvalidInput, OnggiError
from ..progress import ignore
from ..spec.digest import Digest
from ..spec.platform import Platform, parse_platform
from ..spec.reference import Reference, parse_reference
from . import imagejson, progresslines, registryauth
from .call import Answer, Call, Stream, json_answer
from .decode import Fields, parse_integer, parse_json
from .route import Route

WRITE_BYTES = 256 << 10  # archives come in small pieces: tar headers


def list_images(call: Call) -> Answer:
    engine, version = call.engine, call.version
    filters = dict(call.query.filters())
    if version < (1, 41) and call.query.text("filter"):
        filters["reference"] = (*filters.get("reference", ()), call.query.text("filter"))
    everything = engine.images.list(all=True)
    listed = imagelist.select(
        engine.images.list(all=call.query.flag("all")),
        filters,
        find=engine.images.get,
        now_ns=time.time_ns(),
    )
    shared: dict[str, int] = {}
    if version >= (1, 42) and call.query.flag("shared-size"):
        shared = imagejson.shared_bytes(everything, layer_sizes(engine.store, everything))
    users = users_of(call) if version >= (1, 51) else {}
    return json_answer([
        imagejson.summary(
            item,
            version,
            containers=users.get(str(item.image.id), 0) if version >= (1, 51) else -1,
            shared_bytes=shared.get(str(item.image.id), -1),
        )
        for item in listed
    ])  # fmt: skip


def users_of(call: Call) -> dict[str, int]:
    """By image id: how many containers are of it."""
    users: dict[str, int] = {}
    for container in call.engine.containers.list(all=True):
        users[container.config.image_id] = users.get(container.config.image_id, 0) + 1
    return users


def inspect(call: Call) -> Answer:
    wanted = platform_of(call, (1, 49))
    if wanted and call.version >= (1, 48) and call.query.flag("manifests"):
        raise InvalidInput("conflicting options: manifests and platform options cannot both be set")
    call.engine.images.require(call.params["name"], wanted)
    found = call.engine.images.inspect(call.params["name"])
    return json_answer(imagejson.inspection(found, call.version))


def history(call: Call) -> Answer:
    image = call.engine.images.require(call.params["name"], platform_of(call, (1, 48)))
    return json_answer(imagejson.history(call.engine.images.history(image.id)))


def create(call: Call) -> None:
    """Pull, or import."""
    platform = call.query.text("platform") if call.version >= (1, 32) else ""
    if platform:
        parse_platform(platform)
    if call.query.text("fromImage"):
        _pull(call, platform)
    else:
        _import(call, platform)


def _pull(call: Call, platform: str) -> None:
    name = _with_tag(call.query.text("fromImage").removesuffix(":"), call.query.text("tag"))
    if name.familiar_name == "scratch":
        raise Forbidden("'scratch' is a reserved name")
    secrets = registryauth.of_image(call, str(name))
    images = call.engine.images.with_secrets(secrets)
    every_tag = not name.tag and name.digest is None
    with call.progress() as out:
        images.pull(str(name), platform=platform, report=out.report, all_tags=every_tag)


def _import(call: Call, platform: str) -> None:
    source, target = call.query.text("fromSrc"), _target(call)
    changes = call.query.many("changes")
    message = call.query.text("message") or f"Imported from {source}"
    images = call.engine.images
    with call.progress() as out:
        if source == "-":
            read = reader(call.chunks())
            id_ = images.import_(read, target, changes, message, platform=platform)
        else:
            url = source if "://" in source else f"http://{source}"
            id_ = images.import_from(
                url, target, changes=changes, message=message, platform=platform
            )
            out.write(progresslines.line({"status": f"Downloading from {url}"}))
        out.write(progresslines.line({"status": str(id_)}))


def push(call: Call) -> None:
    name = _with_tag(call.params["name"], call.query.text("tag"))
    wanted = platform_of(call, (1, 46))
    if wanted:
        call.engine.images.require(name.familiar, wanted)
    images = call.engine.images.with_secrets(registryauth.of_image(call, str(name)))
    with call.progress() as out:
        images.push(str(name), out.report, all_tags=not name.tag)


def tag(call: Call) -> Answer:
    target = _target(call)
    if not target:
        raise InvalidInput("invalid reference format: the parameter repo is missing")
    if parse_reference(target).familiar_name == "sha256":
        raise InvalidInput("refusing to create an ambiguous tag using digest algorithm as name")
    call.engine.images.tag(call.params["name"], target)
    return Answer(201)


def remove(call: Call) -> Answer:
    name = call.params["name"]
    if not name.strip():
        raise InvalidInput("image name cannot be blank")
    for text in call.query.many("platforms") if call.version >= (1, 50) else ():
        call.engine.images.require(name, _platform(text))
    removed = call.engine.images.remove(
        name, call.query.flag("force"), keep_parents=call.query.flag("noprune")
    )
    return json_answer(imagejson.removed(removed))


def search(call: Call) -> Answer:
    limit = call.query.integer("limit")
    if limit < 0:
        raise InvalidInput("invalid limit specified")
    filters = call.query.filters()
    for name in filters:
        if name not in ("is-automated", "is-official", "stars"):
            raise InvalidInput(f"invalid filter '{name}'")
    official = imagelist.truth("is-official", filters.get("is-official"))
    automated = imagelist.truth("is-automated", filters.get("is-automated"))
    stars = max((parse_integer(text) for text in filters.get("stars", ())), default=0)
    hits = [] if automated else call.engine.images.search(call.query.text("term"), limit)
    return json_answer([
        {
            "star_count": hit.stars,
            "is_official": hit.official,
            "name": hit.name,
            "is_automated": False,
            "description": hit.description,
        }
        for hit in hits
        if hit.stars >= stars and official in (None, hit.official)
    ])  # fmt: skip


def prune(call: Call) -> Answer:
    filters = dict(call.query.filters())
    dangling = imagelist.truth("dangling", filters.pop("dangling", None))
    chosen = pruning.parse(filters, time.time_ns())
    pruned = call.engine.images.prune(chosen, everything=dangling is False)
    deleted = imagejson.removed(pruned.removed) or None
    return json_answer({"ImagesDeleted": deleted, "SpaceReclaimed": pruned.reclaimed_bytes})


def get(call: Call) -> None:
    """One image, or those of the parameter names, as a tar."""
    name = call.params.get("name")
    names = [name] if name else list(call.query.many("names"))
    wanted = platform_of(call, (1, 48))
    for text in names if wanted else ():
        call.engine.images.require(text, wanted)
    with call.progress("application/x-tar") as out:
        write, flush = gathered(out)
        call.engine.images.save(names, write)
        flush()


def load(call: Call) -> None:
    """Every error is in the stream, as docker does it."""
    wanted = platform_of(call, (1, 48))
    quiet = call.query.flag("quiet", True)
    with call.progress() as out:
        try:
            report = ignore if quiet else out.report
            images = call.engine.images
            for name in images.load(reader(call.chunks()), report, platform=wanted):
                kind = "Loaded image ID" if name.startswith("sha256:") else "Loaded image"
                out.write(progresslines.line({"stream": f"{kind}: {name}\n"}))
        except OnggiError as error:
            out.write(progresslines.failure(error))


# -- what the operations share


def reader(pieces: Iterable[bytes]) -> Callable[[int], bytes]:
    """A file's `read` over pieces of any size; b"" at the end."""
    source = iter(pieces)
    held = b""

    def read(size: int) -> bytes:
        nonlocal held
        if not held:
            held = next(source, b"")
        found, held = held[:size], held[size:]
        return found

    return read


def gathered(out: Stream) -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """A `write` that sends large pieces, and what sends the last one."""
    held = bytearray()

    def write(data: bytes) -> None:
        held.extend(data)
        if len(held) >= WRITE_BYTES:
            flush()

    def flush() -> None:
        out.write(bytes(held))
        held.clear()

    return write, flush


def platform_of(call: Call, since: tuple[int, int]) -> str:
    """The parameter `platform`, a JSON object, as os/architecture/variant; "" for none, and for
    versions before `since`, which do not have it."""
    given = call.query.many("platform")
    if call.version < since or not given or not given[0]:
        return ""
    if len(given) > 1:
        raise InvalidInput("multiple platform parameters not supported")
    return _platform(given[0])


def _platform(text: str) -> str:
    try:
        fields = Fields(parse_json(text.encode(), what="platform"), "platform")
    except InvalidInput as error:
        raise InvalidInput(f"failed to parse platform: {error.message}") from error
    names = ("os", "architecture", "variant")
    found = Platform(*(fields.text(name) for name in names))
    if not found.os and not found.architecture and found.variant:
        raise InvalidInput("optional platform fields provided, but OS and Architecture are missing")
    if not found.os or not found.architecture:
        raise InvalidInput("both OS and Architecture must be provided")
    return str(found)


def _with_tag(name: str, tag_: str) -> Reference:
    """The reference with the tag, or the digest, of a parameter of its own."""
    reference = parse_reference(name, default_tag="")
    if not tag_:
        return reference
    if ":" in tag_:
        return reference._replace(tag="", digest=Digest.parse(tag_))
    return parse_reference(f"{reference.name}:{tag_}")


def _target(call: Call) -> str:
    """repo and tag as one name; "" when there is no repo."""
    repo = call.query.text("repo")
    if not repo:
        return ""
    if "@" in repo:
        raise InvalidInput("cannot import digest reference")
    tag_ = call.query.text("tag")
    reference = _with_tag(repo, tag_) if tag_ else parse_reference(repo)
    if reference.digest is not None:
        raise InvalidInput("cannot import digest reference")
    return str(reference)


ROUTES = (
    Route("GET", "/images/json", list_images),
    Route("GET", "/images/search", search),
    Route("GET", "/images/get", get),
    Route("GET", "/images/{name*}/get", get),
    Route("GET", "/images/{name*}/history", history),
    Route("GET", "/images/{name*}/json", inspect),
    Route("POST", "/images/create", create),
    Route("POST", "/images/load", load),
    Route("POST", "/images/prune", prune, since=(1, 25)),
    Route("POST", "/images/{name*}/push", push),
    Route("POST", "/images/{name*}/tag", tag),
    Route("DELETE", "/images/{name*}", remove),
)
