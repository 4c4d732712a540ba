"""The page of health: which promises are kept, what stops the work, how runs go, and what passes the checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from include.data.database import engine
from include.monitoring.plots import seconds, share
from include.monitoring.service_levels.facts import Week, met_over_time, over_all
from include.monitoring.views import health
from include.monitoring.views.board import zone
from waybill.pages import airflow_api
from waybill.pages.rendering import page, workflow_title
from waybill.pages.visitor import Looking

router = APIRouter()


@router.get("/health")
def show(request: Request, visitor: Looking) -> HTMLResponse:
    """Show it."""
    since = datetime.now(zone()).replace(hour=0, minute=0, second=0, microsecond=0) - health.WEEKS
    with engine().connect() as connection:
        troubles = health.troubles(connection, since)
        set_aside = health.set_aside(connection, since)
        quality = health.quality(connection, since)
        weeks = met_over_time(connection, since.date())
        runs, times = health.run_figures(connection, since), health.run_times(connection, since)
    airflow = airflow_api.ask(request)
    return page(
        "health.html", visitor, tab="health", since=since, troubles=troubles, set_aside=set_aside, airflow=airflow,
        runs=runs, times=_times(times), quality=_plots(quality), most=health.MOST,
        kept=_kept(weeks), missed=[each for each in over_all(weeks) if each.missed],
    )  # fmt: skip


def _kept(weeks: Sequence[Week]) -> list[Markup]:
    """A plot for each workflow of which cases ended, or became late: how its own service level was kept."""
    plots = []
    for workflow, its in groupby((week for week in weeks if week.step is None), key=lambda week: week.workflow):
        some = list(its)
        days, shares = tuple(week.week.isoformat() for week in some), tuple(week.share for week in some)
        plots.append(share(days, shares, workflow_title(workflow)))
    return plots


def _times(times: Sequence[health.RunTimes]) -> list[Markup]:
    """A plot of how long runs were queued, and one of how long they took."""
    plots = []
    for label, values in (
        ("Queued, median seconds", {each.since: each.queued for each in times}),
        ("Took, median seconds", {each.since: each.took for each in times}),
    ):
        some = {at.isoformat(): value for at, value in values.items() if value is not None}
        if some:
            plots.append(seconds(tuple(some), tuple(some.values()), label))
    return plots


def _plots(quality: Mapping[str, Sequence[health.Quality]]) -> list[Markup]:
    """A plot for each workflow to which cases came."""
    return [
        share(tuple(day.day.isoformat() for day in days), tuple(day.passed for day in days), workflow_title(workflow))
        for workflow, days in quality.items()
    ]
