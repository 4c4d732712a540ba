"""The step `route`: by the approval matrix, who is asked about each request, or by which rule nobody has to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from include.approvals import routing
from include.approvals.people import People, people
from include.approvals.policy import Matrix, Routing
from include.cases.model import StepResult, Work
from include.domain.purchase_approval.content import contents
from include.domain.purchase_approval.facts import facts, matrix


def route(work: Work, known: Matrix | None = None) -> StepResult:
    """Write each request's routing and the digest of what its approvers will be shown."""
    found = contents(work.connection, work.case_ids)
    return routing.route_requests(
        work.connection,
        "purchase_requests",
        {case_id: content.digest for case_id, content in found.items()},
        lambda case_id: routed(found[case_id].request, known or matrix(), people()),
    )


def routed(request: Mapping[str, Any], known: Matrix, who: People) -> Routing:
    """Return who is asked about a request; never the requester, and never whoever typed it in for them.

    :param request: columns of `purchase_requests`.
    :raises Unroutable: when the matrix cannot say.
    """
    told = facts(request, request["routed_amount"])
    return routing.routed(known, told, request["requester"], request["entered_by"], who)
