"""What happened to one case, over all systems: received, moved, decided, corrected, sent; with the run that did it.

For who may only look it is masked here. It only reads; how the case stands is case.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, text

from include.contracts.registry import contracts
from include.monitoring.views.case import Facts, value_of
from include.monitoring.views.corrections import Correction, corrections_of, shown
from include.monitoring.views.masking import HIDDEN, masked, without_contacts, written

ON_A_PAGE = 200
"""Events of one page."""
MOST_EFFECTS = 200
"""Effects of one page, the newest."""
DECISIONS = ("routed", "decided", "decision void")
WRITTEN_BY_PEOPLE = ("reason", "comment", "why", "message")
"""Parts of an event's detail in which somebody may have written anything."""
LONGEST_LINE = 200
"""Characters of a value that is shown in one line."""

What = Literal["delivery", "event", "decision", "correction", "effect"]


@dataclass(frozen=True)
class Run:
    """The Airflow run in which something happened.

    :param dag_id: None where only the run is known.
    :param task: whose log tells of it, where that is known.
    """

    run_id: str
    dag_id: str | None = None
    task: str | None = None


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    :param state: the case's, or the effect's, after it.
    :param documents: names and texts of several lines.
    :param effect: its number in the ledger, where it is one.
    """

    at: datetime
    what: What
    title: str
    actor: str
    state: str | None = None
    step: str | None = None
    run: Run | None = None
    facts: Facts = ()
    documents: Facts = ()
    effect: int | None = None


@dataclass(frozen=True)
class Timeline:
    """A page of what happened, newest first.

    :param before: what to ask for to see what happened earlier; None where that is all.
    :param further_effects: what to ask for to see the effects before the `MOST_EFFECTS` that are in it, of the same
        time; None where these are all.
    """

    entries: list[Entry]
    before: int | None
    further_effects: int | None


def timeline(
    connection: Connection,
    case_id: int,
    workflow: str,
    *,
    clear: bool,
    before: int | None = None,
    effects: int | None = None,
) -> Timeline:
    """Return what happened to a case.

    :param clear: with personal data, and with what people wrote and systems answered.
    :param before: the id of an event; it and all that happened later is left out.
    :param effects: the id of an effect; it and all later ones are left out.
    """
    found = connection.execute(
        text("""
            select id, at, kind, stage, state, actor, run_id, step, detail from events
            where case_id = :id and (cast(:before as bigint) is null or id < :before) order by id desc limit :limit"""),
        {"id": case_id, "before": before, "limit": ON_A_PAGE + 1},
    ).fetchall()
    events, earlier = found[:ON_A_PAGE], len(found) > ON_A_PAGE
    sent = connection.execute(
        text("""
            select id, key, system, operation, step, target, payload, mode, state, attempts, answer, error, created_at,
                   coalesce(sent_at, created_at) as at
            from effects
            where case_id = :id and coalesce(sent_at, created_at) >= coalesce(:since, '-infinity'::timestamptz)
              and coalesce(sent_at, created_at) < coalesce((select at from events where id = :before), 'infinity')
              and (cast(:effects as bigint) is null or id < :effects)
            order by id desc limit :limit"""),
        {
            "id": case_id,
            "since": events[-1].at if earlier else None,
            "before": before,
            "effects": effects,
            "limit": MOST_EFFECTS + 1,
        },
    ).fetchall()
    shown_effects = sent[:MOST_EFFECTS]
    entries = [
        *_told(connection, case_id, workflow, events, clear),
        *(_sent(effect, clear) for effect in shown_effects),
    ]
    return Timeline(
        sorted(entries, key=lambda entry: entry.at, reverse=True),
        before=events[-1].id if earlier else None,
        further_effects=shown_effects[-1].id if len(sent) > MOST_EFFECTS else None,
    )


def run_of(workflow: str, actor: str, run_id: str, step: str | None) -> Run:
    """Return the run that an event names: Waybill keeps its id, and who acted tells the DAG.

    A run that a person triggered may be of any DAG, so its DAG stays open.
    """
    declared = contracts().get(workflow)
    dags = list(declared.dags) if declared else []
    part = actor.removeprefix("system:")
    if part == "approvals":
        return Run(run_id, next((dag for dag in dags if dag.endswith("_decision")), None))
    if part in dags and part != workflow:
        return Run(run_id, part)
    if part not in (workflow, "claims"):
        return Run(run_id)
    if run_id.startswith("asset_triggered__"):
        return Run(run_id, workflow, step)
    if run_id.startswith(("scheduled__", "backfill__")):
        dag = next((dag for dag in dags if dag.endswith("_reprocess")), None)
        return Run(run_id, dag, step if dag else None)
    return Run(run_id)


def _told(connection: Connection, case_id: int, workflow: str, events: Sequence[Row[Any]], clear: bool) -> list[Entry]:
    kinds = {event.kind for event in events}
    corrections = corrections_of(connection, case_id) if "corrected" in kinds else []
    asked = _asked(connection, case_id, clear) if any(kind.startswith("approval.") for kind in kinds) else {}
    return [_event(event, workflow, corrections, asked, clear) for event in events]


def _event(
    event: Row[Any],
    workflow: str,
    corrections: Iterable[Correction],
    asked: Mapping[tuple[Any, ...], Facts],
    clear: bool,
) -> Entry:
    detail = event.detail or {}
    what: What = "decision" if event.kind in DECISIONS or event.kind.startswith("approval.") else "event"
    facts: list[tuple[str, str]] = []
    documents: list[tuple[str, str]] = []
    if event.kind == "corrected":
        what = "correction"
        for each in _corrected(event, detail, corrections):
            before, after = (value_of(each.field, value, clear) for value in (each.before, each.after))
            if max(len(before), len(after)) > LONGEST_LINE or "\n" in before + after:
                documents += [(f"{each.field} before", before), (f"{each.field} after", after)]
            else:
                facts.append((each.field, f"{before or '(empty)'} → {after or '(empty)'}"))
    else:
        facts = [(name, _line(name, value, event.state, clear)) for name, value in detail.items()]
        if event.kind == "advanced":
            facts = [("on to", event.stage), *(fact for fact in facts if fact != ("from", event.step))]
    if event.kind == "received":
        what = "delivery"
    if event.kind == "approval.opened":
        facts += asked.get(("stages", detail.get("round")), ())
    if event.kind == "approval.decided":
        facts += asked.get(("comment", detail.get("round"), detail.get("person"), detail.get("answer")), ())
    return Entry(
        at=event.at,
        what=what,
        title=event.kind.replace(".", " "),
        actor=event.actor,
        state=event.state,
        step=event.step or event.stage,
        run=run_of(workflow, event.actor, event.run_id, event.step) if event.run_id else None,
        facts=facts,
        documents=documents,
    )


def _corrected(event: Row[Any], detail: Mapping[str, Any], corrections: Iterable[Correction]) -> list[Correction]:
    """The corrections that an event tells of: the last ones of its fields that were written until then."""
    last = {each.field: each for each in corrections if each.at <= event.at}
    return [last[name] for name in detail.get("fields", ()) if name in last]


def _line(name: str, value: Any, state: str | None, clear: bool) -> str:
    """One part of an event's detail. No personal data is written there but for what a person says in free text."""
    if not clear and (name in WRITTEN_BY_PEOPLE or (name == "outcome" and state == "rejected")):
        return HIDDEN
    if name == "reasons":
        value = [each["code"] for each in value]
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        value = ", ".join(str(each) for each in value)
    line = " ".join(shown(value).split())
    return line if clear else without_contacts(line)


def _asked(connection: Connection, case_id: int, clear: bool) -> dict[tuple[Any, ...], Facts]:
    """By round why each stage of it was asked, and what people said when they decided."""
    stages = connection.execute(
        text("""
            select s.round_id, s.number, s.rule, s.why, s.needed, s.state
            from approval_rounds r join approval_stages s on s.round_id = r.id where r.case_id = :id
            order by s.round_id, s.number"""),
        {"id": case_id},
    )
    comments = connection.execute(
        text("""
            select d.round_id, d.person, d.answer, d.comment
            from approval_rounds r join approval_decisions d on d.round_id = r.id
            where r.case_id = :id and d.comment is not null"""),
        {"id": case_id},
    )
    found: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    for round_id, number, rule, why, needed, state in stages:
        line = f"{rule}: {why if clear else HIDDEN}; {needed} needed; {state}"
        found.setdefault(("stages", round_id), []).append((f"stage {number}", line))
    for round_id, person, answer, comment in comments:
        found[("comment", round_id, person, answer)] = [("comment", comment if clear else HIDDEN)]
    return dict(found.items())


def _sent(effect: Row[Any], clear: bool) -> Entry:
    documents = [
        (name, written(document if clear else masked(document)))
        for name, document in (
            ("sent" if effect.state == "sent" else "to be sent", effect.payload),
            ("answer", effect.answer),
        )
        if document is not None
    ]
    facts = [
        ("target", effect.target if clear else without_contacts(effect.target)),
        ("mode", effect.mode),
        ("attempts", str(effect.attempts)),
        *([("error", effect.error if clear else HIDDEN)] if effect.error else []),
    ]
    return Entry(
        at=effect.at,
        what="effect",
        title=f"{effect.system}: {effect.operation.replace('_', ' ')}",
        actor="system:ledger",
        state=effect.state,
        step=effect.step,
        facts=facts,
        documents=documents,
        effect=effect.id,
    )
