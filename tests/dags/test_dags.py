"""Every DAG keeps the house's rules, and says how to when it does not."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import CronDataIntervalTimetable

from include.contracts.registry import compare_with_tasks, load
from include.stock.warehouse import warehouse
from tests.dags.conftest import ROOT
from waybill.dags import workflow_dag

EXPECTED = {
    "lead_to_client",
    "lead_reprocess",
    "lead_replay",
    "lead_import",
    "lead_duplicates",
    "deal_to_client",
    "purchase_approval",
    "purchase_reprocess",
    "purchase_decision",
    "purchase_request",
    "purchase_import",
    "purchase_change",
    "purchase_cancel",
    "purchase_replay",
    "purchase_summary",
    "exchange_rates",
    "goods_receipt",
    "receipt_reprocess",
    "receipt_import",
    "receipt_resolve",
    "receipt_close_short",
    "supplier_invoice",
    "invoice_reprocess",
    "invoice_import",
    "invoice_resolve",
    "journal_export",
    "stock_request",
    "stock_reprocess",
    "stock_decision",
    "stock_exceptions",
    "stock_entry",
    "stock_import",
    "retail_import",
    "stock_items",
    "stock_resolve",
    "transfer_close_short",
    "stock_count",
    "stock_count_reprocess",
    "stock_count_resolve",
    "stock_count_entry",
    "stock_count_discard",
    "count_plan",
    "stock_classes",
    "replenishment",
    "replenishment_reprocess",
    "replenishment_plan",
    "replenishment_rules",
    "replenishment_resolve",
    "stock_reconcile",
    "stock_difference",
    "stock_difference_settle",
    "stock_difference_resolve",
    "waybill_alerts",
    "waybill_canary",
    "waybill_approvals",
    "waybill_ledger",
    "approval_delegate",
    "stock_period",
    "person_data",
    "retention",
    "reports_daily",
    "reports_weekly",
    "reports_monthly",
}
CARRIES_STEPS = "capture"


def test_the_dags_are_these(dags: dict[str, Any]) -> None:
    assert set(dags) == EXPECTED


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_dag_belongs_to_a_contract(dags: dict[str, Any], dag_id: str) -> None:
    declared = {name: contract.workflow for contract in load().values() for name in contract.dags}
    assert dag_id in declared, f"name {dag_id} under `dags` in the contract of its workflow"
    assert f"workflow:{declared[dag_id]}" in dags[dag_id].tags
    assert any(tag.startswith("owner:") for tag in dags[dag_id].tags)
    folder = Path(dags[dag_id].fileloc).parent.name
    assert folder == declared[dag_id], f"{dag_id} lies in dags/{folder}; move it to dags/{declared[dag_id]}"


def test_a_contract_names_no_dag_that_is_missing(dags: dict[str, Any]) -> None:
    declared = {name for contract in load().values() for name in contract.dags}
    assert declared <= set(dags), f"write these DAGs, or take them out of the contracts: {declared - set(dags)}"


def test_each_step_is_a_task_and_each_task_a_step(dags: dict[str, Any]) -> None:
    contracts = load()
    for dag in dags.values():
        if CARRIES_STEPS in dag.task_ids:
            workflow = next(tag.removeprefix("workflow:") for tag in dag.tags if tag.startswith("workflow:"))
            assert compare_with_tasks(contracts[workflow], dag.task_ids) == []


def test_the_steps_run_in_the_contracts_order(dags: dict[str, Any]) -> None:
    carrying = [dag for dag in dags.values() if CARRIES_STEPS in dag.task_ids]
    assert len(carrying) == 16
    for dag in carrying:
        workflow = next(tag.removeprefix("workflow:") for tag in dag.tags if tag.startswith("workflow:"))
        assert [task.task_id for task in dag.topological_sort()] == load()[workflow].step_ids


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_dag_is_watched(dags: dict[str, Any], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.deadline, f"{dag_id} has no deadline: make it with waybill.dags.workflow_dag"
    assert dag.has_on_failure_callback, f"{dag_id} alerts nobody: make it with waybill.dags.workflow_dag"
    assert dag.doc_md, f"{dag_id} has no documentation: pass purpose=__doc__"
    for task in dag.tasks:
        assert task.on_failure_callback, f"{dag_id}.{task.task_id} alerts nobody"
        assert task.retries > 0, f"{dag_id}.{task.task_id} is never tried again"
        assert task.owner != "airflow", f"{dag_id}.{task.task_id} has no owner"


def test_a_dag_without_cases_is_late_when_its_contract_says_so(dags: dict[str, Any]) -> None:
    promised = {
        dag_id: declared.service_level.within
        for declared in load().values()
        if not declared.has_cases
        for dag_id in declared.dags
        if dag_id != "waybill_canary"  # it waits for its message, for longer than a look may take
    }
    assert {"waybill_alerts", "waybill_approvals", "waybill_ledger", "retention", "reports_daily"} <= set(promised)
    assert {dag_id: {each.interval for each in dags[dag_id].deadline} for dag_id in promised} == {
        dag_id: {within} for dag_id, within in promised.items()
    }


def test_a_day_of_the_journal_is_over_by_the_company_s_clock(dags: dict[str, Any]) -> None:
    assert str(dags["journal_export"].timetable.timezone) == warehouse().zone_name


def test_every_parameter_explains_itself(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        for name, param in dag.params.items():
            schema = dag.params.get_param(name).schema
            assert schema.get("type"), f"{dag.dag_id}.{name} has no type ({param!r})"
            assert schema.get("title"), f"{dag.dag_id}.{name} has no title"


def test_a_risky_dag_is_a_dry_run_by_default(dags: dict[str, Any]) -> None:
    for dag_id in (
        "lead_replay",
        "purchase_replay",
        "receipt_resolve",
        "invoice_resolve",
        "stock_resolve",
        "stock_period",
        "person_data",
    ):
        assert dags[dag_id].params["dry_run"] is True
    assert dags["purchase_replay"].params["dry_run"] is True


def test_what_runs_by_the_calendar_is_paused_at_first_where_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    daily, each_minute = CronDataIntervalTimetable("0 5 * * *", timezone="UTC"), timedelta(minutes=1)
    assert workflow_dag("count_plan", "stock_count", schedule=daily).is_paused_upon_creation is None
    monkeypatch.setenv("WAYBILL_PAUSE_CALENDAR", "true")
    assert workflow_dag("count_plan", "stock_count", schedule=daily).is_paused_upon_creation is True
    assert workflow_dag("waybill_alerts", "alerts", schedule=each_minute).is_paused_upon_creation is None


def test_a_dag_file_does_nothing_when_it_is_read() -> None:
    """No database, no Variable, no connection at parse time: only imports, assignments and the DAG's own block."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.With, ast.FunctionDef, ast.Expr)
    for path in sorted((ROOT / "dags").rglob("*.py")):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path.name} opens with a docstring for the people who run it"
        for node in tree.body:
            assert isinstance(node, allowed), f"{path.name}:{node.lineno} does more than wiring"
        assert "Variable" not in path.read_text(), f"{path.name} reads a Variable"
