"""Watches what makes no task, and so no callback: Airflow's parts, files and schedules, and Waybill's own watchers.

Two look, and each watches the other: the watchdog, in the triggerer, every minute, and a task of `waybill_alerts`, less
often. When both are dead, the monitor outside hears nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.environment import calendar_paused
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble, workflow_of
from include.monitoring.watching import signs
from include.monitoring.watching.airflow import API_SERVER, PARTS, Account, ImportTrouble, Seen, ask
from include.monitoring.watching.look import Looked

SILENT_AFTER = timedelta(minutes=2)
"""A part of Airflow that was not healthy for so long is silent; Airflow's own heartbeats are seconds apart."""
SILENT_VARIABLE = "WAYBILL_SILENT_AFTER"
USUAL_SILENT_AFTER, SHORTEST_SILENT_AFTER = 300, 75
"""Seconds; a look takes some, and Airflow a few more to start one in a task."""
OVERDUE_AFTER = timedelta(minutes=15)
"""Time that the scheduler may take to make a run that is due, and that a start may take to read all DAG files."""
PAUSED_AFTER = timedelta(days=1)
"""A DAG is paused for a while, on purpose; for longer, it may be forgotten."""
CANARY_AFTER = timedelta(hours=26)
"""The canary is sent every day; two hours for a run that is late."""
CANARY_DAG = "waybill_canary"
ACCOUNT = "waybill_airflow"
"""The connection with the account that may look at Airflow."""
NOBODYS = "waybill"
"""The workflow of trouble that belongs to none: the platform team answers for it."""
WATCHED = (*PARTS, API_SERVER)
LOOK_NEEDS = ("scheduler", API_SERVER, "metadatabase")
"""Parts without which no task can look."""
WATCHDOG_NEEDS = ("triggerer",)
"""The same for the watchdog."""


def silent_after() -> timedelta:
    """Return for how long the watchdog gives no sign until it is silent: `WAYBILL_SILENT_AFTER`.

    As often, a task looks; and it is silent after twice that time.

    :raises ValueError: when the setting is no number of seconds, or too small.
    """
    said = os.environ.get(SILENT_VARIABLE) or str(USUAL_SILENT_AFTER)
    if not said.isdecimal() or int(said) < SHORTEST_SILENT_AFTER:
        raise ValueError(f"{SILENT_VARIABLE} is {said!r}; write seconds, {SHORTEST_SILENT_AFTER} or more")
    return timedelta(seconds=int(said))


def limits() -> dict[str, timedelta]:
    """Return how old the last sign of life of each part may be, for one who knows only what the looks found."""
    of_airflow = max(SILENT_AFTER, silent_after())
    return {
        **dict.fromkeys(WATCHED, of_airflow),
        signs.WATCHDOG: silent_after(),
        signs.LOOK: 2 * silent_after(),
        signs.CANARY: CANARY_AFTER,
    }


def watch(alerts: Alerts, account: Account, *, missing: Collection[str] = (), looker: str = signs.LOOK) -> Looked:
    """Raise alerts for what is silent, unreadable or overdue, and resolve the rest.

    :param missing: connections that this environment cannot do without, and has not got.
    :param looker: who looks, which is a sign of life: a task, or the watchdog.
    """
    with alerts.engine.begin() as connection:
        parts = (*WATCHED, *signs.LOOKERS, signs.CANARY, signs.BEGAN)
        signs.resume(connection, parts, after=2 * silent_after())
        signs.expected(connection, parts)
        signs.seen(connection, [looker])
    found = ask(account, overdue_since=datetime.now(UTC) - OVERDUE_AFTER)
    with alerts.engine.begin() as connection:
        signs.seen(connection, found.alive)
        silent = signs.silent(connection, WATCHED, SILENT_AFTER)
        # What cannot live without a part that is silent is not told beside it.
        if not silent.keys() & set(WATCHDOG_NEEDS):
            silent |= signs.silent(connection, [signs.WATCHDOG], silent_after())
        if not silent.keys() & set(LOOK_NEEDS):
            silent |= signs.silent(connection, [signs.LOOK], 2 * silent_after())
        settled = bool(signs.silent(connection, [signs.BEGAN], OVERDUE_AFTER))
        canary = signs.silent(connection, [signs.CANARY], CANARY_AFTER)
    lacking = sorted({*missing, *([ACCOUNT] if found.refused else [])})
    looked = compare(alerts, Kind.AIRFLOW_SILENT, [_silent(*one) for one in silent.items()], "it is back")
    looked += _raise(alerts, [_no_canary(since) for since in canary.values()])
    looked += compare(alerts, Kind.CONNECTION_MISSING, [_lacking(name) for name in lacking], "it is there")
    if found.asked:
        unreadable = [_unreadable(error) for error in found.import_errors]
        looked += compare(alerts, Kind.DAG_IMPORT_ERROR, unreadable, "the file can be read again")
        if settled:
            missed = [*_missed(found), *_paused(alerts, found)]
            looked += compare(alerts, Kind.SCHEDULE_MISSED, missed, "it is on time again")
    return looked


def tasks_stand_still(connection: Connection) -> bool:
    """Tell whether an alert is open that says so: no task looks for trouble, or none can."""
    return bool(
        connection.execute(
            text("select exists (select from alerts where state = 'open' and kind = :kind and cause = any(:causes))"),
            {"kind": Kind.AIRFLOW_SILENT, "causes": [*LOOK_NEEDS, signs.LOOK]},
        ).scalar_one()
    )


def compare(alerts: Alerts, kind: Kind, troubles: Sequence[Trouble], resolution: str) -> Looked:
    """Make the open alerts of `kind` those that `troubles` describe: raise what is new, resolve what is over."""
    lasting = [trouble.fingerprint for trouble in troubles]
    with alerts.engine.connect() as connection:
        before: dict[str, int] = dict(
            connection.execute(
                text("""
                    select fingerprint, max(id) from alerts where state = 'resolved' and fingerprint = any(:lasting)
                    group by fingerprint"""),
                {"lasting": lasting},
            )
            .tuples()
            .all()
        )
    # What was over and is there again is another occurrence, however soon.
    again = [
        replace(trouble, occurrence=f"{trouble.occurrence} after {before[trouble.fingerprint]}")
        if trouble.fingerprint in before
        else trouble
        for trouble in troubles
    ]
    raised = _raise(alerts, again)
    with alerts.engine.connect() as connection:
        over = list(
            connection.execute(
                text("select id from alerts where state = 'open' and kind = :kind and fingerprint <> all(:lasting)"),
                {"kind": kind, "lasting": lasting},
            ).scalars()
        )
    return raised + Looked(0, alerts.recover(resolution=resolution, kinds=[kind], ids=over) if over else 0)


def _raise(alerts: Alerts, troubles: Sequence[Trouble]) -> Looked:
    return Looked(sum(alerts.raise_alert(trouble).new for trouble in troubles), 0)


def _silent(part: str, since: datetime) -> Trouble:
    last = since.astimezone(UTC).isoformat()
    return Trouble(Kind.AIRFLOW_SILENT, NOBODYS, f"{part} {last}", cause=part, facts={"last": last, "page": ""})


def _no_canary(since: datetime) -> Trouble:
    """It is taken back by the next test that arrives, and by nothing else."""
    last = since.astimezone(UTC).isoformat()
    facts = {"dag_id": CANARY_DAG, "last": last}
    return Trouble(Kind.CANARY_MISSING, "alerts", f"none since {last}", dag_id=CANARY_DAG, facts=facts)


def _lacking(connection: str) -> Trouble:
    return Trouble(
        Kind.CONNECTION_MISSING,
        NOBODYS,
        f"{connection} {datetime.now(UTC):%Y-%m-%d}",
        cause=connection,
        facts={"page": "connections"},
    )


def _unreadable(error: ImportTrouble) -> Trouble:
    facts = {"error": error.error, "page": ""}
    return Trouble(Kind.DAG_IMPORT_ERROR, NOBODYS, f"{error.filename} {error.id}", cause=error.filename, facts=facts)


def _missed(found: Seen) -> list[Trouble]:
    """Runs that were not made in time, and DAGs of the contracts that Airflow does not know at all."""
    unknown = {dag for declared in contracts().values() for dag in declared.dags} - found.dags
    late = [
        Trouble(
            Kind.SCHEDULE_MISSED,
            workflow_of(dag.dag_id),
            f"{dag.dag_id} {dag.due.isoformat()}",
            cause=dag.dag_id,
            dag_id=dag.dag_id,
            facts={"dag_id": dag.dag_id, "due": dag.due.isoformat(), "why": "late"},
        )
        for dag in found.overdue
    ]
    return late + [
        Trouble(
            Kind.SCHEDULE_MISSED,
            workflow_of(dag_id),
            f"{dag_id} unknown {datetime.now(UTC):%Y-%m-%d}",
            cause=dag_id,
            facts={"why": "unknown"},
        )
        for dag_id in sorted(unknown)
    ]


def _paused(alerts: Alerts, found: Seen) -> list[Trouble]:
    """DAGs that somebody paused and forgot: a pause has no end, and its schedule passes without a word."""
    if calendar_paused():
        return []
    with alerts.engine.begin() as connection:
        since = signs.still_so(connection, signs.PAUSED, [dag.dag_id for dag in found.paused])
    now = datetime.now(UTC)
    return [
        Trouble(
            Kind.SCHEDULE_MISSED,
            workflow_of(dag.dag_id),
            f"{dag.dag_id} paused {now:%Y-%m-%d}",
            cause=dag.dag_id,
            dag_id=dag.dag_id,
            facts={"dag_id": dag.dag_id, "due": dag.due.isoformat(), "why": "paused"},
        )
        for dag in found.paused
        if dag.due < now and now - since[dag.dag_id] > PAUSED_AFTER
    ]
