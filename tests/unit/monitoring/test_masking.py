"""Masking: what a visitor who may only look sees of the sample people, which is nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from include.intake.mapping import ITEMS, RECORDS
from include.intake.sources import map_fields
from include.monitoring.views.masking import (
    CODES,
    E_MAIL,
    HARMLESS,
    HIDDEN,
    PERSONAL,
    TELEPHONE,
    masked,
    masked_body,
    without_contacts,
    written,
)
from include.samples.leads import samples
from include.samples.purchases import SUPPLIERS, purchases
from include.samples.stock import a_day_of_requests

LEADS = samples(150, mailing="m", now=datetime(2026, 3, 6, 9, 0, tzinfo=UTC))
"""At a fixed moment: one of them wrote 12 for a telephone number, and no time that is shown may have that in it."""
TELLING = ("full_name", "first_name", "last_name", "email", "phone", "message", "job_title", "city")


def told(values: Any) -> Iterator[str]:
    """Every text in a document."""
    if isinstance(values, dict):
        for value in values.values():
            yield from told(value)
    elif isinstance(values, list):
        for value in values:
            yield from told(value)
    elif isinstance(values, str):
        yield values


@pytest.mark.parametrize("number", range(len(LEADS)))
def test_of_a_sample_person_nothing_is_left_in_the_body_nor_in_the_fields(number: int) -> None:
    sample = LEADS[number]
    body = json.dumps(sample.payload)
    fields = map_fields(sample.source, body.encode()).fields
    personal = [str(fields[name]) for name in TELLING if fields.get(name)]
    assert personal
    for seen in (masked_body(body), written(masked(fields)), written(masked({"properties": fields}))):
        shown = list(told(json.loads(seen)))
        for value in personal:
            assert not [text for text in shown if value in text], (value, shown)
        assert "@" not in seen


def test_what_tells_of_nobody_is_still_to_be_read() -> None:
    fields = {"company": "Weiß Maschinenbau AG", "country": "DE", "company_size": 12, "consent": True, "id": "form-1"}
    assert masked(fields) == fields
    order = {"number": "PO-2026-00012", "lines": [{"item": "CHAIR-B", "quantity": "4", "unit_price": "289.00"}]}
    assert masked(order) == order
    assert masked({"from": "MAIN", "to": "SHOP"}) == {"from": "MAIN", "to": "SHOP"}
    assert masked({"to": "Anna Keller"}) == {"to": HIDDEN}


def test_a_purchase_keeps_its_figures_and_loses_its_people() -> None:
    for purchase in purchases(mailing="m"):
        seen = written(masked(purchase.payload))
        assert purchase.payload["requester"] not in seen
        assert purchase.payload["lines"][0]["unit_price"] in seen
    for supplier in SUPPLIERS.values():
        assert "@" not in written(masked(supplier))
    for request in a_day_of_requests(mailing="m"):
        assert str(request.payload.get("requester", "@")) not in written(masked(request.payload))


def test_every_field_that_a_mapping_may_fill_is_judged() -> None:
    known = {*(name for names in (*RECORDS.values(), *ITEMS.values()) for name in names)}
    assert known <= PERSONAL | HARMLESS | CODES, "say in masking.py whether the new field can tell of a person"
    assert not PERSONAL & (HARMLESS | CODES)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("write to Anna.Keller+x@nordlicht.example.", f"write to {E_MAIL}"),
        ("übung@müller.example", E_MAIL),
        ("call +49 (0)30 23125-017", f"call {TELEPHONE}"),
        ("030 23125 017 or (202) 555-0137", f"{TELEPHONE} or {TELEPHONE}"),
        ("0044 20 7946 0018, 202-555-0114", f"{TELEPHONE}, {TELEPHONE}"),
        ("PO-2026-00012 of 2026-11-21T08:09:10Z, 0.25 each, 1,200.00 EUR", None),
        ("0198c0de-7000-7000-8000-00000000c0de", None),
        ("01980000-0000-7000-8000-000000000000", None),
    ],
)
def test_addresses_and_numbers_are_found_in_text_and_codes_are_left(text: str, seen: str | None) -> None:
    assert without_contacts(text) == (seen or text)


def test_free_text_and_unknown_fields_are_hidden_whatever_they_hold() -> None:
    assert masked_body("Dear Sir, I am Anna Keller.") == HIDDEN
    assert masked_body("") == ""
    assert masked("Anna Keller") == HIDDEN
    document = {"Comment": "Anna", "firstName": "Anna", "customer": {"name": "Anna", "mobile": 493023125017}}
    assert masked(document) == {"Comment": HIDDEN, "firstName": HIDDEN, "customer": {"name": HIDDEN, "mobile": HIDDEN}}
    assert masked({"anna@x.example": [1, None, ""], "seats": 10}) == {E_MAIL: [1, None, ""], "seats": 10}
    assert masked({"postalCode": 10115, "age": 30}) == {"postalCode": HIDDEN, "age": HIDDEN}


@pytest.mark.parametrize("part", ["x", "1", "1 ", "+1-", "a.", "x/"])
def test_a_text_as_long_as_a_book_is_read_once(part: str) -> None:
    long = part * 300_000
    assert without_contacts(f"{long} ada@example.com") == f"{long} {E_MAIL}"
