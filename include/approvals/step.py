"""What a workflow's step of approval does: whether a request is approved, refused or still to be decided, by its round.

Idempotent: it looks at how the round of the present content stands, and at nothing else. Where a request is kept, and
what its approvers are shown, is the workflow's part; starting the run in which a round is asked is the task's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from include.approvals import rounds
from include.approvals.policy import Routing
from include.approvals.rounds import Ask, Round
from include.approvals.routing import BY_RULE
from include.cases.model import Reason, StepResult, Work
from include.contracts.registry import contract

REFUSALS = ("rejected", "withdrawn")
"""States of a round that end its case, with an outcome of the same name."""


@dataclass(frozen=True)
class Request:
    """A request as it was routed.

    :param entered_by: who typed it in, and whose approval therefore does not count.
    :param digest: of what is decided on; None where it was not routed, or changed since.
    :param routing: as `Routing.as_json` made it.
    :param approved_by: by which rule or round it is approved.
    """

    case_id: int
    requester: str
    entered_by: str | None
    digest: str | None
    routing: Mapping[str, Any] | None
    approved_by: str | None


@dataclass(frozen=True)
class Question:
    """What approvers are shown of a request: a title, and label and value of everything that they decide on."""

    title: str
    shown: Sequence[Sequence[str]]


@dataclass
class Decided:
    """What came of a batch.

    :param approved: case -> the round that approves it, as `approved_by` has it; these go on.
    """

    result: StepResult = field(default_factory=StepResult)
    approved: dict[int, str] = field(default_factory=dict)


Questions = Callable[[Sequence[int]], Mapping[int, Question]]


def decide(work: Work, requests: Iterable[Request], questions: Questions, *, send_back: str = "route") -> Decided:
    """Let approved requests go on, close refused ones, and ask about the others; these wait for whoever is asked.

    :param questions: given the cases that are asked about now, returns what is asked of each.
    :param send_back: the step that routes; what has no routing goes back there.
    """
    connection, decided = work.connection, Decided()
    found = sorted(requests, key=lambda request: request.case_id)
    standing = rounds.latest(connection, [request.case_id for request in found])
    forbidden = _decided_by_whoever_typed(connection, found)
    to_ask, settled = [], []
    result = decided.result
    for request in found:
        case_id, last = request.case_id, standing.get(request.case_id)
        if (request.approved_by or "").startswith(BY_RULE):
            continue
        if request.digest is None or request.routing is None:
            result.send_back[case_id] = send_back
        elif last is None or last.digest != request.digest or last.state in ("open", "asked", "void"):
            to_ask.append(request)
        elif last.state == "approved" and last.id in forbidden:
            result.quarantine[case_id] = [_typed_by_approver()]
        elif last.state == "approved":
            decided.approved[case_id] = f"round:{last.id}"
            settled.append(last.id)
        elif last.state in REFUSALS:
            result.close[case_id] = last.state
            settled.append(last.id)
        elif last.settled:  # it expired, was set aside for it, and a person released it: it is asked about anew
            to_ask.append(request)
        else:
            result.quarantine[case_id] = [_expired(last)]
            settled.append(last.id)
    rounds.settle(connection, settled)
    result.wait |= _ask(work, to_ask, questions)
    return decided


def _ask(work: Work, requests: Sequence[Request], questions: Questions) -> dict[int, str]:
    """Open the rounds of these requests, and return for whom each case waits."""
    if not requests:
        return {}
    asked = questions([request.case_id for request in requests])
    opened = rounds.open_rounds(
        work.connection,
        [
            Ask(
                case_id=request.case_id,
                workflow=work.workflow,
                requester=request.requester,
                title=asked[request.case_id].title,
                shown=asked[request.case_id].shown,
                digest=request.digest or "",
                routing=Routing.from_json(request.routing or {}),
            )
            for request in requests
        ],
    )
    team = contract(work.workflow).step(work.step).owner.id
    return {case_id: next(iter(each.waits_for), team) for case_id, each in opened.items()}


def _decided_by_whoever_typed(connection: Connection, requests: Iterable[Request]) -> set[int]:
    """Rounds in which somebody decided who had typed the request in for another, as a deputy for example."""
    typed = {request.case_id: request.entered_by for request in requests if request.entered_by}
    return set(
        connection.execute(
            text("""
                select distinct d.round_id from approval_decisions d
                join approval_rounds o on o.id = d.round_id
                join unnest(cast(:cases as bigint[]), cast(:persons as text[])) as v(case_id, person)
                  on v.case_id = o.case_id and v.person = d.person
                where d.answer = 'approve'"""),
            {"cases": list(typed), "persons": list(typed.values())},
        ).scalars()
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
