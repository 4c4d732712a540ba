"""The pages that an alert's links lead to: for people who are logged in, without personal data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from include.cases.model import Reason
from include.monitoring.alerts import Alerts
from include.monitoring.look import look
from include.monitoring.messages import Kind
from tests.integration.monitoring.test_alerts import set_aside

pytestmark = pytest.mark.airflow


@pytest.fixture
def pages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    from waybill import alert_pages

    monkeypatch.setattr(alert_pages, "engine", lambda: engine)
    yield TestClient(alert_pages.app)
    alert_pages.app.dependency_overrides.clear()


def log_in(pages: TestClient) -> None:
    from airflow.api_fastapi.core_api.security import get_user

    pages.app.dependency_overrides[get_user] = object  # type: ignore[attr-defined]


def test_the_cases_of_an_alert_are_listed_with_codes_and_without_messages(
    engine: Engine, alerts: Alerts, pages: TestClient
) -> None:
    ids = set_aside(engine, 2, Reason("email.invalid", "jane@example.com cannot exist"))
    look(alerts)
    log_in(pages)
    page = pages.get("/alerts/1")
    assert page.status_code == 200
    assert all(f"<td>{case_id}</td>" in page.text for case_id in ids)
    assert "email.invalid" in page.text
    assert "jane" not in page.text
    assert pages.get("/alerts/99").status_code == 404


@pytest.mark.parametrize("kind", list(Kind))
def test_every_runbook_can_be_read(pages: TestClient, kind: Kind) -> None:
    log_in(pages)
    assert "What it means" in pages.get(f"/runbooks/{kind}").text


def test_nothing_is_shown_to_who_is_not_logged_in_and_no_other_file(pages: TestClient) -> None:
    for path in ("/alerts/1", "/runbooks/task_failed"):
        assert pages.get(path).status_code in (401, 403)
    log_in(pages)
    assert pages.get("/runbooks/..%2Falerts").status_code in (404, 422)
