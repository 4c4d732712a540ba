"""The step `route`: by the approval matrix, who is asked about each request, or by which rule nobody has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.approvals import routing as asking
from include.approvals.people import People, people
from include.approvals.policy import Matrix, Routing, Unroutable
from include.cases import store
from include.cases.model import StepResult, Work
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
            result.quarantine[case_id] = [asking.unroutable(error)]
            continue
        rows.append(
            {
                "case_id": case_id,
                "policy": routing.policy,
                "routing": routing.as_json(),
                "digest": content.digest,
                "approved_by": asking.by_rule(routing),
            }
        )
        events[case_id] = asking.told(routing, content.digest)
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
    told = facts(request, request["routed_amount"])
    return asking.routed(known, told, request["requester"], request["entered_by"], who)
