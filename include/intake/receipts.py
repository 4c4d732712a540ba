"""What became of a delivery, for its sender: where its case stands, without personal data."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from include.intake.inbox import Inbox

_STANDING = """
    select d.source, d.received_at, d.workflow,
           c.state, c.stage, c.outcome, c.reasons, c.updated_at, c.closed_at
    from deliveries d left join cases c on c.delivery_id = d.id
    where d.id = $1"""


async def standing(inbox: Inbox, receipt: UUID) -> dict[str, Any] | None:
    """Return what is known of a receipt, or None when there is no such delivery.

    Of the reasons only code and field are told: a message may repeat what a person wrote.

    :raises include.intake.inbox.Away: when the database does not answer.
    """
    rows = await inbox.fetch(_STANDING, receipt)
    if not rows:
        return None
    row = rows[0]
    reasons = orjson.loads(row["reasons"]) if row["reasons"] else []
    return {
        "receipt": str(receipt),
        "source": row["source"],
        "workflow": row["workflow"],
        "received_at": row["received_at"].isoformat(),
        "state": row["state"],
        "stage": row["stage"],
        "outcome": row["outcome"],
        "reasons": [
            {key: reason[key] for key in ("code", "field") if reason.get(key)}
            for reason in reasons
            if reason.get("code")
        ],
        "updated_at": row["updated_at"].isoformat() if row["updated_at"] else None,
        "closed_at": row["closed_at"].isoformat() if row["closed_at"] else None,
    }
