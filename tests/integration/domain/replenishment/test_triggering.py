"""What people trigger in Airflow: a plan of a day, and the entering of rules."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import URL, Engine

from include.data import database
from tests.support.replenishment import needs, prepare, short, today
from tests.support.work import rows
from waybill.operators.replenishment import ImportRulesOperator, PlanReplenishmentOperator

ROWS = "item,location,method,from,requester,minimum,maximum\nBOLT-8,SHOP,min_max,MAIN,lena.hoffmann,20,60\n"


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch, database_url: URL, engine: Engine) -> Iterator[None]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    database.engine.cache_clear()
    prepare(engine)
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def context(**wanted: Any) -> Any:
    run = SimpleNamespace(triggering_user_name="petra.lang")
    return {"params": {"path": None, "rows": None, "only_look": False} | wanted, "dag_run": run, "run_id": "manual__1"}


def test_a_day_is_planned_and_planning_it_again_opens_nothing(engine: Engine) -> None:
    short(engine)
    operator: Any = PlanReplenishmentOperator(task_id="plan", until=today().isoformat())
    assert operator.execute(context())["opened"] == 1
    again = operator.execute(context())
    assert (again["opened"], again["open_before"]) == (0, 1)
    assert len(needs(engine)) == 1
    (event,) = rows(engine, "select run_id from events where workflow = 'replenishment' and kind = 'received'")
    assert event == {"run_id": "manual__1"}


def test_rules_are_entered_in_the_name_of_who_triggered_it(engine: Engine) -> None:
    operator: Any = ImportRulesOperator(task_id="import_rules")
    assert operator.execute(context(rows=ROWS, only_look=True)) == {"rows": 1, "changed": 0, "faulty": 0}
    assert rows(engine, "select 1 from replenishment_rules") == []
    assert operator.execute(context(rows=ROWS + "NUT-8,SHOP,off,,,,")) == {"rows": 2, "changed": 1, "faulty": 1}
    assert rows(engine, "select author from replenishment_rules") == [{"author": "user:petra.lang"}]


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({}, "either a path or pasted rows"),
        ({"rows": ROWS, "path": "rules.csv"}, "either a path or pasted rows"),
        ({"path": "/nowhere/rules.csv"}, "there is no file|set WAYBILL_IMPORT_FOLDER"),
        ({"rows": ROWS.replace("BOLT-8", "NUT-8")}, "no row can be used"),
    ],
)
def test_what_cannot_be_entered_says_what_to_do(wanted: dict[str, Any], why: str) -> None:
    operator: Any = ImportRulesOperator(task_id="import_rules")
    with pytest.raises(AirflowFailException, match=why):
        operator.execute(context(**wanted))
