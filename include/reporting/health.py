"""The report on the workflows themselves: what came in and went out, what was late, what failed, and how many runs.

A case counts when it came and when it ended, and as late when its time ran out; an error when it happened. A case that
finished and was sent through again has ended when it did so first. A report is refused while work is missing.
"""

from __future__ import annotations

from include.reporting.model import Column, Figure, Kind, Plot, Report, Sum

# Only what is finished is sent through again, so that is how such a case ended first.
_FLOW = """
    select workflow, (created_at >= :since)::int as came,
           (state = 'finished' and ended_at >= :since and ended_at < :until)::int as finished,
           (state = 'rejected' and ended_at >= :since and ended_at < :until)::int as rejected,
           (ended_at is null or ended_at >= :until)::int as left_open,
           case when ended_at >= :since and ended_at < :until then extract(epoch from ended_at - created_at) end
               as took,
           0 as late
    from (select workflow, created_at, coalesce(first_closed_at, closed_at) as ended_at,
                 case when first_closed_at is null then state else 'finished' end as state
          from cases where created_at < :until and (closed_at is null or closed_at >= :since)) c
    where ended_at is null or ended_at >= :since
    union all
    select workflow, 0, 0, 0, 0, null, 1 from service_levels
    where step is null and missed_at >= :since and missed_at < :until"""
_ENDED = """
    select created_at, closed_at as ended_at from cases
    where first_closed_at is null and closed_at >= :since and closed_at < :until
    union all
    select created_at, first_closed_at from cases where first_closed_at >= :since and first_closed_at < :until"""
_SETTLED = """
    select workflow, step, met_at is not null as met from service_levels
    where coalesce(met_at, missed_at) >= :since and coalesce(met_at, missed_at) < :until"""
_FLOW_COLUMNS = (
    Column("came", "Came in"),
    Column("finished", "Finished"),
    Column("rejected", "Rejected"),
    Column("late", "Late"),
    Column("left_open", "Open at the end"),
    Column("took", "Ended after (median)", Kind.SECONDS, optional=True),
)
_FLOW_SUMS = """
    coalesce(sum(came), 0), coalesce(sum(finished), 0), coalesce(sum(rejected), 0), coalesce(sum(late), 0),
    coalesce(sum(left_open), 0), percentile_cont(0.5) within group (order by took)"""

_ERRORS = """
    select workflow, coalesce(step, stage, '') as step, kind, case_id from events
    where at >= :since and at < :until
      and kind in ('quarantined', 'effect failed', 'effect dead', 'effect unknown', 'system away')"""

HEALTH = Report(
    name="health",
    title="Health of the workflows",
    figures=(
        Figure(
            "totals",
            "In short",
            (*_FLOW_COLUMNS, Column("errors", "Errors"), Column("runs", "Runs that did something")),
            f"""
            select {_FLOW_SUMS}, (select count(*) from ({_ERRORS}) e),
                   (select count(distinct (workflow, run_id)) from events
                    where at >= :since and at < :until and run_id is not null)
            from ({_FLOW}) f""",
        ),
        Figure(
            "by_workflow",
            "Cases by workflow",
            (Column("workflow", "Workflow", Kind.TEXT), *_FLOW_COLUMNS),
            f"select replace(workflow, '_', ' '), {_FLOW_SUMS} from ({_FLOW}) f group by workflow order by workflow",
            Plot("workflow", ("came", "finished", "late")),
        ),
        Figure(
            "by_day",
            "Cases by day",
            (Column("day", "Day", Kind.DAY), Column("came", "Came in"), Column("ended", "Ended")),
            f"""
            select day::date, coalesce(sum(came), 0), coalesce(sum(ended), 0)
            from generate_series(cast(:first as timestamp), cast(:end as timestamp) - interval '1 day', '1 day') day
            left join (
                select (created_at at time zone :zone)::date as on_day, 1 as came, 0 as ended from cases
                where created_at >= :since and created_at < :until
                union all
                select (ended_at at time zone :zone)::date, 0, 1 from ({_ENDED}) e) c on c.on_day = day::date
            group by day order by day""",
            Plot("day", ("came", "ended")),
        ),
        Figure(
            "service_levels",
            "Service levels that were settled",
            (
                Column("workflow", "Workflow", Kind.TEXT),
                Column("step", "Step", Kind.TEXT),
                Column("met", "Met"),
                Column("missed", "Missed"),
                Column("met_share", "Met, of all", Kind.SHARE),
            ),
            f"""
            select replace(workflow, '_', ' '), coalesce(step, 'the whole case'), count(*) filter (where met),
                   count(*) filter (where not met), avg(met::int)
            from ({_SETTLED}) s group by workflow, step order by workflow, step nulls first""",
            Plot("step", ("met", "missed")),
        ),
        Figure(
            "errors",
            "Errors by step",
            (
                Column("workflow", "Workflow", Kind.TEXT),
                Column("step", "Step", Kind.TEXT),
                Column("kind", "What", Kind.TEXT),
                Column("times", "Times"),
                Column("cases", "Cases"),
            ),
            f"""
            select replace(workflow, '_', ' '), step, kind, count(*), count(distinct case_id) from ({_ERRORS}) e
            group by workflow, step, kind order by 4 desc, 1, 2, 3""",
            Plot("step", ("times",)),
        ),
        Figure(
            "runs",
            "Runs by workflow",
            (
                Column("workflow", "Workflow", Kind.TEXT),
                Column("runs", "Runs that did something"),
                Column("cases", "Cases that they moved"),
            ),
            """
            select replace(workflow, '_', ' '), count(distinct run_id), count(distinct case_id) from events
            where at >= :since and at < :until and run_id is not null group by workflow order by workflow""",
            Plot("workflow", ("runs",)),
        ),
    ),
    sums=(
        Sum("cases by workflow", ("totals", "came"), ("by_workflow", "came")),
        Sum("cases by day", ("totals", "came"), ("by_day", "came")),
        Sum("errors by step", ("totals", "errors"), ("errors", "times")),
        Sum("runs by workflow", ("totals", "runs"), ("runs", "runs")),
    ),
    controls=f"""
        select 'work that is missing from the books of ' || workflow, 0, difference from balance where difference <> 0
        union all
        select 'cases that ended before they came', 0, count(*) from ({_ENDED}) e where ended_at < created_at""",
)
