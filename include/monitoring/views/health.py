"""How the work went lately: what stopped it, by step and cause, and which share of it passed the checks.

It only reads, by the index of events by kind; how Airflow's runs went is kept by `watching.runs`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.monitoring.views.board import zone

WEEKS = timedelta(weeks=4)
"""How far back the page looks."""

# Trouble of runs and systems is kept as alerts; a case that was set aside tells its reasons in its event.
_ALERTS = """
    select workflow, step, kind, cause, sum(count)::bigint as times, max(last_at) as last_at,
           bool_or(state = 'open') as open, coalesce(max(id) filter (where state = 'open'), max(id)) as alert_id
    from alerts where last_at >= :since and kind <> 'cases_quarantined' group by 1, 2, 3, 4
    order by times desc, last_at desc limit :most"""
_SET_ASIDE = """
    select workflow, stage as step, r ->> 'code' as code, count(*) as times, max(at) as last_at
    from events, jsonb_array_elements(detail -> 'reasons') as r
    where workflow = any(:workflows) and kind = 'quarantined' and at >= :since
    group by 1, 2, 3 order by times desc, last_at desc limit :most"""
_CAME = """
    select workflow, (created_at at time zone :zone)::date as day, count(*) as cases from cases
    where workflow = any(:workflows) and created_at >= :since group by 1, 2"""
# What systems refused, and what runs died of, is no check of what came in.
_FAILED = """
    select c.workflow, (c.created_at at time zone :zone)::date as day, count(*) as cases
    from (select distinct case_id from events
          where workflow = any(:workflows) and kind = 'quarantined' and at >= :since
            and exists (select from jsonb_array_elements(detail -> 'reasons') as r
                        where r ->> 'code' !~ '^(effect|error)[.]')) as failed
    join cases c on c.id = failed.case_id where c.created_at >= :since group by 1, 2"""
MOST = 50
"""Rows of a table."""


@dataclass(frozen=True)
class Trouble:
    """What went wrong at one step for one cause.

    :param cause: an error's type or a system for alerts; a reason code for cases that were set aside.
    :param open: whether it still lasts.
    :param alert_id: the latest alert that tells of it, an open one if there is one; None for cases set aside.
    """

    workflow: str
    step: str | None
    kind: str
    cause: str
    times: int
    last_at: datetime
    open: bool = False
    alert_id: int | None = None


@dataclass(frozen=True)
class Quality:
    """Cases that came in on one day, and those of them that ever failed a check since."""

    workflow: str
    day: date
    came: int
    failed: int

    @property
    def passed(self) -> float:
        """The share that did not fail any, 0 to 1."""
        return 1 - self.failed / self.came


def troubles(connection: Connection, since: datetime) -> list[Trouble]:
    """Return what alerted since then, the most frequent first."""
    rows = connection.execute(text(_ALERTS), {"since": since, "most": MOST})
    return [Trouble(**row) for row in rows.mappings()]


def set_aside(connection: Connection, since: datetime) -> list[Trouble]:
    """Return why cases were set aside since then, the most frequent reason first."""
    rows = connection.execute(text(_SET_ASIDE), {"since": since, "most": MOST, "workflows": list(contracts())})
    return [Trouble(row.workflow, row.step, "set aside", row.code, row.times, row.last_at) for row in rows]


def quality(connection: Connection, since: datetime) -> Mapping[str, Sequence[Quality]]:
    """Return for each workflow the days on which cases came, by the company's time zone, oldest first."""
    values = {"since": since, "workflows": list(contracts()), "zone": str(zone())}
    failed = {(row.workflow, row.day): row.cases for row in connection.execute(text(_FAILED), values)}
    found: dict[str, list[Quality]] = defaultdict(list)
    for workflow, day, cases in sorted(connection.execute(text(_CAME), values).tuples()):
        found[workflow].append(Quality(workflow, day, cases, failed.get((workflow, day), 0)))
    return found


@dataclass(frozen=True)
class RunFigures:
    """How the runs of one DAG went; times in seconds, None where no run has come so far.

    :param queued: the median time between a run's being made and its start, to within 9 %; `queued_p95` what 95 of 100
        stayed below, and `longest_queued` the longest.
    :param took: the same of start to end.
    """

    dag_id: str
    runs: int
    failed: int
    queued: float | None
    queued_p95: float | None
    longest_queued: float | None
    took: float | None
    took_p95: float | None
    longest: float | None


@dataclass(frozen=True)
class RunTimes:
    """How all runs went that ended in one hour or on one day: medians in seconds."""

    since: datetime
    queued: float | None
    took: float | None


# the middle of the size in which the median falls, and of the one in which 95 of 100 are reached
_PERCENTILES = """
    select about, what, cast(power(2, (min(size) filter (where reached >= 0.5 * runs) + 0.5) / 4) as float8) as median,
           cast(power(2, (min(size) filter (where reached >= 0.95 * runs) + 0.5) / 4) as float8) as p95
    from (select about, what, size, sum(sum(runs)) over (partition by about, what order by size) as reached,
                 sum(sum(runs)) over (partition by about, what) as runs
          from (select {about} as about, what, size, runs from airflow_run_times {where}) as times
          group by about, what, size) as sizes
    group by about, what"""


def run_figures(connection: Connection, since: datetime) -> list[RunFigures]:
    """Return figures of the runs that ended since then, by DAG, the one with the most failures first."""
    percentiles = _PERCENTILES.format(about="dag_id", where="where hour >= :since")
    rows = connection.execute(
        text(f"""
            with spread as ({percentiles})
            select r.*, least(q.median, longest_queued) as queued, least(q.p95, longest_queued) as queued_p95,
                   least(t.median, longest) as took, least(t.p95, longest) as took_p95
            from (select dag_id, sum(runs)::bigint as runs, sum(failed)::bigint as failed,
                         case when sum(queued) > 0 then max(longest_queued) end as longest_queued,
                         case when sum(started) > 0 then max(longest_took) end as longest
                  from airflow_runs where hour >= :since group by dag_id) as r
            left join spread q on q.about = r.dag_id and q.what = 'queued'
            left join spread t on t.about = r.dag_id and t.what = 'took'
            order by failed desc, runs desc, dag_id"""),
        {"since": since},
    )
    return [RunFigures(**row) for row in rows.mappings()]


def run_times(connection: Connection, since: datetime) -> list[RunTimes]:
    """Return how long runs were queued and took over time: by day, or by hour while they are counted for two days.

    Without those that ask people: they take as long as these.
    """
    unit = "(select case when min(hour) < now() - interval '2 days' then 'day' else 'hour' end from airflow_run_times"
    percentiles = _PERCENTILES.format(
        about=f"date_trunc({unit} where hour >= :since), hour)",
        where="where hour >= :since and not dag_id like '%\\_decision'",
    )
    rows = connection.execute(
        text(f"""
            with spread as ({percentiles})
            select about as since, max(median) filter (where what = 'queued') as queued,
                   max(median) filter (where what = 'took') as took
            from spread group by 1 order by 1"""),
        {"since": since},
    )
    return [RunTimes(**row) for row in rows.mappings()]
