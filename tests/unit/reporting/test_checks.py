"""What a report must be like to be published, and what is said where it is not."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from include.reporting.catalogue import REPORTS, readers
from include.reporting.checks import WAITS, faults
from include.reporting.figures import Read
from include.reporting.model import Column, Figure, Kind, Report, Sum, kept, shown

TOTALS = Figure("totals", "In short", (Column("leads", "Leads"),), "")
BY_SOURCE = Figure(
    "by_source",
    "By source",
    (
        Column("source", "Source", Kind.TEXT),
        Column("leads", "Leads"),
        Column("share", "Won", Kind.SHARE, optional=True),
        Column("amount", "Amount", Kind.MONEY, signed=True),
    ),
    "",
)
REPORT = Report("test", "Test", (TOTALS, BY_SOURCE), sums=(Sum("leads", ("totals", "leads"), ("by_source", "leads")),))


def found(*rows: list[Any], total: int = 3, controls: Any = ()) -> Read:
    return Read({"totals": [[total]], "by_source": list(rows)}, list(controls))


GOOD = (["fair", 1, None, "-2.00"], ["website", 2, 1.0, "5.10"])


def said(read: Read) -> list[tuple[str, str]]:
    return [(reason.code, reason.message) for reason in faults(REPORT, read)]


def test_what_is_not_ready_is_said_first_and_is_no_fault_of_the_figures() -> None:
    read = replace(found(*GOOD, controls=[("x", Decimal(1), Decimal(2))]), waits=[("orders", 2), ("others", 0)])
    assert [code for code, _ in said(read)] == [WAITS, "report.disagrees"]
    assert said(read)[0] == (WAITS, "orders: 2.")


def test_a_report_that_hangs_together_is_published() -> None:
    assert said(found(*GOOD)) == []
    assert said(found(total=0)) == [], "a day without anything is a day too"
    assert said(found(*GOOD, controls=[("x", Decimal("1.00"), Decimal(1))])) == []


@pytest.mark.parametrize(
    ("rows", "code", "message"),
    [
        (
            (["fair", 5, None, "0.00"], ["web", -2, None, "0.00"]),
            "impossible",
            "By source, row 2: Leads cannot be -2.0.",
        ),
        ((["fair", 3, 1.5, "0.00"],), "impossible", "By source, row 1: Won cannot be 1.5."),
        ((["fair", 3, None, None],), "missing", "By source, row 1: Amount is missing."),
        ((["fair", 2, None, "0.00"],), "disagrees", "leads: expected 3, found 2."),
    ],
)
def test_what_cannot_be_is_refused_and_its_place_named(rows: Any, code: str, message: str) -> None:
    assert said(found(*rows)) == [(f"report.{code}", message)]


def test_a_row_that_is_there_twice_refuses_the_report() -> None:
    assert [code for code, _ in said(found(["fair", 1, None, "0"], ["fair", 2, None, "0"]))] == ["report.twice"] * 2


def test_a_control_that_does_not_hold_and_totals_that_are_missing_refuse_it() -> None:
    assert said(found(*GOOD, controls=[("books", Decimal("10.50"), Decimal("10.49"))])) == [
        ("report.disagrees", "books: expected 10.5, found 10.49.")
    ]
    assert ("report.totals", "There are 0 rows of totals, not one.") in said(Read({"totals": [], "by_source": []}, []))


@pytest.mark.parametrize("report", REPORTS.values(), ids=lambda report: report.name)
def test_each_report_is_complete(report: Report) -> None:
    assert report.figures[0].name == "totals"
    for figure in report.figures:
        if figure.plot:
            for name in (figure.plot.by, *figure.plot.values):
                figure.column(name)
    for pair in report.sums:
        for name, column in (pair.one, pair.other):
            report.figure(name).column(column)
    assert readers()[report.name].mail, "somebody reads it"


def test_values_are_kept_exactly_and_shown_for_people() -> None:
    money, share = Column("m", "M", Kind.MONEY), Column("s", "S", Kind.SHARE)
    assert kept(money, Decimal("1234.5")) == "1234.50"
    assert shown(money, "1234.50") == "1,234.50"
    assert (kept(share, Decimal("0.33333")), shown(share, 0.3333), shown(share, None)) == (0.3333, "33.3 %", "–")
    assert [shown(Column("t", "T", Kind.SECONDS), value) for value in (12.0, 90.0, 5400.0, 200000.0)] == [
        "12 s",
        "1.5 min",
        "1.5 h",
        "2.3 d",
    ]
    quantity = Column("q", "Q", Kind.QUANTITY)
    assert [kept(quantity, Decimal(value)) for value in ("5.000000", "100", "0.25")] == ["5", "100", "0.25"]
