"""The standard streams of a process in a container: pipes, a terminal, or what the caller has."""

import os

from ..errors import InvalidInput
from ..linux import mount, pty, safefs
from ..typed import NamedTuple
from .plan import InitPlan, ProcessPlan, outer_ids, parse_options


class Ends(NamedTuple):
    """The child's side; -1 means that the caller's stream is inherited. `owned` are the ones that
    the container's user is to own."""

    stdin: int
    stdout: int
    stderr: int
    owned: tuple[int, ...]
    is_terminal: bool = False


class Streams:
    """Both sides. The parent's (-1 for none) belong to whoever gets a `Started`."""

    def __init__(self, plan: ProcessPlan) -> None:
        self.stdin_fd = self.stdout_fd = self.stderr_fd = self.pty_fd = -1
        self.devpts_fd = -1
        self.terminal_name: str | None = None
        self.owner: tuple[int, int] | None = None  # who is root inside, where that is not us
        self._child: list[int] = []
        self._plan = plan
        self.ends = Ends(-1, -1, -1, ())

    def open_pipes(self) -> None:
        """Pipes or /dev/null, as the plan says for each direction."""
        plan = self._plan
        child_in = self._input() if plan.stdin != "inherit" else -1
        child_out = child_err = -1
        if plan.output == "pipe":
            self.stdout_fd, child_out = self._pipe()
            self.stderr_fd, child_err = self._pipe()
        elif plan.output == "null":
            child_out = child_err = self._keep(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        owned = [child_in] if plan.stdin == "pipe" else []
        owned += [child_out, child_err] if plan.output == "pipe" else []
        self.ends = Ends(child_in, child_out, child_err, tuple(owned))
        self._give()

    def open_terminal(self, devpts_fd: int) -> None:
        """A terminal in that devpts, with the plan's size."""
        terminal = pty.openpty(devpts_fd)
        self.pty_fd, self.terminal_name = terminal.master, terminal.name
        slave = self._keep(terminal.slave)
        if self._plan.rows and self._plan.columns:
            pty.set_size(self.pty_fd, self._plan.rows, self._plan.columns)
        self.ends = Ends(slave, slave, slave, (slave,), True)
        self._give()

    def open_host_terminal(self) -> None:
        """One of the host's, for a command that has no devpts of its own."""
        self.pty_fd, slave = os.openpty()
        self._keep(slave)
        if self._plan.rows and self._plan.columns:
            pty.set_size(self.pty_fd, self._plan.rows, self._plan.columns)
        self.ends = Ends(slave, slave, slave, (slave,), True)

    def open_new_terminal(self, plan: InitPlan) -> None:
        """For a new container: its devpts is made here already, and mounted by the child."""
        wanted = next((m for m in plan.mounts if m.kind == "devpts"), None)
        if wanted is None or wanted.target != "/dev/pts":
            raise InvalidInput("a terminal needs a devpts mount at /dev/pts")
        options = parse_options(wanted.options)
        data = (("source", "devpts"), *outer_ids(options.data, plan.uid_map, plan.gid_map))
        self.devpts_fd = self._keep(mount.fsmount("devpts", data, options.set_attributes))
        self.open_terminal(self.devpts_fd)

    def open_terminal_of(self, pid: int) -> None:
        """In a running container. The caller holds a pidfd and checks it afterwards."""
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            devpts = safefs.open_beneath(root, "dev/pts", safefs.O_PATH_DIRECTORY)
        finally:
            os.close(root)
        self._keep(devpts)
        self.open_terminal(devpts)

    def close_child_side(self) -> None:
        for fd in self._child:
            os.close(fd)
        self._child.clear()

    def close(self) -> None:
        self.close_child_side()
        for fd in (self.stdin_fd, self.stdout_fd, self.stderr_fd, self.pty_fd):
            if fd >= 0:
                os.close(fd)
        self.stdin_fd = self.stdout_fd = self.stderr_fd = self.pty_fd = -1

    def _give(self) -> None:
        """To the root of a user namespace, who passes it on to the user."""
        if self.owner is not None:
            for fd in self.ends.owned:
                os.fchown(fd, *self.owner)

    def _input(self) -> int:
        if self._plan.stdin == "null":
            return self._keep(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        child, self.stdin_fd = os.pipe()
        return self._keep(child)

    def _pipe(self) -> tuple[int, int]:
        parent, child = os.pipe()
        return parent, self._keep(child)

    def _keep(self, fd: int) -> int:
        self._child.append(fd)
        return fd

    @property
    def child_side(self) -> tuple[int, ...]:
        return tuple(self._child)
