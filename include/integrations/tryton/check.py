"""Looks at whether a Tryton database has what Waybill needs: modules, rights, accounts, taxes, a fiscal year.

It reads and changes nothing; what is missing is said so that whoever looks after Tryton can add it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from include.integrations.tryton.client import Refused, TrytonClient
from include.integrations.tryton.records import Records, Settings, Unmapped

MODELS = {
    "party.party": ("party", "read", "write", "create"),
    "product.template": ("product", "read", "create"),
    "purchase.purchase": ("purchase", "read", "write", "create", "delete"),
    "stock.shipment.in": ("stock", "read", "write", "create"),
    "stock.shipment.in.return": ("stock", "read", "write", "create"),
    "stock.shipment.internal": ("stock", "read", "write", "create"),
    "stock.shipment.out": ("stock", "read", "write", "create"),
    "stock.shipment.out.return": ("stock", "read", "write", "create"),
    "account.invoice": ("account_invoice", "read", "write", "create", "delete"),
}
"""Model -> the module that brings it, and what Waybill's user must be allowed to do with it."""


def missing(
    client: TrytonClient,
    settings: Settings,
    *,
    accounts: Iterable[str],
    rates: Iterable[Decimal],
    today: date,
    locations: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return what is missing, as sentences; empty when Waybill can work.

    :param accounts: the numbers that lines are posted to.
    :param rates: the tax rates of lines.
    :param locations: code -> kind of the places that stock moves between.
    :raises SystemTrouble: when Tryton cannot be asked.
    """
    if lacking := _modules_and_rights(client):
        return lacking
    records = Records(client, settings)
    checks: list[Callable[[], object]] = [
        lambda: records.company,
        records.place,
        records.journal,
        records.payable,
        lambda: records.unit(None),
        *(lambda code=code: records.account(code) for code in accounts),
        *(lambda rate=rate: records.tax(rate) for rate in rates),
        *(lambda one=one: records.location({"code": one[0], "kind": one[1]}) for one in locations.items()),
        lambda: _fiscal_year(client, records, today),
    ]
    found: list[str] = []
    for check in checks:
        try:
            check()
        except Unmapped as error:
            found.append(str(error))
    return found


def _modules_and_rights(client: TrytonClient) -> list[str]:
    found: list[str] = []
    for model, (module, *rights) in MODELS.items():
        try:
            access = client.call("model.ir.model.access.get_access", [model], repeatable=True)[model]
        except Refused:
            found.append(f"the module {module} is not activated")
            continue
        if lacking := [right for right in rights if not access.get(right)]:
            found.append(f"Waybill's user may not {', '.join(lacking)} {model}: put it into {module}'s group")
    return found


def _fiscal_year(client: TrytonClient, records: Records, today: date) -> None:
    years = client.search_read(
        "account.fiscalyear",
        [("company", "=", records.company), ("start_date", "<=", today), ("end_date", ">=", today),
         ("state", "=", "open")],
        ["invoice_sequences"],
    )  # fmt: skip
    if not years:
        raise Unmapped(f"no fiscal year is open on {today}")
    if not years[0]["invoice_sequences"]:
        raise Unmapped("the fiscal year has no sequences of invoices")
