"""The pages that an alert's links lead to, for people who are logged in to Airflow: its cases, and its runbook.

Read-only, and without personal data.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from sqlalchemy import text

from include.data.database import engine
from include.monitoring.messages import Kind
from include.monitoring.touched import MOST_LISTED, cases_of

RUNBOOKS = Path(__file__).resolve().parents[2] / "docs" / "runbooks"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "td,th{padding:.2rem .8rem;text-align:left}"
)

app = FastAPI(title="Waybill alerts", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/alerts/{alert_id}", response_class=HTMLResponse)
def cases(alert_id: int, _user: GetUserDep) -> HTMLResponse:
    """Return what an alert says now, and the cases behind it."""
    with engine().connect() as connection:
        alert = connection.execute(
            text("select kind, workflow, step, cause, state, count from alerts where id = :id"), {"id": alert_id}
        ).one_or_none()
        if alert is None:
            raise HTTPException(404, "there is no such alert")
        found = cases_of(connection, alert_id)
    rows = "".join(
        f"<tr><td>{case.id}</td><td>{escape(case.workflow)}</td><td>{escape(case.state)}</td>"
        f"<td>{escape(case.stage)}</td><td>{escape(', '.join(case.codes))}</td></tr>"
        for case in found
    )
    most = f"<p>The first {MOST_LISTED} are shown.</p>" if len(found) == MOST_LISTED else ""
    title = f"{alert.kind.replace('_', ' ')}: {alert.workflow} {alert.step or ''} {alert.cause}"
    return _page(
        title,
        f"<p>{escape(alert.state)}, {alert.count} times. <a href='../runbooks/{escape(alert.kind)}'>Runbook</a></p>"
        f"<table><tr><th>Case</th><th>Workflow</th><th>State</th><th>Step</th><th>Reasons</th></tr>{rows}</table>{most}",
    )


@app.get("/runbooks/{kind}", response_class=HTMLResponse)
def runbook(kind: Kind, _user: GetUserDep) -> HTMLResponse:
    """Return the page for a kind of alert; only known kinds are looked up."""
    content = (RUNBOOKS / f"{kind}.md").read_text(encoding="utf-8")
    return _page(kind.replace("_", " "), f"<pre style='white-space:pre-wrap;font:inherit'>{escape(content)}</pre>")


def _page(title: str, body: str) -> HTMLResponse:
    head = f"<!doctype html><meta charset='utf-8'><title>{escape(title)}</title><style>{STYLE}</style>"
    return HTMLResponse(f"{head}<h1>{escape(title)}</h1>{body}", headers=HEADERS)


FASTAPI_APP: dict[str, Any] = {"app": app, "url_prefix": "/waybill", "name": "Waybill alerts"}
"""For `AirflowPlugin.fastapi_apps`."""
