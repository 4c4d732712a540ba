"""What the page of alerts shows: what is open and who has it, what is quiet and until when, and how the alerts are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from include.monitoring.watching import signs

PAGE = 50
MOST_OPEN = 200
"""Open alerts that one page lists; there is one for each trouble, so that more are a trouble of their own."""
MOST_PROBLEMS = 10

_COLUMNS = """
    a.id, a.kind, a.workflow, a.step, a.cause, a.owner, a.channel, a.state, a.count, a.first_at, a.last_at,
    a.resolved_at, a.resolution, a.quiet, a.quiet_until, a.facts->'quiet'->>'by' as by,
    (select reason from alert_actions where alert_id = a.id and action = a.quiet order by id desc limit 1) as reason,
    exists (select from effects where key = a.workflow || '/alert/' || a.id || '/' || a.message || '/post_message'
                                  and state = 'sent') as told_by_chat,
    exists (select from effects where key = a.workflow || '/alert/' || a.id || '/' || a.message || '/send_mail'
                                  and state = 'sent') as told_by_mail"""


@dataclass(frozen=True)
class Listed:
    """One alert.

    :param by: who acknowledged or snoozed it, and why (`reason`); None for maintenance.
    """

    id: int
    kind: str
    workflow: str
    step: str | None
    cause: str
    owner: str
    channel: str
    state: str
    count: int
    first_at: datetime
    last_at: datetime
    resolved_at: datetime | None
    resolution: str | None
    quiet: str | None
    quiet_until: datetime | None
    by: str | None
    reason: str | None
    told_by_chat: bool
    told_by_mail: bool


@dataclass(frozen=True)
class Action:
    """What somebody did about an alert."""

    at: datetime
    actor: str
    action: str
    reason: str
    until: datetime | None


@dataclass(frozen=True)
class Problem:
    """A failure of the alerts themselves: what failed, how and where, and the run that it was to tell of, if any."""

    at: datetime
    part: str
    error: str
    run_id: str | None


def open_alerts(connection: Connection) -> list[Listed]:
    """Return what is open, the newest first, and what is quiet behind all others: at most `MOST_OPEN`."""
    rows = connection.execute(
        text(
            f"select {_COLUMNS} from alerts a where a.state = 'open'"
            " order by a.quiet is not null, a.last_at desc, a.id desc limit :most"
        ),
        {"most": MOST_OPEN},
    )
    return [Listed(*row) for row in rows]


def count_open(connection: Connection) -> dict[str | None, int]:
    """Return how many are open by how they are quiet; None are those that are not."""
    found = connection.execute(text("select quiet, count(*) from alerts where state = 'open' group by 1"))
    return dict(found.tuples().all())


def resolved(connection: Connection, *, before: int | None = None) -> list[Listed]:
    """Return a page of what is over, the latest first.

    :param before: the last id of the page before.
    """
    rows = connection.execute(
        text(f"""
            select {_COLUMNS} from alerts a
            where a.state = 'resolved' and (cast(:before as bigint) is null or a.id < :before)
            order by a.id desc limit :page"""),
        {"before": before, "page": PAGE},
    )
    return [Listed(*row) for row in rows]


def one(connection: Connection, alert_id: int) -> Listed | None:
    """Return an alert, if there is one of that number."""
    row = connection.execute(text(f"select {_COLUMNS} from alerts a where a.id = :id"), {"id": alert_id}).one_or_none()
    return None if row is None else Listed(*row)


def actions(connection: Connection, alert_id: int) -> list[Action]:
    """Return what people did about an alert, the latest first."""
    rows = connection.execute(
        text("select at, actor, action, reason, until from alert_actions where alert_id = :id order by id desc"),
        {"id": alert_id},
    )
    return [Action(*row) for row in rows]


def problems(connection: Connection) -> list[Problem]:
    """Return what the alerts themselves stumbled over, the latest first: at most `MOST_PROBLEMS`."""
    rows = connection.execute(
        text("select at, part, error, detail->>'run_id' from alert_problems order by id desc limit :most"),
        {"most": MOST_PROBLEMS},
    )
    return [Problem(*row) for row in rows]


def life(connection: Connection) -> Sequence[tuple[str, datetime | None]]:
    """Return when those that watch, and what tells outside, last gave a sign: the look first."""
    watchers = (signs.LOOK, signs.WATCHDOG, signs.CANARY, signs.OUTSIDE)
    found: dict[str, Any] = {
        row.part: row.at
        for row in connection.execute(
            text("select part, at from life_signs where part = any(:p)"), {"p": list(watchers)}
        )
    }
    return [(part, found.get(part)) for part in watchers]
