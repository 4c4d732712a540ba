"""The step `validate`: sets requests aside that nobody could decide on, each with its reasons; flags what looks odd.

The rules are in `expectations`; what may be the same request, or a part of one, is found by `duplicates`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.data.frames import read_frame
from include.data.validation import documents
from include.data.validation.runner import check
from include.domain.purchase_approval.duplicates import flag
from include.domain.purchase_approval.expectations import observed, request_suite

REQUESTS = """
    select case_id, requester, department, cost_centre, category, supplier, supplier_name, supplier_state,
           currency, net, gross, claimed_gross, needed_by, justification, attachments, risk, requested_at
    from purchase_requests where case_id = any(:ids) order by case_id"""
LINES = """
    select case_id, line, description, quantity, unit_price, tax_rate, account
    from purchase_lines where case_id = any(:ids) order by case_id, line"""


def validate(work: Work) -> StepResult:
    """Check the requests of a batch, and flag possible duplicates and parts of a split purchase among the good ones."""
    requests = read_frame(work.connection, REQUESTS, work.values)
    unread = set(work.case_ids) - set(requests["case_id"].tolist())
    reasons = {case_id: [_not_read()] for case_id in unread}
    if requests.empty:
        return StepResult(quarantine=reasons)
    lines = read_frame(work.connection, LINES, work.values)
    checked = check(observed(requests, lines, pd.Timestamp.now(tz="UTC")), request_suite, "case_id")
    store.record_each(
        work.connection,
        "validation.warning",
        {case_id: {"codes": codes} for case_id, codes in checked.warnings.items()},
    )
    flag(work, [case_id for case_id in work.case_ids if case_id not in checked.failures and case_id not in unread])
    documents.offer(checked.outcome, run_id=work.run_id)
    return StepResult(quarantine=checked.failures | reasons)


def preload() -> None:
    """Pay for imports, the suite and page templates once, in the process whose children run this step."""
    nobody: dict[str, object] = {
        **dict.fromkeys(("requester", "department", "cost_centre", "category", "supplier")),
        **dict.fromkeys(("supplier_name", "supplier_state", "currency", "claimed_gross", "needed_by", "risk")),
        **{"case_id": 0, "net": Decimal(0), "gross": Decimal(0), "justification": None, "attachments": []},
        "requested_at": datetime.combine(date(2026, 1, 1), datetime.min.time(), UTC),
    }
    line = {"case_id": 0, "line": 1, "description": "", "quantity": Decimal(0), "unit_price": Decimal(0)}
    lines = pd.DataFrame([line | {"tax_rate": Decimal(0), "account": None}], dtype=object)
    frame = observed(pd.DataFrame([nobody], dtype=object), lines, pd.Timestamp.now(tz="UTC"))
    checked = check(frame, request_suite, "case_id")
    if checked.outcome is not None:
        documents.rendered(checked.outcome)


def _not_read() -> Reason:
    return Reason("request.not_read", "The case came here without its fields. Release it, so that it starts again.")
