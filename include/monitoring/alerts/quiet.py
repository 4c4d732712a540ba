"""Alerts that are quiet for a while: acknowledged, snoozed, or in a maintenance window. Nothing is quiet for ever.

While it is quiet an alert still counts, and heals; when the time is up and it lasts, it is told anew. What people do is
kept in `alert_actions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Engine, text

from include.monitoring.alerts.messages import Kind

How = Literal["acknowledged", "snoozed"]
LONGEST = timedelta(days=7)
"""Nobody remembers longer why they did not want to hear of something."""
LONGEST_WINDOW = timedelta(days=14)
NEVER_QUIET = ("alerts", "waybill")
"""Workflows of the alerts themselves; a maintenance of these would be silence."""
SAME_CLICK = timedelta(minutes=1)

SYSTEM = f"coalesce(a.facts->>'system', case when a.kind = '{Kind.SYSTEM_DOWN}' then a.cause end)"
_MATCHES = f"""((w.what = 'workflow' and w.name = a.workflow) or (w.what = 'system' and w.name = {SYSTEM}))"""


class Refused(ValueError):
    """What somebody wants cannot be; the message says what is missing."""


@dataclass(frozen=True)
class Window:
    """A time in which alerts about a workflow or a system are expected."""

    id: int
    what: str
    name: str
    reason: str
    actor: str
    starts_at: datetime
    ends_at: datetime


def hold(engine: Engine, alert_ids: Sequence[int], how: How, *, until: datetime | None, reason: str, actor: str) -> int:
    """Acknowledge or snooze open alerts until an end; return how many it was said of.

    Acknowledged: somebody is at it, so there are no reminders and no mails; the message says who, and goes on to count.
    Snoozed: the message does not change either.

    :raises Refused: without an end, with one that is past or too far away, and without a reason.
    """
    until, reason = _end(until, LONGEST), _reason(reason)
    with engine.begin() as connection:
        ids = list(
            connection.execute(
                text("""
                    update alerts a set quiet = :how, quiet_until = :until, version = version + 1,
                        facts = facts || jsonb_build_object('quiet', jsonb_build_object(
                            'how', cast(:how as text), 'by', cast(:by as text), 'until', cast(:until_text as text)))
                    where a.id = any(:ids) and a.state = 'open'
                      and not (a.quiet is not distinct from :how and a.facts->'quiet'->>'by' = :by
                               and abs(extract(epoch from a.quiet_until - :until)) < :same)
                    returning a.id"""),
                {
                    "ids": list(alert_ids),
                    "how": how,
                    "until": until,
                    "until_text": until.isoformat(),
                    "by": actor.removeprefix("user:"),
                    "same": SAME_CLICK.total_seconds(),
                },
            ).scalars()
        )
        _log(connection, how, actor, reason, alert_ids=ids, until=until)
    return len(ids)


def speak_again(engine: Engine, alert_id: int, *, actor: str, reason: str) -> bool:
    """End the quiet of an alert now; the next look tells it anew. Returns whether it was quiet."""
    reason = _reason(reason)
    with engine.begin() as connection:
        ids = list(
            connection.execute(
                text("""
                    update alerts set quiet_until = now() where id = :id and state = 'open' and quiet is not null
                       and quiet_until > now() returning id"""),
                {"id": alert_id},
            ).scalars()
        )
        _log(connection, "spoke again", actor, reason, alert_ids=ids)
    return bool(ids)


def open_window(
    engine: Engine, *, what: str, name: str, starts: datetime | None, ends: datetime | None, reason: str, actor: str
) -> int:
    """Announce maintenance of a workflow or a system; return its number. The same twice within a minute is one.

    :raises Refused: without an end, with one that is past or too far away, without a reason, and for the alerts.
    """
    reason = _reason(reason)
    starts = max(starts or datetime.now(UTC), datetime.now(UTC))
    ends = _end(ends, LONGEST_WINDOW, since=starts)
    if what not in ("workflow", "system") or not name:
        raise Refused("choose a workflow or a system")
    if what == "workflow" and name in NEVER_QUIET:
        raise Refused("the alerts themselves have no maintenance: nobody would hear of anything")
    values = {"what": what, "name": name, "reason": reason, "actor": actor, "starts": starts, "ends": ends}
    with engine.begin() as connection:
        connection.execute(text("lock table maintenance_windows in share row exclusive mode"))
        known: int | None = connection.execute(
            text("""
                select id from maintenance_windows where what = :what and name = :name and actor = :actor
                   and reason = :reason and made_at > now() - :same and ends_at > now()"""),
            {**values, "same": SAME_CLICK},
        ).scalar()
        if known is not None:
            return known
        window: int = connection.execute(
            text("""
                insert into maintenance_windows (what, name, reason, actor, starts_at, ends_at)
                values (:what, :name, :reason, :actor, :starts, :ends) returning id"""),
            values,
        ).scalar_one()
        _log(connection, "window opened", actor, reason, window_id=window, until=ends)
    return window


def end_window(engine: Engine, window_id: int, *, actor: str, reason: str = "it is done") -> bool:
    """End maintenance before its time; the next look tells what lasts of its alerts. Returns whether it was open."""
    with engine.begin() as connection:
        ended = connection.execute(
            text("""
                update maintenance_windows set ends_at = now(), starts_at = least(starts_at, now())
                where id = :id and ends_at > now() returning id"""),
            {"id": window_id},
        ).scalar()
        if ended is None:
            return False
        connection.execute(
            text(f"""
                update alerts a set quiet_until = now() from maintenance_windows w
                where w.id = :id and a.state = 'open' and a.quiet = 'maintenance' and a.quiet_until > now()
                  and {_MATCHES}"""),
            {"id": window_id},
        )
        _log(connection, "window ended", actor, reason, window_id=window_id)
    return True


def hush(connection: Connection) -> None:
    """Let the open alerts be quiet that an open window is about."""
    connection.execute(
        text(f"""
            update alerts a set quiet = 'maintenance', quiet_until = v.ends_at,
                facts = a.facts || jsonb_build_object('quiet', jsonb_build_object(
                    'how', 'maintenance', 'until', to_char(v.ends_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI')))
            from (select a.id, max(w.ends_at) as ends_at from alerts a join maintenance_windows w on {_MATCHES}
                  where a.state = 'open' and w.starts_at <= now() and w.ends_at > now() group by a.id) v
            where a.id = v.id and (a.quiet_until is null or a.quiet_until < v.ends_at)""")
    )


def maintained_until(connection: Connection, *, workflow: str, system: str | None) -> datetime | None:
    """Return the end of the maintenance that trouble of now falls into, where there is one."""
    ends: datetime | None = connection.execute(
        text("""
            select max(ends_at) from maintenance_windows where starts_at <= now() and ends_at > now()
               and ((what = 'workflow' and name = :workflow) or (what = 'system' and name = :system))"""),
        {"workflow": workflow, "system": system},
    ).scalar()
    return ends


def quiet_in_maintenance(until: datetime) -> dict[str, Any]:
    """Return what the facts of an alert say that begins during maintenance."""
    return {"quiet": {"how": "maintenance", "until": until.astimezone(UTC).isoformat()}}


def system_of(kind: str, cause: str, facts: Mapping[str, Any]) -> str | None:
    """Return the system that an alert is about, as `SYSTEM` says it in SQL."""
    system = facts.get("system") or (cause if kind == Kind.SYSTEM_DOWN else None)
    return None if system is None else str(system)


def windows(connection: Connection) -> list[Window]:
    """Return the windows that are open or to come, the next first."""
    rows = connection.execute(
        text("""
            select id, what, name, reason, actor, starts_at, ends_at from maintenance_windows
            where ends_at > now() order by starts_at, id""")
    )
    return [Window(*row) for row in rows]


def _end(until: datetime | None, longest: timedelta, *, since: datetime | None = None) -> datetime:
    now = since or datetime.now(UTC)
    if until is None:
        raise Refused("say until when: nothing is quiet without an end")
    if until <= now:
        raise Refused("the end is past already")
    if until > now + longest + SAME_CLICK:
        raise Refused(f"at most {longest.days} days: say it again then, if it still holds")
    return until


def _reason(reason: str) -> str:
    if not reason.strip():
        raise Refused("give a reason")
    return reason.strip()


def _log(
    connection: Connection,
    action: str,
    actor: str,
    reason: str,
    *,
    alert_ids: Sequence[int] = (),
    window_id: int | None = None,
    until: datetime | None = None,
) -> None:
    values = {"action": action, "actor": actor, "reason": reason, "until": until}
    rows = [{**values, "alert": each, "window": None} for each in alert_ids]
    if window_id is not None:
        rows.append({**values, "alert": None, "window": window_id})
    if rows:
        connection.execute(
            text("""
                insert into alert_actions (alert_id, window_id, action, actor, reason, until)
                values (:alert, :window, :action, :actor, :reason, :until)"""),
            rows,
        )
