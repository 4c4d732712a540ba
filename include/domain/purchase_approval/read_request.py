"""The step `read_request`: each request's fields and lines in one form, its totals, and its value in our own money.

It gives a reason for what cannot be read; whether what can be read makes sense is the step `validate`'s to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.people import people
from include.cases.model import Reason, StepResult, Work
from include.data import money
from include.data.frames import copy_rows
from include.data.normalise.email import email
from include.data.normalise.places import country
from include.data.normalise.text import fold, given, paragraphs, storable
from include.data.normalise.values import moment
from include.data.rates import rates
from include.domain.purchasing import purchasing
from include.intake.received import Received, received
from include.stock.warehouse import warehouse

LARGEST = Decimal(10) ** 12
"""No quantity, price or total may reach it: beyond it there is a mistake, and no budget."""
DECIMALS = 4
"""Places of a quantity and of a price that are kept; more would be cut off without a word, and so are refused."""
MOST_LINES = 500
DEFAULT_UNIT = "piece"
_SPLIT = re.compile(r"[\s,;]+")


class Line(NamedTuple):
    """One line of a request; the columns of `purchase_lines` of the same names."""

    line: int
    item: str | None
    description: str
    quantity: Decimal
    unit: str
    unit_price: Decimal
    tax_rate: Decimal
    net: Decimal
    tax: Decimal
    account: str | None


@dataclass(frozen=True)
class Request:
    """A request as far as it could be read: columns of `purchase_requests`, its lines, and what could not be read."""

    values: dict[str, Any]
    lines: list[Line]
    reasons: list[Reason] = field(default_factory=list)

    @property
    def wanted_rate(self) -> tuple[str, str, date] | None:
        """The exchange rate that is needed; None where the request has no readable currency."""
        if self.values["currency"] is None:
            return None
        return self.values["currency"], purchasing().company.currency, self.values["rate_day"]


def read_request(work: Work) -> StepResult:
    """Read, compute and write the requests of a batch; what cannot be read is set aside with all its reasons."""
    result = StepResult()
    requests: dict[int, Request] = {}
    for delivery in received(work):
        requests[delivery.case_id] = request = requested(delivery)
        if request.reasons:
            result.quarantine[delivery.case_id] = request.reasons
    _convert(work.connection, requests, result)
    _write(work.connection, requests)
    return result


def requested(delivery: Received) -> Request:
    """Read one delivery; never raises for anything that a sender can send."""
    raw = {name: storable(value) for name, value in delivery.fields.items() if value is not None}
    fields = {**raw, **delivery.corrections}
    reasons = list(delivery.reasons)
    at = _moment(fields.get("requested_at"), reasons) or delivery.received_at or datetime.now(UTC)
    currency = _currency(fields.get("currency"), reasons)
    lines = list(_lines(fields.get("lines"), currency or purchasing().company.currency, reasons))
    name = given(fields.get("supplier_name"))
    address = email(fields.get("supplier_email"))
    if address is None and (sent := given(fields.get("supplier_email"))):
        reasons.append(
            Reason("supplier.email", f"“{sent}” is no e-mail address. Correct it, or clear it.", "supplier_email")
        )
    net, tax = sum((line.net for line in lines), Decimal(0)), sum((line.tax for line in lines), Decimal(0))
    if net + tax >= LARGEST:
        reasons.append(Reason("total.too_large", "The lines come to more than can be bought. Correct them.", "lines"))
        lines, net, tax = [], Decimal(0), Decimal(0)
    values: dict[str, Any] = {
        "case_id": delivery.case_id,
        "number": f"PR-{delivery.case_id}",
        "source": delivery.source,
        "raw": Jsonb(raw),
        "requester": _person(fields.get("requester")),
        "entered_by": _person(fields.get("entered_by")),
        "department": given(fields.get("department")),
        "cost_centre": given(fields.get("cost_centre")),
        "category": _category(fields.get("category")),
        "supplier": given(fields.get("supplier")) or _key_of(name),
        "supplier_name": name,
        "supplier_email": address.address if address else None,
        "supplier_country": country(fields.get("supplier_country")),
        "currency": currency,
        "net": net,
        "tax": tax,
        "gross": net + tax,
        "claimed_gross": _amount(fields.get("total"), "total", "total.unreadable", reasons),
        "company_currency": purchasing().company.currency,
        "rate": None,
        "rate_day": warehouse().day_of(at),
        "amount": None,
        "routed_amount": None,
        "needed_by": _day(fields.get("needed_by"), reasons),
        "justification": paragraphs(fields.get("justification")),
        "attachments": Jsonb([link for link in _SPLIT.split(given(fields.get("attachments")) or "") if link]),
        "risk": (given(fields.get("risk")) or "").lower() or None,
        "requested_at": at,
    }
    return Request(values, lines, reasons)


def _lines(sent: Any, currency: str, reasons: list[Reason]) -> Iterator[Line]:
    """Read the lines that can be read; each that cannot gives its reasons, with its number."""
    if not isinstance(sent, list):
        sent = []
    if len(sent) > MOST_LINES:
        message = f"{len(sent)} lines are more than {MOST_LINES}. Split the request by supplier or by delivery."
        reasons.append(Reason("line.too_many", message, "lines"))
        return
    for number, entry in enumerate(sent, 1):
        faults: list[Reason] = []
        line = _line(number, entry if isinstance(entry, dict) else {}, currency, faults)
        reasons += faults
        if line is not None:
            yield line


def _line(number: int, entry: Mapping[str, Any], currency: str, faults: list[Reason]) -> Line | None:
    place = f"Line {number}: "
    description = given(entry.get("description")) or given(entry.get("item"))
    if description is None:
        faults.append(Reason("line.description", place + "there is neither an item nor a description.", "lines"))
    quantity = _number(entry.get("quantity"), place + "the quantity", "line.quantity", faults)
    price = _number(entry.get("unit_price"), place + "the unit price", "line.unit_price", faults)
    rate = tax_rate(entry.get("tax_rate"))
    if rate is None:
        told = given(entry.get("tax_rate"))
        faults.append(Reason("line.tax_rate", f"{place}“{told}” is no tax rate; write 19 % or 0.19.", "lines"))
    if faults or description is None or quantity is None or price is None or rate is None:
        return None
    net = money.round_to(quantity * price, currency)
    return Line(
        line=number,
        item=given(entry.get("item")),
        description=description,
        quantity=quantity,
        unit=given(entry.get("unit")) or DEFAULT_UNIT,
        unit_price=price,
        tax_rate=rate,
        net=net,
        tax=money.round_to(net * rate, currency),
        account=given(entry.get("account")),
    )


def _number(value: Any, what: str, code: str, reasons: list[Reason]) -> Decimal | None:
    """A quantity or a price: there, readable, not too large, and with no more places than are kept."""
    if value is None or (isinstance(value, str) and not value.strip()):
        reasons.append(Reason(code, f"{what} is missing.", "lines"))
        return None
    try:
        number = money.parse_amount(value)
    except money.AmountInvalid as error:
        reasons.append(Reason(code, f"{what} cannot be read: {error}", "lines"))
        return None
    if abs(number) >= LARGEST or round(number, DECIMALS) != number:
        reasons.append(Reason(code, f"{what}, {number:f}, is too large or has more than {DECIMALS} places.", "lines"))
        return None
    return number


def _amount(value: Any, name: str, code: str, reasons: list[Reason]) -> Decimal | None:
    if given(value) is None:
        return None
    try:
        amount = money.parse_amount(value)
    except money.AmountInvalid as error:
        reasons.append(Reason(code, f"The {name} cannot be read: {error}", name))
        return None
    if abs(amount) >= LARGEST or round(amount, DECIMALS) != amount:
        reasons.append(Reason(code, f"The {name}, {amount:f}, is too large or has too many places.", name))
        return None
    return amount


def tax_rate(value: Any) -> Decimal | None:
    """Read a tax rate as a share: `0.19`, `19 %` and `19` are the same; nothing is no tax; None for what is none."""
    line = given(value)
    if line is None:
        return Decimal(0) if value is None or not str(value).strip() else None
    try:
        number = money.parse_amount(line.rstrip("% "))
    except money.AmountInvalid:
        return None
    # No country taxes at 100 % or more, so a whole number is percent even where its sign is left out.
    share = number / 100 if line.endswith("%") or number >= 1 else number
    return share if 0 <= share < 1 and round(share, DECIMALS) == share else None


def _currency(value: Any, reasons: list[Reason]) -> str | None:
    code = (given(value) or "").upper()
    if money.known(code):
        return code
    if code:
        message = f"“{code[:20]}” is no currency of ISO 4217. Write a code such as EUR."
        reasons.append(Reason("currency.unknown", message, "currency"))
    elif not any(reason.field == "currency" for reason in reasons):
        reasons.append(
            Reason("currency.missing", "The request names no currency. Write a code such as EUR.", "currency")
        )
    return None


def _moment(value: Any, reasons: list[Reason]) -> datetime | None:
    at = moment(value)
    if at is None and given(value) is not None:
        message = "The date of the request cannot be read. Write it as 2026-11-21."
        reasons.append(Reason("request.requested_at", message, "requested_at"))
    return at


def _day(value: Any, reasons: list[Reason]) -> date | None:
    at = moment(value)
    if at is None and given(value) is not None:
        message = "The day by which it is needed cannot be read. Write it as 2026-11-21."
        reasons.append(Reason("request.needed_by", message, "needed_by"))
    return at.date() if at else None


def _person(value: Any) -> str | None:
    """The id of whoever is meant by an id, an account or an address; what fits nobody stays as it was written."""
    told = given(value)
    if told is None:
        return None
    known = people()
    if told in known.by_id:
        return told
    wanted = told.casefold()
    found = [person.id for person in known if wanted in {person.email.casefold(), (person.airflow or "").casefold()}]
    return found[0] if len(found) == 1 else told


def _category(value: Any) -> str | None:
    """A category by its id or its title; what fits none stays as it was written."""
    told = given(value)
    folded = fold(told)
    titles = {fold(category.title): name for name, category in purchasing().categories.items()}
    return next((name for name in purchasing().categories if fold(name) == folded), titles.get(folded)) or told


def _key_of(name: str | None) -> str | None:
    """The key of a supplier of whom only the name is known: the same name is the same supplier."""
    folded = fold(name)
    return folded.replace(" ", "-") if folded else None


def _convert(connection: Connection, requests: Mapping[int, Request], result: StepResult) -> None:
    """Give every request its value in the company's currency, at the rate of the day on which it was made."""
    wanted = {request.wanted_rate for request in requests.values()} - {None}
    found = rates(connection, sorted(each for each in wanted if each is not None))
    for case_id, request in requests.items():
        if request.wanted_rate is None:
            continue
        currency, ours, day = request.wanted_rate
        rate = found.get((currency, ours, day))
        if rate is None:
            message = f"There is no rate of {currency} in {ours} for {day}. Load the rates, then release the request."
            result.quarantine.setdefault(case_id, []).append(Reason("rate.missing", message))
            continue
        amount = money.round_to(request.values["net"] * rate.rate, ours)
        request.values.update(rate=rate.rate, rate_day=rate.day, amount=amount, routed_amount=amount)


COLUMNS = (
    *("case_id", "number", "source", "raw", "requester", "entered_by", "department", "cost_centre", "category"),
    *("supplier", "supplier_name", "supplier_email", "supplier_country", "currency", "net", "tax", "gross"),
    *("claimed_gross", "company_currency", "rate", "rate_day", "amount", "routed_amount", "needed_by"),
    *("justification", "attachments", "risk", "requested_at"),
)


def _write(connection: Connection, requests: Mapping[int, Request]) -> None:
    """Write by COPY; a case that comes here again is read anew, and what later steps found is found anew."""
    names = ", ".join(COLUMNS)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[2:])
    forgotten = (
        *("supplier_state", "supplier_record", "duplicate_of", "budget_id", "over_budget", "policy", "routing"),
        *("digest", "approved_by"),
    )
    connection.execute(
        text(f"create temporary table incoming on commit drop as select {names} from purchase_requests limit 0")
    )
    copy_rows(
        connection, "incoming", COLUMNS, ([request.values[name] for name in COLUMNS] for request in requests.values())
    )
    connection.execute(
        text(f"""
            insert into purchase_requests ({names}) select {names} from incoming order by case_id
            on conflict (case_id) do update set {renewed}, split_with = '{{}}', updated_at = now(),
                {", ".join(f"{name} = null" for name in forgotten)}""")
    )
    connection.execute(text("drop table incoming"))
    connection.execute(text("delete from purchase_lines where case_id = any(:ids)"), {"ids": list(requests)})
    _copy_lines(connection, requests)


def _copy_lines(connection: Connection, requests: Mapping[int, Request]) -> None:
    rows: Sequence[tuple[Any, ...]] = [
        (case_id, *line) for case_id, request in requests.items() for line in request.lines
    ]
    copy_rows(connection, "purchase_lines", ("case_id", *Line._fields), rows)
