"""Writes what follows from the contracts: docs/workflows.md, CODEOWNERS, the editors' schema, a DAG's documentation.

The same contracts give the same text, so that a check can compare it with the file that is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from include.contracts.model import Contract, Step, Team
from include.contracts.registry import FOLDER, contracts, load_teams

ROOT = FOLDER.parent.parent
HINT = "python -m include.contracts generate"


def documents(known: Mapping[str, Contract] | None = None) -> dict[Path, str]:
    """Every generated file, by its path below the project's root."""
    entries = contracts() if known is None else known
    return {
        Path("docs/workflows.md"): workflows_page(entries),
        Path("CODEOWNERS"): code_owners(entries),
        Path("include/contracts/contract.schema.json"): schema(),
    }


def drift(root: Path = ROOT) -> list[str]:
    """Which generated files are not as the contracts say, and what to run; empty when all are."""
    problems = []
    for path, content in documents().items():
        file = root / path
        if not file.exists():
            problems.append(f"{path} is missing; run `{HINT}`")
        elif file.read_text(encoding="utf-8") != content:
            problems.append(f"{path} is not what the contracts say; change the contract, then run `{HINT}`")
    return problems


def write(root: Path = ROOT) -> list[Path]:
    """Write the generated files that differ, and return them."""
    changed = []
    for path, content in documents().items():
        file = root / path
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
            changed.append(path)
    return changed


def schema() -> str:
    """The JSON Schema of a contract's file, with the teams' ids, for completion in editors."""
    content = Contract.model_json_schema(mode="validation")
    text = json.dumps(_with_teams(content, sorted(load_teams())), indent=2, ensure_ascii=False)
    return text + "\n"


def _with_teams(node: object, teams: Sequence[str]) -> object:
    if isinstance(node, dict):
        if node.get("x-team"):
            rest = {key: value for key, value in node.items() if key != "x-team"}
            return {**rest, "enum": list(teams)}
        return {key: _with_teams(value, teams) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_teams(value, teams) for value in node]
    return node


def code_owners(known: Mapping[str, Contract]) -> str:
    """CODEOWNERS: who must approve a change of a contract, of its rules and of its DAGs."""
    platform = load_teams()["platform"].code_owner
    lines = [
        f"# Written from the contracts by `{HINT}`; change it there. The last line that fits a path counts.",
        "",
        f"* {platform}",
        f"/include/contracts/ {platform}",
    ]
    for entry in known.values():
        approvers = " ".join(dict.fromkeys(team.code_owner for team in entry.approvers))
        lines += ["", f"# {entry.title}", f"/include/contracts/{entry.workflow}.yaml {approvers}"]
        files = [f"include/domain/{entry.workflow}/", f"dags/{entry.workflow}/"]
        lines += [f"/{file} {approvers}" for file in files if (ROOT / file).exists()]
    return "\n".join(lines) + "\n"


def workflows_page(known: Mapping[str, Contract]) -> str:
    """docs/workflows.md: how the workflows hang together, then each with its diagram."""
    parts = [
        "# Workflows",
        f"Written from the contracts in `include/contracts` by `{HINT}`; change them there.",
        _map(known),
        "| workflow | status | owner | case done within |",
        "|---|---|---|---|",
        *(
            f"| [{entry.title}](#{_anchor(entry.title)}) | {entry.status} | {entry.owner.name} "
            f"| {entry.service_level} |"
            for entry in known.values()
        ),
    ]
    page = "\n\n".join(parts[:3]) + "\n\n" + "\n".join(parts[3:])
    return page + "\n\n" + "\n\n".join(_section(entry) for entry in known.values()) + "\n"


def dag_documentation(contract: Contract, purpose: str = "") -> str:
    """What a DAG's page in the UI says: its own purpose, then what the contract promises and whom to call.

    :param purpose: the DAG file's docstring.
    """
    head = [purpose.strip()] if purpose.strip() else []
    return "\n\n".join([*head, f"## {contract.title}", contract.purpose, *_facts(contract, heading="###")])


def _facts(contract: Contract, heading: str) -> list[str]:
    steps = contract.steps
    tables = [
        ("Who answers", _team_table(_people(contract))),
        ("Steps", _table(("step", "owner", "does", "touches", "within"), (_step_row(step) for step in steps))),
        (
            "What can go wrong",
            _table(
                ("step", "what", "then"),
                ((f"`{step.id}`", risk.what, risk.then) for step in steps for risk in step.can_go_wrong),
            ),
        ),
        (
            "Decisions",
            _table(
                ("step", "question", "decided by", "outcomes", "recorded in"),
                (
                    (f"`{item.step}`", item.question, item.rule, ", ".join(item.outcomes), item.recorded_in)
                    for item in contract.decisions
                ),
            ),
        ),
        (
            "Effects",
            _table(
                ("system", "operation", "delivery", "why"),
                (
                    (system.role, f"`{item.operation}`", item.delivery.replace("_", " "), item.why)
                    for system in contract.systems
                    for item in system.operations
                ),
            ),
        ),
        (
            "When a case is set aside",
            _table(
                ("reason", "means", "what to do", "who"),
                ((f"`{item.code}`", item.meaning, item.do, item.owner.name) for item in contract.exceptions),
            ),
        ),
    ]
    return [f"{heading} {title}\n\n{table}" for title, table in tables if table]


def _section(contract: Contract) -> str:
    parts = [f"## {contract.title}", contract.purpose]
    if contract.status == "declared":
        parts.append("**Declared, not built yet:** its cases are opened by handoff, and wait for the owner.")
    parts += [f"**Trigger:** {contract.trigger.description}"]
    if contract.sources:
        parts.append("**Sources:** " + ", ".join(f"`{source}`" for source in contract.sources))
    if contract.dags:
        parts.append(_table(("DAG", "for"), ((f"`{dag}`", text) for dag, text in contract.dags.items())))
    if contract.steps:
        parts.append(_diagram(contract))
    parts += _facts(contract, heading="###")
    parts.append(
        "### Inputs\n\n"
        + _table(
            ("input", "what", "required", "personal"),
            ((item.name, item.description, _yes(item.required), _yes(item.personal)) for item in contract.inputs),
        )
    )
    if contract.fields:
        parts.append(
            "### Who owns which field of the CRM\n\n"
            + _table(
                ("field", "owner", "rule"),
                (
                    (f"`{kind}.{name}`", rule.owner, _rule(rule.rule, rule.order))
                    for kind, rules in contract.fields.items()
                    for name, rule in rules.items()
                ),
            )
        )
    if contract.handoffs:
        parts.append(
            "### Handoffs\n\n"
            + _table(
                ("to", "at", "when", "carries"),
                ((f"`{item.to}`", f"`{item.step}`", item.when, ", ".join(item.carries)) for item in contract.handoffs),
            )
        )
    parts.append(
        "### Outputs\n\n"
        + _table(("output", "where", "used by"), ((item.name, item.where, item.used_by) for item in contract.outputs))
    )
    kept = contract.retention
    parts.append(
        f"**Kept:** deliveries {kept.deliveries.days} days, personal data {kept.personal_data.days} days, "
        f"events {kept.events.days} days. {kept.why}"
    )
    return "\n\n".join(parts)


def _rule(rule: str, order: Sequence[str] | None) -> str:
    words = {
        "first": "the first known value stays",
        "latest": "the newest value that is not blank",
        "fill_blank": "written only where nothing is",
        "never_backwards": "only forward: ",
    }[rule]
    return words + " → ".join(order or ())


def _people(contract: Contract) -> list[Team]:
    teams = [contract.owner, *(step.owner for step in contract.steps), *(item.owner for item in contract.exceptions)]
    return list({team.id: team for team in teams}.values())


def _team_table(teams: Iterable[Team]) -> str:
    return _table(
        ("team", "mail", "alerts", "at 2 a.m."),
        ((team.name, team.email, team.chat, f"{team.on_call.name}, {team.on_call.reach}") for team in teams),
    )


def _step_row(step: Step) -> Sequence[str]:
    return f"`{step.id}`", step.owner.name, step.does, ", ".join(step.systems), str(step.service_level)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, or nothing where there are no rows."""
    lines = ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *lines])


def _diagram(contract: Contract) -> str:
    """The steps from top to bottom, the systems that they touch, quarantine and handoffs, as Mermaid."""
    lines = ["```mermaid", "flowchart TD", f'    trigger(["{_label(contract.trigger.description)}"])']
    lines += [f'    {step.id}["{_label(step.title)}<br/>{_label(step.owner.name)}"]' for step in contract.steps]
    chain = ["trigger", *contract.step_ids]
    lines += [f"    {one} --> {other}" for one, other in pairwise(chain)]
    lines += [f'    system_{system.role}[("{system.role}: {_label(system.purpose)}")]' for system in contract.systems]
    lines += [
        f"    {step.id} -.-> system_{role}" for step in contract.steps for role in step.systems if role != "database"
    ]
    for item in contract.decisions:
        if "quarantine" in item.outcomes:
            lines += ['    quarantine{{"Quarantine: waits for a person"}}', f"    {item.step} -->|fails| quarantine"]
    lines += [f'    {item.step} ==> handoff_{item.to}[["{item.to}"]]' for item in contract.handoffs]
    return "\n".join([*lines, "```"])


def _map(known: Mapping[str, Contract]) -> str:
    lines = ["```mermaid", "flowchart LR"]
    lines += [
        f'    {entry.workflow}["{_label(entry.title)}"]' + ("" if entry.status == "built" else ":::declared")
        for entry in known.values()
    ]
    lines += [f"    {entry.workflow} ==> {item.to}" for entry in known.values() for item in entry.handoffs]
    return "\n".join([*lines, "    classDef declared stroke-dasharray: 5 5", "```"])


def _label(text: str) -> str:
    return text.replace('"', "'").replace("\n", " ")


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter == "-")


def _yes(value: bool) -> str:
    return "yes" if value else "no"
