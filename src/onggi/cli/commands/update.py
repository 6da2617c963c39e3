"""`update`."""

from ...engine import restart
from ...errors import InvalidInput
from .. import devices, limits
from ..command import Command
from ..flags import Values, flag_table
from ..resources import shared
from ..session import Session, client_side, each, refusal

FLAGS = """
      --blkio-weight uint16        Block IO (relative weight), between 10 and 1000, or 0 to
                                   disable (default 0)
      --cpu-period int             Limit CPU CFS (Completely Fair Scheduler) period
      --cpu-quota int              Limit CPU CFS (Completely Fair Scheduler) quota
      --cpu-rt-period int          Limit the CPU real-time period in microseconds
      --cpu-rt-runtime int         Limit the CPU real-time runtime in microseconds
  -c, --cpu-shares int             CPU shares (relative weight)
      --cpus decimal               Number of CPUs
      --cpuset-cpus string         CPUs in which to allow execution (0-3, 0,1)
      --cpuset-mems string         MEMs in which to allow execution (0-3, 0,1)
  -m, --memory bytes               Memory limit
      --memory-reservation bytes   Memory soft limit
      --memory-swap bytes          Swap limit equal to memory plus swap: -1 to enable unlimited swap
      --pids-limit int             Tune container pids limit (set -1 for unlimited)
      --restart string             Restart policy to apply when a container exits
"""


def update(session: Session, values: Values, arguments: list[str]) -> int:
    if not any(values.given(name) for name in UPDATE.flags):
        raise refusal("you must provide one or more flags when using this command")
    change = shared(values)
    policy = None
    if values.text("restart"):
        try:
            policy = restart.parse(values.text("restart"))
        except InvalidInput as error:
            raise client_side(error) from error
    warnings: list[str] = []

    def one(name: str) -> str:
        warnings.extend(session.engine.containers.update(name, change, policy))
        return name

    code = each(session, arguments, one)
    for warning in dict.fromkeys(warnings):
        session.warn(warning)
    return code


UPDATE = Command(
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Update configuration of one or more containers",
    run=update,
    flags=flag_table(FLAGS, "kernel-memory:bytes"),
    least=1,
    most=-1,
    checks={"blkio-weight": devices.parse_uint16, "memory-swap": limits.check_swap},
    aliases=("container update", "update"),
)
