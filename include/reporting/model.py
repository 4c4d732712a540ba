"""What a report is: figures read from the tables by when things happened, and what must be true of them.

Values are kept as JSON knows them: numbers that must be exact (money, quantities) as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

Values = Mapping[str, Any]
Rows = list[list[Any]]
Tables = dict[str, Rows]
"""The rows of each figure, by its name."""


class Kind(StrEnum):
    """What a column holds, and so how it is kept, checked and shown."""

    TEXT = "text"
    DAY = "day"
    COUNT = "count"
    MONEY = "money"
    QUANTITY = "quantity"
    SHARE = "share"
    """A part of a whole."""
    PERCENT = "percent"
    """Against a plan, which it may exceed."""
    RATIO = "ratio"
    SECONDS = "seconds"


@dataclass(frozen=True)
class Column:
    """A column of a figure.

    :param optional: whether it may have no value, such as a median of nothing.
    :param signed: whether it may be below zero.
    """

    name: str
    title: str
    kind: Kind = Kind.COUNT
    optional: bool = False
    signed: bool = False


@dataclass(frozen=True)
class Plot:
    """How a figure is drawn: bars of `values` along the column `by`; lines where that is a day."""

    by: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A table of a report.

    :param query: SQL over :since and :until (moments), :first and :end (days), :zone; its columns are `columns`, in
        their order. It is ordered, so that the same facts give the same rows. What happened later it must not see.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    query: str
    plot: Plot | None = None

    def column(self, name: str) -> Column:
        """Return a column by its name."""
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Sum:
    """Two columns of two figures must add up to the same; each is (figure, column)."""

    name: str
    one: tuple[str, str]
    other: tuple[str, str]


@dataclass(frozen=True)
class Report:
    """A report.

    :param figures: the first one, `totals`, is a single row: what is told first, everywhere.
    :param sums: what must agree between figures.
    :param controls: SQL over the same values; each row is (what is compared, expected, found).
    :param waits: SQL over the same values; each row is (what is not ready, how many). While there are any, it is not
        published; they pass by themselves.
    """

    name: str
    title: str
    figures: tuple[Figure, ...]
    sums: tuple[Sum, ...] = ()
    controls: str = ""
    waits: str = ""

    def figure(self, name: str) -> Figure:
        """Return a figure by its name."""
        return next(figure for figure in self.figures if figure.name == name)


def kept(column: Column, value: Any) -> Any:
    """Return a value of the database as it is kept; equal values are kept alike."""
    return None if value is None else _KEPT[column.kind](value)


def shown(column: Column, value: Any) -> str:
    """Return a kept value for people."""
    return "–" if value is None else _SHOWN[column.kind](value)


def typed(column: Column, value: Any) -> Any:
    """Return a kept value as Python has it: exact numbers as decimals, days as dates."""
    if value is None:
        return None
    match column.kind:
        case Kind.DAY:
            return date.fromisoformat(value)
        case Kind.MONEY | Kind.QUANTITY:
            return Decimal(value)
        case _:
            return value


def number(column: Column, value: Any) -> float | None:
    """Return a kept value as a number, for plots and sums of one kind; None where there is none."""
    return None if value is None or column.kind in (Kind.TEXT, Kind.DAY) else float(value)


def numbers(figure: Figure, rows: Sequence[Sequence[Any]], column: str) -> list[Decimal]:
    """Return a column of a figure as exact numbers, without the missing ones."""
    place = [each.name for each in figure.columns].index(column)
    return [Decimal(str(row[place])) for row in rows if row[place] is not None]


def _day(kept_day: str) -> str:
    day = date.fromisoformat(kept_day)
    return f"{day:%a} {day.day} {day:%b}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def _rounded(digits: int) -> Callable[[Any], float]:
    return lambda value: round(float(value), digits)


_KEPT: dict[Kind, Callable[[Any], Any]] = {
    Kind.TEXT: str,
    Kind.DAY: date.isoformat,
    Kind.COUNT: int,
    Kind.MONEY: lambda value: f"{Decimal(value):.2f}",
    Kind.QUANTITY: lambda value: f"{Decimal(value).normalize():f}",
    Kind.SHARE: _rounded(4),
    Kind.PERCENT: _rounded(4),
    Kind.RATIO: _rounded(4),
    Kind.SECONDS: _rounded(1),
}
_SHOWN: dict[Kind, Callable[[Any], str]] = {
    Kind.TEXT: str,
    Kind.DAY: _day,
    Kind.COUNT: "{:,}".format,
    Kind.MONEY: lambda value: f"{Decimal(value):,.2f}",
    Kind.QUANTITY: lambda value: f"{Decimal(value):,}",
    Kind.SHARE: lambda value: f"{value * 100:.1f} %",
    Kind.PERCENT: lambda value: f"{value * 100:.1f} %",
    Kind.RATIO: "{:.2f}".format,
    Kind.SECONDS: _duration,
}
