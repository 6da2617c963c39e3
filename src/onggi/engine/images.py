"""The image service: what `pull push images tag rmi inspect history save load import login` do.

Brings registry and store together; both stay strangers to each other. The registry's modules are
loaded by the commands that speak to one.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..errors import Conflict, InvalidInput, NotFound
from ..progress import Message, PushResult, Report, Warning, ignore
from ..spec.digest import Digest
from ..spec.image import History, Image, ImageConfig, config_document
from ..spec.jsontext import canonical
from ..spec.platform import host_platform, parse_platform
from ..spec.reference import Reference, parse_reference
from ..store.removal import Removed
from ..store.store import Store
from ..typed import TYPE_CHECKING, Any, NamedTuple
from .events import Events
from .pruning import Chosen

if TYPE_CHECKING:
    from ..registry import config
    from ..registry.client import Registry
    from ..registry.protocol import Secret
    from ..registry.pulling import Described, Pulled
    from ..registry.searching import Hit
    from .imageview import HistoryRow
    from .manifestlists import ManifestLists
    from .repository import Repository
    from .settings import Settings

    Lending = Mapping[str, Secret] | Callable[[str], Secret | None]

DEFAULT_TAG = "latest"


class Pruned(NamedTuple):
    """What a prune removed, in docker's words, and the bytes of the layers that went."""

    removed: tuple[Removed, ...]
    reclaimed_bytes: int


class Images:
    def __init__(
        self,
        store: Store,
        settings: "Settings",
        events: Events,
        secrets: "Lending | None" = None,
    ) -> None:
        """With `secrets`, by registry, nobody's stored credentials are used."""
        self._store = store
        self._secrets = secrets
        self._events = events
        self._settings = settings

    # -- looking

    def get(self, reference: str) -> Image:
        return self._store.images.get(reference)

    def require(self, reference: str, platform: str) -> Image:
        """The image, which must be of that platform ("": any). Raises NotFound, InvalidInput."""
        image = self.get(reference)
        if platform and not image.config.platform.matches(parse_platform(platform)):
            raise NotFound(
                f"image with reference {reference} was found but does not provide the "
                f"specified platform ({platform})"
            )
        return image

    def inspect(self, reference: str) -> dict[str, Any]:
        from . import imageview

        return imageview.inspect(self._store, self.get(reference))

    def history(self, reference: str) -> "list[HistoryRow]":
        from . import imageview

        return imageview.history(self._store, self.get(reference))

    # -- naming

    def tag(self, source: str, target: str) -> None:
        image = self.get(source)
        reference = parse_reference(target)
        if reference.digest is not None:
            raise InvalidInput("refusing to create a tag with a digest reference")
        self._store.images.tag(image.id, reference)
        self._events.image("tag", image.id, reference.familiar)

    def remove(
        self, reference: str, force: bool = False, *, keep_parents: bool = False
    ) -> list[Removed]:
        id_ = self.get(reference).id
        known = {image.id for image in self._store.images.list()}
        removed = self._store.images.remove(reference, force=force, keep_parents=keep_parents)
        for what, text in removed:
            if what == "Untagged":
                self._events.image("untag", id_, id_)
            elif text in known:  # the others are layers
                self._events.image("delete", text, text)
        return removed

    def prune(self, chosen: Chosen, *, everything: bool = False) -> Pruned:
        """Remove the images that no container is of: those without a name, or all."""
        images = self._store.images.list()
        in_use = {container.config.image_id for container in self._store.containers.list()}
        from . import imageview

        sizes = imageview.layer_sizes(self._store, images)
        removed: list[Removed] = []
        for image in images:
            if image.id in in_use or (image.tags and not everything):
                continue
            if not chosen.admits(image.config.labels, image.created_ns):
                continue
            for name in image.tags or (str(image.id),):
                try:
                    removed += self.remove(name)
                except (Conflict, NotFound):
                    continue  # somebody took or removed it meanwhile
        freed = sum(sizes.get(text, 0) for what, text in removed if what == "Deleted")
        freed += self._store.collect()  # also of what killed commands left, without an image
        self._events.emit("image", "prune", "", {"reclaimed": str(freed)})
        return Pruned(tuple(removed), freed)

    # -- registries

    def with_secrets(self, secrets: "Lending") -> "Images":
        """The same images for a client that brings its own credentials, by registry, or is asked
        for them."""
        return Images(self._store, self._settings, self._events, secrets)

    def authenticate(self, server: str, secret: "Secret") -> "Secret":
        """Check credentials at the registry; what the client is to store for them."""
        return self._registry(ignore).prove(server, secret)

    def describe(self, reference: str) -> "Described":
        """What the registry has under that name."""
        return self._registry(ignore).describe(parse_reference(reference), ignore)

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        report: Report = ignore,
        all_tags: bool = False,
        tagged: bool = True,
    ) -> Image:
        """Fetch an image and tag it (unless `tagged` says that the name is another's); with
        `all_tags` every tag, and the last one is returned."""
        typed = parse_reference(reference, default_tag="")
        if all_tags:
            return self._pull_all(typed, platform, report)
        if not typed.tag and typed.digest is None:
            report(Message(f"Using default tag: {DEFAULT_TAG}"))
        wanted = parse_reference(reference)
        if wanted.digest is not None:
            wanted = wanted._replace(tag="")
        return self._pull(wanted, platform, report, tagged=tagged)

    def _pull_all(self, typed: Reference, platform: str, report: Report) -> Image:
        if typed.tag or typed.digest is not None:
            raise InvalidInput("tag can't be used with --all-tags/-a")
        tags = self._registry(report).tags(typed)
        images = [self._pull(typed._replace(tag=tag), platform, report) for tag in tags]
        if not images:
            raise NotFound(f"repository {typed.familiar_name} has no tags")
        return images[-1]

    def _pull(
        self, reference: Reference, platform: str, report: Report, *, tagged: bool = True
    ) -> Image:
        from .layersink import LayerSink

        wanted = parse_platform(platform) if platform else host_platform()
        sink = LayerSink(self._store, reference.name)

        def resolved(pulled: "Pulled") -> bool:
            complete = sink.expect([layer.diff_id for layer in pulled.layers])
            name = str(reference.digest or reference.tag)
            report(Message(f"{name}: Pulling from {reference.path}", name))
            return not (complete and self._store.images.exists(Digest.of(pulled.config)))

        with sink:
            registry = self._registry(report)
            pulled = registry.pull(reference, wanted, sink, report, resolved=resolved)
            before = self._tagged(reference)
            digest = pulled.digest if tagged else Digest.of(pulled.manifest)  # not the index's
            digest_name = reference._replace(tag="", digest=digest)
            image = self._store.images.add(
                pulled.config,
                pulled.manifest,
                tags=(reference,) if tagged and not reference.digest else (),
                repo_digests=(digest_name,),
            )
        sink.remember(pulled.layers)
        self._events.image("pull", reference.familiar, reference.familiar_name)
        if platform and not image.config.platform.matches(wanted):
            report(
                Warning(
                    f"image with reference {reference.familiar} was found but does not match the "
                    f"specified platform: wanted {wanted}, actual: {image.config.platform}"
                )
            )
        report(Message(f"Digest: {pulled.digest}"))
        news = "Image is up to date" if before == image.id else "Downloaded newer image"
        report(Message(f"Status: {news} for {reference.familiar}"))
        return image

    def _tagged(self, reference: Reference) -> Digest | None:
        try:
            return self._store.images.get(reference.familiar).id
        except NotFound:
            return None

    def push(self, reference: str, report: Report = ignore, *, all_tags: bool = False) -> None:
        """Upload one tag, or with `all_tags` all local tags of the repository."""
        typed = parse_reference(reference, default_tag="")
        if typed.digest is not None:
            raise InvalidInput("cannot push a digest reference")
        if all_tags and typed.tag:
            raise InvalidInput("tag can't be used with --all-tags/-a")
        if not all_tags and not typed.tag:
            report(Message(f"Using default tag: {DEFAULT_TAG}"))
            typed = typed._replace(tag=DEFAULT_TAG)
        report(Message(f"The push refers to repository [{typed.name}]"))
        for name in self._local_tags(typed):
            self._push(name, report)

    def _local_tags(self, reference: Reference) -> list[Reference]:
        of_repository = [
            parsed
            for image in self._store.images.list()
            for tag in image.tags
            if (parsed := parse_reference(tag)).name == reference.name
        ]
        if not of_repository:
            name = reference.familiar_name
            raise NotFound(f"An image does not exist locally with the tag: {name}")
        names = [name for name in of_repository if reference.tag in ("", name.tag)]
        if not names:
            raise NotFound(f"tag does not exist: {reference.familiar}")
        return sorted(names)

    def _push(self, reference: Reference, report: Report) -> None:
        from .layersink import push_image

        image = self.get(reference.familiar)
        with self._store.shared():
            manifest = self._store.images.manifest_bytes(image.id)
            layers = push_image(self._store, image, manifest)
            pushed = self._registry(report).push(reference, layers, report)
        for diff_id, descriptor in pushed.layers:
            self._store.layers.remember_blob(diff_id, descriptor, reference.name)
        self._store.images.add(
            layers.config,
            None if manifest else pushed.manifest,
            repo_digests=(reference._replace(tag="", digest=pushed.digest),),
        )
        self._events.image("push", reference.familiar, reference.familiar_name)
        report(Message(f"{reference.tag}: digest: {pushed.digest} size: {pushed.size_bytes}"))
        report(PushResult(reference.tag, str(pushed.digest), pushed.size_bytes))

    def login(self, server: str, username: str, password: str, report: Report = ignore) -> None:
        """Check and store. Raises Unauthorized when the registry does not know them."""
        if self._registry(report).login(server, username, password):
            report(
                Message(
                    "WARNING! Your credentials are stored unencrypted in "
                    f"'{self._settings.docker_config}'.\n"
                    "Configure a credential helper to remove this warning. See\n"
                    "https://docs.docker.com/go/credential-store/\n"
                )
            )

    def logout(self, server: str, report: Report = ignore) -> bool:
        """Forget; False when nothing was stored for the server."""
        return self._registry(report).logout(server)

    def search(self, term: str, limit: int = 0) -> "list[Hit]":
        """What Docker Hub, or the registry that `term` begins with, finds; at most `limit` (0: 25).
        Raises InvalidInput, Unsupported where it cannot search, Unavailable."""
        from ..registry.searching import search

        return search(self.web_settings(), term, limit)

    def manifest_lists(self) -> "ManifestLists":
        """Those that are put together on this machine, beside docker's configuration."""
        from .manifestlists import ManifestLists

        directory = os.path.join(os.path.dirname(self._settings.docker_config), "manifests")
        return ManifestLists(directory, lambda domain: self._registry(ignore, insecure=domain))

    def web_settings(self) -> "config.Settings":
        """How this machine reaches the web: proxies, authorities, mirrors."""
        from ..registry import config
        from ..registry.protocol import Proxies

        said = self._settings.proxies
        proxies = Proxies(said.get("http", ""), said.get("https", ""), said.get("no", ""))
        return config.load(self._settings.config_files, proxies=proxies)

    def repository(self, reference: Reference, report: Report = ignore) -> "Repository":
        """One repository, for what is no plain image: build caches, indexes, attestations."""
        from .repository import Repository

        return Repository(self._store, self._registry(report), reference, report)

    def _registry(self, report: Report, *, insecure: str = "") -> "Registry":
        from ..registry.client import Registry
        from ..registry.credentials import Asked, Credentials, Lent

        settings = self.web_settings()
        if insecure:
            settings = settings.trusting(insecure)
        if callable(self._secrets):
            return Registry(settings, Asked(self._secrets))
        if self._secrets is not None:
            return Registry(settings, Lent(self._secrets))
        path = self._settings.docker_config
        credentials = Credentials(
            path, run=_helper_runner(path), warn=lambda text: report(Warning(text))
        )
        return Registry(settings, credentials)

    # -- archives

    def save(self, references: Sequence[str], write: Callable[[bytes], object]) -> None:
        """One tar of the images and what they are called, readable by docker, podman, skopeo."""
        self._store.archive.save(references, write)
        for id_ in dict.fromkeys(self.get(reference).id for reference in references):
            self._events.image("save", id_, id_)

    def load(
        self, read: Callable[[int], bytes], report: Report = ignore, *, platform: str = ""
    ) -> list[str]:
        """Store the images of an archive, or those of one platform: their names, or ids of those
        that have none."""
        wanted = parse_platform(platform) if platform else None
        lines = self._store.archive.load(read, report, wanted)
        names = [line.partition(": ")[2] for line in lines]
        for id_ in dict.fromkeys(self.get(name).id for name in names):
            self._events.image("load", id_, id_)
        return names

    def import_(
        self,
        read: Callable[[int], bytes],
        reference: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        *,
        platform: str = "",
    ) -> Digest:
        """An image of one layer from the tar (perhaps compressed) that `read` gives."""
        from ..dockerfile.changes import apply
        from ..store.inflate import ARCHIVE_KINDS, inflate
        from ..units import format_rfc3339

        target = parse_reference(reference) if reference else None
        if target is not None and target.digest is not None:
            raise InvalidInput("cannot import digest reference")
        created = format_rfc3339(time.time_ns())
        config = apply(
            ImageConfig(
                platform=parse_platform(platform) if platform else host_platform(),
                diff_ids=(),
                created=created,
                history=(History(created=created, comment=message),),
            ),
            tuple(changes),
        )
        layer = self._store.layers.ingest(inflate(_pieces(read), allow=ARCHIVE_KINDS))
        document = canonical(config_document(config._replace(diff_ids=(layer.diff_id,))))
        id_ = self._store.images.add(document, tags=(target,) if target else ()).id
        self._events.image("import", id_, id_)
        return id_

    def import_from(self, url: str, reference: str = "", **more: Any) -> Digest:
        """`import_` of what an http(s) address has."""
        from ..registry import fetch

        with self._store.scratch.directory() as directory:
            path = f"{directory}/archive"
            with open(path, "xb") as file:
                fetch.fetch(self.web_settings(), url, file.write)
            with open(path, "rb") as file:
                return self.import_(file.read, reference, **more)

    # the last method, since it hides the type of that name from those after it

    def list(self, all: bool = False) -> list[Image]:
        """Newest first; without `all` no images that are only steps on the way to another."""
        images = self._store.images.list()
        parents = {image.parent for image in images}
        return [
            image
            for image in images
            if all or image.tags or image.repo_digests or image.id not in parents
        ]


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(1 << 16):
        yield piece


def _helper_runner(config_path: str) -> "Callable[[Sequence[str], bytes], tuple[int, bytes]]":
    """Runs docker-credential-… as the user whose configuration names it."""

    def run(argv: Sequence[str], data: bytes) -> tuple[int, bytes]:
        from ..linux import tools

        home = os.path.dirname(os.path.dirname(config_path)) or "/"
        environment = {**tools.ENVIRONMENT, "HOME": home}
        output = tools.run(argv, input=data, env=environment, check=False, timeout_s=60)
        return output.status, output.stdout

    return run
