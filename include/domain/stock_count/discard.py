"""Closing a count sheet that is not needed any more: a person's decision, with a reason."""

from __future__ import annotations

from sqlalchemy import Engine, text

from include.approvals.people import people
from include.cases import store
from include.domain.stock_count.rules import may_count
from include.stock.warehouse import warehouse


class DiscardRefused(ValueError):
    """The sheet stays open; the message says why."""


def discard(engine: Engine, number: str, *, reason: str, account: str, actor: str, run: str = "") -> int:
    """Close a sheet that is not needed any more; what was counted on it stays, and the rest is due again.

    :param account: name of the Airflow account of whoever discards it.
    :returns: the sheet's case.
    :raises DiscardRefused: when there is no such sheet that waits, no reason, or they may not post at its location.
    """
    wanted = "".join(number.split())
    if not reason.strip():
        raise DiscardRefused("a sheet is discarded with a reason: say why it is not counted")
    with engine.connect() as connection:
        found = connection.execute(
            text("""
                select s.case_id, s.location, c.state from count_sheets s join cases c on c.id = s.case_id
                where number = :number"""),
            {"number": wanted},
        ).one_or_none()
    if found is None:
        raise DiscardRefused(f"there is no count sheet {wanted!r}; its number stands in the mail that it came with")
    location = warehouse().locations.get(found.location)
    if location and not may_count(people().by_airflow(None, account), location):
        raise DiscardRefused(f"{account} may not post at {found.location}; its keeper and its users discard its sheets")
    if not store.discard(engine, [found.case_id], reason=reason[:200], actor=actor, run=run):
        raise DiscardRefused(f"the count sheet {wanted} is {found.state}; only one that waits can be discarded")
    return int(found.case_id)
