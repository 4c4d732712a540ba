"""How often what is counted, and by whom: reads counting.yaml, and says who may count where."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.approvals.people import People, Person, people
from include.contracts.documents import DocumentError, read
from include.data.business_time import add
from include.stock.abc import Shares
from include.stock.warehouse import Location, warehouse

FILE = Path(__file__).with_name("counting.yaml")
Class = Literal["A", "B", "C"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Classes(_Strict):
    """How items are classified.

    :param months: of consumption that count.
    :param a: share of the value at which A ends; `b` likewise.
    """

    months: int = Field(ge=1, le=60)
    a: Decimal
    b: Decimal

    @model_validator(mode="after")
    def _are_shares(self) -> Classes:
        _ = self.shares
        return self

    @property
    def shares(self) -> Shares:
        """The shares as the classification takes them."""
        return Shares(self.a, self.b)


class Counting(_Strict):
    """The whole of counting.yaml.

    :param every_days: class -> days between two counts.
    :param overdue_after: working days.
    :param counters: location -> people's ids.
    """

    every_days: dict[Class, int]
    lines_per_sheet: int = Field(ge=1, le=500)
    sheets_per_day: int = Field(ge=1, le=100)
    blind: bool
    overdue_after: int = Field(ge=0, le=60)
    counters: dict[str, list[str]]
    classes: Classes

    @model_validator(mode="after")
    def _every_class_has_its_turn(self) -> Counting:
        if set(self.every_days) != {"A", "B", "C"} or any(days < 1 for days in self.every_days.values()):
            raise ValueError("every_days: write a number of days, at least 1, for each of A, B and C")
        return self


def load(path: Path = FILE) -> Counting:
    """Read a file of rules. DocumentError says what is wrong with it."""
    try:
        return Counting.model_validate(read(path))
    except ValidationError as error:
        raise DocumentError(f"{path.name}: {error}") from None


@cache
def counting() -> Counting:
    """Return the shipped rules, read once per process."""
    return load()


def may_count(person: Person | None, location: Location) -> bool:
    """Whether somebody is one person, still here, who may post at a location: its keeper or one of its users.

    A location that names no users is everybody's.
    """
    if person is None or not person.decides:
        return False
    named = not location.users or any(_is(person, *user.split(":", 1)) for user in location.users)
    return named or person.id == location.keeper


def _is(person: Person, kind: str, name: str = "") -> bool:
    return {"role": name in person.roles, "department": name == person.department, "person": name == person.id}.get(
        kind, False
    )


def counters_at(code: str, location: Location, known: Counting, who: People) -> list[str]:
    """Return who counts at a location, in turn: those named for it, else its users without its keeper.

    Nobody counts who may not post there; the list is empty where there is nobody at all.
    """
    named = known.counters.get(code)
    if named is not None:
        return [person_id for person_id in named if may_count(who.by_id.get(person_id), location)]
    able = [person.id for person in who if may_count(person, location)]
    return [person_id for person_id in able if person_id != location.keeper] or able


def due_at(planned_for: date, keeper: str | None) -> datetime:
    """Return until when a sheet can be counted in time: so many working days of the keeper's after the planned one.

    :param keeper: id of whoever answers for the location.
    """
    person = people().by_id.get(keeper or "")
    if person is None:
        midnight = datetime.combine(planned_for, time(), warehouse().zone)
        return midnight + timedelta(days=1 + counting().overdue_after)
    calendar = person.calendar
    closing = datetime.combine(planned_for, time(), calendar.zone) + calendar.closes
    a_day = calendar.closes - calendar.opens
    return add(closing, counting().overdue_after * a_day, calendar)
