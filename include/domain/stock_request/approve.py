"""The step `approve`: whether a stock request is approved, refused or still to be decided.

How rounds are asked and what their ends mean is `include.approvals.step`; here is where stock requests are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.step import Question, Request, decide
from include.cases.model import StepResult, Work
from include.domain.stock_request.content import contents
from include.domain.stock_request.read_request import posted


def approve(work: Work) -> StepResult:
    """Let approved requests go on, close refused ones, and ask about the others; these wait for whoever is asked."""

    def questions(case_ids: Sequence[int]) -> Mapping[int, Question]:
        found = contents(work.connection, case_ids)
        return {case_id: Question(content.title, content.shown()) for case_id, content in found.items()}

    done = posted(work.connection, work.case_ids)
    requests = _requests(work.connection, [case_id for case_id in work.case_ids if case_id not in done])
    decided = decide(work, requests, questions)
    _write(work.connection, decided.approved)
    return decided.result


def _requests(connection: Connection, case_ids: Sequence[int]) -> list[Request]:
    rows = connection.execute(
        text("""
            select case_id, coalesce(requester, '') as requester, entered_by, digest, routing, approved_by
            from stock_requests where case_id = any(:ids)"""),
        {"ids": list(case_ids)},
    ).mappings()
    return [Request(**row) for row in rows]


def _write(connection: Connection, approved: Mapping[int, str]) -> None:
    connection.execute(
        text("""
            update stock_requests r set approved_by = v.by, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, by text) where r.case_id = v.case_id"""),
        {"rows": Jsonb([{"case_id": case_id, "by": by} for case_id, by in approved.items()])},
    )
