"""The board: every workflow's open cases by step, its books, and who may look at them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases.model import Reason
from include.monitoring.service_levels.facts import keep_up
from include.stock.warehouse import FILE, VARIABLE
from tests.integration.monitoring.test_alerts import set_aside
from tests.support.histories import cases_with
from tests.support.pages import GLANCE, column_of
from tests.support.work import change, receive

pytestmark = pytest.mark.airflow


def test_every_workflow_is_shown_with_what_is_open_by_step(engine: Engine, log_in: Any) -> None:
    set_aside(engine, 2, Reason("email.invalid", "jane@example.com cannot exist"))
    receive(engine, 3, workflow="purchase_approval")
    seen = log_in("viewer").text("/board")
    assert "Every piece of work is accounted for" in seen
    assert "received 2 = finished 0 + rejected 0 + waiting 0 + set aside 2 + in progress 0" in seen
    assert "received 3 = finished 0 + rejected 0 + waiting 0 + set aside 0 + in progress 3" in seen
    assert "jane" not in seen
    assert 'aria-label="In the last 24 hours 3 came in and 0 ended"' in seen


def test_a_case_that_is_lost_is_told_in_red(engine: Engine, log_in: Any) -> None:
    receive(engine, 1)
    change(engine, "set session_replication_role = replica; delete from events; delete from cases")
    seen = log_in("viewer").text("/board")
    assert "Work is missing" in seen
    assert "1 missing" in seen


def test_the_environment_cannot_be_taken_for_another(
    engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "staging")
    assert "STAGING · nothing is sent (capture)" in log_in("viewer").text("/board")
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "production")
    assert "PRODUCTION · effects are sent" in log_in("viewer").text("/board")


def test_what_is_late_and_what_soon_will_be_is_counted_and_leads_to_its_cases(engine: Engine, log_in: Any) -> None:
    now = datetime.now(UTC)
    ids = []
    for minutes in (40, 30, 20, 13):
        start = now - timedelta(minutes=minutes)
        just = now - timedelta(seconds=5)
        ids += cases_with(
            engine, [(start, "received", "capture", "pending"), (just, "claimed", "normalise", "running")]
        )
    keep_up(engine)
    ended, *late, soon = ids
    change(engine, f"update cases set state = 'finished', outcome = 'done', closed_at = now() where id = {ended}")
    vera = log_in("viewer")
    seen = vera.text("/board")
    counted = [column_of(seen, GLANCE, heading) for heading in ("Set aside", "Late", "Late soon")]
    assert counted == [["0"], ["2"], ["1"]]
    assert seen.count('class="number bad"') == 1, "only what is late is red"
    listed = {
        state: [int(case) for case in re.findall(r'href="/waybill/cases/(\d+)"', vera.text(f"/cases?{unescape(link)}"))]
        for link, state in re.findall(r'href="/waybill/cases\?(state=(\w+)&amp;workflow=lead_to_client)"', seen)
    }
    assert listed == {"late": late[::-1], "late_soon": [soon], "in_progress": [soon, *late[::-1]]}
    assert "late since" in vera.text("/cases?state=late&step=normalise")
    assert "No case stands there" in vera.text("/cases?state=late&step=capture")


def test_today_begins_at_the_companys_midnight(
    engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    ahead = (1 - now.hour + 9) % 24 - 9  # hours from UTC to where it is after one at night
    file = tmp_path / "warehouse.yaml"
    file.write_text(re.sub(r"(?m)^zone: .*", f"zone: Etc/GMT{-ahead:+d}", FILE.read_text("utf-8")), "utf-8")
    for hours in (0, 3):
        cases_with(engine, [(now - timedelta(hours=hours), "received", "capture", "pending")])
    came = []
    for path in (file, tmp_path / "gone.yaml"):
        monkeypatch.setenv(VARIABLE, str(path))
        came.append(column_of(log_in("viewer").text("/board"), GLANCE, "In today"))
    assert came[0] == ["1"]
    assert came[1] in (["1"], ["2"]), "by UTC, when the company's file cannot be read"


def test_a_stranger_sees_nothing(log_in: Any) -> None:
    assert log_in(None).get("/board").status_code == 401


def test_nothing_on_a_page_comes_from_elsewhere_or_runs_in_it(log_in: Any) -> None:
    answer = log_in("viewer").get("/board")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script>" not in answer.text
