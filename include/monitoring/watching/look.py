"""Looks for trouble that no callback reports, and for trouble that is over.

Level-triggered: it looks at what is set aside or given up now and not yet alerted, so nothing is missed that happened
while nobody looked.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

from include.integrations.ledger import WITHDRAWN
from include.integrations.steps import SYSTEM_AWAY
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import STEP, Alerts, Trouble
from include.monitoring.alerts.wording import effects_in_words
from include.monitoring.watching import turns
from include.monitoring.watching.lasting import Looked, raise_lasting

DOWN_AFTER_ATTEMPTS = 3
DOWN_AFTER = timedelta(minutes=2)
"""A system is down when effects failed so often, for so long, and nothing reached it meanwhile, or since the last."""
RUN_KINDS = (Kind.TASK_FAILED, Kind.RUN_FAILED, Kind.DEADLINE_MISSED)


def look(alerts: Alerts) -> Looked:
    """Raise alerts for what is wrong now, and resolve those whose trouble is over."""
    with alerts.engine.begin() as connection:
        turns.take(connection, "alerts.look")
        troubles = [
            *_set_aside(connection, alerts),
            *_given_up(connection, alerts),
        ]
        down = _down(connection)
    raised = troubles.count(True) + raise_lasting(alerts, down)
    return Looked(raised, _healed(alerts))


def _set_aside(connection: Connection, alerts: Alerts) -> list[bool]:
    """One occurrence per workflow and step for all cases that were set aside since the last look.

    Cases set aside only for an effect that was given up are told by that effect's alert.
    """
    groups = connection.execute(
        text("""
            select c.workflow, c.stage, array_agg(c.id order by c.id) as ids,
                   array_agg(coalesce(e.id, 0)::text order by c.id) as marks, max(e.run_id) as run_id
            from cases c left join lateral (
                select id, run_id from events where case_id = c.id and state = 'quarantined'
                   and kind in ('quarantined', 'received', 'handed over') order by id desc limit 1) e on true
            where c.state = 'quarantined'
              and not (select bool_and(starts_with(r->>'code', 'effect.')) from jsonb_array_elements(c.reasons) r)
              and not exists (select from alert_subjects s where s.what = 'case' and s.subject_id = c.id
                                                              and s.mark = coalesce(e.id, 0)::text)
            group by c.workflow, c.stage order by c.workflow, c.stage""")
    ).fetchall()
    new = []
    for workflow, stage, ids, marks, run_id in groups:
        facts = {"run_id": run_id, "dag_id": workflow} if run_id else {"run_id": None}
        trouble = Trouble(
            Kind.CASES_QUARANTINED,
            workflow,
            occurrence=f"case {ids[0]} {marks[0]}",
            step=stage,
            dag_id=workflow,
            run_id=run_id,
            facts=facts,
        )
        new.append(raise_about(connection, alerts, trouble, what="case", ids=ids, marks=marks))
    return new


def _given_up(connection: Connection, alerts: Alerts) -> list[bool]:
    groups = connection.execute(
        text("""
            select split_part(key, '/', 1) as workflow, step, system, operation, array_agg(id order by id) as ids,
                   array_agg(available_at::text order by id) as marks
            from effects e
            where state = 'dead' and step <> :alerts and not starts_with(error, :withdrawn)
              and not exists (select from alert_subjects s where s.what = 'effect' and s.subject_id = e.id
                                                              and s.mark = e.available_at::text)
            group by 1, 2, 3, 4 order by 1, 2, 3, 4"""),
        {"alerts": STEP, "withdrawn": WITHDRAWN},
    ).fetchall()
    new = []
    for workflow, step, system, operation, ids, marks in groups:
        trouble = Trouble(
            Kind.EFFECTS_DEAD,
            workflow,
            occurrence=f"effect {ids[0]} {marks[0]}",
            step=step,
            cause=f"{system}.{operation}",
            facts={"system": system, "operation": operation, "dag_id": workflow},
        )
        new.append(raise_about(connection, alerts, trouble, what="effect", ids=ids, marks=marks))
    return new


def raise_about(
    connection: Connection, alerts: Alerts, trouble: Trouble, *, what: str, ids: list[int], marks: list[str]
) -> bool:
    """Raise, and keep what the alert is about before its message is worded."""
    raised = alerts.raise_in(connection, trouble)
    connection.execute(
        text("""
            insert into alert_subjects (what, subject_id, mark, alert_id)
            select :what, id, mark, :alert_id
            from unnest(cast(:ids as bigint[]), cast(:marks as text[])) as v(id, mark)
            on conflict do nothing"""),
        {"what": what, "ids": ids, "marks": marks, "alert_id": raised.alert_id},
    )
    alerts.reword(connection, raised.alert_id)
    return raised.new


def _down(connection: Connection) -> list[Trouble]:
    rows = connection.execute(
        text("""
            select e.system, min(e.id), max(e.attempts), array_agg(distinct split_part(e.key, '/', 1))
            from effects e
            where e.state in ('failed', 'unknown') and e.attempts >= :attempts and e.step <> :alerts
            group by e.system
            having min(e.created_at) < now() - :after
               and not exists (select from effects s where s.system = e.system and s.state = 'sent' and s.sent_at >
                                   least(now() - :after, max(coalesce(e.failed_at, e.created_at))))"""),
        {"attempts": DOWN_AFTER_ATTEMPTS, "after": DOWN_AFTER, "alerts": STEP},
    )
    unreadable = connection.execute(
        text("""
            select e.system, min(e.id), count(*), array_agg(distinct e.workflow)
            from (select id, at, workflow, detail->>'system' as system from events
                  where kind = :away and at > now() - :window) e
            group by e.system
            having min(e.at) < now() - :after and max(e.at) > now() - :after
               and not exists (select from effects s where s.system = e.system and s.state = 'sent'
                                                       and s.sent_at > now() - :after)"""),
        {"away": SYSTEM_AWAY, "after": DOWN_AFTER, "window": 5 * DOWN_AFTER},
    )
    found = [*((f"effect {row[1]}", row) for row in rows), *((f"event {row[1]}", row) for row in unreadable)]
    return [
        Trouble(
            Kind.SYSTEM_DOWN,
            "waybill",
            occurrence=occurrence,
            cause=system,
            facts={"attempts": attempts, "workflows": workflows},
        )
        for occurrence, (system, _, attempts, workflows) in found
    ]


def _healed(alerts: Alerts) -> int:
    """Resolve what is over: nothing of it is left, or later work passed the same place."""
    with alerts.engine.begin() as connection:
        dealt_with = _ids(
            connection,
            """kind = 'cases_quarantined' and not exists (
                   select from alert_subjects s join cases c on c.id = s.subject_id
                   where s.alert_id = a.id and s.what = 'case' and c.state = 'quarantined')""",
        )
        handled = _handled(connection)
        back = _ids(
            connection,
            """kind = 'system_down' and (
                   (not exists (select from effects e where e.system = a.cause and e.state in ('failed', 'unknown')
                                                        and e.step <> :alerts)
                    and not exists (select from events e where e.kind = :away and e.at > now() - :after
                                                           and e.detail->>'system' = a.cause))
                   or exists (select from effects e where e.system = a.cause and e.state = 'sent'
                                                      and e.sent_at > a.last_at))""",
            {"alerts": STEP, "away": SYSTEM_AWAY, "after": DOWN_AFTER},
        )
        passed = _ids(
            connection,
            """kind = any(:kinds) and exists (
                   select from events e where e.id > a.seen_event and e.workflow = a.workflow
                      and case when a.step is null then e.kind = 'finished'
                               else e.step = a.step and e.kind in ('advanced', 'finished') end)""",
            {"kinds": list(RUN_KINDS)},
        )
        connection.execute(
            text("""
                update alerts set seen_event = newest.id from (select coalesce(max(id), 0) as id from events) newest
                where state = 'open' and kind = any(:kinds) and seen_event < newest.id
                  and not alerts.id = any(:passed)"""),
            {"kinds": list(RUN_KINDS), "passed": passed},
        )
    return sum(
        alerts.recover(resolution=resolution, kinds=kinds, ids=ids)
        for ids, kinds, resolution in (
            (dealt_with, (Kind.CASES_QUARANTINED,), "every case was released or discarded"),
            *((ids, (Kind.EFFECTS_DEAD,), ending) for ending, ids in handled.items()),
            (back, (Kind.SYSTEM_DOWN,), "the system takes effects again"),
            (passed, RUN_KINDS, "later cases passed the same place"),
        )
        if ids
    )


def _handled(connection: Connection) -> dict[str, list[int]]:
    """Return the alerts about effects of which none is given up any more, by what became of these."""
    found = connection.execute(
        text("""
            select a.id, count(*) filter (where e.state <> 'dead' and e.answer->'by_hand' is null),
                   count(*) filter (where e.answer->'by_hand' is not null), count(*) filter (where e.state = 'dead')
            from alerts a left join alert_subjects s on s.alert_id = a.id and s.what = 'effect'
                 left join effects e on e.id = s.subject_id
            where a.state = 'open' and a.kind = 'effects_dead'
            group by a.id
            having not coalesce(bool_or(e.state = 'dead' and not starts_with(e.error, :withdrawn)), false)"""),
        {"withdrawn": WITHDRAWN},
    )
    endings: dict[str, list[int]] = {}
    for alert_id, *numbers in found:
        parts = zip(numbers, ("tried again", "done by hand", "withdrawn for good"), strict=True)
        ending = ", ".join(f"{effects_in_words(number)} {what}" for number, what in parts if number)
        endings.setdefault(ending or "nothing of it is left", []).append(alert_id)
    return endings


def _ids(connection: Connection, condition: str, values: dict[str, object] | None = None) -> list[int]:
    found = connection.execute(text(f"select a.id from alerts a where state = 'open' and {condition}"), values or {})
    return list(found.scalars())
