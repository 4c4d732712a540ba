"""The map: every workflow drawn from its contract, what stands where now, and what is touched if a part goes away."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import groupby

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from include.approvals import rounds
from include.approvals.people import people
from include.contracts.layout import HEIGHT, WIDTH, Drawing, drawing
from include.contracts.map import Kind, Map, Touched, decision_id, map_of, step_id
from include.contracts.registry import contracts
from include.data.database import engine
from include.monitoring.views.board import StageStanding, stages
from include.monitoring.views.dependents import matrices, with_people
from waybill.pages.rendering import page
from waybill.pages.visitor import Looking, Visitor

KINDS: dict[Kind, tuple[str, str]] = {
    "workflow": ("workflow", "Workflows"),
    "step": ("step", "Steps"),
    "decision": ("decision", "Decisions"),
    "output": ("output", "Outputs"),
    "system": ("system", "Systems"),
    "source": ("source", "Sources"),
    "team": ("team", "Teams"),
    "dag": ("DAG", "DAGs"),
    "role": ("role in approvals", "Roles in approvals"),
    "person": ("person", "People"),
}
"""What a part is called, alone and in a heading."""
LISTED: tuple[Kind, ...] = ("system", "source", "team", "dag", "role", "person")
"""The parts that workflows share; the others are drawn with their workflow."""
MOST_WAITING = 50

router = APIRouter(prefix="/map")


@router.get("")
def show(visitor: Looking) -> HTMLResponse:
    """Draw it."""
    plan, declared = _map(visitor), contracts()
    with engine().connect() as connection:
        standing = stages(connection, declared)
    return page(
        "map.html", visitor, tab="map", contracts=declared, drawn=_drawn(), box=(WIDTH, HEIGHT),
        standing={
            step_id(workflow, each.step): each for workflow, found in standing.items() for each in found
        },
        open_cases={workflow: _open(found) for workflow, found in standing.items()},
        shared={kind: plan.of(kind) for kind in LISTED if plan.of(kind)}, kinds=KINDS,
        step_id=step_id, decision_id=decision_id,
    )  # fmt: skip


@router.get("/{node_id}")
def one(node_id: str, visitor: Looking) -> HTMLResponse:
    """Show one part: what it is, what stands there, and what else is touched if it goes away."""
    plan = _map(visitor)
    if node_id not in plan.nodes:
        raise HTTPException(404, "there is no such part on the map; people are on it for the role Op only")
    node, touched = plan.nodes[node_id], plan.touched(node_id)
    with engine().connect() as connection:
        standing = stages(connection, contracts())
        waiting = (
            rounds.waiting(connection, person=node_id.partition(":")[2], limit=MOST_WAITING + 1)
            if node.kind == "person"
            else []
        )
    counts = {step_id(workflow, each.step): each for workflow, found in standing.items() for each in found}
    return page(
        "map_node.html", visitor, tab="map", node=node, kinds=KINDS, standing=counts, plan=plan,
        direct=_by_kind([each for each in touched if each.direct]),
        further=_by_workflow(plan, [each for each in touched if not each.direct]),
        rests_on=plan.rests_on(node_id), waiting=waiting, most=MOST_WAITING,
        held_up=sum(counts[each.node.id].cases for each in touched if each.node.id in counts),
    )  # fmt: skip


def _map(visitor: Visitor) -> Map:
    """The map as somebody may see it: who decides about what is for those who act."""
    return with_people(_plan(), people(), contracts(), matrices()) if visitor.acts else _plan()


@cache
def _plan() -> Map:
    return map_of(contracts())


@cache
def _drawn() -> Drawing:
    declared = contracts()
    arrows = {(of.workflow, handoff.to): None for of in declared.values() for handoff in of.handoffs}
    return drawing(list(declared), list(arrows))


def _open(found: list[StageStanding]) -> int:
    return sum(each.cases for each in found)


def _by_kind(touched: list[Touched]) -> Mapping[Kind, list[Touched]]:
    order = list(KINDS)
    found = sorted(touched, key=lambda each: order.index(each.node.kind))
    return {kind: list(group) for kind, group in groupby(found, key=lambda each: each.node.kind)}


def _by_workflow(plan: Map, touched: list[Touched]) -> Mapping[str, list[Touched]]:
    """What is touched by way of other parts, workflow by workflow; what belongs to none comes last, under no name."""
    place = {node_id: number for number, node_id in enumerate(plan.nodes)}
    found = sorted(
        touched, key=lambda each: (each.node.workflow is None, each.node.workflow or "", place[each.node.id])
    )
    return {workflow: list(group) for workflow, group in groupby(found, key=lambda each: each.node.workflow or "")}
