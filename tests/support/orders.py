"""Puts purchase orders where receipts and invoices find them, and takes what comes in through its steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.data.money import round_to
from include.domain import budgets
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode
from tests.support.work import receive, rows

LINE: dict[str, Any] = {
    "item": "BOLT-8",
    "description": "Bolts M8",
    "quantity": 10,
    "unit": "pcs",
    "unit_price": "2.50",
    "tax_rate": "0.19",
    "account": "3000",
}
OVER_DELIVERY = Decimal("0.10")
_numbers = itertools.count(1)
_runs = itertools.count(1)


class Order(NamedTuple):
    """An order: the case of its purchase, and its number."""

    id: int
    number: str


def add_order(engine: Engine, *lines: Mapping[str, Any], state: str = "waiting", **more: Any) -> Order:
    """Add an order whose purchase waits for its goods, in Waybill and in the built-in ERP.

    :param lines: what differs from LINE; `most` is a tenth over the quantity by default. One LINE when there are none.
    """
    (case,) = receive(engine, workflow="purchase_approval", source="purchase-portal", stage="receive")
    values = {
        "case_id": case,
        "number": f"PO-2026-{next(_numbers):06}",
        "supplier": "acme",
        "supplier_name": "Acme GmbH",
        "currency": "EUR",
        "net": 0,
        "tax": 0,
        "rate": 1,
        "cost_centre": "6300",
        "category": "material",
        "requester": "lena.hoffmann",
        "digest": "0" * 64,
        **more,
    }
    documents = [{"line": number, **LINE, **line} for number, line in enumerate(lines or [{}], 1)]
    with authored(engine, actor="system:test") as connection:
        names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        connection.execute(text(f"insert into purchase_orders ({names}) values ({places})"), values)
        for line in documents:
            row = {"order_id": case, "most": Decimal(str(line["quantity"])) * (1 + OVER_DELIVERY), **line}
            names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
            connection.execute(text(f"insert into purchase_order_lines ({names}) values ({places})"), row)
        net = sum(Decimal(str(line["quantity"])) * Decimal(str(line["unit_price"])) for line in documents)
        budget = connection.execute(
            text("""
                insert into budgets (cost_centre, category, starts, ends, amount, currency)
                values (:cost_centre, :category, '2026-01-01', '2026-12-31', 100000, 'EUR')
                on conflict (cost_centre, category, starts) do update set amount = budgets.amount returning id"""),
            {"cost_centre": values["cost_centre"], "category": values["category"]},
        ).scalar_one()
        budgets.commit(connection, case, budget, round_to(net * Decimal(values["rate"]), "EUR"), may_exceed=True)
        connection.execute(
            text("update cases set state = :state, owner = :owner where id = :id"),
            {"state": state, "owner": values["requester"], "id": case},
        )
        connection.execute(
            text("insert into erp_suppliers (key) values (:key) on conflict do nothing"), {"key": values["supplier"]}
        )
        connection.execute(
            text("""
                insert into erp_purchase_orders (key, number, supplier, document)
                values (:key, :key, :supplier, :document)"""),
            {
                "key": values["number"],
                "supplier": values["supplier"],
                "document": Jsonb({"lines": [{"line": line["line"]} for line in documents]}),
            },
        )
    return Order(case, str(values["number"]))


def counts(engine: Engine, order: Order, line: int = 1) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return what is received, returned, invoiced and credited of a line."""
    (row,) = rows(
        engine,
        "select received, returned, invoiced, credited from purchase_order_lines where order_id = :id and line = :line",
        id=order.id,
        line=line,
    )
    return row["received"], row["returned"], row["invoiced"], row["credited"]


def receipt(engine: Engine, order: Order | str, /, *lines: Mapping[str, Any], **more: Any) -> int:
    """Receive a goods receipt; without lines, ten of the first line."""
    body = {
        "order": order.number if isinstance(order, Order) else order,
        "lines": [dict(line) for line in lines] or [{"order_line": 1, "quantity": 10}],
        **more,
    }
    return receive(engine, [body], workflow="goods_receipt", source="warehouse")[0]


def invoice(engine: Engine, order: Order | None, /, *lines: Mapping[str, Any], **more: Any) -> int:
    """Receive a supplier's invoice; without lines, ten of the first line at the ordered price."""
    body = {
        "number": f"R-{next(_numbers)}",
        "supplier": "acme",
        "order": order.number if order else None,
        "currency": "EUR",
        "invoice_date": "2026-11-20",
        "lines": [dict(invoiced(**line)) for line in lines] or [invoiced()],
        **more,
    }
    return receive(engine, [body], workflow="supplier_invoice", source="invoices")[0]


def invoiced(**more: Any) -> dict[str, Any]:
    """A line of an invoice."""
    return {"order_line": 1, "quantity": 10, "unit_price": "2.50", "tax_rate": "0.19", **more}


def claim(engine: Engine, workflow: str) -> Position | None:
    """Claim all that is pending of a workflow, for a new run."""
    steps, run_id = contract(workflow).step_ids, f"run-{next(_runs)}"
    claimed = store.claim(engine, workflow=workflow, steps=steps, run_id=run_id, limit=50_000)
    return Position(workflow, steps, steps[1], claimed.id, run_id) if claimed else None


def take(engine: Engine, position: Position, step: str, provider: Any = None) -> None:
    """Run one step of a claim."""
    here = Position(position.workflow, position.steps, step, position.claim_id, position.run_id)
    kind, function = _steps(position.workflow)[step]
    if kind == "effects":
        run_effect_step(engine, here, function, provider or BuiltinErp(engine), system="erp", mode=Mode.LIVE)
    else:
        run_step(engine, here, function)


def work(engine: Engine, workflow: str, *, until: str = "") -> None:
    """Take all that is pending through the steps, up to and with `until`."""
    position = claim(engine, workflow)
    for step in position.steps[1:] if position else ():
        take(engine, position, step)  # type: ignore[arg-type]
        if step == until:
            break


def _steps(workflow: str) -> dict[str, tuple[str, Callable[..., Any]]]:
    if workflow == "goods_receipt":
        from include.domain.goods_receipt import hand_over, post_receipt, read_receipt, record_receipt

        return {
            "read_receipt": ("rule", read_receipt.read_receipt),
            "check_receipt": ("rule", record_receipt.check_receipt),
            "record_receipt": ("rule", record_receipt.record_receipt),
            "post_receipt": ("effects", post_receipt.plan_post_receipt),
            "hand_over": ("rule", hand_over.hand_over_receipts),
            "log": ("rule", post_receipt.log),
        }
    from include.domain.supplier_invoice import book, find_order, match, read_invoice

    return {
        "read_invoice": ("rule", read_invoice.read_invoice),
        "find_order": ("rule", find_order.find_order),
        "match": ("rule", match.match),
        "book": ("effects", book.plan_book),
        "log": ("rule", book.log),
    }


def state(engine: Engine, case: int) -> tuple[str, str | None]:
    """Return a case's state, and its outcome, its first reason, or whom it waits for."""
    (row,) = rows(engine, "select state, outcome, reasons, owner from cases where id = :id", id=case)
    told = row["outcome"] or (row["reasons"][0]["code"] if row["reasons"] else None)
    return row["state"], told or (row["owner"] if row["state"] == "waiting" else None)


def release(engine: Engine, case: int, **corrections: Any) -> None:
    """Release a case that is set aside, as a person does."""
    stage = rows(engine, "select workflow from cases where id = :id", id=case)[0]["workflow"]
    first = contract(stage).first_stage
    done = store.release(engine, [case], first_step=first, actor="user:jonas.braun", corrections=corrections or None)
    assert done == 1


def reasons(engine: Engine, case: int) -> Sequence[str]:
    """Return the codes for which a case is set aside."""
    (row,) = rows(engine, "select reasons from cases where id = :id", id=case)
    return [reason["code"] for reason in row["reasons"] or ()]
