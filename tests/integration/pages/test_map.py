"""The map: every workflow with its parts and live counts, and what is touched if one of them goes away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from markupsafe import escape
from sqlalchemy import Engine

from include.cases.model import Reason
from include.contracts.map import map_of
from include.contracts.registry import contracts
from tests.integration.monitoring.test_alerts import set_aside
from tests.support.approvals import opened
from tests.support.work import change, receive

pytestmark = pytest.mark.airflow


def test_every_workflow_is_drawn_with_its_parts(engine: Engine, log_in: Any) -> None:
    seen = log_in("viewer").text("/map")
    for contract in contracts().values():
        for part in (contract.title, contract.trigger.description, contract.owner.name):
            assert escape(part) in seen, contract.workflow
        for step in contract.steps:
            assert f'href="/waybill/map/step:{contract.workflow}.{step.id}"' in seen
        for decision in contract.decisions:
            assert f'href="/waybill/map/decision:{contract.workflow}.{decision.id}"' in seen
        for handoff in contract.handoffs:
            assert escape(handoff.when) in seen
        for use in contract.systems:
            assert f'href="/waybill/map/system:{use.role}"' in seen


def test_what_is_open_is_counted_where_it_stands(engine: Engine, log_in: Any) -> None:
    receive(engine, 3, workflow="purchase_approval")
    set_aside(engine, 2, Reason("email.invalid", "jane@example.com cannot exist"))
    change(engine, "update cases set state = 'waiting', stage = 'receive' where id = 1")
    seen = log_in("viewer").text("/map")
    assert "3 open" in seen
    assert "2 set aside" in seen
    assert "1 waiting" in seen
    assert "jane" not in seen
    erp = log_in("viewer").text("/map/system:erp")
    assert "1 open case stands at the steps that are touched" in erp, "of the three one is behind what needs the ERP"


def test_a_part_says_what_is_touched_and_why(engine: Engine, log_in: Any) -> None:
    seen = log_in("viewer").text("/map/system:erp")
    assert "needs it: suppliers and purchase orders" in seen
    assert "Steps that rest on it" in seen
    assert "gets its cases from it" in seen
    team = log_in("viewer").text("/map/team:finance")
    assert "is answered for by it" in team
    assert "And by way of these" not in team


def test_every_part_that_is_drawn_can_be_opened(engine: Engine, log_in: Any) -> None:
    viewer = log_in("viewer")
    nodes = map_of(contracts()).nodes
    for kind in ("workflow", "step", "decision", "output", "source", "system", "dag", "team"):
        node = next(node for node in nodes.values() if node.kind == kind)
        assert node.title.split("'")[0] in viewer.text(f"/map/{node.id}")


def test_people_and_what_waits_for_them_are_for_ops(engine: Engine, log_in: Any) -> None:
    one = opened(engine, "petra.lang", now=datetime.now(UTC))
    seen = log_in("op").text("/map/person:petra.lang")
    assert "is held by them alone" in seen
    assert "names it in its rules new_supplier" in seen
    assert "1 approval could be decided by Petra Lang now" in seen
    assert f"/waybill/approvals/{one.id}" in seen
    assert "has them as manager; in their place Karl Brandt decides" in log_in("op").text("/map/person:ines.vogt")
    assert "Petra Lang" in log_in("op").text("/map")
    assert "Petra Lang" not in log_in("viewer").text("/map")
    assert log_in("viewer").get("/map/person:petra.lang").status_code == 404


def test_who_is_nobody_and_what_is_not_there(log_in: Any) -> None:
    assert log_in(None).get("/map").status_code == 401
    assert log_in(None).get("/map/system:erp").status_code == 401
    assert log_in("viewer").get("/map/system:fax").status_code == 404
