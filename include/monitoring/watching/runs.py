"""Keeps how Airflow's runs went, by hour and DAG: Airflow's own list is too long to be read whenever somebody looks.

It asks Airflow every few minutes for the runs that have ended since, and counts each once. Their times are counted by
size, four to each doubling, so that a median can be told to within 9 % however many runs there were. Those that failed
and of which nobody heard, for Airflow does not repeat a callback that was lost, are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble, workflow_of
from include.monitoring.watching import signs, turns
from include.monitoring.watching.airflow import PAGE, Account, signed_in

READ = "runs read"
"""The sign that they were read; its detail says up to when."""
EVERY = timedelta(minutes=5)
FIRST_LOOK = timedelta(days=2)
"""How far back the first look goes; two looks apart for longer lose nothing."""
MOST_PAGES = 20
"""Of one look; the next goes on."""
SETTLED_AFTER = timedelta(seconds=30)
"""Time after which no run can appear any more that ended before."""
KEPT = timedelta(days=90)
SHORTEST = 0.001
"""Seconds; what is shorter counts as this."""
UNTOLD = "untold"
"""The cause of an alert about a run whose callbacks did not tell that it failed."""
TELL_A_FAILURE = (Kind.TASK_FAILED, Kind.RUN_FAILED, Kind.CANARY)


@dataclass(frozen=True)
class Ended:
    """A run that is over; times in seconds, None where it never was queued or started."""

    dag_id: str
    run_id: str
    ended_at: datetime
    failed: bool
    queued: float | None
    took: float | None


def keep_up(
    alerts: Alerts, account: Account, *, also: Callable[[Connection, Sequence[Ended]], None] | None = None
) -> int:
    """Count the runs that have ended since the last look, and tell those whose failure nobody told; return how many.

    Where it is too early to look again, or Airflow cannot be reached, which is told as its silence, none; a later look
    makes up for it.

    :param also: counts the same runs for another purpose, in the same transaction and so each once too.
    :raises httpx.HTTPError: when Airflow answers otherwise than expected.
    """
    with alerts.engine.connect() as connection:
        last = _last(connection)
    now = datetime.now(UTC)
    if last and last[0] > now - EVERY:
        return 0
    since = last[1] if last else now - FIRST_LOOK
    try:
        with signed_in(account) as api:
            if api is None:
                return 0
            ended, until = _ended(api, since, now - SETTLED_AFTER)
    except httpx.TransportError:
        return 0
    if not ended and last is None:
        return 0  # nothing has ever run: each look asks, until something has
    with alerts.engine.begin() as connection:
        turns.take(connection, "runs")
        if _last(connection) != last:
            return 0  # somebody else has counted them meanwhile
        _count(connection, ended)
        for run in _untold(connection, [run for run in ended if run.failed]):
            alerts.raise_in(connection, _failed(run))
        if also is not None:
            also(connection, ended)
        signs.seen(connection, [READ], {"until": until.isoformat()})
        connection.execute(text("delete from airflow_runs where hour < now() - :kept"), {"kept": KEPT})
    return len(ended)


def _last(connection: Connection) -> tuple[datetime, datetime] | None:
    """When they were read last, and up to when they are counted."""
    row = connection.execute(
        text("select at, detail->>'until' as until from life_signs where part = :part"), {"part": READ}
    ).one_or_none()
    return (row.at, datetime.fromisoformat(row.until)) if row else None


def _ended(api: httpx.Client, since: datetime, until: datetime) -> tuple[list[Ended], datetime]:
    """Return the runs that ended after `since`, and up to when these are all of them."""
    found: list[Ended] = []
    for page in range(MOST_PAGES):
        params = {
            "end_date_gt": since.isoformat(), "end_date_lte": until.isoformat(), "order_by": "end_date",
            "limit": str(PAGE), "offset": str(page * PAGE),
        }  # fmt: skip
        rows = api.get("/api/v2/dags/~/dagRuns", params=params).raise_for_status().json()["dag_runs"]
        found += [_run(row) for row in rows]
        if len(rows) < PAGE:
            return found, until
    return found, found[-1].ended_at


def _run(row: dict[str, Any]) -> Ended:
    queued, started, ended = (
        datetime.fromisoformat(row[name]) if row.get(name) else None for name in ("queued_at", "start_date", "end_date")
    )
    if ended is None:
        raise httpx.DecodingError("Airflow named a run that has not ended")
    return Ended(
        row["dag_id"],
        row["dag_run_id"],
        ended,
        row["state"] == "failed",
        max((started - queued).total_seconds(), 0) if queued and started else None,
        (ended - started).total_seconds() if started else None,
    )


def _untold(connection: Connection, failed: Sequence[Ended]) -> list[Ended]:
    """Those of the runs about whose failure no alert was raised, by a callback of theirs or of one of their tasks."""
    told = set(
        connection.execute(
            text("""
                select o.run_id from alert_occurrences o join alerts a on a.id = o.alert_id
                where o.run_id = any(:runs) and a.kind = any(:kinds)"""),
            {"runs": [f"{run.dag_id}/{run.run_id}" for run in failed], "kinds": list(TELL_A_FAILURE)},
        ).scalars()
    )
    return [run for run in failed if f"{run.dag_id}/{run.run_id}" not in told]


def _failed(run: Ended) -> Trouble:
    return Trouble(
        Kind.RUN_FAILED,
        workflow_of(run.dag_id),
        occurrence=f"{run.dag_id}/{run.run_id}",
        cause=UNTOLD,
        dag_id=run.dag_id,
        run_id=run.run_id,
        facts={"dag_id": run.dag_id, "run_id": run.run_id},
    )


def _count(connection: Connection, ended: Iterable[Ended]) -> None:
    rows: Sequence[dict[str, Any]] = [
        {"dag_id": run.dag_id, "at": run.ended_at.isoformat(), "failed": run.failed, "queued": run.queued,
         "took": run.took}
        for run in ended
    ]  # fmt: skip
    connection.execute(
        text("""
            with ended as materialized (
                select date_trunc('hour', at) as hour, * from jsonb_to_recordset(:rows)
                    as v(dag_id text, at timestamptz, failed boolean, queued float8, took float8)
            ), counted as (
                insert into airflow_runs as r (hour, dag_id, runs, failed, queued, longest_queued, started,
                                               longest_took)
                select hour, dag_id, count(*), count(*) filter (where failed), count(queued), coalesce(max(queued), 0),
                       count(took), coalesce(max(took), 0)
                from ended group by 1, 2
                on conflict (hour, dag_id) do update set
                    runs = r.runs + excluded.runs, failed = r.failed + excluded.failed,
                    queued = r.queued + excluded.queued, started = r.started + excluded.started,
                    longest_queued = greatest(r.longest_queued, excluded.longest_queued),
                    longest_took = greatest(r.longest_took, excluded.longest_took)
            )
            insert into airflow_run_times as t (hour, dag_id, what, size, runs)
            select hour, dag_id, what, floor(4 * log(2, greatest(seconds, :shortest)::numeric)), count(*)
            from ended cross join lateral (values ('queued', queued), ('took', took)) as each (what, seconds)
            where seconds is not null group by 1, 2, 3, 4
            on conflict (hour, dag_id, what, size) do update set runs = t.runs + excluded.runs"""),
        {"rows": Jsonb(rows), "shortest": SHORTEST},
    )
