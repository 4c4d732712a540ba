"""What the approval matrix is told of a request, and the matrix itself."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from include.approvals.people import People
from include.approvals.policy import Matrix, load, problems
from include.domain.purchasing import Purchasing, purchasing

FILE = Path(__file__).with_name("policy.yaml")


@cache
def matrix() -> Matrix:
    """The shipped matrix, read once per process. DocumentError says what is wrong with it."""
    return load(FILE)


def facts(request: Mapping[str, Any], amount: Decimal) -> dict[str, Any]:
    """Return the facts that a request is routed by.

    :param request: columns of `purchase_requests`.
    :param amount: in the company's currency, without tax.
    """
    known = purchasing()
    centre = known.cost_centres[request["cost_centre"]]
    return {
        "amount": amount,
        "category": request["category"],
        "cost_centre": request["cost_centre"],
        "cost_centre_owner": centre.owner,
        "department": centre.department,
        "new_supplier": request["supplier_state"] == "new",
        "over_budget": bool(request["over_budget"]),
        "risk": request["risk"] or known.categories[request["category"]].risk,
    }


def values(known: Purchasing) -> dict[str, list[Any]]:
    """Return every fact with the values that it can have; an empty list stands for any."""
    centres = known.cost_centres.values()
    return {
        "amount": [],
        "category": list(known.categories),
        "cost_centre": list(known.cost_centres),
        "cost_centre_owner": sorted({centre.owner for centre in centres}),
        "department": sorted({centre.department for centre in centres}),
        "new_supplier": [True, False],
        "over_budget": [True, False],
        "risk": ["low", "medium", "high"],
    }


def matrix_problems(checked: Matrix, people: People) -> list[str]:
    """What is wrong with a matrix as far as purchasing can tell, a line each; empty when nothing is."""
    known = purchasing()
    found = problems(checked, people, values(known))
    if checked.currency != known.company.currency:
        found.append(f"currency: the company's is {known.company.currency}; write the bands in it")
    for name, centre in known.cost_centres.items():
        if not people.decides(centre.owner):
            found.append(f"cost centre {name}: its owner {centre.owner!r} cannot decide; name somebody who works here")
    return found
