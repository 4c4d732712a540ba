"""Serves the page of stock exceptions inside Airflow's API server, to accounts that may look.

It only reads what the daily report wrote.
"""

from __future__ import annotations

from datetime import date

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from include.data.database import engine
from include.monitoring.stock_exceptions import findings
from waybill.pages.visitor import Account

URL_PREFIX = findings.PAGE.rstrip("/")
NOT_YET = "<!doctype html><title>Stock exceptions</title><p>No report has been written for that day yet.</p>"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}

app = FastAPI(title="Waybill stock exceptions", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/", response_class=HTMLResponse)
def page(_account: Account, day: date | None = None) -> HTMLResponse:
    """Return the page of a day, or the last one."""
    with engine().connect() as connection:
        html = findings.page(connection, day)
    return HTMLResponse(html or NOT_YET, status_code=200 if html or day is None else 404, headers=HEADERS)


FASTAPI_APP = {"app": app, "url_prefix": URL_PREFIX, "name": "Waybill stock exceptions"}
"""For `AirflowPlugin.fastapi_apps`."""

EXTERNAL_VIEW = {
    "name": "Stock exceptions",
    "href": findings.PAGE,
    "destination": "nav",
    "url_route": "stock-exceptions",
    "category": "browse",
}
"""For `AirflowPlugin.external_views`: shown in a frame inside Airflow's own pages."""
