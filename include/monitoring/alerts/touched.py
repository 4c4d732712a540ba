"""Whom an alert touches: the cases and effects behind it, counted and listed.

Numbers and ids only; it decides nothing about the alert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.monitoring.alerts.messages import Alert, Kind, Numbers

MOST_LISTED = 1_000
"""Cases that one page lists."""

# One branch for each partial index; a single condition over the states would read the whole ledger.
_WAITING = """(
    select id, system, case_id from effects where state in ('pending', 'failed')
    union all select id, system, case_id from effects where state in ('sending', 'unknown'))"""


@dataclass(frozen=True)
class TouchedCase:
    """One case behind an alert, without personal data."""

    id: int
    workflow: str
    state: str
    stage: str
    codes: Sequence[str]


def touched(connection: Connection, alert: Alert) -> Numbers:
    """Count whom an alert touches now; of a run's cases the largest count stays, for they go back when it is over."""
    if alert.kind in (Kind.CASES_QUARANTINED, Kind.EFFECTS_DEAD):
        return _subjects(connection, alert)
    if alert.kind in (Kind.SERVICE_LEVEL_AT_RISK, Kind.SERVICE_LEVEL_MISSED):
        return _late(connection, alert)
    if alert.kind in (Kind.SYSTEM_DOWN, Kind.LEDGER_GROWING):
        return _waiting_for(connection, str(alert.facts.get("system", alert.cause)))
    if alert.kind in (Kind.INBOX_GROWING, Kind.AIRFLOW_SILENT):
        return _due(connection, alert.workflow if alert.kind == Kind.INBOX_GROWING else None)
    found = connection.execute(
        text("""
            select cases.id from cases join claims on claims.id = cases.claim_id
            where cases.state = 'running' and claims.workflow = :workflow and claims.run_id = :run_id
            order by cases.id"""),
        {"workflow": alert.workflow, "run_id": alert.facts.get("run_id") or ""},
    )
    ids = list(found.scalars())
    kept = alert.facts.get("touched") or {"cases": 0, "examples": []}
    if len(ids) > kept["cases"]:
        kept = {"cases": len(ids), "examples": ids[:5]}
        connection.execute(
            text("update alerts set facts = facts || :kept where id = :id"),
            {"kept": Jsonb({"touched": kept}), "id": alert.id},
        )
    return Numbers(cases=kept["cases"], remaining=len(ids), examples=kept["examples"])


def cases_of(connection: Connection, alert_id: int) -> list[TouchedCase]:
    """Return the cases behind an alert, as they stand now, oldest first: at most `MOST_LISTED`."""
    found = connection.execute(
        text(f"""
            with behind as (
                select s.subject_id as id from alert_subjects s where s.alert_id = :id and s.what = 'case'
                union
                select e.case_id from alert_subjects s join effects e on e.id = s.subject_id
                where s.alert_id = :id and s.what = 'effect' and e.case_id is not null
                union
                select e.case_id from alerts a join {_WAITING} e on e.system = coalesce(a.facts->>'system', a.cause)
                where a.id = :id and a.kind in ('system_down', 'ledger_growing') and e.case_id is not null
                union
                select c.id from alerts a join claims on claims.workflow = a.workflow
                                                     and claims.run_id = a.facts->>'run_id'
                     join cases c on c.claim_id = claims.id and c.state = 'running'
                where a.id = :id
                union all
                (select c.id from alerts a join cases c on c.workflow = a.workflow
                 where a.id = :id and a.kind = 'inbox_growing' and c.state = 'pending' and c.available_at <= now()
                 order by c.available_at, c.id limit :most)
                union
                select cast(example as bigint)
                from alerts a, jsonb_array_elements_text(a.facts->'touched'->'examples') example where a.id = :id
            )
            select c.id, c.workflow, c.state, c.stage,
                   coalesce((select array_agg(distinct r->>'code') from jsonb_array_elements(c.reasons) r), '{{}}')
            from behind join cases c using (id) order by c.id limit :most"""),
        {"id": alert_id, "most": MOST_LISTED},
    )
    return [TouchedCase(*row) for row in found]


def _subjects(connection: Connection, alert: Alert) -> Numbers:
    if alert.kind == Kind.EFFECTS_DEAD:
        effects, cases, examples = connection.execute(
            text("""
                select count(*), count(distinct e.case_id),
                       (array_agg(distinct e.case_id) filter (where e.case_id is not null))[1 : 5]
                from alert_subjects s join effects e on e.id = s.subject_id
                where s.alert_id = :id and s.what = 'effect'"""),
            {"id": alert.id},
        ).one()
        return Numbers(cases=cases, remaining=cases, examples=examples or (), effects=effects)
    cases, remaining, examples = connection.execute(
        text("""
            select count(distinct c.id), count(distinct c.id) filter (where c.state = 'quarantined'),
                   (array_agg(distinct c.id) filter (where c.state = 'quarantined'))[1 : 5]
            from alert_subjects s join cases c on c.id = s.subject_id
            where s.alert_id = :id and s.what = 'case'"""),
        {"id": alert.id},
    ).one()
    reasons = connection.execute(
        text("""
            select reason->>'code', count(distinct c.id)
            from alert_subjects s join cases c on c.id = s.subject_id and c.state = 'quarantined',
                 jsonb_array_elements(c.reasons) as reason
            where s.alert_id = :id and s.what = 'case' group by 1"""),
        {"id": alert.id},
    )
    return Numbers(cases, remaining, examples or (), {row[0]: row[1] for row in reasons})


def _due(connection: Connection, workflow: str | None) -> Numbers:
    """Cases that wait to be taken, of one workflow or of all."""
    cases, examples = connection.execute(
        text("""
            select count(*), (array_agg(id order by available_at, id))[1 : 5] from cases
            where state = 'pending' and available_at <= now()
              and (cast(:workflow as text) is null or workflow = :workflow)"""),
        {"workflow": workflow},
    ).one()
    return Numbers(cases=cases, remaining=cases, examples=examples or ())


def _late(connection: Connection, alert: Alert) -> Numbers:
    """Those of an alert about a service level, and what is late, or about to be, at its step now."""
    remaining, examples, cases = connection.execute(
        text("""
            select count(*), (array_agg(case_id order by due_at, case_id))[1 : 5],
                   (select count(distinct subject_id) from alert_subjects where alert_id = :id and what = 'case')
            from service_levels
            where ended_at is null and warn_at < now() and workflow = :workflow and step is not distinct from :step
              and (due_at < now()) = :missed"""),
        {
            "id": alert.id,
            "workflow": alert.workflow,
            "step": alert.step,
            "missed": alert.kind == Kind.SERVICE_LEVEL_MISSED,
        },
    ).one()
    return Numbers(cases=cases, remaining=remaining, examples=examples or ())


def _waiting_for(connection: Connection, system: str) -> Numbers:
    effects, cases, examples = connection.execute(
        text(f"""
            select count(effect), count(distinct case_id),
                   (array_agg(distinct case_id) filter (where case_id is not null))[1 : 5]
            from (select id as effect, case_id from {_WAITING} planned where system = :system
                  union all
                  -- a system that cannot be read holds back cases for which nothing is planned yet
                  select null, cases.id from cases where state in ('pending', 'running') and (workflow, stage) in
                      (select workflow, step from events where kind = 'system away'
                       and at > now() - interval '10 minutes' and detail->>'system' = :system)) waiting"""),
        {"system": system},
    ).one()
    return Numbers(cases=cases, remaining=cases, examples=examples or (), effects=effects)
