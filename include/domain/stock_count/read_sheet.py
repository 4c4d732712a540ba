"""The step `read_sheet`: what is to be counted where and by whom, in columns and lines.

On a blind sheet the quantities of the books are not even written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.people import people
from include.cases.model import Reason, StepResult, Work
from include.data.normalise.text import given
from include.data.normalise.values import boolean, moment
from include.domain.stock_count.rules import due_at, may_count
from include.intake.received import Received, received
from include.stock.warehouse import warehouse


@dataclass(frozen=True)
class _Sheet:
    header: dict[str, Any]
    lines: list[dict[str, Any]]
    reasons: list[Reason]


def read_sheet(work: Work) -> StepResult:
    """Write the sheets of a batch; one that nobody can count is set aside."""
    deliveries = list(received(work))
    numbers = {delivery.case_id: given(delivery.corrected.get("number")) or "" for delivery in deliveries}
    taken = _taken(work.connection, numbers)
    items = _items(work.connection, deliveries)
    found = [_read(delivery, taken, items) for delivery in deliveries]
    _write(work.connection, [sheet for sheet in found if not sheet.reasons])
    return StepResult(quarantine={sheet.header["case_id"]: sheet.reasons for sheet in found if sheet.reasons})


def _taken(connection: Connection, numbers: Mapping[int, str]) -> dict[str, int]:
    """Return number -> case, of the sheets that have these numbers already."""
    rows = connection.execute(
        text("select number, case_id from count_sheets where number = any(:numbers)"),
        {"numbers": sorted(set(numbers.values()))},
    )
    return {row.number: row.case_id for row in rows}


def _items(connection: Connection, deliveries: Sequence[Received]) -> dict[str, str]:
    """Return item -> class, of the items on these sheets that there are."""
    named = {given(line.get("item")) or "" for delivery in deliveries for line in delivery.corrected.get("lines") or ()}
    rows = connection.execute(
        text("select code, abc from stock_items where code = any(:codes)"), {"codes": sorted(named)}
    )
    return {row.code: row.abc for row in rows}


def _read(delivery: Received, taken: Mapping[str, int], items: Mapping[str, str]) -> _Sheet:
    fields, reasons = delivery.corrected, list(delivery.reasons)
    number, code, counter = (given(fields.get(name)) for name in ("number", "location", "counter"))
    if number is None or taken.get(number, delivery.case_id) != delivery.case_id:
        message = f"Another sheet has the number {number} already. Discard this one." if number else "It has no number."
        reasons.append(Reason("sheet.number", message, "number"))
    location = warehouse().locations.get(code or "")
    if location is None or location.kind != "internal":
        message = f"{code!r} is no location of warehouse.yaml where stock is kept. Correct it, or discard the sheet."
        reasons.append(Reason("location.unknown", message, "location"))
    elif not may_count(people().by_id.get(counter or ""), location):
        message = (
            f"{counter or 'Nobody'} is not a person who may post at {code}. Name another counter, and put counting.yaml"
            " right."
        )
        reasons.append(Reason("counter.unfit", message, "counter"))
    planned = moment(fields.get("planned_for"))
    if planned is None:
        reasons.append(Reason("planned_for.invalid", "Write the planned day as 2026-01-31.", "planned_for"))
    header = {
        "case_id": delivery.case_id,
        "number": number,
        "location": code,
        "counter": counter,
        "planned_for": planned.date().isoformat() if planned else None,
        "due_at": due_at(planned.date(), location.keeper if location else None).isoformat() if planned else None,
        "blind": boolean(fields.get("blind")) is not False,
    }
    return _Sheet(header, _lines(delivery, items, reasons), reasons)


def _lines(delivery: Received, items: Mapping[str, str], reasons: list[Reason]) -> list[dict[str, Any]]:
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in delivery.corrected.get("lines") or ():
        item, lot = given(entry.get("item")) or "", given(entry.get("lot")) or ""
        if item not in items:
            message = f"There is no item {item!r}. Take it off the sheet's lines, then release."
            reasons.append(Reason("item.unknown", message, "lines"))
            continue
        lines.setdefault(
            (item, lot),
            {"case_id": delivery.case_id, "line": len(lines) + 1, "item": item, "lot": lot, "class": items[item]},
        )
    if not lines and not reasons:
        reasons.append(Reason("lines.missing", "There is nothing to count on the sheet. Discard it.", "lines"))
    return list(lines.values())


def _write(connection: Connection, found: Sequence[_Sheet]) -> None:
    values = {
        "headers": Jsonb([sheet.header for sheet in found]),
        "lines": Jsonb([line for sheet in found for line in sheet.lines]),
        "ids": [sheet.header["case_id"] for sheet in found],
    }
    connection.execute(
        text("""
            insert into count_sheets (case_id, number, location, counter, planned_for, due_at, blind)
            select * from jsonb_to_recordset(:headers)
                          as v(case_id bigint, number text, location text, counter text, planned_for date,
                               due_at timestamptz, blind boolean)
            on conflict (case_id) do update set
                number = excluded.number, location = excluded.location, counter = excluded.counter,
                planned_for = excluded.planned_for, due_at = excluded.due_at, blind = excluded.blind,
                updated_at = now()"""),
        values,
    )
    connection.execute(text("delete from count_sheet_lines where case_id = any(:ids)"), values)
    connection.execute(
        text("""
            insert into count_sheet_lines (case_id, line, item, lot, class, shown)
            select v.case_id, v.line, v.item, v.lot, v.class,
                   case when not s.blind then coalesce(b.quantity, 0) end
            from jsonb_to_recordset(:lines) as v(case_id bigint, line integer, item text, lot text, class text)
            join count_sheets s using (case_id)
            left join stock_balances b on b.item = v.item and b.location = s.location and b.lot = v.lot"""),
        values,
    )


def planned_day(value: date) -> str:
    """Return a day as a sheet shows it."""
    return f"{value:%A, %d %B %Y}"
