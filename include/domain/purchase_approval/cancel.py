"""Cancelling an order of which nothing came yet: its money is free again, and ERP and supplier are told.

A person's decision, in one transaction; telling the others is the ledger's part, and is tried until it is done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from include.approvals.people import Person, people
from include.cases import store
from include.data.database import authored
from include.domain import budgets
from include.domain.letters import stationery
from include.domain.purchasing import purchasing
from include.integrations import ledger
from include.integrations.systems import Effect, Mode, Provider

WORKFLOW = "purchase_approval"
STEP = "cancel"
"""The step of the effects in the ledger; no case ever stands at it, so no run of the workflow waits for them."""
ORDERING = ("order", "send_order")
"""The steps at which an order is on its way out."""
WAITS_AT = "receive"
"""The step that closes a cancelled order's case."""
DISCARDED = "rejected"
"""The state of a case that was discarded; its order may still be cancelled, and the case stays closed."""
ROLES = frozenset({"procurement", "finance"})
"""Who may cancel everybody's orders."""
CANCELLED = "order cancelled"
"""The event on the purchase's case."""
SYSTEMS = ("erp", "mail")
_NUMBER = re.compile(r"(PO-\d{4}-\d{6,})|(?:PR-)?(\d{1,18})")


class CancelRefused(ValueError):
    """The order stays as it is; the message says why, to the person who wanted to cancel it."""


class NotToldYet(RuntimeError):
    """The order is cancelled here, and a system does not take it now; trying again goes on."""


class NotTaken(RuntimeError):
    """The order is cancelled here, and a system refused for good; a person must act there."""


@dataclass(frozen=True)
class Cancelled:
    """What came of it, or what would.

    :param number: the order's number.
    :param freed: the money that is free again, in the company's currency.
    :param changed: False when it was cancelled before.
    :param told: the systems that are told.
    """

    case_id: int
    number: str
    freed: Decimal
    changed: bool
    told: Sequence[str]


def cancel(
    engine: Engine,
    reference: str,
    *,
    reason: str,
    account: str,
    actor: str,
    mode: Mode = Mode.LIVE,
    run: str = "",
    dry_run: bool = False,
) -> Cancelled:
    """Cancel an order once, and write to the ledger who is to be told; `tell` delivers it.

    :param reference: the order's number, or the request's: `PO-2026-000001`, `PR-12`.
    :param account: name of the Airflow account of whoever cancels it.
    :param dry_run: look only.
    :raises CancelRefused: when something came or was invoiced, it is on its way out, or is not theirs to cancel.
    """
    if not reason.strip():
        raise CancelRefused("an order is cancelled with a reason: say why it is not needed any more")
    with authored(engine, actor=actor, run=run) as connection:
        case_id = _case_of(connection, reference)
        store.lock(connection, [case_id])
        order = _order(connection, case_id)
        _may(people().by_airflow(None, account), account, order)
        changed = order.state != "cancelled"
        if changed:
            _check(order)
        attempt = connection.begin_nested()
        if changed:
            _withdraw(connection, order)
            _carry_out(connection, order, reason.strip()[:200])
        freed = budgets.release(connection, case_id, key=f"release/{case_id}")
        effects = _plan(connection, order)
        ledger.write(connection, effects, mode)
        if dry_run:
            attempt.rollback()
    return Cancelled(case_id, order.number, freed, changed, [effect.system for effect in effects])


def tell(engine: Engine, case_id: int, provider: Callable[[str], AbstractContextManager[Provider]]) -> None:
    """Deliver what a cancellation wrote to the ledger; what was sent is not sent again.

    :param provider: gives the provider of a role.
    :raises NotToldYet: when a system does not take it now.
    :raises NotTaken: when a system refused for good.
    """
    scope = ledger.Scope([case_id], STEP, in_order=False)
    for system in SYSTEMS:
        with engine.connect() as connection:
            waits = connection.execute(
                text("""
                    select exists (select from effects where case_id = :id and step = :step and system = :system
                                                         and state not in ('sent', 'dead'))"""),
                {"id": case_id, "step": STEP, "system": system},
            ).scalar_one()
        if waits:
            with provider(system) as found:
                ledger.deliver(engine, found, system=system, scope=scope)
    with engine.connect() as connection:
        standing = ledger.standings(connection, [case_id], STEP).get(case_id)
    if standing is None:
        return
    if standing.dead:
        said = "; ".join(f"{operation}: {error}" for operation, error in standing.dead.items())
        raise NotTaken(
            f"the order is cancelled in Waybill, and this was refused: {said}. Put it right there by hand, or trigger"
            " this again once its cause is mended"
        )
    raise NotToldYet("the order is cancelled in Waybill, and a system does not take that now; it is tried again")


def _case_of(connection: Connection, reference: str) -> int:
    wanted = "".join(reference.split()).upper()
    found = _NUMBER.fullmatch(wanted)
    if not found:
        raise CancelRefused(
            f"{reference!r} is no number: write the order's like PO-2026-000001, or the request's PR-12"
        )
    case_id = connection.execute(
        text("""
            select c.id from cases c left join purchase_orders o on o.case_id = c.id
            where c.workflow = :workflow and (o.number = :order or c.id = cast(:request as bigint))"""),
        {"workflow": WORKFLOW, "order": found[1], "request": found[2]},
    ).scalar()
    if case_id is None:
        raise CancelRefused(f"there is no {'order' if found[1] else 'request'} {wanted}")
    return int(case_id)


def _order(connection: Connection, case_id: int) -> Row[Any]:
    order = connection.execute(
        text("""
            select o.case_id, o.number, o.state, o.requester, o.supplier_email, o.closed_why,
                   c.state as case_state, c.stage,
                   (select coalesce(sum(l.received), 0) from purchase_order_lines l where l.order_id = o.case_id)
                       as received,
                   (select coalesce(sum(l.invoiced), 0) from purchase_order_lines l where l.order_id = o.case_id)
                       as invoiced
            from purchase_orders o join cases c on c.id = o.case_id where o.case_id = :id"""),
        {"id": case_id},
    ).one_or_none()
    if order is None:
        raise CancelRefused(f"PR-{case_id} is not ordered yet: its requester withdraws it under Required actions")
    return order


def _may(person: Person | None, account: str, order: Row[Any]) -> None:
    """Only the requester, procurement and finance: by an account that is one person's."""
    if person is None or not person.decides:
        raise CancelRefused(f"the account {account!r} is no one person's, and cancels no order")
    if person.id != order.requester and not ROLES & set(person.roles):
        raise CancelRefused(
            f"{order.number} is cancelled by its requester, procurement or finance, and not by {person.name}"
        )


def _check(order: Row[Any]) -> None:
    if order.state == "closed":
        raise CancelRefused(f"{order.number} is closed already: {order.closed_why}")
    if order.received or order.invoiced:
        what = "received" if order.received else "invoiced"
        raise CancelRefused(
            f"something of {order.number} is {what} already, so it is not cancelled: close what is missing short, with"
            " receipt_close_short"
        )
    if order.case_state == "finished":
        raise CancelRefused(f"the purchase of {order.number} is closed already")
    if order.case_state == "running" or (order.case_state != DISCARDED and order.stage not in (*ORDERING, WAITS_AT)):
        raise CancelRefused(f"{order.number} is being worked on at this moment; try again in a minute")


def _withdraw(connection: Connection, order: Row[Any]) -> None:
    """Keep what is not sent from ever leaving; what is being sent at this moment is waited for."""
    if not ledger.withdraw(connection, order.case_id, ORDERING, "the order was cancelled"):
        raise CancelRefused(f"{order.number} is on its way out at this moment; try again in a minute")


def _carry_out(connection: Connection, order: Row[Any], reason: str) -> None:
    values = {"id": order.case_id, "reason": reason, "waits_at": WAITS_AT}
    connection.execute(
        text("""
            update purchase_orders set state = 'cancelled', closed_at = now(), closed_why = :reason
            where case_id = :id"""),
        values,
    )
    store.record(connection, CANCELLED, [order.case_id], {"order": order.number, "reason": reason})
    connection.execute(
        text("""
            update cases set state = 'pending', stage = :waits_at, reasons = null, attempts = 0, available_at = now(),
                             updated_at = now()
            where id = :id and state <> :discarded"""),
        values | {"discarded": DISCARDED},
    )
    store.wake(connection, _waiting_invoices(connection, order.case_id))


def _waiting_invoices(connection: Connection, case_id: int) -> list[int]:
    """Return the invoices that wait for something of this order; whoever decides that one waits holds its case."""
    return list(
        connection.execute(
            text("""
                select cases.id from supplier_invoices join cases on cases.id = case_id
                where order_id = :id and cases.state = 'waiting' order by cases.id"""),
            {"id": case_id},
        ).scalars()
    )


def _plan(connection: Connection, order: Row[Any]) -> list[Effect]:
    """Tell those who were told of the order: the ERP if it has it, the supplier if it was mailed."""
    sent = set(
        connection.execute(
            text("""
                select operation from effects where case_id = :id and step = any(:steps) and state = 'sent'"""),
            {"id": order.case_id, "steps": list(ORDERING)},
        ).scalars()
    )
    effects = []
    if "create_purchase_order" in sent:
        effects.append(_effect(order, "erp", "cancel_purchase_order", {"key": order.number}))
    if "send_mail" in sent:
        effects.append(_effect(order, "mail", "send_mail", _mail(order)))
    return effects


def _effect(order: Row[Any], system: str, operation: str, payload: dict[str, Any]) -> Effect:
    key = f"{WORKFLOW}/{order.case_id}/{STEP}/{operation}/{order.number}"
    return Effect(key, system, operation, order.case_id, STEP, order.number, payload)


def _mail(order: Row[Any]) -> dict[str, Any]:
    company = purchasing().company
    words = (
        f"Dear Sir or Madam,\n\nwe cancel our purchase order {order.number}. Please do not deliver it, and send no "
        f"invoice for it.\n\nKind regards\n{company.name}\n{company.address}\n"
    )
    return {
        "to": order.supplier_email,
        "from": stationery().sender,
        "subject": f"Cancelled: purchase order {order.number} of {company.name}",
        "text": words,
        "headers": {"Reply-To": company.email, "Auto-Submitted": "auto-generated"},
    }
