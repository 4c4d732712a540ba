"""What is promised to a case is taken by nobody else, until the case lets go of it or ends."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from include.data.database import authored
from include.stock.ledger import NotPostable, Place, on_hand
from include.stock.reservations import Promise, Reservation, release, reservations_of, reserve, stale
from tests.support.ledger import AUTHOR, NOON, arrives, assert_sound, do, leaves, prepare
from tests.support.work import change, receive

NUTS = Place("NUT", "MAIN")


@pytest.fixture
def engine(engine: Engine) -> Engine:
    prepare(engine)
    do(engine, arrives("NUT", 10))
    return engine


def promise(engine: Engine, case: int, quantity: int, line: int = 1, place: Place = NUTS) -> int:
    with authored(engine, actor=AUTHOR) as connection:
        return reserve(connection, case, [Promise(line, place, Decimal(quantity))], NOON)


def free(engine: Engine) -> Decimal:
    with engine.connect() as connection:
        return on_hand(connection, [NUTS])[NUTS].available


def test_what_is_reserved_is_neither_reserved_nor_sold_again(engine: Engine) -> None:
    one, other = receive(engine, 2, workflow="stock_request")
    assert promise(engine, one, 7) == 1
    assert free(engine) == 3
    for attempt in (lambda: promise(engine, other, 4), lambda: do(engine, leaves("NUT", 4))):
        with pytest.raises(NotPostable, match="not enough of NUT at MAIN") as raised:
            attempt()
        assert raised.value.code == "stock.short"
    assert promise(engine, other, 3) == 1
    assert_sound(engine)


def test_a_step_that_runs_again_reserves_once(engine: Engine) -> None:
    (case,) = receive(engine, 1, workflow="stock_request")
    assert [promise(engine, case, 7), promise(engine, case, 7), promise(engine, case, 2, line=2)] == [1, 0, 1]
    assert free(engine) == 1
    with engine.connect() as connection:
        assert reservations_of(connection, [case]) == [
            Reservation(case, 1, NUTS, Decimal(7), NOON),
            Reservation(case, 2, NUTS, Decimal(2), NOON),
        ]


def test_what_is_released_can_be_taken(engine: Engine) -> None:
    one, other = receive(engine, 2, workflow="stock_request")
    promise(engine, one, 7)
    promise(engine, other, 3)
    with authored(engine, actor=AUTHOR) as connection:
        assert release(connection, [one]) == 1
        assert release(connection, [one]) == 0
    assert free(engine) == 7
    do(engine, leaves("NUT", 7))
    assert_sound(engine)


@pytest.mark.parametrize("state", ["finished", "rejected"])
def test_a_case_that_ends_reserves_nothing(engine: Engine, state: str) -> None:
    (case,) = receive(engine, 1, workflow="stock_request")
    promise(engine, case, 7)
    change(
        engine,
        "update cases set state = :state, outcome = 'done', closed_at = now() where id = :case",
        case=case,
        state=state,
    )
    assert free(engine) == 10
    assert_sound(engine)


def test_a_reservation_that_ran_out_is_named_and_still_holds(engine: Engine) -> None:
    (case,) = receive(engine, 1, workflow="stock_request")
    promise(engine, case, 7)
    with engine.connect() as connection:
        assert stale(connection, NOON) == []
        assert [each.case_id for each in stale(connection, NOON + timedelta(seconds=1))] == [case]
    assert free(engine) == 3


def test_nothing_is_promised_where_the_item_or_the_place_is_unknown(engine: Engine) -> None:
    (case,) = receive(engine, 1, workflow="stock_request")
    with pytest.raises(NotPostable) as raised:
        promise(engine, case, 1, place=Place("NUT", "NOWHERE"))
    assert raised.value.code == "movement.unfit"
