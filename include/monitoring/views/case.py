"""One case as it stands: why it stopped, what was received, what its workflow knows of it, which cases belong to it.

For who may only look it is masked here, so that no page can show what it was not given. It only reads; what happened in
which order is timeline.py's part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.intake.received import received_with
from include.monitoring.views.corrections import shown
from include.monitoring.views.masking import HIDDEN, masked, masked_body, without_contacts

LONGEST_BODY = 100_000
"""Characters shown of a delivery."""
MOST_RELATED = 100
RECORDS: Mapping[str, tuple[str, ...]] = {
    "lead_to_client": ("leads",),
    "deal_to_client": ("deal_changes", "clients"),
    "client_billing_setup": ("clients",),
    "purchase_approval": ("purchase_requests", "purchase_orders"),
    "goods_receipt": ("goods_receipts",),
    "supplier_invoice": ("supplier_invoices",),
    "stock_request": ("stock_requests",),
    "stock_count": ("count_sheets",),
    "replenishment": ("replenishment_needs",),
    "stock_difference": ("stock_differences",),
}
"""Workflow -> the tables that hold a row for each of its cases."""
OF_PARENT = ("client_billing_setup",)
"""Workflows whose tables hold a row for the case that handed over."""
NOT_SHOWN = ("case_id", "raw", "routing")

Facts = Sequence[tuple[str, str]]
"""Names and values, in the order in which they are shown."""


@dataclass(frozen=True)
class Stop:
    """Why a case is set aside.

    :param do: what the contract says to do about it.
    """

    code: str
    message: str
    do: str


@dataclass(frozen=True)
class Case:
    """Where a case stands.

    :param attempts: runs that died while they worked on it.
    """

    id: int
    workflow: str
    key: str
    state: str
    step: str
    owner: str
    created_at: datetime
    closed_at: datetime | None
    outcome: str | None
    attempts: int
    stops: list[Stop]


@dataclass(frozen=True)
class Delivery:
    """What came in.

    :param body: as it was received; masked for who may only look.
    :param cut: whether only its first `LONGEST_BODY` characters are shown.
    """

    id: str
    source: str
    received_at: datetime
    content_type: str
    body: str
    cut: bool


@dataclass(frozen=True)
class FieldRead:
    """One field as its source's mapping reads it, and what a person made of it."""

    name: str
    received: str
    corrected: str | None


@dataclass(frozen=True)
class Related:
    """Another case that belongs to this one, and how."""

    how: str
    id: int
    workflow: str
    state: str
    step: str
    created_at: datetime


def standing(connection: Connection, case_id: int, *, clear: bool) -> Case | None:
    """Return where a case stands, or None when there is no such case.

    :param clear: with personal data, and with what people wrote.
    """
    row = connection.execute(
        text("""
            select id, workflow, key, state, stage as step, owner, created_at, closed_at, outcome, attempts, reasons
            from cases where id = :id"""),
        {"id": case_id},
    ).one_or_none()
    if row is None:
        return None
    values = row._asdict()
    reasons = values.pop("reasons") or []
    if not clear:
        values["key"] = without_contacts(row.key)
        values["outcome"] = HIDDEN if row.state == "rejected" else row.outcome
    return Case(**values, stops=[_stop(row.workflow, reason, clear) for reason in reasons])


def _stop(workflow: str, reason: Mapping[str, str], clear: bool) -> Stop:
    of = contracts().get(workflow)
    known = of.exception(reason["code"]) if of else None
    return Stop(reason["code"], reason.get("message", "") if clear else HIDDEN, known.do if known else "")


def delivery_of(connection: Connection, case_id: int, *, clear: bool) -> Delivery | None:
    """Return what a case was received with, or None for one that was handed over without content."""
    row = connection.execute(
        text("""
            select d.id::text, d.source, d.received_at, d.content_type, d.body
            from cases c join deliveries d on d.id = c.delivery_id where c.id = :id"""),
        {"id": case_id},
    ).one_or_none()
    if row is None:
        return None
    body = bytes(row.body).decode("utf-8", errors="replace")
    seen = body if clear else masked_body(body)
    return Delivery(
        row.id, row.source, row.received_at, row.content_type, seen[:LONGEST_BODY], cut=len(seen) > LONGEST_BODY
    )


def fields_of(connection: Connection, case_id: int, *, clear: bool) -> list[FieldRead]:
    """Return the fields that a case was received with, beside what people corrected; empty ones are left out."""
    found = next(received_with(connection, [case_id]), None)
    if found is None:
        return []
    names = [name for name, value in found.fields.items() if value is not None]
    return [
        FieldRead(
            name,
            value_of(name, found.fields.get(name), clear),
            value_of(name, found.corrections[name], clear) if name in found.corrections else None,
        )
        for name in dict.fromkeys([*names, *found.corrections])
    ]


def records_of(connection: Connection, case: Case, *, clear: bool) -> dict[str, Facts]:
    """Return what the workflow's own tables hold of a case: table -> its fields that are not empty."""
    records: dict[str, Facts] = {}
    whose = "(select parent_id from cases where id = :id)" if case.workflow in OF_PARENT else ":id"
    for table in RECORDS.get(case.workflow, ()):
        row = connection.execute(
            text(f"select to_jsonb(t) from {table} t where case_id = {whose}"), {"id": case.id}
        ).scalar_one_or_none()
        if row:
            records[table] = [
                (name, value_of(name, value, clear))
                for name, value in row.items()
                if value not in (None, [], {}) and name not in NOT_SHOWN
            ]
    return records


def value_of(name: str, value: Any, clear: bool) -> str:
    """Return a field's value as people see it."""
    return shown(value if clear else masked(value, under=name))


# What belongs together is told by the workflows' own tables: an order is known by its request's case.
_RELATED = """
    with related (how, id) as (
        select 'handed over by', parent_id from cases where id = :id and parent_id is not null
        union all (select 'handed over', id from cases where parent_id = :id order by id desc limit :most)
        union all select 'same as', duplicate_of from purchase_requests where case_id = :id and duplicate_of is not null
        union all select 'order of', order_id from goods_receipts where case_id = :id and order_id is not null
        union all select 'order of', order_id from supplier_invoices where case_id = :id and order_id is not null
        union all select 'receipt', case_id from goods_receipts where order_id = :id
        union all select 'invoice', case_id from supplier_invoices where order_id = :id
        union all select 'opened the deal', d.case_id from leads l join deals d on d.id = l.deal_id
                  where l.case_id = :id
        union all select 'opened the deal', d.case_id from deal_changes c join deals d on d.id = c.deal_id
                  where c.case_id = :id
        union all select 'change of the deal', c.case_id from deals d join deal_changes c on c.deal_id = d.id
                  where d.case_id = :id
        union all (select 'same person', o.case_id from leads l join leads o on o.contact_id = l.contact_id
                   where l.case_id = :id order by o.case_id desc limit :most)
    )
    select string_agg(distinct related.how, ', '), c.id, c.workflow, c.state, c.stage, c.created_at
    from related join cases c on c.id = related.id
    where c.id <> :id group by c.id
    order by bool_or(related.how in ('handed over by', 'same as', 'order of', 'opened the deal')) desc, c.id desc
    limit :most"""


def related_to(connection: Connection, case_id: int) -> list[Related]:
    """Return the cases that belong to a case: handoffs both ways, its order's papers, its deal, its person.

    What it came from stands first, the others newest first; at most `MOST_RELATED`.
    """
    return [Related(*row) for row in connection.execute(text(_RELATED), {"id": case_id, "most": MOST_RELATED})]
