"""Who is asked about one request of a workflow: the matrix's answer, without whoever typed it in for another.

Which facts a request has is the workflow's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals import policy
from include.approvals.people import People, Person
from include.approvals.policy import Matrix, Routing, StagePlan, Unroutable
from include.cases import store
from include.cases.model import Reason, StepResult

BY_RULE = "rule:"
"""How `approved_by` begins where nobody was asked; the band's or rule's id follows."""


def routed(matrix: Matrix, facts: Mapping[str, Any], requester: str, entered_by: str | None, who: People) -> Routing:
    """Return who is asked about a request; never the requester, and never whoever typed it in for them.

    :raises Unroutable: when the matrix cannot say.
    """
    routing = policy.route(matrix, facts, requester, who)
    if entered_by is None or entered_by == requester:
        return routing
    return replace(
        routing,
        stages=tuple(_without(stage, entered_by, (requester, matrix.otherwise), who) for stage in routing.stages),
    )


def route_requests(
    connection: Connection, table: str, digests: Mapping[int, str], ask: Callable[[int], Routing]
) -> StepResult:
    """Write for each request who is asked about it, or by which rule nobody is; set aside those with no answer.

    :param table: of the workflow's requests, with `policy`, `routing`, `digest` and `approved_by`.
    :param digests: case -> the digest of what its approvers will be shown.
    :param ask: returns a case's routing, or raises Unroutable.
    """
    result, rows, events = StepResult(), [], {}
    for case_id, digest in digests.items():
        try:
            routing = ask(case_id)
        except Unroutable as error:
            code = f"route.{error.code.replace('.', '_')}"
            result.quarantine[case_id] = [Reason(code, f"Nobody can be asked: {error.message}.")]
            continue
        rows.append(
            {
                "case_id": case_id,
                "policy": routing.policy,
                "routing": routing.as_json(),
                "digest": digest,
                "approved_by": f"{BY_RULE}{routing.by_rule}" if routing.by_rule else None,
            }
        )
        rules = [stage.rule for stage in routing.stages] or [str(routing.by_rule)]
        events[case_id] = {"rules": rules, "policy": routing.policy, "digest": digest}
    connection.execute(
        text(f"""
            update {table} r set policy = v.policy, routing = v.routing, digest = v.digest,
                                 approved_by = v.approved_by, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, policy text, routing jsonb, digest text,
                                                approved_by text)
            where r.case_id = v.case_id"""),
        {"rows": Jsonb(rows)},
    )
    store.record_each(connection, "routed", events)
    return result


def _without(stage: StagePlan, entered_by: str, asked: tuple[str, str | None], who: People) -> StagePlan:
    """The same stage with the next in line in the place of whoever typed the request in."""
    if entered_by not in stage.seats:
        return stage
    seats = [seat for seat in stage.seats if seat != entered_by]
    requester, otherwise = asked
    not_these = {requester, entered_by, *seats}
    standing_in = who.next_in_line(entered_by, not_these)
    if standing_in is None:
        standing_in = next((each for each in _left(otherwise, who) if each.decides and each.id not in not_these), None)
    if standing_in is None and len(seats) < stage.needed:
        raise Unroutable(
            "approver.missing", f"{who.name(entered_by)} typed the request in, and nobody is above to decide instead"
        )
    if standing_in is None:
        return replace(stage, seats=tuple(seats))
    place = stage.seats.index(entered_by)
    seats.insert(place, standing_in.id)
    why = f"{stage.why}; {standing_in.name} takes the place of {who.name(entered_by)}, who typed the request in"
    return replace(stage, seats=tuple(seats), why=why)


def _left(otherwise: str | None, who: People) -> list[Person]:
    """Whom the matrix asks where the line of managers ends."""
    kind, _, name = (otherwise or "").partition(":")
    return who.holders(name) if kind == "role" else [person for person in who if kind == "person" and person.id == name]
