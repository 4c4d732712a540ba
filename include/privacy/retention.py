"""Applies the contracts' retention: what was kept long enough is erased, in batches, and never of an open case.

Time counts from the close of a case. A contact goes with the last case that needs it. No row is deleted, and that
something was erased stays told. Each batch is a transaction of its own, so a run that dies is gone on with by the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from include.contracts.model import Contract
from include.contracts.registry import contracts
from include.data.database import authored
from include.data.matching import directory
from include.integrations.systems import Mode
from include.privacy import rows
from include.privacy.erase import begin, crm_effects, take_away
from include.privacy.person import NOTHING, Person, everybody_of, words_of_cases

ACTOR = "system:retention"
DELIVERIES = 5_000
CASES = 1_000
EVENTS = 10_000
"""Most in one batch."""

_OLD_DELIVERIES = """
    from deliveries d join cases c on c.delivery_id = d.id
    where d.workflow = :workflow and d.erased_at is null and d.received_at < :before
      and c.closed_at < :before and c.state in ('finished', 'rejected')"""
_OLD_CASES = """
    from cases c where c.workflow = :workflow and c.closed_at < :before and c.erased_at is null
      and c.state in ('finished', 'rejected')
      and not exists (select from effects e where e.case_id = c.id and e.state in ('sending', 'unknown'))"""
_OLD_EVENTS = """
    from events e left join cases c on c.id = e.case_id
    where e.workflow = :workflow and e.at < :before and e.kind <> 'erased'
      and (e.detail is not null or (e.actor like 'user:%' and e.actor <> 'user:[erased]'))
      and (e.case_id is null or c.state in ('finished', 'rejected'))"""


@dataclass(frozen=True)
class _Kind:
    """One kind of record with a time of its own in the contracts."""

    name: str
    old: str
    kept: Callable[[Contract], timedelta]
    apply: Callable[[Connection, str, dict[str, Any], Mode], int]


def apply(engine: Engine, *, now: datetime, mode: Mode, dry_run: bool, run: str = "") -> dict[str, dict[str, int]]:
    """Erase what each contract has kept long enough at `now`; the same moment again finds nothing.

    :returns: workflow -> kind (`deliveries`, `personal_data`, `events`) -> how many; in a dry run, would be.
    """
    found: dict[str, Counter[str]] = {}
    for workflow, contract in contracts().items():
        tally: Counter[str] = Counter()
        for kind in KINDS:
            values = {"workflow": workflow, "before": now - kind.kept(contract)}
            if dry_run:
                with engine.connect() as connection:
                    tally[kind.name] += connection.execute(text(f"select count(*) {kind.old}"), values).scalar_one()
                continue
            while done := _batch(engine, kind, workflow, values, mode=mode, run=run):
                tally[kind.name] += done
        if +tally:
            found[workflow] = +tally
    return {workflow: dict(tally) for workflow, tally in found.items()}


def _batch(engine: Engine, kind: _Kind, workflow: str, values: dict[str, Any], *, mode: Mode, run: str) -> int:
    with authored(engine, actor=ACTOR, run=run, step="apply_retention") as connection:
        return kind.apply(connection, workflow, values, mode)


def _deliveries(connection: Connection, workflow: str, values: dict[str, Any], mode: Mode) -> int:  # noqa: ARG001
    ids = _some(connection, f"select c.id {_OLD_DELIVERIES}", values, DELIVERIES)
    if ids:
        person = _only_cases(ids)
        begin(connection, person, kind="deliveries", reason=_why(workflow), counts=[_count("deliveries", ids)])
        rows.erase_bodies(connection, person)
    return len(ids)


def _personal_data(connection: Connection, workflow: str, values: dict[str, Any], mode: Mode) -> int:
    directory.lock(connection)
    ids = _some(connection, f"select c.id {_OLD_CASES}", values, CASES)
    if ids:
        person = everybody_of(connection, ids, _contacts_of_nothing_else(connection, ids))
        told = crm_effects(connection, person)
        counts = rows.counts(connection, person, {})
        words = words_of_cases(connection, ids)
        begin(connection, person, kind="personal_data", reason=_why(workflow), counts=counts)
        rows.erase_words(connection, words)
        take_away(connection, person, told, mode=mode, mentions={})
    return len(ids)


def _events(connection: Connection, workflow: str, values: dict[str, Any], mode: Mode) -> int:  # noqa: ARG001
    ids = list(
        connection.execute(
            text(f"select e.id {_OLD_EVENTS} order by e.id limit :limit"), {**values, "limit": EVENTS}
        ).scalars()
    )
    if ids:
        begin(connection, _only_cases([]), kind="events", reason=_why(workflow), counts=[_count("events", ids)])
        connection.execute(
            text("""
                update events set detail = null,
                                  actor = case when actor like 'user:%' then 'user:[erased]' else actor end
                where id = any(:ids)"""),
            {"ids": ids},
        )
    return len(ids)


KINDS = (
    _Kind("deliveries", _OLD_DELIVERIES, lambda contract: contract.retention.deliveries, _deliveries),
    _Kind("personal_data", _OLD_CASES, lambda contract: contract.retention.personal_data, _personal_data),
    _Kind("events", _OLD_EVENTS, lambda contract: contract.retention.events, _events),
)


def _some(connection: Connection, query: str, values: dict[str, Any], limit: int) -> list[int]:
    """Hold and return some of the cases; those that somebody else holds are for the next batch."""
    return list(
        connection.execute(
            text(f"{query} order by c.id limit :limit for update of c skip locked"), {**values, "limit": limit}
        ).scalars()
    )


def _contacts_of_nothing_else(connection: Connection, case_ids: list[int]) -> list[UUID]:
    """Return the contacts that these cases have or had and no other needs, with those that were merged with them."""
    return list(
        connection.execute(
            text("""
                with named as (
                    select contact_id as id from leads where case_id = any(:ids)
                    union select contact_id from clients where case_id = any(:ids)
                    union select d.contact_id from deal_changes ch join deals d on d.id = ch.deal_id
                          where ch.case_id = any(:ids)
                    -- a corrected lead may have left the contact that it made
                    union select former_contact_id from leads where case_id = any(:ids)
                    union select target::uuid from effects where case_id = any(:ids) and operation = 'upsert_contact'
                ), root as (
                    select distinct coalesce(c.merged_into, c.id) as id
                    from directory_contacts c join named on named.id = c.id
                ), member as (
                    select c.id, root.id as root from directory_contacts c join root on root.id in (c.id, c.merged_into)
                ), needed as (
                    select m.root from member m join leads l on m.id in (l.contact_id, l.former_contact_id)
                    join cases c on c.id = l.case_id where c.erased_at is null and not c.id = any(:ids)
                    union
                    select m.root from member m join deals d on d.contact_id = m.id
                    join deal_changes ch on ch.deal_id = d.id and ch.stage = 'won'
                    join cases c on c.id = ch.case_id where c.erased_at is null and not c.id = any(:ids)
                )
                select id from member where root not in (select root from needed) order by id"""),
            {"ids": case_ids},
        ).scalars()
    )


def _only_cases(ids: Iterable[int]) -> Person:
    return Person((), tuple(ids), (), (), (), NOTHING, NOTHING)


def _count(table: str, ids: list[int]) -> rows.Count:
    return rows.Count(table, len(ids), len(ids))


def _why(workflow: str) -> str:
    return f"retention of {workflow}"
