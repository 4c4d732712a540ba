"""Airflow's test button, on connections to servers that run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from sqlalchemy import URL

from include.data import database
from include.integrations.systems import PendingEffect, Sent
from tests.standins.hubspot import TOKEN, HubSpot, closed_port, hubspot
from waybill.hooks import CONNECTED
from waybill.hooks.hubspot import HubSpotHook
from waybill.hooks.smtp import MailHook


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, database_url: URL) -> Iterator[None]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    database.engine.cache_clear()
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def test_a_hubspot_connection_is_tested_and_used(monkeypatch: pytest.MonkeyPatch, account: tuple[HubSpot, str]) -> None:
    held, address = account
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAYBILL_CRM", json.dumps({"conn_type": "hubspot", "host": address, "password": TOKEN})
    )
    assert HubSpotHook().test_connection() == (True, "HubSpot answers, and has the properties that Waybill needs")
    provider = CONNECTED["crm"]["hubspot"]("waybill_crm")
    effect = PendingEffect(1, "k", "upsert_company", "t", {"key": "c-1", "properties": {"name": "X"}}, 1)
    assert isinstance(provider.apply("upsert_company", [effect])[0], Sent)
    assert held.having("companies", "waybill_key", "c-1")


def test_the_test_says_what_is_wrong_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with hubspot() as (_, address):
        monkeypatch.setenv(
            "AIRFLOW_CONN_WAYBILL_CRM", json.dumps({"conn_type": "hubspot", "host": address, "password": TOKEN})
        )
        ok, said = HubSpotHook().test_connection()
        assert not ok
        assert "waybill_key" in said
        monkeypatch.setenv(
            "AIRFLOW_CONN_WAYBILL_CRM", json.dumps({"conn_type": "hubspot", "host": address, "password": "pat-shh-9"})
        )
        ok, said = HubSpotHook().test_connection()
        assert not ok
        assert "401" in said
        assert "pat-shh-9" not in said


def test_a_mail_connection_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = Controller(Sink(), hostname="127.0.0.1", port=closed_port())
    controller.start()
    extra = {"from_email": "s@x.example", "disable_ssl": True, "disable_tls": True}
    fields = {"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_MAIL", json.dumps(fields))
    assert MailHook().test_connection()[0] is True
    controller.stop()
    ok, said = MailHook().test_connection()
    assert not ok
    assert "does not answer" in said
