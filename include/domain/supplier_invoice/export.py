"""The journal as a file for accounting; docs/journal.md says how to read it.

A day's file is written whole or not at all, and the same days give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from include.data.exports import export_folder, write_csv
from include.stock.warehouse import warehouse

COLUMNS = (
    "booked_on", "document_date", "kind", "document", "supplier", "order", "case", "line", "account", "cost_centre",
    "tax_code", "debit", "credit", "currency", "document_amount", "document_currency", "rate", "text",
)  # fmt: skip

_LINES = """
    select j.booked_on, i.invoice_date, i.kind, j.document, j.supplier, i.order_number, j.case_id, j.line, j.account,
           j.cost_centre, j.tax_code, j.debit, j.credit, j.currency, trim_scale(j.document_amount),
           j.document_currency, trim_scale(i.rate), j.text
    from journal_lines j join supplier_invoices i using (case_id)
    where j.booked_on >= :since and j.booked_on < :until order by j.booked_on, j.case_id, j.line"""


class DayNotOver(ValueError):
    """The days asked for are not over, so that their journal may still grow."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    lines: int


def export_journal(
    engine: Engine, since: date, until: date, *, into: Path | None = None, now: datetime | None = None
) -> Exported:
    """Write what was booked from `since`, inclusive, to `until`, exclusive, in the company's days.

    :raises DayNotOver: when `until` is in the future.
    """
    if until > warehouse().day_of(now or datetime.now(UTC)):
        zone = warehouse().zone_name
        raise DayNotOver(f"{until} has not begun in {zone}; the journal of the days before it may still grow")
    target = (into or export_folder()) / f"journal_{since}_{until}.csv"
    with engine.begin() as connection:
        # Whoever writes to the journal now is waited for: what they write may belong to these days.
        connection.execute(text("lock table journal_lines in share mode"))
        rows = connection.execution_options(yield_per=5_000).execute(text(_LINES), {"since": since, "until": until})
        return Exported(target, write_csv(target, COLUMNS, rows))
