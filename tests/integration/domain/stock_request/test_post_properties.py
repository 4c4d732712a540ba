"""Whatever is asked for, in whatever batches: nothing goes below zero, nothing is posted twice or lost from sight.

The step `post` alone, over requests written as the steps before leave them; what it should come to is reckoned here.
"""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any, NamedTuple

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.stock_request.kinds import kinds
from include.domain.stock_request.post import post
from include.stock.check import differences
from include.stock.items import Item
from include.stock.warehouse import virtual
from tests.support.stock import WORKFLOW, claim, prepare
from tests.support.work import assert_balanced, receive, rows

_worlds = itertools.count(1)
LOTS = {"": None, "L1": "2031-01-01", "L2": "2032-01-01"}


class Asked(NamedTuple):
    """A request: its kind, and item (0: without lots, 1: with) and quantity of each line."""

    kind: str
    lines: list[tuple[int, int]]


line = st.tuples(st.integers(0, 1), st.integers(1, 9))
few = st.lists(line, min_size=1, max_size=3)
signed = st.tuples(st.just(0), st.integers(-6, 6).filter(bool))
asked = st.one_of(
    st.builds(Asked, st.sampled_from(["issue", "issue", "consumption", "write_off", "transfer"]), few),
    st.builds(Asked, st.sampled_from(["receipt", "receipt", "return"]), few),
    st.builds(Asked, st.just("adjustment"), st.lists(signed, min_size=1, max_size=3)),
)
batches = st.lists(st.lists(asked, min_size=1, max_size=5), min_size=1, max_size=5)


class World:
    """Two items of their own, so that many examples share a database."""

    def __init__(self, engine: Engine) -> None:
        number = next(_worlds)
        self.engine = engine
        self.items = (f"W{number}-PLAIN", f"W{number}-LOTS")
        prepare(
            engine,
            Item(self.items[0], "Plain", "material", "pcs"),
            Item(self.items[1], "With lots", "material", "pcs", tracking="lot"),
        )
        self.lots = itertools.cycle(["L1", "L2"])
        self.cases: list[int] = []

    def write(self, case: int, kind: str, lines: list[tuple[str, int, str]]) -> None:
        """Write a request as it stands before `post`, with its case there."""
        rules = kinds()[kind]
        ends = [{"internal": "MAIN"}.get(place) or virtual(place) for place in (rules.source, rules.destination)]
        if kind == "transfer":
            ends[1] = "SHOP"
        with authored(self.engine, actor="system:test") as connection:
            connection.execute(
                text("""
                    insert into stock_requests (case_id, number, source, kind, origin, destination, occurred_at,
                                                approved_by)
                    select c.id, 'N-' || c.id, d.source, :kind, :origin, :destination, now(), 'rule:test'
                    from cases c join deliveries d on d.id = c.delivery_id where c.id = :id"""),
                {"id": case, "kind": kind, "origin": ends[0], "destination": ends[1]},
            )
            for number, (item, quantity, lot) in enumerate(lines, 1):
                connection.execute(
                    text("""
                        insert into stock_request_lines (case_id, line, item, quantity, lot, expires_on)
                        values (:id, :line, :item, :quantity, :lot, :expires_on)"""),
                    {"id": case, "line": number, "item": item, "quantity": quantity, "lot": lot,
                     "expires_on": LOTS[lot]},
                )  # fmt: skip
            connection.execute(text("update cases set stage = 'post' where id = :id"), {"id": case})
        self.cases.append(case)

    def ask(self, wanted: Asked) -> None:
        """Write a new request; goods with lots come with one, and are asked for without."""
        (case,) = receive(self.engine, [{}], workflow=WORKFLOW, source="stock-requests")
        comes = kinds()[wanted.kind].source != "internal"
        lines = [
            (self.items[item], quantity, next(self.lots) if comes and item else "") for item, quantity in wanted.lines
        ]
        self.write(case, wanted.kind, lines)

    def read_back_orders(self) -> None:
        """Take what was handed over to where it is posted, as the steps before do."""
        found = rows(
            self.engine,
            """select c.id, d.body from cases c join deliveries d on d.id = c.delivery_id
               where d.source = 'stock-back-order' and c.stage = 'capture'""",
        )
        for row in found:
            body = orjson.loads(row["body"])
            lines = [(line["item"], int(line["quantity"]), line["lot"] or "") for line in body["lines"]]
            self.write(row["id"], body["kind"], lines)

    def post(self) -> None:
        """Post whatever is pending, until nothing is."""
        for _ in range(50):
            self.read_back_orders()
            position = claim(self.engine)
            if position is None:
                return
            run_step(self.engine, Position(WORKFLOW, contract(WORKFLOW).step_ids, "post", position.claim_id, "r"), post)
        raise AssertionError("it never comes to rest: somebody is woken for nothing")

    def lines(self) -> list[dict[str, Any]]:
        """Every line with its case and what moved for it."""
        return rows(
            self.engine,
            """select c.id, c.state, c.parent_id, r.kind, r.origin, r.posted_at is not null as done, l.line, l.item,
                      abs(l.quantity) as asked, l.posted, l.verdict,
                      coalesce((select sum(m.quantity) from stock_movements m
                                where m.case_id = c.id and m.line = l.line), 0) as moved
               from cases c join stock_requests r on r.case_id = c.id join stock_request_lines l using (case_id)
               where c.id = any(:cases) order by c.id, l.line""",
            cases=self.cases,
        )

    def available(self, item: str) -> Decimal:
        """What is at MAIN and free."""
        (found,) = rows(
            self.engine,
            "select coalesce(sum(quantity - reserved), 0) as n from stock_balances"
            " where item = :item and location = 'MAIN'",
            item=item,
        )
        return Decimal(found["n"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=batches)
def test_whatever_is_asked_for_moves_once_and_nobody_waits_for_what_is_there(
    engine: Engine, batches: list[list[Asked]]
) -> None:
    world = World(engine)
    for batch in batches:
        for wanted in batch:
            world.ask(wanted)
        world.post()
        assert_balanced(engine)
        with engine.connect() as connection:
            assert differences(connection) == []
        below = "select * from stock_balances where quantity < reserved and not negative"
        assert rows(engine, below) == []
        by_case = {case: list(its) for case, its in itertools.groupby(world.lines(), lambda row: row["id"])}
        for its in by_case.values():
            policy = kinds()[its[0]["kind"]].shortage
            for row in its:
                assert row["posted"] == row["moved"] <= row["asked"]
                if row["state"] == "waiting":
                    assert (policy, row["verdict"], row["moved"]) == ("back_order", "back_order", 0)
                    assert world.available(row["item"]) == 0
                elif row["state"] == "quarantined":
                    assert (policy, row["moved"], row["done"]) == ("exception", 0, False)
                elif policy == "exception":
                    assert row["moved"] == row["asked"]
                elif row["moved"] < row["asked"]:
                    assert row["verdict"] == ("short" if policy == "partial" else "back_order")
            _handed_over(its, by_case)


def _handed_over(its: list[dict[str, Any]], by_case: dict[int, list[dict[str, Any]]]) -> None:
    """What a back-ordered request did not get is asked for by the one that it handed over, and by nobody else."""
    if kinds()[its[0]["kind"]].shortage != "back_order" or not its[0]["done"]:
        return
    children = [rest for rest in by_case.values() if rest[0]["parent_id"] == its[0]["id"]]
    missing = [row["asked"] - row["moved"] for row in its if row["moved"] < row["asked"]]
    assert [[row["asked"] for row in rest] for rest in children] == ([missing] if missing else [])
