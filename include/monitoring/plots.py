"""Plots as SVG, drawn when a page is written: nothing runs in the browser, and nothing comes from outside."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd
import vl_convert
from markupsafe import Markup, escape

INK = "#7f8794"
"""A grey that is read on light and on dark ground."""
CAME, WENT = "#3182ce", "#38a169"


def svg(chart: alt.Chart | alt.LayerChart, label: str) -> Markup:
    """Return a plot that can be read aloud; what it says stands in a table as well.

    :param label: its title, and what a screen reader says of it.
    """
    themed = (
        chart.properties(title=label)
        .configure(background="transparent")
        .configure_title(color=INK, anchor="start")
        .configure_axis(labelColor=INK, titleColor=INK, gridOpacity=0.2)
        .configure_legend(labelColor=INK, labelLimit=300)
        .configure_view(stroke=None)
    )
    return _drawn(themed, label)


@lru_cache(maxsize=256)
def flow(came: tuple[int, ...], went: tuple[int, ...]) -> Markup:
    """Return a small plot of what came and went, hour by hour."""
    hours = list(range(len(came)))
    frame = pd.DataFrame({"hour": hours * 2, "cases": [*came, *went], "what": ["in"] * len(came) + ["out"] * len(went)})
    chart = (
        alt.Chart(frame, width=90, height=22)
        .mark_line(interpolate="step")
        .encode(
            x=alt.X("hour:Q", axis=None),
            y=alt.Y("cases:Q", axis=None),
            color=alt.Color("what:N", legend=None, scale=alt.Scale(domain=["in", "out"], range=[CAME, WENT])),
        )
        .configure(background="transparent", padding=1)
        .configure_view(stroke=None)
    )
    return _drawn(chart, f"In the last {len(came)} hours {sum(came)} came in and {sum(went)} ended")


@lru_cache(maxsize=64)
def share(days: tuple[str, ...], shares: tuple[float, ...], label: str) -> Markup:
    """Return a plot of a share, 0 to 1, day by day."""
    chart = (
        alt.Chart(pd.DataFrame({"day": days, "share": shares}), width=300, height=90)
        .mark_line(point=True, color=CAME)
        .encode(
            x=alt.X("day:T", title=None, axis=alt.Axis(format="%d %b", tickCount=4)),
            y=alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=3)),
        )
    )
    return svg(chart, label)


@lru_cache(maxsize=64)
def seconds(moments: tuple[str, ...], values: tuple[float, ...], label: str) -> Markup:
    """Return a plot of a time, in seconds, over time."""
    chart = (
        alt.Chart(pd.DataFrame({"at": moments, "seconds": values}), width=300, height=90)
        .mark_line(point=True, color=CAME)
        .encode(
            x=alt.X("at:T", title=None, axis=alt.Axis(tickCount=4)),
            y=alt.Y("seconds:Q", title="s", scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=3)),
        )
    )
    return svg(chart, label)


def _drawn(chart: alt.Chart | alt.LayerChart, label: str) -> Markup:
    specification: dict[str, Any] = chart.to_dict()
    drawn: str = vl_convert.vegalite_to_svg(specification)
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1))  # noqa: S704 - drawn here
