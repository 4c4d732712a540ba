"""The page of stock exceptions: plots and tables of one day, whole in one document that needs nothing from outside.

The plots are drawn to SVG when the page is written; nothing runs in the browser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from sqlalchemy import Connection

from include.approvals.people import people
from include.data.frames import read_frame
from include.monitoring.plots import svg

if TYPE_CHECKING:
    from include.monitoring.stock_exceptions.findings import Finding

TREND = timedelta(days=30)
MOST_LISTED = 200
"""Rows of one kind on the page; the table `stock_exceptions` has them all."""

_STOCK = """
    select b.location, sum(b.quantity * coalesce(v.unit_cost, i.standard_cost, 0)) as value, count(*) as places,
           count(distinct b.item) as items
    from stock_balances b join stock_items i on i.code = b.item left join stock_valuations v on v.item = b.item
    where b.real and b.quantity <> 0 group by b.location order by b.location"""
_TREND = """
    select day, kind, count(*) as found from stock_exceptions
    where day > cast(:since as date) and day <= :day group by day, kind order by day, kind"""


def render(connection: Connection, day: date, found: Sequence[Finding], titles: Mapping[str, str]) -> str:
    """Return the page of a day as HTML."""
    stock = read_frame(connection, _STOCK)
    trend = read_frame(connection, _TREND, {"day": day, "since": day - TREND})
    groups = []
    for kind, title in titles.items():
        of_kind = [each for each in found if each.kind == kind]
        if of_kind:
            groups.append({"id": kind, "title": title, "count": len(of_kind), "rows": of_kind[:MOST_LISTED]})
    return _template().render(
        day=day,
        found=len(found),
        groups=groups,
        stock=stock.to_dict("records"),
        total=sum(stock["value"]) if len(stock) else 0,
        name=lambda owner: people().name(owner).replace("_", " "),
        by_owner=_by_owner(found),
        over_time=_over_time(trend, titles),
        where=_where(stock),
    )


def _by_owner(found: Sequence[Finding]) -> Markup | None:
    if not found:
        return None
    frame = pd.DataFrame({"owner": [people().name(each.owner).replace("_", " ") for each in found]})
    counted = frame.value_counts().rename("found").reset_index()
    chart = (
        alt.Chart(counted)
        .mark_bar()
        .encode(
            x=alt.X("found:Q", title="to look at", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("owner:N", title=None, sort="-x"),
        )
    )
    return svg(chart.properties(width=320), "What each has to look at")


def _over_time(trend: pd.DataFrame, titles: Mapping[str, str]) -> Markup | None:
    if trend.empty:
        return None
    frame = trend.assign(
        day=[each.isoformat() for each in trend["day"]],
        what=[titles.get(kind, kind) for kind in trend["kind"]],
        found=[int(each) for each in trend["found"]],
    )[["day", "what", "found"]]
    chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("day:O", title=None),
            y=alt.Y("sum(found):Q", title="to look at", axis=alt.Axis(tickMinStep=1)),
            color=alt.Color("what:N", title=None),
        )
    )
    return svg(chart.properties(width=420, height=180), "Exceptions by day and kind")


def _where(stock: pd.DataFrame) -> Markup | None:
    if stock.empty:
        return None
    frame = stock.assign(value=[float(each) for each in stock["value"]])[["location", "value"]]
    chart = (
        alt.Chart(frame)
        .mark_bar()
        .encode(x=alt.X("value:Q", title="value at cost"), y=alt.Y("location:N", title=None, sort="-x"))
    )
    return svg(chart.properties(width=320), "Value of the stock by place")


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html")
