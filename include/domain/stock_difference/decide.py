"""The step `decide`, at which the keeper of the place says which side is wrong, and the form by which they say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection, text

from include.approvals.delegations import stood_in_for
from include.approvals.people import people
from include.cases import store
from include.cases.model import StepResult, Work
from include.contracts.registry import contract
from include.domain.stock_difference.books import load_lines, told
from include.domain.stock_difference.comparison import Line
from include.stock.warehouse import warehouse

WORKFLOW = "stock_difference"
GONE = "gone"
DECISIONS = {
    "waybill": "The stock is wrong: ask for an adjustment",
    "erp": "The ERP is wrong: book it there",
    "accept": "Neither is put right, for a reason",
}


class SettleRefused(ValueError):
    """The decision cannot be taken; the message says why."""


@dataclass(frozen=True)
class Settled:
    """What was decided about."""

    case_id: int
    decision: str
    lines: Sequence[Line]


def decide(work: Work) -> StepResult:
    """Close what is gone, let go on what is decided, and wait for the keeper with the rest."""
    rows = work.connection.execute(
        text("select case_id, decision from stock_differences where case_id = any(:ids)"), work.values
    )
    decisions = {row.case_id: row.decision for row in rows}
    lines = load_lines(work.connection, work.case_ids)
    result = StepResult()
    for case_id in work.case_ids:
        if not lines[case_id]:
            result.close[case_id] = GONE
        elif decisions.get(case_id) is None:
            result.wait[case_id] = keeper(lines[case_id])
    return result


def keeper(lines: Sequence[Line]) -> str:
    """Return who answers for the places of a case; the step's owner, when these are several people."""
    keepers = _keepers(lines)
    return keepers.pop() if len(keepers) == 1 else contract(WORKFLOW).step("decide").owner.id


def _keepers(lines: Sequence[Line]) -> set[str]:
    places = warehouse().locations
    return {keeper for line in lines if line.location in places and (keeper := places[line.location].keeper)}


def _check_keeper(connection: Connection, case_id: int, lines: Sequence[Line], account: str) -> None:
    """Make sure that somebody keeps all places of a case, or stands in for whoever does.

    Places of several keepers nobody may keep alone: there also those settle it who are above all of them.
    """
    known = people()
    person = known.by_airflow(None, account)
    if person is None or not person.decides:
        raise SettleRefused(f"the account {account!r} is no one person's, and settles no difference: use your own")
    keepers = _keepers(lines)
    theirs = {person.id, *stood_in_for(connection, person.id, datetime.now(UTC))}
    if len(keepers) > 1:
        theirs |= {one for one in keepers if person in known.chain(one)}
    if others := sorted(keepers - theirs):
        names = ", ".join(known.name(one) for one in others)
        raise SettleRefused(
            f"the difference {case_id} is at places that {names} keeps: have them decide, or whoever stands in for them"
        )


def settle(connection: Connection, *, case_id: int, decision: str, seen: str, reason: str, actor: str) -> Settled:
    """Take a person's decision, bound to the difference that they saw; call it in an authored transaction.

    :param seen: what the ERP has more, as a number; of a case about several differences, how many these are.
    :param actor: `user:` and the account of somebody who keeps the places.
    :raises SettleRefused: with what to do.
    """
    if decision not in DECISIONS:
        raise SettleRefused(f"{decision!r} is no decision; write one of: {', '.join(DECISIONS)}")
    if not reason.strip():
        raise SettleRefused("say why: the reason is kept, and goes to whoever approves an adjustment")
    store.lock(connection, [case_id])
    standing = connection.execute(
        text("""
            select c.state, c.stage, d.decision from cases c join stock_differences d on d.case_id = c.id
            where c.id = :id and c.workflow = :workflow"""),
        {"id": case_id, "workflow": WORKFLOW},
    ).one_or_none()
    if standing is None:
        raise SettleRefused(f"there is no difference {case_id}: write the number of its case")
    if standing.state != "waiting" or standing.stage != "decide" or standing.decision is not None:
        raise SettleRefused(
            f"the difference {case_id} does not wait for a decision: it is {standing.state} at {standing.stage}"
        )
    lines = load_lines(connection, [case_id])[case_id]
    _check_keeper(connection, case_id, lines, actor.removeprefix("user:"))
    if _number(seen) != (now := _seen(lines)):
        raise SettleRefused(f"you decided about {seen}, and it is {now:f} now: look at the case again, then decide")
    connection.execute(
        text("""
            update stock_differences
            set decision = :decision, reason = :reason, decided_by = :actor, decisions = decisions + 1,
                updated_at = now()
            where case_id = :id"""),
        {"id": case_id, "decision": decision, "reason": reason.strip()[:500], "actor": actor},
    )
    store.record(connection, "decided", [case_id], {"decision": decision, **told(lines)})
    store.wake(connection, [case_id])
    return Settled(case_id, decision, lines)


def undecide(connection: Connection, why: Mapping[int, str]) -> None:
    """Void decisions that do not hold any more; the cases are decided anew."""
    connection.execute(
        text("update stock_differences set decision = null, updated_at = now() where case_id = any(:ids)"),
        {"ids": list(why)},
    )
    store.record_each(connection, "decision void", {case_id: {"why": reason} for case_id, reason in why.items()})


def _seen(lines: Sequence[Line]) -> Decimal:
    return lines[0].difference.normalize() if len(lines) == 1 else Decimal(len(lines))


def _number(written: str) -> Decimal | None:
    try:
        return Decimal(written.strip().replace("\N{MINUS SIGN}", "-"))
    except InvalidOperation:
        return None
