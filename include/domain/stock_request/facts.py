"""What the approval matrix is told of a stock request, and the matrix itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from include.approvals.people import People, people
from include.approvals.policy import Matrix, load, problems
from include.domain.purchasing import purchasing
from include.domain.stock_request.kinds import kinds
from include.stock.warehouse import Warehouse, warehouse

FILE = Path(__file__).with_name("policy.yaml")
OPERATIONS = "operations"
"""The department to which the stock belongs."""


@cache
def matrix() -> Matrix:
    """The shipped matrix, read once per process. DocumentError says what is wrong with it."""
    return load(FILE)


def facts(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a request is routed by.

    :param request: columns of `stock_requests`; of its lines `abc` and `cost_unknown`; and `routed_value`, which is its
        value and that of the requests that are decided on together with it.
    """
    who = people()
    requester = who.by_id.get(request["requester"])
    department = requester.department if requester else None
    keeper = keeper_of(request[kinds()[request["kind"]].site])
    return {
        "amount": request["routed_value"],
        "kind": request["kind"],
        "abc": request["abc"],
        "department": department,
        "outside_operations": department != OPERATIONS,
        "cost_unknown": bool(request["cost_unknown"]),
        "feed": bool(request["feed"]),
        "keeper": keeper,
        "above_keeper": above(keeper, who) if keeper else None,
    }


def keeper_of(location: str | None) -> str | None:
    """Return who answers for a location; None for one that is not ours."""
    declared = warehouse().locations.get(location or "")
    return declared.keeper if declared else None


def above(person_id: str, who: People) -> str:
    """Return who is next in line above somebody; themselves where nobody is."""
    person = who.next_in_line(person_id)
    return person.id if person else person_id


def values(known: Warehouse, who: People) -> dict[str, list[Any]]:
    """Return every fact with the values that it can have; an empty list stands for any."""
    keepers = sorted({place.keeper for place in known.locations.values() if place.keeper and place.kind == "internal"})
    return {
        "amount": [],
        "kind": list(kinds()),
        "abc": ["A", "B", "C"],
        "department": sorted({person.department for person in who}),
        "outside_operations": [True, False],
        "cost_unknown": [True, False],
        "feed": [True, False],
        "keeper": keepers,
        "above_keeper": sorted({above(keeper, who) for keeper in keepers}),
    }


def matrix_problems(checked: Matrix, who: People) -> list[str]:
    """What is wrong with a matrix as far as the stock can tell, a line each; empty when nothing is."""
    known = warehouse()
    found = problems(checked, who, values(known, who))
    currency = purchasing().company.currency
    if checked.currency != currency:
        found.append(f"currency: the company's is {currency}; write the bands in it")
    for code, place in known.locations.items():
        if place.keeper and not who.decides(place.keeper):
            found.append(f"location {code}: its keeper {place.keeper!r} cannot decide; name somebody who works here")
    return found
