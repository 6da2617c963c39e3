"""Modules of the standard library and of others that no start may load."""

HEAVY = {
    "argparse", "asyncio", "dataclasses", "datetime", "email", "enum", "hashlib", "http",
    "importlib.util", "inspect", "isal", "json", "logging", "pathlib", "random", "re",
    "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile",
    "threading", "typing", "urllib", "urllib3", "uuid", "zstandard",
}  # fmt: skip


def top_level(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}
