"""A count as a person types or pastes it into a form: a stock request of kind `count` that names its sheet.

What the books hold is neither looked at nor told here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, text

from include.approvals.forms import FormRefused, given, store, who_asks
from include.approvals.people import people
from include.domain.stock_count.rules import may_count
from include.intake.imports import ImportResult
from include.stock.warehouse import warehouse

SOURCE = "stock-form"
FIELDS = {
    "item": "item", "sku": "item", "lot": "lot", "serial": "lot", "counted": "quantity", "quantity": "quantity",
    "unit": "unit", "note": "note", "title": "title", "description": "title",
}  # fmt: skip
"""Column of what was pasted -> field of a request's line; `title` is for people, and goes nowhere."""


@dataclass(frozen=True)
class Entry:
    """What the form becomes.

    :param document: the delivery.
    :param missing: lines of the sheet that are neither in it nor counted before, as people write them.
    :param found: lines that the sheet does not have.
    """

    document: dict[str, Any]
    missing: Sequence[str]
    found: Sequence[str]


def submit(
    engine: Engine, form: Mapping[str, Any], *, account: str, form_id: str, actor: str
) -> tuple[Entry, ImportResult]:
    """Store a count as one delivery, once however often it is submitted under the same id.

    :param form: `sheet` or `location`, `lines` (CSV or JSON), `counted_at`, `counter`, `note`.
    :param account: name of the Airflow account that typed it.
    :raises FormRefused: when sheet, place, moment or lines cannot be taken, or they may not count there.
    """
    with engine.connect() as connection:
        made = entry(connection, form, account=account, form_id=form_id)
    return made, store(engine, SOURCE, made.document, actor)


def entry(connection: Connection, form: Mapping[str, Any], *, account: str, form_id: str) -> Entry:
    """Return the form as a delivery's document; see `submit`."""
    counter, entered_by = who_asks(account, form.get("counter"), role="who counted")
    number = given(form.get("sheet"))
    open_lines, location = _sheet(connection, number) if number else (None, given(form.get("location")))
    if location is None:
        raise FormRefused("write the sheet's number, or, for a count without a sheet, the location")
    declared = warehouse().locations.get(location)
    if declared is None or not may_count(people().by_id.get(counter), declared):
        raise FormRefused(
            f"{people().name(counter)} may not post at {location}; its keeper and its users may count there"
        )
    moment = _moment(form.get("counted_at"))
    lines = read_lines(form.get("lines") or "")
    document = {
        "id": form_id,
        "kind": "count",
        "requester": counter,
        "entered_by": entered_by,
        "location": location,
        "sheet": number,
        "reason": given(form.get("note")) or (f"count sheet {number}" if number else None),
        "occurred_at": moment.isoformat(),
        "lines": lines,
    }
    entered = {(line["item"], line.get("lot", "")) for line in lines}
    return Entry(
        {name: value for name, value in document.items() if value is not None},
        [_called(*line) for line in sorted((open_lines or set()) - entered)],
        [_called(*line) for line in sorted(entered - _listed(connection, number))] if number else [],
    )


def read_lines(pasted: str) -> list[dict[str, str]]:
    """Read pasted lines: CSV with a header (item, lot, counted, unit, note) or a JSON array of such objects.

    A line without a count and without a note is one that is not counted yet, as on a sheet of which a part is done.

    :raises FormRefused: naming the line that cannot be read, or the place that is in it twice.
    """
    rows = _json(pasted) if pasted.lstrip().startswith("[") else _csv(pasted)
    lines: list[dict[str, str]] = []
    seen: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, 1):
        line = {FIELDS[name]: value for name, value in row.items() if value}
        line.pop("title", None)
        if not line.keys() & {"quantity", "note"}:
            continue
        if "item" not in line or "quantity" not in line:
            raise FormRefused(f"line {number} needs item and counted; where nothing is there, write 0")
        key = (line["item"], line.get("lot", ""))
        if key in seen:
            raise FormRefused(
                f"{_called(*key)} stands in lines {seen[key]} and {number}: write once all that is there of it"
            )
        seen[key] = number
        lines.append(line)
    if not lines:
        raise FormRefused("nothing is counted: paste lines with item and counted, below a header line")
    return lines


def _csv(pasted: str) -> Iterable[dict[str, str]]:
    body = pasted.removeprefix("\ufeff").strip()
    header, _, _ = body.partition("\n")
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        names = [_column(name) for name in next(reader, [])]
        for cells in reader:
            if len(cells) > len(names):
                raise FormRefused(f"line {reader.line_num} has more values than the header has names")
            yield {name: _plain(cell) for name, cell in zip(names, cells, strict=False)}
    except csv.Error as error:
        raise FormRefused(f"line {reader.line_num} is not CSV: {error}") from None


def _json(pasted: str) -> Iterable[dict[str, str]]:
    try:
        rows = orjson.loads(pasted)
    except orjson.JSONDecodeError as error:
        raise FormRefused(f"the lines are not JSON: {error}") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or any(isinstance(value, dict | list | float) for value in row.values()):
            raise FormRefused(f'line {number}: write {{"item": "BOLT-8", "counted": "12.5"}}, fractions in quotes')
        yield {_column(name): "" if value is None else str(value).strip() for name, value in row.items()}


def _column(name: str) -> str:
    column = name.strip().casefold()
    if column not in FIELDS:
        raise FormRefused(f"there is no column {name.strip()!r}; write some of: {', '.join(FIELDS)}")
    return column


def _plain(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from taking it for a formula."""
    value = cell.strip()
    return value[1:] if value[:1] == "'" and value[1:2] in ("=", "+", "-", "@") else value


def _sheet(connection: Connection, number: str) -> tuple[set[tuple[str, str]], str]:
    """Return the lines of a sheet that nobody has counted yet, and its location."""
    rows = connection.execute(
        text("""
            select p.location, p.item, p.lot, p.state, c.state as sheet from count_progress p
            join cases c on c.id = p.case_id where p.number = :number"""),
        {"number": number},
    ).all()
    if not rows:
        raise FormRefused(f"there is no count sheet {number}; its number stands in the mail that it came with")
    if rows[0].sheet in ("finished", "rejected"):
        raise FormRefused(f"the count sheet {number} is closed; count again without a sheet, by location")
    return {(row.item, row.lot) for row in rows if row.state == "open"}, rows[0].location


def _listed(connection: Connection, number: str) -> set[tuple[str, str]]:
    rows = connection.execute(text("select item, lot from count_progress where number = :number"), {"number": number})
    return {(row.item, row.lot) for row in rows}


def _moment(value: Any) -> datetime:
    written = given(value)
    if written is None:
        raise FormRefused("write when it was counted: the books are compared with as of that moment")
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        raise FormRefused(f"{written!r} is no moment; write it as 2026-01-31T14:30") from None
    found = found if found.tzinfo else found.replace(tzinfo=warehouse().zone)
    if found > datetime.now(UTC):
        raise FormRefused(f"{written} is still to come; write when it was counted")
    return found


def _called(item: str, lot: str) -> str:
    return f"{item} lot {lot}" if lot else item
