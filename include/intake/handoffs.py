"""Handoffs with content: a case of one workflow gives rise to a delivery, and with it a case, of another one.

The other workflow reads it by its source's mapping like any other delivery, so neither knows the other's tables. Which
workflows hand what to which is in their contracts; the sources are those of scheme `handoff` in sources.yaml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.intake.app import first_stage
from include.intake.inbox import CHANNEL
from include.intake.sources import source

_STORE = """
    with handed as (
        select * from jsonb_to_recordset(:rows) as v(parent bigint, key text, digest text, body text)
    ), delivered as (
        insert into deliveries (source, workflow, key, digest, body, content_type)
        select :source, :workflow, key, decode(digest, 'hex'), convert_to(body, 'UTF8'), 'application/json'
        from handed order by key
        on conflict (source, key) do nothing
        returning id, key
    )
    insert into cases (workflow, key, delivery_id, parent_id, stage, owner)
    select :workflow, :source || '/' || d.key, d.id, h.parent, :stage, :owner
    from delivered d join handed h using (key) order by d.key
    returning 1"""


@dataclass(frozen=True)
class Handoff:
    """What a case hands over.

    :param key: business identity within the source; the same key is the same handoff, however often it is made.
    :param parent: the case that hands it over; it looks again when the new case ends, if it waits then. None where a
        plan of the workflow itself, and no case, gives rise to it.
    :param document: what the other workflow is told, in the field names of its source's mapping.
    """

    key: str
    document: dict[str, Any]
    parent: int | None = None


def hand_over(connection: Connection, source_name: str, handoffs: Sequence[Handoff]) -> int:
    """Store handoffs as deliveries with pending cases, each once; call it in an authored transaction.

    :returns: how many are new.
    :raises ValueError: when the source is not one for handoffs.
    """
    declared = source(source_name)
    if not declared.is_handoff:
        raise ValueError(f"the source {source_name} takes deliveries from outside; declare one of scheme handoff")
    start = first_stage(declared.workflow)
    rows = []
    for handoff in handoffs:
        body = orjson.dumps(handoff.document, default=str)
        digest = hashlib.sha256(body).hexdigest()
        rows.append({"parent": handoff.parent, "key": f"id:{handoff.key}", "digest": digest, "body": body.decode()})
    values = {
        "rows": Jsonb(rows),
        "source": declared.name,
        "workflow": declared.workflow,
        "stage": start.stage,
        "owner": start.owner,
    }
    new = connection.execute(text(_STORE), values).rowcount
    connection.execute(
        text("select pg_notify(:channel, :workflow)"), {"channel": CHANNEL, "workflow": declared.workflow}
    )
    return new
