"""What a purchase request must be like to be put before anybody: the reviewed rules of the step `validate`.

`critical` sets a request aside, `warning` only leaves an event. A possible duplicate is neither: its approvers see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.approvals.people import people
from include.data import money
from include.data.validation.runner import meta
from include.domain.purchasing import purchasing

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

CLOCKS_DIFFER = timedelta(days=1)
RISKS = ("low", "medium", "high")
LONGEST = {
    "supplier": 100,
    "supplier_name": 200,
    "department": 100,
    "justification": 5_000,
}  # characters
MOST_ATTACHMENTS = 20
LONGEST_DESCRIPTION = 500  # characters, of a line


def observed(requests: pd.DataFrame, lines: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return the frame that the suite looks at: the requests, and a column of yes or no for each rule.

    :param requests: columns of `purchase_requests`.
    :param lines: columns of `purchase_lines`, of these requests.
    :param now: a moment with a zone.
    """
    frame = requests.reset_index(drop=True)
    known, who = purchasing(), people()
    of_case = {case_id: group.to_dict("records") for case_id, group in lines.groupby("case_id")}
    rows: list[dict[Any, Any]] = frame.to_dict("records")

    def column(rule: Any) -> pd.Series[Any]:
        return pd.Series([rule(row) for row in rows], dtype=object)

    def person(row: dict[str, Any]) -> Any:
        return who.by_id.get(row["requester"])

    def lines_of(row: dict[str, Any]) -> list[dict[Any, Any]]:
        return of_case.get(row["case_id"], [])

    frame["requester_is_known"] = column(lambda row: person(row) is not None)
    frame["requester_is_one_person"] = column(lambda row: person(row) is None or not person(row).shared)
    frame["requester_is_here"] = column(lambda row: person(row) is None or person(row).active)
    frame["cost_centre_is_known"] = column(lambda row: row["cost_centre"] in known.cost_centres)
    frame["category_is_known"] = column(lambda row: row["category"] in known.categories)
    frame["category_fits"] = column(
        lambda row: (
            row["cost_centre"] not in known.cost_centres
            or row["category"] not in known.categories
            or row["category"] in known.cost_centres[row["cost_centre"]].categories
        )
    )
    frame["categories_there"] = column(
        lambda row: ", ".join(centre.categories) if (centre := known.cost_centres.get(row["cost_centre"])) else ""
    )
    frame["supplier_is_named"] = column(lambda row: row["supplier"] is not None)
    frame["supplier_can_be_added"] = column(lambda row: row["supplier_state"] != "new" or bool(row["supplier_name"]))
    frame["supplier_is_looked_up"] = column(lambda row: row["supplier"] is None or row["supplier_state"] is not None)
    frame["supplier_is_active"] = column(lambda row: row["supplier_state"] != "inactive")
    frame["supplier_is_not_blocked"] = column(lambda row: row["supplier_state"] != "blocked")
    frame["has_lines"] = column(lambda row: bool(lines_of(row)))
    for name, rule in {
        "quantities": lambda line: line["quantity"] > 0,
        "prices": lambda line: line["unit_price"] >= 0,
        "taxes": lambda line: known.tax(line["tax_rate"]) is not None,
        "descriptions": lambda line: len(line["description"]) <= LONGEST_DESCRIPTION,
        "accounts": lambda line: line["account"] is None or line["account"].isdigit(),
    }.items():
        frame[f"wrong_{name}"] = column(lambda row, holds=rule: _numbers(lines_of(row), holds))
    frame["costs_something"] = column(lambda row: not lines_of(row) or row["net"] > 0)
    frame["total_adds_up"] = column(lambda row: adds_up(row, len(lines_of(row))))
    frame["needed_in_time"] = column(
        lambda row: row["needed_by"] is None or row["needed_by"] >= row["requested_at"].date()
    )
    frame["requested_in_past"] = column(lambda row: row["requested_at"] <= now + CLOCKS_DIFFER)
    frame["risk_is_known"] = column(lambda row: row["risk"] is None or row["risk"] in RISKS)
    frame["links"] = column(lambda row: all(_is_link(link) for link in row["attachments"]))
    frame["few_links"] = column(lambda row: len(row["attachments"]) <= MOST_ATTACHMENTS)
    frame["too_long"] = column(
        lambda row: next((name for name, most in LONGEST.items() if len(row[name] or "") > most), None)
    )
    frame["department_fits"] = column(lambda row: _department_fits(row, person(row)))
    return frame


def adds_up(row: dict[str, Any], lines: int) -> bool:
    """Whether the claimed total is that of the lines; the smallest unit of money a line may be lost to rounding."""
    if row["claimed_gross"] is None or row["currency"] is None:
        return True
    smallest = Decimal(1).scaleb(-money.minor_units(row["currency"]))
    return bool(abs(row["claimed_gross"] - row["gross"]) <= smallest * max(lines, 1))


def _numbers(lines: Sequence[dict[Any, Any]], holds: Any) -> str | None:
    """The numbers of the lines for which a rule does not hold, for people; None where it holds for all."""
    wrong = [str(line["line"]) for line in lines if not holds(line)]
    if not wrong:
        return None
    return ("line " if len(wrong) == 1 else "lines ") + ", ".join(wrong[:10]) + (" and more" if wrong[10:] else "")


def _is_link(text: str) -> bool:
    return text.startswith(("https://", "http://")) and len(text) <= 2_000


def _department_fits(row: dict[str, Any], requester: Any) -> bool:
    told = (row["department"] or "").casefold()
    return not told or requester is None or told == requester.department.casefold()


def request_suite() -> ExpectationSuite:
    """Return the rules for single requests."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415

    gxe: Any = import_module("great_expectations.expectations")

    def holds(column: str, code: str, message: str, field: str, severity: str = "critical") -> Any:
        return gxe.ExpectColumnValuesToBeInSet(
            column=column, value_set=[True], severity=severity, meta=meta(code, message, field)
        )

    def nothing(column: str, about: dict[str, Any]) -> Any:
        return gxe.ExpectColumnValuesToBeNull(column=column, severity="critical", meta=about)

    return ExpectationSuite(
        name="purchase_requests",
        expectations=[
            holds(
                "requester_is_known",
                "requester.unknown",
                "“{requester}” is nobody who works here. Write the id or the address of the person who asks.",
                "requester",
            ),
            holds(
                "requester_is_one_person",
                "requester.shared",
                "“{requester}” is an account of several people. Write the id of the person who asks.",
                "requester",
            ),
            holds(
                "requester_is_here",
                "requester.left",
                "“{requester}” does not work here any more. Write the id of the person who now needs it.",
                "requester",
            ),
            holds(
                "cost_centre_is_known",
                "cost_centre.unknown",
                "There is no cost centre “{cost_centre}”. Write one of purchasing.yaml.",
                "cost_centre",
            ),
            holds(
                "category_is_known",
                "category.unknown",
                "There is no category “{category}”. Write one of purchasing.yaml.",
                "category",
            ),
            holds(
                "category_fits",
                "category.not_allowed",
                "“{category}” is not bought on cost centre {cost_centre}; it may buy: {categories_there}.",
                "category",
            ),
            holds(
                "supplier_is_named",
                "supplier.missing",
                "There is neither a supplier's number nor a name. Write one of them.",
                "supplier",
            ),
            holds(
                "supplier_can_be_added",
                "supplier.unknown",
                "The ERP has no supplier “{supplier}”. Correct the number; for a new supplier write the name.",
                "supplier",
            ),
            holds(
                "supplier_is_looked_up",
                "supplier.not_read",
                "The supplier was not looked up. Release the request, so that it starts again.",
                "supplier",
            ),
            holds(
                "supplier_is_active",
                "supplier.inactive",
                "The supplier “{supplier_name}” is not used any more. Choose another, or have it activated in the ERP.",
                "supplier",
            ),
            holds(
                "supplier_is_not_blocked",
                "supplier.blocked",
                "The supplier “{supplier_name}” is blocked in the ERP. Choose another, or have the block lifted.",
                "supplier",
            ),
            holds("has_lines", "line.missing", "The request has no lines. Write what is to be bought.", "lines"),
            nothing(
                "wrong_quantities",
                meta("line.quantity", "The quantity must be more than zero in {wrong_quantities}.", "lines"),
            ),
            nothing("wrong_prices", meta("line.unit_price", "A price is below zero in {wrong_prices}.", "lines")),
            nothing(
                "wrong_taxes",
                meta("line.tax_unknown", "The books have no account for the tax rate of {wrong_taxes}.", "lines"),
            ),
            nothing(
                "wrong_descriptions",
                meta("line.too_long", "The description is too long in {wrong_descriptions}.", "lines"),
            ),
            nothing("wrong_accounts", meta("line.account", "The account is no number in {wrong_accounts}.", "lines")),
            holds(
                "costs_something", "total.zero", "The request costs nothing. Correct quantities and prices.", "lines"
            ),
            holds(
                "total_adds_up",
                "total.differs",
                "The lines come to {gross} {currency} with tax, and {claimed_gross} is written. Correct one of them.",
                "total",
            ),
            holds(
                "needed_in_time",
                "request.needed_by",
                "It is needed by {needed_by}, which is before the day on which it was asked for.",
                "needed_by",
            ),
            holds(
                "requested_in_past",
                "request.requested_at",
                "The request is dated {requested_at}, which is in the future. Correct the date.",
                "requested_at",
            ),
            holds("risk_is_known", "request.risk", "“{risk}” is no risk. Write low, medium or high.", "risk"),
            holds(
                "links",
                "request.attachment",
                "An attachment is no link. Write addresses that begin with https://.",
                "attachments",
            ),
            holds("few_links", "request.attachment", "There are too many attachments. Link a folder.", "attachments"),
            nothing(
                "too_long", meta("request.too_long", "The field {too_long} is too long. Shorten it.", "{too_long}")
            ),
            holds(
                "department_fits",
                "department.differs",
                "The department is another one than the requester's.",
                "department",
                severity="warning",
            ),
        ],
    )
