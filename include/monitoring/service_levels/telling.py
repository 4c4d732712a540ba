"""Tells people of service levels: warned before, alerted when missed, escalated when nobody acts; well again after.

One alert for a workflow and step, however many cases; what is late is found in `facts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from include.contracts.registry import contracts
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble, next_in_line
from include.monitoring.service_levels.facts import keep_up
from include.monitoring.watching import turns
from include.monitoring.watching.lasting import Looked
from include.monitoring.watching.look import raise_about

SHORTEST_WARNING = timedelta(minutes=5)
"""A warning that leaves less time than this helps nobody, so it is kept as a fact, and not told."""
ESCALATED = "service_level_escalated"

# `mark` tells one level of a case from another; each is told once of each kind.
_TROUBLED = """
    select workflow, step, kind, array_agg(case_id order by due_at, case_id) as ids,
           array_agg(mark order by due_at, case_id) as marks
    from (
        select workflow, step, case_id, due_at, kind, concat_ws('/', kind, coalesce(step, ''), visit) as mark
        from service_levels, lateral (
            select :missed as kind where due_at < now()
            union all select :escalated where escalate_at < now()
            union all select :at_risk where due_at >= now() and due_at - warn_at >= :shortest
        ) as told
        where ended_at is null and warn_at < now()
    ) as troubled
    where not exists (select from alert_subjects where what = 'case' and subject_id = case_id
                                                   and alert_subjects.mark = troubled.mark)
    group by workflow, step, kind order by kind <> :escalated desc, workflow, step"""
_OVER = """
    select a.id, a.kind, late
    from alerts a, lateral (
        select coalesce(bool_or(due_at < now()), false) as late, coalesce(bool_or(due_at >= now()), false) as soon
        from service_levels s
        where s.ended_at is null and s.warn_at < now() and s.workflow = a.workflow
          and s.step is not distinct from a.step
    ) as standing
    where a.state = 'open' and ((a.kind = :missed and not late) or (a.kind = :at_risk and not soon))"""
_VALUES = {
    "missed": Kind.SERVICE_LEVEL_MISSED,
    "at_risk": Kind.SERVICE_LEVEL_AT_RISK,
    "escalated": ESCALATED,
    "shortest": SHORTEST_WARNING,
}


def watch_service_levels(alerts: Alerts) -> Looked:
    """Bring the facts up to now; raise, escalate and resolve alerts by what they say."""
    keep_up(alerts.engine)
    with alerts.engine.begin() as connection:
        turns.take(connection, "alerts.look")
        raised = 0
        for group in connection.execute(text(_TROUBLED), _VALUES).all():
            if group.kind == ESCALATED:
                _escalate(connection, alerts, group)
            else:
                raised += raise_about(
                    connection, alerts, _trouble(group), what="case", ids=group.ids, marks=group.marks
                )
        over = connection.execute(text(_OVER), _VALUES).all()
    return Looked(raised, _recover(alerts, over))


def _recover(alerts: Alerts, over: Sequence[Row[Any]]) -> int:
    endings: dict[str, list[int]] = {}
    for alert in over:
        if alert.kind == Kind.SERVICE_LEVEL_MISSED:
            ending = "none of them is late any more"
        elif alert.late:
            ending = "but what was about to be late is late now, which a message of its own tells"
        else:
            ending = "none of them is about to be late any more"
        endings.setdefault(ending, []).append(alert.id)
    kinds = (Kind.SERVICE_LEVEL_MISSED, Kind.SERVICE_LEVEL_AT_RISK)
    return sum(alerts.recover(resolution=ending, kinds=kinds, ids=ids) for ending, ids in endings.items())


def _trouble(group: Row[Any]) -> Trouble:
    declared = contracts().get(group.workflow)
    on_call = next_in_line(group.workflow, group.step)
    facts = {"next": f"{on_call.name}, {on_call.reach}"}
    if declared is not None and group.step in (None, *declared.step_ids):
        level = declared.step(group.step).service_level if group.step else declared.service_level
        facts["promise"] = str(level)
    return Trouble(
        Kind(group.kind),
        group.workflow,
        occurrence=f"case {group.ids[0]} {group.marks[0]}",
        step=group.step,
        dag_id=group.workflow if declared is not None and group.workflow in declared.dags else None,
        facts=facts,
    )


def _escalate(connection: Connection, alerts: Alerts, group: Row[Any]) -> None:
    """Tell the next in line about the open alert of the same workflow and step; each level once.

    While the alert is quiet, or has just been escalated, nothing is marked, so that a later look tells it.
    """
    alert_id = connection.execute(
        text("""
            select id from alerts
            where state = 'open' and kind = :kind and workflow = :workflow and step is not distinct from :step"""),
        {"kind": Kind.SERVICE_LEVEL_MISSED, "workflow": group.workflow, "step": group.step},
    ).scalar()
    if alert_id is None or not alerts.escalate(connection, alert_id):
        return
    connection.execute(
        text("""
            insert into alert_subjects (what, subject_id, mark, alert_id)
            select 'case', id, mark, :alert_id
            from unnest(cast(:ids as bigint[]), cast(:marks as text[])) as v(id, mark)
            on conflict do nothing"""),
        {"ids": group.ids, "marks": group.marks, "alert_id": alert_id},
    )
