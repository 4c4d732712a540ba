"""What a person may correct of a case: its fields with their present values, and whether a new value can be read.

A value is kept as it was typed: the workflow's steps read it again, by the same normalisers, and decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, text

from include.approvals.people import people
from include.contracts.model import Contract
from include.contracts.registry import contracts
from include.data import money
from include.data.normalise.email import email
from include.data.normalise.languages import language
from include.data.normalise.phone import phone
from include.data.normalise.places import country
from include.data.normalise.text import given, storable
from include.data.normalise.values import boolean, moment, whole_number
from include.intake.mapping import LINES
from include.intake.received import received_with

LONGEST = 100_000
"""Characters of a value."""
MOST_LINES = 5_000
OF_ONE_CASE = frozenset(
    {LINES, "email", "phone", "first_name", "last_name", "full_name", "external_id", "number", "message", "order"}
)
"""Fields that tell one case from another: they are not set to one value for many cases."""
_FIELD = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Verdict:
    """Whether a value can be read.

    :param reads_as: how, in the form that is kept; empty where nothing reads it here.
    :param message: for the person who types.
    """

    fits: bool
    message: str
    reads_as: str = ""


@dataclass(frozen=True)
class Field:
    """One field of a case, with its present value as it is shown and typed.

    :param named: whether a reason names it, or its instruction, or somebody corrected it before.
    :param structured: whether the value is a list or an object, written as JSON.
    """

    name: str
    value: str
    named: bool
    structured: bool

    @property
    def lengthy(self) -> bool:
        """Whether one line is too little for it."""
        return self.structured or "\n" in self.value or len(self.value) > 120


@dataclass(frozen=True)
class Correction:
    """What one person changed, in the form in which values are shown."""

    field: str
    before: str
    after: str
    actor: str
    at: datetime


def fields_of(connection: Connection, case_id: int, workflow: str, reasons: Sequence[Mapping[str, str]]) -> list[Field]:
    """Return what can be corrected of a case: first what its reasons name, then all else that it was received with."""
    (delivery,) = received_with(connection, [case_id])
    present = delivery.corrected
    named = dict.fromkeys(
        [
            *(reason["field"] for reason in reasons if _FIELD.fullmatch(reason.get("field", ""))),
            *_writable(contracts().get(workflow), (reason["code"] for reason in reasons)),
            *delivery.corrections,
        ]
    )
    return [
        Field(
            name, shown(present.get(name)), name in named, name == LINES or isinstance(present.get(name), list | dict)
        )
        for name in dict.fromkeys([*named, *present])
    ]


def shared_fields(workflow: str, code: str, reasons: Iterable[Sequence[Mapping[str, str]]]) -> list[str]:
    """Return the fields that one reason names, of those that many cases can be given the same value for."""
    named = {r["field"] for each in reasons for r in each if r["code"] == code and _FIELD.fullmatch(r.get("field", ""))}
    return sorted((named | set(_writable(contracts().get(workflow), [code]))) - OF_ONE_CASE)


def corrections_of(connection: Connection, case_id: int) -> list[Correction]:
    """Return what people corrected of a case, oldest first."""
    (delivery,) = received_with(connection, [case_id])
    known = dict(delivery.fields)
    made = []
    for row in connection.execute(
        text("select field, value, actor, at from corrections where case_id = :id order by id"), {"id": case_id}
    ):
        made.append(Correction(row.field, shown(known.get(row.field)), shown(row.value), row.actor, row.at))
        known[row.field] = row.value
    return made


def check(name: str, typed: str, *, of_country: str | None = None) -> Verdict:
    """Tell whether a value can be read as what a field of that name holds.

    :param of_country: what the case says of its country, for numbers without an international prefix.
    """
    if len(typed) > LONGEST:
        return Verdict(False, f"This is longer than {LONGEST:,} characters.")
    if not typed.strip():
        return Verdict(True, "The field will be empty.")
    if name == "phone":
        return _phone(typed, of_country)
    reader = _READERS.get(name)
    if reader is None:
        return Verdict(True, "The workflow's own rules check this when the case is released.")
    return reader(typed)


def stored(field: Field, typed: str) -> Any:
    """Return what is kept for a value that fits: None where it is cleared."""
    line = typed.strip()
    if not line:
        return None
    if field.structured:
        try:
            return storable(orjson.loads(line))
        except orjson.JSONDecodeError:
            return storable(line)
    return storable(line)


def same(field: Field, typed: str) -> bool:
    """Whether what came back from a form is the value that was there; browsers write line ends in their own way."""
    return typed.replace("\r\n", "\n").strip() == field.value.strip()


def shown(value: Any) -> str:
    """Return a value as people see and type it: text as it is, with the line ends of a form; the rest as JSON."""
    value = storable(value)
    if value is None:
        return ""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(value, list | dict):
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return orjson.dumps(value).decode()


def _writable(of: Contract | None, codes: Iterable[str]) -> list[str]:
    entries = [of.exception(code) for code in codes] if of else []
    return [name for entry in entries if entry for name in entry.may_write]


def _email(typed: str) -> Verdict:
    found = email(typed)
    return _as(found.address) if found else _not("an e-mail address that can exist, such as anna@example.com")


def _phone(typed: str, of_country: str | None) -> Verdict:
    found = phone(typed, country(of_country))
    if found:
        return _as(found)
    where = f"in {country(of_country)}, " if country(of_country) else "without a country, "
    return _not(f"a number that is given out {where}such as +49 89 1234567")


def _country(typed: str) -> Verdict:
    found = country(typed)
    return _as(found) if found else _not("a country; write its two letters, such as DE, or its name")


def _language(typed: str) -> Verdict:
    found = language(typed)
    return _as(found) if found else _not("a language; write its code, such as de, or its name")


def _boolean(typed: str) -> Verdict:
    found = boolean(typed)
    return _as("yes" if found else "no") if found is not None else _not("yes or no")


def _whole_number(typed: str) -> Verdict:
    found = whole_number(typed)
    return _as(str(found)) if found is not None else _not("a whole number")


def _moment(typed: str) -> Verdict:
    found = moment(typed)
    return _as(f"{found:%Y-%m-%d %H:%M:%S} UTC") if found else _not("a moment; write it as 2026-01-31T12:00:00+01:00")


def _day(typed: str) -> Verdict:
    found = moment(typed)
    return _as(f"{found:%A, %d %B %Y}") if found else _not("a day; write it as 2026-01-31")


def _amount(typed: str) -> Verdict:
    try:
        return _as(f"{money.parse_amount(typed):,f}")
    except money.AmountInvalid as error:
        return Verdict(False, f"This cannot be read: {error}.")


def _quantity(typed: str) -> Verdict:
    verdict = _amount(typed)
    if verdict.fits and money.parse_amount(typed) <= 0:
        return Verdict(False, "A quantity is above zero.")
    return verdict


def _currency(typed: str) -> Verdict:
    code = typed.strip().upper()
    return _as(code) if money.known(code) else _not("a currency; write its three letters, such as EUR")


def _person(typed: str) -> Verdict:
    told = (given(typed) or "").casefold()
    for person in people():
        if told in {person.id, person.email.casefold(), (person.airflow or person.id).casefold()}:
            here = "" if person.decides else ", who has left or shares the account with others"
            return Verdict(person.decides, f"This is {person.name}{here}.", person.name)
    return _not("anybody who works here; write the person's id, account or address")


def _lines(typed: str) -> Verdict:
    try:
        found = orjson.loads(typed)
    except orjson.JSONDecodeError as error:
        return Verdict(False, f"This is no JSON: {error}.")
    if not isinstance(found, list) or not all(isinstance(line, dict) for line in found):
        return _not('a list of lines; write it as [{"item": "BOLT-8", "quantity": "5"}]')
    if not 0 < len(found) <= MOST_LINES:
        return Verdict(False, f"There are {len(found):,} lines; there is at least one, and at most {MOST_LINES:,}.")
    for number, line in enumerate(found, 1):
        for name in ("quantity", "unit_price"):
            if isinstance(written := line.get(name), str) and written.strip():
                verdict = _amount(written)
                if not verdict.fits:
                    return Verdict(False, f"Line {number}, {name.replace('_', ' ')}: {verdict.message}")
    return Verdict(True, f"{len(found):,} line{'' if len(found) == 1 else 's'}.", f"{len(found)} lines")


def _as(read: str) -> Verdict:
    return Verdict(True, f"This is read as {read}.", read)


def _not(what: str) -> Verdict:
    return Verdict(False, f"This is not {what}.")


_READERS: Mapping[str, Callable[[str], Verdict]] = {
    "email": _email,
    "supplier_email": _email,
    "country": _country,
    "supplier_country": _country,
    "language": _language,
    "consent": _boolean,
    "blind": _boolean,
    "company_size": _whole_number,
    "score": _whole_number,
    **dict.fromkeys(("submitted_at", "consent_at", "requested_at", "occurred_at"), _moment),
    **dict.fromkeys(("needed_by", "received_on", "invoice_date", "due_date", "planned_for", "found_on"), _day),
    **dict.fromkeys(("total", "net", "tax", "gross", "amount", "unit_price", "unit_cost"), _amount),
    "quantity": _quantity,
    "currency": _currency,
    **dict.fromkeys(("requester", "counter"), _person),
    LINES: _lines,
}
