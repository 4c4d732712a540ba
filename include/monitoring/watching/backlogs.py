"""Watches inboxes and ledgers: what is due and nobody takes, and what only grows.

A long backlog that moves is no trouble; one that grows for half an hour while its oldest waits is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import STEP, Alerts, Trouble
from include.monitoring.watching.lasting import Looked, compare
from include.monitoring.watching.watch import NOBODYS

STUCK_AFTER = timedelta(minutes=15)
"""Work that is due for so long, while none of its kind is taken, is stuck."""
SAMPLE_EVERY = timedelta(minutes=5)
GROWS_FOR = timedelta(minutes=30)
GROWS_BY = 100
"""Growth within `GROWS_FOR`, without once getting less, that is worth telling."""
SAMPLES_KEPT = timedelta(days=1)

_CASES = """
    select w.workflow as name, c.waiting, c.oldest,
           exists (select from claims where claims.workflow = w.workflow and claimed_at > now() - :stuck_after) as moves
    from unnest(cast(:workflows as text[])) as w(workflow)
    cross join lateral (select count(*)::integer as waiting, min(available_at) as oldest from cases
                        where workflow = w.workflow and state = 'pending' and available_at <= now()) c"""
_EFFECTS = """
    select e.system as name, count(*)::integer as waiting, min(e.available_at) as oldest,
           exists (select from effects s where s.system = e.system and s.state = 'sent'
                                           and s.sent_at > now() - :stuck_after and s.step <> :alerts) as moves
    from effects e where e.state in ('pending', 'failed') and e.available_at <= now() and e.step <> :alerts
    group by e.system"""
_GROWN = """
    select what, name from (
        select what, name, at, waiting,
               waiting - lag(waiting) over (partition by what, name order by at) as more,
               min(at) over (partition by what, name) as since,
               waiting - first_value(waiting) over (partition by what, name order by at) as grown
        from backlog_samples where at > now() - :window) s
    where since <= now() - :grows_for
    group by what, name having min(more) >= 0 and max(grown) >= :by"""


@dataclass(frozen=True)
class Backlog:
    """What is due of one workflow's cases, or of one system's effects.

    :param moves: whether any was taken lately.
    """

    name: str
    waiting: int
    oldest: datetime | None
    moves: bool

    @property
    def late(self) -> bool:
        """Whether the oldest has waited for too long."""
        return self.oldest is not None and datetime.now(UTC) - self.oldest > STUCK_AFTER


def watch_backlogs(alerts: Alerts) -> Looked:
    """Raise alerts for inboxes and ledgers that stand still or only grow, and resolve those that move again."""
    with alerts.engine.begin() as connection:
        cases, effects = _cases(connection), _effects(connection)
        _sample(connection, "cases", cases)
        _sample(connection, "effects", effects)
        grown = _grown(connection)
        down = set(
            connection.execute(
                text("select cause from alerts where state = 'open' and kind = :down"), {"down": Kind.SYSTEM_DOWN}
            ).scalars()
        )
    inboxes = [
        _inbox(backlog, "stands still" if not backlog.moves else "grows")
        for backlog in cases
        if backlog.late and (not backlog.moves or ("cases", backlog.name) in grown)
    ]
    ledgers = [
        _ledger(backlog, "stands still" if not backlog.moves else "grows")
        for backlog in effects
        if backlog.late and backlog.name not in down and (not backlog.moves or ("effects", backlog.name) in grown)
    ]
    return compare(alerts, Kind.INBOX_GROWING, inboxes, "cases are taken again") + compare(
        alerts, Kind.LEDGER_GROWING, ledgers, "effects are sent again"
    )


def _cases(connection: Connection) -> list[Backlog]:
    built = [name for name, declared in contracts().items() if declared.status == "built"]
    rows = connection.execute(text(_CASES), {"workflows": built, "stuck_after": STUCK_AFTER})
    return [Backlog(*row) for row in rows]


def _effects(connection: Connection) -> list[Backlog]:
    rows = connection.execute(text(_EFFECTS), {"stuck_after": STUCK_AFTER, "alerts": STEP})
    return [Backlog(*row) for row in rows]


def _sample(connection: Connection, what: str, backlogs: Sequence[Backlog]) -> None:
    """Keep a figure of each every five minutes; a name that has nothing waiting is a zero when it was known before."""
    connection.execute(
        text("""
            insert into backlog_samples (what, name, waiting)
            select :what, name, coalesce(v.waiting, 0)
            from (select unnest(cast(:names as text[])) as name, unnest(cast(:waiting as integer[])) as waiting) v
            full join (select distinct name from backlog_samples where what = :what) known using (name)
            where not exists (select from backlog_samples s where s.what = :what and s.name = name
                                                              and s.at > now() - :every)"""),
        {
            "what": what,
            "names": [each.name for each in backlogs],
            "waiting": [each.waiting for each in backlogs],
            "every": SAMPLE_EVERY - timedelta(seconds=10),
        },
    )
    connection.execute(text("delete from backlog_samples where at < now() - :kept"), {"kept": SAMPLES_KEPT})


def _grown(connection: Connection) -> set[tuple[str, str]]:
    values = {"window": GROWS_FOR + 2 * SAMPLE_EVERY, "grows_for": GROWS_FOR, "by": GROWS_BY}
    return {(what, name) for what, name in connection.execute(text(_GROWN), values)}


def _inbox(backlog: Backlog, how: str) -> Trouble:
    return Trouble(
        Kind.INBOX_GROWING,
        backlog.name,
        f"{backlog.name} {how} {_hour()}",
        cause=how,
        dag_id=backlog.name,
        facts=_facts(backlog),
    )


def _ledger(backlog: Backlog, how: str) -> Trouble:
    return Trouble(
        Kind.LEDGER_GROWING,
        NOBODYS,
        f"{backlog.name} {how} {_hour()}",
        cause=f"{backlog.name} {how}",
        facts={**_facts(backlog), "system": backlog.name, "page": "waybill/effects"},
    )


def _facts(backlog: Backlog) -> dict[str, Any]:
    return {"oldest": backlog.oldest.astimezone(UTC).isoformat() if backlog.oldest else ""}


def _hour() -> str:
    """It counts once an hour, so that the count of the message says how long it lasts."""
    return f"{datetime.now(UTC):%Y-%m-%d %H}"
