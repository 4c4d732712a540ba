"""The map of all workflows: every part of every contract is on it, and what rests on what is found with why."""

from __future__ import annotations

import pytest

from include.contracts.layout import HEIGHT, WIDTH, drawing, layers
from include.contracts.map import Map, decision_id, main_dag, map_of, step_id, workflow_id
from include.contracts.registry import contracts


@pytest.fixture(scope="module")
def plan() -> Map:
    """The map of the shipped contracts."""
    return map_of(contracts())


def touched(plan: Map, node: str) -> dict[str, str]:
    """What is touched when a part goes away, with why."""
    return {each.node.id: each.why for each in plan.touched(node)}


def test_every_part_of_every_contract_is_on_it(plan: Map) -> None:
    for name, contract in contracts().items():
        wanted = {workflow_id(name), f"team:{contract.owner.id}"}
        wanted |= {step_id(name, step) for step in contract.step_ids}
        wanted |= {decision_id(name, decision.id) for decision in contract.decisions}
        wanted |= {f"system:{use.role}" for use in contract.systems}
        wanted |= {f"source:{source}" for source in contract.sources} | {f"dag:{dag}" for dag in contract.dags}
        assert wanted <= plan.nodes.keys(), name


def test_no_edge_leads_nowhere_and_every_one_says_why(plan: Map) -> None:
    for edge in plan.edges:
        assert {edge.start, edge.end} <= plan.nodes.keys()
        assert edge.why
    assert len({(edge.start, edge.end) for edge in plan.edges}) == len(plan.edges)


def test_every_part_is_connected(plan: Map) -> None:
    connected = {end for edge in plan.edges for end in (edge.start, edge.end)}
    assert plan.nodes.keys() == connected


def test_a_system_that_goes_away_stops_its_steps_and_what_comes_after(plan: Map) -> None:
    found = {each.node.id: each for each in plan.touched("system:erp")}
    order = found["step:purchase_approval.order"]
    assert order.direct
    assert order.why.startswith("needs it: suppliers and purchase orders")
    receive = found["step:purchase_approval.receive"]
    assert not receive.direct
    assert [edge.end for edge in receive.through][-1] == "step:purchase_approval.receive"
    assert "step:purchase_approval.capture" not in found, "what comes before goes on"
    assert not any(name.startswith("step:lead_to_client") for name in found), "leads need no ERP"


def test_it_spreads_over_handoffs(plan: Map) -> None:
    found = touched(plan, "source:replenishment-plan")
    assert "step:replenishment.request" in found
    assert found["step:purchase_approval.capture"].startswith("is handed cases by it: ")
    assert "output:purchase_approval.1" in found


def test_a_workflow_that_goes_away_leaves_its_givers_without_a_taker(plan: Map) -> None:
    found = touched(plan, "workflow:purchase_approval")
    assert found["step:replenishment.request"].startswith("hands cases over to it: ")
    assert found["step:purchase_approval.log"] == "is a step of it"
    assert "step:replenishment.capture" not in found


def test_a_team_that_goes_away_stops_nothing_but_leaves_it_to_nobody(plan: Map) -> None:
    found = touched(plan, "team:finance")
    assert "is answered for by it" in found["step:purchase_approval.check_budget"]
    assert "set aside for rate.missing" in found["workflow:purchase_approval"]
    assert "step:purchase_approval.receive" not in found


def test_a_dag_that_only_helps_stops_no_step_and_the_one_that_carries_them_stops_all(plan: Map) -> None:
    assert touched(plan, "dag:purchase_summary").keys() == {"workflow:purchase_approval"}
    steps = {step_id("purchase_approval", step) for step in contracts()["purchase_approval"].step_ids}
    assert steps <= touched(plan, "dag:purchase_approval").keys()
    assert main_dag(contracts()["stock_difference"]) == "stock_difference"
    assert main_dag(contracts()["approvals"]) == "waybill_approvals"
    assert main_dag(contracts()["client_billing_setup"]) is None


def test_nothing_is_touched_by_itself_even_in_a_circle(plan: Map) -> None:
    for node in plan.nodes:
        assert node not in touched(plan, node)


def test_the_nearest_way_is_told(plan: Map) -> None:
    for node in plan.nodes:
        for each in plan.touched(node):
            assert each.through[0].start == node
            assert each.through[-1].end == each.node.id
            assert len({edge.start for edge in each.through}) == len(each.through), "no way goes round"


def test_what_is_not_on_the_map_is_an_error(plan: Map) -> None:
    with pytest.raises(KeyError):
        plan.touched("system:fax")


def test_what_a_part_rests_on_is_what_touches_it(plan: Map) -> None:
    found = {node.id for node, _ in plan.rests_on("step:purchase_approval.order")}
    assert {"system:erp", "team:procurement", "step:purchase_approval.commit", "dag:purchase_approval"} <= found


class TestLayout:
    def test_arrows_lead_to_a_later_layer(self) -> None:
        arrows = [("a", "b"), ("b", "d"), ("a", "d"), ("c", "d")]
        assert layers("abcd", arrows) == [["a", "c"], ["b"], ["d"]]

    def test_a_circle_and_a_loop_end(self) -> None:
        assert layers("ab", [("a", "b"), ("b", "a"), ("b", "b")]) == [["a"], ["b"]]
        drawn = drawing("ab", [("a", "b"), ("b", "a"), ("b", "b")])
        assert len(drawn.arrows) == 3

    def test_no_box_covers_another_and_all_is_inside(self) -> None:
        arrows = [(each.workflow, handoff.to) for each in contracts().values() for handoff in each.handoffs]
        drawn = drawing(list(contracts()), arrows)
        assert drawn.boxes.keys() == contracts().keys()
        placed = list(drawn.boxes.values())
        for number, (x, y) in enumerate(placed):
            assert 0 <= x <= drawn.width - WIDTH
            assert 0 <= y <= drawn.height - HEIGHT
            for other in placed[number + 1 :]:
                assert abs(x - other[0]) >= WIDTH or abs(y - other[1]) >= HEIGHT

    def test_nothing_to_draw_is_drawn(self) -> None:
        assert drawing([], []).boxes == {}
        assert len(drawing(["a", "b"], []).boxes) == 2
