"""Sets up a new Tryton database for the company of purchasing.yaml: accounts, taxes, fiscal years, Waybill's user.

A company that has Tryton already does this by hand; docs/erp.md says what Waybill needs of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pycountry
from pydantic import SecretStr

from include.domain.purchasing import Purchasing
from include.integrations.tryton.client import TrytonClient
from include.integrations.tryton.records import OUTSIDE

CURRENCIES = {**dict.fromkeys(("EUR", "USD", "GBP", "CHF", "PLN", "CZK", "DKK", "SEK", "NOK"), 2), "JPY": 0}
"""Digits of each currency's smallest unit; rates are for the company to enter."""
GROUPS = (
    ("party", "group_party_admin"),
    ("product", "group_product_admin"),
    ("purchase", "group_purchase"),
    ("stock", "group_stock"),
    ("stock", "group_stock_force_assignment"),
    ("account", "group_account"),
)
"""What Waybill's user may do, as module and external id of the group."""
LANGUAGES = ("en", "de", "fr", "es")


def set_up(
    admin: TrytonClient,
    purchasing: Purchasing,
    places: Mapping[str, tuple[str, str]],
    *,
    login: str,
    password: SecretStr,
    today: date,
) -> None:
    """Make a company that is ready to buy and to keep stock, and a user of Waybill's own. Once, on a new database.

    :param places: code -> title and kind of the places that stock moves between.
    """
    _countries(admin)
    currencies = _currencies(admin)
    company = _company(admin, purchasing, currencies)
    _accounts(admin, purchasing, company)
    _fiscal_years(admin, company, range(today.year - 1, today.year + 2))
    _locations(admin, places)
    groups = [_xml_id(admin, module, name) for module, name in GROUPS]
    admin.create(
        "res.user",
        {
            "name": "Waybill",
            "login": login,
            "password": password.get_secret_value(),
            "groups": [("add", groups)],
            "companies": [("add", [company])],
            "company": company,
        },
    )


def _countries(admin: TrytonClient) -> None:
    records = [
        {"name": country.name, "code": country.alpha_2, "code3": country.alpha_3, "code_numeric": country.numeric}
        for country in pycountry.countries
    ]
    admin.call("model.country.country.create", records)


def _currencies(admin: TrytonClient) -> dict[str, int]:
    found: dict[str, int] = {}
    for code, digits in CURRENCIES.items():
        known = pycountry.currencies.get(alpha_3=code)
        assert known, code  # noqa: S101 - a code of ours
        values: dict[str, Any] = {
            "name": known.name,
            "code": code,
            "numeric_code": known.numeric,
            "symbol": code,
            "digits": digits,
            "rounding": Decimal(1).scaleb(-digits),
        }
        if code == "EUR":
            values["rates"] = [("create", [{"date": date(2000, 1, 1), "rate": Decimal(1)}])]
        found[code] = admin.create("currency.currency", values)
    return found


def _company(admin: TrytonClient, purchasing: Purchasing, currencies: dict[str, int]) -> int:
    company = purchasing.company
    party = admin.create(
        "party.party",
        {"name": company.name, "code": "COMPANY", "addresses": [("create", [_address(admin, company.country)])]},
    )
    made = admin.create("company.company", {"party": party, "currency": currencies[company.currency]})
    (me,) = admin.search_read("res.user", [("login", "=", "admin")], ["id"])
    admin.write("res.user", [me["id"]], {"companies": [("add", [made])], "company": made})
    admin.forget()
    return made


def _address(admin: TrytonClient, country: str) -> dict[str, Any]:
    (found,) = admin.search_read("country.country", [("code", "=", country)], ["id"])
    return {"country": found["id"]}


def _accounts(admin: TrytonClient, purchasing: Purchasing, company: int) -> None:
    """Make the accounts of purchasing.yaml under a chart of four types, and its taxes."""
    types = {
        name: admin.create("account.account.type", {"name": name, "company": company, **flags})
        for name, flags in {
            "Payables": {"statement": "balance", "payable": True},
            "Receivables": {"statement": "balance", "assets": True, "receivable": True},
            "Input tax": {"statement": "balance", "assets": True},
            "Purchases": {"statement": "income", "expense": True},
        }.items()
    }
    codes = sorted({category.account for category in purchasing.categories.values()} | {purchasing.suspense_account})
    accounts = {code: _account(admin, company, code, f"Purchases {code}", types["Purchases"]) for code in codes}
    payable = _account(
        admin, company, purchasing.payable_account, "Payables", types["Payables"], reconcile=True, party_required=True
    )
    receivable = _account(
        admin, company, "1400", "Receivables", types["Receivables"], reconcile=True, party_required=True
    )
    for rate, tax in purchasing.taxes.items():
        if tax.account not in accounts:
            accounts[tax.account] = _account(admin, company, tax.account, f"Input tax {tax.code}", types["Input tax"])
        admin.create(
            "account.tax",
            {
                "name": tax.code,
                "description": f"{tax.code} {Decimal(rate) * 100:f} %",
                "company": company,
                "type": "percentage",
                "rate": Decimal(rate),
                "invoice_account": accounts[tax.account],
                "credit_note_account": accounts[tax.account],
            },
        )
    (configuration,) = admin.search_read("account.configuration", [], ["id"]) or [{"id": 1}]
    admin.write(
        "account.configuration",
        [configuration["id"]],
        {"default_account_payable": payable, "default_account_receivable": receivable},
    )


def _account(admin: TrytonClient, company: int, code: str, name: str, kind: int, **flags: bool) -> int:
    return admin.create("account.account", {"code": code, "name": name, "company": company, "type": kind, **flags})


def _fiscal_years(admin: TrytonClient, company: int, years: Iterable[int]) -> None:
    kinds = {
        name: _xml_id(admin, module, f"sequence_type_{xml}")
        for name, module, xml in (
            ("move", "account", "account_move"),
            ("invoice", "account_invoice", "account_invoice"),
        )
    }
    for year in years:
        sequences = [
            admin.create(
                "ir.sequence.strict",
                {"name": f"{name} {year}", "sequence_type": kinds[kind], "company": company, "prefix": prefix},
            )
            for name, kind, prefix in (
                ("Moves", "move", f"{year}-"),
                ("Supplier invoices", "invoice", f"ER-{year}-"),
                ("Supplier credit notes", "invoice", f"EG-{year}-"),
                ("Invoices", "invoice", f"AR-{year}-"),
                ("Credit notes", "invoice", f"AG-{year}-"),
            )
        ]
        fiscal_year = admin.create(
            "account.fiscalyear",
            {
                "name": str(year),
                "company": company,
                "start_date": date(year, 1, 1),
                "end_date": date(year, 12, 31),
                "move_sequence": sequences[0],
                "invoice_sequences": [
                    (
                        "create",
                        [
                            {
                                "company": company,
                                "in_invoice_sequence": sequences[1],
                                "in_credit_note_sequence": sequences[2],
                                "out_invoice_sequence": sequences[3],
                                "out_credit_note_sequence": sequences[4],
                            }
                        ],
                    )
                ],
            },
        )
        admin.button("account.fiscalyear", "create_period", [fiscal_year])


def _locations(admin: TrytonClient, places: Mapping[str, tuple[str, str]]) -> None:
    """Make the places of the warehouse, what is under way outside of it, and value goods by their average."""
    (warehouse,) = admin.search_read("stock.location", [("type", "=", "warehouse")], ["storage_location"])
    for code, (title, kind) in places.items():
        values: dict[str, Any] = {"code": code, "name": title, "type": "storage"}
        if kind == "internal":
            values["parent"] = warehouse["storage_location"]
        elif kind != "transit":
            values["type"] = OUTSIDE[kind]
        admin.create("stock.location", values)
    (configuration,) = admin.search_read("product.configuration", [], ["id"]) or [{"id": 1}]
    admin.write("product.configuration", [configuration["id"]], {"default_cost_price_method": "average"})


def _xml_id(admin: TrytonClient, module: str, name: str) -> int:
    return int(admin.call("model.ir.model.data.get_id", module, name, repeatable=True))
