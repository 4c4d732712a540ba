"""The app that Airflow's API server mounts, and the entries of its navigation."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles

from waybill.pages import (
    alerts,
    approvals,
    board,
    cases,
    duplicates,
    effects,
    health,
    privacy,
    quarantine,
    refusals,
    reports,
    workflow_map,
)
from waybill.pages.rendering import FOLDER, PREFIX, TABS

app = FastAPI(title="Waybill", docs_url=None, redoc_url=None, openapi_url=None)
for _part in (board, cases, approvals, alerts, health, duplicates, quarantine, effects, privacy, reports, workflow_map):
    app.include_router(_part.router)
refusals.add_to(app)
app.mount("/static", StaticFiles(directory=FOLDER / "static"))


@app.get("/")
def first() -> RedirectResponse:
    """Lead to the board."""
    return RedirectResponse(f"{PREFIX}/board")


FASTAPI_APP: dict[str, Any] = {"app": app, "url_prefix": PREFIX, "name": "Waybill"}
"""For `AirflowPlugin.fastapi_apps`."""

EXTERNAL_VIEWS: list[dict[str, Any]] = [
    {
        "name": "Waybill" if path == "board" else name,
        "href": f"{PREFIX}/{path}",
        "destination": "nav",
        "url_route": f"waybill-{path}",
        **({"nav_top_level": True} if path == "board" else {"category": "browse"}),
    }
    for path, name in TABS.items()
]
"""For `AirflowPlugin.external_views`: each is shown in a frame inside Airflow's own pages."""
