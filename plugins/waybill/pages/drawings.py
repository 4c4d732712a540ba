"""The plots of an edition, drawn once: an edition never changes."""

from __future__ import annotations

from functools import lru_cache

from markupsafe import Markup

from include.data.database import engine
from include.monitoring.plots import svg
from include.reporting.catalogue import REPORTS
from include.reporting.charts import chart
from include.reporting.editions import edition


@lru_cache(maxsize=64)
def drawings(edition_id: int, digest: str) -> dict[str, Markup]:  # noqa: ARG001 - other figures are drawn anew
    """Return the plots of an edition with the figures of `digest`, by figure."""
    with engine().connect() as connection:
        found = edition(connection, edition_id)
    if found is None:
        return {}
    report = REPORTS[found.report]
    charts = {figure: chart(figure, found.tables.get(figure.name, [])) for figure in report.figures}
    return {figure.name: svg(drawn, figure.title) for figure, drawn in charts.items() if drawn is not None}
