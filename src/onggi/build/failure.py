"""--on-error: a shell where a RUN failed, with what it had: files, variables, directory, user, and
its --mount opened anew (what it wrote to a tmpfs or a bind mount is gone; a cache has it).
"""

import time
from collections.abc import Callable

from ..errors import OnggiError
from ..spec.image import ImageConfig, config_document
from ..spec.jsontext import canonical
from ..spec.platform import host_platform
from ..units import format_rfc3339
from . import ops
from .operate import FailedRun, Maker, Tell
from .options import Failure
from .runmounts import RunMounts

SHELL = ("/bin/sh",)


def show(maker: Maker, failed: FailedRun, error: OnggiError, to: Callable[[Failure], None]) -> None:
    """Hand on the shell. An image holds its layers meanwhile."""
    engine, operation = maker.engine, failed.operation
    config = ImageConfig(host_platform(), failed.layers, created=format_rfc3339(time.time_ns()))
    image_id = engine.store.images.add(canonical(config_document(config))).id
    try:
        options = ops.container_options(operation._replace(args=SHELL), failed.limits)
        options = options._replace(tty=True, open_stdin=True)
        mounts = RunMounts(engine, maker.loans, Tell(maker.report, 0).waits)
        with (
            mounts.lent(operation.lent, failed.origins, maker.loans.proxies) as lent,
            engine.steps.step(options, failed.layers, lent) as step,
        ):
            to(Failure(error, step))
    finally:
        engine.store.images.remove(image_id, force=True)
