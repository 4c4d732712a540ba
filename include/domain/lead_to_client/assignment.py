"""Assigns each lead an owner: market and territory by place, then in turn; a returning lead keeps its owner.

The roster is owners.yaml. It writes who and by when; telling them is tasks.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Work
from include.contracts.documents import DocumentError, read
from include.data.business_time import Calendar, add, calendar_of

FILE = Path(__file__).with_name("owners.yaml")

How = Literal["turn", "earlier_owner", "stand_in", "market_lead"]
"""Which rule chose: the next in turn; the owner of the contact's earlier leads; the next in turn because that one
is absent; the market's lead person because nobody else is there or has room."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Absence(_Strict):
    """Days on which somebody takes no leads, both inclusive, by their own calendar."""

    start: date = Field(alias="from")
    until: date
    because: str

    @model_validator(mode="after")
    def _is_in_order(self) -> Absence:
        if self.until < self.start:
            raise ValueError(f"the absence ends on {self.until}, before it begins on {self.start}")
        return self


class Person(_Strict):
    """Somebody who takes leads.

    :param capacity: leads a day.
    """

    name: str
    email: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    region: str | None = None
    zone: str | None = None
    capacity: int = Field(gt=0)
    absences: list[Absence] = []

    @model_validator(mode="after")
    def _has_a_clock(self) -> Person:
        _ = self.calendar  # a place that there is not is refused
        return self

    @property
    def calendar(self) -> Calendar:
        """The business hours of this person."""
        return calendar_of(self.country, self.region, self.zone)

    def today(self, now: datetime) -> date:
        """The date at this person's place."""
        return now.astimezone(self.calendar.zone).date()

    def is_absent(self, now: datetime) -> bool:
        """Whether an absence covers the day."""
        day = self.today(now)
        return any(absence.start <= day <= absence.until for absence in self.absences)


class Territory(_Strict):
    """A part of a market, and those who share its leads. All that is given must fit."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    countries: list[str] = []
    regions: list[str] = []
    postal_codes: list[str] = []
    members: list[str] = Field(min_length=1)

    @property
    def takes_the_rest(self) -> bool:
        """Whether no place is excluded."""
        return not (self.countries or self.regions or self.postal_codes)

    def fits(self, place: Place) -> bool:
        """Whether a place lies in the territory."""
        regions = {region.casefold() for region in self.regions}
        return (
            (not self.countries or place.country in self.countries)
            and (not regions or (place.region or "").strip().casefold() in regions)
            and (not self.postal_codes or (place.postal_code or "").strip().startswith(tuple(self.postal_codes)))
        )


class Market(_Strict):
    """Some countries, the person who answers for them, and their territories from special to general."""

    title: str
    countries: list[str]
    lead: str
    territories: list[Territory] = Field(min_length=1)


class Roster(_Strict):
    """Everybody who takes leads, and where; every place belongs to exactly one territory."""

    default_market: str
    people: dict[str, Person]
    markets: dict[str, Market]

    @model_validator(mode="after")
    def _covers_every_place(self) -> Roster:
        if self.default_market not in self.markets:
            raise ValueError(f"default_market {self.default_market!r} is no market")
        countries: dict[str, str] = {}
        territories: set[str] = set()
        for name, market in self.markets.items():
            place = f"market {name!r}: "
            for country in market.countries:
                if country in countries:
                    raise ValueError(place + f"{country} belongs to {countries[country]!r} already")
                countries[country] = name
            if not market.territories[-1].takes_the_rest:
                raise ValueError(place + "its last territory must take the rest; leave out its places")
            if any(territory.takes_the_rest for territory in market.territories[:-1]):
                raise ValueError(place + "a territory without places hides those below it; move it to the end")
            for person in [market.lead, *(member for part in market.territories for member in part.members)]:
                if person not in self.people:
                    raise ValueError(place + f"{person!r} is not among `people`")
            for territory in market.territories:
                if territory.id in territories:
                    raise ValueError(place + f"territory {territory.id!r} is declared twice")
                territories.add(territory.id)
        return self

    def locate(self, place: Place) -> tuple[str, Territory]:
        """The market and territory of a place; an unknown country belongs to the default market."""
        name = next(
            (name for name, market in self.markets.items() if place.country in market.countries),
            self.default_market,
        )
        return name, next(part for part in self.markets[name].territories if part.fits(place))


@dataclass(frozen=True)
class Place:
    """Where a lead is."""

    country: str | None = None
    region: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True)
class Candidate:
    """What the assignment needs to know of a lead.

    :param contact: whoever it is; leads of one contact get one owner. None stands for nobody known.
    """

    case_id: int
    place: Place
    contact: str | None = None


@dataclass(frozen=True)
class Assignment:
    """Who takes a lead, and why."""

    case_id: int
    market: str
    territory: str
    person: str
    how: How


@dataclass
class Counter:
    """How many leads somebody got on a day, and their place in the order of all turns."""

    day: date = date.min
    assigned: int = 0
    last_turn: int = 0

    def on(self, day: date) -> int:
        """How many on `day`."""
        return self.assigned if self.day == day else 0

    def count(self, day: date, turn: int) -> None:
        """One more on `day`."""
        self.assigned = self.on(day) + 1
        self.day, self.last_turn = day, turn


@dataclass
class Desk:
    """Hands out leads one after the other, by a roster and what everybody got so far.

    Whoever has the smallest share of their capacity today is next; among equals, whoever waited longest, then
    by name. So people with equal capacity in a territory never differ by more than one.

    :param owners: the owner of each contact's earlier leads.
    """

    roster: Roster
    now: datetime
    counters: dict[str, Counter] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        people = self.roster.people.items()
        self._today = {name: person.today(self.now) for name, person in people}
        self._absent = {name for name, person in people if person.is_absent(self.now)}
        self._turn = max((counter.last_turn for counter in self.counters.values()), default=0)

    def assign(self, candidate: Candidate) -> Assignment:
        """Choose an owner; there always is one."""
        market, territory = self.roster.locate(candidate.place)
        person, how = self._choose(candidate, self.roster.markets[market], territory)
        self._turn += 1
        self.counters.setdefault(person, Counter()).count(self._today[person], self._turn)
        if candidate.contact is not None and how != "stand_in":
            self.owners.setdefault(candidate.contact, person)
        return Assignment(candidate.case_id, market, territory.id, person, how)

    def _choose(self, candidate: Candidate, market: Market, territory: Territory) -> tuple[str, How]:
        earlier = self.owners.get(candidate.contact) if candidate.contact is not None else None
        known = earlier if earlier in self.roster.people else None
        if known is not None and known not in self._absent:
            return known, "earlier_owner"
        waiting = [(self._load(name), name) for name in territory.members if self._is_free(name)]
        if not waiting:
            return market.lead, "market_lead" if known is None else "stand_in"
        return min(waiting)[1], "turn" if known is None else "stand_in"

    def _is_free(self, name: str) -> bool:
        return name not in self._absent and self._given(name) < self.roster.people[name].capacity

    def _load(self, name: str) -> tuple[float, int]:
        counter = self.counters.get(name)
        return self._given(name) / self.roster.people[name].capacity, counter.last_turn if counter else 0

    def _given(self, name: str) -> int:
        counter = self.counters.get(name)
        return counter.on(self._today[name]) if counter else 0


def load(path: Path = FILE) -> Roster:
    """Read a roster. DocumentError says what is wrong with it and where."""
    try:
        return Roster.model_validate(read(path))
    except ValidationError as error:
        lines = [
            ": ".join([*(".".join(map(str, fault["loc"])),) * bool(fault["loc"]), fault["msg"]])
            for fault in error.errors()
        ]
        raise DocumentError(f"{path.name}: {'; '.join(lines)}".replace("Value error, ", "")) from None


def preload() -> None:
    """Pay for the roster and for everybody's calendar once, in the process whose children run this step."""
    now = datetime.now(UTC)
    for person in roster().people.values():
        add(now, timedelta(days=5), person.calendar)


@cache
def roster() -> Roster:
    """The shipped roster, read once per process."""
    return load()


def due(received_at: datetime, hours: float, person: Person) -> datetime:
    """By when (UTC) a lead must be answered: `hours` business hours of the owner after it was received."""
    return add(received_at, timedelta(hours=hours), person.calendar)


def assign(work: Work, known: Roster | None = None, now: datetime | None = None) -> None:
    """Give the leads of `work` their owner and due time, and record with each case by which rule.

    A step of the workflow. A lead that has an owner already keeps it, so running again changes nothing. Two
    runs at once wait for each other at the counters, until the transaction ends.

    :param now: aware; by default the transaction's time.
    """
    people = known or roster()
    connection = work.connection
    counters = _lock_counters(connection, people)
    now = now or connection.execute(text("select now()")).scalar_one()
    rows = connection.execute(
        text("""
            select case_id, country, region, postal_code, contact_id::text as contact, assignee, assigned_by,
                   coalesce(sla_hours, 8) as hours, cases.created_at as received
            from leads join cases on cases.id = case_id where case_id = any(:ids) order by case_id"""),
        work.values,
    ).all()
    desk = Desk(people, now, counters, _earlier_owners(connection, {row.contact for row in rows}))
    assignments, dues, before = [], [], _shares(counters)
    for row in rows:
        place = Place(row.country, row.region, row.postal_code)
        if row.assignee in people.people:
            market, territory = people.locate(place)
            assignment = Assignment(row.case_id, market, territory.id, row.assignee, row.assigned_by)
        else:
            assignment = desk.assign(Candidate(row.case_id, place, row.contact))
        assignments.append(assignment)
        dues.append(due(row.received, float(row.hours), people.people[assignment.person]))
    _write(connection, assignments, dues)
    _write_counters(connection, counters, before)
    fresh = {row.case_id for row in rows if row.assignee not in people.people}
    _record(connection, [assignment for assignment in assignments if assignment.case_id in fresh])


def _lock_counters(connection: Connection, people: Roster) -> dict[str, Counter]:
    """Everybody's counter, locked in one order, so that two runs neither cross nor count over each other."""
    names = sorted(people.people)
    connection.execute(
        text("""
            insert into assignment_counters (person)
            select name from unnest(cast(:names as text[])) name order by name on conflict do nothing"""),
        {"names": names},
    )
    rows = connection.execute(
        text("""
            select person, day, assigned, last_turn
            from assignment_counters where person = any(:names) order by person for update"""),
        {"names": names},
    )
    return {name: Counter(day or date.min, assigned, turn) for name, day, assigned, turn in rows}


def _earlier_owners(connection: Connection, contacts: Iterable[str | None]) -> dict[str, str]:
    rows = connection.execute(
        text("""
            with same as (
                select id, coalesce(merged_into, id) as contact from directory_contacts
                where id = any(cast(:contacts as uuid[])) or merged_into = any(cast(:contacts as uuid[]))
            )
            select distinct on (contact) contact::text, assignee from leads join same on same.id = contact_id
            where assignee is not null and assigned_by is distinct from 'stand_in'
            order by contact, case_id desc"""),
        {"contacts": sorted(contact for contact in contacts if contact is not None)},
    )
    return {row.contact: row.assignee for row in rows}


def _shares(counters: Mapping[str, Counter]) -> dict[str, int]:
    return {name: counter.last_turn for name, counter in counters.items()}


def _write(connection: Connection, assignments: Sequence[Assignment], dues: Sequence[datetime]) -> None:
    connection.execute(
        text("""
            update leads set market = v.market, territory = v.territory, assignee = v.person,
                             assigned_by = v.how, task_due_at = v.due
            from unnest(cast(:ids as bigint[]), cast(:markets as text[]), cast(:territories as text[]),
                        cast(:people as text[]), cast(:hows as text[]), cast(:dues as timestamptz[]))
                 as v(case_id, market, territory, person, how, due)
            where leads.case_id = v.case_id"""),
        {
            "ids": [assignment.case_id for assignment in assignments],
            "markets": [assignment.market for assignment in assignments],
            "territories": [assignment.territory for assignment in assignments],
            "people": [assignment.person for assignment in assignments],
            "hows": [assignment.how for assignment in assignments],
            "dues": list(dues),
        },
    )


def _write_counters(connection: Connection, counters: Mapping[str, Counter], before: Mapping[str, int]) -> None:
    changed = {name: counter for name, counter in counters.items() if counter.last_turn != before.get(name)}
    connection.execute(
        text("""
            update assignment_counters set day = v.day, assigned = v.assigned, last_turn = v.turn
            from unnest(cast(:names as text[]), cast(:days as date[]), cast(:counts as integer[]),
                        cast(:turns as bigint[])) as v(person, day, assigned, turn)
            where assignment_counters.person = v.person"""),
        {
            "names": list(changed),
            "days": [counter.day for counter in changed.values()],
            "counts": [counter.assigned for counter in changed.values()],
            "turns": [counter.last_turn for counter in changed.values()],
        },
    )


def _record(connection: Connection, assignments: Sequence[Assignment]) -> None:
    groups: dict[tuple[str, How], list[int]] = {}
    for assignment in assignments:
        groups.setdefault((assignment.territory, assignment.how), []).append(assignment.case_id)
    for (territory, how), case_ids in groups.items():
        store.record(connection, "decided", case_ids, {"decision": "owner", "rule": how, "territory": territory})
