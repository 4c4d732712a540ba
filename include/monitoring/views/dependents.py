"""Adds to the map who decides: people, their roles, and the rules of approval that name them.

People whom only a request's own facts name, such as the owner of a cost centre, are not on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from include.approvals.messages import STEP
from include.approvals.people import People
from include.approvals.policy import Matrix, load
from include.contracts.map import Edge, Map, Node, decision_id, workflow_id
from include.contracts.model import Contract

POLICIES = Path(__file__).parents[2] / "domain"


@cache
def matrices() -> Mapping[str, Matrix]:
    """The approval matrix of every workflow that has one, read once per process."""
    return {path.parent.name: load(path) for path in sorted(POLICIES.glob("*/policy.yaml"))}


def with_people(plan: Map, known: People, contracts: Mapping[str, Contract], asked_by: Mapping[str, Matrix]) -> Map:
    """The map and, on it, everybody who can decide.

    :param asked_by: workflow -> its approval matrix.
    """
    return plan.plus(_nodes(known), (*_edges_of_people(known), *_edges_of_rules(contracts, asked_by)))


def _nodes(known: People) -> Iterator[Node]:
    for person in known:
        if person.decides:
            yield Node(f"person:{person.id}", "person", person.name, f"Works in {person.department}.")
    for role in _roles(known):
        yield Node(f"role:{role}", "role", role.replace("_", " ").capitalize(), "A role that approvals ask for.")


def _roles(known: People) -> list[str]:
    return sorted({role for person in known if person.decides for role in person.roles})


def _edges_of_people(known: People) -> Iterator[Edge]:
    for role in _roles(known):
        holders = known.holders(role)
        for person in holders:
            others = ", ".join(each.name for each in holders if each is not person)
            why = f"is held by them, and by {others}" if others else "is held by them alone"
            yield Edge(f"person:{person.id}", f"role:{role}", why, spreads=not others)
    for person in known:
        if person.decides and person.manager and known.decides(person.manager):
            above = known.next_in_line(person.manager)
            instead = f"in their place {above.name} decides" if above else "nobody is above them"
            why = f"has them as manager; {instead}"
            yield Edge(f"person:{person.manager}", f"person:{person.id}", why)


def _edges_of_rules(contracts: Mapping[str, Contract], asked_by: Mapping[str, Matrix]) -> Iterator[Edge]:
    for workflow, matrix in asked_by.items():
        rules: dict[str, list[str]] = {}
        for who, rule in _asked(matrix):
            kind, _, name = who.partition(":")
            if kind in ("role", "person") and rule not in rules.setdefault(f"{kind}:{name}", []):
                rules[f"{kind}:{name}"].append(rule)
        for start, named in rules.items():
            why = f"names it in its rules {', '.join(named)}; in its place the next in line is asked"
            yield Edge(start, _decided(contracts[workflow]), why)


def _asked(matrix: Matrix) -> Iterator[tuple[str, str]]:
    """Who is asked, with the id of the rule that says so."""
    for _, bands in matrix.sets():
        for band in bands:
            for stage in band.stages:
                yield from ((who, band.id) for who in stage.who)
    for rule in matrix.also:
        yield from ((who, rule.id) for who in rule.who)
    if matrix.otherwise:
        yield matrix.otherwise, "otherwise"


def _decided(contract: Contract) -> str:
    """The decision that an approval matrix is about."""
    for decision in contract.decisions:
        if decision.decided_by == "person" and decision.step == STEP:
            return decision_id(contract.workflow, decision.id)
    return workflow_id(contract.workflow)
