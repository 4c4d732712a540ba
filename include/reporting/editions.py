"""The editions of reports: made, checked, kept, and planned into the ledger.

The same interval with the same figures is the same edition; other figures are the next revision of it. What is refused
is kept with its reasons, and the last one that was published stays what readers have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from include.cases.model import Reason
from include.data.database import authored
from include.integrations import ledger
from include.integrations.systems import Effect, Mode
from include.reporting import checks, figures
from include.reporting.intervals import Interval, Period, begun, containing, earlier
from include.reporting.model import Report, Tables

WORKFLOW = "reports"
SHOWN = 50
_COLUMNS = """
    id, report, period, first_day, starts_at, ends_at, preview, revision, digest, state, reasons, effects, written_at,
    confirmed_at"""


@dataclass(frozen=True)
class Edition:
    """What a report said of an interval.

    :param preview: whether the interval was not over; its revisions are counted apart from the final ones.
    :param tables: the rows of each figure; empty where only a list is asked for.
    :param effects: the ledger's keys of what went out.
    :param corrects: whether other figures of the interval were published before.
    :param returns: how often its figures were published again after others had taken their place. Neither is known
        where only a list is asked for.
    """

    id: int
    report: str
    period: Period
    first_day: date
    starts_at: datetime
    ends_at: datetime
    preview: bool
    revision: int
    digest: str
    state: str
    reasons: list[dict[str, Any]] | None
    effects: list[str]
    written_at: datetime
    confirmed_at: datetime
    tables: Tables
    corrects: bool = False
    returns: int = 0

    @property
    def published(self) -> bool:
        """Whether it passed its checks."""
        return self.state == "published"

    @property
    def waits(self) -> bool:
        """Whether it was refused for something that passes by itself."""
        return any(reason["code"] == checks.WAITS for reason in self.reasons or [])

    @property
    def place(self) -> str:
        """Which interval of which report, as its files lie and its effects are named; a preview's never meet others."""
        return f"{'preview/' if self.preview else ''}{self.report}/{self.period}/{self.first_day}"

    def interval(self, zone: ZoneInfo) -> Interval:
        """Return the time that it is about."""
        if self.preview:
            return begun(self.period, self.ends_at, zone)
        return containing(self.period, self.first_day, zone)


Planner = Callable[[Edition, Interval], Sequence[Effect]]
"""Says what goes out of an edition that passed its checks."""


def make(engine: Engine, report: Report, interval: Interval, planner: Planner, mode: Mode, *, run: str = "") -> Edition:
    """Make a report of an interval, and plan its deliveries; two at once wait for each other.

    What an earlier revision, or a preview, has not delivered yet is withdrawn: its figures are not right any more. A
    preview takes nothing back from a final edition.

    :returns: the edition; `reasons` where it was refused.
    """
    with authored(engine, actor="system:reports", run=run, step=report.name) as connection:
        place = f"{report.name}/{interval.period}/{interval.first}"
        connection.execute(text("select pg_advisory_xact_lock(hashtextextended(:place, 0))"), {"place": place})
        found = figures.read(engine, report, interval)
        reasons = checks.faults(report, found)
        identity = {
            "report": report.name, "period": interval.period, "first": interval.first,
            "since": interval.since, "until": interval.until, "preview": interval.so_far is not None,
        }  # fmt: skip
        edition = _keep(connection, identity, found.tables, reasons, run)
        if not edition.published:
            return edition
        effects = planner(edition, interval)
        ledger.write(connection, effects, mode)
        keys = [effect.key for effect in effects]
        connection.execute(
            text("update report_editions set effects = :keys where id = :id"), {"keys": keys, "id": edition.id}
        )
        connection.execute(_WITHDRAW, {**identity, "keys": keys, "error": _WITHDRAWN})
    return replace(edition, effects=keys)


def make_earlier(
    engine: Engine, report: Report, interval: Interval, planner: Planner, mode: Mode, *, run: str = ""
) -> list[Edition]:
    """Make the intervals before one that nobody made in their time, and those of which facts came late.

    None from before the report's first edition of the period: nobody has waited for that. One whose figures are those
    that were published is left alone, so that nothing goes out again because its readers are others now.

    :returns: the editions, the earliest first; `reasons` where one was refused.
    """
    with engine.connect() as connection:
        since = connection.execute(
            text("""
                select min(first_day) from report_editions
                where report = :report and period = :period and not preview"""),
            {"report": report.name, "period": interval.period},
        ).scalar()
    return [
        make(engine, report, each, planner, mode, run=run)
        for each in earlier(interval)
        if since and since <= each.first and not _stands(engine, report, each)
    ]


def _stands(engine: Engine, report: Report, interval: Interval) -> bool:
    """Say whether the newest edition of an interval is published, and its figures are what the facts give now."""
    digest = digest_of(figures.read(engine, report, interval).tables)
    with engine.connect() as connection:
        newest = connection.execute(
            text("""
                select digest, state from report_editions
                where report = :report and period = :period and first_day = :first and not preview
                order by revision desc limit 1"""),
            {"report": report.name, "period": interval.period, "first": interval.first},
        ).one_or_none()
    return newest is not None and (newest.digest, newest.state) == (digest, "published")


def newest_published(connection: Connection, edition: Edition) -> int:
    """Return the id of the newest published edition of the same report and interval; of a preview, the newest one."""
    return int(
        connection.execute(
            text("""
                select max(id) from report_editions
                where report = :report and period = :period and first_day = :first and preview = :preview
                  and state = 'published'"""),
            {
                "report": edition.report,
                "period": edition.period,
                "first": edition.first_day,
                "preview": edition.preview,
            },
        ).scalar_one()
    )


def latest_published(connection: Connection, edition: Edition) -> int:
    """Return the id of the published edition of the latest interval of the same report and period; never a preview."""
    return int(
        connection.execute(
            text("""
                select id from report_editions
                where report = :report and period = :period and state = 'published' and not preview
                order by first_day desc, revision desc limit 1"""),
            {"report": edition.report, "period": edition.period},
        ).scalar_one()
    )


def edition(connection: Connection, edition_id: int) -> Edition | None:
    """Return an edition with its figures."""
    row = connection.execute(_ONE, {"id": edition_id}).one_or_none()
    return _edition(row._tuple()) if row else None


def editions(
    connection: Connection,
    *,
    report: str | None = None,
    period: str | None = None,
    first_day: date | None = None,
    before: int | None = None,
) -> list[Edition]:
    """Return the newest editions without their figures, `SHOWN` at a time.

    :param first_day: only those of the interval that begins on it.
    :param before: only those with a lower id.
    """
    rows = connection.execute(
        text(f"""
            select {_COLUMNS}, '{{}}'::jsonb from report_editions
            where (cast(:report as text) is null or report = :report)
              and (cast(:period as text) is null or period = :period)
              and (cast(:first as date) is null or first_day = :first)
              and (cast(:before as bigint) is null or id < :before)
            order by id desc limit {SHOWN}"""),
        {"report": report, "period": period, "first": first_day, "before": before},
    )
    return [_edition(row._tuple()) for row in rows]


@dataclass(frozen=True)
class Delivery:
    """One thing that went out, or is to go out.

    :param to: a channel, an address, a folder, where tables are, or the system.
    """

    effect_id: int
    key: str
    system: str
    operation: str
    to: str
    state: str
    sent_at: datetime | None
    error: str | None


def deliveries(connection: Connection, keys: Sequence[str]) -> dict[str, Delivery]:
    """Return what became of the effects with these keys."""
    rows = connection.execute(
        text("""
            select id, key, system, operation,
                   coalesce(payload ->> 'channel', payload ->> 'to', answer ->> 'folder', answer ->> 'place',
                            system), state, sent_at, error
            from effects where key = any(:keys) order by id"""),
        {"keys": list(keys)},
    )
    return {row[1]: Delivery(*row) for row in rows}


def digest_of(tables: Tables) -> str:
    """Return the same for the same figures."""
    return hashlib.sha256(orjson.dumps(tables, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _keep(
    connection: Connection, identity: Mapping[str, Any], tables: Tables, reasons: Sequence[Reason], run: str
) -> Edition:
    digest = digest_of(tables)
    state = "refused" if reasons else "published"
    last = connection.execute(
        text("""
            select id, revision, digest, state from report_editions
            where report = :report and period = :period and first_day = :first and preview = :preview
            order by revision desc limit 1"""),
        identity,
    ).one_or_none()
    if last and (last.digest, last.state) == (digest, state):
        edition_id = last.id
        connection.execute(text("update report_editions set confirmed_at = now() where id = :id"), {"id": edition_id})
    else:
        edition_id = connection.execute(
            _INSERT,
            {
                **identity,
                "revision": last.revision + 1 if last else 1,
                "digest": digest,
                "figures": Jsonb(tables),
                "state": state,
                "reasons": Jsonb([{"code": each.code, "message": each.message} for each in reasons])
                if reasons
                else None,
                "run": run or None,
            },
        ).scalar_one()
    return _edition(connection.execute(_ONE, {"id": edition_id}).one()._tuple())


def _edition(row: Sequence[Any]) -> Edition:
    values = list(row)
    return Edition(values[0], values[1], Period(values[2]), *values[3:])


# Of the editions of its interval that were published up to it, those whose figures are not those of the one before.
_ONE = text(f"""
    select {_COLUMNS}, figures, changes > 1, greatest(came - 1, 0) from report_editions e, lateral (
        select count(*) as changes, count(*) filter (where digest = e.digest) as came from (
            select digest, lag(digest) over (order by revision) as former from report_editions
            where report = e.report and period = e.period and first_day = e.first_day and preview = e.preview
              and state = 'published' and revision <= e.revision) published
        where digest is distinct from former) told
    where id = :id""")
_INSERT = text("""
    insert into report_editions (report, period, first_day, starts_at, ends_at, preview, revision, digest, figures,
                                 state, reasons, run_id)
    values (:report, :period, :first, :since, :until, :preview, :revision, :digest, :figures, :state, :reasons, :run)
    returning id""")
_WITHDRAWN = f"{ledger.WITHDRAWN}later figures took its place"
_WITHDRAW = text("""
    update effects set state = 'dead', error = :error
    where state in ('pending', 'failed') and not key = any(:keys) and key in (
        select unnest(effects) from report_editions
        where report = :report and period = :period and first_day = :first and (preview or not :preview))""")
