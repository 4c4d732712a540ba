"""What a person does by triggering a run: closing a line short, accepting a difference, writing the journal again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import URL, Engine

from include.data import database
from tests.support.orders import add_order, invoice, state, work
from tests.support.work import rows


@pytest.fixture(autouse=True)
def _this_database(database_url: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    database.engine.cache_clear()
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def context(**params: Any) -> dict[str, Any]:
    return {"params": params, "run_id": "manual", "dag_run": SimpleNamespace(triggering_user_name="jonas.braun")}


def test_a_line_is_closed_short_in_the_name_of_who_triggered_it(engine: Engine) -> None:
    from waybill.operators.receipts import CloseShortOperator

    order = add_order(engine, {"received": 6})
    case = invoice(engine, order, {"quantity": 6}, {"quantity": 4})
    work(engine, "supplier_invoice")
    operator: Any = CloseShortOperator(task_id="close_short")
    answer = operator.execute(context(order=order.number, line=1, reason="discontinued"))
    assert answer == {"case": order.id, "missing": "4.0000", "changed": True}
    (event,) = rows(engine, "select actor from events where kind = 'line closed short'")
    assert event == {"actor": "user:jonas.braun"}
    assert state(engine, case)[0] == "pending"
    with pytest.raises(AirflowFailException, match="no line 2"):
        operator.execute(context(order=order.number, line=2, reason="discontinued"))


def test_a_difference_is_accepted_by_a_run_after_a_dry_one(engine: Engine) -> None:
    from waybill.operators.quarantine import QuarantineOperator

    case = invoice(engine, add_order(engine, {"received": 10}), {"unit_price": 3})
    work(engine, "supplier_invoice")
    operator: Any = QuarantineOperator(task_id="resolve", workflow="supplier_invoice")
    wanted = {
        "case_ids": [case], "reason": None, "since": None, "until": None, "action": "release", "discard_reason": None,
        "corrections": {"accept_difference": "agreed"}, "dry_run": True,
    }  # fmt: skip
    assert operator.execute(context(**wanted)) == {"chosen": 1, "by_reason": {"match.price": 1}, "changed": 0}
    assert state(engine, case) == ("quarantined", "match.price")
    assert operator.execute(context(**wanted | {"dry_run": False}))["changed"] == 1
    work(engine, "supplier_invoice")
    assert state(engine, case) == ("finished", "booked")
    (event,) = rows(engine, "select detail->>'by' as by from events where kind = 'difference accepted'")
    assert event == {"by": "user:jonas.braun"}


def test_the_journal_of_an_interval_is_written_to_the_folder(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waybill.operators.journal import ExportJournalOperator

    monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path))
    since, until = "2025-12-31T23:00:00+00:00", "2026-01-01T23:00:00+00:00"
    operator: Any = ExportJournalOperator(task_id="export_journal", since=since, until=until)
    assert operator.execute({}) == {"file": "journal_2026-01-01_2026-01-02.csv", "lines": 0}
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    operator = ExportJournalOperator(task_id="export_journal", since=since, until=later)
    with pytest.raises(AirflowFailException, match="may still grow"):
        operator.execute({})
    assert [path.name for path in tmp_path.iterdir()] == ["journal_2026-01-01_2026-01-02.csv"]
