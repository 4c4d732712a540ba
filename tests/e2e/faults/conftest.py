"""One running Waybill that these tests may break, with Slack's stand-in as its chat."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.standins.slack import TOKEN, Slack, slack_standin
from tests.support.stack import Waybill, start_waybill, stop_waybill


@pytest.fixture(scope="package")
def chat() -> Iterator[Slack]:
    """The stand-in for Slack."""
    with slack_standin() as chat:
        yield chat


@pytest.fixture(scope="package")
def stack(chat: Slack) -> Iterator[Waybill]:
    """The running Waybill."""
    connection = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": chat.api}}
    running = start_waybill(
        AIRFLOW_CONN_WAYBILL_CHAT=json.dumps(connection),
        WAYBILL_SLACK_SIGNING_SECRET=chat.secret,
        WAYBILL_SLACK_RESPONSE_HOST=chat.host,
    )
    chat.endpoint = f"{running.home.url}/slack/interactions"
    yield running
    stop_waybill(running)
