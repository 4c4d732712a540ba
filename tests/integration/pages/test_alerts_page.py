"""The page of alerts: what is open, who has it, until when it is quiet; and what only some may do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import Engine

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.views import alert_list
from tests.integration.monitoring.test_alerts import failure
from tests.support.work import change, rows

pytestmark = pytest.mark.airflow

AN_HOUR = {"how": "snoozed", "hours": "1", "reason": "it is night"}
MAINTENANCE = {"subject": "workflow:lead_to_client", "hours": "2", "reason": "upgrade"}


def raised(engine: Engine, number: int = 1) -> int:
    return Alerts(engine).raise_alert(failure(number, cause=f"cause {number}")).alert_id


def test_what_is_open_quiet_and_over_is_shown_apart(engine: Engine, log_in: Any) -> None:
    first, second, third = (raised(engine, number) for number in (1, 2, 3))
    Alerts(engine).recover(resolution="it was mended", kinds=(Kind.TASK_FAILED,), ids=[third])
    op = log_in("op")
    assert op.submit("/alerts", "/alerts", ids=[second], **AN_HOUR).status_code == 303
    seen = log_in("viewer").text("/alerts")
    opened, rest = seen.split('id="quiet-2"', 1)
    assert "Open: 1" in opened
    assert f"/alerts/{first}" in opened
    quiet, over = rest.split('id="over"', 1)
    assert "Snoozed: 1" in quiet
    assert "it is night" in quiet
    assert "olga" in quiet
    assert "it was mended" in over
    assert "<form" not in seen
    assert "it is night" in log_in("viewer").text(f"/alerts/{second}")


def test_all_that_is_open_is_counted_also_where_not_all_is_listed(
    engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, *loud = (raised(engine, number) for number in range(1, 6))
    assert log_in("op").submit("/alerts", "/alerts", ids=[quiet], **AN_HOUR).status_code == 303
    monkeypatch.setattr(alert_list, "MOST_OPEN", len(loud) - 1)
    seen = log_in("viewer").text("/alerts")
    assert "Open: 4" in seen
    assert "The latest 3 of them are shown." in seen
    assert f"/alerts/{quiet}" not in seen, "what is quiet stands behind what is not"
    assert "Snoozed: 1" in seen
    monkeypatch.setattr(alert_list, "MOST_OPEN", len(loud) + 1)
    assert "of them are shown" not in log_in("viewer").text("/alerts")


@pytest.mark.parametrize(
    ("left_out", "why"), [("hours", "nothing is quiet without an end"), ("reason", "give a reason"), ("ids", "choose")]
)
def test_a_snooze_without_an_end_a_reason_or_an_alert_is_refused_in_words(
    engine: Engine, log_in: Any, left_out: str, why: str
) -> None:
    fields = {"ids": [raised(engine)], **AN_HOUR}
    del fields[left_out]
    op = log_in("op")
    answer = op.submit("/alerts", "/alerts", **fields)
    assert answer.status_code == 422
    assert re.search(rf'<p class="said bad" role="alert">Nothing was changed: [^<]*{why}', answer.text)
    assert rows(engine, "select quiet from alerts") == [{"quiet": None}]


def test_a_refused_form_keeps_what_was_ticked_and_written(engine: Engine, log_in: Any) -> None:
    first, second = raised(engine, 1), raised(engine, 2)
    op = log_in("op")
    lists = op.submit("/alerts", "/alerts", ids=[second], **{**AN_HOUR, "reason": " "}).text
    assert re.findall(r'name="ids" value="(\d+)"[^>]*checked', lists) == [str(second)]
    assert '<option value="1" selected>1 hour' in lists
    unticked = op.submit("/alerts", "/alerts", **AN_HOUR).text
    assert 'value="it is night"' in unticked
    of_one = op.submit(f"/alerts/{first}", "/alerts", ids=[first], shown=first, how="snoozed", reason="it is night")
    assert "nothing is quiet without an end" in of_one.text
    assert 'value="it is night"' in of_one.text
    assert f'name="shown" value="{first}"' in of_one.text, "it is the alert's own page"


@pytest.mark.parametrize("hours", ["0", "-1", "100000", "for ever"])
def test_an_end_that_is_none_is_refused(engine: Engine, log_in: Any, hours: str) -> None:
    fields = {"ids": [raised(engine)], **AN_HOUR, "hours": hours}
    assert log_in("op").submit("/alerts", "/alerts", **fields).status_code == 422
    assert rows(engine, "select quiet from alerts") == [{"quiet": None}]


def test_every_action_needs_the_role_and_the_token(engine: Engine, log_in: Any) -> None:
    alert_id = raised(engine)
    op, viewer = log_in("op"), log_in("viewer")
    op.submit("/alerts", "/alerts/windows", **MAINTENANCE)
    change(engine, "update alerts set quiet = 'snoozed', quiet_until = now() + interval '1 hour'")
    before = rows(engine, "select * from alert_actions")
    for path, fields in (
        ("/alerts", {"ids": [alert_id], **AN_HOUR}),
        (f"/alerts/{alert_id}/speak", {}),
        ("/alerts/windows", MAINTENANCE),
        ("/alerts/windows/1/end", {}),
    ):
        assert viewer.submit("/alerts", path, **fields).status_code == 403
        assert op.post(path, **fields).status_code == 403
        assert log_in(None).post(path, **fields).status_code == 401
    assert rows(engine, "select * from alert_actions") == before


def test_maintenance_is_announced_once_shown_and_ended(engine: Engine, log_in: Any) -> None:
    op = log_in("op")
    for _ in range(2):
        op.submit("/alerts", "/alerts/windows", **MAINTENANCE)
    assert len(rows(engine, "select * from maintenance_windows")) == 1
    seen = op.text("/alerts")
    assert "upgrade" in seen
    assert "(on)" in seen
    assert raised(engine)
    assert "In maintenance: 1" in op.text("/alerts")
    for _ in range(2):
        assert op.submit("/alerts", "/alerts/windows/1/end").status_code == 303
    assert "None is on or to come" in op.text("/alerts")
    assert [row["actor"] for row in rows(engine, "select actor from alert_actions")] == ["user:olga"] * 2


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("subject", "workflow:alerts", "choose a workflow"),
        ("subject", "workflow:no_such", "choose a workflow"),
        ("hours", "", "without an end"),
        ("starts", "tomorrow", "date and time"),
        ("starts", "9999-12-31T23:00", "days away"),
        ("reason", "", "give a reason"),
    ],
)
def test_maintenance_that_makes_no_sense_is_refused_in_words(
    engine: Engine, log_in: Any, field: str, value: str, why: str
) -> None:
    op = log_in("op")
    fields = {**MAINTENANCE, field: value}
    answer = op.submit("/alerts", "/alerts/windows", **{name: given for name, given in fields.items() if given})
    said = op.text(answer.headers["location"].removeprefix("/waybill"))
    assert re.search(rf'<p class="said bad" role="alert">Nothing was changed: [^<]*{why}', said)
    assert rows(engine, "select * from maintenance_windows") == []


def test_an_alert_can_be_told_again_before_its_time(engine: Engine, log_in: Any) -> None:
    alert_id, op = raised(engine), log_in("op")
    op.submit("/alerts", "/alerts", ids=[alert_id], **AN_HOUR)
    for _ in range(2):
        op.submit("/alerts", f"/alerts/{alert_id}/speak")
    assert Alerts(engine).speak_again() == 1
    assert [row["action"] for row in rows(engine, "select action from alert_actions order by id")] == [
        "snoozed", "spoke again"
    ]  # fmt: skip


def test_the_page_says_when_alerts_may_not_arrive(engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYBILL_DEADMAN_URL", raising=False)
    seen = log_in("viewer").text("/alerts")
    assert "Alerts arrive." in seen
    assert "not set (WAYBILL_DEADMAN_URL)" in seen
    Alerts(engine).raise_alert(Trouble(Kind.CANARY_MISSING, "alerts", "x"))
    assert "Alerts may not arrive." in log_in("viewer").text("/alerts")


def test_what_is_over_is_paged_by_key(engine: Engine, log_in: Any) -> None:
    for number in range(60):
        raised(engine, number)
    Alerts(engine).recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    first = log_in("viewer").text("/alerts")
    assert first.count("mended") == 50
    assert log_in("viewer").text("/alerts", before=11).count("mended") == 10


def test_a_stranger_sees_nothing(log_in: Any) -> None:
    assert log_in(None).get("/alerts").status_code == 401


def test_a_production_without_a_monitor_outside_says_so(log_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No monitor outside" not in log_in("viewer").text("/alerts")
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "production")
    assert "No monitor outside hears from this production" in log_in("viewer").text("/alerts")
    monkeypatch.setenv("WAYBILL_DEADMAN_URL", "https://monitor.example.com/1")
    assert "No monitor outside" not in log_in("viewer").text("/alerts")
