"""The people of the company as approvals know them: accounts, roles, and the line of managers.

Reads people.yaml; who is asked about what is policy.py's part.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.contracts.documents import DocumentError, read
from include.data.business_time import Calendar, calendar_of

FILE = Path(__file__).with_name("people.yaml")
VARIABLE = "WAYBILL_PEOPLE"
"""Names another file of people."""


class Person(BaseModel):
    """Somebody with an account.

    :param airflow: the name of their account in Airflow.
    :param slack: their member id in Slack.
    :param shared: several people use this account, so it proves nobody's decision.
    :param active: false once they have left.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9._-]*$", max_length=60)
    name: str = Field(min_length=2)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$")
    airflow: str | None = Field(default=None, min_length=1)
    slack: str | None = Field(default=None, min_length=1)
    department: str = Field(min_length=1)
    manager: str | None = None
    roles: tuple[str, ...] = ()
    country: str = Field(pattern=r"^[A-Z]{2}$")
    region: str | None = None
    zone: str | None = None
    language: str = Field(default="en", pattern=r"^[a-z]{2}$")
    shared: bool = False
    active: bool = True

    @model_validator(mode="after")
    def _makes_sense(self) -> Person:
        if self.manager == self.id:
            raise ValueError(f"{self.id} is their own manager; name whoever is above, or leave `manager` out")
        if self.shared and self.roles:
            raise ValueError(f"{self.id} is a shared account and decides nothing; take its roles away")
        _ = self.calendar  # a place that there is not is refused
        return self

    @property
    def calendar(self) -> Calendar:
        """The business hours of this person."""
        return calendar_of(self.country, self.region, self.zone)

    @property
    def decides(self) -> bool:
        """Whether this is one person, who is still here."""
        return self.active and not self.shared

    def today(self, now: datetime) -> date:
        """The date at this person's place."""
        return now.astimezone(self.calendar.zone).date()


class People(BaseModel):
    """Everybody, by id; an account belongs to one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by_id: dict[str, Person]

    @model_validator(mode="after")
    def _nobody_is_two(self) -> People:
        for field in ("email", "airflow", "slack"):
            seen: dict[str, str] = {}
            for person in self.by_id.values():
                value = (getattr(person, field) or "").casefold()
                if value and value in seen:
                    raise ValueError(
                        f"{field} {value!r} is of {seen[value]} and of {person.id}; one person could decide as two: "
                        "keep it with one of them"
                    )
                seen[value] = person.id
        return self

    @classmethod
    def of(cls, people: Iterable[Person]) -> People:
        """These people and nobody else."""
        return cls(by_id={person.id: person for person in people})

    def __iter__(self) -> Iterator[Person]:  # type: ignore[override]
        """Everybody, in the order of the file."""
        return iter(self.by_id.values())

    def name(self, person_id: str) -> str:
        """The name of somebody, or the id of somebody unknown."""
        person = self.by_id.get(person_id)
        return person.name if person else person_id

    def by_airflow(self, user_id: str | None, user_name: str | None) -> Person | None:
        """Whose account of Airflow this is. None when it is nobody's, or when id and name are of two people."""
        return self._by("airflow", {user_id, user_name})

    def by_slack(self, slack_id: str | None) -> Person | None:
        """Whose member id of Slack this is, or None."""
        return self._by("slack", {slack_id})

    def _by(self, field: str, values: Collection[str | None]) -> Person | None:
        wanted = {value.casefold() for value in values if value}
        found = [person for person in self if (getattr(person, field) or "").casefold() in wanted - {""}]
        return found[0] if len(found) == 1 else None

    def decides(self, person_id: str) -> bool:
        """Whether somebody is known, still here, and one person."""
        person = self.by_id.get(person_id)
        return person is not None and person.decides

    def holders(self, role: str) -> list[Person]:
        """Who holds a role and can decide, in the order of the file."""
        return [person for person in self if role in person.roles and person.decides]

    def manager_of(self, person_id: str) -> Person | None:
        """Who is directly above somebody, or None."""
        person = self.by_id.get(person_id)
        return self.by_id.get(person.manager) if person and person.manager else None

    def chain(self, person_id: str) -> list[Person]:
        """Everybody above somebody, nearest first; a circle of managers is walked once."""
        above: list[Person] = []
        seen = {person_id}
        manager = self.manager_of(person_id)
        while manager and manager.id not in seen:
            above.append(manager)
            seen.add(manager.id)
            manager = self.manager_of(manager.id)
        return above

    def next_in_line(self, person_id: str, without: Collection[str] = ()) -> Person | None:
        """The nearest above somebody who can decide and is none of `without`; None where the line ends."""
        return next((each for each in self.chain(person_id) if each.decides and each.id not in without), None)

    def problems(self) -> list[str]:
        """What is wrong with the line of managers, a line each; empty when nothing is."""
        found = []
        circles: set[frozenset[str]] = set()
        for person in self:
            if person.manager and person.manager not in self.by_id:
                found.append(f"people.{person.id}.manager: there is no {person.manager!r}; name somebody of this file")
            elif person.manager and self.by_id[person.manager].shared:
                found.append(f"people.{person.id}.manager: {person.manager!r} is a shared account; name a person")
            circle = self._circle(person.id)
            if circle and frozenset(circle) not in circles:
                circles.add(frozenset(circle))
                line = " → ".join([*circle, circle[0]])
                found.append(f"people.{person.id}.manager: the managers go round in a circle ({line}); break it")
        return found

    def _circle(self, person_id: str) -> list[str]:
        """The circle of managers that somebody is part of, else nothing."""
        line = [person_id, *(person.id for person in self.chain(person_id))]
        last = self.by_id.get(line[-1])
        return line if last and last.manager == person_id else []


def load(path: Path = FILE) -> People:
    """Read a file of people.

    :raises DocumentError: with what is wrong and where.
    """
    document = read(path)
    entries = document.get("people")
    if not isinstance(entries, dict) or set(document) != {"people"}:
        raise DocumentError(f"{path.name}: it holds one key, `people`, and under it one entry for each person")
    named: dict[str, Any] = {
        name: {"id": name, **entry} if isinstance(entry, dict) else entry for name, entry in entries.items()
    }
    try:
        return People.model_validate({"by_id": named})
    except ValidationError as error:
        raise DocumentError(f"{path.name}: {faults(error, {'by_id': 'people'})}") from None


def faults(error: ValidationError, names: dict[str, str] | None = None) -> str:
    """What a model refuses, as `place: why` for whoever edits the file."""
    lines = []
    for fault in error.errors():
        place = ".".join((names or {}).get(str(part), str(part)) for part in fault["loc"])
        why = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{place}: {why}" if place else why)
    return "; ".join(lines)


def people() -> People:
    """The people of this deployment; a changed file is read again, so that nobody decides by an old one."""
    path = Path(os.environ.get(VARIABLE) or FILE)
    try:
        stat = path.stat()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; {VARIABLE} names the file of people") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int, _size: int) -> People:
    return load(path)
