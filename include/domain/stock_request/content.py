"""What a request says: what its approvers are shown, and the digest that binds a decision to it.

A pure reading of the request's rows, so that the same rows give the same digest whenever it is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from include.approvals.people import people
from include.approvals.rounds import digest_of
from include.domain.purchasing import purchasing
from include.domain.stock_request.kinds import kinds
from include.stock.warehouse import warehouse

MOST_LINES = 100
"""Lines that are shown; of more it is said how many, and the digest holds all of them."""
_REQUESTS = """
    select case_id, number, kind, requester, entered_by, origin, destination, reason, reference, sheet, occurred_at,
           value
    from stock_requests where case_id = any(:ids) order by case_id"""
_LINES = """
    select l.case_id, l.line, l.item, i.title, i.base_unit as unit, l.sent_quantity, l.unit as sent_unit, l.quantity,
           l.counted, l.expected, l.lot, l.expires_on, l.unit_cost, l.occurred_at, l.note
    from stock_request_lines l left join stock_items i on i.code = l.item
    where l.case_id = any(:ids) and (l.verdict is null or l.verdict = 'nothing') order by l.case_id, l.line"""


@dataclass(frozen=True)
class Content:
    """One request and its lines, as columns of their tables."""

    request: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is decided on; quantities count by their value, not by their zeros."""
        return digest_of({**_plain(self.request), "lines": [_plain(line) for line in self.lines]})

    @property
    def title(self) -> str:
        """One line for a list or a subject."""
        request = self.request
        return f"{request['number']}: {kinds()[request['kind']].title}, {self._value()}"

    def shown(self) -> list[list[str]]:
        """Label and value of everything that is decided on, for people; nothing that is empty."""
        request, who = self.request, people()
        kind, entered = kinds()[request["kind"]], request["entered_by"]
        more = len(self.lines) - MOST_LINES
        rows = [
            ("Request", request["number"]),
            ("Kind", kind.title),
            ("Requester", who.name(request["requester"] or "")),
            ("Entered by", who.name(entered) if entered and entered != request["requester"] else None),
            ("Location" if kind.signed else "From", _location(request["origin"])),
            ("To", None if kind.signed else _location(request["destination"])),
            ("Reason", request["reason"]),
            ("Belongs to", request["reference"]),
            ("Count sheet", request["sheet"]),
            ("When", request["occurred_at"].astimezone(warehouse().zone).strftime("%Y-%m-%d %H:%M")),
            *((f"Line {line['line']}", _line(line)) for line in self.lines[:MOST_LINES]),
            ("More lines", f"{more}, which the request holds" if more > 0 else None),
            ("Worth", self._value()),
        ]
        return [[label, str(value)] for label, value in rows if value not in (None, "")]

    def _value(self) -> str:
        value = self.request["value"]
        return f"{value:,.2f} {purchasing().company.currency}" if value is not None else "of unknown worth"


def contents(connection: Connection, case_ids: Sequence[int]) -> dict[int, Content]:
    """Return what each of the requests says now."""
    values = {"ids": list(case_ids)}
    lines: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in connection.execute(text(_LINES), values).mappings():
        lines[line["case_id"]].append(dict(line))
    requests = connection.execute(text(_REQUESTS), values).mappings()
    return {row["case_id"]: Content(dict(row), lines[row["case_id"]]) for row in requests}


def _location(code: str | None) -> str | None:
    declared = warehouse().locations.get(code or "")
    return f"{code}, {declared.title}" if declared else code


def _line(line: Mapping[str, Any]) -> str:
    quantity = line["quantity"]
    parts = [f"{_n(quantity)} {line['unit'] or ''}".strip() if quantity is not None else "?"]
    if line["counted"] is not None:
        found = f"{_n(line['counted'])} counted, {_n(line['expected'])} expected"
        parts = [f"{found}: {_signed(quantity)} {line['unit'] or ''}".strip()]
    elif line["sent_unit"] not in (None, line["unit"]):
        parts.append(f"({_n(line['sent_quantity'])} {line['sent_unit']})")
    parts.append(f"[{line['item']}] {line['title'] or ''}".strip())
    if line["lot"]:
        parts.append(f"lot {line['lot']}")
    if line["expires_on"]:
        parts.append(f"expires {line['expires_on']}")
    if line["unit_cost"] is not None:
        parts.append(f"at {_n(line['unit_cost'])} each")
    return " ".join(parts) + (f": {line['note']}" if line["note"] else "")


def _n(value: Decimal | None) -> str:
    """A number for people: no zeros behind its last digit, no exponent."""
    return "?" if value is None else f"{value.normalize():f}" if value else "0"


def _signed(value: Decimal | None) -> str:
    return f"+{_n(value)}" if value is not None and value > 0 else _n(value)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in a form of which there is one: 1.00 and 1 are the same quantity."""
    return {name: _n(value) if isinstance(value, Decimal) else value for name, value in row.items()}
