"""What is set aside: by workflow and reason, the cases of one reason, and one case with what it lacks.

It only reads; what a person does about it is in `resolving`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from include.contracts.model import ExceptionCase
from include.contracts.registry import contracts
from include.monitoring.views.corrections import Correction, Field, corrections_of, fields_of
from include.monitoring.views.masking import without_contacts

PAGE = 50
"""Cases of one page."""

_GROUPS = """
    select workflow, code, count(*) as cases, min(created_at) as oldest
    from cases, unnest(codes) as code
    where state = 'quarantined' group by 1, 2 order by 1, 3 desc, 2"""
OF_REASON = "workflow = :workflow and state = 'quarantined' and codes @> array[cast(:code as text)]"
"""Which cases have a reason; one index holds all that this asks for."""
AS_SEEN = "coalesce(md5(string_agg(id || ' ' || extract(epoch from updated_at), ' ' order by id)), '')"
"""The SQL that stands for some cases as they are: for which they are, and that none of them changed."""
_CASES = f"""
    select id, key, stage, updated_at as since, created_at as arrived, reasons
    from (select id as listed from cases where {OF_REASON} and id > :after order by id limit :most) as page
    join cases on cases.id = listed order by id"""


@dataclass(frozen=True)
class Group:
    """The cases of a workflow that are set aside for one reason; a case with two reasons is in two groups.

    :param oldest: when the first of them arrived.
    :param instruction: the contract's entry; None when it has none for this code any more.
    """

    workflow: str
    code: str
    cases: int
    oldest: datetime
    instruction: ExceptionCase | None


@dataclass(frozen=True)
class AsideCase:
    """One case of a reason's list."""

    id: int
    key: str
    stage: str
    since: datetime
    arrived: datetime
    reasons: list[dict[str, str]]

    @property
    def seen(self) -> str:
        """What stands for the case as it is now, as `Sheet.seen`."""
        return self.since.isoformat()


@dataclass(frozen=True)
class Fault:
    """One reason of a case, and what the contract says about it."""

    code: str
    message: str
    field: str | None
    instruction: ExceptionCase | None


@dataclass(frozen=True)
class Sheet:
    """A case with all that is needed to put it right.

    :param seen: stands for the case as it is now; an action with it does nothing when the case has changed since.
    :param last: what happened to it last, as `released by user:anna`.
    """

    id: int
    workflow: str
    key: str
    state: str
    stage: str
    since: datetime
    arrived: datetime
    seen: str
    last: str
    faults: list[Fault]
    fields: list[Field]
    corrections: list[Correction]

    @property
    def is_aside(self) -> bool:
        """Whether there is anything to resolve."""
        return self.state == "quarantined"


def groups(connection: Connection) -> dict[str, list[Group]]:
    """Return the groups of each workflow that has any, the largest first."""
    found: dict[str, list[Group]] = {}
    for row in connection.execute(text(_GROUPS)):
        group = Group(row.workflow, row.code, row.cases, row.oldest, instruction(row.workflow, row.code))
        found.setdefault(row.workflow, []).append(group)
    return found


def whole(connection: Connection, workflow: str, code: str) -> tuple[int, str]:
    """Return how many cases are set aside for a reason, and what stands for all of them as they are (`AS_SEEN`)."""
    found = connection.execute(
        text(f"select count(*) as cases, {AS_SEEN} as seen from cases where {OF_REASON}"),
        {"workflow": workflow, "code": code},
    ).one()
    return found.cases, found.seen


def next_of(connection: Connection, workflow: str, code: str, case_id: int) -> int | None:
    """Return the case of a reason that comes after one, or the first after the last; None where there is no other."""
    return connection.execute(
        text(f"""
            (select id from cases where {OF_REASON} and id > :case_id order by id limit 1)
            union all
            (select id from cases where {OF_REASON} and id < :case_id order by id limit 1)
            limit 1"""),
        {"workflow": workflow, "code": code, "case_id": case_id},
    ).scalar_one_or_none()


def cases_of(connection: Connection, workflow: str, code: str, after: int = 0) -> list[AsideCase]:
    """Return up to `PAGE` cases of a reason behind the case `after`, oldest first."""
    values = {"workflow": workflow, "code": code, "after": after, "most": PAGE}
    found = connection.execute(text(_CASES), values)
    return [AsideCase(**row) for row in found.mappings()]


def sheet(connection: Connection, case_id: int, *, clear: bool) -> Sheet | None:
    """Return one case, or None when there is none; of one that is not set aside only where it stands.

    :param clear: with addresses and telephone numbers in its key.
    """
    row = connection.execute(
        text("""
            select id, workflow, key, state, stage, updated_at as since, created_at as arrived, reasons
            from cases where id = :id"""),
        {"id": case_id},
    ).one_or_none()
    if row is None:
        return None
    reasons: Sequence[Mapping[str, Any]] = (row.reasons or []) if row.state == "quarantined" else []
    return Sheet(
        row.id, row.workflow, row.key if clear else without_contacts(row.key),
        row.state, row.stage, row.since, row.arrived,
        seen=row.since.isoformat(),
        last=last_event(connection, case_id),
        faults=[
            Fault(each["code"], each["message"], each.get("field"), instruction(row.workflow, each["code"]))
            for each in reasons
        ],
        fields=fields_of(connection, case_id, row.workflow, reasons) if reasons else [],
        corrections=corrections_of(connection, case_id),
    )  # fmt: skip


def last_event(connection: Connection, case_id: int) -> str:
    """Return what happened to a case last, and by whom: `released by user:anna at 2026-01-31 12:00 UTC`."""
    row = connection.execute(
        text("""
            select case kind when 'corrected' then 'corrected and released' else kind end as kind, actor,
                   to_char(at at time zone 'UTC', 'YYYY-MM-DD HH24:MI') as at
            from events where case_id = :id order by id desc limit 1"""),
        {"id": case_id},
    ).one_or_none()
    return f"{row.kind} by {row.actor} at {row.at} UTC" if row else ""


def instruction(workflow: str, code: str) -> ExceptionCase | None:
    """Return what a workflow's contract says about a reason."""
    of = contracts().get(workflow)
    return of.exception(code) if of else None
