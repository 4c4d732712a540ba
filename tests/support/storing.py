"""A warehouse in a running Waybill: items, requests as scanners send them, and what is where."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from include.data.database import authored
from include.stock.items import upsert_items
from include.stock.warehouse import sync
from tests.support.office import Office
from tests.support.stack import Waybill
from tests.support.stock import ITEMS, WORKFLOW

WORKFLOWS = (WORKFLOW, "stock_count", "stock_difference", "replenishment")


class Storing(Office):
    """What warehouse people and their systems do."""

    def __init__(self, waybill: Waybill) -> None:
        super().__init__(waybill, "stock_decision")

    def prepare(self) -> None:
        """Enter places and items; again changes nothing."""
        with authored(self.waybill.engine, actor="system:test") as connection:
            sync(connection)
            upsert_items(connection, ITEMS)

    def body(self, kind: str, item: str, quantity: Any, location: str | None = "MAIN", **fields: Any) -> dict[str, Any]:
        """Return a request of one line, as a scanner sends it."""
        line = {"item": item, "quantity": str(quantity)}
        body = {
            "kind": kind,
            "requester": "lena.hoffmann",
            "location": location,
            "reason": "as agreed",
            "lines": [line | {name: fields.pop(name) for name in ("lot", "unit", "unit_cost") if name in fields}],
            **fields,
        }
        return {name: value for name, value in body.items() if value is not None}

    def request(self, kind: str, item: str, quantity: Any, location: str | None = "MAIN", **fields: Any) -> int:
        """Send a request of one line; return its case."""
        return self.take_in(self.body(kind, item, quantity, location, **fields), "stock-requests")

    def ends(self, case_id: int, seconds: float = 90) -> str:
        """Wait until a case is closed; return its outcome."""
        self.waybill.wait_until(lambda: self.case(case_id)["state"] in ("finished", "rejected"), seconds)
        return str(self.case(case_id)["outcome"])

    def on_hand(self, item: str, location: str = "MAIN") -> Decimal:
        """What is there of an item."""
        return Decimal(
            self.waybill.one(
                "select coalesce(sum(quantity), 0) from stock_balances where item = :item and location = :location",
                item=item,
                location=location,
            )
        )

    def settle(self, seconds: float = 120) -> None:
        """Wait until no case of the warehouse is in progress."""
        self.waybill.wait_until(lambda: all(self.waybill.settled(workflow) for workflow in WORKFLOWS), seconds)

    def assert_true(self) -> None:
        """Fail when the ledger does not agree with itself, something was created or lost, or a case was."""
        waybill = self.waybill
        assert not waybill.rows("select item from stock_balances group by item having sum(quantity) <> 0")
        assert not waybill.rows("select 1 from stock_balances where quantity < reserved and not negative")
        assert not waybill.rows("""
            select * from stock_rebuilt r full join stock_balances b using (item, location, lot)
            where coalesce(r.quantity, 0) <> coalesce(b.quantity, 0)""")
        waybill.assert_balanced()
