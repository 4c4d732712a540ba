"""How figures are drawn: as charts, for the pages and for paper, and as a line of blocks where there is only text."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import altair as alt
import pandas as pd
import vl_convert

from include.reporting.model import Figure, Kind, Report, Tables, numbers

MOST_BARS = 15
BLOCKS = "▁▂▃▄▅▆▇█"
MOST_BLOCKS = 31


def chart(figure: Figure, rows: Sequence[Sequence[Any]]) -> alt.Chart | None:
    """Return the chart of a figure; None where it has none, or nothing to show."""
    plot = figure.plot
    if plot is None or not rows or (figure.column(plot.by).kind is Kind.DAY and len(rows) == 1):
        return None
    names = [column.name for column in figure.columns]
    titles = {name: figure.column(name).title for name in plot.values}
    frame = pd.DataFrame(
        [
            {"by": row[names.index(plot.by)] or "–", "what": titles[name], "value": float(row[names.index(name)] or 0)}
            for row in rows
            for name in plot.values
        ]
    )
    together = "max" if figure.column(plot.values[0]).kind is Kind.SECONDS else "sum"
    frame = frame.groupby(["by", "what"], sort=False)["value"].agg(together).reset_index()
    order = list(dict.fromkeys(frame["by"]))[:MOST_BARS]
    unit = ", seconds" if figure.column(plot.values[0]).kind is Kind.SECONDS else ""
    axis = alt.Axis(title=None if len(titles) > 1 else f"{next(iter(titles.values()))}{unit}")
    scale, names_of = alt.Scale(scheme="tableau10"), list(titles.values())
    legend = alt.Legend() if len(titles) > 1 else None
    colour = alt.Color("what:N", title=None, scale=scale, sort=names_of, legend=legend)
    drawn: alt.Chart
    if figure.column(plot.by).kind is Kind.DAY:
        drawn = alt.Chart(frame, width=420, height=160).mark_line(point=True)
        return drawn.encode(x=alt.X("by:O", title=None), y=alt.Y("value:Q", axis=axis), color=colour)
    drawn = alt.Chart(frame[frame["by"].isin(order)], width=420).mark_bar()
    return drawn.encode(
        y=alt.Y("by:N", title=None, sort=order),
        x=alt.X("value:Q", axis=axis),
        yOffset=alt.YOffset("what:N", sort=names_of),
        color=colour,
    )


def png(drawn: alt.Chart) -> bytes:
    """Return a chart as a picture, for paper and for the chat; the same chart gives the same bytes."""
    picture: bytes = vl_convert.vegalite_to_png(drawn.configure_view(stroke=None).to_dict(), scale=2)
    return picture


def first(report: Report, tables: Tables) -> tuple[str, bytes] | None:
    """Return the first chart of a report that has something to show: its title, and the picture; None without one."""
    for figure in report.figures:
        drawn = chart(figure, tables[figure.name])
        if drawn is not None:
            return figure.title, png(drawn.properties(title=figure.title, background="white", padding=12))
    return None


def blocks(figure: Figure, rows: Sequence[Sequence[Any]]) -> str:
    """Return a figure by day as a line of blocks, one a day: ▁▃█; empty where there is no more than one day."""
    if figure.plot is None or figure.column(figure.plot.by).kind is not Kind.DAY or len(rows) < 2:
        return ""
    values = numbers(figure, rows, figure.plot.values[0])[-MOST_BLOCKS:]
    least, most = min([Decimal(0), *values]), max(values)
    span = most - least
    return "".join(BLOCKS[int((value - least) * (len(BLOCKS) - 1) / span) if span else 0] for value in values)
