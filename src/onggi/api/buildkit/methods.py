"""The answers to --call as BuildKit's frontend gives them: documents that the client prints.

Sans-IO: what `build.spawned:describe` found in, the metadata of a result out.
"""

import base64
import json
from collections.abc import Mapping

from ...errors import Unsupported
from ...typed import Any
from .messages_pb2 import SourceInfo

METHODS = ("lint", "outline", "targets")
VERSION = b"1.0.0"
_DESCRIBE = "subrequests.describe"
_ABOUT = {
    "lint": "Lint a Dockerfile",
    "outline": "List all parameters current build target supports",
    "targets": "List all targets current build supports",
    _DESCRIBE: "List available subrequest types",
}
Metadata = dict[str, bytes]


def known(method: str) -> bool:
    """Whether the Dockerfile must be looked at. Raises Unsupported."""
    if method not in _ABOUT:
        raise Unsupported(f"unsupported request frontend.{method[:80]}")
    return method != _DESCRIBE


def describe() -> Metadata:
    found = [
        {"name": f"frontend.{name}", "version": "1.0.0", "type": "rpc", "description": about}
        for name, about in _ABOUT.items()
    ]
    lines = [f"frontend.{name}\t{about}" for name, about in _ABOUT.items()]
    return _metadata(found, "\n".join(lines) + "\n")


def answer(method: str, found: Mapping[str, Any], source: SourceInfo | None) -> Metadata:
    if method == "lint":
        return _lint(found["findings"], source)
    if method == "targets":
        targets = [{k: v for k, v in target.items() if v} for target in found["targets"]]
        lines = [f"{t.get('name', '')}\t{t.get('description', '')}" for t in targets]
        return _metadata({"targets": targets, "sources": []}, "\n".join(lines) + "\n")
    outline = {
        "name": found["name"],
        "description": found["description"],
        "args": found["arguments"],
        "secrets": found["secrets"],
        "ssh": found["agents"],
    }
    kept = {key: value for key, value in outline.items() if value}
    return _metadata(kept, json.dumps(kept) + "\n")


def _lint(findings: list[list[Any]], source: SourceInfo | None) -> Metadata:
    warnings = []
    lines = []
    for rule, message, line in findings:
        where = {"line": line}
        location: dict[str, Any] = {"sourceIndex": -1}
        if source is not None:
            location = {"sourceIndex": 0, "ranges": [{"start": where, "end": where}]}
        warnings.append({"ruleName": rule, "detail": message, "location": location})
        lines.append(f"WARNING: {rule}\n{message} (line {line})\n")
    sources = []
    if source is not None:
        data = base64.b64encode(source.data).decode()
        sources.append({"filename": source.filename, "language": "Dockerfile", "data": data})
    found = _metadata({"warnings": warnings, "sources": sources}, "\n".join(lines))
    found["result.statuscode"] = b"1" if warnings else b"0"
    return found


def _metadata(document: Any, text: str) -> Metadata:
    return {
        "result.json": json.dumps(document, indent=2).encode(),
        "result.txt": text.encode(errors="replace"),
        "version": VERSION,
    }
