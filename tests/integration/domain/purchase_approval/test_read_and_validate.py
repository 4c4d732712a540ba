"""Whatever a sender writes into a request becomes a number, a reason or a flag, and never a loss."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.cases import store
from tests.support.purchases import LINE, add, case, codes, of, prepare, request, run
from tests.support.work import assert_balanced, rows


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)
    with engine.begin() as connection:
        connection.execute(
            text("""
                insert into exchange_rates (day, base, currency, rate, source)
                values ('2026-11-19', 'EUR', 'JPY', 178.5, 'test'), ('2026-11-20', 'EUR', 'USD', 1.25, 'test')""")
        )


def line(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in {**LINE, **changes}.items() if value is not None}


BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"lines": [line(quantity="two")]}, ["line.quantity"]),
    ({"lines": [line(quantity=None)]}, ["line.quantity"]),
    ({"lines": [line(quantity="NaN")]}, ["line.quantity"]),
    ({"lines": [line(quantity="1e300")]}, ["line.quantity"]),
    ({"lines": [line(quantity=True)]}, ["line.quantity"]),
    ({"lines": [line(unit_price="1,234.50")]}, ["line.unit_price"]),
    ({"lines": [line(unit_price="0.00001")]}, ["line.unit_price"]),
    ({"lines": [line(unit_price="999999999999999")]}, ["line.unit_price"]),
    ({"lines": [line(tax_rate="much")]}, ["line.tax_rate"]),
    ({"lines": [line(tax_rate="-0.19")]}, ["line.tax_rate"]),
    ({"lines": [line(description=None)]}, ["line.description"]),
    ({"lines": ["a chair"]}, ["mapping.line"]),
    ({"lines": []}, ["mapping.missing"]),
    ({"lines": [line()] * 501}, ["line.too_many"]),
    ({"lines": [line(quantity="99999999", unit_price="99999999")]}, ["total.too_large"]),
    ({"currency": "EURO"}, ["currency.unknown"]),
    ({"currency": None}, ["mapping.missing"]),
    ({"currency": "GBP"}, ["rate.missing"]),
    ({"total": "a lot"}, ["total.unreadable"]),
    ({"needed_by": "soon"}, ["request.needed_by"]),
    ({"requested_at": "yesterday"}, ["request.requested_at"]),
    ({"supplier_email": "nobody"}, ["supplier.email"]),
    (
        {"lines": [line(quantity="x", unit_price="y")], "total": "z"},
        ["line.quantity", "line.unit_price", "total.unreadable"],
    ),
    # what can be read and does not make sense
    ({"requester": "somebody.else"}, ["requester.unknown"]),
    ({"requester": "admin"}, ["requester.shared"]),
    ({"cost_centre": "9999"}, ["cost_centre.unknown"]),
    ({"category": "yachts"}, ["category.unknown"]),
    ({"category": "tools"}, ["category.not_allowed"]),
    ({"supplier": "S-300"}, ["supplier.blocked"]),
    ({"supplier": "S-400"}, ["supplier.inactive"]),
    ({"supplier": "S-999"}, ["supplier.unknown"]),
    ({"lines": [line(quantity="0")]}, ["line.quantity", "total.zero"]),
    ({"lines": [line(quantity="-1"), line(quantity="5")]}, ["line.quantity"]),
    ({"lines": [line(unit_price="-1"), line(quantity="5")]}, ["line.unit_price"]),
    ({"lines": [line(unit_price="0")]}, ["total.zero"]),
    ({"lines": [line(tax_rate="0.16")]}, ["line.tax_unknown"]),
    ({"lines": [line(description="x" * 501)]}, ["line.too_long"]),
    ({"lines": [line(account="office")]}, ["line.account"]),
    ({"total": "119.02"}, ["total.differs"]),
    ({"needed_by": "2026-11-19"}, ["request.needed_by"]),
    ({"requested_at": "2126-01-01"}, ["request.requested_at"]),
    ({"risk": "terrible"}, ["request.risk"]),
    ({"attachments": ["javascript:alert(1)"]}, ["request.attachment"]),
    ({"justification": "x" * 5001}, ["request.too_long"]),
    (
        {"requester": "nobody.x", "cost_centre": "1", "category": "x"},
        ["category.unknown", "cost_centre.unknown", "requester.unknown"],
    ),
    # nothing that the matrix can be asked about
    ({"cost_centre": "4100", "category": "services"}, ["budget.missing"]),
]  # fmt: skip


def test_bad_input_of_every_kind_is_set_aside_with_its_reasons_and_harms_no_other(engine: Engine) -> None:
    ids = add(engine, request(), *(request(**{"lines": [line()], **change}) for change, _ in BAD))
    run(engine, until="route")
    assert case(engine, ids[0]) == ("running", "approve", None)
    found = {case_id: sorted(codes(engine, case_id)) for case_id in ids[1:]}
    assert found == {case_id: sorted(expected) for case_id, (_, expected) in zip(ids[1:], BAD, strict=True)}
    assert len(rows(engine, "select 1 from purchase_requests")) == len(ids)
    assert_balanced(engine)


def test_every_reason_tells_a_person_what_to_do_without_braces(engine: Engine) -> None:
    add(engine, *(request(**{"lines": [line()], **change}) for change, _ in BAD))
    run(engine, until="check_budget")
    for row in rows(engine, "select reasons from cases where reasons is not null"):
        for reason in row["reasons"]:
            assert "{" not in reason["message"], reason
            assert len(reason["message"]) > 20


def test_totals_are_computed_line_by_line_and_never_by_floats(engine: Engine) -> None:
    lines = [
        line(quantity="3", unit_price="0.335"),
        line(quantity="1", unit_price="0.10", tax_rate="7 %"),
        line(quantity=2, unit_price=0.1, tax_rate=19),
    ]
    (a,) = add(engine, request(lines=lines, total="1.57"))
    run(engine, until="validate")
    found = of(engine, a)
    assert [(row["net"], row["tax"]) for row in rows(engine, "select net, tax from purchase_lines order by line")] == [
        (Decimal("1.01"), Decimal("0.19")),
        (Decimal("0.10"), Decimal("0.01")),
        (Decimal("0.20"), Decimal("0.04")),
    ]
    assert (found["net"], found["tax"], found["gross"]) == (Decimal("1.31"), Decimal("0.24"), Decimal("1.55"))
    assert case(engine, a)[:2] == ("running", "check_budget"), "two cents over three lines are lost to rounding"


def test_another_currency_is_converted_at_the_rate_of_the_day_which_is_kept(engine: Engine) -> None:
    a, b = add(
        engine,
        request(currency="USD", lines=[line(quantity="1", unit_price="1000")]),
        request(currency="jpy", lines=[line(quantity="3", unit_price="999.5", tax_rate="0")]),
    )
    run(engine, until="read_request")
    dollars, yen = of(engine, a), of(engine, b)
    assert (dollars["rate"], dollars["rate_day"], dollars["amount"]) == (
        Decimal("0.8"),
        date(2026, 11, 20),
        Decimal(800),
    )
    assert (yen["net"], yen["rate_day"]) == (Decimal(2999), date(2026, 11, 19)), "the yen has no smaller unit"
    assert dollars["company_currency"] == "EUR"


def test_the_rate_and_the_budget_are_those_of_the_company_s_day(engine: Engine) -> None:
    night, new_year = add(
        engine,
        request(currency="USD", requested_at="2026-11-19T23:30:00Z"),
        request(requested_at="2025-12-31T23:30:00Z"),
    )
    run(engine, until="check_budget")
    assert of(engine, night)["rate_day"] == date(2026, 11, 20)
    assert case(engine, new_year)[:2] == ("running", "route"), "the budgets begin in 2026"


def test_people_categories_and_suppliers_are_found_by_what_people_write(engine: Engine) -> None:
    (a,) = add(
        engine,
        request(
            requester="Anna.Schmidt@nordlicht.example",
            category="Office supplies",
            risk="HIGH",
            attachments="https://a.example/1 https://a.example/2",
        ),
    )
    run(engine, until="validate")
    found = of(engine, a)
    assert (found["requester"], found["category"], found["risk"]) == ("anna.schmidt", "office", "high")
    assert found["attachments"] == ["https://a.example/1", "https://a.example/2"]
    assert (found["supplier_state"], found["supplier_name"]) == ("active", "Łukasz Müller, Škoda s.r.o.")


def test_what_the_erp_says_of_a_supplier_counts_and_not_what_was_typed(engine: Engine) -> None:
    (a,) = add(engine, request(supplier_name="Somebody Else", supplier_email="thief@evil.example"))
    run(engine, until="validate")
    found = of(engine, a)
    assert (found["supplier_name"], found["supplier_email"]) == ("Łukasz Müller, Škoda s.r.o.", "orders@skoda.example")


def test_a_correction_is_laid_over_what_was_sent_and_the_case_goes_on(engine: Engine) -> None:
    (a,) = add(engine, request(lines=[line(quantity="two")], cost_centre="9999"))
    run(engine)
    assert codes(engine, a) == ["line.quantity"]
    store.release(
        engine,
        [a],
        first_step="capture",
        corrections={"lines": [line(quantity="1")], "cost_centre": "4100"},
        actor="user:petra.lang",
    )
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    assert rows(engine, "select quantity from purchase_lines") == [{"quantity": Decimal(1)}]


def test_a_row_of_a_file_is_a_request_of_one_line(engine: Engine) -> None:
    row = {**request(), **{name: str(value) for name, value in LINE.items()}}
    del row["lines"]
    (a,) = add(engine, row, source="purchase-import")
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
