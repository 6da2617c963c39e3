"""--call of build: what a Dockerfile says without building it. buildx's words and tables."""

import json

from ..build.graph import Plan
from ..build.outline import Outline, Target
from ..dockerfile.spelling import nearest
from ..typed import NamedTuple
from .buildfields import fields_of
from .flags import parse_boolean
from .session import Session, refusal
from .table import align

METHODS = ("build", "check", "outline", "targets")


class Method(NamedTuple):
    name: str
    json: bool = False
    ignore_status: bool = False


def method(text: str, *, check: bool) -> Method:
    """`check`, `outline,format=json`. Raises CommandError."""
    name, comma, rest = text.partition(",")
    name = "check" if check or name == "lint" else name.removeprefix("subrequests.")
    if name not in METHODS:
        guess = nearest(name, METHODS)
        raise refusal(
            f"invalid call method {name!r}",
            f"did you mean {guess}" if guess else f"one of {', '.join(METHODS)}",
        )
    fields = fields_of(rest, "call") if comma else {}
    shape = fields.pop("format", "text")
    if shape not in ("text", "json"):
        raise refusal(f"invalid format {shape!r} of --call: text or json")
    status = fields.pop("ignorestatus", "false")
    if fields:
        raise refusal(f"unexpected key '{next(iter(fields))}' in '{text}'")
    return Method(name, shape == "json", parse_boolean(status))


def show_targets(session: Session, targets: list[Target], *, as_json: bool) -> int:
    if as_json:
        shown = [target._asdict() for target in targets]
        session.out.line(json.dumps({"version": 1, "targets": shown}, indent=2))
        return 0
    rows = ["TARGET\tDESCRIPTION"]
    for target in targets:
        mark = "(default)" if target.default else ""
        rows.append(f"{' '.join(filter(None, (target.name, mark)))}\t{target.description}")
    session.out.show(align(rows))
    return 0


def show_outline(session: Session, outline: Outline, *, as_json: bool) -> int:
    if as_json:
        shown = {
            "version": 1,
            "name": outline.name,
            "description": outline.description,
            "args": [argument._asdict() for argument in outline.arguments],
            "secrets": [secret._asdict() for secret in outline.secrets],
            "ssh": [agent._asdict() for agent in outline.agents],
        }
        session.out.line(json.dumps(shown, indent=2))
        return 0
    session.out.show(f"TARGET:      {outline.name or '(default)'}\n")
    if outline.description:
        session.out.show(f"DESCRIPTION: {outline.description}\n")
    if outline.arguments:
        rows = [f"{a.name}\t{a.value}\t{a.description}" for a in outline.arguments]
        session.out.show("\n" + align(["BUILD ARG\tVALUE\tDESCRIPTION", *rows]))
    for title, loans in (("SECRET", outline.secrets), ("SSH", outline.agents)):
        if loans:
            rows = [f"{loan.name}\t{'true' if loan.required else ''}" for loan in loans]
            session.out.show("\n" + align([f"{title}\tREQUIRED", *rows]))
    return 0


def show_check(session: Session, made: Plan, method: Method) -> int:
    """docker's report, and 1 when a rule has something to say."""
    count = len(made.findings)
    if method.json:
        shown = [
            {
                "ruleName": finding.rule,
                "detail": finding.message,
                "location": {"start": finding.line, "text": finding.text},
            }
            for finding in made.findings
        ]
        session.out.line(json.dumps({"warnings": shown}, indent=2))
    else:
        for finding in made.findings:
            session.out.line(f"WARNING: {finding.rule}")
            session.out.line(finding.message)
            session.out.line(f"  line {finding.line} | {' '.join(finding.text.split())}")
            session.out.line("")
        words = "1 warning has" if count == 1 else f"{count or 'no'} warnings have"
        told = f"{words} been found!" if count else "no warnings found."
        session.out.line(f"Check complete, {told}")
    return 1 if count and not method.ignore_status else 0
