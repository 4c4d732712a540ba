"""Two contacts that may be one person: which pairs wait for a decision, which are decided, and one pair side by side.

It only reads; deciding is `include.data.matching.decisions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from include.integrations import merges

PAGE = 50
"""Pairs of one page."""
COMPARED = ("email", "phone", "first_name", "last_name", "company", "domain", "country", "city", "postal_code")
"""What two people are compared by, in the order in which a person reads it."""

_PAIRS = """
    select p.id, p.score, p.case_id, p.state, p.created_at as since, p.decided_by, p.decided_at,
           coalesce(a.full_name, a.email) as one, coalesce(b.full_name, b.email) as other
    from possible_duplicates p
    join directory_contacts a on a.id = p.contact_a
    join directory_contacts b on b.id = p.contact_b
    where """
_CONTACTS = """
    select c.id, c.email, c.phone, c.first_name, c.last_name, f.name as company, c.domain, c.country, c.city,
           c.postal_code, c.created_at as since, c.merged_into,
           (select count(*) from leads where leads.contact_id = c.id) as leads
    from directory_contacts c left join directory_companies f on f.id = c.company_id
    where c.id in (:one, :other) order by c.created_at, c.id"""


@dataclass(frozen=True)
class PairRow:
    """One pair of a list.

    :param score: probability that both are one person, from 0 to 1.
    :param case_id: the lead that raised the question.
    :param one: who the first is, by name or address; personal data.
    """

    id: int
    score: float
    case_id: int | None
    state: str
    since: datetime
    decided_by: str | None
    decided_at: datetime | None
    one: str | None
    other: str | None


@dataclass(frozen=True)
class Contact:
    """One side of a pair.

    :param values: by the names of `COMPARED`; personal data.
    :param leads: how many leads were given to it.
    :param merged: whether another contact stands for it.
    """

    id: UUID
    values: Mapping[str, str | None]
    since: datetime
    leads: int
    merged: bool


@dataclass(frozen=True)
class Pair:
    """Two contacts side by side: the older, which stays when they are merged, and the younger.

    :param evidence: comparison -> how far both agree, as the model saw it; no personal data.
    :param crm: what the CRM is told of it, where they are merged; as `merges.of_pair` returns it.
    """

    id: int
    score: float
    case_id: int | None
    state: str
    decided_by: str | None
    decided_at: datetime | None
    evidence: Mapping[str, str]
    older: Contact
    younger: Contact
    crm: Row[Any] | None = None

    def verdict(self, name: str) -> str:
        """Return how both compare in one field: same, differs, only one has it, or neither."""
        one, other = self.older.values[name], self.younger.values[name]
        if not one and not other:
            return "neither has it"
        if not one or not other:
            return "only one has it"
        return "same" if one == other else "differs"


def open_pairs(connection: Connection, after: int = 0) -> list[PairRow]:
    """Return up to `PAGE` pairs that wait for a decision behind the pair `after`, oldest first."""
    return _pairs(connection, "p.state = 'open' and p.id > :after order by p.id limit :most", {"after": after})


def decided_pairs(connection: Connection) -> list[PairRow]:
    """Return the `PAGE` pairs that were decided last."""
    return _pairs(connection, "p.state <> 'open' order by p.decided_at desc, p.id desc limit :most", {})


def count_open(connection: Connection) -> int:
    """Return how many pairs wait for a decision."""
    return int(connection.execute(text("select count(*) from possible_duplicates where state = 'open'")).scalar_one())


def pair(connection: Connection, pair_id: int) -> Pair | None:
    """Return one pair, or None when there is none."""
    row = connection.execute(text("select * from possible_duplicates where id = :id"), {"id": pair_id}).one_or_none()
    if row is None:
        return None
    older, younger = (
        Contact(found.id, {name: getattr(found, name) for name in COMPARED}, found.since, found.leads,
                found.merged_into is not None)
        for found in connection.execute(text(_CONTACTS), {"one": row.contact_a, "other": row.contact_b})
    )  # fmt: skip
    return Pair(
        row.id, row.score, row.case_id, row.state, row.decided_by, row.decided_at, row.evidence, older, younger,
        merges.of_pair(connection, pair_id),
    )  # fmt: skip


def _pairs(connection: Connection, which: str, values: Mapping[str, Any]) -> list[PairRow]:
    found = connection.execute(text(_PAIRS + which), {**values, "most": PAGE})
    return [PairRow(**row) for row in found.mappings()]
