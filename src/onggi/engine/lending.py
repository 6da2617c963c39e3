"""What a build lends to the one run of a step: mounts by descriptor and variables. Pure.

None of it is in the container's row, log or image: a secret lives in the memory of the builder, the
monitor and the command, and nowhere else (SECURITY D8).
"""

from ..typed import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..runtime.plan import InitPlan


class LentMount(NamedTuple):
    """A detached mount that the run attaches at `target`."""

    target: str
    fd: int
    read_only: bool = False


class Lent(NamedTuple):
    mounts: tuple[LentMount, ...] = ()
    env: tuple[str, ...] = ()  # "K=V", over the container's own

    @property
    def fds(self) -> tuple[int, ...]:
        """What a fork on the way to the run must keep open."""
        return tuple(mount.fd for mount in self.mounts)

    def added_to(self, plan: "InitPlan") -> "InitPlan":
        if not self.mounts and not self.env:
            return plan
        from ..runtime.plan import PlanMount

        ordered = sorted(self.mounts, key=lambda mount: mount.target.count("/"))
        mounts = tuple(
            PlanMount(mount.target, "detached", str(mount.fd), ("ro",) if mount.read_only else ())
            for mount in ordered
        )
        names = {entry.partition("=")[0] for entry in self.env}
        kept = tuple(e for e in plan.process.env if e.partition("=")[0] not in names)
        process = plan.process._replace(env=(*kept, *self.env))
        return plan._replace(mounts=(*plan.mounts, *mounts), process=process)


NOTHING = Lent()
