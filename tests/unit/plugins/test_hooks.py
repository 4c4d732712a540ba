"""Airflow connections become the clients and providers that they describe, or say what to correct."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.integrations.http import ApiKey, Basic, Bearer, HttpSystem, OAuth2, RateLimit
from include.integrations.smtp import SmtpMail
from waybill.hooks import CONNECTED
from waybill.hooks.http import ConnectionUnusable, ResilientHttpHook
from waybill.hooks.hubspot import HubSpotHook
from waybill.hooks.provider_info import get_provider_info
from waybill.hooks.sheets import SheetsHook
from waybill.hooks.smtp import MailHook
from waybill.hooks.tryton import TrytonHook


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> Any:
    def connect(connection_id: str, **fields: Any) -> str:
        monkeypatch.setenv(f"AIRFLOW_CONN_{connection_id.upper()}", json.dumps(fields))
        return connection_id

    return connect


def test_a_private_apps_token_is_all_that_hubspot_needs(connected: Any) -> None:
    system = HubSpotHook(connected("my_crm", conn_type="hubspot", password="pat-1")).system()
    assert system.base_urls == ("https://api.hubapi.com",)
    assert isinstance(system.auth, Bearer)
    assert system.auth.token.get_secret_value() == "pat-1"
    assert system.limits == (RateLimit(90, 10),)
    assert system.name == "my_crm"


def test_a_public_app_refreshes_its_tokens(connected: Any) -> None:
    extra = {"refresh_token": "r-0", "failover_url": "http://127.0.0.1:2", "rate_limit": "50 / 10s", "timeout": "7"}
    system = HubSpotHook(
        connected("my_crm", conn_type="hubspot", host="http://127.0.0.1", port=1, login="id", password="s", extra=extra)
    ).system()
    assert isinstance(system.auth, OAuth2)
    assert (system.auth.grant, system.auth.credential) == ("refresh_token", "my_crm")
    assert system.auth.token_url == "https://api.hubapi.com/oauth/v1/token"
    assert system.base_urls == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    assert system.limits == (RateLimit(50, 10),)
    assert system.timeouts.read == 7


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, type(None)),
        ({"login": "u", "password": "p"}, Basic),
        ({"password": "p"}, Bearer),
        ({"password": "p", "extra": {"auth": "api_key"}}, ApiKey),
        ({"login": "i", "password": "p", "extra": {"token_url": "https://x.example/token"}}, OAuth2),
    ],
)
def test_how_a_system_is_logged_in_to_follows_from_what_is_filled_in(connected: Any, fields: Any, kind: type) -> None:
    hook = ResilientHttpHook(connected("erp", conn_type="http", host="x.example", schema="https", **fields))
    system = hook.system()
    assert isinstance(system.auth, kind)
    assert system.base_urls == ("https://x.example",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "x.example", "extra": {"rate_limit": "many"}}, "100/10s"),
        ({"host": "x.example", "extra": {"auth": "magic"}, "password": "shh-5"}, "none of bearer"),
        ({"host": "x.example", "extra": {"auth": "bearer"}}, "Password"),
        ({"host": "x.example", "extra": {"auth": "oauth2"}, "password": "shh-5"}, "Login"),
        ({}, "no base URL"),
    ],
)
def test_an_unusable_connection_says_what_to_correct(connected: Any, fields: Any, said: str) -> None:
    hook = ResilientHttpHook(connected("erp", conn_type="http", **fields))
    with pytest.raises(ConnectionUnusable, match=said) as refused:
        hook.system()
    assert "connection erp" in str(refused.value)
    assert "shh-5" not in str(refused.value)
    assert hook.test_connection()[0] is False


def test_a_mail_connection_is_read_as_the_smtp_package_writes_it(connected: Any) -> None:
    tls = MailHook(
        connected("m", conn_type="smtp", host="x", login="u", password="p", extra={"from_email": "s@x.example"})
    )
    server = tls.server()
    assert (server.security, server.port, server.sender, server.username) == ("tls", 465, "s@x.example", "u")
    extra = {"from_email": "s@x.example", "disable_ssl": True}
    assert MailHook(connected("m", conn_type="smtp", host="x", extra=extra)).server().security == "starttls"
    plain = MailHook(
        connected("m", conn_type="smtp", host="127.0.0.1", port=2525, extra={**extra, "disable_tls": True})
    )
    assert (plain.server().security, plain.server().port) == ("none", 2525)
    assert isinstance(CONNECTED["mail"]["smtp"]("m"), SmtpMail)


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "x"},
        {"extra": {"from_email": "s@x.example"}},
        {"host": "x", "extra": {"from_email": "s@x.example", "auth_type": "oauth2"}},
        {
            "host": "x",
            "password": "p",
            "extra": {"from_email": "s@x.example", "disable_ssl": True, "disable_tls": True},
        },
    ],
)
def test_an_unusable_mail_connection_says_so(connected: Any, fields: Any) -> None:
    hook = MailHook(connected("m", conn_type="smtp", **fields))
    with pytest.raises(ConnectionUnusable, match="connection m"):
        hook.server()
    ok, said = hook.test_connection()
    assert not ok
    assert "connection m" in said


def test_a_tryton_connection_names_the_database_as_its_schema(connected: Any) -> None:
    extra = {"taxes": '{"0.19": "VSt 19"}', "units": {"box": "u"}, "server_timeout": "30", "rate_limit": "20/1s"}
    fields = {"conn_type": "tryton", "schema": "company", "login": "waybill", "password": "p", "extra": extra}
    hook = TrytonHook(connected("my_erp", host="erp.example", port=8069, **fields))
    assert hook.system().base_urls == ("http://erp.example:8069",)
    assert hook.system().auth is None
    assert hook.system().limits == (RateLimit(20, 1),)
    assert hook.settings().taxes == {"0.19": "VSt 19"}
    assert hook.settings().units == {"box": "u"}
    assert hook.settings().under_way > 30
    secure = TrytonHook(connected("my_erp", host="https://erp.example", **fields))
    assert secure.system().base_urls == ("https://erp.example:8000",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"schema": "c", "login": "u", "password": "p"}, "Host"),
        ({"host": "x", "login": "u", "password": "p"}, "Schema"),
        ({"host": "x", "schema": "c", "password": "shh-5"}, "Login"),
        ({"host": "x", "schema": "c", "login": "u"}, "Password"),
        ({"host": "x", "schema": "a/b", "login": "u", "password": "shh-5"}, "Schema"),
        ({"host": "x", "schema": "c", "login": "u", "password": "p", "extra": {"taxes": "19"}}, "taxes"),
    ],
)
def test_an_unusable_tryton_connection_says_what_to_correct(connected: Any, fields: Any, said: str) -> None:
    hook = TrytonHook(connected("my_erp", conn_type="tryton", **fields))
    with pytest.raises(ConnectionUnusable, match=said) as refused:
        hook.get_provider()
    assert "connection my_erp" in str(refused.value)
    assert "shh-5" not in str(refused.value)


def test_the_form_of_the_connection_names_a_hook_that_exists_and_hides_its_secrets() -> None:
    from importlib.metadata import distribution

    declared = {each["connection-type"]: each for each in get_provider_info()["connection-types"]}
    assert {kind: each["hook-class-name"] for kind, each in declared.items()} == {
        hook.conn_type: f"{hook.__module__}.{hook.__qualname__}" for hook in (HubSpotHook, SheetsHook, TrytonHook)
    }
    for kind, secret in (("hubspot", "refresh_token"), ("google_sheets", "keyfile_dict")):
        assert declared[kind]["conn-fields"][secret]["schema"]["format"] == "password"
    found = distribution("waybill-connections")
    (entry,) = found.entry_points
    assert entry.group == "apache_airflow_provider"
    assert entry.load() is get_provider_info


def test_a_system_made_from_a_connection_shows_no_secret(connected: Any) -> None:
    system: HttpSystem = HubSpotHook(connected("my_crm", conn_type="hubspot", password="pat-shh-6")).system()
    assert "pat-shh-6" not in repr(system)
