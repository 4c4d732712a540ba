"""Puts cases into the database with a past: events of any time, as if they had been worked on then."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

_numbers = itertools.count(1)
Told = tuple[datetime, str, str, str]
"""When, kind of the event, step, state."""


def lead_of(days: int, minutes: int) -> list[Told]:
    """A lead that came so many days ago, and took so many minutes to its end, nearly all of them at its answer."""
    start = datetime.now(UTC) - timedelta(days=days)
    claimed, end = start + timedelta(seconds=30), start + timedelta(minutes=minutes)
    return [
        (start, "received", "capture", "pending"),
        (claimed, "claimed", "send_mail", "running"),
        (end, "finished", "send_mail", "finished"),
    ]


def cases_with(engine: Engine, *stories: Sequence[Told], workflow: str = "lead_to_client") -> list[int]:
    """Store a case for each story, with its delivery at the time of the first event; return the cases in order."""
    with engine.begin() as connection:
        # No triggers: they would write events of now.
        connection.execute(text("set local session_replication_role = replica"))
        ids = list(
            connection.execute(
                text("""
                    with d as (
                        insert into deliveries (source, workflow, key, digest, body, received_at)
                        select 'website', :workflow, v.key, sha256(''), '', v.at
                        from jsonb_to_recordset(:cases) as v(key text, at timestamptz)
                        returning id, key, received_at
                    )
                    insert into cases (workflow, key, delivery_id, created_at, state, stage, owner, outcome, closed_at,
                                       reasons)
                    select :workflow, d.key, d.id, d.received_at, v.state, v.stage, 'revenue_operations',
                           case when v.state in ('finished', 'rejected') then 'done' end,
                           case when v.state in ('finished', 'rejected') then v.until end,
                           case when v.state = 'quarantined' then '[{"code": "email.invalid"}]'::jsonb end
                    from jsonb_to_recordset(:cases) as v(key text, state text, stage text, until timestamptz) join d
                         using (key) order by v.key returning id"""),
                {
                    "workflow": workflow,
                    "cases": Jsonb(
                        [
                            {
                                "key": f"told:{next(_numbers):09}",
                                "at": story[0][0],
                                "until": story[-1][0],
                                "stage": story[-1][2],
                                # one that runs would need a claim
                                "state": "pending" if story[-1][3] == "running" else story[-1][3],
                            }
                            for story in stories
                        ]
                    ),
                },
            ).scalars()
        )
    events = [(case_id, *told) for case_id, story in zip(ids, stories, strict=True) for told in story]
    tell(engine, events, workflow=workflow)
    return ids


def tell(engine: Engine, events: Sequence[tuple[Any, ...]], *, workflow: str = "lead_to_client") -> None:
    """Add events: case, time, kind, step, state; the cases themselves stay where they are."""
    with engine.begin() as connection:
        connection.execute(
            text("""
                insert into events (case_id, at, workflow, kind, stage, state, actor)
                select case_id, at, :workflow, kind, stage, state, 'system:test'
                from rows from (jsonb_to_recordset(:events)
                                as (case_id bigint, at timestamptz, kind text, stage text, state text))
                     with ordinality as v(case_id, at, kind, stage, state, place)
                order by place"""),
            {
                "workflow": workflow,
                "events": Jsonb(
                    [dict(zip(("case_id", "at", "kind", "stage", "state"), event, strict=True)) for event in events]
                ),
            },
        )
