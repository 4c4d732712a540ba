"""A Slack workspace beside the database, and short ways to bring alerts there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from slack_sdk import WebClient, WebhookClient
from sqlalchemy import Engine

from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.slack import SlackApi, SlackWebhook, quiet_logger
from include.integrations.systems import Mode
from include.monitoring.alerts.raising import Alerts
from tests.standins.airflow import Airflow, airflow_standin
from tests.standins.slack import TOKEN, Slack, slack_standin
from tests.support.work import change
from waybill.alert_delivery import look_and_publish, tell_by_chat, tell_by_mail, tell_outside

ADDRESS = "https://waybill.example.com"


@pytest.fixture(autouse=True)
def alerts_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "live")


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_standin() as standin:
        yield standin


@pytest.fixture
def api(slack: Slack) -> SlackApi:
    return SlackApi(WebClient(token=TOKEN, base_url=slack.api, timeout=2, retry_handlers=[], logger=quiet_logger()))


@pytest.fixture
def webhook(slack: Slack) -> SlackWebhook:
    return SlackWebhook(WebhookClient(slack.webhook, timeout=2, retry_handlers=[], logger=quiet_logger()))


@pytest.fixture
def alerts(engine: Engine) -> Alerts:
    return Alerts(engine, mode=Mode.LIVE, address=ADDRESS)


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    with airflow_standin() as standin:
        yield standin


@pytest.fixture
def minute(engine: Engine, alerts: Alerts, api: SlackApi, airflow: Airflow) -> Callable[..., None]:
    """One run of `waybill_alerts`, with all waiting times gone by."""

    def run(chat: SlackApi | SlackWebhook | None = None) -> None:
        change(engine, "update alerts set updated_at = updated_at - interval '1 minute'")
        change(engine, "update effects set available_at = now() where step = 'alerts' and state <> 'sent'")
        look_and_publish(alerts, airflow.account)
        tell_by_chat(engine, chat or api)
        tell_by_mail(engine, LocalMailbox(engine))
        tell_outside(engine)

    return run
