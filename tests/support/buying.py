"""Purchases in a running Waybill: requests go in as webhooks, and people answer as they do in Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from tests.support.office import Office
from tests.support.stack import Waybill

SUPPLIERS: dict[str, dict[str, Any]] = {
    "S-100": {"name": "Papierhaus Łukasz Nowak", "email": "orders@papierhaus.example", "orders_by_mail": True},
    "S-200": {"name": "Rechenwerk AG", "email": "sales@rechenwerk.example"},
    "S-300": {"name": "Gesperrt GmbH", "blocked": True},
}  # fmt: skip
BUDGETS = (("4100", "office", 50_000), ("4100", "marketing", 500_000), ("5200", "hardware", 400_000),
           ("5200", "software", 100_000), ("6300", "material", 80_000))  # fmt: skip
DECISIONS = "purchase_decision"


class Buying(Office):
    """What buyers, approvers, the warehouse and suppliers do."""

    def __init__(self, waybill: Waybill) -> None:
        super().__init__(waybill, DECISIONS)

    def prepare(self, amount: int | None = None) -> None:
        """Enter suppliers and this year's budgets; again changes nothing.

        :param amount: of every budget, instead of the usual ones.
        """
        with self.waybill.engine.begin() as connection:
            connection.execute(
                text("insert into erp_suppliers (key, record) values (:key, :record) on conflict do nothing"),
                [
                    {"key": key, "record": Jsonb({"active": True, "currency": "EUR", "country": "DE", **record})}
                    for key, record in SUPPLIERS.items()
                ],
            )
            connection.execute(
                text("""
                    insert into budgets (cost_centre, category, starts, ends, amount, currency)
                    values (:cost_centre, :category, date_trunc('year', now()),
                            date_trunc('year', now()) + interval '1 year' - interval '1 day', :amount, 'EUR')
                    on conflict do nothing"""),
                [{"cost_centre": c, "category": k, "amount": amount or a} for c, k, a in BUDGETS],
            )

    def supplier(self) -> str:
        """Enter a supplier of whom nobody has bought yet: requests to one supplier are added up."""
        with self.waybill.engine.begin() as connection:
            return str(
                connection.execute(
                    text("""
                        insert into erp_suppliers (key, record)
                        select 'T-' || count(*), :record from erp_suppliers returning key"""),
                    {"record": Jsonb({"active": True, "currency": "EUR", "country": "DE", **SUPPLIERS["S-100"]})},
                ).scalar_one()
            )

    def body(self, price: str = "1200.00", quantity: str = "1", **fields: Any) -> dict[str, Any]:
        """Return a request of Anna Schmidt's for office supplies, as her portal sends it."""
        line = {
            "description": "Office chair",
            "quantity": quantity,
            "unit": "piece",
            "unit_price": price,
            "tax_rate": "0.19",
        }
        return {
            "requester": "anna.schmidt",
            "cost_centre": "4100",
            "category": "office",
            "supplier": self.supplier(),
            "currency": "EUR",
            "justification": "the old ones are worn out",
            "lines": [line],
        } | fields

    def request(self, price: str = "1200.00", quantity: str = "1", **fields: Any) -> int:
        """Send a request; return its case."""
        return self.take_in(self.body(price, quantity, **fields), "purchase-portal")

    def requests(self, **asked: Mapping[str, Any]) -> dict[str, int]:
        """Send requests at the same time, which pass the steps together; return their cases by name."""
        return dict(
            zip(asked, self.take_all([self.body(**one) for one in asked.values()], "purchase-portal"), strict=True)
        )

    def receive(self, order: str, quantity: str, **fields: Any) -> int:
        """Report a delivery of the order's first line; return its case."""
        body = {"order": order, "kind": "delivery", "received_by": "lena.hoffmann",
                "lines": [{"order_line": 1, "quantity": quantity}]} | fields  # fmt: skip
        return self.take_in(body, "warehouse")

    def invoice(self, order: str, number: str, quantity: str, price: str, **fields: Any) -> int:
        """Send a supplier's invoice of the order's first line; return its case."""
        line = {"order_line": 1, "quantity": quantity, "unit_price": price, "tax_rate": "0.19"}
        body = {
            "order": order,
            "number": number,
            "supplier": self.waybill.one("select supplier from purchase_orders where number = :order", order=order),
            "kind": "invoice",
            "currency": "EUR",
            "invoice_date": str(self.waybill.one("select current_date")),
            "lines": [line],
        } | fields
        return self.take_in(body, "invoices")

    def order(self, case_id: int) -> str:
        """Return the number of a case's order."""
        return str(self.waybill.one("select number from purchase_orders where case_id = :id", id=case_id))

    def settle(self, seconds: float = 120) -> None:
        """Wait until no case of purchasing is in progress."""
        workflows = ("purchase_approval", "goods_receipt", "supplier_invoice")
        self.waybill.wait_until(lambda: all(self.waybill.settled(workflow) for workflow in workflows), seconds)
