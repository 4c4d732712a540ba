"""Tells for a batch of leads who is whom, among themselves and in the directory: exact keys, then the model.

Adds what is new to the directory. Knows no cases' states and no CRM.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from include.data.matching import directory
from include.data.matching.directory import FOLLOWED, PERSON_COLUMNS, Key
from include.data.matching.model import Score, score
from include.data.matching.people import Person, names_agree
from include.data.matching.thresholds import LARGEST_BLOCK, MOST_QUESTIONS, POSSIBLE, SAME

_REPLACED = frozenset({*FOLLOWED, "company_id"})


@dataclass
class Resolution:
    """What became of one lead.

    :param match: 'same' (a known person, or one earlier in the batch), 'possible' or 'new'.
    :param possible: contacts that a person should compare this one with, with the probability.
    :param questions: the new rows of `possible_duplicates`.
    """

    ref: Any
    match: str
    contact_id: UUID
    company_id: UUID | None
    possible: list[tuple[UUID, float]] = field(default_factory=list)
    questions: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Doubt:
    """Two who may be one: leads by their ref, contacts by their id."""

    one: Hashable
    other: Hashable
    probability: float
    evidence: Mapping[str, str]


@dataclass(frozen=True)
class Findings:
    """What was found out about a batch before anything is written.

    :param owned: keys that a contact has already.
    :param exact: leads that an exact key, or a phone and a name, put to somebody else.
    """

    leads: Mapping[Any, Person]
    clusters: Clusters
    companies: Mapping[Any, UUID | None]
    owned: set[Key]
    exact: set[Hashable]
    doubts: Sequence[Doubt]


class Clusters:
    """Who is one person so far; two contacts of the directory are never put into one cluster."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}
        self._members: dict[Hashable, list[Hashable]] = {}
        self._contact: dict[Hashable, UUID] = {}

    def add(self, node: Hashable, contact: UUID | None = None) -> None:
        """Add somebody alone, once."""
        if node not in self._above:
            self._above[node] = node
            self._members[node] = [node]
            if contact is not None:
                self._contact[node] = contact

    def root(self, node: Hashable) -> Hashable:
        """Return the name of the cluster of `node`."""
        while (above := self._above[node]) != node:
            self._above[node] = node = self._above[above]
        return node

    def members(self, node: Hashable) -> list[Hashable]:
        """Return everybody in the cluster of `node`."""
        return self._members[self.root(node)]

    def contact(self, node: Hashable) -> UUID | None:
        """Return the contact of the directory that the cluster of `node` is."""
        return self._contact.get(self.root(node))

    def unite(self, one: Hashable, other: Hashable) -> bool:
        """Make two clusters one; False when both are contacts of the directory already."""
        a, b = self.root(one), self.root(other)
        if a == b:
            return True
        if a in self._contact and b in self._contact:
            return False
        if len(self._members[a]) < len(self._members[b]):
            a, b = b, a
        self._above[b] = a
        self._members[a] += self._members.pop(b)
        if b in self._contact:
            self._contact[a] = self._contact.pop(b)
        return True


def keys_of(person: Person) -> list[Key]:
    """Return what names a person exactly."""
    keys = []
    if person.email_key:
        keys.append(("email", person.email_key))
    if person.external:
        keys.append(("external_id", person.external))
    return keys


def same_by_key(kind: str, one: Person, other: Person) -> bool:
    """Tell whether an equal key makes two people one.

    An address that names a function (`info@`) is shared, so the names must not contradict each other.
    """
    return not (kind == "email" and one.has_role_address and names_agree(one, other) is False)


def resolve(
    connection: Connection, leads: Sequence[Person], *, renewed: Mapping[Any, UUID] | None = None
) -> list[Resolution]:
    """Find each lead's contact and company, in the order of `leads`, and bring the directory up to date.

    Holds the directory until the caller's transaction ends, so the caller should end it soon.

    :param leads: refs are case ids, each once.
    :param renewed: lead -> a contact that nobody finds any more (`directory.forget`), to be written anew where the lead
        is nobody else.
    :raises sqlalchemy.exc.IntegrityError: when a key found an owner in spite of the lock.
    """
    if not leads:
        return []
    blocks = {lead.ref: lead.blocks for lead in leads}
    directory.lock(connection)
    clusters, exact, doubts = Clusters(), set[Hashable](), list[Doubt]()
    by_ref = {lead.ref: lead for lead in leads}
    for lead in leads:
        clusters.add(lead.ref)
    owners = directory.owners_of_keys(connection, (key for lead in leads for key in keys_of(lead)))
    _by_keys(clusters, leads, owners, exact, doubts)

    unknown = {lead.ref for lead in leads if clusters.contact(lead.ref) is None}
    pairs, survivors = _pairs(connection, leads, unknown, blocks)
    _by_phone(clusters, pairs, survivors, exact)
    _by_model(clusters, pairs, survivors, doubts)

    companies = dict(zip(by_ref, directory.companies_of(connection, leads), strict=True))
    return _write(connection, Findings(by_ref, clusters, companies, set(owners), exact, doubts), renewed or {})


def _by_keys(
    clusters: Clusters,
    leads: Sequence[Person],
    owners: Mapping[Key, Person],
    exact: set[Hashable],
    doubts: list[Doubt],
) -> None:
    first: dict[Key, Person] = {}
    for kind in ("email", "external_id"):
        for lead in leads:
            for key in keys_of(lead):
                if key[0] != kind:
                    continue
                other = owners.get(key)
                if other is not None:
                    clusters.add(other.ref, other.ref if isinstance(other.ref, UUID) else None)
                else:
                    other = first.setdefault(key, lead)
                if other.ref == lead.ref:
                    continue
                if same_by_key(kind, lead, other) and clusters.unite(lead.ref, other.ref):
                    exact.add(lead.ref)
                else:
                    doubts.append(Doubt(lead.ref, other.ref, POSSIBLE, {kind: "equal"}))


def _pairs(
    connection: Connection,
    leads: Sequence[Person],
    unknown: set[Hashable],
    blocks: Mapping[Hashable, Sequence[int]],
) -> tuple[list[tuple[Person, Person]], dict[UUID, UUID]]:
    """Return who is worth comparing: leads nobody knows yet, with contacts and with other leads."""
    wanted = {block for ref in unknown for block in blocks[ref]}
    if not wanted:
        return [], {}
    stored = directory.in_blocks(connection, wanted)
    present: defaultdict[int, list[Person]] = defaultdict(list)
    for lead in leads:
        for block in blocks[lead.ref]:
            if block in wanted:
                present[block].append(lead)
    known, survivors = directory.people(connection, {contact for ids in stored.values() for contact in ids})
    found: dict[tuple[Hashable, Hashable], tuple[Person, Person]] = {}
    position = {lead.ref: number for number, lead in enumerate(leads)}
    for lead in leads:
        if lead.ref not in unknown:
            continue
        for block in blocks[lead.ref]:
            for contact_id in stored.get(block, ()):
                if contact_id in known:
                    found[lead.ref, contact_id] = (lead, known[contact_id])
            others = present[block]
            if len(others) <= LARGEST_BLOCK:
                for other in others:
                    if other.ref not in unknown or position[other.ref] < position[lead.ref]:
                        found[lead.ref, other.ref] = (lead, other)
    return [pair for pair in found.values() if pair[0].numbers == pair[1].numbers or not pair[1].words], survivors


def _by_phone(
    clusters: Clusters,
    pairs: Iterable[tuple[Person, Person]],
    survivors: Mapping[UUID, UUID],
    exact: set[Hashable],
) -> None:
    for lead, other in pairs:
        if lead.phone and lead.phone == other.phone and names_agree(lead, other):
            node = _node(clusters, other, survivors)
            if clusters.unite(lead.ref, node):
                exact.add(lead.ref)


def _node(clusters: Clusters, person: Person, survivors: Mapping[UUID, UUID]) -> Hashable:
    if isinstance(person.ref, UUID):
        survivor = survivors[person.ref]
        clusters.add(survivor, survivor)
        return survivor
    return person.ref


def _by_model(
    clusters: Clusters,
    pairs: Iterable[tuple[Person, Person]],
    survivors: Mapping[UUID, UUID],
    doubts: list[Doubt],
) -> None:
    open_pairs = [
        (lead, other)
        for lead, other in pairs
        if clusters.contact(lead.ref) is None
        and clusters.root(lead.ref) != clusters.root(_node(clusters, other, survivors))
    ]
    likely: dict[frozenset[Hashable], Score] = {}
    scores = sorted(score(open_pairs, POSSIBLE), key=lambda found: -found.probability)
    compared = {frozenset((lead.ref, _node(clusters, other, survivors))) for lead, other in open_pairs}
    for found in scores:
        lead, other = found.pair
        likely.setdefault(frozenset((lead.ref, _node(clusters, other, survivors))), found)
    for found in likely.values():
        lead, other = found.pair
        node = _node(clusters, other, survivors)
        certain = found.probability >= SAME and not _contradicted(clusters, lead.ref, node, compared, likely)
        if not (certain and clusters.unite(lead.ref, node)):
            doubts.append(Doubt(lead.ref, node, found.probability, found.evidence))


def _contradicted(
    clusters: Clusters,
    one: Hashable,
    other: Hashable,
    compared: set[frozenset[Hashable]],
    likely: Mapping[frozenset[Hashable], Score],
) -> bool:
    """Tell whether uniting would put two into one cluster that the model finds different."""
    return any(
        pair in compared and pair not in likely
        for pair in (frozenset((a, b)) for a in clusters.members(one) for b in clusters.members(other))
    )


def _write(connection: Connection, findings: Findings, renewed: Mapping[Any, UUID]) -> list[Resolution]:
    leads, clusters, companies = findings.leads, findings.clusters, findings.companies
    fresh = [ref for ref in leads if clusters.contact(ref) is None]
    roots = dict.fromkeys(clusters.root(ref) for ref in fresh)
    ids = dict(zip(roots, directory.new_ids(connection, len(roots)) if roots else (), strict=True))
    again = {clusters.root(ref): renewed[ref] for ref in reversed(fresh) if ref in renewed}
    ids |= again
    contact_of = {ref: clusters.contact(ref) or ids[clusters.root(ref)] for ref in leads}

    rows: dict[UUID, dict[str, Any]] = {}
    news: dict[UUID, tuple[dict[str, Any], dict[str, Any]]] = {}
    resolutions: dict[Any, Resolution] = {}
    keys: dict[Key, UUID] = {}
    blocks: list[tuple[int, UUID]] = []
    for ref, lead in leads.items():
        contact_id = contact_of[ref]
        fields = {name: getattr(lead, name) for name in PERSON_COLUMNS} | {"company_id": companies[ref]}
        seen = contact_id in rows or clusters.contact(ref) is not None
        if clusters.contact(ref) is None:
            _take_over(rows.setdefault(contact_id, {}), fields, replacing=ref in findings.exact)
        else:
            replacing, filling = news.setdefault(contact_id, ({}, {}))
            _take_over(filling, fields, replacing=False)
            if ref in findings.exact:
                _take_over(replacing, {name: fields[name] for name in (*FOLLOWED, "company_id")}, replacing=True)
        for key in keys_of(lead):
            if key not in findings.owned:
                keys.setdefault(key, contact_id)
        blocks += [(block, contact_id) for block in lead.blocks]
        resolutions[ref] = Resolution(ref, "same" if seen else "new", contact_id, companies[ref])

    known = set(again.values())
    directory.add_contacts(
        connection,
        ((contact, fields, fields.get("company_id")) for contact, fields in rows.items() if contact not in known),
    )
    if known:
        directory.empty(connection, known)
        directory.follow(connection, {contact: (rows[contact], {}) for contact in known})
    directory.follow(connection, news)
    directory.add_keys(connection, keys)
    directory.add_blocks(connection, blocks)
    _ask(connection, resolutions, clusters, contact_of, findings.doubts)
    return list(resolutions.values())


def _take_over(fields: dict[str, Any], news: Mapping[str, Any], *, replacing: bool) -> None:
    for name, value in news.items():
        if value and (name not in fields or (replacing and name in _REPLACED)):
            fields[name] = value


def _ask(
    connection: Connection,
    resolutions: Mapping[Any, Resolution],
    clusters: Clusters,
    contact_of: Mapping[Any, UUID],
    doubts: Iterable[Doubt],
) -> None:
    questions: dict[tuple[UUID, UUID], tuple[int | None, float, Mapping[str, str]]] = {}
    for doubt in sorted(doubts, key=lambda doubt: -doubt.probability):
        resolution = resolutions[doubt.one]
        other = contact_of.get(doubt.other) or clusters.contact(doubt.other)
        mine = resolution.contact_id
        if other is None or other == mine or len(resolution.possible) >= MOST_QUESTIONS:
            continue
        pair = (mine, other) if mine < other else (other, mine)
        if pair in questions:
            continue
        questions[pair] = (resolution.ref, doubt.probability, doubt.evidence)
        resolution.possible.append((other, doubt.probability))
        if resolution.match == "new":
            resolution.match = "possible"
    for ref, pair_ids in directory.ask(connection, questions).items():
        resolutions[ref].questions = pair_ids
