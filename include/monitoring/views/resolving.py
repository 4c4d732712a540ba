"""What a person does with what is set aside: correct and release, or discard; one case, some, or all of a reason.

Whatever they do is bound to what they saw: a case that changed meanwhile, and a number of cases that is another by
now, are left alone and told. So a form that is sent twice does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from include.cases import store
from include.contracts.registry import contracts
from include.data.database import authored
from include.monitoring.views.corrections import OF_ONE_CASE, Field, check, fields_of, same, stored
from include.monitoring.views.quarantine import OF_REASON, last_event

LONGEST_REASON = 200
"""Characters of why a case is discarded."""


class Moved(ValueError):
    """What the person saw is not so any more; nothing was changed."""


class Unfit(ValueError):
    """A value that cannot be read, or a reason that is none; `faults` says which: field -> message."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {message}" for name, message in faults.items()))
        self.faults = dict(faults)


@dataclass(frozen=True)
class Choice:
    """Which cases of a reason a person means.

    :param case_ids: those that are ticked; None means all of the reason.
    :param counted: how many the person was told that there are, where all are meant.
    """

    workflow: str
    code: str
    case_ids: Sequence[int] | None
    counted: int = 0


@dataclass(frozen=True)
class Done:
    """What came of it.

    :param left: cases that were chosen and are not set aside for this reason any more.
    """

    changed: int
    left: int = 0


def release_one(engine: Engine, case_id: int, *, seen: str, typed: Mapping[str, str], actor: str) -> list[str]:
    """Correct a case and send it through its workflow again.

    :param seen: `Sheet.seen` of the page on which it was decided.
    :param typed: field -> what its input held; what is not changed is no correction.
    :returns: the fields that are corrected.
    :raises Moved: when the case changed since, or its workflow has no steps to go through.
    :raises Unfit: when a value cannot be read.
    """
    with authored(engine, actor=actor) as connection:
        workflow, reasons = _held(connection, case_id, seen)
        fields = {field.name: field for field in fields_of(connection, case_id, workflow, reasons)}
        corrections = _corrections(fields, typed)
        store.release_within(connection, [case_id], first_step=_first_step(workflow), corrections=corrections)
    return sorted(corrections)


def discard_one(engine: Engine, case_id: int, *, seen: str, reason: str, actor: str) -> None:
    """Close a case for good.

    :raises Moved: when the case changed since it was seen.
    :raises Unfit: without a reason, or with one that is too long.
    """
    why = _why(reason)
    with authored(engine, actor=actor) as connection:
        _held(connection, case_id, seen)
        store.discard_within(connection, [case_id], reason=why)


def release_many(engine: Engine, choice: Choice, *, field: str = "", typed: str = "", actor: str) -> Done:
    """Send cases through their workflow again, all of them with the same value of one field where one is given.

    :raises Moved: when all are meant, and their number is another by now.
    :raises Unfit: when the value cannot be read, or is one that only one case can have.
    """
    corrections = {}
    if field:
        if field in OF_ONE_CASE:
            raise Unfit({field: "This differs from case to case: correct it case by case."})
        if not typed.strip():
            raise Unfit({field: "Write the value that all of them get; it is cleared case by case."})
        verdict = check(field, typed)
        if not verdict.fits:
            raise Unfit({field: verdict.message})
        corrections[field] = typed.strip()
    with authored(engine, actor=actor) as connection:
        chosen = _chosen(connection, choice)
        changed = store.release_within(
            connection, chosen, first_step=_first_step(choice.workflow), corrections=corrections
        )
    return _done(choice, changed)


def discard_many(engine: Engine, choice: Choice, *, reason: str, actor: str) -> Done:
    """Close cases for good, for one reason.

    :raises Moved: when all are meant, and their number is another by now.
    :raises Unfit: without a reason, or with one that is too long.
    """
    why = _why(reason)
    with authored(engine, actor=actor) as connection:
        changed = store.discard_within(connection, _chosen(connection, choice), reason=why)
    return _done(choice, changed)


def _held(connection: Connection, case_id: int, seen: str) -> tuple[str, list[dict[str, str]]]:
    """Hold a case that is as it was seen; return its workflow and reasons."""
    row = connection.execute(
        text("select workflow, state, stage, reasons, updated_at from cases where id = :id for update"),
        {"id": case_id},
    ).one_or_none()
    if row is None:
        raise Moved(f"There is no case {case_id}.")
    if row.state != "quarantined":
        last = last_event(connection, case_id)
        raise Moved(f"Nothing was changed: case {case_id} is not set aside any more, but {row.state} ({last}).")
    if row.updated_at.isoformat() != seen:
        raise Moved(f"Nothing was changed: case {case_id} was set aside anew since you looked; look at it again.")
    return row.workflow, row.reasons


def _chosen(connection: Connection, choice: Choice) -> list[int]:
    """Hold the cases that are meant and still set aside for that reason."""
    ticked = "" if choice.case_ids is None else " and id = any(:ids)"
    found = connection.execute(
        text(f"select id from cases where {OF_REASON}{ticked} order by id for update"),
        {"workflow": choice.workflow, "code": choice.code, "ids": list(choice.case_ids or ())},
    )
    ids = list(found.scalars())
    if choice.case_ids is None and len(ids) != choice.counted:
        raise Moved(
            f"Nothing was changed: {len(ids):,} cases have the reason {choice.code} now, and not {choice.counted:,}; "
            "look at them, and confirm their number."
        )
    return ids


def _corrections(fields: Mapping[str, Field], typed: Mapping[str, str]) -> dict[str, object]:
    changed = {name: value for name, value in typed.items() if not (name in fields and same(fields[name], value))}
    country = typed.get("country", fields["country"].value if "country" in fields else None)
    faults = {}
    for name, value in changed.items():
        verdict = check(name, value, of_country=country)
        if name not in fields:
            faults[name] = "The case has no such field."
        elif not verdict.fits:
            faults[name] = verdict.message
    if faults:
        raise Unfit(faults)
    return {name: stored(fields[name], value) for name, value in changed.items()}


def _first_step(workflow: str) -> str:
    of = contracts().get(workflow)
    if of is None or not of.steps:
        raise Moved(f"Nothing was changed: no workflow {workflow} runs any more; discard its cases.")
    return of.first_stage


def _why(reason: str) -> str:
    line = " ".join(reason.split())
    if not line:
        raise Unfit({"reason": "Say why it is discarded; it is kept as the outcome."})
    if len(line) > LONGEST_REASON:
        raise Unfit({"reason": f"Say it in at most {LONGEST_REASON} characters."})
    return line


def _done(choice: Choice, changed: int) -> Done:
    return Done(changed, 0 if choice.case_ids is None else len(set(choice.case_ids)) - changed)
