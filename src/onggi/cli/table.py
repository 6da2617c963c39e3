"""Lists as docker prints them: aligned columns, a Go template for each row, or JSON lines.

`--format` is "" or "table" for the default columns, "table TEMPLATE", "json" or a template. Rows
are dicts whose values are strings (or callables, docker's methods with an argument).
"""

from collections.abc import Iterable, Mapping, Sequence

from ..typed import Any
from .session import Session, refusal

MIN_WIDTH, PADDING = 10, 3
Row = Mapping[str, Any]


def print_rows(
    session: Session,
    rows: Iterable[Row],
    *,
    columns: Sequence[str],
    headers: Mapping[str, str],
    template: str = "",
) -> None:
    """`columns` are the keys of the default table, `headers` the titles of all keys."""
    if template in ("", "table"):
        lines = ["\t".join(headers[name] for name in columns)]
        lines += ["\t".join(str(row[name]) for name in columns) for row in rows]
        session.out.show(align(lines))
    elif template == "json":
        from .gotemplate_functions import to_json

        for row in rows:
            session.out.show(to_json(plain(row)) + "\n")
    else:
        print_template(session, rows, headers, template)


def plain(row: Row) -> dict[str, Any]:
    """The row without its methods, keys sorted as docker's JSON has them."""
    return {name: row[name] for name in sorted(row) if not callable(row[name])}


def print_template(
    session: Session, rows: Iterable[Row], headers: Mapping[str, str], template: str
) -> None:
    from .gotemplate import parse
    from .gotemplate_syntax import TemplateError

    word, _, rest = template.partition(" ")
    is_table = word == "table"
    text = unescaped(rest.strip() if is_table else template)
    try:
        parsed = parse(text)
    except TemplateError as error:
        raise refusal(f"failed to parse template: {error}") from error
    try:
        lines = [parsed.render(row) for row in rows]
        if is_table:
            lines.insert(0, parsed.render(_titles(headers)))
    except TemplateError as error:
        raise refusal(f"failed to execute template: {error}") from error
    if is_table:
        session.out.show(align(lines))
    else:
        session.out.show("".join(f"{line}\n" for line in lines))


def _titles(headers: Mapping[str, str]) -> dict[str, Any]:
    """The row that a table template is rendered with for its title line."""
    titles: dict[str, Any] = dict(headers)
    titles["Label"] = label_title
    return titles


def label_title(name: object) -> str:
    """`com.example.my-label` is titled `my label`."""
    last = name.rpartition(".")[2] if isinstance(name, str) else ""
    return last.replace("-", " ").replace("_", " ")


def unescaped(template: str) -> str:
    """`\\t` and `\\n` as people type them between quotes of the shell."""
    return template.replace("\\t", "\t").replace("\\n", "\n")


def align(lines: Sequence[str]) -> str:
    """Tab-separated cells to columns, as Go's text/tabwriter does: a column is a run of lines that
    have a cell there with something behind it."""
    rows = [line.split("\t") for text in lines for line in text.split("\n")]
    _pad_column(rows, 0, len(rows), 0)
    return "".join("".join(row) + "\n" for row in rows)


def _pad_column(rows: list[list[str]], start: int, end: int, column: int) -> None:
    line = start
    while line < end:
        if len(rows[line]) <= column + 1:
            line += 1
            continue
        stop = line
        while stop < end and len(rows[stop]) > column + 1:
            stop += 1
        widest = max(len(rows[i][column]) for i in range(line, stop))
        width = max(MIN_WIDTH, widest + PADDING)
        for i in range(line, stop):
            rows[i][column] = rows[i][column].ljust(width)
        _pad_column(rows, line, stop, column + 1)
        line = stop


def filters_of(texts: Sequence[str]) -> dict[str, list[str]]:
    """`--filter name=value …` by name."""
    from .flags import parse_filter

    found: dict[str, list[str]] = {}
    for text in texts:
        name, value = parse_filter(text)
        found.setdefault(name, []).append(value)
    return found
