"""Figures about images that only the API tells."""

from onggi.api import imagejson
from onggi.engine.imageview import chains
from onggi.spec.digest import Digest
from onggi.spec.image import Image, ImageConfig
from onggi.spec.platform import Platform

LAYERS = [Digest.of(bytes([number])) for number in range(3)]


def image(number: int, *layers: Digest) -> Image:
    config = ImageConfig(Platform("linux", "amd64"), layers)
    return Image(Digest(f"sha256:{number:064x}"), config, None, 1, 0, (), ())


def test_only_layers_on_the_same_stack_are_shared() -> None:
    base, app, other = image(1, LAYERS[0]), image(2, *LAYERS[:2]), image(3, LAYERS[1])
    sizes = {chain: 10 ** (i + 1) for i, chain in enumerate(chains(app))}
    sizes[chains(other)[0]] = 7
    found = imagejson.shared_bytes([base, app, other], sizes)
    assert found == {base.id: 10, app.id: 10, other.id: 0}


def test_a_layer_that_has_gone_counts_nothing() -> None:
    twins = [image(1, LAYERS[0]), image(2, LAYERS[0])]
    assert set(imagejson.shared_bytes(twins, {}).values()) == {0}


def test_platforms_are_spelled_as_oci_does() -> None:
    arm = imagejson.platform(Platform("linux", "arm", "v7"))
    assert arm == {"architecture": "arm", "os": "linux", "variant": "v7"}
    assert "variant" not in imagejson.platform(Platform("linux", "amd64"))
