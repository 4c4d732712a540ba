"""The wording of alerts: what broke, whom it touches, whether it heals by itself, what to do, and three links.

It words what it is given, as Slack blocks and as plain text; it looks nothing up, and personal data never reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from html import escape as html_escape
from typing import Any
from urllib.parse import quote

from include.monitoring.alerts import late_wordings, watch_wordings
from include.monitoring.alerts.wording import Wording, cases_in_words, effects_in_words, step_in_words, such_as

LONGEST_HEADER = 150
"""Characters that Slack takes in a header block (docs.slack.dev, Block Kit reference)."""
LONGEST_SECTION = 3_000
"""Characters that Slack takes in a section's text."""
MOST_REASONS = 8


class Kind(StrEnum):
    """What an alert can be about; each has a page in docs/runbooks."""

    TASK_FAILED = "task_failed"
    RUN_FAILED = "run_failed"
    CASES_QUARANTINED = "cases_quarantined"
    DEADLINE_MISSED = "deadline_missed"
    EFFECTS_DEAD = "effects_dead"
    SYSTEM_DOWN = "system_down"
    SERVICE_LEVEL_AT_RISK = "service_level_at_risk"
    SERVICE_LEVEL_MISSED = "service_level_missed"
    DAG_IMPORT_ERROR = "dag_import_error"
    SCHEDULE_MISSED = "schedule_missed"
    AIRFLOW_SILENT = "airflow_silent"
    INBOX_GROWING = "inbox_growing"
    LEDGER_GROWING = "ledger_growing"
    CONNECTION_MISSING = "connection_missing"
    CANARY = "canary"
    CANARY_MISSING = "canary_missing"


@dataclass(frozen=True)
class Numbers:
    """Whom an alert touches.

    :param cases: cases that it touches, or has touched.
    :param remaining: those of them that still wait for somebody.
    :param examples: ids of some of them.
    :param reasons: reason code -> cases.
    :param effects: effects that are not sent.
    """

    cases: int = 0
    remaining: int = 0
    examples: Sequence[int] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    effects: int = 0


@dataclass(frozen=True)
class Alert:
    """An alert as it stands in the database."""

    id: int
    kind: str
    workflow: str
    step: str | None
    cause: str
    dag_id: str | None
    owner: str
    channel: str
    email: str
    state: str
    resolution: str | None
    count: int
    version: int
    message: int
    first_at: datetime
    last_at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Names:
    """What people call the things that an alert is about, from the contract."""

    workflow: str
    step: str | None


@dataclass(frozen=True)
class Message:
    """One message in every form that a system may want."""

    subject: str
    text: str
    html: str
    blocks: list[dict[str, Any]]


@dataclass(frozen=True)
class Links:
    """Addresses in the UI, from the API's base URL."""

    base_url: str

    def _at(self, path: str) -> str:
        return f"{self.base_url.rstrip('/')}/{path}"

    def run(self, alert: Alert) -> str:
        """The failed task's log, the run, the DAG, or the page that shows it: the closest that there is."""
        facts = alert.facts
        if "page" in facts:
            return self._at(str(facts["page"]))
        dag_id, run_id, task_id = (facts.get(name) for name in ("dag_id", "run_id", "task_id"))
        if not (dag_id or alert.dag_id):
            return self._at("dags")
        path = f"dags/{quote(str(dag_id or alert.dag_id), safe='')}"
        if run_id:
            path += f"/runs/{quote(str(run_id), safe='')}"
            if task_id:
                path += f"/tasks/{quote(str(task_id), safe='')}"
                if int(facts.get("map_index", -1)) >= 0:
                    path += f"/mapped/{int(facts['map_index'])}"
                if int(facts.get("try_number", 0)) > 0:
                    path += f"?try_number={int(facts['try_number'])}"
        return self._at(path)

    def cases(self, alert: Alert) -> str:
        """The cases that the alert is about."""
        return self._at(f"waybill/alerts/{alert.id}")

    def runbook(self, alert: Alert) -> str:
        """What to do, at length."""
        return self._at(f"waybill/runbooks/{quote(alert.kind, safe='')}")


def render(alert: Alert, numbers: Numbers, names: Names, links: Links) -> Message:
    """Return the message that shows the alert as it stands now: open with its count, or resolved."""
    wording = _WORDINGS.get(alert.kind, _something)(alert, numbers, names)
    resolved = alert.state == "resolved"
    mark, headline = ("✅", f"Recovered: {wording.headline}") if resolved else ("🔴", wording.headline)
    heals = f"It is over: {alert.resolution}." if resolved else wording.heals
    do = "Nothing more." if resolved else wording.do
    parts = [("What broke", wording.broke), ("Touches", wording.touches), ("Heals by itself", heals), ("Do", do)]
    addresses = [("Run", links.run(alert)), ("Cases", links.cases(alert)), ("Runbook", links.runbook(alert))]
    often = _often(alert)
    text = "\n".join(
        [f"{mark} {headline}", *(f"{name}: {value}" for name, value in parts), often,
         *(f"{name}: {url}" for name, url in addresses)]
    )  # fmt: skip
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(f"{mark} {headline}", LONGEST_HEADER)}},
        *(
            {
                "type": "section",
                "text": {"type": "mrkdwn", "text": _cut(f"*{name}*\n{mrkdwn(value)}", LONGEST_SECTION)},
            }
            for name, value in parts
        ),
        {
            "type": "section",
            "text": {"type": "mrkdwn", "text": " · ".join(f"<{url}|{name}>" for name, url in addresses)},
        },
        {"type": "context", "elements": [{"type": "mrkdwn", "text": mrkdwn(f"{often} Owner: {alert.owner}.")}]},
    ]
    html = "".join(
        [f"<h2>{html_escape(f'{mark} {headline}')}</h2>",
         *(f"<p><b>{name}</b><br>{html_escape(value)}</p>" for name, value in parts),
         f"<p>{html_escape(often)}</p><p>",
         " · ".join(f'<a href="{html_escape(url)}">{name}</a>' for name, url in addresses), "</p>"]
    )  # fmt: skip
    return Message(headline, text, html, blocks)


def recovery(alert: Alert, numbers: Numbers, names: Names, links: Links) -> Message:
    """Return the short message that calls people back: an edited message alone notifies nobody."""
    headline = f"Recovered: {_WORDINGS.get(alert.kind, _something)(alert, numbers, names).headline}"
    return _short(alert, links, headline, f"✅ {headline} ({alert.resolution}). {_often(alert)}")


def escalation(alert: Alert, numbers: Numbers, names: Names, links: Links, note: str) -> Message:
    """Return the short message that tells the channel who was told beside it."""
    headline = _WORDINGS.get(alert.kind, _something)(alert, numbers, names).headline
    return _short(alert, links, headline, f"⏫ {headline}. {note}")


def _short(alert: Alert, links: Links, headline: str, text: str) -> Message:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn(text) + f" <{links.run(alert)}|Run>"}}
    html = f'<p>{html_escape(text)}</p><p><a href="{html_escape(links.run(alert))}">Run</a></p>'
    return Message(headline, f"{text}\nRun: {links.run(alert)}", html, [section])


def mrkdwn(text: str) -> str:
    """Return `text` with the three characters escaped that Slack gives a meaning to (docs.slack.dev, formatting)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _often(alert: Alert) -> str:
    first, last = alert.first_at, alert.last_at
    if alert.count == 1:
        return f"Once, at {first:%Y-%m-%d %H:%M} UTC.{_quiet(alert)}"
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{alert.count} times, {first:%Y-%m-%d %H:%M} to {until} UTC.{_quiet(alert)}"


def _quiet(alert: Alert) -> str:
    """Who is at it, or why it is told only now."""
    quiet = alert.facts.get("quiet")
    if not quiet or alert.state == "resolved":
        return ""
    how = (
        "Kept quiet by maintenance"
        if quiet["how"] == "maintenance"
        else f"{quiet['how'].capitalize()} by {quiet['by']}"
    )
    until = f" {how} until {quiet['until'][:16].replace('T', ' ')} UTC"
    return f"{until}, and it still lasts." if quiet.get("over") else f"{until}."


def _held(numbers: Numbers, workflow: str) -> str:
    if numbers.cases:
        return f"{cases_in_words(numbers.cases)} of {workflow} that the run was working on{such_as(numbers.examples)}."
    return f"No case: the run held none of {workflow}."


_COMES_BACK = (
    "Mostly: the cases go back when the run's claim ends (10 minutes at the longest), and the next run takes them; "
    "after 5 such runs they are set aside."
)


def _task_failed(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    facts = alert.facts
    tries = int(facts.get("try_number", 0))
    after = f" after {tries} tries" if tries > 1 else ""
    place = f" at {facts['where']}" if facts.get("where") else ""
    error = alert.cause or "no error was reported; its process was probably killed"
    more = f" And {facts['more_reasons']} more." if facts.get("more_reasons") else ""
    said = "".join(f" {reason}" for reason in facts.get("reasons", ()))
    return Wording(
        f"{names.workflow}: {step_in_words(names.step)} failed",
        f"The task {facts.get('task_id')} of {facts.get('dag_id')} failed{after}: {error}{place}.{said}{more}",
        facts.get("touches") or _held(numbers, names.workflow),
        _COMES_BACK if numbers.cases else "The next run tries again; this run stays failed.",
        "Read the task's log. When the cause is mended, clear the task: what was sent already is not sent again.",
    )


def _run_failed(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    why = {
        "task_failure": "one of its tasks failed",
        "timed_out": "it took longer than it may",
        "all_tasks_deadlocked": "its tasks wait for each other",
        "untold": "Airflow did not say why, so its callback was lost, or somebody marked it as failed",
    }.get(alert.cause, alert.cause or "Airflow gave no reason")
    return Wording(
        f"{names.workflow}: a run failed",
        f"The run {alert.facts.get('run_id')} of {alert.facts.get('dag_id')} failed: {why}.",
        _held(numbers, names.workflow),
        _COMES_BACK if numbers.cases else "The next run starts as usual; this one stays failed.",
        "Open the run, mend the cause, and clear the failed tasks: what was sent already is not sent again.",
    )


def _deadline_missed(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    dag_id, run_id = alert.facts.get("dag_id"), alert.facts.get("run_id")
    due = f" (due {str(alert.facts['deadline'])[:16].replace('T', ' ')} UTC)" if alert.facts.get("deadline") else ""
    what, broke, heals, do = {
        "failed": (
            "a run failed and missed its deadline",
            f"The run {run_id} of {dag_id} had failed already when its deadline passed{due}: not slow, but over.",
            "No: this run stays failed. The next run takes its cases.",
            "Look for the alert about the failure; this one only adds that the time is up.",
        ),
        "queued": (
            "a run has not started by its deadline",
            f"The run {run_id} of {dag_id} still waits to start{due}.",
            "Yes, as soon as a worker is free; no, when the scheduler stands still.",
            "See whether other runs hold every slot, and whether the scheduler is alive (Browse, Jobs).",
        ),
        "success": (
            "a run finished after its deadline",
            f"The run {run_id} of {dag_id} finished, but late{due}.",
            "It did: the run is finished.",
            "Nothing now. If it goes on, see which task takes the time.",
        ),
    }.get(
        alert.cause,
        (
            "a run is late",
            f"The run {run_id} of {dag_id} is still running after its deadline{due}.",
            "Perhaps: it is still running, and may finish.",
            "See which task it is at. A system that is away holds a run up; clear a task that hangs.",
        ),
    )
    return Wording(f"{names.workflow}: {what}", broke, _held(numbers, names.workflow), heals, do)


def _cases_quarantined(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    reasons = sorted(numbers.reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = ", ".join(f"{code} {count:,}" for code, count in reasons[:MOST_REASONS])
    more = f" and {len(reasons) - MOST_REASONS} more" if len(reasons) > MOST_REASONS else ""
    done = numbers.cases - numbers.remaining
    runs = "" if alert.count == 1 else f" by {alert.count} groups of runs"
    return Wording(
        f"{names.workflow}: {cases_in_words(numbers.cases)} set aside at {step_in_words(names.step)}",
        f"Cases could not go on{runs}: {shown or 'the reasons are on the cases'}{more}.",
        f"{cases_in_words(numbers.remaining)} still set aside{such_as(numbers.examples)}"
        + (f"; {cases_in_words(done)} dealt with." if done else "."),
        "No: each case waits for a person. All other cases went on.",
        "Correct and release them, or discard them with a reason. Many with one reason: the source's form has changed.",
    )


def _effects_dead(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    return Wording(
        f"{names.workflow}: {effects_in_words(numbers.effects)} given up ({alert.cause})",
        f"{alert.facts.get('system')} refused {alert.facts.get('operation')}, or failed it for three days.",
        f"{effects_in_words(numbers.effects)} for {cases_in_words(numbers.cases)}{such_as(numbers.examples)}.",
        "No: an effect that is given up is not tried again by itself.",
        "Read the error at the case, mend it there or in the system, then release the case: it is then tried again.",
    )


def _system_down(alert: Alert, numbers: Numbers, _names: Names) -> Wording:
    workflows = ", ".join(alert.facts.get("workflows", [])) or "no workflow"
    return Wording(
        f"The system {alert.cause} does not answer",
        f"Nothing has reached {alert.cause} lately, in {alert.facts.get('attempts', 3)} tries and more.",
        f"{effects_in_words(numbers.effects)} for {cases_in_words(numbers.cases)} of {workflows}"
        f"{such_as(numbers.examples)}.",
        "Yes, once it is back: effects are tried again for three days, each once. Only the steps that need it wait.",
        "Check the system's own status page, and the connection's address and credentials in Airflow.",
    )


def _something(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    return Wording(
        f"{names.workflow}: {alert.kind.replace('_', ' ')}",
        alert.cause or "No cause was given.",
        f"{cases_in_words(numbers.cases)}{such_as(numbers.examples)}.",
        "Unknown.",
        "Open the run and read its log.",
    )


_WORDINGS: dict[str, Callable[[Alert, Numbers, Names], Wording]] = {
    Kind.TASK_FAILED: _task_failed,
    Kind.RUN_FAILED: _run_failed,
    Kind.CASES_QUARANTINED: _cases_quarantined,
    Kind.DEADLINE_MISSED: _deadline_missed,
    Kind.EFFECTS_DEAD: _effects_dead,
    Kind.SYSTEM_DOWN: _system_down,
    Kind.SERVICE_LEVEL_AT_RISK: late_wordings.at_risk,
    Kind.SERVICE_LEVEL_MISSED: late_wordings.missed,
    Kind.DAG_IMPORT_ERROR: watch_wordings.dag_import_error,
    Kind.SCHEDULE_MISSED: watch_wordings.schedule_missed,
    Kind.AIRFLOW_SILENT: watch_wordings.airflow_silent,
    Kind.INBOX_GROWING: watch_wordings.inbox_growing,
    Kind.LEDGER_GROWING: watch_wordings.ledger_growing,
    Kind.CONNECTION_MISSING: watch_wordings.connection_missing,
    Kind.CANARY: watch_wordings.canary,
    Kind.CANARY_MISSING: watch_wordings.canary_missing,
}
