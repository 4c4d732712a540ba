"""Serves the Data Docs inside Airflow's API server, to accounts that may look.

It only reads the folder; `include.data.validation.documents` writes it.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse

from include.data.validation.documents import PAGE_NAME, PAGES, folder
from waybill.pages.visitor import Account

URL_PREFIX = "/data-docs"
NOT_YET = "<!doctype html><title>Data Docs</title><p>No batch has been validated yet.</p>"
HEADERS = {
    # The pages are generated from counts and codes; should a value ever slip in, it still cannot run or call home.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self';"
    " sandbox allow-same-origin allow-popups",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}

app = FastAPI(title="Waybill Data Docs", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/", response_class=HTMLResponse)
@app.get("/index.html", response_class=HTMLResponse)
def index(_account: Account) -> HTMLResponse:
    """Return the list of validations."""
    return _page(folder() / "index.html", otherwise=NOT_YET)


@app.get(f"/{PAGES}/{{name}}", response_class=HTMLResponse)
def validation(name: str, _account: Account) -> HTMLResponse:
    """Return one page; only names that `publish` gives are looked up, so no other file can be asked for."""
    if not PAGE_NAME.fullmatch(name):
        raise HTTPException(404, "no such page")
    return _page(folder() / PAGES / name)


def _page(path: Path, otherwise: str | None = None) -> HTMLResponse:
    try:
        content = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if otherwise is None:
            raise HTTPException(404, "this validation is too old to be kept") from None
        content = otherwise
    return HTMLResponse(content, headers=HEADERS)


FASTAPI_APP = {"app": app, "url_prefix": URL_PREFIX, "name": "Waybill Data Docs"}
"""For `AirflowPlugin.fastapi_apps`."""

EXTERNAL_VIEW = {
    "name": "Data Docs",
    "href": f"{URL_PREFIX}/",
    "destination": "nav",
    "url_route": "data-docs",
    "category": "browse",
}
"""For `AirflowPlugin.external_views`: shown in a frame inside Airflow's own pages."""
