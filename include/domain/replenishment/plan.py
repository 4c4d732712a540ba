"""The plan: looks at every place that has a rule, and opens a need where it runs short.

Two plans at once wait for each other, and the database itself refuses a second open need of a place. A plan is one
transaction: one that dies has opened nothing, and the next one finds what it would have found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from include.data.database import authored
from include.domain.replenishment.figures import STOCK, Window, figures
from include.domain.replenishment.formulas import FORMULA, order_quantity
from include.domain.replenishment.rules import PURCHASE_DECIMALS
from include.intake.handoffs import Handoff, hand_over
from include.stock.warehouse import warehouse

SOURCE = "replenishment-plan"
ACTOR = "system:replenishment"


Row = Mapping[Any, Any]
"""The figures of one place."""


@dataclass(frozen=True)
class Planned:
    """What a plan came to: places looked at, and what became of those that run short."""

    places: int = 0
    short: int = 0
    opened: int = 0
    open_before: int = 0
    refused_lately: int = 0


def plan(engine: Engine, until: datetime, *, run: str = "") -> Planned:
    """Open a need for every place that runs short and has none.

    :param until: the end of the day that is planned; what moved later does not count as history. The stock that is
        compared is that of now, whatever day is planned.
    """
    with authored(engine, actor=ACTOR, run=run, step="plan") as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.replenishment'))"))
        connection.execute(text("set local work_mem = '128MB'; set local jit = off"))
        window = Window(until)
        frame = figures(connection, window)
        short = frame[frame["short"]]
        rows = [row for row in short.to_dict("records") if quantity(row) > 0]
        free = [row for row in rows if row["open_need"] is None]
        due = [row for row in free if row["refused_until"] is None]
        opened = _open(connection, due, planned_day(until), window.days)
    return Planned(len(frame), len(rows), opened, len(rows) - len(free), len(free) - len(due))


def planned_day(until: datetime) -> Any:
    """The day of the company that ends with `until`."""
    return (until.astimezone(warehouse().zone) - timedelta(microseconds=1)).date()


def quantity(row: Row) -> Decimal:
    """Return what has to be ordered for a place that runs short, by its figures."""
    decimals = row["decimals"] if row["from_location"] else min(row["decimals"], PURCHASE_DECIMALS)
    return order_quantity(
        Decimal(repr(float(row["up_to"]))) - row["position"],
        least=row["min_quantity"],
        multiple=row["multiple"],
        decimals=decimals,
    )


def told(row: Row, window_days: int) -> dict[str, Any]:
    """Return the figures of a place as they are kept with its need and told to people."""
    return {
        "formula": FORMULA if row["method"] == "reorder_point" else "min-max",
        "method": row["method"],
        "window_days": window_days,
        "days_counted": round(float(row["days"]), 2),
        "days_without_stock": round(float(row["days_out"]), 2),
        "demand_mean": round(float(row["demand"]), 6),
        "demand_sd": round(float(row["demand_sd"]), 6),
        "lead_time_mean": round(float(row["lead_time"]), 4),
        "lead_time_sd": round(float(row["lead_time_sd"]), 4),
        "lead_time_from": row["lead_time_from"],
        "lead_times_known": int(row["times"]),
        "service_level": plain(row["service_level"]),
        "z": round(float(row["z"]), 6),
        "safety_stock": round(float(row["safety_stock"]), 6),
        "reorder_point": plain(row["point"]),
        "reorder_point_by": "rule" if row["method"] == "min_max" or row["override"] is not None else "formula",
        "order_up_to": plain(row["up_to"]),
        **{name: plain(row[name]) for name in (*STOCK, "expired", "position")},
        "min_quantity": plain(row["min_quantity"]),
        "multiple": plain(row["multiple"]) if row["multiple"] is not None else None,
        "quantity": plain(quantity(row)),
    }


def plain(number: Any) -> str:
    """A figure as people write it: no exponent, no zeros at its end."""
    return f"{Decimal(repr(number) if isinstance(number, float) else str(number)).normalize():f}"


_OPEN = """
    insert into replenishment_needs (item, location, from_location, on_day, quantity, figures)
    select item, location, from_location, :day, quantity, figures
    from jsonb_to_recordset(:rows)
        as v(item text, location text, from_location text, quantity numeric, figures jsonb)
    order by item, location
    on conflict (item, location) where closed_at is null do nothing
    returning id"""


def _open(connection: Connection, rows: Sequence[Row], day: Any, window_days: int) -> int:
    """Write the needs and open a case for each; what another one opened meanwhile is left."""
    if not rows:
        return 0
    needs = [
        {
            "item": row["item"],
            "location": row["location"],
            "from_location": row["from_location"],
            "quantity": str(quantity(row)),
            "figures": told(row, window_days),
        }
        for row in rows
    ]
    ids = list(connection.execute(text(_OPEN), {"day": day, "rows": Jsonb(needs)}).scalars())
    hand_over(connection, SOURCE, [Handoff(str(need), {"need": need}) for need in ids])
    connection.execute(
        text("""
            update replenishment_needs n set case_id = c.id
            from cases c where c.workflow = 'replenishment' and c.key = :source || '/id:' || n.id
              and n.id = any(:ids)"""),
        {"source": SOURCE, "ids": ids},
    )
    return len(ids)


def explained(
    connection: Connection, until: datetime, item: str, location: str
) -> tuple[dict[str, Any], str, Row] | None:
    """Return a place's figures, the verdict on it and its row, as a plan would find them now; changes nothing.

    :returns: None where no rule is active for the place.
    """
    window = Window(until)
    frame: pd.DataFrame = figures(connection, window, item=item, location=location)
    if frame.empty:
        return None
    row = frame.to_dict("records")[0]
    return told(row, window.days), verdict(row), row


def verdict(row: Row) -> str:
    """Say why a need is or is not opened for a place."""
    wanted = quantity(row)
    if not row["short"]:
        return f"no need: the position {plain(row['position'])} is above the reorder point {plain(row['point'])}"
    if wanted <= 0:
        return f"no need: the position {plain(row['position'])} is at the level that an order would fill up to"
    if row["open_need"] is not None:
        return f"no second need: need {row['open_need']} of {row['open_since']} is open as case {row['open_case']}"
    if row["refused_until"] is not None:
        return f"no need until {row['refused_until']:%Y-%m-%d %H:%M %Z}: it was refused, and is asked again then"
    return f"a need of {plain(wanted)} {row['base_unit']}"
