"""The step `announce`: the sheet goes to whoever counts, by mail, with a file to fill in.

Plans effects only. A blind sheet names items and places, and no quantity of the books. Sending is at most once, as the
contract declares; the sheet can be counted without the mail.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from include.approvals.people import people
from include.cases.model import Work
from include.domain.letters import stationery
from include.domain.stock_count.read_sheet import planned_day
from include.integrations.systems import Effect, Json, Provider
from include.stock.warehouse import warehouse

ENTRY = "stock_count_entry"
"""The DAG into which a count is typed."""
COLUMNS = ("item", "title", "lot", "counted", "unit", "note")


def plan_announce(work: Work, mail: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan one mail for each sheet; a sheet that another counter was given is mailed to them, too."""
    return [
        Effect.of(
            work,
            system="mail",
            operation="send_mail",
            case_id=sheet["case_id"],
            target=f"{sheet['number']}/{sheet['counter']}",
            payload=_mail(sheet),
        )
        for sheet in _sheets(work.connection, work.case_ids)
    ]


def _sheets(connection: Connection, case_ids: Sequence[int]) -> list[dict[str, Any]]:
    rows = connection.execute(
        text("""
            select s.case_id, s.number, s.location, s.counter, s.planned_for, s.blind,
                   jsonb_agg(jsonb_build_object('item', l.item, 'title', i.title, 'lot', l.lot, 'unit', i.base_unit,
                                                'shown', l.shown::text) order by l.line) as lines
            from count_sheets s join count_sheet_lines l using (case_id) join stock_items i on i.code = l.item
            where s.case_id = any(:ids) group by s.case_id order by s.case_id"""),
        {"ids": list(case_ids)},
    ).mappings()
    return [dict(row) for row in rows]


def _mail(sheet: Mapping[str, Any]) -> Json:
    person = people().by_id[sheet["counter"]]
    place = f"{sheet['location']} ({warehouse().locations[sheet['location']].title})"
    lines = sheet["lines"]
    listed = "\n".join(_line(line, blind=sheet["blind"]) for line in lines)
    blind = (
        "The sheet does not say what the books hold: count what you see.\n\n"
        if sheet["blind"]
        else "What the books hold is as of when this sheet was written.\n\n"
    )
    body = (
        f"Hello {person.name},\n\n"
        f"please count at {place} on {planned_day(sheet['planned_for'])}. {len(lines)} lines:\n\n{listed}\n\n{blind}"
        f"Fill in the attached file, and paste it into the form {ENTRY} in Airflow with the sheet's number, "
        f"{sheet['number']}, and the moment at which you counted. You can count in several parts; what you find and is "
        "not listed goes into further lines. Where there is nothing, write 0.\n"
    )
    return {
        "to": person.email,
        "from": stationery().sender,
        "subject": f"Count sheet {sheet['number']}: {len(lines)} lines at {sheet['location']}",
        "text": body,
        "headers": {"Auto-Submitted": "auto-generated"},
        "attachments": [
            {
                "filename": f"{sheet['number']}.csv",
                "content_type": "text/csv",
                "base64": base64.b64encode(_file(lines)).decode("ascii"),
            }
        ],
    }


def _line(line: Mapping[str, Any], *, blind: bool) -> str:
    lot = f", lot {line['lot']}" if line["lot"] else ""
    books = "" if blind or line["shown"] is None else f", {line['shown'].rstrip('0').rstrip('.')} in the books"
    return f"- {line['item']} {line['title']}{lot}, in {line['unit']}{books}"


def _file(lines: Sequence[Mapping[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
    writer.writeheader()
    for line in lines:
        writer.writerow({**{name: _harmless(str(line[name])) for name in ("item", "title", "lot", "unit")}})
    return out.getvalue().encode("utf-8-sig")


def _harmless(cell: str) -> str:
    """A cell that a spreadsheet does not take for a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
