"""Images: finding them by every kind of name, and removing them in docker's words."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from onggi.errors import Conflict, CorruptData, InvalidInput, NotFound
from onggi.spec.digest import Digest, chain_id
from onggi.spec.image import Image
from onggi.spec.reference import parse_reference
from onggi.store.images import created_ns
from onggi.store.store import Store
from sample import add_image, config_bytes, container, layer_tar

BASE = layer_tar({"etc/": b"", "etc/base": b"1"})
TOP = layer_tar({"top": b"2" * 5000})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"), backend="erofs")
    yield store
    store.close()


def chain(image: Image, count: int) -> str:
    return chain_id(image.config.diff_ids[:count])


def layer_files(store: Store) -> set[str]:
    return {path.name for path in Path(store.root, "layers").iterdir()}


def test_an_image_is_found_by_all_its_names(store: Store) -> None:
    digest = Digest.of(b"manifest")
    image = add_image(
        store, BASE, TOP, tags=["python:3.11", "me/app"], repo_digests=[f"python@{digest}"]
    )
    assert image.size_bytes == len(BASE) + len(TOP)
    assert image.tags == ("docker.io/library/python:3.11", "docker.io/me/app:latest")
    assert image.repo_digests == (f"docker.io/library/python@{digest}",)
    names = [
        image.id,
        image.id.hex,
        image.id.short,
        image.id.hex[:3],
        f"sha256:{image.id.short}",
        "python:3.11",
        "docker.io/library/python:3.11",
        "me/app",
        "me/app:latest",
        f"python@{digest}",
        f"python:other@{digest}",
    ]
    assert [store.images.get(name) for name in names] == [image] * len(names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nix", "No such image: nix:latest"),
        ("nix:1", "No such image: nix:1"),
        ("docker.io/library/nix", "No such image: nix:latest"),
        ("localhost:5000/a/b", "No such image: localhost:5000/a/b:latest"),
        ("sha256:" + "a" * 64, "No such image: sha256:" + "a" * 64),
        ("a" * 64, "No such image: " + "a" * 64),
        ("abc", "No such image: abc:latest"),
    ],
)
def test_no_such_image(store: Store, name: str, text: str) -> None:
    with pytest.raises(NotFound) as caught:
        store.images.get(name)
    assert str(caught.value) == text
    assert not store.images.exists(name)


def test_ambiguous_ids_and_bad_names(store: Store) -> None:
    made = [add_image(store, BASE, author=str(number)) for number in range(17)]
    first = [image.id.hex[0] for image in made]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(InvalidInput, match="multiple images start with"):
        store.images.get(f"sha256:{twice}")
    with pytest.raises(InvalidInput, match="must be lowercase"):
        store.images.get("Python")
    assert len(store.images.list()) == 17


def test_a_tag_moves_and_leaves_a_dangling_image(store: Store) -> None:
    old = add_image(store, BASE, tags=["app"], created="2024-01-01T00:00:00Z")
    new = add_image(store, TOP, tags=["app"], created="2024-06-01T00:00:00Z")
    assert store.images.get("app") == new
    assert [(i.id, i.tags) for i in store.images.list()] == [
        (new.id, ("docker.io/library/app:latest",)),
        (old.id, ()),
    ]
    store.images.tag(old.id, parse_reference("app:old"))
    assert store.images.get("app:old").id == old.id
    assert store.images.untag(parse_reference("app:old"))
    assert not store.images.untag(parse_reference("app:old"))
    with pytest.raises(NotFound):
        store.images.tag("sha256:" + "0" * 64, parse_reference("x"))
    with pytest.raises(InvalidInput, match="has no tag"):
        store.images.tag(old.id, parse_reference(f"x@{Digest.of(b'')}"))


def test_documents_keep_their_bytes(store: Store) -> None:
    manifest = b'{"any": "bytes"}'
    image = add_image(store, BASE, manifest=manifest, cmd=("sh",))
    assert store.images.manifest_bytes(image.id) == manifest
    assert image.manifest_digest == Digest.of(manifest)
    assert Digest.of(store.images.config_bytes(image.id)) == image.id
    assert store.images.get(image.id).config.cmd == ("sh",)
    again = add_image(store, BASE, cmd=("sh",))
    assert again.manifest_digest == Digest.of(manifest)


def test_an_image_needs_its_layers(store: Store) -> None:
    with pytest.raises(NotFound, match="is not in the store"):
        store.images.add(config_bytes([Digest.of(b"x")]))
    assert store.images.list() == []


def test_a_damaged_config_is_named_and_can_be_stored_again(store: Store) -> None:
    image = add_image(store, BASE)
    path = Path(store.blobs.path(image.id))
    path.write_bytes(path.read_bytes().replace(b"amd64", b"amd65"))
    with pytest.raises(CorruptData, match="is damaged"):
        store.images.get(image.id)
    assert [found.id for found in store.images.list()] == [image.id]
    assert add_image(store, BASE) == image


# -- rmi ---------------------------------------------------------------------------------------


def test_the_last_name_takes_the_image_along(store: Store) -> None:
    digest = Digest.of(b"manifest")
    image = add_image(store, BASE, TOP, tags=["python:3.11"], repo_digests=[f"python@{digest}"])
    assert store.images.remove("python:3.11") == [
        ("Untagged", "python:3.11"),
        ("Untagged", f"python@{digest}"),
        ("Deleted", image.id),
        ("Deleted", chain(image, 2)),
        ("Deleted", chain(image, 1)),
    ]
    assert store.images.list() == []
    assert layer_files(store) == set()
    assert not list(Path(store.root, "blobs/sha256").iterdir())


def test_one_of_several_names_is_only_untagged(store: Store) -> None:
    image = add_image(store, BASE, tags=["a:1", "a:2", "b"])
    assert store.images.remove("a:1") == [("Untagged", "a:1")]
    assert store.images.get(image.id).tags == (
        "docker.io/library/a:2",
        "docker.io/library/b:latest",
    )
    with pytest.raises(NotFound, match=r"^No such image: a:1$"):
        store.images.remove("a:1")


def test_an_id_with_names_in_one_repository(store: Store) -> None:
    digest = Digest.of(b"manifest")
    image = add_image(store, BASE, tags=["a:1"], repo_digests=[f"a@{digest}"])
    assert store.images.remove(image.id.short) == [
        ("Untagged", "a:1"),
        ("Untagged", f"a@{digest}"),
        ("Deleted", image.id),
        ("Deleted", chain(image, 1)),
    ]


def test_an_id_with_several_names_must_be_forced(store: Store) -> None:
    image = add_image(store, BASE, tags=["a", "b"])
    with pytest.raises(Conflict) as caught:
        store.images.remove(image.id.short)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.id.short} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert store.images.remove(image.id.short, force=True) == [
        ("Untagged", "a:latest"),
        ("Untagged", "b:latest"),
        ("Deleted", image.id),
        ("Deleted", chain(image, 1)),
    ]


def test_a_name_that_a_container_uses(store: Store) -> None:
    image = add_image(store, BASE, tags=["a"])
    user = container(1, image, status="exited")
    store.containers.insert(user)
    with pytest.raises(Conflict) as caught:
        store.images.remove("a")
    assert str(caught.value) == (
        'conflict: unable to remove repository reference "a" (must force) - '
        f"container {user.id[:12]} is using its referenced image {image.id.short}"
    )
    assert store.images.get("a").id == image.id
    with pytest.raises(Conflict) as caught:
        store.images.remove(image.id)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.id.short} (must be forced) - "
        f"image is being used by stopped container {user.id[:12]}"
    )


def test_force_deletes_under_a_stopped_container_which_keeps_its_layers(store: Store) -> None:
    image = add_image(store, BASE, tags=["a"])
    user = container(1, image, status="exited")
    store.containers.insert(user)
    assert store.images.remove("a", force=True) == [
        ("Untagged", "a:latest"),
        ("Deleted", image.id),
    ]
    assert store.layers.has(image.config.diff_ids[0])
    store.containers.remove(user.id)
    assert store.collect() > 0
    assert not store.layers.has(image.config.diff_ids[0])


def test_force_only_untags_under_a_running_container(store: Store) -> None:
    image = add_image(store, BASE, tags=["a"])
    user = container(1, image, status="running")
    store.containers.insert(user)
    assert store.images.remove("a", force=True) == [("Untagged", "a:latest")]
    with pytest.raises(Conflict) as caught:
        store.images.remove(image.id, force=True)
    assert str(caught.value) == (
        f"conflict: unable to delete {image.id.short} (cannot be forced) - "
        f"image is being used by running container {user.id[:12]}"
    )


def test_children_keep_their_parent_and_take_it_along(store: Store) -> None:
    parent = add_image(store, BASE, tags=["base"])
    child = add_image(store, BASE, TOP, tags=["app"], parent=parent.id)
    assert store.images.children(parent.id) == [child.id]
    with pytest.raises(Conflict) as caught:
        store.images.remove(parent.id, force=True)
    assert str(caught.value) == (
        f"conflict: unable to delete {parent.id.short} (cannot be forced) - "
        "image has dependent child images"
    )
    assert store.images.remove("base") == [("Untagged", "base:latest")]
    assert store.images.remove("app") == [
        ("Untagged", "app:latest"),
        ("Deleted", child.id),
        ("Deleted", chain(child, 2)),
        ("Deleted", parent.id),
        ("Deleted", chain(child, 1)),
    ]


def test_a_parent_stays_on_request(store: Store) -> None:
    parent = add_image(store, BASE)
    child = add_image(store, BASE, TOP, tags=["app"], parent=parent.id)
    lines = store.images.remove("app", keep_parents=True)
    assert ("Deleted", child.id) in lines and ("Deleted", parent.id) not in lines
    assert [image.id for image in store.images.list()] == [parent.id]


def test_shared_layers_stay(store: Store) -> None:
    one = add_image(store, BASE, TOP, tags=["one"])
    two = add_image(store, BASE, tags=["two"])
    assert store.images.remove("one") == [
        ("Untagged", "one:latest"),
        ("Deleted", one.id),
        ("Deleted", chain(one, 2)),
    ]
    assert store.layers.has(two.config.diff_ids[0])
    assert len(layer_files(store)) == 1


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2024-01-02T03:04:05.123456789Z", 1704164645_123456789),
        ("1970-01-01T09:00:00+09:00", 0),
        ("", 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00Z", -62135596800_000000000),
    ],
)
def test_times_of_creation(text: str, nanoseconds: int) -> None:
    assert created_ns(text) == nanoseconds
