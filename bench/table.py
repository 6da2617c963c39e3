"""The results as one table, and as JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

from .measure import Result


def figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def cell(result: Result, engine: str) -> str:
    if engine not in result.samples:
        return ""
    low, high = result.spread(engine)
    return f"{figure(result.median(engine))} ({figure(low)}–{figure(high)})"


def verdict(result: Result) -> str:
    """Every target with what was reached; a ! stands before what was not."""
    texts = []
    for engine, wanted in result.target.items():
        reached = result.ratio(engine)
        if reached is None:
            continue
        kept = reached >= wanted if result.more_is_better else reached <= wanted
        sign = "≥" if result.more_is_better else "≤"
        texts.append(f"{'' if kept else '!'}{reached:.2f} {sign} {wanted:g} of {engine}")
    return ", ".join(texts)


def ratio(result: Result, engine: str) -> str:
    found = result.ratio(engine)
    return "" if found is None else f"{found:.2f}"


HEAD = ("row", "unit", "onggi", "docker", "podman", "others", "/docker", "/podman", "/best",
        "target")  # fmt: skip


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    known = ("onggi", "docker", "podman")
    return [
        (
            result.row,
            result.unit,
            *(cell(result, engine) for engine in known),
            ", ".join(f"{name} {cell(result, name)}" for name in result.samples
                      if name not in known),
            *(ratio(result, engine) for engine in ("docker", "podman", "best")),
            "; ".join(filter(None, (verdict(result), result.note))),
        )
        for result in results
    ]  # fmt: skip


def text(results: Sequence[Result]) -> str:
    """For a terminal: columns padded."""
    lines = [HEAD, *rows(results)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(results: Sequence[Result]) -> str:
    lines = [HEAD, ("---",) * len(HEAD), *rows(results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def save(path: Path, results: Sequence[Result], about: dict[str, str]) -> None:
    document = {
        "about": about,
        "rows": [
            {
                "row": result.row,
                "unit": result.unit,
                "target": dict(result.target),
                "note": result.note,
                "engines": {
                    name: {
                        "median": result.median(name),
                        "spread": result.spread(name),
                        "samples": samples,
                    }
                    for name, samples in result.samples.items()
                },
                "ratios": {
                    engine: found
                    for engine in ("docker", "podman", "best")
                    if (found := result.ratio(engine)) is not None
                },
            }
            for result in results
        ],
    }
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
