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
from include.data import money
from include.domain.purchasing import purchasing

_REQUESTS = """
    select case_id, number, requester, entered_by, department, cost_centre, category, supplier, supplier_name,
           supplier_email, supplier_country, supplier_state, currency, net, tax, gross, company_currency, rate,
           rate_day, amount, routed_amount, needed_by, justification, attachments, risk, duplicate_of, split_with,
           over_budget
    from purchase_requests where case_id = any(:ids) order by case_id"""
_LINES = """
    select case_id, line, item, description, quantity, unit, unit_price, tax_rate, net, tax, account
    from purchase_lines where case_id = any(:ids) order by case_id, line"""


@dataclass(frozen=True)
class Content:
    """One request and its lines, as columns of their tables."""

    request: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]

    @property
    def digest(self) -> str:
        """SHA-256 of everything that is decided on; amounts count by their value, not by their zeros."""
        return digest_of({**_plain(self.request), "lines": [_plain(line) for line in self.lines]})

    @property
    def title(self) -> str:
        """One line for a list or a subject."""
        request = self.request
        return (
            f"{request['number']}: {request['supplier_name'] or request['supplier']}, {self._money(request['gross'])}"
        )

    def shown(self) -> list[list[str]]:
        """Label and value of everything that is decided on, for people; nothing that is empty."""
        request, known, who = self.request, purchasing(), people()
        centre = known.cost_centres.get(request["cost_centre"])
        category = known.categories.get(request["category"])
        ours, name = request["company_currency"], request["supplier_name"] or request["supplier"]
        entered = request["entered_by"]
        rows = [
            ("Request", request["number"]),
            ("Requester", who.name(request["requester"] or "")),
            ("Entered by", who.name(entered) if entered and entered != request["requester"] else None),
            ("Department", request["department"]),
            ("Cost centre", f"{request['cost_centre']} {centre.name}" if centre else request["cost_centre"]),
            ("Category", category.title if category else request["category"]),
            ("Supplier", f"{name}, NEW" if request["supplier_state"] == "new" else name),
            ("Supplier's number", request["supplier"]),
            ("Supplier's address", _joined(request["supplier_email"], request["supplier_country"])),
            *((f"Line {line['line']}", self._line(line)) for line in self.lines),
            ("Without tax", self._money(request["net"])),
            ("With tax", self._money(request["gross"])),
            ("In our money", self._converted() if request["currency"] != ours else None),
            ("Budget", "BEYOND what is available" if request["over_budget"] else "within what is available"),
            ("Possible duplicate of", f"PR-{request['duplicate_of']}" if request["duplicate_of"] else None),
            ("Part of a split purchase", self._parts()),
            ("Risk", request["risk"] or (category.risk if category else None)),
            ("Needed by", request["needed_by"]),
            ("Justification", request["justification"]),
            ("Attachments", " ".join(request["attachments"])),
        ]
        return [[label, str(value)] for label, value in rows if value not in (None, "")]

    def _money(self, amount: Decimal) -> str:
        return figure(amount, self.request["currency"])

    def _line(self, line: Mapping[str, Any]) -> str:
        item = f"[{line['item']}] " if line["item"] and line["item"] != line["description"] else ""
        account = f", account {line['account']}" if line["account"] else ""
        return (
            f"{number(line['quantity'])} {line['unit']} × {number(line['unit_price'])} = {self._money(line['net'])}"
            f" + {number(line['tax_rate'] * 100)} % tax: {item}{line['description']}{account}"
        )

    def _converted(self) -> str:
        request = self.request
        ours = request["company_currency"]
        return (
            f"{figure(request['amount'], ours)} without tax, at {number(request['rate'])} {ours} for "
            f"1 {request['currency']} on {request['rate_day']}"
        )

    def _parts(self) -> str | None:
        request = self.request
        if not request["split_with"]:
            return None
        others = ", ".join(f"PR-{case_id}" for case_id in request["split_with"])
        return f"with {others}; together {figure(request['routed_amount'], request['company_currency'])}"


def contents(connection: Connection, case_ids: Sequence[int]) -> dict[int, Content]:
    """Return what each of the requests says now."""
    values = {"ids": list(case_ids)}
    lines: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in connection.execute(text(_LINES), values).mappings():
        lines[line["case_id"]].append(dict(line))
    requests = connection.execute(text(_REQUESTS), values).mappings()
    return {row["case_id"]: Content(dict(row), lines[row["case_id"]]) for row in requests}


def digests(found: Mapping[int, Content]) -> dict[int, str]:
    """Return the digest of each."""
    return {case_id: content.digest for case_id, content in found.items()}


def number(value: Decimal) -> str:
    """A number for people: no zeros behind its last digit, no exponent."""
    return f"{value.normalize():f}" if value else "0"


def figure(amount: Decimal, currency: str) -> str:
    """An amount for people, with the places of its currency."""
    return f"{amount:,.{money.minor_units(currency)}f} {currency}"


def _joined(*parts: str | None) -> str | None:
    return ", ".join(part for part in parts if part) or None


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in a form of which there is one: 100.00 and 100 are the same amount."""
    return {name: number(value) if isinstance(value, Decimal) else value for name, value in row.items()}
