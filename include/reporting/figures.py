"""Reads a report's figures for an interval, all from one moment of the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from sqlalchemy import Engine, text

from include.reporting.intervals import Interval
from include.reporting.model import Report, Tables, Values, kept


@dataclass(frozen=True)
class Read:
    """What was read: the figures, the controls as (what is compared, expected, found), and what is waited for."""

    tables: Tables
    controls: list[tuple[str, Decimal, Decimal]]
    waits: list[tuple[str, int]] = field(default_factory=list)


def read(engine: Engine, report: Report, interval: Interval) -> Read:
    """Return the figures of an interval; the same facts give the same figures, whenever they are read."""
    values: Values = {
        "since": interval.since,
        "until": interval.until,
        "first": interval.first,
        "end": interval.end,
        "zone": interval.zone.key,
    }
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        tables = {
            figure.name: [
                [kept(column, value) for column, value in zip(figure.columns, row, strict=True)]
                for row in connection.execute(text(figure.query), values)
            ]
            for figure in report.figures
        }
        controls = connection.execute(text(report.controls), values).all() if report.controls else []
        waits = connection.execute(text(report.waits), values).all() if report.waits else []
    return Read(tables, [(row[0], Decimal(row[1]), Decimal(row[2])) for row in controls], [(*row,) for row in waits])
