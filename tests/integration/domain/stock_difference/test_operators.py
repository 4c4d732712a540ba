"""The tasks by which the stock is compared, and a keeper decides: what they do, and what they say when they cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from cryptography.fernet import Fernet
from sqlalchemy import URL, Engine, text

from include.data import database
from tests.support.stock import prepare, stock
from tests.support.work import rows
from waybill.operators.differences import ReconcileOperator, SettleDifferenceOperator


@pytest.fixture(autouse=True)
def _this_database(engine: Engine, database_url: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setenv("WAYBILL_SECRET_KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "live")
    database.engine.cache_clear()
    prepare(engine)
    stock(engine, "BOLT-8", 10)
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def context(**params: Any) -> dict[str, Any]:
    return {"params": params, "run_id": "manual", "dag_run": SimpleNamespace(triggering_user_name="lena.hoffmann")}


def run_reconcile() -> dict[str, Any]:
    operator: Any = ReconcileOperator(task_id="reconcile")
    answer: dict[str, Any] = operator.execute(context())
    return answer


def test_a_comparison_tells_what_it_found(engine: Engine) -> None:
    told = {"compared": 1, "moving": 0, "differing": 1, "opened": 1, "gone": 0, "changed": 0, "file": None}
    assert run_reconcile() == told
    assert rows(engine, "select actor, run_id from events where workflow = 'stock_difference'") == [
        {"actor": "system:reconciliation", "run_id": "manual"}
    ]
    settle: Any = SettleDifferenceOperator(task_id="settle")
    with pytest.raises(AirflowFailException, match="there is no difference 1"):
        settle.execute(context(case_id=1, seen="-10", decision="erp", reason="counted"))


def test_a_ledger_that_is_broken_fails_the_task_and_names_the_command(engine: Engine) -> None:
    with engine.begin() as connection:  # around the ledger, as only a superuser can
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update stock_balances set quantity = 11 where item = 'BOLT-8' and location = 'MAIN'"))
    with pytest.raises(AirflowFailException, match=r"python -m include\.stock check"):
        run_reconcile()


def test_an_erp_that_is_away_is_tried_again_and_nothing_is_opened(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"conn_type": "tryton", "host": "127.0.0.1", "port": 9, "schema": "x", "login": "x", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_ERP", json.dumps(away))
    with pytest.raises(AirflowException, match="does not answer, and nothing was compared") as trouble:
        run_reconcile()
    assert not isinstance(trouble.value, AirflowFailException), "a failure for good would not be tried again"
    assert rows(engine, "select 1 from cases where workflow = 'stock_difference'") == []


def test_where_effects_are_captured_there_is_nothing_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "capture")
    with pytest.raises(AirflowSkipException, match="capture"):
        run_reconcile()
