"""The tasks behind the forms and schedules of counting, as Airflow runs them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from include.data import database
from tests.support.counts import planned, sheet, work
from tests.support.stock import prepare, state, stock
from tests.support.work import rows


@pytest.fixture
def context(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make what a task is run with, for somebody who triggered it."""
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    database.engine.cache_clear()

    def make(account: str = "olaf.winter", run_id: str = "manual__1", **params: Any) -> dict[str, Any]:
        return {"params": params, "run_id": run_id, "dag_run": SimpleNamespace(triggering_user_name=account)}

    prepare(engine)
    yield make
    database.engine().dispose()
    database.engine.cache_clear()


def test_the_form_stores_a_count_once_and_tells_what_is_left_but_not_the_books(
    engine: Engine, context: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from waybill.operators.counts import EnterCountOperator

    stock(engine, "LAMP", 7919)
    stock(engine, "BOLT-8", 100)
    case, number = sheet(engine, "LAMP", "BOLT-8")
    work(engine)
    form = {
        "sheet": number, "location": None, "counted_at": datetime.now(UTC).isoformat(), "counter": None, "note": None,
        "lines": "item,counted\nBOLT-8,98\nMYSTERY,1\n",
    }  # fmt: skip
    task = EnterCountOperator(task_id="take_in")
    assert task.execute(context(**form)) == {"new": 1, "lines": 2, "open": 1}
    assert task.execute(context(**form))["new"] == 0
    told = capsys.readouterr().out
    assert "MYSTERY is not on the sheet" in told
    assert "still to be counted: LAMP" in told
    assert not re.search(r"\b7919\b", told)
    assert len(rows(engine, "select 1 from cases where workflow = 'stock_request'")) == 1
    assert state(engine, case)[0] == "waiting"


def test_a_person_is_told_what_to_write(engine: Engine, context: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from waybill.operators.counts import DiscardSheetOperator, EnterCountOperator

    with pytest.raises(AirflowFailException, match="there is no count sheet CS-9"):
        EnterCountOperator(task_id="take_in").execute(context(sheet="CS-9", lines="item,counted\nLAMP,1\n"))
    case, number = sheet(engine, "LAMP")
    work(engine)
    with pytest.raises(AirflowFailException, match="with a reason"):
        DiscardSheetOperator(task_id="discard").execute(context(sheet=number, reason=""))
    assert DiscardSheetOperator(task_id="discard").execute(context(sheet=number, reason="moved")) == case


def test_the_plan_and_the_classes_run_for_their_interval(engine: Engine, context: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from waybill.operators.counts import ClassifyItemsOperator, PlanCountsOperator

    stock(engine, "BOLT-8", 5, "SHOP")
    for day in ("2025-03-03", "2026-03-02"):
        PlanCountsOperator(task_id="plan_counts", until=f"{day}T04:00:00+00:00").execute(context())
    assert [(location, item) for _, location, item, _ in planned(engine)] == [("SHOP", "BOLT-8")]
    assert PlanCountsOperator(task_id="plan_counts", until="2026-03-01T23:30:00+00:00").execute(context()) == {}
    assert ClassifyItemsOperator(task_id="classify", until="2026-04-01T03:00:00+00:00").execute(context()) == 2
    with pytest.raises(AirflowSkipException, match="later month"):
        ClassifyItemsOperator(task_id="classify", until="2026-03-01T03:00:00+00:00").execute(context())
