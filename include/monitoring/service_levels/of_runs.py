"""How workflows without cases keep what their contracts promise: by their runs, each met or missed as a whole.

Which cases of the others were met or missed is `include.monitoring.service_levels.facts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.monitoring.watching.runs import Ended


def count(connection: Connection, ended: Sequence[Ended]) -> None:
    """Count runs that have ended into the weeks of their workflows; those whose DAG carries cases are left out.

    A run is met that was good within the promised time since it was made, by the clock on the wall; the week is the one
    in which it ended.
    """
    promised = {
        dag_id: (declared.workflow, declared.service_level.within.total_seconds())
        for declared in contracts().values()
        if not declared.has_cases
        for dag_id in declared.dags
    }
    rows = [
        {
            "workflow": promised[run.dag_id][0],
            "at": run.ended_at.isoformat(),
            "met": not run.failed and (run.queued or 0) + (run.took or 0) <= promised[run.dag_id][1],
        }
        for run in ended
        if run.dag_id in promised
    ]
    connection.execute(
        text("""
            insert into service_level_weeks as w (workflow, step, week, met, missed)
            select workflow, null, date_trunc('week', at at time zone 'UTC')::date,
                   count(*) filter (where met), count(*) filter (where not met)
            from jsonb_to_recordset(:rows) as v(workflow text, at timestamptz, met boolean) group by 1, 3 order by 1, 3
            on conflict (workflow, step, week) do update set
                met = w.met + excluded.met, missed = w.missed + excluded.missed"""),
        {"rows": Jsonb(rows)},
    )
