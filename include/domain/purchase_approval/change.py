"""A change of a request that is not ordered yet: what was decided is void, and it goes through the steps again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from include.approvals import rounds
from include.approvals.people import Person, people
from include.cases import store
from include.contracts.registry import contract
from include.data.database import authored
from include.intake.mapping import RECORDS

WORKFLOW = "purchase_approval"
ORDERED_AT = "order"
"""From this step on the content stands."""
ROLE = "procurement"
"""Who may change everybody's requests."""
FIXED = frozenset({"requester", "entered_by", "number", "requested_at"})
"""Fields that say who asked and when; with others it would be another request."""
_NUMBER = re.compile(r"(?:PR-)?(\d{1,18})", re.IGNORECASE)


class ChangeRefused(ValueError):
    """The request stays as it is; the message says why, to the person who wanted to change it."""


def change(
    engine: Engine, number: str, changes: Mapping[str, Any], *, account: str, actor: str, run: str = ""
) -> list[str]:
    """Lay new values over a request's, void what was decided about it, and send it through the steps again.

    :param number: `PR-<case>`.
    :param changes: field -> new value; `lines` are replaced as a whole, and then the claimed total does not count.
    :param account: name of the Airflow account of whoever changes it.
    :returns: the fields that are changed.
    :raises ChangeRefused: when it is ordered or closed already, or this is not theirs to change.
    """
    case_id = _case_of(number)
    corrections = _checked(changes)
    with authored(engine, actor=actor, run=run) as connection:
        store.lock(connection, [case_id])
        request = _request(connection, case_id)
        _may(people().by_airflow(None, account), account, request)
        steps = contract(WORKFLOW).step_ids
        try:
            store.restart(
                connection,
                case_id,
                first_step=steps[0],
                stages=steps[: steps.index(ORDERED_AT)],
                corrections=corrections,
                actor=actor,
            )
        except store.NotChangeable as standing:
            raise ChangeRefused(_why(request, standing)) from None
        _void(connection, case_id)
    return sorted(corrections)


def _case_of(number: str) -> int:
    found = _NUMBER.fullmatch(number.strip())
    if not found:
        raise ChangeRefused(f"{number!r} is no number of a request; write it like PR-12")
    return int(found[1])


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    fixed = sorted(changes.keys() & FIXED)
    if fixed:
        raise ChangeRefused(f"{', '.join(fixed)} cannot be changed: withdraw the request, and make another")
    unknown = sorted(changes.keys() - set(RECORDS["purchase_request"]))
    if unknown:
        raise ChangeRefused(f"a request has no field {', '.join(unknown)}")
    if not changes:
        raise ChangeRefused("nothing is changed: fill in what shall be different")
    total = {"total": None} if "lines" in changes and "total" not in changes else {}
    return {**changes, **total}


def _request(connection: Connection, case_id: int) -> Row[Any]:
    request = connection.execute(
        text("""
            select c.id, c.outcome, r.requester, r.entered_by, o.number as order_number
            from cases c left join purchase_requests r on r.case_id = c.id
            left join purchase_orders o on o.case_id = c.id
            where c.id = :id and c.workflow = :workflow"""),
        {"id": case_id, "workflow": WORKFLOW},
    ).one_or_none()
    if request is None:
        raise ChangeRefused(f"there is no request PR-{case_id}")
    return request


def _may(person: Person | None, account: str, request: Row[Any]) -> None:
    """Only the requester, whoever typed it in, and procurement: by an account that is one person's."""
    if person is None or not person.decides:
        raise ChangeRefused(f"the account {account!r} is no one person's, and changes no request")
    if person.id not in (request.requester, request.entered_by) and ROLE not in person.roles:
        raise ChangeRefused(f"PR-{request.id} is changed by its requester or by procurement, and not by {person.name}")


def _why(request: Row[Any], standing: store.NotChangeable) -> str:
    number = f"PR-{request.id}"
    if standing.state in ("finished", "rejected"):
        return f"{number} is closed already: {request.outcome}"
    before: Sequence[str] = contract(WORKFLOW).step_ids
    if standing.stage in before[: before.index(ORDERED_AT)]:
        return f"{number} is being worked on at this moment; try again in a minute"
    return f"{number} is ordered already, as {request.order_number}: have the order cancelled, and make a new request"


def _void(connection: Connection, case_id: int) -> None:
    """Close the open round: nobody shall approve what is not wanted any more."""
    standing = rounds.latest(connection, [case_id]).get(case_id)
    if standing is None or not standing.is_open or rounds.lock(connection, standing.id) is None:
        return
    rounds.close(connection, {standing.id: "void"}, rounds.clock_of(connection))
    store.record(connection, "approval.void", [case_id], {"round": standing.id, "number": standing.number})
