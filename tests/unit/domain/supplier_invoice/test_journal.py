"""The journal of a document balances to the cent, whatever its currency, and a credit note is its mirror."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.data.money import round_to
from include.domain.purchasing import purchasing
from include.domain.supplier_invoice.journal import BookedLine, Booking, Entry, NoTaxAccount, entries

D = Decimal


def line(net: str, tax: str, rate: str = "0.19", account: str = "3000", cost_centre: str = "6300") -> BookedLine:
    return BookedLine(account, cost_centre, D(rate), D(net), D(tax))


def book(*lines: BookedLine, credit_note: bool = False, currency: str = "EUR", rate: str = "1") -> list[Entry]:
    return entries(Booking(credit_note, currency, D(rate), lines), purchasing())


def told(posted: list[Entry]) -> list[tuple[str, Decimal, Decimal, str | None, str | None]]:
    return [(e.account, e.debit, e.credit, e.cost_centre, e.tax_code) for e in posted]


def test_an_invoice_is_expense_and_input_tax_against_what_is_owed() -> None:
    posted = book(line("100", "19"), line("50", "3.50", rate="0.07", account="4930"))
    assert told(posted) == [
        ("3000", D(100), D(0), "6300", "V19"),
        ("4930", D(50), D(0), "6300", "V7"),
        ("1571", D("3.50"), D(0), None, "V7"),
        ("1576", D(19), D(0), None, "V19"),
        ("1600", D(0), D("172.50"), None, None),
    ]


def test_a_credit_note_is_the_same_on_the_other_side() -> None:
    lines = (line("100", "19"), line("33.33", "6.33"))
    forth, back = (
        book(*lines, rate="0.9137", currency="USD"),
        book(*lines, credit_note=True, rate="0.9137", currency="USD"),
    )
    assert [(e.account, e.debit, e.credit) for e in forth] == [(e.account, e.credit, e.debit) for e in back]


def test_what_conversion_leaves_over_is_on_the_largest_line() -> None:
    posted = book(line("0.10", "0.02"), line("10.03", "1.91"), line("0.10", "0.02"), currency="USD", rate="0.85")
    assert posted[-1].credit == round_to(D("12.18") * D("0.85"), "EUR")
    assert sum(e.amount for e in posted) == 0
    assert posted[1].amount != round_to(D("10.03") * D("0.85"), "EUR")


def test_nothing_owed_is_no_entry() -> None:
    assert book(line("0", "0")) == []
    assert book(line("0", "0"), line("5", "0", rate="0"))[0].amount == 5


def test_a_tax_rate_without_an_account_is_told() -> None:
    with pytest.raises(NoTaxAccount, match=r"0\.25"):
        book(line("1", "0.25", rate="0.25"))


amounts = st.decimals(min_value="-50", max_value="5000", places=2)
booked = st.builds(
    BookedLine,
    st.sampled_from(["3000", "4930"]),
    st.sampled_from(["6300", "4100"]),
    st.sampled_from([D("0.19"), D("0.07"), D("0")]),
    amounts,
    st.decimals(min_value="0", max_value="900", places=2),
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(booked, min_size=1, max_size=12),
    st.booleans(),
    st.decimals(min_value="0.0001", max_value="150", places=10),
)
def test_the_journal_always_balances(lines: list[BookedLine], credit_note: bool, rate: Decimal) -> None:
    posted = entries(Booking(credit_note, "USD", rate, lines), purchasing())
    assert sum(e.debit for e in posted) == sum(e.credit for e in posted)
    assert sum(e.document_amount for e in posted) == 0
    for entry in posted:
        assert (entry.debit == 0) != (entry.credit == 0)
        assert entry.amount == round_to(entry.amount, "EUR")
