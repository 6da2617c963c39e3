"""Every command path: where its Command record lives, or that docker has it and we do not yet.

`module:NAME` is relative to `onggi.cli.commands`; only the module of the command that runs is
imported.
"""

COMMON = (
    "run",
    "exec",
    "ps",
    "build",
    "pull",
    "push",
    "images",
    "login",
    "logout",
    "version",
    "info",
)

COMMANDS = {
    "run": "run:RUN",
    "create": "run:CREATE",
    "exec": "exec:EXEC",
    "ps": "ps:PS",
    "start": "lifecycle:START",
    "stop": "lifecycle:STOP",
    "restart": "lifecycle:RESTART",
    "kill": "lifecycle:KILL",
    "rm": "lifecycle:RM",
    "wait": "lifecycle:WAIT",
    "pause": "lifecycle:PAUSE",
    "unpause": "lifecycle:UNPAUSE",
    "rename": "lifecycle:RENAME",
    "attach": "attach:ATTACH",
    "logs": "logs:LOGS",
    "events": "events:EVENTS",
    "inspect": "inspect:INSPECT",
    "cp": "copy:CP",
    "export": "copy:EXPORT",
    "diff": "look:DIFF",
    "port": "look:PORT",
    "top": "look:TOP",
    "stats": "stats:STATS",
    "update": "update:UPDATE",
    "commit": "commit:COMMIT",
    "images": "images:IMAGES",
    "rmi": "images:RMI",
    "tag": "images:TAG",
    "history": "images:HISTORY",
    "pull": "transfer:PULL",
    "push": "transfer:PUSH",
    "save": "transfer:SAVE",
    "load": "transfer:LOAD",
    "import": "transfer:IMPORT",
    "build": "build:BUILD",
    "search": "search:SEARCH",
    "login": "login:LOGIN",
    "logout": "login:LOGOUT",
    "version": "system:VERSION",
    "info": "system:INFO",
    "doctor": "privilege:DOCTOR",
    "unshare": "privilege:UNSHARE",
    "serve": "serve:SERVE",
}

GROUPS = {
    "builder": "Manage builds",
    "buildx": "Manage builds, in docker buildx's words",
    "container": "Manage containers",
    "context": "Manage contexts",
    "image": "Manage images",
    "manifest": "Manage image manifests and manifest lists",
    "network": "Manage networks",
    "pod": "Manage pods",
    "registry": "Serve images",
    "system": "Manage onggi",
    "volume": "Manage volumes",
}

_IN_GROUPS = {
    "builder build": "build:BUILD",
    "builder du": "builder:DU",
    "builder explain": "builder:EXPLAIN",
    "builder prune": "prune:BUILDER_PRUNE",
    "buildx build": "build:BUILD",
    "buildx du": "builder:DU",
    "buildx prune": "prune:BUILDER_PRUNE",
    "container inspect": "inspect:CONTAINER_INSPECT",
    "container ls": "ps:PS",
    "container prune": "prune:CONTAINER_PRUNE",
    "system dial-stdio": "dial:DIAL_STDIO",
    "context create": "context:CREATE",
    "context export": "context:EXPORT",
    "context import": "context:IMPORT",
    "context inspect": "context:INSPECT",
    "context ls": "context:LS",
    "context rm": "context:RM",
    "context show": "context:SHOW",
    "context update": "context:UPDATE",
    "context use": "context:USE",
    "image build": "build:BUILD",
    "image history": "images:HISTORY",
    "image import": "transfer:IMPORT",
    "image inspect": "inspect:IMAGE_INSPECT",
    "image load": "transfer:LOAD",
    "image ls": "images:IMAGES",
    "image prune": "prune:IMAGE_PRUNE",
    "image pull": "transfer:PULL",
    "image push": "transfer:PUSH",
    "image receive": "scp:RECEIVE",
    "image rm": "images:RMI",
    "image save": "transfer:SAVE",
    "image scp": "scp:SCP",
    "image send": "scp:SEND",
    "image tag": "images:TAG",
    "manifest annotate": "manifest:ANNOTATE",
    "manifest create": "manifest:CREATE",
    "manifest inspect": "manifest:INSPECT",
    "manifest push": "manifest:PUSH",
    "manifest rm": "manifest:RM",
    "network connect": "network:CONNECT",
    "network create": "network:CREATE",
    "network disconnect": "network:DISCONNECT",
    "network inspect": "inspect:NETWORK_INSPECT",
    "network ls": "network:LS",
    "network prune": "prune:NETWORK_PRUNE",
    "network repair": "network:REPAIR",
    "network rm": "network:RM",
    "pod create": "pod:CREATE",
    "pod exists": "pod:EXISTS",
    "pod inspect": "pod:INSPECT",
    "pod kill": "pod:KILL",
    "pod pause": "pod:PAUSE",
    "pod prune": "pod:PRUNE",
    "pod ps": "pod:PS",
    "pod restart": "pod:RESTART",
    "pod rm": "pod:RM",
    "pod start": "pod:START",
    "pod stop": "pod:STOP",
    "pod unpause": "pod:UNPAUSE",
    "registry serve": "registry:SERVE",
    "system df": "df:DF",
    "system events": "events:EVENTS",
    "system info": "system:INFO",
    "system prune": "prune:SYSTEM_PRUNE",
    "system start": "system:START",
    "system stop": "system:STOP",
    "system unit": "system:UNIT",
    "volume create": "volume:CREATE",
    "volume inspect": "inspect:VOLUME_INSPECT",
    "volume ls": "volume:LS",
    "volume prune": "prune:VOLUME_PRUNE",
    "volume rm": "volume:RM",
}
COMMANDS.update(_IN_GROUPS)
COMMANDS.update(
    (f"container {name}", COMMANDS[name])
    for name in (
        "attach commit cp create diff exec export kill logs pause port rename restart rm run start "
        "stats stop top unpause update wait"
    ).split()
)

# Commands about this machine, wherever the engine is.
HERE = frozenset((
    "context", "doctor", "login", "logout", "registry", "serve", "unshare",
    "system dial-stdio", "system start", "system stop", "system unit",
))  # fmt: skip

# Other spellings of the last word of a path.
ALIASES = {
    "container list": "container ls", "container ps": "container ls",
    "container remove": "container rm", "image list": "image ls", "image remove": "image rm",
    "network list": "network ls", "network remove": "network rm", "volume list": "volume ls",
    "volume remove": "volume rm", "context list": "context ls", "context remove": "context rm",
    "pod ls": "pod ps", "pod list": "pod ps", "pod remove": "pod rm",
}  # fmt: skip

# Docker 28 has these; a group stands for all its commands.
NOT_YET = frozenset((
    "compose", "checkpoint",
    "buildx bake", "buildx create", "buildx dap", "buildx history", "buildx imagetools",
    "buildx inspect", "buildx ls", "buildx policy", "buildx rm", "buildx stop", "buildx use",
    "buildx version",
    "plugin", "trust", "config", "node", "secret", "service", "stack", "swarm",
    "volume update",
))  # fmt: skip


def find(words: list[str]) -> tuple[str, int]:
    """The canonical path that `words` start with and how many words it took; ("", 0) for none."""
    if not words:
        return "", 0
    if len(words) > 1 and words[0] in GROUPS:
        path = f"{words[0]} {words[1]}"
        path = ALIASES.get(path, path)
        if path in COMMANDS or path in NOT_YET:
            return path, 2
    if words[0] in COMMANDS or words[0] in GROUPS or words[0] in NOT_YET:
        return words[0], 1
    return "", 0


def names(group: str = "") -> list[str]:
    """The words a user can type at the top, or after a group's name."""
    if not group:
        return sorted({*(path for path in COMMANDS if " " not in path), *GROUPS})
    prefix = f"{group} "
    return sorted(path.removeprefix(prefix) for path in COMMANDS if path.startswith(prefix))
