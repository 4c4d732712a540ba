"""The demo's stock: every sample request becomes what its note promises."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import Engine

from include.data.database import authored
from include.intake.files import opened
from include.samples import stock as samples
from include.stock.master_data import import_items
from include.stock.warehouse import sync
from tests.support import stock
from tests.support.work import receive, rows


def enter_items(engine: Engine, text: str) -> list[str]:
    with opened(text, None) as lines, authored(engine, actor="user:anna") as connection:
        sync(connection)
        return import_items(connection, lines).told


def bring(engine: Engine, requests: list[samples.StockRequest]) -> dict[int, samples.StockRequest]:
    cases = {}
    for request in requests:
        (case,) = receive(engine, [request.payload], workflow=stock.WORKFLOW, source=request.source)
        cases[case] = request
    stock.work(engine)
    return cases


def standing(engine: Engine, case: int) -> samples.Ends:
    state, stage, outcome = stock.state(engine, case)
    if state == "quarantined":
        return "set_aside"
    if state == "waiting":
        return {"approve": "approval", "receive": "on_the_way", "post": "back_order"}[stage]  # type: ignore[return-value]
    verdicts = {line["verdict"] for line in stock.lines(engine, case)}
    if "back_order" in verdicts:
        return "back_order"
    return "posted" if verdicts == {"posted"} and outcome else "parted"


def test_the_samples_become_what_their_notes_promise(engine: Engine) -> None:
    now = datetime.now(UTC)
    assert enter_items(engine, samples.ITEMS) == []
    opened_with = bring(engine, samples.opening_stock(mailing="t", now=now))
    day = bring(engine, samples.a_day_of_requests(mailing="t", now=now))
    became = {request.name: standing(engine, case) for case, request in {**opened_with, **day}.items()}
    assert became == {request.name: request.ends for request in {**opened_with, **day}.values()}
    assert rows(engine, "select sum(quantity) as sum from stock_balances")[0]["sum"] == 0
    assert rows(engine, "select max(difference) as lost from balance")[0]["lost"] == 0


def test_another_mailing_is_other_requests_and_the_same_one_the_same() -> None:
    now = datetime(2026, 5, 4, 9, tzinfo=UTC)
    first, again, other = (samples.a_day_of_requests(mailing=name, now=now) for name in ("a", "a", "b"))
    assert first == again
    assert not {each.payload["id"] for each in first} & {each.payload["id"] for each in other}
    assert Counter(each.ends for each in first)["set_aside"] >= 5


def test_the_faulty_item_is_told_by_its_line(engine: Engine) -> None:
    (told,) = enter_items(engine, samples.ITEMS + samples.FAULTY_ITEM)
    assert told.startswith("line 16: standard_cost: ")
    assert rows(engine, "select count(*) as n from stock_items")[0]["n"] == 14
