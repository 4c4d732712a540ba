"""A lead whose correction changed by what it names somebody: what becomes of the contact that it had.

A contact of other leads too stays as it is, and keeps them. One that this lead alone made is written anew, where the
lead is still nobody else. Where the lead turns out to be somebody who is known, that one is emptied; or, where the CRM
has it already, a person is asked whether the two are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from include.cases.store import record_each
from include.data.matching import directory
from include.data.matching.directory import Key
from include.data.matching.thresholds import POSSIBLE

MATCHED_ANEW = "matched anew"
"""The event on the lead's case."""


@dataclass(frozen=True)
class Former:
    """The contact that a lead had.

    :param alone: nothing but this lead has to do with it.
    :param in_crm: the CRM was told of it.
    """

    contact: UUID
    alone: bool
    in_crm: bool


@dataclass(frozen=True)
class Left:
    """The leads that left their contact, by case, and the keys of the contacts that are this lead's alone."""

    former: Mapping[int, Former] = field(default_factory=dict)
    keys: Mapping[Key, UUID] = field(default_factory=dict)

    @property
    def renewed(self) -> dict[int, UUID]:
        """The contacts that may be written anew, by case."""
        return {case: former.contact for case, former in self.former.items() if former.alone}


def prepare(connection: Connection, case_ids: Sequence[int]) -> Left:
    """Find the contacts that leads have left, and let nobody be found by those that were made of such a lead alone."""
    rows = connection.execute(
        text("""
            select l.case_id, l.former_contact_id as contact,
                   not exists (select from leads o where o.case_id <> l.case_id and o.contact_id = l.former_contact_id)
                   and not exists (select from leads o where o.case_id <> l.case_id and o.contact_id is null
                                                         and o.former_contact_id = l.former_contact_id)
                   and not exists (select from deals d where d.contact_id = l.former_contact_id
                                                         and d.case_id <> l.case_id)
                   and not exists (select from clients c where c.contact_id = l.former_contact_id)
                   and not exists (select from contact_merges m where m.undone_at is null
                                                         and l.former_contact_id in (m.winner, m.loser)) as alone,
                   exists (select from effects e where e.case_id = l.case_id and e.operation = 'upsert_contact'
                              and e.target = l.former_contact_id::text and e.state in ('sent', 'sending', 'unknown')
                          ) as in_crm
            from leads l where l.case_id = any(:ids) and l.former_contact_id is not null and l.contact_id is null"""),
        {"ids": list(case_ids)},
    )
    left = Left({row.case_id: Former(row.contact, row.alone, row.in_crm) for row in rows})
    return Left(left.former, directory.forget(connection, left.renewed.values())) if left.renewed else left


def conclude(connection: Connection, left: Left, contacts: Mapping[int, UUID]) -> None:
    """Tell in each case whom it is matched with now, and settle what the contact that it had leaves behind.

    :param contacts: case -> its contact now.
    """
    if not left.former:
        return
    moved = {case: former for case, former in left.former.items() if contacts[case] != former.contact}
    orphans = {case: former for case, former in moved.items() if former.alone}
    asked = {case: former.contact for case, former in orphans.items() if former.in_crm}
    directory.empty(connection, [former.contact for former in orphans.values() if not former.in_crm])
    directory.add_keys(connection, {key: owner for key, owner in left.keys.items() if owner in asked.values()})
    questions = directory.ask(
        connection,
        {
            (min(former, contacts[case]), max(former, contacts[case])): (
                case,
                POSSIBLE,
                {"lead": "the same, corrected"},
            )
            for case, former in asked.items()
        },
    )
    _move_deals(connection, list(moved))
    connection.execute(
        text("""
            update leads set former_contact_id = null
            where case_id = any(:ids) and not (case_id = any(:renewed) and former_contact_id = contact_id)"""),
        {"ids": list(left.former), "renewed": list(left.renewed)},
    )
    details: dict[int, dict[str, Any]] = {}
    for case, former in left.former.items():
        details[case] = {"former": str(former.contact), "contact": str(contacts[case])}
        if case in moved:
            details[case] |= {"former_has_other_leads": not former.alone, "former_in_crm": former.in_crm}
        if case in questions:
            details[case]["pairs"] = questions[case]
    record_each(connection, MATCHED_ANEW, details)


def _move_deals(connection: Connection, case_ids: Sequence[int]) -> None:
    """Let a deal that only this lead has go along; where the contact has an open one, the lead joins that."""
    cases = {"ids": list(case_ids)}
    connection.execute(
        text("""
            update deals set contact_id = mine.contact_id, company_id = mine.company_id
            from (select distinct on (l.contact_id) d.id, l.contact_id, l.company_id
                  from leads l join deals d on d.id = l.deal_id
                  where l.case_id = any(:ids) and d.case_id = l.case_id and d.state = 'open'
                    and not exists (select from leads o where o.contact_id = d.contact_id and o.deal_id = d.id)
                    and not exists (select from deals x where x.contact_id = l.contact_id and x.state = 'open')
                  order by l.contact_id, l.case_id) as mine
            where deals.id = mine.id"""),
        cases,
    )
    connection.execute(
        text("""
            with others as (
                select l.case_id, d.id, d.contact_id from leads l join deals d on d.id = l.deal_id
                where l.case_id = any(:ids) and d.contact_id <> l.contact_id
            ), left_it as (
                update leads set deal_id = null from others where leads.case_id = others.case_id
            )
            update deals set state = 'lost', reason = 'its only lead is somebody else''s', closed_at = now(),
                             closed_by = others.case_id, lost_at = coalesce(lost_at, now())
            from others
            where deals.id = others.id and deals.case_id = others.case_id and deals.state = 'open'
              and not exists (select from leads o where o.contact_id = others.contact_id and o.deal_id = deals.id)"""),
        cases,
    )
