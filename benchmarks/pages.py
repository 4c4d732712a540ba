"""How long the ops pages take, with 1,000,000 cases and 10,000,000 events: run it with `python -m benchmarks pages`.

The app is called as a browser calls it, in the process, as somebody who acts; only the login is left out, for it is
Airflow's. What is in the database, `company` says.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from benchmarks import company

LOOKS = 15
AIM = 0.3
"""Seconds, the median."""


@dataclass(frozen=True)
class Page:
    """How long a page took, in seconds; `first` is with nothing of it in the process's memory."""

    name: str
    first: float
    median: float
    p95: float
    kilobytes: float


@dataclass(frozen=True)
class Request:
    """What is asked for, by GET, or as a form."""

    path: str
    form: Mapping[str, str] | None = None


def run(engine: Engine) -> list[Page]:
    """Look at every page `LOOKS` times."""
    return [look(name, request) for name, request in requests(engine).items()]


def requests(engine: Engine) -> dict[str, Request]:
    """Return the pages by their names: every tab, its lists, and one of each thing that it leads to."""

    def one(query: str) -> Any:
        with engine.connect() as connection:
            return connection.execute(text(query)).scalar_one()

    closed = one("select max(id) from cases where workflow = 'lead_to_client' and state = 'finished'")
    aside = one("select max(id) from cases where state = 'quarantined' and workflow = 'lead_to_client'")
    purchase = one("select max(id) from cases where workflow = 'purchase_approval' and state = 'finished'")
    waits = one("select max(id) from approval_rounds where state = 'open'")
    dead = one("select max(id) from effects where state = 'dead'")
    moved = one("select max(case_id) from stock_requests")
    alert = one("select max(alert_id) from alert_subjects")
    listed = {
        "board": "/board",
        "cases": "/cases",
        "cases, quarantined leads": "/cases?workflow=lead_to_client&state=quarantined",
        "cases, late": "/cases?state=late",
        "cases, late soon": "/cases?state=late_soon",
        "cases at a step": "/cases?step=approve",
        "cases of an owner": f"/cases?owner={company.PERSON}",
        "a case": f"/cases/{closed}",
        "a purchase": f"/cases/{purchase}",
        "person": f"/person?case={closed}",
        "quarantine": "/quarantine",
        "quarantine, a reason": "/quarantine/lead_to_client/email.invalid",
        "quarantine, a case": f"/quarantine/case/{aside}",
        "possible duplicates": "/quarantine/duplicates",
        "effects": "/effects",
        "effects, a list": "/effects?state=dead&system=crm",
        "effects, one": f"/effects/{dead}",
        "approvals, mine": "/approvals",
        "approvals, all": "/approvals?show=all",
        "approvals, late": "/approvals?show=late",
        "an approval": f"/approvals/{waits}",
        "deputies": "/approvals/deputies",
        "alerts": "/alerts",
        "an alert": f"/alerts/{alert}",
        "alive": "/alive",
        "reports": "/reports",
        **{f"report {name}": f"/reports/{number}" for name, number in _editions(engine).items()},
        "map": "/map",
        "map, a person": f"/map/person:{company.PERSON}",
        "health": "/health",
    }
    searched = {
        "e-mail": f"person{closed % 1000}@example.com",
        "company": "Company 47",
        "supplier": "Supplier 4",
        "number": f"PR-{purchase}",
        "order": f"PO-{purchase}",
        "reference": f"R-{moved}",
        "telephone": f"030 {1000000 + closed}",
        "requester": "anna.schmidt",
        "id": str(closed),
    }
    return {name: Request(path) for name, path in listed.items()} | {
        f"search by {key}": Request("/cases", {"q": words}) for key, words in searched.items()
    }


def _editions(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        found = connection.execute(text("select report, max(id) as newest from report_editions group by 1 order by 1"))
        return {row.report: row.newest for row in found}


def look(name: str, request: Request) -> Page:
    """Ask for a page again and again."""
    client = _client()
    took, size = [], 0
    for _ in range(LOOKS):
        begun = time.perf_counter()
        if request.form is None:
            answer = client.get(request.path, follow_redirects=False)
        else:
            led_to = client.post(request.path, data=dict(request.form), follow_redirects=False).headers["location"]
            answer = client.get(led_to, follow_redirects=False)
        took.append(time.perf_counter() - begun)
        assert answer.status_code in {200, 303}, f"{name}: {answer.status_code} {answer.text[:500]}"
        size = len(answer.content)
    return Page(name, took[0], statistics.median(took), sorted(took)[int(LOOKS * 0.95)], size / 1024)


@cache
def _client() -> TestClient:
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user

    from waybill.pages.app import app

    async def somebody() -> Any:
        return SimpleAuthManagerUser(username=company.PERSON, role="op")

    init_auth_manager()
    app.dependency_overrides[get_user] = somebody
    return TestClient(app, root_path="/waybill")


def table(pages: list[Page]) -> str:
    """Return what was measured as a table, with what misses the aim below."""
    lines = ["| page | first ms | median ms | p95 ms | KB | aim 300 ms |", "|---|---:|---:|---:|---:|---|"]
    for page in pages:
        verdict = "met" if page.median <= AIM else "**missed**"
        lines.append(
            f"| {page.name} | {page.first * 1000:,.0f} | {page.median * 1000:,.0f} | {page.p95 * 1000:,.0f} |"
            f" {page.kilobytes:,.0f} | {verdict} |"
        )
    missed = [page.name for page in pages if page.median > AIM]
    return "\n".join([*lines, "", f"Missed: {', '.join(missed) or 'none'}."])
