"""The step `approve`: whether a request is approved, refused or still to be decided, by its round and nothing else.

Idempotent: it looks at how the round of the present content stands. Who may answer is `include.approvals`' part, and
starting the run in which the round is asked is the task's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals import rounds
from include.approvals.policy import Routing
from include.approvals.rounds import Ask, Round
from include.cases.model import Reason, StepResult, Work
from include.contracts.registry import contract
from include.domain.purchase_approval.budget import BY_RULE
from include.domain.purchase_approval.close import report
from include.domain.purchase_approval.content import contents

REFUSALS = ("rejected", "withdrawn")
"""States of a round that end its case, with an outcome of the same name."""


def approve(work: Work) -> StepResult:
    """Let approved requests go on, close refused ones, and ask about the others; these wait for whoever is asked."""
    connection, result = work.connection, StepResult()
    standing = rounds.latest(connection, work.case_ids)
    forbidden = _decided_by_whoever_typed(connection, work.case_ids)
    to_ask, approved, settled = [], {}, []
    for row in _requests(connection, work.case_ids):
        case_id, last = row["case_id"], standing.get(row["case_id"])
        if (row["approved_by"] or "").startswith(BY_RULE):
            continue
        if row["digest"] is None or row["routing"] is None:
            result.send_back[case_id] = "route"
        elif last is None or last.digest != row["digest"] or last.state in ("open", "asked", "void"):
            to_ask.append(row)
        elif last.state == "approved" and last.id in forbidden:
            result.quarantine[case_id] = [_typed_by_approver()]
        elif last.state == "approved":
            approved[case_id] = f"round:{last.id}"
            settled.append(last.id)
        elif last.state in REFUSALS:
            result.close[case_id] = last.state
            settled.append(last.id)
        elif last.settled:  # it expired, was set aside for it, and a person released it: it is asked about anew
            to_ask.append(row)
        else:
            result.quarantine[case_id] = [_expired(last)]
            settled.append(last.id)
    rounds.settle(connection, settled)
    _write(connection, approved)
    report(connection, result.close)
    result.wait |= _ask(work, to_ask)
    return result


def _ask(work: Work, rows: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Open the rounds of these requests, and return for whom each case waits."""
    found = contents(work.connection, [row["case_id"] for row in rows])
    opened = rounds.open_rounds(
        work.connection,
        [
            Ask(
                case_id=row["case_id"],
                workflow=work.workflow,
                requester=row["requester"],
                title=found[row["case_id"]].title,
                shown=found[row["case_id"]].shown(),
                digest=row["digest"],
                routing=Routing.from_json(row["routing"]),
            )
            for row in rows
        ],
    )
    team = contract(work.workflow).step(work.step).owner.id
    return {row["case_id"]: next(iter(opened[row["case_id"]].waits_for), team) for row in rows}


def _requests(connection: Connection, case_ids: Sequence[int]) -> list[dict[str, Any]]:
    rows = connection.execute(
        text("""
            select case_id, requester, digest, routing, approved_by from purchase_requests
            where case_id = any(:ids) order by case_id"""),
        {"ids": list(case_ids)},
    ).mappings()
    return [dict(row) for row in rows]


def _decided_by_whoever_typed(connection: Connection, case_ids: Sequence[int]) -> set[int]:
    """Rounds in which somebody decided who had typed the request in for another, as a deputy for example."""
    return set(
        connection.execute(
            text("""
                select distinct d.round_id from approval_decisions d
                join approval_rounds o on o.id = d.round_id
                join purchase_requests r on r.case_id = o.case_id
                where r.case_id = any(:ids) and d.answer = 'approve' and d.person = r.entered_by"""),
            {"ids": list(case_ids)},
        ).scalars()
    )


def _write(connection: Connection, approved: dict[int, str]) -> None:
    connection.execute(
        text("""
            update purchase_requests r set approved_by = v.by, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, by text) where r.case_id = v.case_id"""),
        {"rows": Jsonb([{"case_id": case_id, "by": by} for case_id, by in approved.items()])},
    )


def _expired(last: Round) -> Reason:
    return Reason(
        "approval.expired",
        f"Nobody decided in time, in round {last.number}; time running out approves nothing. Ask those who should have"
        " decided, then release the request to ask again, or discard it.",
    )


def _typed_by_approver() -> Reason:
    return Reason(
        "approval.entered_by",
        "Somebody approved who had typed this request in for another. Have it entered by the requester.",
    )
