"""The monitor outside hears that Waybill lives, and hears nothing when its alerts would not arrive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching import outside
from tests.integration.monitoring.test_alerts import failure
from tests.standins.serving import served
from tests.support.work import change, rows
from waybill.alert_delivery import tell_outside


class Monitor:
    """What the monitor heard, and what it answers."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.answers: list[int] = []

    async def ping(self, request: Request) -> PlainTextResponse:
        self.heard.append(str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""))
        return PlainTextResponse("OK", self.answers.pop(0) if self.answers else 200)


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Monitor]:
    monitor = Monitor()
    with served(Starlette(routes=[Route("/{secret:path}", monitor.ping)])) as url:
        monkeypatch.setenv(outside.VARIABLE, f"{url}/secret-of-the-check?status=up")
        yield monitor


def test_it_hears_once_that_waybill_lives_and_the_sign_is_kept(
    engine: Engine, monitor: Monitor, minute: Callable[..., None]
) -> None:
    minute()
    assert monitor.heard == ["/secret-of-the-check?status=up"]
    assert len(rows(engine, "select * from life_signs where part = 'outside monitor'")) == 1


def test_it_hears_of_the_first_run_that_works_after_a_long_silence(engine: Engine, monitor: Monitor) -> None:
    change(engine, "insert into life_signs (part, at) values ('look', now() - interval '1 hour')")
    assert outside.tell(engine) == "not well"
    assert tell_outside(engine) == {"outside": "told"}


def test_trouble_of_the_business_does_not_silence_it(engine: Engine, alerts: Alerts, monitor: Monitor) -> None:
    alerts.raise_alert(failure())
    assert outside.tell(engine) == "told"
    assert len(monitor.heard) == 1


def test_it_hears_nothing_when_alerts_would_not_arrive(engine: Engine, alerts: Alerts, monitor: Monitor) -> None:
    alerts.raise_alert(Trouble(Kind.CONNECTION_MISSING, "waybill", "x", cause="waybill_chat"))
    assert outside.tell(engine) == "not well"
    assert monitor.heard == []


def test_a_bad_moment_of_the_monitor_is_tried_again(engine: Engine, monitor: Monitor) -> None:
    monitor.answers = [503]
    assert outside.tell(engine) == "told"
    assert len(monitor.heard) == 2


def test_a_monitor_that_refuses_fails_nothing_and_its_address_is_in_no_log(
    engine: Engine, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    monitor.answers = [404] * 9
    with caplog.at_level(logging.INFO):
        assert outside.tell(engine) == "not reached"
    assert "was not reached" in caplog.text
    assert "secret-of-the-check" not in caplog.text
    assert rows(engine, "select * from life_signs where part = 'outside monitor'") == []


def test_it_is_optional_and_nothing_leaves_where_effects_are_captured(
    engine: Engine, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "capture")
    assert outside.tell(engine) == "not sent in this environment"
    monkeypatch.delenv(outside.VARIABLE)
    assert outside.tell(engine) == "not set"
    assert monitor.heard == []


def test_an_address_that_is_none_is_an_error_that_somebody_hears_of(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(outside.VARIABLE, "hc-ping.com/uuid")
    change(engine, "delete from life_signs")
    with pytest.raises(ValueError, match="not an http"):
        outside.tell(engine)
