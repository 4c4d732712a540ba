"""Signs of life: when each part was last seen alive, and which are silent for too long."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

LOOK = "look"
"""The look for trouble of a task, when all of it worked: what was found could also be delivered."""
WATCHDOG = "watchdog"
"""The same of the one that looks from the triggerer, every minute."""
LOOKERS = (LOOK, WATCHDOG)
TRIED = "last try"
"""No sign of life, but when anybody last began to look, whatever became of it."""
ASKED = "files and schedules"
"""When Airflow last told which files and DAGs it has."""
CANARY = "canary"
"""The last known failure that arrived."""
BEGAN = "watch began"
"""No sign of life, but when somebody began to look, at first or after everything stood still."""
OUTSIDE = "outside monitor"
"""The last ping to the monitor outside."""

PAUSED = "paused: "
"""Before a DAG's id: no sign of life, but when it was first seen paused."""


def seen(connection: Connection, parts: Collection[str], detail: Mapping[str, Any] | None = None) -> None:
    """Note that `parts` live, now."""
    if parts:
        connection.execute(
            text("""
                insert into life_signs (part, detail) select unnest(cast(:parts as text[])), :detail
                on conflict (part) do update set at = now(), detail = excluded.detail"""),
            {"parts": sorted(parts), "detail": Jsonb(dict(detail or {}))},
        )


def expected(connection: Connection, parts: Collection[str]) -> None:
    """Begin to wait for a first sign of those of `parts` that never gave one."""
    connection.execute(
        text("insert into life_signs (part) select unnest(cast(:parts as text[])) on conflict do nothing"),
        {"parts": sorted(parts)},
    )


def last(connection: Connection, part: str) -> datetime | None:
    """Return when a part was last seen alive, or first waited for."""
    moment: datetime | None = connection.execute(
        text("select at from life_signs where part = :part"), {"part": part}
    ).scalar()
    return moment


def silent(
    connection: Connection, parts: Collection[str], longer_than: timedelta, *, watched_since: datetime | None = None
) -> dict[str, datetime]:
    """Return which of `parts` gave no sign for longer, and the last that each gave.

    :param watched_since: nobody is silent for longer than somebody listens.
    """
    if watched_since is not None and datetime.now(UTC) - watched_since < longer_than:
        return {}
    rows = connection.execute(
        text("select part, at from life_signs where part = any(:parts) and at < now() - :longer_than order by part"),
        {"parts": sorted(parts), "longer_than": longer_than},
    )
    return {str(row.part): row.at for row in rows}


def still_so(connection: Connection, what: str, names: Collection[str]) -> dict[str, datetime]:
    """Return since when each of `names` is so, as far as it was seen; those that are so no more are forgotten.

    :param what: tells these from the parts; it is no sign of life.
    """
    connection.execute(
        text("delete from life_signs where starts_with(part, :what) and part <> all(:parts)"),
        {"what": what, "parts": [what + name for name in names]},
    )
    expected(connection, [what + name for name in names])
    rows = connection.execute(text("select part, at from life_signs where starts_with(part, :what)"), {"what": what})
    return {row.part.removeprefix(what): row.at for row in rows}


def resume(connection: Connection, parts: Collection[str], *, after: timedelta) -> None:
    """Give every part its time anew when nobody tried to look for so long: all stood still, on purpose or not."""
    connection.execute(
        text("""
            update life_signs set at = now() where part = any(:parts)
               and (select max(l.at) from life_signs l where l.part = any(:lookers)) < now() - :after"""),
        {"parts": sorted(parts), "lookers": [*LOOKERS, TRIED], "after": after},
    )
