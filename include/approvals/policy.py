"""The approval matrix: which stages a request goes through, who is asked in each, and why.

Pure: a matrix is a YAML file of a workflow, facts come from the caller. Asking is rounds.py's part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_serializer, model_validator

from include.approvals.people import People, Person, faults
from include.approvals.people import people as company
from include.contracts.documents import DocumentError, read
from include.contracts.model import Duration

MOST_STAGES = 7
"""So many stages one request may have: whatever carries the waiting has a place for each."""

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Who = Annotated[str, Field(pattern=r"^(manager|role:[a-z][a-z0-9_]*|person:[a-z][a-z0-9._-]*|fact:[a-z][a-z0-9_]*)$")]


class Unroutable(ValueError):
    """The policy cannot say who is asked; `code` is for machines, the message for whoever must act."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _amount(value: Any) -> Any:
    """An amount as Decimal, never by way of a float."""
    if isinstance(value, Decimal) and value.is_finite():
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f'{value!r} is not an amount; write a whole number, or put it in quotes: "249.99"')
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not an amount; write digits and a point, such as 249.99") from None
    if not amount.is_finite():
        raise ValueError(f"{value!r} is not an amount; leave the end out where there is none")
    return amount


Amount = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, str_strip_whitespace=True)


class Range(_Strict):
    """Amounts, `from` inclusive and `below` exclusive; an end that is left out is open."""

    start: Amount = Field(default=Decimal(0), alias="from")
    below: Amount | None = None

    @model_validator(mode="after")
    def _is_not_empty(self) -> Range:
        if self.below is not None and self.below <= self.start:
            raise ValueError(f"no amount is from {self.start} and below {self.below}; `below` must be more than `from`")
        return self

    def holds(self, amount: Decimal) -> bool:
        """Whether an amount lies in it."""
        return self.start <= amount and (self.below is None or amount < self.below)


Condition: TypeAlias = "bool | Range | Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]"
When = Annotated[dict[Id, Condition], Field(min_length=1)]


class Stage(_Strict):
    """Who is asked at the same time, how many of them must approve, and how long they have.

    :param needed: a number, or `all`: everybody who is asked.
    :param within: business hours of those who are asked.
    """

    who: Annotated[list[Who], BeforeValidator(_listed), Field(min_length=1)]
    needed: Annotated[int, Field(ge=1)] | Literal["all"] = 1
    within: Duration

    @field_serializer("within")
    def _seconds(self, value: timedelta) -> float:
        return value.total_seconds()


class Band(Range):
    """Amounts that are treated alike: by stages, or by rule where nobody is asked."""

    id: Id
    by_rule: bool = False
    stages: list[Stage] = []

    @model_validator(mode="after")
    def _asks_or_rules(self) -> Band:
        if self.by_rule == bool(self.stages):
            raise ValueError(f"band {self.id!r}: write `stages`, or `by_rule: true` where nobody is asked; one of them")
        return self


class Table(_Strict):
    """Bands that replace the usual ones for some requests."""

    id: Id
    when: When
    bands: Annotated[list[Band], Field(min_length=1)]


class Added(Stage):
    """A stage that is asked besides those of the band, where its conditions fit."""

    id: Id
    when: When
    place: Literal["first", "last"] = "last"


class Matrix(_Strict):
    """Who approves what. The first table that fits replaces `bands`; every rule under `also` that fits adds its stage.

    :param currency: of all amounts.
    :param otherwise: who is asked where the line of managers ends before somebody is found.
    """

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    otherwise: Who | None = None
    bands: Annotated[list[Band], Field(min_length=1)]
    tables: list[Table] = []
    also: list[Added] = []

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Matrix:
        ids = [band.id for _, bands in self.sets() for band in bands]
        ids += [table.id for table in self.tables] + [rule.id for rule in self.also]
        for name in sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the id {name!r} is used twice; the record of who was asked why would be ambiguous")
        if self.otherwise and not self.otherwise.startswith(("role:", "person:")):
            raise ValueError("otherwise: write a role or a person, since nothing else is left to ask there")
        return self

    def sets(self) -> Iterator[tuple[str, list[Band]]]:
        """Every set of bands with its place in the file."""
        yield "bands", self.bands
        for table in self.tables:
            yield f"tables.{table.id}.bands", table.bands

    @property
    def digest(self) -> str:
        """SHA-256 of what the matrix says; another wording of the same YAML has the same."""
        said = self.model_dump(mode="json", by_alias=True)
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class StagePlan:
    """One stage of one request.

    :param rule: id of the band or rule that asks for it; several are joined by `+`.
    :param why: for people.
    :param seats: ids of the persons who may decide.
    """

    number: int
    rule: str
    why: str
    seats: tuple[str, ...]
    needed: int
    within: timedelta

    def as_json(self) -> dict[str, Any]:
        """The form in which it is kept."""
        return {
            "number": self.number,
            "rule": self.rule,
            "why": self.why,
            "seats": list(self.seats),
            "needed": self.needed,
            "within_seconds": self.within.total_seconds(),
        }


@dataclass(frozen=True)
class Routing:
    """What the policy asks for, for one request.

    :param rules: why, a line for each rule that applied.
    :param by_rule: the band that approves without asking anybody; then there are no stages.
    :param policy: digest of the matrix.
    """

    rules: tuple[str, ...]
    stages: tuple[StagePlan, ...]
    by_rule: str | None
    policy: str

    def as_json(self) -> dict[str, Any]:
        """The form in which it is kept."""
        return {
            "rules": list(self.rules),
            "stages": [stage.as_json() for stage in self.stages],
            "by_rule": self.by_rule,
            "policy": self.policy,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Routing:
        """The routing that `as_json` was made of."""
        return cls(
            tuple(kept["rules"]),
            tuple(
                StagePlan(
                    stage["number"],
                    stage["rule"],
                    stage["why"],
                    tuple(stage["seats"]),
                    stage["needed"],
                    timedelta(seconds=stage["within_seconds"]),
                )
                for stage in kept["stages"]
            ),
            kept["by_rule"],
            kept["policy"],
        )


def load(path: Path) -> Matrix:
    """Read a matrix.

    :raises DocumentError: with what is wrong and where.
    """
    try:
        return Matrix.model_validate(read(path))
    except ValidationError as error:
        raise DocumentError(f"{path.name}: {faults(error)}") from None


def route(matrix: Matrix, facts: Mapping[str, Any], requester: str, people: People | None = None) -> Routing:
    """Say which stages a request goes through, who is asked in each, and why.

    The requester is asked nowhere: the next in line takes their place.

    :param facts: `amount` in the matrix's currency, and every fact that the matrix names; None is unknown.
    :raises Unroutable: requester.unknown, facts.missing, policy.gap, policy.overlap, policy.stages, approver.missing.
    """
    people = people or company()
    if not people.decides(requester):
        raise Unroutable(
            "requester.unknown", f"{requester!r} is nobody who works here; correct the requester, or add the person"
        )
    band, added = _selected(matrix, facts)
    wanted = [
        *((rule, _because(rule)) for rule in added if rule.place == "first"),
        *((stage, f"band {band.id!r} ({_range(band, matrix.currency)})") for stage in band.stages),
        *((rule, _because(rule)) for rule in added if rule.place == "last"),
    ]
    plans: list[StagePlan] = []
    for stage, because in wanted:
        seats, needed, notes = _seated(stage, facts, requester, people, matrix.otherwise)
        rule = stage.id if isinstance(stage, Added) else band.id
        why = f"{because} asks {_asked(stage.who, people)}" + "".join(f"; {note}" for note in notes)
        plans.append(StagePlan(len(plans) + 1, rule, why, tuple(seats), needed, stage.within))
    stages = _merged(plans)
    if len(stages) > MOST_STAGES:
        raise Unroutable(
            "policy.stages",
            f"{len(stages)} stages one after another, and {MOST_STAGES} are the most; "
            "ask some of them side by side, in one stage",
        )
    if stages:
        return Routing(tuple(plan.why for plan in plans), stages, None, matrix.digest)
    return Routing((_by_rule(band, matrix.currency),), (), band.id, matrix.digest)


def explain(routing: Routing, people: People | None = None) -> list[str]:
    """A line for each stage: who, why, how long; or by which rule nobody is asked."""
    people = people or company()
    if routing.by_rule:
        return list(routing.rules)
    lines = []
    for stage in routing.stages:
        names = [people.name(seat) for seat in stage.seats]
        who = names[0] if len(names) == 1 else f"{stage.needed} of {', '.join(names)}"
        hours = stage.within.total_seconds() / 3600
        unit = "hour" if hours == 1 else "hours"
        lines.append(f"Stage {stage.number}: {who}, because {stage.why}; {hours:g} business {unit}")
    return lines


def problems(
    matrix: Matrix, people: People | None = None, facts: Mapping[str, Collection[Any]] | None = None
) -> list[str]:
    """What is wrong with a matrix and the people it asks, a line each with the fix; empty when nothing is.

    Every combination of facts that the matrix distinguishes is tried for every active person as the requester.

    :param facts: name of each fact that the workflow gives -> its possible values, empty for any; None skips the check.
    """
    people = people or company()
    found = people.problems()
    for place, bands in matrix.sets():
        found += _partition_problems(place, bands, matrix.currency)
    found += _name_problems(matrix, people, facts)
    if not found:  # only a matrix whose parts are right can be tried out
        found += _tried(matrix, people, facts or {})
    return found


def _selected(matrix: Matrix, facts: Mapping[str, Any]) -> tuple[Band, list[Added]]:
    """The band of a request, and the rules that add to it."""
    amount = facts.get("amount")
    if not isinstance(amount, Decimal):
        raise Unroutable("facts.missing", f"the amount must be a Decimal in {matrix.currency}, and is {amount!r}")
    bands = next((table.bands for table in matrix.tables if _fits(table.id, table.when, facts)), matrix.bands)
    fitting = [band for band in bands if band.holds(amount)]
    if not fitting:
        raise Unroutable("policy.gap", f"no band of the policy holds {_figure(amount)} {matrix.currency}; add one")
    if len(fitting) > 1:
        ids = " and ".join(repr(band.id) for band in fitting)
        raise Unroutable("policy.overlap", f"{_figure(amount)} {matrix.currency} is in the bands {ids}; part them")
    return fitting[0], [rule for rule in matrix.also if _fits(rule.id, rule.when, facts)]


def _fits(place: str, when: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    fits = True
    for name, condition in when.items():
        if name not in facts:
            raise Unroutable("facts.missing", f"rule {place!r} asks for {name!r}, which the request does not tell")
        value = facts[name]
        if isinstance(condition, bool):
            fits &= value is condition
        elif isinstance(condition, Range):
            fits &= isinstance(value, Decimal) and condition.holds(value)
        else:
            fits &= value in condition
    return fits


def _seated(
    stage: Stage, facts: Mapping[str, Any], requester: str, people: People, otherwise: str | None
) -> tuple[list[str], int, list[str]]:
    """Who decides a stage, how many of them, and what had to be arranged differently."""
    seats: list[str] = []
    notes: list[str] = []
    empty: list[str] = []

    def seat(person: Person) -> None:
        if person.id not in seats:
            seats.append(person.id)

    def replace(holder: str) -> None:
        standing_in = people.next_in_line(holder, {requester, *seats})
        if standing_in:
            seat(standing_in)
            cause = "who asked for it" if holder == requester else "who cannot decide"
            notes.append(f"{standing_in.name} takes the place of {people.name(holder)}, {cause}")

    for who in stage.who:
        holders = _holders(who, facts, requester, people)
        for holder in holders:
            if people.decides(holder) and holder != requester:
                seat(people.by_id[holder])
            elif who.startswith("role:"):
                empty.append(holder)
            else:
                above = people.next_in_line(holder, {requester})
                if above is None or above.id not in seats:
                    replace(holder)
    needed = max(len(seats), 1) if stage.needed == "all" else stage.needed
    for holder in empty:
        if len(seats) < needed:
            replace(holder)
    if len(seats) < needed and otherwise:
        for holder in _holders(otherwise, facts, requester, people):
            if people.decides(holder) and holder not in {requester, *seats}:
                seat(people.by_id[holder])
                notes.append(f"{people.name(holder)} is asked because nobody else is left")
    if len(seats) < needed:
        raise Unroutable(
            "approver.missing",
            f"{_asked(stage.who, people)} should decide, {needed} of them, and {len(seats)} can for "
            f"{people.name(requester)}: fill the role, name a manager, or set `otherwise`",
        )
    return seats, needed, notes


def _holders(who: str, facts: Mapping[str, Any], requester: str, people: People) -> list[str]:
    kind, _, name = who.partition(":")
    if kind == "manager":
        manager = people.manager_of(requester)
        return [manager.id if manager else requester]
    if kind == "role":
        return [person.id for person in people.holders(name)]
    if kind == "person":
        return [name]
    person = facts.get(name)
    if not isinstance(person, str) or person not in people.by_id:
        raise Unroutable("facts.missing", f"{name} should be a person who works here, and is {person!r}")
    return [person]


def _merged(plans: Sequence[StagePlan]) -> tuple[StagePlan, ...]:
    """Neighbouring stages that ask one and the same person become one, with the longer time."""
    stages: list[StagePlan] = []
    for plan in plans:
        last = stages[-1] if stages else None
        if last and len(plan.seats) == 1 and plan.seats == last.seats:
            rules = last.rule if plan.rule in last.rule.split("+") else f"{last.rule}+{plan.rule}"
            stages[-1] = StagePlan(
                last.number, rules, f"{last.why}; and {plan.why}", last.seats, 1, max(last.within, plan.within)
            )
        else:
            stages.append(StagePlan(len(stages) + 1, plan.rule, plan.why, plan.seats, plan.needed, plan.within))
    return tuple(stages)


def _because(rule: Added) -> str:
    return f"rule {rule.id!r} ({', '.join(_condition(name, value) for name, value in rule.when.items())})"


def _condition(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, Range):
        end = f" below {_figure(value.below)}" if value.below is not None else ""
        return f"{words} from {_figure(value.start)}{end}"
    return f"{words} {' or '.join(value)}"


def _asked(who: Iterable[str], people: People) -> str:
    words = []
    for each in who:
        kind, _, name = each.partition(":")
        readable = name.replace("_", " ")
        words.append(
            {
                "manager": "the requester's manager",
                "role": f"the role {readable}",
                "person": people.name(name),
                "fact": f"the {readable}",
            }[kind]
        )
    return " and ".join(words)


def _by_rule(band: Band, currency: str) -> str:
    return f"Approved by rule: band {band.id!r} ({_range(band, currency)}) asks nobody"


def _range(band: Range, currency: str) -> str:
    if band.below is None:
        return f"from {_figure(band.start)} {currency}"
    if not band.start:
        return f"below {_figure(band.below)} {currency}"
    return f"{_figure(band.start)} to {_figure(band.below)} {currency}"


def _figure(amount: Decimal) -> str:
    return f"{amount:,f}"


def _partition_problems(place: str, bands: Sequence[Band], currency: str) -> list[str]:
    """Amounts that no band holds, and amounts that two hold."""
    found = []
    ordered = sorted(bands, key=lambda band: band.start)
    reached: Decimal | None = Decimal(0)
    widest: Band | None = None
    for band in ordered:
        if widest is not None and (reached is None or band.start < reached):
            found.append(
                f"{place}.{band.id}: overlaps with {widest.id!r} from {_figure(band.start)} {currency}; "
                f"let one of them end where the other begins"
            )
        elif reached is not None and band.start > reached:
            found.append(
                f"{place}.{band.id}: nothing decides amounts from {_figure(reached)} to {_figure(band.start)} "
                f"{currency}; add a band, or begin this one at {_figure(reached)}"
            )
        if widest is None or (reached is not None and (band.below is None or band.below > reached)):
            reached, widest = band.below, band
    if reached is not None:
        found.append(
            f"{place}: nothing decides amounts from {_figure(reached)} {currency} upwards; "
            "leave `below` out of the last band"
        )
    return found


def _name_problems(matrix: Matrix, people: People, facts: Mapping[str, Collection[Any]] | None) -> list[str]:
    """Persons, roles, facts and values of facts that there are not."""
    found = []
    asked = [(f"{place}.{band.id}", who) for place, bands in matrix.sets() for band in bands for who in _asks(band)]
    asked += [(f"also.{rule.id}", who) for rule in matrix.also for who in rule.who]
    asked += [("otherwise", matrix.otherwise)] if matrix.otherwise else []
    roles = {role for person in people for role in person.roles}
    for place, who in asked:
        kind, _, name = who.partition(":")
        if kind == "person" and name not in people.by_id:
            found.append(f"{place}: there is no person {name!r}; write one of people.yaml")
        elif kind == "person" and not people.decides(name):
            found.append(f"{place}: {name!r} has left or is a shared account, and decides nothing; ask somebody else")
        elif kind == "role" and name not in roles:
            found.append(f"{place}: nobody has the role {name!r}; give it to somebody in people.yaml")
        elif kind == "fact" and facts is not None and name not in facts:
            found.append(f"{place}: there is no fact {name!r}; write one of: {', '.join(facts)}")
    if facts is None:
        return found
    conditions = [(f"tables.{table.id}", table.when) for table in matrix.tables]
    conditions += [(f"also.{rule.id}", rule.when) for rule in matrix.also]
    for place, when in conditions:
        for name, condition in when.items():
            if name != "amount" and name not in facts:
                found.append(f"{place}.when: there is no fact {name!r}; write one of: {', '.join(facts)}")
                continue
            values = facts.get(name, ())
            for value in condition if isinstance(condition, list) and values else ():
                if value not in values:
                    known = ", ".join(map(str, values))
                    found.append(f"{place}.when.{name}: {value!r} is none of its values; write one of: {known}")
    return found


def _asks(band: Band) -> Iterator[str]:
    return (who for stage in band.stages for who in stage.who)


def _tried(matrix: Matrix, people: People, facts: Mapping[str, Collection[Any]]) -> list[str]:
    """Route for every active person every combination of facts that makes a difference."""
    selections: dict[tuple[str, ...], dict[str, Any]] = {}
    for tried in _combinations(matrix):
        band, added = _selected(matrix, tried)
        selections.setdefault((band.id, *(rule.id for rule in added)), tried)
    asked = [who for _, bands in matrix.sets() for band in bands for who in _asks(band)]
    asked += [who for rule in matrix.also for who in rule.who]
    named = sorted({who.removeprefix("fact:") for who in asked if who.startswith("fact:")})
    everybody = [person.id for person in people if person.decides]
    holders = [[str(value) for value in facts.get(name) or everybody] for name in named]
    found: dict[str, None] = {}
    for ids, tried in selections.items():
        for requester in everybody:
            for chosen in product(*holders):
                try:
                    route(matrix, {**tried, **dict(zip(named, chosen, strict=True))}, requester, people)
                except Unroutable as error:
                    found[f"{' + '.join(ids)}: {error.message}"] = None
    return list(found)


def _combinations(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Facts that stand for all: each boolean, each value that is named and one that is not, each end of a range."""
    values: dict[str, dict[Any, None]] = {"amount": {band.start: None for _, bands in matrix.sets() for band in bands}}
    for when in [table.when for table in matrix.tables] + [rule.when for rule in matrix.also]:
        for name, condition in when.items():
            known = values.setdefault(name, {})
            if isinstance(condition, bool):
                known[True] = known[False] = None
            elif isinstance(condition, Range):
                ends = [Decimal(0), condition.start, *([condition.below] if condition.below is not None else [])]
                known |= dict.fromkeys(ends)
            else:
                known[None] = None
                known |= dict.fromkeys(condition)
    for combination in product(*values.values()):
        yield dict(zip(values, combination, strict=True))
