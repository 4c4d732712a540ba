"""Decides the segment of each lead by a decision table, first match from the top.

The table is segments.yaml; who works on a segment is assignment.py's part, and what is sent is mail.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import text

from include.cases import store
from include.cases.model import Work
from include.contracts.documents import DocumentError, read
from include.data.frames import read_frame

FILE = Path(__file__).with_name("segments.yaml")

NUMBERS = ("company_size", "score")
WORDS = ("country", "source", "interest", "language", "campaign", "match")

Bools: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """What a whole number must be: within min and max, both inclusive, or missing."""

    min: int | None = None
    max: int | None = None
    missing: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Range:
        bounded = self.min is not None or self.max is not None
        if self.missing == bounded:
            raise ValueError("write min, max or both; or `missing: true` alone")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self

    def fits(self, value: int | None) -> bool:
        """Whether one value, or None for a missing one, fits."""
        if value is None:
            return self.missing
        above = self.min is None or value >= self.min
        return not self.missing and above and (self.max is None or value <= self.max)


class Segment(_Strict):
    """What follows from belonging to a segment.

    :param sla_hours: business hours until the owner must have answered.
    :param mail: name of the answer, a file under templates/.
    """

    title: str
    sla_hours: float = Field(gt=0)
    lifecycle_stage: Literal["lead", "mql", "sql", "opportunity", "customer"]
    mail: str
    priority: Literal["low", "medium", "high"]


class Default(_Strict):
    """The row for all that no rule fits."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    segment: str
    because: str


class Rule(Default):
    """One row of the table, and which rows above it may fit the same leads."""

    when: dict[str, Range | list[str]] = Field(min_length=1)
    overlaps: list[str] = []


class Table(_Strict):
    """A decision table that hangs together: known fields, known segments, unique ids, a default."""

    groups: dict[str, list[str]] = {}
    segments: dict[str, Segment]
    rules: list[Rule]
    default: Default

    @model_validator(mode="after")
    def _hangs_together(self) -> Table:
        ids = [rule.id for rule in self.rules] + [self.default.id]
        for rule in self.rules:
            place = f"rule {rule.id!r}: "
            if ids.count(rule.id) > 1:
                raise ValueError(place + "its id is used twice; the record of decisions would be ambiguous")
            for field, condition in rule.when.items():
                _check_condition(place, field, condition, self.groups)
            if unknown := set(rule.overlaps) - set(ids):
                raise ValueError(place + f"`overlaps` names {', '.join(sorted(unknown))}, which is no rule")
        rows: list[Default] = [*self.rules, self.default]
        for row in rows:
            if row.segment not in self.segments:
                known = ", ".join(self.segments)
                raise ValueError(f"rule {row.id!r}: there is no segment {row.segment!r}; write one of: {known}")
        return self

    def words(self, condition: Sequence[str]) -> frozenset[str]:
        """The values that a condition means, groups resolved, in the form in which they are compared."""
        return frozenset(
            member.casefold()
            for value in condition
            for member in (self.groups[value[1:]] if value.startswith("@") else [value])
        )


def _check_condition(place: str, field: str, condition: Range | list[str], groups: Mapping[str, Any]) -> None:
    if field not in NUMBERS + WORDS:
        raise ValueError(place + f"unknown field {field!r}; write one of: {', '.join(NUMBERS + WORDS)}")
    if (field in NUMBERS) != isinstance(condition, Range):
        form = "{min: …, max: …}" if field in NUMBERS else "a list of values"
        raise ValueError(place + f"the condition of {field!r} must be {form}")
    for value in condition if isinstance(condition, list) else ():
        if value.startswith("@") and value[1:] not in groups:
            raise ValueError(place + f"there is no group {value!r}; declare it under `groups`")


def load(path: Path = FILE) -> Table:
    """Read a decision table. DocumentError says what is wrong with it and where."""
    try:
        return Table.model_validate(read(path))
    except ValidationError as error:
        places = [".".join(str(part) for part in fault["loc"]) for fault in error.errors()]
        texts = [fault["msg"].removeprefix("Value error, ") for fault in error.errors()]
        faults = "; ".join(f"{place}: {text}" if place else text for place, text in zip(places, texts, strict=True))
        raise DocumentError(f"{path.name}: {faults}") from None


def preload() -> None:
    """Read the table once, in the process whose children run this step."""
    table()


@cache
def table() -> Table:
    """The shipped table, read once per process."""
    return load()


def decide(frame: pd.DataFrame, rules: Table | None = None) -> pd.DataFrame:
    """Segment, segment_rule and sla_hours of each row, by the first rule that fits.

    :param frame: columns of NUMBERS and WORDS; one that is absent counts as missing, as do None and NaN.
    :returns: a frame with the same index.
    """
    known = rules or table()
    columns = {name: _numbers(frame, name) for name in NUMBERS} | {name: _words(frame, name) for name in WORDS}
    rows: list[Default] = [*known.rules, known.default]
    chosen = np.full(len(frame), len(known.rules))
    for number in reversed(range(len(known.rules))):
        chosen[_fits(known, known.rules[number], columns, len(frame))] = number
    segments = [row.segment for row in rows]
    return pd.DataFrame(
        {
            "segment": [segments[number] for number in chosen],
            "segment_rule": [rows[number].id for number in chosen],
            "sla_hours": [known.segments[segments[number]].sla_hours for number in chosen],
        },
        index=frame.index,
    )


def _fits(known: Table, rule: Rule, columns: Mapping[str, Any], length: int) -> Bools:
    result: Bools = np.ones(length, dtype=bool)
    for field, condition in rule.when.items():
        values = columns[field]
        if isinstance(condition, Range):
            missing = np.isnan(values)
            if condition.missing:
                result &= missing
                continue
            result &= ~missing
            if condition.min is not None:
                result &= values >= condition.min
            if condition.max is not None:
                result &= values <= condition.max
        else:
            result &= values.isin(known.words(condition)).to_numpy(dtype=bool)
    return result


def _numbers(frame: pd.DataFrame, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _words(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    if name not in frame:
        return pd.Series([None] * len(frame), index=frame.index, dtype=object)
    return frame[name].map(lambda value: value.strip().casefold() if isinstance(value, str) else None)


def segment(work: Work) -> None:
    """Decide and write the segment of the leads of `work`, and record with each case which rule decided.

    A step of the workflow; set-based: one read, one write, one event per case.
    """
    frame = read_frame(
        work.connection,
        f"select case_id, {', '.join(NUMBERS + WORDS)} from leads where case_id = any(:ids)",
        work.values,
    )
    decided = decide(frame)
    work.connection.execute(
        text("""
            update leads set segment = v.segment, segment_rule = v.rule, sla_hours = v.hours
            from unnest(cast(:ids as bigint[]), cast(:segments as text[]), cast(:rules as text[]),
                        cast(:hours as numeric[])) as v(case_id, segment, rule, hours)
            where leads.case_id = v.case_id"""),
        {
            "ids": frame["case_id"].tolist(),
            "segments": decided["segment"].tolist(),
            "rules": decided["segment_rule"].tolist(),
            "hours": decided["sla_hours"].tolist(),
        },
    )
    for (name, rule), rows in frame["case_id"].groupby([decided["segment"], decided["segment_rule"]]):
        store.record(work.connection, "decided", rows.tolist(), {"decision": "segment", "rule": rule, "segment": name})


def combinations(known: Table) -> set[int]:
    """Every combination of rules that some lead can fit, as bit masks: bit n is the n-th rule.

    Exact, because fields are independent: a field's values fall into classes that the rules treat alike, and
    a lead is one class of each field.
    """
    everything = (1 << len(known.rules)) - 1
    found = {everything}
    for field in NUMBERS + WORDS:
        classes = {_mask(known, field, value) for value in _samples(known, field)}
        found = {one & other for one in found for other in classes}
    return found


def _samples(known: Table, field: str) -> Iterable[int | str | None]:
    """One value of every class that some rule can tell from the others."""
    yield None
    yield 0 if field in NUMBERS else "\0 no rule names this"
    conditions = [rule.when[field] for rule in known.rules if field in rule.when]
    if field in WORDS:
        for condition in conditions:
            yield from known.words(condition) if isinstance(condition, list) else ()
        return
    for condition in conditions:
        for bound in (condition.min, condition.max) if isinstance(condition, Range) else ():
            if bound is not None:
                yield from (bound - 1, bound, bound + 1)


def _mask(known: Table, field: str, value: int | str | None) -> int:
    mask = 0
    for number, rule in enumerate(known.rules):
        condition = rule.when.get(field)
        if condition is None:
            fits = True
        elif isinstance(condition, Range):
            fits = condition.fits(value if not isinstance(value, str) else None)
        else:
            fits = value in known.words(condition)
        mask |= fits << number
    return mask


def overlapping(known: Table) -> set[tuple[str, str]]:
    """Pairs of rules, the upper first, that one lead can fit both."""
    pairs: set[tuple[str, str]] = set()
    for mask in combinations(known):
        fitting = [rule.id for number, rule in enumerate(known.rules) if mask >> number & 1]
        pairs |= {(upper, lower) for place, upper in enumerate(fitting) for lower in fitting[place + 1 :]}
    return pairs


def unreachable(known: Table) -> list[str]:
    """Rules, or the default, that never decide, because the rules above take every lead that they fit."""
    deciding = {(mask & -mask).bit_length() - 1 for mask in combinations(known)}
    ids = [rule.id for number, rule in enumerate(known.rules) if number not in deciding]
    return ids if -1 in deciding else [*ids, known.default.id]


def faults(known: Table) -> list[str]:
    """What to write so that the table says what it does: undeclared and false overlaps, idle rules."""
    pairs = overlapping(known)
    declared = {(upper, rule.id) for rule in known.rules for upper in rule.overlaps}
    return [
        *(
            f"{lower}: some leads fit {upper} above it too; if that is meant, add {upper} to its `overlaps`"
            for upper, lower in sorted(pairs - declared)
        ),
        *(
            f"{lower}: no lead can fit {upper} above it too; take {upper} out of its `overlaps`"
            for upper, lower in sorted(declared - pairs)
        ),
        *(f"{rule}: never decides; move it up, or take it out" for rule in unreachable(known)),
    ]
