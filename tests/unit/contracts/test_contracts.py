"""A contract that cannot be kept is refused, with a message that says what to write."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from include.contracts import generate
from include.contracts.__main__ import main
from include.contracts.documents import read
from include.contracts.generate import ROOT
from include.contracts.model import ServiceLevel, Stop
from include.contracts.registry import (
    FOLDER,
    ContractError,
    compare_with_tasks,
    contract,
    contract_of_dag,
    contracts,
    load,
)

STEPS = [
    "capture", "normalise", "validate", "find_duplicates", "update_crm", "segment", "assign", "create_tasks",
    "send_mail", "sync_reporting", "log",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped contracts to spoil."""
    for file in FOLDER.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def spoil(folder: Path, change, name: str = "lead_to_client") -> str:
    """The message about a contract after `change` was made to it."""
    file = folder / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ContractError) as error:
        load(folder)
    return str(error.value)


def test_the_steps_of_a_lead_are_the_ones_that_were_agreed():
    assert contract("lead_to_client").step_ids == STEPS
    assert contract("lead_to_client").first_stage == "capture"


def test_what_is_handed_over_to_is_declared():
    assert contract("client_billing_setup").status == "declared"
    assert contract("client_billing_setup").first_stage == "received"


def test_an_unknown_key_is_named(folder):
    message = spoil(folder, lambda content: content.update(onwer="sales"))
    assert "lead_to_client.yaml: onwer: unknown key 'onwer'" in message


def test_a_missing_owner_is_asked_for_with_the_teams_there_are(folder):
    message = spoil(folder, lambda content: content["steps"][6].pop("owner"))
    assert "steps 'assign' → owner: the owner is missing; write `owner:` and one of: accounts_payable" in message


def test_a_workflow_without_a_service_level_is_refused(folder):
    assert "lead_to_client.yaml: service_level: 'service_level' is missing" in spoil(
        folder, lambda c: c.pop("service_level")
    )


def test_a_step_without_a_service_level_is_refused(folder):
    message = spoil(folder, lambda c: c["steps"][1].pop("service_level"))
    assert "steps 'normalise'" in message
    assert "'service_level' is missing; write it" in message


def test_every_workflow_and_each_step_of_it_has_a_service_level():
    for entry in contracts().values():
        for level in (entry.service_level, *(step.service_level for step in entry.steps)):
            assert timedelta(0) < level.within < level.escalates
            assert 0 < level.warn_at < 1


def test_a_clock_that_stops_at_an_unknown_step_is_refused(folder):
    def stop(content):
        content["service_level"]["stops_while"] = [{"state": "waiting", "at": ["nowhere"]}]

    assert "stops_while names the step 'nowhere', which is not declared" in spoil(folder, stop)


def test_a_service_level_is_read_as_a_sentence():
    approval = contract("purchase_approval").step("approve").service_level
    assert str(approval) == (
        "40 business hours after it reached the step, not counting while it waits for the requester's answer"
    )
    level = ServiceLevel(
        within="4h", business_hours=False, clock="received", stops_while=[Stop(state="waiting", at=["receive"])]
    )
    assert str(level) == "4 hours after it was received, not counting while it waits at `receive`"


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ({"zone": "Europe/Atlantis"}, "teams.yaml: sales: there is no time zone 'Europe/Atlantis'"),
        ({"country": "UK"}, "teams.yaml: sales: 'UK' is no ISO 3166-1 code; write GB"),
        ({"region": "Bayern"}, "teams.yaml: sales: DE has no region 'Bayern' with holidays of its own; write BY"),
    ],
)
def test_a_team_in_a_place_that_there_is_not_is_refused(folder, place, fault):
    file = folder / "teams.yaml"
    teams = yaml.safe_load(file.read_text())
    teams["sales"] |= place
    file.write_text(yaml.safe_dump(teams))
    with pytest.raises(ContractError, match=fault):
        load(folder)


def test_an_unknown_team_is_refused(folder):
    message = spoil(folder, lambda content: content.update(owner="nobody"))
    assert "'nobody' is not a team of teams.yaml" in message


def test_every_fault_is_reported_at_once(folder):
    def change(content):
        content.pop("title")
        content["steps"][0]["colour"] = "red"

    message = spoil(folder, change)
    assert "'title' is missing" in message
    assert "steps 'capture' → colour" in message


def test_a_step_that_touches_an_undeclared_system_is_refused(folder):
    message = spoil(folder, lambda content: content["steps"][4].update(systems=["erp"]))
    assert "step 'update_crm' touches 'erp'; declare that under `systems`" in message


def test_a_handoff_needs_its_target(folder):
    (folder / "client_billing_setup.yaml").unlink()
    with pytest.raises(ContractError, match="handoff to 'client_billing_setup', which no contract declares"):
        load(folder)


def test_at_most_once_cannot_be_settled_by_sending_again(folder):
    message = spoil(folder, lambda content: content["systems"][1]["operations"][0].update(settled_by="resend"))
    assert "at_most_once goes with settled_by assume_sent" in message


def test_a_field_that_sales_owns_is_never_overwritten(folder):
    message = spoil(folder, lambda content: content["fields"]["contact"]["owner"].update(rule="latest"))
    assert "a field that sales owns is never overwritten" in message


def test_a_key_written_twice_is_refused(folder):
    with (folder / "lead_to_client.yaml").open("a") as file:
        file.write("title: another\n")
    with pytest.raises(ContractError, match="'title' is written twice"):
        load(folder)


def test_the_code_of_norway_is_no_boolean(folder):
    (folder / "teams.yaml").write_text((folder / "teams.yaml").read_text().replace("country: DE", "country: NO"))
    assert load(folder)["lead_to_client"].owner.country == "NO"


def test_a_step_without_a_task_and_a_task_without_a_step_are_named():
    tasks = [*STEPS[:-1], "archive", "_wait"]
    missing, unknown = compare_with_tasks(contract("lead_to_client"), tasks)
    assert missing.startswith("lead_to_client: step 'log' has no task; write a task with task_id='log'")
    assert unknown.startswith("lead_to_client: task 'archive' has no step; write one with `id: archive`")
    assert compare_with_tasks(contract("lead_to_client"), STEPS) == []


def test_the_tasks_of_a_group_belong_to_its_step():
    tasks = [*STEPS[:4], "update_crm.plan", "update_crm.deliver", *STEPS[5:]]
    assert compare_with_tasks(contract("lead_to_client"), tasks) == []


def test_every_dag_finds_its_contract():
    for entry in contracts().values():
        assert all(contract_of_dag(dag) is entry for dag in entry.dags)
    with pytest.raises(KeyError, match="no contract names the DAG 'other'"):
        contract_of_dag("other")


def test_a_reason_finds_what_to_do_about_it():
    declared = contract("deal_to_client")
    found = declared.exception("deal.unknown")
    assert found is not None
    assert found.code == "deal.unknown"
    general = declared.exception("error.open_client")
    assert general is not None
    assert general.owner.id == "platform"
    assert declared.exception("weather.bad") is None


def test_generated_files_are_as_the_contracts_say():
    assert generate.drift() == []


def test_drift_is_found_and_mended(tmp_path, monkeypatch):
    assert len(generate.drift(tmp_path)) == 3
    generate.write(tmp_path)
    assert generate.drift(tmp_path) == []
    (tmp_path / "CODEOWNERS").write_text("* @somebody\n")
    (problem,) = generate.drift(tmp_path)
    assert problem.startswith("CODEOWNERS is not what the contracts say")


def test_the_schema_knows_the_teams():
    schema = json.loads(generate.schema())
    assert "sales" in schema["properties"]["owner"]["enum"]
    assert schema["additionalProperties"] is False


def test_a_dags_page_tells_whom_to_call_at_night():
    page = generate.dag_documentation(contract("lead_to_client"), "Purpose.")
    assert page.startswith("Purpose.")
    assert contract("lead_to_client").owner.on_call.reach in page
    assert "| `assign` |" in page


def test_the_command_line_checks(capsys):
    assert main(["check"]) == 0
    assert "in order" in capsys.readouterr().out


def test_contracts_name_the_sources_that_there_are():
    sources = read(ROOT / "include/intake/sources.yaml")["sources"]
    for entry in contracts().values():
        there = {name for name, source in sources.items() if source["workflow"] == entry.workflow}
        assert set(entry.sources) == there, f"{entry.workflow}: write these under `sources`: {sorted(there)}"
    strays = {name: source["workflow"] for name, source in sources.items() if source["workflow"] not in contracts()}
    assert not strays, f"these sources of sources.yaml name a workflow that has no contract: {strays}"


@pytest.mark.parametrize(
    "workflow",
    ["lead_to_client", "deal_to_client", "goods_receipt", "supplier_invoice", "stock_request", "stock_count"],
)
def test_every_reason_that_a_step_gives_says_what_to_do(workflow):
    intake = [ROOT / "include/intake" / name for name in ("mapping.py", "received.py", "sources.py")]
    files = [*(ROOT / "include/domain" / workflow).glob("*.py"), *intake]
    codes = {code for file in files for code in reason_codes(ast.parse(file.read_text()))}
    assert codes
    unknown = {code for code in codes if contract(workflow).exception(code) is None}
    assert not unknown, f"write these under `exceptions` of {workflow}.yaml, with what to do: {sorted(unknown)}"


def reason_codes(tree: ast.AST) -> Iterator[str]:
    """The codes in the calls of Reason(code, …) and meta(code, …) and holds(column, code, …)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"Reason": 0, "meta": 0, "holds": 1}.get(node.func.id)
            code = node.args[place] if place is not None and len(node.args) > place else None
            if isinstance(code, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "any" for part in code.values)
            elif isinstance(code, ast.Constant):
                yield code.value
