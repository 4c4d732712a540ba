"""The figures on the stock, against movements that were reckoned by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.data.database import authored
from include.reporting.intervals import Period
from include.stock.ledger import Movement, post
from tests.support.reports import at, interval, make, table, totals
from tests.support.values import prepare, value_all
from tests.support.work import change


@pytest.fixture(autouse=True)
def warehouse(engine: Engine) -> None:
    prepare(engine, ("BOLT", "material", "1.00"), ("LAMP", "goods", "40.00"))


def move(
    engine: Engine, item: str, quantity: int, when: datetime, *, cost: str | None = None, lot: str = "", part: str = ""
) -> None:
    """Something comes from a supplier, or goes to a customer where the quantity is below zero."""
    source, destination = ("SUPPLIER", "MAIN") if quantity > 0 else ("MAIN", "CUSTOMER")
    with authored(engine, actor="system:test") as connection:
        movement = Movement(
            key=f"{item}/{when.isoformat()}/{quantity}/{lot}{part}",
            kind="receipt" if quantity > 0 else "issue",
            item=item,
            source=source,
            destination=destination,
            quantity=Decimal(abs(quantity)),
            moved_at=when,
            lot=lot,
            unit_cost=Decimal(cost) if cost else None,
        )
        post(connection, [movement])


def test_value_and_turnover_are_of_the_interval(engine: Engine) -> None:
    move(engine, "BOLT", 100, at(1), cost="2.00")
    move(engine, "LAMP", 10, at(2, 8), cost="30.00")
    move(engine, "BOLT", -40, at(2, 9))
    move(engine, "BOLT", -10, at(3, 9))
    value_all(engine)
    monday = make(engine, "stock")
    assert monday.published, monday.reasons
    told = totals(monday)
    assert [told[name] for name in ("before", "came", "went", "variance", "after")] == [
        "200.00", "300.00", "80.00", "0.00", "420.00",
    ]  # fmt: skip
    assert told["turnover"] == round(80 / 310 * 365, 4)
    assert [(row["item_group"], row["before"], row["after"]) for row in table(monday, "by_group")] == [
        ("goods", "0.00", "300.00"),
        ("material", "200.00", "120.00"),
    ]
    week = make(engine, "stock", interval(period=Period.WEEKLY))
    assert totals(week)["went"] == "100.00"
    assert [row["went"] for row in table(week, "by_day")][:3] == ["80.00", "20.00", "0.00"]


def test_a_movement_that_is_told_late_counts_on_its_day_and_moves_the_values_after_it(engine: Engine) -> None:
    move(engine, "BOLT", 100, at(1), cost="2.00")
    move(engine, "BOLT", -50, at(3))
    value_all(engine)
    monday, tuesday = make(engine, "stock"), make(engine, "stock", interval(at(3).date()))
    move(engine, "BOLT", 100, at(2), cost="4.00")
    refused = make(engine, "stock")
    assert refused.reasons is not None, "what is not valued yet cannot be told"
    assert refused.waits
    assert refused.reasons[0]["message"] == "movements that are not valued yet: 1."
    value_all(engine)
    late, after = make(engine, "stock"), make(engine, "stock", interval(at(3).date()))
    assert (totals(monday)["after"], totals(late)["after"]) == ("200.00", "600.00")
    assert (totals(tuesday)["went"], totals(after)["went"]) == ("100.00", "150.00")
    assert totals(make(engine, "stock", interval(at(4).date())))["came"] == "0.00"


def test_what_ran_out_is_told_with_how_long(engine: Engine) -> None:
    move(engine, "BOLT", 10, at(1))
    move(engine, "BOLT", -10, at(2, 9))
    move(engine, "BOLT", 5, at(2, 12))
    move(engine, "BOLT", -5, at(2, 18))
    move(engine, "LAMP", 3, at(1))
    move(engine, "LAMP", -1, at(2, 9))
    move(engine, "LAMP", -2, at(4))
    value_all(engine)
    monday = make(engine, "stock")
    assert table(monday, "ran_out") == [
        {"item": "BOLT", "location": "MAIN", "times": 2, "seconds": 9 * 3600.0, "quantity": "0"}
    ]
    assert totals(monday)["ran_out"] == 1
    lamp, _still_out = table(make(engine, "stock", interval(at(4).date())), "ran_out")
    assert (lamp["item"], lamp["seconds"]) == ("LAMP", 12 * 3600.0)
    move(engine, "BOLT", 100, at(20))
    value_all(engine)
    assert make(engine, "stock").digest == monday.digest, "what comes later changes nothing"


def test_what_is_still_out_is_told_every_day_until_it_comes(engine: Engine) -> None:
    move(engine, "BOLT", 10, at(1))
    move(engine, "BOLT", -10, at(2, 18))
    move(engine, "BOLT", 5, at(4, 12))
    move(engine, "BOLT", -5, at(4, 18))
    value_all(engine)

    def told(day: int) -> tuple[Any, ...]:
        made = make(engine, "stock", interval(at(day).date()))
        assert made.published, made.reasons
        (bolt,) = table(made, "ran_out")
        first = totals(made)
        return first["ran_out"], first["out_of_stock"], bolt["times"], bolt["seconds"] / 3600, bolt["quantity"]

    assert told(2) == (1, 1, 1, 6, "0")
    assert told(3) == (0, 1, 0, 24, "0")
    assert told(4) == (1, 1, 1, 18, "0")
    change(engine, "update stock_items set active = false where code = 'BOLT'")
    assert told(4) == (1, 1, 1, 18, "0"), "it was in use when it ran out"
    assert table(make(engine, "stock", interval(at(5).date())), "ran_out") == [], "nobody misses it any more"


def test_a_place_that_first_has_something_later_was_not_out_before(engine: Engine) -> None:
    monday = make(engine, "stock")
    move(engine, "BOLT", 10, at(3))
    value_all(engine)
    assert make(engine, "stock").digest == monday.digest
    assert table(make(engine, "stock", interval(at(3).date())), "ran_out") == []


def test_an_item_that_is_out_at_the_change_of_the_clocks_is_out_for_the_whole_day(engine: Engine) -> None:
    move(engine, "BOLT", 10, at(1))
    move(engine, "BOLT", -10, at(28))
    value_all(engine)
    assert [row["seconds"] for row in table(make(engine, "stock", interval(at(29).date())), "ran_out")] == [23 * 3600]


def test_what_moves_at_one_moment_is_one_change(engine: Engine) -> None:
    change(engine, "update stock_items set tracking = 'lot' where code = 'LAMP'")
    change(engine, "insert into stock_lots (item, lot) values ('LAMP', 'A'), ('LAMP', 'B'), ('LAMP', 'C')")
    move(engine, "LAMP", 3, at(1), lot="A")
    move(engine, "LAMP", 2, at(1), lot="B")
    move(engine, "LAMP", -2, at(2, 9), lot="B")
    move(engine, "LAMP", -3, at(2, 9), lot="A")
    move(engine, "LAMP", 4, at(2, 9), lot="C")
    value_all(engine)
    assert table(make(engine, "stock"), "ran_out") == [], "one lot is exchanged for another"
    move(engine, "LAMP", -1, at(2, 15), lot="C")
    move(engine, "LAMP", -3, at(2, 15), lot="C", part="/2")
    value_all(engine)
    assert table(make(engine, "stock"), "ran_out") == [
        {"item": "LAMP", "location": "MAIN", "times": 1, "seconds": 9 * 3600.0, "quantity": "0"}
    ]


def test_exceptions_are_those_of_the_daily_pages(engine: Engine) -> None:
    for day, subjects in ((2, ("A", "B")), (3, ("A",))):
        change(
            engine, "insert into stock_exception_reports (day, found, html) values (:day, :found, '')",
            day=at(day).date(), found=len(subjects),
        )  # fmt: skip
        for subject in subjects:
            change(
                engine,
                """insert into stock_exceptions (day, kind, subject, owner, value, told)
                   values (:day, 'dead_stock', :subject, 'warehouse', 10, 'x')""",
                day=at(day).date(),
                subject=subject,
            )
    (dead,) = table(make(engine, "stock", interval(period=Period.WEEKLY)), "exceptions")
    assert dead == {"kind": "dead stock", "things": 2, "last_day": 1, "worth": "10.00"}


def test_on_a_day_without_a_page_nobody_knows_what_is_out_of_order(engine: Engine) -> None:
    change(engine, "insert into stock_exception_reports (day, found, html) values (:day, 0, '')", day=at(2).date())
    assert totals(make(engine, "stock"))["exceptions"] == 0
    without = make(engine, "stock", interval(at(7).date()))
    assert without.published, without.reasons
    assert totals(without)["exceptions"] is None


def test_what_was_asked_for_and_not_there_is_summed(engine: Engine) -> None:
    change(
        engine,
        """insert into events (at, workflow, kind, actor, detail) values
           (:at, 'stock_request', 'stock short', 'system:test',
            '{"lines": [{"item": "LAMP", "place": "MAIN", "missing": "2.5"}, {"item": "LAMP", "place": "MAIN",
              "missing": "1"}]}')""",
        at=at(2),
    )
    assert table(make(engine, "stock"), "short") == [{"item": "LAMP", "location": "MAIN", "times": 2, "missing": "3.5"}]
    assert table(make(engine, "stock", interval((at(2) + timedelta(days=1)).date())), "short") == []


def test_kept_values_that_are_not_the_sum_of_the_movements_refuse_the_report(engine: Engine) -> None:
    move(engine, "BOLT", 100, at(1), cost="2.00")
    value_all(engine)
    change(engine, "update stock_valuations set value = value + 1 where item = 'BOLT'")
    refused = make(engine, "stock")
    assert refused.reasons is not None
    assert refused.reasons[0]["message"].endswith("expected 201, found 200.")
