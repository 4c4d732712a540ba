"""The step `approve`: whether a purchase is approved, refused or still to be decided.

How rounds are asked and what their ends mean is `include.approvals.step`; here is where purchases are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.step import Question, Request, decide
from include.cases.model import StepResult, Work
from include.domain.purchase_approval.close import report
from include.domain.purchase_approval.content import contents


def approve(work: Work) -> StepResult:
    """Let approved purchases go on, close refused ones, and ask about the others; these wait for whoever is asked."""

    def questions(case_ids: Sequence[int]) -> Mapping[int, Question]:
        found = contents(work.connection, case_ids)
        return {case_id: Question(content.title, content.shown()) for case_id, content in found.items()}

    decided = decide(work, _requests(work.connection, work.case_ids), questions)
    _write(work.connection, decided.approved)
    report(work.connection, decided.result.close)
    return decided.result


def _requests(connection: Connection, case_ids: Sequence[int]) -> list[Request]:
    rows = connection.execute(
        text("""
            select case_id, requester, entered_by, digest, routing, approved_by from purchase_requests
            where case_id = any(:ids)"""),
        {"ids": list(case_ids)},
    ).mappings()
    return [Request(**row) for row in rows]


def _write(connection: Connection, approved: Mapping[int, str]) -> None:
    connection.execute(
        text("""
            update purchase_requests r set approved_by = v.by, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, by text) where r.case_id = v.case_id"""),
        {"rows": Jsonb([{"case_id": case_id, "by": by} for case_id, by in approved.items()])},
    )
