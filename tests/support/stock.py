"""Items, locations and opening stock; stock requests as the intake would receive them, and the steps run over them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.approvals import rounds
from include.approvals.decisions import decide
from include.cases import store
from include.cases.model import Step
from include.cases.steps import Position, Tally, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.stock_request.approve import approve
from include.domain.stock_request.log import log
from include.domain.stock_request.post import post as post_request
from include.domain.stock_request.read_request import read_request
from include.domain.stock_request.receive import receive as receive_transfer
from include.domain.stock_request.reserve import reserve
from include.domain.stock_request.route import route
from include.domain.stock_request.update_erp import plan_update_erp
from include.domain.stock_request.validate import validate
from include.domain.stock_request.value import value
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode, Provider
from include.stock.items import Item, upsert_items
from include.stock.ledger import Movement, post
from include.stock.warehouse import FILE, VARIABLE, sync
from tests.support.work import receive, rows

WORKFLOW = "stock_request"
OPENED = datetime(2026, 1, 2, 8, 0, tzinfo=UTC)
"""When opening stock came."""
FIRST_AND_LAST = ("Pacific/Kiritimati", "Etc/GMT+12")
"""The first place to see a day, and the last: at every hour one of them has another date than UTC."""
RULES: dict[str, Step] = {
    "read_request": read_request,
    "validate": validate,
    "route": route,
    "reserve": reserve,
    "approve": approve,
    "post": post_request,
    "value": value,
    "receive": receive_transfer,
    "log": log,
}
ITEMS = (
    Item("BOLT-8", "Bolts M8", "material", "pcs", standard_cost=Decimal("0.50"), units={"box": Fraction(100)}),
    Item("LAMP", "Desk lamp", "goods", "pcs", standard_cost=Decimal("40"), abc="A", volume=Decimal("0.02")),
    Item("FLOUR", "Flour", "goods", "kg", decimals=3, tracking="lot", standard_cost=Decimal("1.20")),
    Item("SAW", "Saw", "spares", "pcs", tracking="serial", standard_cost=Decimal("250"), abc="A"),
    Item("SOLVENT", "Solvent", "material", "l", decimals=3, hazard="flammable", standard_cost=Decimal("9")),
    Item("VACCINE", "Vaccine", "goods", "pcs", temperature="cold", volume=Decimal("0.5"), standard_cost=Decimal("80")),
    Item("OLD-1", "Gone", "goods", "pcs", active=False, standard_cost=Decimal("1")),
    Item("CREAM", "Cream", "material", "l", decimals=3, tracking="lot", expires=True, standard_cost=Decimal("4")),
    Item("MYSTERY", "Nobody knows the price", "goods", "pcs"),
)
"""One of each sort."""
_runs = itertools.count(1)
_opening = itertools.count(1)


def move_company(zone: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the company's days and months begin by the clocks of another time zone."""
    declared = FILE.read_text(encoding="utf-8")
    (folder / "warehouse.yaml").write_text(declared.replace("Europe/Berlin", zone), encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(folder / "warehouse.yaml"))


def prepare(engine: Engine, *items: Item) -> None:
    """Make the locations of warehouse.yaml and the items; ITEMS where none are named."""
    with authored(engine, actor="system:test") as connection:
        sync(connection)
        upsert_items(connection, items or ITEMS)


def stock(
    engine: Engine,
    item: str,
    quantity: object,
    location: str = "MAIN",
    *,
    lot: str = "",
    expires_on: str | None = None,
    unit_cost: object = None,
    at: datetime = OPENED,
) -> None:
    """Let a supplier have delivered some of an item."""
    with authored(engine, actor="system:test") as connection:
        if lot:
            connection.execute(
                text(
                    "insert into stock_lots (item, lot, expires_on) values (:item, :lot, :day) on conflict do nothing"
                ),
                {"item": item, "lot": lot, "day": expires_on},
            )
        cost = None if unit_cost is None else Decimal(str(unit_cost))
        movement = Movement(
            f"opening/{next(_opening)}",
            "receipt",
            item,
            "SUPPLIER",
            location,
            Decimal(str(quantity)),
            at,
            lot=lot,
            unit_cost=cost,
        )
        post(connection, [movement])


def document(kind: str | None, *lines: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A request's body. The requester is lena.hoffmann, the place MAIN, the reason said, unless told otherwise.

    :param lines: one of five BOLT-8 where there are none.
    :param more: further fields; `from` and `to` are written `from_location` and `to_location`. None leaves out.
    """
    body: dict[str, Any] = {
        "kind": kind,
        "requester": "lena.hoffmann",
        "location": "MAIN",
        "reason": "stock test",
        "lines": [dict(line) for line in lines] or [{"item": "BOLT-8", "quantity": 5}],
        **more,
    }
    return {name: value for name, value in body.items() if value is not None}


def request(
    engine: Engine, kind: str | None, *lines: Mapping[str, Any], source: str = "stock-requests", **more: Any
) -> int:
    """Receive one request as `document` writes it, and return its case."""
    return receive(engine, [document(kind, *lines, **more)], workflow=WORKFLOW, source=source)[0]


def claim(engine: Engine) -> Position | None:
    """Claim all that is pending, for a new run."""
    steps, run_id = contract(WORKFLOW).step_ids, f"stock-run-{next(_runs)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id, limit=50_000)
    return Position(WORKFLOW, steps, steps[1], claimed.id, run_id) if claimed else None


def take(engine: Engine, position: Position, step: str, erp: Provider | None = None) -> Tally:
    """Run one step of a claim."""
    here = Position(position.workflow, position.steps, step, position.claim_id, position.run_id)
    if step in RULES:
        return run_step(engine, here, RULES[step])
    return run_effect_step(engine, here, plan_update_erp, erp or BuiltinErp(engine), system="erp", mode=Mode.LIVE)


def work(engine: Engine, *, until: str | None = None, erp: Provider | None = None) -> dict[str, Tally]:
    """Take all that is pending through the steps, the last one being `until`."""
    position = claim(engine)
    tallies: dict[str, Tally] = {}
    for step in position.steps[1:] if position else ():
        tallies[step] = take(engine, position, step, erp)  # type: ignore[arg-type]
        if step == until:
            break
    return tallies


def answer(engine: Engine, case_id: int, person: str, what: str = "approve") -> None:
    """Decide on the open round of a case as somebody, and let the case look at it."""
    with authored(engine, actor=f"user:{person}") as connection:
        standing = rounds.latest(connection, [case_id])[case_id]
        decision = decide(
            connection,
            round_id=standing.id,
            person_id=person,
            account=person,
            answer=what,
            comment="because" if what != "approve" else None,
            route="airflow",
        )
        if decision.round_closed:
            rounds.conclude(connection, standing.id)


def approved(engine: Engine, case_id: int) -> list[str]:
    """Let everybody who is asked about a case approve it, and return who they were."""
    asked: list[str] = []
    for _ in range(20):
        with engine.connect() as connection:
            standing = rounds.latest(connection, [case_id])[case_id]
        if not standing.is_open:
            return asked
        asked.append(standing.waits_for[0])
        answer(engine, case_id, asked[-1])
    raise AssertionError("the round does not end")


def of(engine: Engine, case_id: int, what: str = "*") -> dict[str, Any]:
    """The request of a case."""
    (found,) = rows(engine, f"select {what} from stock_requests where case_id = :id", id=case_id)
    return found


def lines(engine: Engine, case_id: int, what: str = "*") -> list[dict[str, Any]]:
    """The lines of a case, in order."""
    return rows(engine, f"select {what} from stock_request_lines where case_id = :id order by line", id=case_id)


def state(engine: Engine, case_id: int) -> tuple[str, str, str | None]:
    """State, stage and outcome of a case."""
    (found,) = rows(engine, "select state, stage, outcome from cases where id = :id", id=case_id)
    return found["state"], found["stage"], found["outcome"]


def reasons(engine: Engine, case_id: int) -> list[str]:
    """The codes for which a case is set aside."""
    (found,) = rows(engine, "select reasons from cases where id = :id", id=case_id)
    return [reason["code"] for reason in found["reasons"] or ()]


def release(engine: Engine, case_id: int, actor: str = "user:lena.hoffmann", **corrections: Any) -> None:
    """Release a case that is set aside, as a person does."""
    done = store.release(engine, [case_id], first_step="capture", actor=actor, corrections=corrections or None)
    assert done == 1


def on_hand(engine: Engine, item: str, location: str = "MAIN", lot: str | None = None) -> Decimal:
    """What is there of an item; of all lots where none is named."""
    (found,) = rows(
        engine,
        """select coalesce(sum(quantity), 0) as quantity from stock_balances
           where item = :item and location = :location and (cast(:lot as text) is null or lot = :lot)""",
        item=item,
        location=location,
        lot=lot,
    )
    return Decimal(found["quantity"])
