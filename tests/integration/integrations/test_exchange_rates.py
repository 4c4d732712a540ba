"""The central bank's file is fetched, kept once, and made up for when a day was missed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy import URL

from include.data import database
from include.data.rates import RatesUnreadable, rate
from include.integrations.http import SystemTrouble
from tests.standins.ecb import ALL, RECENT, EcbStandin
from tests.standins.serving import served
from waybill.operators.rates import LoadRatesOperator

TODAY = date(2026, 11, 20)
LATELY = {str(TODAY - timedelta(days=n)): {"USD": f"1.{1600 + n}", "JPY": "180.20"} for n in range(30)}
LONG_AGO = {"2026-01-05": {"USD": "1.05"}, "2026-01-06": {"USD": "1.06"}, "1999-01-04": {"USD": "1.1789"}}


@pytest.fixture
def ecb(monkeypatch: pytest.MonkeyPatch, database_url: URL) -> Iterator[EcbStandin]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    database.engine.cache_clear()
    standin = EcbStandin(LATELY, LONG_AGO)
    with served(standin) as address:
        monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_RATES", json.dumps({"conn_type": "http", "host": address}))
        yield standin
    database.engine().dispose()
    database.engine.cache_clear()


def _load(day: date) -> dict[str, int]:
    operator = LoadRatesOperator(task_id="load_rates", since=str(day - timedelta(days=1)), until=str(day))
    return operator.execute({})  # type: ignore[typeddict-item]


def _rate(day: date) -> str:
    with database.engine().connect() as connection:
        return str(rate(connection, currency="EUR", to="USD", day=day).rate.normalize())


def test_a_day_is_loaded_and_loading_it_again_changes_nothing(ecb: EcbStandin) -> None:
    assert _load(TODAY) == {"rates": 60, "changed": 60}
    assert _load(TODAY) == {"rates": 60, "changed": 0}
    assert _rate(TODAY) == "1.16"
    assert ecb.calls == [RECENT, RECENT]


def test_a_run_loads_nothing_of_later_days_and_makes_up_for_missed_ones(ecb: EcbStandin) -> None:
    _load(TODAY - timedelta(days=10))
    with database.engine().connect() as connection:
        assert rate(connection, currency="EUR", to="USD", day=TODAY - timedelta(days=4)).day == TODAY - timedelta(10)
    assert _load(TODAY)["changed"] == 20


def test_a_backfill_of_a_day_long_ago_takes_the_long_file(ecb: EcbStandin) -> None:
    assert _load(date(2026, 1, 6)) == {"rates": 2, "changed": 2}
    assert ecb.calls == [RECENT, ALL]
    assert _rate(date(2026, 1, 6)) == "1.06"


def test_a_server_that_is_busy_is_asked_again(ecb: EcbStandin) -> None:
    ecb.failures = 1
    assert _load(TODAY)["changed"] == 60


def test_a_file_that_ends_too_early_or_is_another_page_fails_the_run(ecb: EcbStandin) -> None:
    with pytest.raises(RatesUnreadable, match="2026-11-20"):
        _load(TODAY + timedelta(days=8))
    ecb.files[RECENT] = b"<html>Sign in</html>"
    with pytest.raises(RatesUnreadable):
        _load(TODAY)
    del ecb.files[RECENT]
    with pytest.raises(SystemTrouble):
        _load(TODAY)


def test_without_a_connection_it_is_skipped_and_says_how_to_make_one(
    ecb: EcbStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WAYBILL_RATES")
    with pytest.raises(AirflowSkipException, match="waybill_rates"):
        _load(TODAY)
    assert ecb.calls == []
