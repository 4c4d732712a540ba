"""The three-way match: what is covered matches, what is not says why, and no quantity appears or gets lost."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.domain.supplier_invoice.matching import (
    Fault,
    InvoiceLine,
    OrderLine,
    Tolerance,
    Verdict,
    match_lines,
)

D = Decimal
TOLERANCES = {"material": Tolerance(price=D("0.03"), quantity=D("0.02")), "tools": Tolerance()}


def ordered(**more: Any) -> OrderLine:
    values = {
        "order": 1,
        "line": 1,
        "category": "material",
        "item": "BOLT-8",
        "description": "Bolts M8",
        "quantity": D(100),
        "unit_price": D("2.50"),
        "most": D(110),
        "received": D(100),
        **more,
    }
    return OrderLine(**values)


def invoiced(**more: Any) -> InvoiceLine:
    values = {
        "case_id": 1,
        "line": 1,
        "order": 1,
        "order_line": 1,
        "item": None,
        "description": None,
        "quantity": D(100),
        "unit_price": D("2.50"),
        **more,
    }
    return InvoiceLine(**values)


def judge(order: OrderLine | list[OrderLine], *lines: InvoiceLine) -> list[Verdict]:
    return match_lines(order if isinstance(order, list) else [order], lines, TOLERANCES)


def faults(order: OrderLine, line: InvoiceLine) -> tuple[Fault, ...]:
    return judge(order, line)[0].faults


def test_what_was_ordered_and_received_matches() -> None:
    (verdict,) = judge(ordered(), invoiced())
    assert (verdict.faults, verdict.matched, verdict.open, verdict.counts) == ((), 100, 0, 100)


@pytest.mark.parametrize(
    ("price", "expected"),
    [("2.575", ()), ("2.5751", (Fault.PRICE,)), ("2.425", ()), ("2.4249", (Fault.PRICE,)), ("0", (Fault.PRICE,))],
)
def test_a_price_may_be_off_by_its_tolerance(price: str, expected: tuple[Fault, ...]) -> None:
    assert faults(ordered(), invoiced(unit_price=D(price))) == expected


def test_without_a_tolerance_a_cent_is_a_difference() -> None:
    exact = ordered(category="tools")
    assert faults(exact, invoiced(unit_price=D("2.51"))) == (Fault.PRICE,)
    assert faults(ordered(category="nobody knows"), invoiced(unit_price=D("2.51"))) == (Fault.PRICE,)


@pytest.mark.parametrize(("quantity", "expected"), [("102", ()), ("102.0001", (Fault.QUANTITY,))])
def test_a_quantity_may_be_over_the_receipt_by_its_tolerance(quantity: str, expected: tuple[Fault, ...]) -> None:
    assert faults(ordered(), invoiced(quantity=D(quantity))) == expected


def test_the_tolerance_is_not_given_anew_for_each_invoice() -> None:
    first, second = judge(ordered(), invoiced(quantity=D(101)), invoiced(case_id=2, quantity=D(2)))
    assert first.good
    assert second.faults == (Fault.QUANTITY,)


def test_an_invoice_before_its_goods_waits() -> None:
    assert faults(ordered(received=D(0)), invoiced()) == (Fault.WAITS,)
    (verdict,) = judge(ordered(received=D(40)), invoiced())
    assert (verdict.faults, verdict.matched) == ((Fault.WAITS,), D("40.8"))


def test_nothing_is_waited_for_that_will_not_come() -> None:
    assert faults(ordered(received=D(40), short_closed=True), invoiced()) == (Fault.QUANTITY,)


def test_goods_that_went_back_are_not_paid() -> None:
    line = ordered(returned=D(30), short_closed=True)
    assert faults(line, invoiced()) == (Fault.QUANTITY,)
    assert faults(line, invoiced(quantity=D(70))) == ()


def test_what_was_invoiced_before_is_not_there_again() -> None:
    assert faults(ordered(invoiced=D(100)), invoiced(quantity=D(5))) == (Fault.QUANTITY,)
    assert faults(ordered(invoiced=D(100), credited=D(5)), invoiced(quantity=D(5))) == ()


def test_a_person_accepts_a_difference_but_nothing_over_the_limit() -> None:
    (price,) = judge(ordered(), invoiced(unit_price=D(3), accepted=True))
    assert (price.good, price.accepted, price.counts, price.word) == (True, True, 100, "accepted: price")
    (quantity,) = judge(ordered(), invoiced(quantity=D(110), accepted=True))
    assert (quantity.good, quantity.counts) == (True, 110)
    (beyond,) = judge(ordered(), invoiced(quantity=D("110.0001"), accepted=True))
    assert (beyond.good, beyond.faults) == (False, (Fault.BEYOND,))
    (early,) = judge(ordered(received=D(0)), invoiced(accepted=True))
    assert not early.good


def test_a_line_that_nobody_ordered_belongs_to_no_line() -> None:
    assert faults(ordered(), invoiced(order_line=2)) == (Fault.UNORDERED,)
    assert faults(ordered(), invoiced(item="NUT-8")) == (Fault.UNORDERED,)
    assert faults(ordered(), invoiced(order_line=None)) == (Fault.UNORDERED,)
    (accepted,) = judge(ordered(), invoiced(order_line=None, description="Freight", accepted=True))
    assert (accepted.good, accepted.counts, accepted.order_line) == (True, 0, None)


def test_a_line_is_found_by_item_or_by_description() -> None:
    assert faults(ordered(), invoiced(order_line=None, item="bolt 8")) == ()
    assert faults(ordered(), invoiced(order_line=None, description="BOLTS  m8")) == ()


def test_of_lines_alike_the_one_that_fits_is_taken() -> None:
    cheap, dear = ordered(quantity=D(10), received=D(10), most=D(11)), ordered(line=2, unit_price=D(5))
    (verdict,) = judge([cheap, dear], invoiced(order_line=None, item="BOLT-8", unit_price=D(5)))
    assert verdict.order_line == dear
    assert verdict.good


def test_an_invoice_counts_as_a_whole_or_not_at_all() -> None:
    verdicts = judge(
        ordered(),
        invoiced(quantity=D(60)),
        invoiced(line=2, quantity=D(5), unit_price=D(9)),
        invoiced(case_id=2, quantity=D(100)),
    )
    assert [verdict.good for verdict in verdicts] == [True, False, True]


def test_lines_of_one_invoice_share_what_was_received() -> None:
    verdicts = judge(ordered(), invoiced(quantity=D(60)), invoiced(line=2, quantity=D(60)))
    assert [verdict.good for verdict in verdicts] == [True, False]


def credited(**more: Any) -> InvoiceLine:
    return invoiced(**{"credit": True, "corrects": True, "quantity": D(10), **more})


def test_a_credit_note_takes_back_what_was_invoiced_and_no_more() -> None:
    line = ordered(invoiced=D(20))
    assert judge(line, credited())[0].counts == 10
    assert faults(line, credited(quantity=D(21))) == (Fault.CREDIT_BEYOND,)
    assert not judge(line, credited(quantity=D(21), accepted=True))[0].good
    assert faults(ordered(invoiced=D(20), credited=D(15)), credited()) == (Fault.CREDIT_BEYOND,)


def test_a_credit_note_needs_an_invoice_or_returned_goods() -> None:
    line = ordered(invoiced=D(20))
    assert faults(line, credited(corrects=False)) == (Fault.UNSUPPORTED,)
    assert faults(ordered(invoiced=D(20), returned=D(10)), credited(corrects=False)) == ()


def test_an_allowance_takes_back_money_and_no_goods() -> None:
    (verdict,) = judge(ordered(invoiced=D(20)), credited(unit_price=D("0.50")))
    assert (verdict.good, verdict.counts, verdict.matched) == (True, 0, 10)


quantities = st.decimals(min_value="0.0001", max_value=200, places=4)
prices = st.sampled_from([D("2.50"), D("2.55"), D("3.00"), D("1.00")])
order_lines = st.lists(
    st.builds(
        lambda quantity, share, back, closed: {
            "quantity": quantity,
            "received": (quantity * share).quantize(D("0.0001")),
            "returned": (quantity * share * back).quantize(D("0.0001")),
            "most": quantity * D("1.1"),
            "short_closed": closed,
        },
        quantities,
        st.decimals(0, 1, places=2),
        st.decimals(0, 1, places=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
invoice_lines = st.lists(
    st.builds(
        lambda case, line, quantity, price, credit, accepted, corrects: {
            "case_id": case,
            "order_line": line,
            "quantity": quantity,
            "unit_price": price,
            "credit": credit,
            "accepted": accepted,
            "corrects": corrects,
        },
        st.integers(1, 6),
        st.integers(1, 4),
        quantities,
        prices,
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=300, deadline=None)
@given(order_lines, invoice_lines)
def test_quantities_are_conserved_and_no_limit_is_passed(orders: list[Any], lines: list[Any]) -> None:
    order = {number: ordered(line=number, **line) for number, line in enumerate(orders, 1)}
    credit = {line["case_id"]: line["credit"] for line in reversed(lines)}
    sent = [invoiced(**{**line, "line": n, "credit": credit[line["case_id"]]}) for n, line in enumerate(lines, 1)]
    verdicts = match_lines(order.values(), sent, TOLERANCES)
    assert sorted((v.case_id, v.line) for v in verdicts) == sorted((line.case_id, line.line) for line in sent)
    by_line = {(line.case_id, line.line): line for line in sent}
    good_cases = {v.case_id for v in verdicts} - {v.case_id for v in verdicts if not v.good}
    taken: dict[int, dict[bool, Decimal]] = {number: defaultdict(Decimal) for number in order}
    for verdict in verdicts:
        line = by_line[verdict.case_id, verdict.line]
        assert verdict.matched + verdict.open == line.quantity
        assert verdict.matched >= 0
        assert verdict.open >= 0
        assert 0 <= verdict.counts <= line.quantity
        assert not verdict.good or verdict.open == 0
        if verdict.case_id in good_cases and verdict.order_line is not None:
            taken[verdict.order_line.line][line.credit] += verdict.counts
            invoiced_so_far = taken[verdict.order_line.line][False]
            credited_so_far = taken[verdict.order_line.line][True]
            assert credited_so_far <= invoiced_so_far
            assert invoiced_so_far - credited_so_far <= verdict.order_line.most
            if not verdict.accepted and not line.credit and not any(each.accepted for each in sent):
                covered = verdict.order_line.there * (1 + TOLERANCES["material"].quantity)
                assert invoiced_so_far - credited_so_far <= covered
