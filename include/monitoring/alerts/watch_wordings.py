"""The wording of what watching finds: trouble that makes no failed task, and so no callback.

Facts come from `include.monitoring.watching`; nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.monitoring.alerts.wording import Wording, cases_in_words, effects_in_words, such_as

if TYPE_CHECKING:
    from include.monitoring.alerts.messages import Alert, Names, Numbers

_PARTS = {
    "scheduler": (
        "the scheduler",
        "No task starts anywhere, in no workflow. What comes in is stored and waits.",
        "Start it again: `make up` on one machine, `docker compose restart scheduler` in the deployment. Read its log.",
    ),
    "triggerer": (
        "the triggerer",
        "New cases are not noticed, and runs that wait for people or deadlines do not go on.",
        "Start it again: `make up` on one machine, `docker compose restart triggerer` in the deployment. Read its log.",
    ),
    "dag_processor": (
        "the DAG processor",
        "Changed DAG files are not read; workflows run on as they were until Airflow calls them stale.",
        "Start it again: `make up` on one machine, `docker compose restart dag-processor` in the deployment.",
    ),
    "api_server": (
        "the API server",
        "Nobody can open the UI, and tasks cannot report: running ones fail when they lose it for long.",
        "Start it again: `make up` on one machine, `docker compose restart api-server` in the deployment.",
    ),
    "metadatabase": (
        "Airflow's database",
        "Airflow cannot start or record anything.",
        "See whether PostgreSQL runs, has disk, and has connections left.",
    ),
    "look": (
        "the look for trouble from a task",
        "No case. The watchdog looks and tells; the monitor outside hears nothing, and alarms.",
        "See whether the DAG waybill_alerts is paused, and what its last runs say.",
    ),
    "watchdog": (
        "the watchdog in the triggerer",
        "No case: a task looks in its place, less often. If the scheduler dies now, only the monitor outside tells.",
        "See that the DAG waybill_canary is not paused and the triggerer runs; the page Alerts says where it failed.",
    ),
    "files and schedules": (
        "Airflow's list of files and DAGs",
        "No case. Files that cannot be read and schedules that are missed are not noticed.",
        "See whether the API server is slow, and what its log says about /api/v2/importErrors and /api/v2/dags.",
    ),
}


def dag_import_error(alert: Alert, _numbers: Numbers, _names: Names) -> Wording:
    """A DAG file that Airflow cannot read, or many."""
    if "many" in alert.facts:
        return Wording(
            f"{alert.facts['many']} DAG files cannot be read",
            f"Airflow cannot read {_named(alert)}. So many at once mostly have one cause: what all of them import.",
            "The workflows of those files. Airflow runs their last good version for a while, then drops them.",
            "No: they stay broken until that is changed.",
            "Open the import errors in Airflow's UI, and mend what most of them name; or take the last change back.",
        )
    error = alert.facts.get("error") or "an error"
    return Wording(
        f"The DAG file {alert.cause} cannot be read",
        f"Airflow cannot read {alert.cause}: {error}.",
        "The workflows of that file. Airflow runs their last good version for a while, then drops them.",
        "No: a file stays broken until it is changed.",
        "Open the import errors in Airflow's UI for the line, and deploy a file that `make lint` and `make test` pass.",
    )


def schedule_missed(alert: Alert, _numbers: Numbers, names: Names) -> Wording:
    """A DAG that should have run, and did not; or many."""
    if "many" in alert.facts:
        return Wording(
            f"{alert.facts['many']} DAGs did not run when they should have",
            f"None of their runs is queued or runs, or Airflow does not know them: {_named(alert)}.",
            "What these DAGs do is late. Nothing that came in is lost.",
            "Yes, if Airflow was only busy: it makes the runs later. No, when their files are gone.",
            "See whether the scheduler is busy or stands still, and whether the DAG processor reads the DAGs' folder.",
        )
    due = _moment(alert.facts, "due", "at")
    what, broke, do = {
        "unknown": (
            f"Airflow does not know the DAG {alert.cause}",
            f"The contract names {alert.cause}, and Airflow has no such DAG: its file is missing, stale or empty.",
            "See that the DAG file is deployed, and that the DAG processor reads the folder it is in.",
        ),
        "paused": (
            f"{alert.cause} is paused, and does not run when it should",
            f"{alert.cause} has been paused for more than a day, and a run was due{due}.",
            "Unpause it in Airflow. If it is to stay so, snooze this alert and say why; it comes again at the end.",
        ),
    }.get(
        str(alert.facts.get("why")),
        (
            f"{alert.cause} did not run when it should have",
            f"A run of {alert.cause} was due{due}, and none is queued or runs.",
            "See whether the scheduler is busy or stands still, and whether other runs hold every slot.",
        ),
    )
    return Wording(
        f"{names.workflow}: {what}",
        broke,
        f"What {alert.cause} does for {names.workflow} is late. Nothing that came in is lost.",
        "Yes, if Airflow was only busy: it makes the run later. No, when it is paused or its file is gone.",
        do,
    )


def airflow_silent(alert: Alert, numbers: Numbers, _names: Names) -> Wording:
    """A part of Airflow that gives no sign of life."""
    name, harm, do = _PARTS.get(alert.cause, (alert.cause, "Unknown.", "Look at the processes of Waybill."))
    waiting = f" {cases_in_words(numbers.cases)} wait now{such_as(numbers.examples)}." if numbers.cases else ""
    return Wording(
        f"{name[:1].upper()}{name[1:]} is silent",
        f"There is no sign of life of {name}{_moment(alert.facts, 'last', 'since')}.",
        harm + waiting,
        "Perhaps: a supervisor starts it again when it died; one that hangs stays silent.",
        do,
    )


def inbox_growing(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    """Cases that nobody takes, or that come faster than they go."""
    grows = alert.cause == "grows"
    since = _moment(alert.facts, "oldest", "since")
    return Wording(
        f"{names.workflow}: cases {'come faster than they go' if grows else 'wait, and nobody takes them'}",
        f"What waits has only grown for half an hour; the oldest is due{since}."
        if grows
        else f"Cases are due{since}, and no run has taken any for a quarter of an hour.",
        f"{cases_in_words(numbers.cases)} of {names.workflow} are due{such_as(numbers.examples)}.",
        "Yes, when the burst is over." if grows else "No, unless the DAG was only held up for a moment.",
        "See what takes the time in the runs; more workers help when all are busy."
        if grows
        else f"See whether the DAG {alert.dag_id or alert.workflow} is paused, fails, or waits for a slot.",
    )


def ledger_growing(alert: Alert, numbers: Numbers, _names: Names) -> Wording:
    """Effects that nobody sends, or that come faster than they go."""
    grows = alert.cause.endswith(" grows")
    system = str(alert.facts.get("system", alert.cause))
    since = _moment(alert.facts, "oldest", "since")
    return Wording(
        f"Effects for {system} {'come faster than they go' if grows else 'wait, and nothing is sent'}",
        f"What waits to be sent to {system} has only grown for half an hour; the oldest is due{since}."
        if grows
        else f"Effects for {system} are due{since}, and none was sent for a quarter of an hour.",
        f"{effects_in_words(numbers.effects)} for {cases_in_words(numbers.cases)}{such_as(numbers.examples)}.",
        "Yes, when the burst is over, or the system is faster again: each effect is sent once.",
        "Look at the system's limits and its circuit on the page of the effects, and whether the workflows' runs fail.",
    )


def connection_missing(alert: Alert, _numbers: Numbers, _names: Names) -> Wording:
    """A way by which alerts leave, or are found, is not set up in production."""
    purpose = {
        "waybill_chat": "Alerts cannot reach the chat, and go by mail only",
        "waybill_mail": "Alerts have no second route, for a mail catcher is none: when the chat is away, nobody hears",
        "waybill_airflow": "DAG import errors and missed schedules are not looked for",
    }.get(alert.cause, "A part of the alerts does not work")
    return Wording(
        f"The connection {alert.cause} is missing or refused",
        f"{purpose}.",
        "Everybody who answers for a workflow.",
        "No.",
        f"Make the Airflow connection {alert.cause}, or mend it: docs/alerts.md says which types there are.",
    )


def canary(_alert: Alert, _numbers: Numbers, _names: Names) -> Wording:
    """The known failure that is sent every day."""
    return Wording(
        "Daily test of the alerts: nothing is wrong",
        "A task failed on purpose, to see that a failure reaches you.",
        "Nobody.",
        "Yes: it is taken back as soon as it has arrived.",
        "Nothing. When this message does not come, a mail tells so.",
    )


def canary_missing(alert: Alert, _numbers: Numbers, _names: Names) -> Wording:
    """The known failure did not arrive: real ones may not either."""
    return Wording(
        "The daily test of the alerts did not arrive",
        "The failure that is made on purpose every day has not reached the chat"
        f"{_moment(alert.facts, 'last', 'since')}.",
        "Everybody who answers for a workflow: other alerts may be lost on the same way.",
        "Perhaps: the next test takes this back when it arrives.",
        "See which task of waybill_canary or waybill_alerts failed, and whether the chat's connection works.",
    )


def _named(alert: Alert) -> str:
    """The first of many, and how many more there are."""
    names = alert.facts["names"]
    more = alert.facts["many"] - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _moment(facts: Mapping[str, Any], name: str, word: str) -> str:
    """A moment of the facts as the end of a sentence: ` since 2026-11-21 01:00 UTC`."""
    moment = str(facts.get(name) or "")[:16].replace("T", " ")
    return f" {word} {moment} UTC" if moment else ""
