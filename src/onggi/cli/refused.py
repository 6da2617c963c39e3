"""What docker has and onggi refuses for good, with the reason; what is merely missing is not here.

Loaded only when somebody asks for such a thing, and by tools/parity for the page.
"""

_SWARM = "onggi runs containers on one host and has no swarm"
_PLUGIN = "onggi has no plugins: drivers are part of it"
_TRUST = "docker's content trust (Notary v1) is retired; pin images by digest instead"
_CHECKPOINT = "docker has it on experimental daemons only, by CRIU; commit keeps a file system"
_CLUSTER = "it is for swarm's cluster volumes only"
_CLUSTER_FLAGS = (
    "availability cluster group limit-bytes required-bytes scope secret sharing topology-preferred "
    "topology-required type"
).split()
_WINDOWS = "it is for Windows containers only"

_BUILDERS = "onggi is the one builder there is: nothing to create, choose or stop"
_BUILDX = {
    "bake": "it reads files of its own; run onggi build for each target",
    "history": "onggi builder explain shows the last build",
    "imagetools": "onggi manifest inspects and makes indexes",
    **dict.fromkeys(("create", "inspect", "ls", "rm", "stop", "use"), _BUILDERS),
    **dict.fromkeys(("dap", "policy", "version"), "it belongs to docker's plugin"),
}

# A command's first word stands for all that follows it.
COMMANDS = {
    **{f"buildx {word}": reason for word, reason in _BUILDX.items()},
    "checkpoint": _CHECKPOINT,
    "config": _SWARM,
    "node": _SWARM,
    "plugin": _PLUGIN,
    "secret": _SWARM,
    "service": _SWARM,
    "stack": _SWARM,
    "swarm": _SWARM,
    "trust": _TRUST,
    "volume update": _CLUSTER,
}

# Only asked for where a command does not have the flag: the build's --secret is another one.
FLAGS = {
    "isolation": _WINDOWS,
    "use-api-socket": "it is an experiment of docker's; -v SOCKET:/var/run/docker.sock gives a "
    "container the engine where that is meant",
    "platform": "a store of one platform for each image has no variant to remove",
    "tree": "an image here has one platform, so there is no tree of them",
    "link": "links are a container's own and go with it",
    "checkpoint": _CHECKPOINT,
    "checkpoint-dir": _CHECKPOINT,
    **dict.fromkeys(_CLUSTER_FLAGS, _CLUSTER),
    "kernel-memory": "Linux has no limit of its own for kernel memory since 5.16: -m counts it",
}


def command_reason(path: str) -> str:
    """Why there is no such command; "" when it is not refused."""
    return COMMANDS.get(path) or COMMANDS.get(path.partition(" ")[0], "")


def command_text(path: str) -> str:
    reason = command_reason(path)
    return f"command {path!r} is not supported" + (f": {reason}" if reason else " yet")


def flag_text(name: str) -> str:
    reason = FLAGS.get(name)
    return f"flag --{name} is not supported" + (f": {reason}" if reason else " yet")
