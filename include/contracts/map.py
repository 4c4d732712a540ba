"""The map of all workflows: what there is, what rests on what, and what else is touched when a part goes away.

Pure: made of contracts, and drawn elsewhere. People and rules of approval are added by whoever knows them.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from include.contracts.model import Contract, Step

DATABASE = "database"
"""The system that a contract's steps name when they touch Waybill's own tables and nothing outside."""

Kind = Literal["workflow", "step", "decision", "output", "source", "system", "dag", "team", "role", "person"]


@dataclass(frozen=True)
class Node:
    """One part of the company's work.

    :param id: its kind and its name, such as `step:lead_to_client.assign`.
    :param about: a sentence; empty where the title says it all.
    :param workflow: the workflow that it is a part of; None for what several share.
    """

    id: str
    kind: Kind
    title: str
    about: str = ""
    workflow: str | None = None


@dataclass(frozen=True)
class Edge:
    """When `start` goes away, `end` is touched.

    :param why: how `end` rests on `start`, as the rest of a sentence that begins with `end` and calls `start` it.
    :param spreads: `end` cannot go on without `start`, so that what rests on `end` is touched as well.
    """

    start: str
    end: str
    why: str
    spreads: bool = False


@dataclass(frozen=True)
class Touched:
    """Something that is touched when another part goes away.

    :param through: the edges that lead there, the nearest way; more than one where it is touched by way of others.
    """

    node: Node
    through: tuple[Edge, ...]

    @property
    def why(self) -> str:
        """How it rests on the last of them."""
        return self.through[-1].why

    @property
    def direct(self) -> bool:
        """Whether it rests on what went away itself."""
        return len(self.through) == 1


@dataclass(frozen=True)
class Map:
    """All parts by their id, and what rests on what."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    def of(self, kind: Kind) -> list[Node]:
        """Every part of a kind, in the order in which contracts name them."""
        return [node for node in self.nodes.values() if node.kind == kind]

    def touched(self, node_id: str) -> list[Touched]:
        """Everything that is touched when a part goes away, with why; what rests on it directly comes first.

        :raises KeyError: for a part that is not on the map.
        """
        found: dict[str, Touched] = {}
        leaving: dict[str, list[Edge]] = {}
        for edge in self.edges:
            leaving.setdefault(edge.start, []).append(edge)
        ways: deque[tuple[str, tuple[Edge, ...]]] = deque([(self.nodes[node_id].id, ())])
        expanded = set()
        while ways:
            here, through = ways.popleft()
            if here in expanded:
                continue
            expanded.add(here)
            for edge in leaving.get(here, ()):
                if edge.end == node_id:
                    continue
                found.setdefault(edge.end, Touched(self.nodes[edge.end], (*through, edge)))
                if edge.spreads:
                    ways.append((edge.end, (*through, edge)))
        return list(found.values())

    def rests_on(self, node_id: str) -> list[tuple[Node, str]]:
        """The parts that one rests on, each with how.

        :raises KeyError: for a part that is not on the map.
        """
        wanted = self.nodes[node_id].id
        return [(self.nodes[edge.start], edge.why) for edge in self.edges if edge.end == wanted]

    def plus(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> Map:
        """This map and further parts of it."""
        return Map({**self.nodes, **{node.id: node for node in nodes}}, (*self.edges, *edges))


def workflow_id(workflow: str) -> str:
    """The id of a workflow on the map."""
    return f"workflow:{workflow}"


def step_id(workflow: str, step: str) -> str:
    """The id of a step on the map."""
    return f"step:{workflow}.{step}"


def decision_id(workflow: str, decision: str) -> str:
    """The id of a decision on the map."""
    return f"decision:{workflow}.{decision}"


def main_dag(contract: Contract) -> str | None:
    """The DAG whose tasks are the contract's steps: the one with the workflow's name, else the first named."""
    return contract.workflow if contract.workflow in contract.dags else next(iter(contract.dags), None)


def map_of(contracts: Mapping[str, Contract]) -> Map:
    """The map of these workflows."""
    nodes: dict[str, Node] = {}
    for contract in contracts.values():
        for node in _nodes(contract):
            nodes.setdefault(node.id, node)
    edges: dict[tuple[str, str], Edge] = {}
    for contract in contracts.values():
        for edge in _edges(contract, contracts):
            known = edges.get((edge.start, edge.end))
            edges[edge.start, edge.end] = _both(known, edge) if known else edge
    return Map(nodes, tuple(edges.values()))


def _both(one: Edge, other: Edge) -> Edge:
    why = one.why if other.why in one.why else f"{one.why}; {other.why}"
    return Edge(one.start, one.end, why, one.spreads or other.spreads)


def _nodes(contract: Contract) -> Iterator[Node]:
    name = contract.workflow
    yield Node(workflow_id(name), "workflow", contract.title, contract.purpose, name)
    for source in contract.sources:
        yield Node(f"source:{source}", "source", source, "Sends deliveries.")
    for dag, purpose in contract.dags.items():
        yield Node(f"dag:{dag}", "dag", dag, purpose, name)
    for step in contract.steps:
        yield Node(step_id(name, step.id), "step", step.title, step.does, name)
        for role in step.systems:
            title = "Waybill's database" if role == DATABASE else role.upper() if len(role) == 3 else role.capitalize()
            yield Node(f"system:{role}", "system", title)
    for decision in contract.decisions:
        about = f"{decision.rule}. Outcomes: {', '.join(decision.outcomes)}."
        yield Node(decision_id(name, decision.id), "decision", decision.question, about, name)
    for number, output in enumerate(contract.outputs, 1):
        about = f"{output.where}; used by {output.used_by}."
        yield Node(f"output:{name}.{number}", "output", output.name, about, name)
    teams = [contract.owner, *contract.approvers, *(step.owner for step in contract.steps)]
    for team in [*teams, *(entry.owner for entry in contract.exceptions)]:
        yield Node(f"team:{team.id}", "team", team.name)


def _edges(contract: Contract, contracts: Mapping[str, Contract]) -> Iterator[Edge]:
    here = workflow_id(contract.workflow)
    steps = [step_id(contract.workflow, step.id) for step in contract.steps]
    first, main = steps[0] if steps else here, main_dag(contract)
    for source in contract.sources:
        yield Edge(f"source:{source}", first, "begins with what it sends", spreads=True)
    for dag, purpose in contract.dags.items():
        yield Edge(f"dag:{dag}", here, f"has it for this: {purpose}")
        yield Edge(here, f"dag:{dag}", "works for it")
    for end in steps:
        yield Edge(here, end, "is a step of it", spreads=True)
        if main is not None:
            yield Edge(f"dag:{main}", end, "is run by it", spreads=True)
    for start, end in itertools.pairwise(steps):
        yield Edge(start, end, "gets its cases from it", spreads=True)
    for number in range(1, len(contract.outputs) + 1):
        yield Edge(steps[-1] if steps else here, f"output:{contract.workflow}.{number}", "is finished by it")
    for step in contract.steps:
        yield from _edges_of_step(contract, step)
    for decision in contract.decisions:
        start = step_id(contract.workflow, decision.step)
        yield Edge(start, decision_id(contract.workflow, decision.id), "is decided in it")
    for handoff in contract.handoffs:
        to = contracts[handoff.to]
        giver = step_id(contract.workflow, handoff.step)
        taker = step_id(to.workflow, to.steps[0].id) if to.steps else workflow_id(to.workflow)
        yield Edge(giver, taker, f"is handed cases by it: {_lowered(handoff.when)}", spreads=True)
        yield Edge(workflow_id(to.workflow), giver, f"hands cases over to it: {_lowered(handoff.when)}")
    yield from _edges_of_teams(contract)


def _edges_of_step(contract: Contract, step: Step) -> Iterator[Edge]:
    end = step_id(contract.workflow, step.id)
    purposes = {use.role: use.purpose for use in contract.systems}
    for role in step.systems:
        why = f"needs it: {_lowered(purposes[role])}" if role in purposes else "keeps its work in it"
        yield Edge(f"system:{role}", end, why, spreads=True)
    yield Edge(f"team:{step.owner.id}", end, "is answered for by it")


def _edges_of_teams(contract: Contract) -> Iterator[Edge]:
    here = workflow_id(contract.workflow)
    yield Edge(f"team:{contract.owner.id}", here, "is owned by it")
    for team in contract.approvers:
        yield Edge(f"team:{team.id}", here, "has changes of its contract approved by it")
    codes: dict[str, list[str]] = {}
    for entry in contract.exceptions:
        codes.setdefault(entry.owner.id, []).append(entry.code)
    for team_id, stopped in codes.items():
        yield Edge(f"team:{team_id}", here, f"has it act on cases set aside for {', '.join(stopped)}")


def _lowered(sentence: str) -> str:
    """A sentence as the rest of another one; an abbreviation or a name of one letter stays as it is."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence
