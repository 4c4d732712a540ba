"""Every page, and every page that one leads to, in a real browser: legible, on a phone, and closed to lookers.

There is one of everything: a lead with its person, one that was late, effects in trouble, a purchase that is decided
on, a case set aside that was corrected before, a pair of duplicates, an alert, a quiet one, maintenance, a report, and
a DAG file that Airflow cannot read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import Engine

from include.cases.model import Reason
from include.integrations.systems import Failed
from include.monitoring.service_levels.facts import keep_up
from tests.integration.integrations.test_by_hand import in_trouble
from tests.integration.pages.test_alerts_page import AN_HOUR, MAINTENANCE, raised
from tests.integration.pages.test_quarantine import FAULTS, aside, corrected_before, pair  # noqa: F401 - a fixture
from tests.standins.airflow import Airflow
from tests.support.approvals import answer, opened
from tests.support.histories import cases_with, lead_of
from tests.support.people import ADA, lead
from tests.support.reports import make
from tests.support.work import rows
from waybill.pages.rendering import TABS

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

LONG = "x" * 200
NO_CHANGE = {"/cases"}
"""What is posted only so that no log keeps what somebody looks for."""


@pytest.fixture
def pages(engine: Engine, airflow: Airflow, log_in: Any, pair: int) -> list[str]:  # noqa: F811
    """The addresses of all pages."""
    one = opened(engine, (["maria.keller", "tom.berger"], 2), "karl.brandt", now=datetime.now(UTC))
    answer(engine, one.id, "maria.keller", now=None, comment=LONG)
    [ada] = lead(engine, ADA)
    _, [effect, *_], _ = in_trouble(engine, Failed(f"no such pipeline {LONG}", permanent=True), cases=2)
    [case] = aside(engine, reasons=[*FAULTS, Reason("lead.fields", LONG, "message")])
    corrected_before(engine, case, LONG)
    alert = raised(engine)
    olga = log_in("op")
    quiet = raised(engine, 2)
    olga.submit("/alerts", "/alerts", ids=[quiet], **AN_HOUR)
    olga.submit("/alerts", "/alerts/windows", **MAINTENANCE)
    edition = make(engine, "leads")
    cases_with(engine, lead_of(7, 20))
    keep_up(engine)
    airflow.import_errors["dags/broken.py"] = f"SyntaxError: {LONG}\n" * 50
    return [
        *(f"/{path}" for path in TABS),
        f"/cases/{ada}",
        f"/cases/{case}",
        f"/cases/{one.case_id}",
        f"/person?case={ada}",
        f"/effects/{effect}",
        "/effects/all?state=dead",
        f"/approvals/{one.id}",
        "/approvals?show=all",
        "/approvals/deputies",
        f"/reports/{edition.id}",
        f"/alerts/{alert}",
        f"/alerts/{quiet}",
        "/runbooks/task_failed",
        "/quarantine/lead_to_client/email.invalid",
        f"/quarantine/case/{case}",
        "/quarantine/duplicates",
        f"/quarantine/duplicates/{pair}",
        "/map/system:crm",
        "/map/workflow:purchase_approval",
    ]


def test_every_page_can_be_read_and_used_by_everybody_in_light_and_dark_and_on_a_phone(
    pages: list[str], sit_down: Any
) -> None:
    olga = sit_down()
    for path in pages:
        page = olga.open(path)
        assert page.get_by_role("heading", level=1).count() == 1, path
        olga.can_use_the_page()


def test_no_page_leads_to_one_that_is_not_there(pages: list[str], log_in: Any) -> None:
    olga = log_in("op")
    links = {
        link
        for path in pages
        for link in re.findall(r'href="/waybill(/[^"#]*)[^"]*"', olga.text(path))
        if not link.startswith("/static")
    }
    assert len(links) > 50
    assert [link for link in links if olga.get(link.replace("&amp;", "&")).status_code != 200] == []


def test_whoever_may_only_look_is_offered_no_action_and_refused_every_forged_one(
    engine: Engine, pages: list[str], sit_down: Any
) -> None:
    from waybill.pages.app import app

    vera = sit_down("viewer", "vera")
    for path in pages:
        offered = vera.open(path).locator('form[method="post"]:not([role="search"])')
        assert offered.count() == 0, path
    before = rows(engine, "select count(*) as events, max(id) as last from events")
    posted = [route.path for route in app.routes if isinstance(route, APIRoute) and "POST" in route.methods]
    actions = [re.sub(r"\{[^}]+\}", "1", path) for path in posted if path not in NO_CHANGE]
    assert len(actions) >= 17, "every action of every page"
    refused = {path: vera.forges(path, token="made up", case="1", reason="a joke") for path in actions}
    assert refused == dict.fromkeys(actions, 403)
    assert rows(engine, "select count(*) as events, max(id) as last from events") == before
