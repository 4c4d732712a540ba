"""Puts cases into the database as the intake would, and looks at where they stand."""

from __future__ import annotations

import itertools
import json
from typing import Any

from sqlalchemy import Engine, text

from include.data.database import authored

_numbers = itertools.count(1)


def receive(
    engine: Engine,
    bodies: list[dict[str, Any]] | int = 1,
    *,
    workflow: str = "lead_to_client",
    source: str = "website",
    stage: str = "capture",
) -> list[int]:
    """Store a delivery and a pending case for each body; return the cases in order."""
    items = [{} for _ in range(bodies)] if isinstance(bodies, int) else bodies
    with authored(engine, actor="system:intake") as connection:
        return [
            connection.execute(
                text("""
                    with d as (insert into deliveries (source, workflow, key, digest, body)
                               values (:source, :workflow, :key, sha256(cast(:body as bytea)), :body)
                               returning id, workflow, source, key)
                    insert into cases (workflow, key, delivery_id, stage, owner)
                    select workflow, source || '/' || key, id, :stage, 'revenue_operations' from d returning id"""),
                {
                    "source": source,
                    "workflow": workflow,
                    "key": f"id:{next(_numbers)}",
                    "body": json.dumps(body).encode(),
                    "stage": stage,
                },
            ).scalar_one()
            for body in items
        ]


def states(engine: Engine) -> dict[int, tuple[str, str]]:
    """Return state and stage of each case."""
    with engine.connect() as connection:
        return {row.id: (row.state, row.stage) for row in connection.execute(text("select * from cases order by id"))}


def rows(engine: Engine, query: str, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query as dicts."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def change(engine: Engine, statement: str, actor: str = "system:test", **values: Any) -> None:
    """Change the database by hand."""
    with authored(engine, actor=actor) as connection:
        connection.execute(text(statement), values)


def assert_balanced(engine: Engine) -> None:
    """Fail when any workflow lost a case."""
    lost = rows(engine, "select * from balance where difference <> 0")
    assert not lost, lost
