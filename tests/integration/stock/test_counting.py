"""A count is compared with the stock at its own moment, whatever moved since, and whatever is posted late."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from include.data.database import authored
from include.stock.abc import abc_classes, classify
from include.stock.counting import Count, differences_of_count, overtaken, record_counts, settle_counts
from include.stock.ledger import Movement, Place, on_hand_at, post
from tests.support.stock import prepare, stock
from tests.support.work import change, receive, rows

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _bolts(engine: Engine) -> None:
    prepare(engine)
    stock(engine, "BOLT-8", 100)


def _move(engine: Engine, quantity: int, at: datetime, to: str = "CUSTOMER", *, item: str = "BOLT-8") -> None:
    """Let some leave MAIN; with a negative quantity it comes back."""
    source, destination = ("MAIN", to) if quantity > 0 else (to, "MAIN")
    movement = Movement(f"test/{next(_numbers)}", "issue", item, source, destination, abs(Decimal(quantity)), at)
    with authored(engine, actor="system:test") as connection:
        post(connection, [movement])


def _count(case: int, counted: object, at: datetime = NOON, line: int = 1, **more: str) -> Count:
    place = {"item": "BOLT-8", "location": "MAIN", **more}
    return Count(case_id=case, line=line, counted=Decimal(str(counted)), counted_at=at, **place)  # type: ignore[arg-type]


def _difference(engine: Engine, *counts: Count) -> list[Decimal]:
    with engine.connect() as connection:
        return [difference.quantity for difference in differences_of_count(connection, counts)]


def _settle(engine: Engine, *counts: Count) -> None:
    """Record counts and post their differences, as a posting would."""
    with authored(engine, actor="system:test") as connection:
        found = differences_of_count(connection, counts)
        record_counts(connection, {count.case_id for count in counts}, found)
        for difference in found:
            if difference.quantity:
                count, up = difference.count, difference.quantity > 0
                source, destination = ("ADJUSTMENT", count.location) if up else (count.location, "ADJUSTMENT")
                key = f"count/{count.case_id}/{count.line}"
                quantity = abs(difference.quantity)
                moved = Movement(
                    key, "count", count.item, source, destination, quantity, count.counted_at, lot=count.lot
                )
                post(connection, [moved])
        settle_counts(connection, {count.case_id for count in counts})


def _on_hand(engine: Engine) -> Decimal:
    [row] = rows(engine, "select quantity from stock_balances where item = 'BOLT-8' and location = 'MAIN'")
    return Decimal(row["quantity"])


def test_what_was_sold_after_the_count_is_no_difference(engine: Engine) -> None:
    _move(engine, 10, NOON - HOUR)
    _move(engine, 7, NOON + HOUR)
    assert _difference(engine, _count(1, 90)) == [0]
    assert _difference(engine, _count(1, 88)) == [-2]
    assert _difference(engine, _count(1, 95)) == [5]
    assert _on_hand(engine) == 83


def test_what_moved_at_the_very_moment_had_moved(engine: Engine) -> None:
    _move(engine, 10, NOON)
    assert _difference(engine, _count(1, 90)) == [0]
    with engine.connect() as connection:
        place = Place("BOLT-8", "MAIN")
        assert on_hand_at(connection, [place], NOON) == {place: 90}


def test_a_back_dated_movement_before_the_posting_changes_the_difference(engine: Engine) -> None:
    assert _difference(engine, _count(1, 92)) == [-8]
    _move(engine, 8, NOON - 5 * HOUR)
    assert _difference(engine, _count(1, 92)) == [0]


def test_the_books_say_what_was_found_after_later_sales(engine: Engine) -> None:
    (case,) = receive(engine, workflow="stock_request", source="stock-form")
    _move(engine, 20, NOON + HOUR)
    _settle(engine, _count(case, 97))
    assert _on_hand(engine) == 77
    with engine.connect() as connection:
        assert on_hand_at(connection, [Place("BOLT-8", "MAIN")], NOON) == {Place("BOLT-8", "MAIN"): 97}


def test_a_recount_counts_from_what_the_first_count_left(engine: Engine) -> None:
    first, second = receive(engine, 2, workflow="stock_request", source="stock-form")
    _settle(engine, _count(first, 97))
    _settle(engine, _count(second, 97, NOON + HOUR))
    assert _on_hand(engine) == 97
    assert [row["difference"] for row in rows(engine, "select difference from stock_counts order by case_id")] == [
        -3,
        0,
    ]


def test_an_older_count_adds_nothing_to_a_newer_one(engine: Engine) -> None:
    older, newer = receive(engine, 2, workflow="stock_request", source="stock-form")
    _settle(engine, _count(newer, 97, NOON + HOUR))
    with engine.connect() as connection:
        [difference] = differences_of_count(connection, [_count(older, 97)])
    assert difference.superseded
    _settle(engine, _count(older, 97))
    assert _on_hand(engine) == 97


def test_lots_and_places_are_counted_apart(engine: Engine) -> None:
    stock(engine, "FLOUR", "12.5", lot="L1")
    stock(engine, "FLOUR", 3, lot="L2")
    stock(engine, "BOLT-8", 5, "SHOP")
    counts = [
        _count(1, "12.25", line=1, item="FLOUR", lot="L1"),
        _count(1, 3, line=2, item="FLOUR", lot="L2"),
        _count(1, 6, line=3, location="SHOP"),
        _count(1, 4, line=4, item="LAMP"),
    ]
    assert _difference(engine, *counts) == [Decimal("-0.25"), 0, 1, 4]


def test_what_was_counted_before_anything_came_is_compared_with_nothing(engine: Engine) -> None:
    assert _difference(engine, _count(1, 0, datetime(2025, 12, 1, tzinfo=UTC))) == [0]


def test_a_settled_count_stays(engine: Engine) -> None:
    (case,) = receive(engine, workflow="stock_request", source="stock-form")
    _settle(engine, _count(case, 97))
    with authored(engine, actor="system:test") as connection:
        record_counts(connection, [case], [])
    assert len(rows(engine, "select 1 from stock_counts")) == 1
    with pytest.raises(DBAPIError, match="count again"):
        change(engine, "update stock_counts set counted = 1")


def test_what_is_corrected_before_it_is_settled_replaces_what_was_said(engine: Engine) -> None:
    (case,) = receive(engine, workflow="stock_request", source="stock-form")
    with authored(engine, actor="system:test") as connection:
        both = [_count(case, 97), _count(case, 4, line=2, item="LAMP")]
        record_counts(connection, [case], differences_of_count(connection, both))
        record_counts(connection, [case], differences_of_count(connection, [_count(case, 98)]))
    assert [(row["line"], row["counted"]) for row in rows(engine, "select line, counted from stock_counts")] == [
        (1, 98)
    ]


def test_a_movement_dated_before_a_settled_count_is_told(engine: Engine) -> None:
    first, second = receive(engine, 2, workflow="stock_request", source="stock-form")
    _settle(engine, _count(first, 97))
    with engine.connect() as connection:
        assert overtaken(connection, NOON - HOUR) == []
    _move(engine, 5, NOON + HOUR)
    _move(engine, 2, NOON - HOUR)
    with engine.connect() as connection:
        [told] = overtaken(connection, NOON - HOUR)
    assert (told.item, told.location, told.quantity) == ("BOLT-8", "MAIN", -2)
    _settle(engine, _count(second, 90, NOON + 2 * HOUR))
    with engine.connect() as connection:
        assert overtaken(connection, NOON - HOUR) == []


def test_the_items_with_most_of_the_consumption_are_a(engine: Engine) -> None:
    """LAMP 40 each, BOLT-8 0.50: what came back is taken off, what was only moved or adjusted does not count."""
    stock(engine, "LAMP", 50)
    stock(engine, "SOLVENT", 100)
    stock(engine, "VACCINE", 60, "COLD")
    _move(engine, 25, NOON, item="LAMP")
    _move(engine, -5, NOON, item="LAMP")
    _move(engine, 20, NOON, to="CONSUMPTION", item="SOLVENT")
    _move(engine, 40, NOON)
    with authored(engine, actor="system:test") as connection:
        moved = Movement("adjusted", "adjustment", "VACCINE", "COLD", "ADJUSTMENT", Decimal(50), NOON)
        post(connection, [moved])
        found = abc_classes(connection, NOON - HOUR, NOON + HOUR)
    # 800 of 1,000 by the lamp, 980 with the solvent
    assert {item: found[item] for item in ("LAMP", "SOLVENT", "BOLT-8", "VACCINE", "MYSTERY")} == {
        "LAMP": "A", "SOLVENT": "B", "BOLT-8": "C", "VACCINE": "C", "MYSTERY": "C",
    }  # fmt: skip
    assert "OLD-1" not in found


def test_an_older_month_does_not_undo_a_later_one(engine: Engine) -> None:
    _move(engine, 40, NOON)
    year = timedelta(days=365)
    april, march = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    with authored(engine, actor="system:test") as connection:
        assert classify(connection, april - year, april) == 3  # the bolts up, and the lamp and the saw down
        assert classify(connection, april - year, april) == 0
        assert classify(connection, march - year, march) is None
    assert rows(engine, "select code from stock_items where abc = 'A'") == [{"code": "BOLT-8"}]
