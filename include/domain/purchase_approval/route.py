"""The step `route`: by the approval matrix, who is asked about each request, or by which rule nobody has to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.approvals import policy
from include.approvals.people import People, Person, people
from include.approvals.policy import Matrix, Routing, StagePlan, Unroutable
from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.domain.purchase_approval.budget import BY_RULE
from include.domain.purchase_approval.content import contents
from include.domain.purchase_approval.facts import facts, matrix


def route(work: Work, known: Matrix | None = None) -> StepResult:
    """Write each request's routing and the digest of what its approvers will be shown."""
    result = StepResult()
    rows, events = [], {}
    for case_id, content in contents(work.connection, work.case_ids).items():
        try:
            routing = routed(content.request, known or matrix(), people())
        except Unroutable as error:
            result.quarantine[case_id] = [unroutable(error)]
            continue
        by_rule = f"{BY_RULE}{routing.by_rule}" if routing.by_rule else None
        rows.append(
            {
                "case_id": case_id,
                "policy": routing.policy,
                "routing": routing.as_json(),
                "digest": content.digest,
                "approved_by": by_rule,
            }
        )
        events[case_id] = {
            "rules": [stage.rule for stage in routing.stages] or [str(routing.by_rule)],
            "policy": routing.policy,
            "digest": content.digest,
        }
    work.connection.execute(
        text("""
            update purchase_requests r set policy = v.policy, routing = v.routing, digest = v.digest,
                                           approved_by = v.approved_by, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, policy text, routing jsonb, digest text,
                                                approved_by text)
            where r.case_id = v.case_id"""),
        {"rows": Jsonb(rows)},
    )
    store.record_each(work.connection, "routed", events)
    return result


def routed(request: Mapping[str, Any], known: Matrix, who: People) -> Routing:
    """Return who is asked about a request; never the requester, and never whoever typed it in for them.

    :param request: columns of `purchase_requests`.
    :raises Unroutable: when the matrix cannot say.
    """
    requester, entered_by = request["requester"], request["entered_by"]
    routing = policy.route(known, facts(request, request["routed_amount"]), requester, who)
    if entered_by is None or entered_by == requester:
        return routing
    return replace(
        routing,
        stages=tuple(_without(stage, entered_by, (requester, known.otherwise), who) for stage in routing.stages),
    )


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


def unroutable(error: Unroutable) -> Reason:
    """The reason for a request that the matrix has no answer for."""
    return Reason(f"route.{error.code.replace('.', '_')}", f"Nobody can be asked: {error.message}.")
