"""Step `read_deal`: what the CRM says became of a deal, and which of Waybill's deals it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from include.cases.model import Reason, StepResult, Work
from include.intake.received import Received, received

WON = {"won", "closedwon", "closed won"}
LOST = {"lost", "closedlost", "closed lost"}


@dataclass(frozen=True)
class DealChange:
    """One case's news of a deal, as it was sent."""

    case_id: int
    deal_key: str
    object_id: str
    stage: str
    amount: Decimal | None
    currency: str | None
    reason: str | None
    occurred_at: datetime


def read_deal(work: Work) -> StepResult:
    """Record what was decided, and close lost deals; what means neither is finished, what cannot be is quarantined."""
    result = StepResult()
    changes: list[DealChange] = []
    for delivery in received(work):
        read = _read(delivery)
        if delivery.reasons or isinstance(read, Reason):
            result.quarantine[delivery.case_id] = [*delivery.reasons, *([read] if isinstance(read, Reason) else [])]
        else:
            changes.append(read)
    deals = _find(work.connection, changes)
    decided: list[dict[str, Any]] = []
    for change in changes:
        deal = deals.get(change.case_id)
        if change.stage not in WON | LOST:
            result.close[change.case_id] = "not a decision"
        elif deal is None:
            named = change.deal_key or change.object_id
            result.quarantine[change.case_id] = [
                Reason(
                    "deal.unknown",
                    f"No deal of Waybill's is {named!r}; correct deal_key, or discard",
                    "deal_key",
                )
            ]
        else:
            decided.append(_row(change, deal["id"]))
            if change.stage in LOST:
                _lose(work.connection, change, deal, result)
    if decided:
        work.connection.execute(_KEEP, decided)
    return result


def _read(delivery: Received) -> DealChange | Reason:
    fields = delivery.corrected
    try:
        amount = Decimal(str(fields["amount"])) if fields.get("amount") not in (None, "") else None
    except InvalidOperation:
        return Reason("amount.invalid", f"{fields['amount']!r} is not an amount", "amount")
    if amount is not None and not (amount.is_finite() and amount >= 0):
        return Reason("amount.invalid", "the amount of a deal is not negative", "amount")
    try:
        occurred_at = _moment(fields.get("occurred_at")) or delivery.received_at or datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        return Reason("occurred_at.invalid", f"{fields['occurred_at']!r} is not a point in time", "occurred_at")
    return DealChange(
        case_id=delivery.case_id,
        deal_key=str(fields.get("deal_key") or ""),
        object_id=str(fields.get("object_id") or ""),
        stage=str(fields.get("stage") or "").strip().lower(),
        amount=amount,
        currency=str(fields["currency"]).strip().upper()[:3] if fields.get("currency") else None,
        reason=str(fields["reason"]) if fields.get("reason") else None,
        occurred_at=occurred_at,
    )


def _moment(value: Any) -> datetime | None:
    """ISO 8601, or milliseconds since 1970 as HubSpot sends them."""
    if value in (None, ""):
        return None
    if isinstance(value, int | float) or str(value).isdecimal():
        return datetime.fromtimestamp(int(value) / 1000, tz=UTC)
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _find(connection: Connection, changes: list[DealChange]) -> dict[int, dict[str, Any]]:
    """Return the deal of each change's case: by Waybill's key, or by the id that the CRM gave it."""
    rows = connection.execute(
        text("""
            select distinct on (v.case_id) v.case_id, deals.id, deals.state
            from unnest(cast(:case_ids as bigint[]), cast(:keys as uuid[]), cast(:objects as text[]))
                 as v(case_id, key, object)
            left join effects on effects.operation = 'upsert_deal' and effects.state = 'sent'
                 and effects.answer->>'id' = v.object and v.object <> ''
            join deals on deals.id = coalesce(v.key, effects.target::uuid)
            order by v.case_id"""),
        {
            "case_ids": [change.case_id for change in changes],
            "keys": [_uuid(change.deal_key) for change in changes],
            "objects": [change.object_id for change in changes],
        },
    ).mappings()
    return {row["case_id"]: dict(row) for row in rows}


def _uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def _lose(connection: Connection, change: DealChange, deal: Mapping[str, Any], result: StepResult) -> None:
    lost = connection.execute(
        text("""
            update deals set state = 'lost', reason = :reason, closed_at = :at, closed_by = :case_id,
                             lost_at = coalesce(lost_at, :at)
            where id = :id and state <> 'won'"""),
        {"reason": change.reason, "at": change.occurred_at, "case_id": change.case_id, "id": deal["id"]},
    ).rowcount
    if lost:
        result.close[change.case_id] = "deal lost"
    else:
        result.quarantine[change.case_id] = [
            Reason(
                "deal.contradiction",
                "The deal was won and has a client; now the CRM says that it is lost",
                "stage",
            )
        ]


def _row(change: DealChange, deal_id: UUID) -> dict[str, Any]:
    return {
        "case_id": change.case_id,
        "deal_id": deal_id,
        "stage": "lost" if change.stage in LOST else "won",
        "amount": change.amount,
        "currency": change.currency,
        "reason": change.reason,
        "at": change.occurred_at,
    }


_KEEP = text("""
    insert into deal_changes (case_id, deal_id, stage, amount, currency, reason, occurred_at)
    values (:case_id, :deal_id, :stage, :amount, :currency, :reason, :at)
    on conflict (case_id) do update set deal_id = excluded.deal_id, stage = excluded.stage,
        amount = excluded.amount, currency = excluded.currency, reason = excluded.reason,
        occurred_at = excluded.occurred_at""")
