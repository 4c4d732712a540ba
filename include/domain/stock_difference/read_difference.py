"""The step `read_difference`: what was handed over, in rows; and the step `look`, which compares once more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.domain.stock_difference.books import load_lines, look, told, without_accepted, write_lines
from include.domain.stock_difference.comparison import Line
from include.domain.stock_difference.find import MANY, ONE, open_spots, rest
from include.intake.received import received
from include.integrations.systems import Effect, Provider

_WRITE = text("""
    insert into stock_differences (case_id, scope, found_on, file)
    select case_id, scope, found_on, file
    from jsonb_to_recordset(:rows) as v(case_id bigint, scope text, found_on date, file text)
    on conflict (case_id) do update set scope = excluded.scope, found_on = excluded.found_on, file = excluded.file,
        decision = null, reason = null, decided_by = null, updated_at = now()
    where not exists (select from effects where case_id = excluded.case_id)""")


def read_difference(work: Work) -> StepResult:
    """Write what the cases are about."""
    rows, lines, quarantine = [], {}, {}
    for delivery in received(work):
        fields = delivery.corrected
        try:
            some = [_line(line) for line in fields.get("lines") or ()]
            found_on = date.fromisoformat(str(fields.get("found_on")))
        except (KeyError, TypeError, ValueError, InvalidOperation):
            some, found_on = [], None
        if not some or found_on is None or fields.get("scope") not in (ONE, MANY):
            message = "The difference cannot be read. Discard it: the next comparison opens it again."
            quarantine[delivery.case_id] = [Reason("lines.invalid", message, "lines")]
            continue
        rows.append(
            {
                "case_id": delivery.case_id,
                "scope": fields["scope"],
                "found_on": found_on.isoformat(),
                "file": fields.get("file"),
            }
        )
        lines[delivery.case_id] = some
    work.connection.execute(_WRITE, {"rows": Jsonb(rows)})
    write_lines(work.connection, lines)
    store.record_each(work.connection, "compared", {case_id: told(some) for case_id, some in lines.items()})
    return StepResult(quarantine=quarantine)


def plan_look(work: Work, erp: Provider) -> list[Effect]:
    """Compare again what each case is about; nothing is changed in the ERP."""
    found = look(work.connection, erp)
    differing = without_accepted(work.connection, found.lines)
    before = load_lines(work.connection, work.case_ids)
    rows = work.connection.execute(
        text("select case_id, scope from stock_differences where case_id = any(:ids)"), work.values
    )
    scopes = {row.case_id: row.scope for row in rows}
    changed: dict[int, list[Line]] = {}
    for case_id, lines in before.items():
        now = lines
        if scopes.get(case_id) == MANY:
            now = rest(differing, open_spots(work.connection))
        elif lines and lines[0].spot not in found.moving:
            now = list(differing.get(lines[0].spot, ()))
        if now != lines:
            changed[case_id] = now
    write_lines(work.connection, changed)
    details = {case_id: told(lines) for case_id, lines in changed.items() if lines}
    store.record_each(work.connection, "compared", details)
    return []


def _line(line: Mapping[str, Any]) -> Line:
    return Line(
        str(line["item"]), str(line["location"]), str(line.get("lot") or ""), Decimal(str(line["waybill"])),
        Decimal(str(line["erp"])),
    )  # fmt: skip
