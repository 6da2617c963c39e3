"""`search`."""

from ...errors import InvalidInput
from ...typed import TYPE_CHECKING
from ..command import Command
from ..flags import Values, flag_table
from ..session import Session
from ..table import filters_of, print_rows

if TYPE_CHECKING:
    from ...registry.searching import Hit

HEADERS = {
    "Name": "NAME", "Description": "DESCRIPTION", "StarCount": "STARS", "IsOfficial": "OFFICIAL",
}  # fmt: skip
FILTERS = ("is-automated", "is-official", "stars")
SHOWN_CHARACTERS = 45
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def search(session: Session, values: Values, arguments: list[str]) -> int:
    filters = filters_of(values.many("filter"))
    if "is-automated" in filters:
        session.warn(
            'the "is-automated" filter is deprecated, and searching for "is-automated=true" will '
            "not yield any results in future."
        )
    wanted = chosen(filters)
    hits = (
        [] if wanted is None else session.engine.images.search(arguments[0], values.number("limit"))
    )
    official, stars = wanted or (None, 0)
    as_json = values.text("format") == "json"
    rows = [
        row(hit, cut=not values.on("no-trunc"), as_json=as_json)
        for hit in hits
        if official in (None, hit.official) and hit.stars >= stars
    ]
    print_rows(
        session, rows, columns=tuple(HEADERS), headers=HEADERS, template=values.text("format")
    )
    return 0


def chosen(filters: dict[str, list[str]]) -> tuple[bool | None, int] | None:
    """(official or not, least stars) of the filters; None: nothing can match, since nothing is
    automated any more. Raises InvalidInput in docker's words."""
    for name in filters:
        if name not in FILTERS:
            raise InvalidInput(f"invalid filter '{name}'")
    if truth(filters, "is-automated"):
        return None
    stars = [0]
    for text in filters.get("stars", []):
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise InvalidInput(f"invalid filter 'stars={text}'")
        stars.append(int(text))
    return truth(filters, "is-official"), max(stars)


def truth(filters: dict[str, list[str]], name: str) -> bool | None:
    found = filters.get(name, [])
    if not found:
        return None
    if len(set(found)) > 1 or found[0] not in _TRUTHS:
        raise InvalidInput(f"invalid filter '{name}={','.join(found)}'")
    return _TRUTHS[found[0]]


def row(hit: "Hit", *, cut: bool, as_json: bool) -> dict[str, str]:
    text = hit.description.replace("\n", " ").replace("\r", " ")
    if cut and len(text) > SHOWN_CHARACTERS:
        text = text[: SHOWN_CHARACTERS - 1] + "…"
    shown = str(hit.official).lower() if as_json else "[OK]" if hit.official else ""
    return {
        "Name": hit.name,
        "Description": text,
        "StarCount": str(hit.stars),
        "IsOfficial": shown,
    }


SEARCH = Command(
    usage="[OPTIONS] TERM",
    summary="Search Docker Hub for images",
    run=search,
    flags=flag_table("""
  -f, --filter filter   Filter output based on conditions provided
      --format string   Pretty-print search using a Go template
      --limit int       Max number of search results
      --no-trunc        Don't truncate output
"""),
    least=1,
    most=1,
)
