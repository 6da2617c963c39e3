"""How images of other builders differ from ours, by (context, builder): what, and why."""

LISTED: dict[tuple[str, str], dict[str, str]] = {
    ("mounts", "docker"): dict.fromkeys(
        ("cache", "ctx", "scratch"),
        "BuildKit left the empty places of mounts behind until 0.10; newer ones do not",
    ),
    ("archives", "buildah"): dict.fromkeys(
        ("both", "unpacked"),
        "buildah gives a directory that it makes to the owner of the archive's root",
    ),
    ("arguments", "buildah"): dict.fromkeys(
        ("world", "world/deep"),
        "buildah makes no directory for WORKDIR until something is put in it",
    ),
    ("health", "buildah"): {"ExposedPorts": "buildah keeps a range as it was written"},
}
