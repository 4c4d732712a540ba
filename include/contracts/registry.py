"""Finds and reads the contracts, and compares them with what is there.

The files are read once per process. Writing documents from them is generate.py's part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from include.contracts.documents import DocumentError, read
from include.contracts.model import Contract, Team

FOLDER = Path(__file__).parent
TEAMS_FILE = "teams.yaml"


class ContractError(ValueError):
    """Contracts that cannot be used; the message lists every fault and what to write."""


def load_teams(folder: Path = FOLDER) -> dict[str, Team]:
    """The teams of teams.yaml by their id. ContractError lists what is wrong with the file."""
    path = folder / TEAMS_FILE
    try:
        entries = read(path)
    except DocumentError as error:
        raise ContractError(str(error)) from None
    teams: dict[str, Team] = {}
    faults: list[str] = []
    for team_id, entry in entries.items():
        try:
            teams[team_id] = Team.model_validate({"id": team_id, **entry} if isinstance(entry, dict) else entry)
        except ValidationError as error:
            faults += _explain(path.name, error, {team_id: entry}, prefix=(team_id,))
    if faults:
        raise ContractError("\n".join(faults))
    return teams


def load(folder: Path = FOLDER) -> dict[str, Contract]:
    """Every contract of a folder by its workflow, in alphabetical order.

    ContractError lists every fault of every file: an unknown key, a missing owner, an unknown team, a handoff
    to a workflow that no contract declares.
    """
    teams = load_teams(folder)
    contracts: dict[str, Contract] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name == TEAMS_FILE:
            continue
        try:
            content = read(path)
            entry = Contract.model_validate(content, context={"teams": teams})
        except DocumentError as error:
            faults.append(str(error))
            continue
        except ValidationError as error:
            faults += _explain(path.name, error, content, teams=teams)
            continue
        if entry.workflow != path.stem:
            faults.append(f"{path.name}: workflow is {entry.workflow!r}; name the file {entry.workflow}.yaml")
        contracts[entry.workflow] = entry
    if not faults:
        faults = list(_compare(contracts))
    if faults:
        raise ContractError("\n".join(faults))
    return contracts


@cache
def contracts() -> Mapping[str, Contract]:
    """The shipped contracts by workflow, read once per process."""
    return MappingProxyType(load())


def contract(workflow: str) -> Contract:
    """The contract of a workflow. KeyError names those that there are."""
    known = contracts()
    if workflow not in known:
        raise KeyError(
            f"there is no contract for {workflow!r}: write include/contracts/{workflow}.yaml "
            f"(known: {', '.join(known)})"
        )
    return known[workflow]


def contract_of_dag(dag_id: str) -> Contract:
    """The contract that names this DAG under `dags`. KeyError says what to write."""
    for entry in contracts().values():
        if dag_id in entry.dags:
            return entry
    raise KeyError(f"no contract names the DAG {dag_id!r}: write it under `dags` of the workflow that it carries")


def compare_with_tasks(contract: Contract, task_ids: Iterable[str]) -> list[str]:
    """What to write so that a contract's steps and a DAG's tasks are the same; empty when they are.

    Tasks whose id starts with an underscore, and tasks inside a group named like a step, need no step.
    """
    where = f"include/contracts/{contract.workflow}.yaml"
    tops = {task_id.split(".", 1)[0] for task_id in task_ids}
    problems = [
        f"{contract.workflow}: step {step!r} has no task; write a task with task_id={step!r} in its DAG, "
        f"or take the step out of {where}"
        for step in contract.step_ids
        if step not in tops
    ]
    problems += [
        f"{contract.workflow}: task {task!r} has no step; write one with `id: {task}` in {where}, "
        f"or take the task out of the DAG"
        for task in sorted(tops)
        if task not in contract.step_ids and not task.startswith("_")
    ]
    return problems


def _compare(contracts: Mapping[str, Contract]) -> Iterable[str]:
    dags: dict[str, str] = {}
    for entry in contracts.values():
        for handoff in entry.handoffs:
            if handoff.to not in contracts:
                yield (
                    f"{entry.workflow}.yaml: handoff to {handoff.to!r}, which no contract declares; "
                    f"write {handoff.to}.yaml with `status: declared`"
                )
        for dag_id in entry.dags:
            if dag_id in dags:
                yield f"{entry.workflow}.yaml: {dags[dag_id]} has the DAG {dag_id!r} already; keep one"
            dags[dag_id] = entry.workflow


def _explain(
    file: str,
    error: ValidationError,
    content: object,
    *,
    teams: Mapping[str, Team] | None = None,
    prefix: tuple[str, ...] = (),
) -> list[str]:
    """Each fault of a file as one line: where, what, and what to write."""
    lines = []
    for fault in error.errors():
        place = [*prefix, *fault["loc"]]
        where, name = _place(content, place), str(place[-1]) if place else ""
        if fault["type"] == "missing":
            text = f"{name!r} is missing; write it"
            if name == "owner" and teams:
                text = f"the owner is missing; write `owner:` and one of: {', '.join(sorted(teams))}"
        elif fault["type"] == "extra_forbidden":
            text = f"unknown key {name!r}; take it out, or correct its spelling"
        else:
            text = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{file}: {where}: {text}" if where else f"{file}: {text}")
    return lines


def _place(content: object, location: list[int | str]) -> str:
    """`steps 'assign' → owner`: entries of a list by their id where they have one."""
    parts: list[str] = []
    for key in location:
        if isinstance(content, dict):
            content = content.get(key)
            parts.append(str(key))
        elif isinstance(key, int) and isinstance(content, list) and key < len(content):
            content = content[key]
            names = content if isinstance(content, dict) else {}
            label = next(
                (names[name] for name in ("id", "code", "role", "operation", "name", "to") if name in names),
                key,
            )
            parts[-1:] = [f"{parts[-1]} {label!r}"] if parts else [repr(label)]
        else:
            parts.append(str(key))
    return " → ".join(parts)
