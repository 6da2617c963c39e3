"""A build's steps as a picture: when each ran, why it was done again, what it made."""

from collections.abc import Sequence

from ..build.explain import StepReport
from ..units import format_elapsed, format_size

BAR = 24


def lines(steps: Sequence[StepReport], columns: int) -> list[str]:
    """Plain text; one line a step, and its reason below when it was not found in the cache."""
    whole_s = max((step.start_s + step.took_s for step in steps), default=0.0)
    room = max(columns - BAR - 30, 20)
    found = []
    for step in steps:
        state = "cached" if step.cached else f"{step.took_s:.2f}s" if step.reason else ""
        size = format_size(step.size_bytes) if step.size_bytes and not step.cached else ""
        text = " ".join(step.text.split())
        text = text if len(text) <= room else f"{text[: room - 1]}…"
        bar = _bar(step, whole_s)
        found.append(f"{step.number:>3} {bar} {state:>8} {size:>9}  {text}".rstrip())
        if step.reason:
            found.append(f"{'':>{BAR + 25}}└ {step.reason}")
    rebuilt = [step for step in steps if step.reason]
    kept = sum(step.cached for step in steps)
    waste = sum(step.size_bytes for step in rebuilt)
    found.append(
        f"{len(steps)} steps: {kept} cached, {len(rebuilt)} done in {whole_s:.2f}s "
        f"({format_size(waste)} of new layers)"
    )
    return found


def _bar(step: StepReport, whole_s: float) -> str:
    if whole_s <= 0 or not step.took_s:
        return " " * BAR
    begin = min(int(step.start_s / whole_s * BAR), BAR - 1)
    size = max(round(step.took_s / whole_s * BAR), 1)
    return (" " * begin + "█" * size)[:BAR].ljust(BAR)


def ago(then_ns: int, now_ns: int) -> str:
    """`3 hours ago`."""
    return f"{format_elapsed(max(now_ns - then_ns, 0) / 1e9)} ago"
