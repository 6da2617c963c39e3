"""What a program of ours gives up before it listens to others.

Not in `capability`, which every start imports: this needs more, and all of it before descriptors
are closed, for the shelf's is among them.
"""

import os

from . import capability, userns


def give_up(user: int) -> None:
    """Of root: every right, for good, and become that user and group; in a user namespace that has
    no such id, root without rights. Of others nothing."""
    if os.geteuid() != 0:
        return
    capability.drop_bounding(0)
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)  # clears the capabilities
    except OSError:
        if userns.is_initial():
            raise
        capability.capset(0, 0, 0)
