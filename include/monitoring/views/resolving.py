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
from include.monitoring.views.corrections import (
    OF_ONE_CASE,
    Field,
    check,
    fields_of,
    same,
    shared_fields,
    stored,
)
from include.monitoring.views.quarantine import AS_SEEN, OF_REASON, last_event

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

    :param ticked: case -> `AsideCase.seen` of the page on which it is ticked; None means all of the reason.
    :param counted: how many the person was told that there are, where all are meant.
    :param seen: what stood for all of them on that page, as `quarantine.whole` has it.
    """

    workflow: str
    code: str
    ticked: Mapping[int, str] | None
    counted: int = 0
    seen: str = ""


@dataclass(frozen=True)
class Done:
    """What came of it.

    :param left: cases that were chosen, and changed since they were seen.
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

    :raises Moved: when all are meant, and they are others by now.
    :raises Unfit: when the value cannot be read, is one that only one case can have, or the reason asks for no such.
    """
    if field:
        if field in OF_ONE_CASE:
            raise Unfit({field: "This differs from case to case: correct it case by case."})
        if not typed.strip():
            raise Unfit({field: "Write the value that all of them get; it is cleared case by case."})
        verdict = check(field, typed)
        if not verdict.fits:
            raise Unfit({field: verdict.message})
    with authored(engine, actor=actor) as connection:
        chosen = _chosen(connection, choice)
        offered = shared_fields(choice.workflow, choice.code, chosen.values())
        if field and chosen and field not in offered:
            raise Unfit({field: f"{choice.code} of these cases is not about this field: correct it case by case."})
        changed = store.release_within(
            connection,
            list(chosen),
            first_step=_first_step(choice.workflow),
            corrections={field: typed.strip()} if field else None,
        )
    return _done(choice, changed)


def discard_many(engine: Engine, choice: Choice, *, reason: str, actor: str) -> Done:
    """Close cases for good, for one reason.

    :raises Moved: when all are meant, and they are others by now.
    :raises Unfit: without a reason, or with one that is too long.
    """
    why = _why(reason)
    with authored(engine, actor=actor) as connection:
        changed = store.discard_within(connection, list(_chosen(connection, choice)), reason=why)
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


def _chosen(connection: Connection, choice: Choice) -> dict[int, list[dict[str, str]]]:
    """Hold the cases that are meant, and are as they were seen; return each with its reasons."""
    ticked = "" if choice.ticked is None else " and id = any(:ids)"
    values = {"workflow": choice.workflow, "code": choice.code, "ids": list(choice.ticked or ())}
    found = connection.execute(
        text(f"select id, updated_at, reasons from cases where {OF_REASON}{ticked} order by id for update"), values
    ).all()
    if choice.ticked is None:
        _see_again(connection, choice, [row.id for row in found])
        return {row.id: row.reasons for row in found}
    return {row.id: row.reasons for row in found if row.updated_at.isoformat() == choice.ticked[row.id]}


def _see_again(connection: Connection, choice: Choice, ids: Sequence[int]) -> None:
    """Make sure that all cases of a reason are those that somebody saw, as they saw them."""
    if len(ids) != choice.counted:
        raise Moved(
            f"Nothing was changed: {len(ids):,} cases have the reason {choice.code} now, and not {choice.counted:,}; "
            "look at them, and confirm their number."
        )
    seen = connection.execute(text(f"select {AS_SEEN} from cases where id = any(:ids)"), {"ids": list(ids)})
    if seen.scalar_one() != choice.seen:
        raise Moved(
            f"Nothing was changed: as many cases as you saw have the reason {choice.code}, but they are others, "
            "or not as they were; look at them, and confirm their number."
        )


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
    return Done(changed, 0 if choice.ticked is None else len(choice.ticked) - changed)
