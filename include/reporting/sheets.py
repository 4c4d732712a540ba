"""The `sheets` role: the latest published edition of each report and period, in worksheets of a Google spreadsheet.

    <report>_<period>              what the figures are of
    <report>_<period>_<figure>     a figure: a row of titles, and its rows

A spreadsheet is for looking at, so it holds the latest interval only; past ones are in the files and the warehouse. An
edition replaces all its worksheets in one call, which Google applies as a whole or not at all.
Contract: developers.google.com/workspace/sheets/api, spreadsheets.get and spreadsheets.batchUpdate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import count
from typing import Any
from zlib import crc32

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from include.environment import base_url
from include.integrations.http import HttpClient, NotAuthorised, RateLimit, Rejected, SystemTrouble, Unavailable
from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle, Unknown
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition, edition, latest_published
from include.reporting.model import Column, Figure, Kind, typed

BASE_URL = "https://sheets.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/spreadsheets"
LIMIT = RateLimit(60, 60)
"""Google's default for one user: 60 reads and 60 writes a minute, here taken together."""
WITHIN = 90.0
"""Seconds for both calls of an edition; they must fit into the ledger's lease."""
BUSY = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "RATE_LIMIT_EXCEEDED"})
"""Reasons of a 403 that pass by themselves."""
BUSY_FOR = 60.0
NOT_TURNED_ON = frozenset({"accessNotConfigured", "SERVICE_DISABLED"})
MOST_DIGITS = 15
"""Of a number that a spreadsheet keeps; an exact one that is longer is text."""
DAY_ZERO = date(1899, 12, 30)
"""Days are counted from it."""
WRITTEN = "userEnteredValue,userEnteredFormat.numberFormat"
"""What is replaced of each cell: colours, widths and the like are the readers'."""

_ADDRESS = re.compile(r"(?:https://docs\.google\.com/spreadsheets/d/)?([A-Za-z0-9_-]{20,100})(?:[/?#].*)?")
_FORMATS: Mapping[Kind, Json] = {
    Kind.TEXT: {"type": "TEXT"},
    Kind.DAY: {"type": "DATE", "pattern": "yyyy-mm-dd"},
    Kind.COUNT: {"type": "NUMBER", "pattern": "#,##0"},
    Kind.MONEY: {"type": "NUMBER", "pattern": "#,##0.00"},
    Kind.QUANTITY: {"type": "NUMBER", "pattern": "#,##0.######"},
    Kind.SHARE: {"type": "PERCENT", "pattern": "0.0%"},
    Kind.PERCENT: {"type": "PERCENT", "pattern": "0.0%"},
    Kind.RATIO: {"type": "NUMBER", "pattern": "0.00"},
    Kind.SECONDS: {"type": "NUMBER", "pattern": "#,##0.0"},
}

Cells = list[list[Json]]


class SpreadsheetUnusable(ValueError):
    """What was entered is neither a spreadsheet's address nor its id."""


def spreadsheet_id(written: str) -> str:
    """Return the id of a spreadsheet, from its address or itself.

    :raises SpreadsheetUnusable: for anything else.
    """
    found = _ADDRESS.fullmatch(written.strip())
    if found is None:
        raise SpreadsheetUnusable(f"{written[:100]!r} is neither the address nor the id of a Google spreadsheet")
    return found[1]


def link(spreadsheet: str) -> str:
    """Return the address of a spreadsheet."""
    return f"https://docs.google.com/spreadsheets/d/{spreadsheet}"


class Sheets:
    """Writes editions into spreadsheets.

    :param spreadsheets: the id of the spreadsheet of each report that has one.
    :param account: the address of the service account, which people share their spreadsheet with.
    """

    name = "sheets"
    batch_size = 1  # both calls with their waits fit into the ledger's lease
    operations: Mapping[str, Operation] = {"write_sheets": Operation("write_sheets", Settle.RESEND)}

    def __init__(self, engine: Engine, client: HttpClient, spreadsheets: Mapping[str, str], account: str) -> None:
        self._engine = engine
        self._client = client
        self._spreadsheets = spreadsheets
        self._account = account

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Replace the worksheets of each edition that is still the latest of its report and period."""
        return [self._deliver(int(effect.payload["edition"])) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: the same cells are written again."""
        return self.apply(operation, effects)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _deliver(self, edition_id: int) -> Outcome:
        try:
            with self._engine.begin() as connection:
                return self._replace(connection, edition_id)
        except OperationalError as error:
            return Failed(f"the database is away: {error.orig}")

    def _replace(self, connection: Connection, edition_id: int) -> Outcome:
        found = edition(connection, edition_id)
        if found is None:
            return Failed(f"there is no edition {edition_id}", permanent=True)
        spreadsheet = self._spreadsheets.get(found.report)
        if spreadsheet is None:
            return Failed(f"the connection names no spreadsheet for the report {found.report}", permanent=True)
        # One writer at a time, so that an older edition does not end on top of a newer one.
        place = {"p": f"sheets/{found.report}/{found.period}"}
        connection.execute(text("select pg_advisory_xact_lock(hashtextextended(:p, 1))"), place)
        latest = latest_published(connection, found)
        if latest != found.id:
            return Sent({"superseded_by": latest, "place": link(spreadsheet)})
        return self._write(spreadsheet, found)

    def _write(self, spreadsheet: str, found: Edition) -> Outcome:
        path = f"/v4/spreadsheets/{spreadsheet}"
        wanted = worksheets(found)
        try:
            with self._client.within(WITHIN):
                fields = "sheets.properties(sheetId,title,gridProperties(rowCount,columnCount))"
                there = self._client.get(path, params={"fields": fields}).json() or {}
                self._client.request(
                    "POST",
                    f"{path}:batchUpdate",
                    json={"requests": list(_requests(there, wanted))},
                    params={"fields": "spreadsheetId"},
                    repeatable=True,
                )
        except NotAuthorised as trouble:
            return self._not_allowed(trouble, spreadsheet)
        except Rejected as trouble:
            return self._refused(trouble, spreadsheet)
        except Unavailable as trouble:
            return Failed(str(trouble), retry_after=trouble.retry_after)
        except SystemTrouble as trouble:
            return Unknown(str(trouble))
        return Sent({"place": link(spreadsheet), "worksheets": len(wanted)})

    def _not_allowed(self, trouble: NotAuthorised, spreadsheet: str) -> Failed:
        reasons = _reasons(trouble.body)
        if reasons & BUSY:
            return Failed(str(trouble), retry_after=BUSY_FOR)
        if reasons & NOT_TURNED_ON:
            what = f"the Google Sheets API is not turned on in the project of {self._account}: turn it on there"
            return Failed(f"{what}, then retry this", permanent=True)
        if "PERMISSION_DENIED" in reasons:
            what = f"share the spreadsheet {link(spreadsheet)} with {self._account} as an editor"
            return Failed(f"Google does not let it write there: {what}, then retry this", permanent=True)
        return Failed(str(trouble), retry_after=trouble.retry_after)

    def _refused(self, trouble: Rejected, spreadsheet: str) -> Failed:
        if trouble.status == 404:
            what = "look at the address in the connection waybill_sheets"
            return Failed(f"there is no spreadsheet {link(spreadsheet)}: {what}, then retry this", permanent=True)
        # What was added by a call whose answer was lost is found when it is looked up anew.
        return Failed(str(trouble), permanent="already exists" not in str(trouble))


def worksheets(found: Edition) -> dict[str, Cells]:
    """Return the cells of each worksheet of an edition, by its title."""
    report = REPORTS[found.report]
    name = f"{found.report}_{found.period}"
    about = [
        ("Report", report.title),
        ("Every", {"daily": "day", "weekly": "week", "monthly": "month"}[found.period]),
        ("First day", found.first_day),
        ("Revision", found.revision),
        ("Made", f"{found.written_at:%Y-%m-%d %H:%M %Z}"),
        ("Page", f"{base_url()}/waybill/reports/{found.id}"),
    ]
    kinds = {date: Kind.DAY, int: Kind.COUNT}
    return {
        name: [[_cell(Kind.TEXT, title), _cell(kinds.get(type(value), Kind.TEXT), value)] for title, value in about],
        **{f"{name}_{figure.name}": _figure(figure, found) for figure in report.figures},
    }


def _figure(figure: Figure, found: Edition) -> Cells:
    titles = [_cell(Kind.TEXT, _title(column)) for column in figure.columns]
    rows = found.tables.get(figure.name, [])
    return [
        titles,
        *([_cell(c.kind, typed(c, v)) for c, v in zip(figure.columns, row, strict=True)] for row in rows),
    ]


def _title(column: Column) -> str:
    return f"{column.title} [s]" if column.kind is Kind.SECONDS else column.title


def _cell(kind: Kind, value: Any) -> Json:
    """Return a cell that is what it says: a text is never read as a formula, a number never as a date."""
    if value is None:
        return {}
    match kind:
        case Kind.TEXT:
            entered: Json = {"stringValue": value}
        case Kind.DAY:
            entered = {"numberValue": (value - DAY_ZERO).days}
        case _ if isinstance(value, Decimal) and len(value.as_tuple().digits) > MOST_DIGITS:
            entered = {"stringValue": str(value)}
        case _:
            entered = {"numberValue": float(value)}
    return {"userEnteredValue": entered, "userEnteredFormat": {"numberFormat": _FORMATS[kind]}}


def _requests(there: Json, wanted: Mapping[str, Cells]) -> Iterator[Json]:
    """Say what makes the worksheets hold just these cells: added where they are missing, and wide and long enough."""
    known = {each["properties"]["title"]: each["properties"] for each in there.get("sheets", [])}
    taken = {each["sheetId"] for each in known.values()}
    for title, cells in wanted.items():
        needed = {"rowCount": max(len(cells), 2), "columnCount": max(map(len, cells))}
        if title in known:
            sheet = known[title]["sheetId"]
            grid = known[title].get("gridProperties", {})
            yield _grid(sheet, {name: max(size, grid.get(name, 0)) for name, size in needed.items()})
        else:
            sheet = next(n for n in count(crc32(title.encode()) >> 1) if n not in taken)
            taken.add(sheet)
            grid = {**needed, "frozenRowCount": 1}
            yield {"addSheet": {"properties": {"sheetId": sheet, "title": title, "gridProperties": grid}}}
        yield {
            "updateCells": {
                "range": {"sheetId": sheet},
                "rows": [{"values": row} for row in cells],
                "fields": WRITTEN,
            }
        }


def _grid(sheet: int, sizes: Mapping[str, int]) -> Json:
    properties = {"sheetId": sheet, "gridProperties": dict(sizes)}
    fields = "gridProperties.rowCount,gridProperties.columnCount"
    return {"updateSheetProperties": {"properties": properties, "fields": fields}}


def _reasons(body: object) -> set[str]:
    """Return every reason that an error of Google's names, in its former form and in the present one."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return set()
    named = [error.get("status"), *(each.get("reason") for each in _dicts(error, "errors") + _dicts(error, "details"))]
    return {str(reason) for reason in named if reason}


def _dicts(error: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = error.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
