"""redis:7 from Debian's packages, as tools/base_image makes its images; kept beside them."""

import hashlib
import importlib.machinery
import importlib.util
import sys
import tempfile
from pathlib import Path
from types import ModuleType

TOOL = Path(__file__).parent.parent / "tools/base_image"
NAME = "redis:7"


def redis_image() -> Path:
    """The path of a docker-archive, made once (half a minute)."""
    tool = _tool()
    recipe = tool.Recipe(
        packages=("redis-server",), command=("redis-server",), env=(f"PATH={tool.PATH}",), finish=()
    )
    key = hashlib.sha256(TOOL.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    target: Path = tool.CACHE / f"redis-7-{key}.tar"
    if not target.exists():
        tool.CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=tool.CACHE) as scratch:
            layer, archive = Path(scratch, "layer.tar"), Path(scratch, "image.tar")
            tool.debian_tree(recipe, layer)
            tool.write_archive(NAME, recipe, layer, archive)
            archive.rename(target)
    return target


def _tool() -> ModuleType:
    """tools/base_image has no name that could be imported."""
    loader = importlib.machinery.SourceFileLoader("base_image", str(TOOL))
    spec = importlib.util.spec_from_loader("base_image", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["base_image"] = module
    loader.exec_module(module)
    return module
