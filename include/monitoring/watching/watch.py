"""Watches what makes no task, and so no callback: Airflow's parts, files and schedules, and Waybill's own watchers.

Two look, and each watches the other: the watchdog, in the triggerer, every minute, and a task of `waybill_alerts`, less
often. When both are dead, the monitor outside hears nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.environment import calendar_paused
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble, workflow_of
from include.monitoring.watching import signs
from include.monitoring.watching.airflow import API_SERVER, PARTS, Account, ImportTrouble, Overdue, Seen, ask
from include.monitoring.watching.lasting import Looked, compare, gather, raise_lasting

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
SCHEDULER, DATABASE = "scheduler", "metadatabase"
LOOK_NEEDS = (SCHEDULER, API_SERVER, DATABASE)
"""Parts without which no task can look."""
WATCHDOG_NEEDS = ("triggerer",)
"""The same for the watchdog."""
ANSWER_NEEDS = (API_SERVER, DATABASE)
"""Parts without which Airflow cannot tell which files and DAGs it has."""


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
    :param looker: who looks: a task, or the watchdog. Whether it lives itself is for the other to tell.
    """
    with alerts.engine.begin() as connection:
        expected = [*WATCHED, *signs.LOOKERS, signs.CANARY, signs.BEGAN, *([signs.ASKED] if account.login else [])]
        signs.resume(connection, expected, after=2 * silent_after())
        signs.expected(connection, expected)
        signs.seen(connection, [signs.TRIED])
        # The watchdog looks often, and asks for all DAGs only when no task has for as long as one may take.
        asks_all = looker == signs.LOOK or bool(signs.silent(connection, [signs.ASKED], silent_after()))
    found = ask(account, overdue_since=datetime.now(UTC) - OVERDUE_AFTER if asks_all else None)
    with alerts.engine.begin() as connection:
        signs.seen(connection, {*found.alive, *([signs.ASKED] if found.dags is not None else [])})
        silent, judged = _judge(connection, found, looker, asks=account.login is not None)
        if SCHEDULER in silent:
            signs.seen(connection, [signs.BEGAN])  # what is late meanwhile is told by its silence
        settled = bool(signs.silent(connection, [signs.BEGAN], OVERDUE_AFTER))
        canary = signs.silent(connection, [signs.CANARY], CANARY_AFTER)
    unsure = {*WATCHED, *signs.LOOKERS, signs.ASKED} - judged
    looked = compare(
        alerts, Kind.AIRFLOW_SILENT, [_silent(*one) for one in silent.items()], "it is back", unsure=unsure
    )
    looked += Looked(raise_lasting(alerts, [_no_canary(since) for since in canary.values()]), 0)
    lacking = sorted({*missing, *([ACCOUNT] if found.refused else [])})
    looked += compare(
        alerts,
        Kind.CONNECTION_MISSING,
        [_lacking(name) for name in lacking],
        "it is there",
        unsure=[ACCOUNT] if account.login and found.dags is None else [],
    )
    if found.asked:
        unreadable = [_unreadable(error) for error in found.import_errors]
        looked += _compare_many(alerts, Kind.DAG_IMPORT_ERROR, unreadable, "the file can be read again")
    if found.dags is not None and settled:
        missed = [*_missed(found.dags, found.overdue), *_paused(alerts, found.paused)]
        looked += _compare_many(alerts, Kind.SCHEDULE_MISSED, missed, "it is on time again")
    return looked


def _judge(connection: Connection, found: Seen, looker: str, *, asks: bool) -> tuple[dict[str, datetime], set[str]]:
    """Return which parts are silent, and the last sign of each; and of which parts that can be said now at all.

    Of what lives behind a part that does not answer nothing is known, and what cannot live without a part that is
    silent is not told beside it.

    :param asks: whether Airflow is asked for its files and DAGs.
    """
    judged = {API_SERVER}
    if API_SERVER in found.alive:
        judged |= set(WATCHED) if DATABASE in found.alive else {DATABASE}
    silent = signs.silent(connection, judged, SILENT_AFTER)
    behind = {signs.WATCHDOG: (WATCHDOG_NEEDS, silent_after()), signs.LOOK: (LOOK_NEEDS, 2 * silent_after())}
    if asks and not found.refused:
        behind[signs.ASKED] = (ANSWER_NEEDS, OVERDUE_AFTER)
    for part, (needs, longest) in behind.items():
        if silent.keys() & set(needs):
            continue
        gone = signs.silent(connection, [part], longest)
        if part != looker or not gone:
            judged.add(part)
            silent |= gone
    return silent, judged


def tasks_stand_still(connection: Connection) -> bool:
    """Tell whether an alert is open that says so: no task looks for trouble, or none can."""
    return bool(
        connection.execute(
            text("select exists (select from alerts where state = 'open' and kind = :kind and cause = any(:causes))"),
            {"kind": Kind.AIRFLOW_SILENT, "causes": [*LOOK_NEEDS, signs.LOOK]},
        ).scalar_one()
    )


def _compare_many(alerts: Alerts, kind: Kind, troubles: list[Trouble], resolution: str) -> Looked:
    return compare(alerts, kind, gather(alerts, kind, troubles, NOBODYS), resolution)


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


def _missed(known: Collection[str], overdue: Collection[Overdue]) -> list[Trouble]:
    """Runs that were not made in time, and DAGs of the contracts that Airflow does not know at all."""
    unknown = {dag for declared in contracts().values() for dag in declared.dags} - set(known)
    return [
        *(_not_run(dag, dag.due.isoformat(), why="late") for dag in overdue),
        *(
            Trouble(
                Kind.SCHEDULE_MISSED,
                workflow_of(dag_id),
                f"{dag_id} unknown {datetime.now(UTC):%Y-%m-%d}",
                cause=dag_id,
                facts={"why": "unknown"},
            )
            for dag_id in sorted(unknown)
        ),
    ]


def _paused(alerts: Alerts, paused: Collection[Overdue]) -> list[Trouble]:
    """DAGs that somebody paused and forgot: a pause has no end, and its schedule passes without a word."""
    if calendar_paused():
        return []
    with alerts.engine.begin() as connection:
        since = signs.still_so(connection, signs.PAUSED, [dag.dag_id for dag in paused])
    now = datetime.now(UTC)
    return [
        _not_run(dag, f"paused {now:%Y-%m-%d}", why="paused")
        for dag in paused
        if dag.due < now and now - since[dag.dag_id] > PAUSED_AFTER
    ]


def _not_run(dag: Overdue, occurrence: str, *, why: str) -> Trouble:
    return Trouble(
        Kind.SCHEDULE_MISSED,
        workflow_of(dag.dag_id),
        f"{dag.dag_id} {occurrence}",
        cause=dag.dag_id,
        dag_id=dag.dag_id,
        facts={"dag_id": dag.dag_id, "due": dag.due.isoformat(), "why": why},
    )
