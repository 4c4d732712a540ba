"""How long the ops pages take, with 1,000,000 cases and 10,000,000 events: run it with `python -m benchmarks pages`.

The app is called as a browser calls it, in the process, as somebody who acts; only the login is left out, for it is
Airflow's. Cases and events are written by SQL, most of them finished, over a year.
"""

from __future__ import annotations

import os
import statistics
import time
from dataclasses import dataclass
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.data import database

CASES = 1_000_000
EVENTS_A_CASE = 10
LOOKS = 15
AIM = 0.3
"""Seconds, the median."""
BATCH = 100_000

# One case in fifty is open: half of these wait, the others are set aside. Most came long ago.
_CASES = """
    with new as (
        select n, uuidv7() as id, case when n % 10 < 5 then 'lead_to_client' when n % 10 < 8 then 'stock_request'
               else 'purchase_approval' end as workflow,
               now() - make_interval(secs => (cast(:cases as bigint) - n) * 31536000.0 / :cases) as at
        from generate_series(cast(:first as bigint), :last) as n
    ), delivered as (
        insert into deliveries (id, source, workflow, key, digest, body, received_at)
        select id, 'website', workflow, 'id:' || n, sha256(n::text::bytea),
               convert_to(json_build_object('email', 'person' || n || '@example.com')::text, 'UTF8'), at from new
    )
    insert into cases (workflow, key, delivery_id, state, stage, owner, outcome, reasons, created_at, updated_at,
                       closed_at)
    select workflow, 'website/id:' || n, id,
           case n % 100 when 0 then 'waiting' when 1 then 'quarantined' else 'finished' end,
           case n % 100 when 0 then 'log' when 1 then 'validate' else 'log' end, 'revenue_operations',
           case when n % 100 > 1 then 'done' end,
           case when n % 100 = 1 then jsonb_build_array(jsonb_build_object(
               'code', (array['email.invalid', 'phone.invalid', 'item.unknown'])[1 + n % 3], 'message', 'not right',
               'field', 'email')) end,
           at, at, case when n % 100 > 1 then at + interval '1 minute' end from new"""
_EVENTS = """
    insert into events (at, case_id, workflow, kind, stage, state, actor, run_id, step, detail)
    select c.created_at + make_interval(secs => e), c.id, c.workflow,
           case when e = 0 then 'received' when e = 1 then 'claimed'
                when e < :each - 1 then 'advanced' else c.state end,
           c.stage, c.state, 'system:steps', 'run-' || c.id / 500, c.stage,
           case when e = :each - 1 and c.state = 'quarantined' then jsonb_build_object('reasons', c.reasons) end
    from cases c, generate_series(0, :each - 1) as e
    where c.id between :first and :last"""
_EFFECTS = """
    insert into effects (key, system, operation, case_id, step, target, payload, mode, state, attempts, answer, error,
                         created_at, sent_at)
    select c.workflow || '/' || c.id || '/log/x', (array['crm', 'mail', 'erp'])[1 + c.id % 3], 'upsert_contact', c.id,
           'log', 'x' || c.id, '{"email": "person@example.com"}', 'live',
           case when c.id % 500 = 0 then 'dead' when c.id % 500 = 1 then 'failed' else 'sent' end, 1,
           case when c.id % 500 > 1 then '{"id": "1"}'::jsonb end, case when c.id % 500 < 2 then 'refused' end,
           c.created_at, case when c.id % 500 > 1 then c.created_at end
    from cases c where c.id between :first and :last"""


@dataclass(frozen=True)
class Page:
    """How long a page took, in seconds."""

    path: str
    first: float
    median: float
    p95: float
    kilobytes: float


def run(cases: int = CASES) -> list[Page]:
    """Fill a database, and look at every page `LOOKS` times."""
    with durable_server() as url:
        os.environ["WAYBILL_DATABASE_URL"] = url
        os.environ.setdefault("WAYBILL_ENVIRONMENT", "production")
        os.environ["WAYBILL_BASE_URL"] = "http://127.0.0.1:9"  # nobody answers there: Airflow's own time is not ours
        database.engine.cache_clear()
        engine = database.engine()
        try:
            fill(engine, cases)
            return [look(path) for path in paths(engine)]
        finally:
            engine.dispose()


def fill(engine: Engine, cases: int) -> None:
    """Write cases with their events and effects, without the triggers that would write the events again."""
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("set local synchronous_commit = off"))
        for first in range(1, cases + 1, BATCH):
            span = {"first": first, "last": min(first + BATCH - 1, cases)}
            connection.execute(text(_CASES), {**span, "cases": cases})
            connection.execute(text(_EVENTS), {**span, "each": EVENTS_A_CASE})
            connection.execute(text(_EFFECTS), span)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def paths(engine: Engine) -> list[str]:
    """Return the pages: every tab, and one of each kind that a tab leads to."""
    from waybill.pages.rendering import TABS

    with engine.connect() as connection:
        case = connection.execute(text("select max(id) from cases where state = 'quarantined'")).scalar_one()
    return [f"/{path}" for path in TABS] + [
        f"/cases/{case}",
        "/cases?q=person4711@example.com",
        f"/cases?q={case}",
        "/quarantine/lead_to_client/email.invalid",
    ]


def look(path: str) -> Page:
    """Ask for a page again and again."""
    client = _client()
    took, size = [], 0
    for _ in range(LOOKS):
        begun = time.perf_counter()
        answer = client.get(path)
        took.append(time.perf_counter() - begun)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        size = len(answer.content)
    return Page(path, took[0], statistics.median(took), sorted(took)[int(LOOKS * 0.95)], size / 1024)


def _client() -> TestClient:
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user

    from waybill.pages.app import app

    async def somebody() -> Any:
        return SimpleAuthManagerUser(username="olga", role="op")

    init_auth_manager()
    app.dependency_overrides[get_user] = somebody
    return TestClient(app, root_path="/waybill")


def table(pages: list[Page]) -> str:
    """Return what was measured as a table."""
    lines = ["| page | first ms | median ms | p95 ms | KB | aim 300 ms |", "|---|---:|---:|---:|---:|---|"]
    for page in pages:
        verdict = "met" if page.median <= AIM else "**missed**"
        lines.append(
            f"| {page.path} | {page.first * 1000:,.0f} | {page.median * 1000:,.0f} | {page.p95 * 1000:,.0f} |"
            f" {page.kilobytes:,.0f} | {verdict} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run()))
