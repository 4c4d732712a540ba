"""The daily report finds what is out of order, says who has it, is told once a day, and its page needs nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from include.data.database import authored
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.systems import Mode
from include.monitoring.stock_exceptions import findings
from include.monitoring.stock_exceptions.findings import Finding
from include.stock.warehouse import warehouse as company
from tests.support.stock import prepare, request, stock, work
from tests.support.work import change, rows

TODAY = company().day_of(datetime.now(UTC))


@pytest.fixture(autouse=True)
def warehouse(engine: Engine) -> None:
    prepare(engine)


def found(engine: Engine, kind: str, now: datetime | None = None) -> list[Finding]:
    with engine.connect() as connection:
        return [each for each in findings.find(connection, now) if each.kind == kind]


def days_ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def test_an_orderly_warehouse_has_nothing_to_look_at(engine: Engine) -> None:
    stock(engine, "LAMP", 10, at=days_ago(3))
    with engine.connect() as connection:
        assert findings.find(connection) == []


def test_what_was_asked_for_and_not_there_is_told_with_its_place(engine: Engine) -> None:
    stock(engine, "LAMP", 2)
    case = request(engine, "issue", {"item": "LAMP", "quantity": 5})
    work(engine)
    (attempt,) = found(engine, "negative_attempt")
    assert (attempt.item, attempt.location, attempt.quantity, attempt.case_id) == ("LAMP", "MAIN", Decimal(3), case)
    assert attempt.owner == "lena.hoffmann"


def test_stock_below_zero_is_told_to_the_keeper_at_its_value(engine: Engine) -> None:
    request(engine, "issue", {"item": "LAMP", "quantity": 3}, location="SHOP")
    work(engine)
    (below,) = found(engine, "negative_stock")
    assert (below.owner, below.quantity, below.value) == ("olaf.winter", Decimal(-3), Decimal(-120))


def test_lots_are_told_before_they_expire_and_after(engine: Engine) -> None:
    now = datetime.now(UTC)
    for lot, days in (("soon", 10), ("late", 200), ("gone", -2)):
        expires_on = company().day_of(now) + timedelta(days=days)
        stock(engine, "FLOUR", 5, lot=lot, expires_on=expires_on.isoformat())
    told = {each.subject: each.days for each in found(engine, "expiring_lot", now)}
    assert told == {"FLOUR/MAIN/soon": 10, "FLOUR/MAIN/gone": -2}


def test_a_lot_expires_when_its_day_is_over_at_the_companys_place(engine: Engine) -> None:
    stock(engine, "FLOUR", 5, lot="L1", expires_on="2026-11-21")
    for hour, days, told in ((22, 0, "lot L1 expires 2026-11-21"), (23, -1, "lot L1 expired 2026-11-21")):
        (lot,) = found(engine, "expiring_lot", datetime(2026, 11, 21, hour, 30, tzinfo=UTC))
        assert (lot.days, lot.told) == (days, told)


def test_dead_stock_is_what_nothing_went_out_of(engine: Engine) -> None:
    stock(engine, "LAMP", 10, at=days_ago(400))
    stock(engine, "BOLT-8", 10, at=days_ago(400))
    request(engine, "issue", {"item": "BOLT-8", "quantity": 1})
    work(engine)
    (dead,) = found(engine, "dead_stock")
    assert (dead.item, dead.value, dead.days) == ("LAMP", Decimal(400), 400)


def test_what_is_reserved_past_its_time_is_told(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    case = request(engine, "issue", {"item": "LAMP", "quantity": 1})
    change(
        engine,
        """insert into stock_reservations (case_id, line, item, location, quantity, expires_at)
           values (:case, 1, 'LAMP', 'MAIN', 4, now() - interval '3 days')""",
        case=case,
    )
    (stale,) = found(engine, "stale_reservation")
    assert (stale.case_id, stale.quantity, stale.days) == (case, Decimal(4), 3)


def test_goods_long_under_way_are_told_to_whoever_should_have_them(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    case = request(engine, "transfer", {"item": "LAMP", "quantity": 4}, location=None, from_location="MAIN",
                   to_location="SHOP")  # fmt: skip
    work(engine)
    assert found(engine, "ageing_transit") == []
    change(engine, "update stock_transfers set shipped_at = now() - interval '9 days'")
    (late,) = found(engine, "ageing_transit")
    assert (late.case_id, late.owner, late.quantity, late.days) == (case, "olaf.winter", Decimal(4), 9)


def test_what_moves_without_a_rule_and_what_has_no_cost_are_told(engine: Engine) -> None:
    stock(engine, "MYSTERY", 5)
    request(engine, "issue", {"item": "MYSTERY", "quantity": 1})
    work(engine)
    assert [each.item for each in found(engine, "no_rule")] == ["MYSTERY"]
    assert [(each.item, each.quantity) for each in found(engine, "no_cost")] == [("MYSTERY", Decimal(4))]


def test_the_same_day_twice_renews_the_page_and_tells_once(engine: Engine) -> None:
    stock(engine, "FLOUR", 5, lot="old", expires_on=TODAY.isoformat(), at=days_ago(1))
    for _ in range(2):
        assert findings.report(engine, TODAY, Mode.LIVE) == 1
        assert findings.deliver(engine, ChatLog(engine)) == 0
    assert len(rows(engine, "select * from stock_exceptions")) == 1
    (message,) = rows(engine, "select channel, text, blocks from chat_log")
    assert message["channel"] == "#warehouse"
    assert "1 thing to look at" in message["text"]
    assert "FLOUR" in str(message["blocks"])


def test_a_quiet_day_is_told_too(engine: Engine) -> None:
    assert findings.report(engine, TODAY, Mode.LIVE) == 0
    findings.deliver(engine, ChatLog(engine))
    (message,) = rows(engine, "select text from chat_log")
    assert message["text"].endswith("all in order")


def test_the_page_shows_plots_and_escapes_what_people_wrote(engine: Engine) -> None:
    stock(engine, "FLOUR", 5, lot="<script>alert(1)</script>", expires_on=TODAY.isoformat())
    findings.report(engine, TODAY, Mode.LIVE)
    with authored(engine, actor="system:test") as connection:
        page = findings.page(connection) or ""
        assert findings.page(connection, TODAY - timedelta(days=1)) is None
    assert page.count("<svg ") == 3
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
