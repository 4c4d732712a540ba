"""The step "find duplicates": gives each lead its contact and its company in the directory.

What makes two records one person is `include.data.matching`'s, which values survive in the CRM the CRM step's.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from include.cases.model import StepResult, Work
from include.cases.store import record_each
from include.data.matching import directory
from include.data.matching.directory import PERSON_COLUMNS
from include.data.matching.people import Person
from include.data.matching.resolve import Resolution, resolve
from include.domain.lead_to_client import rematching

_FIELDS = (*PERSON_COLUMNS, "company")


def find_duplicates(work: Work) -> StepResult:
    """Resolve the leads that have no contact yet; a second execution finds none.

    A lead that may be a known person goes on as its own; the pair waits in `possible_duplicates`. One that a correction
    has taken from its contact (the step `normalise`) is matched like a new one; see `rematching`.
    """
    people = _unresolved(work)
    if people:
        directory.lock(work.connection)
    left = rematching.prepare(work.connection, work.case_ids)
    resolutions = resolve(work.connection, people, renewed=left.renewed)
    if resolutions:
        _keep(work.connection, resolutions)
        rematching.conclude(work.connection, left, {found.ref: found.contact_id for found in resolutions})
        asked = {
            found.ref: {"pairs": found.questions, "score": round(found.possible[0][1], 3)}
            for found in resolutions
            if found.questions
        }
        if asked:
            record_each(work.connection, "possible duplicate", asked)
    return StepResult()


def _unresolved(work: Work) -> list[Person]:
    found = work.connection.execute(
        text(f"""
            select case_id, {", ".join(_FIELDS)}, source || '/' || nullif(external_id, '')
            from leads where case_id = any(:ids) and contact_id is null order by case_id"""),
        work.values,
    )
    return [
        Person(
            row[0],
            **dict(zip(_FIELDS, (value or None for value in row[1:-1]), strict=True)),
            external=row[-1],
        )
        for row in found
    ]


def _keep(connection: Connection, resolutions: list[Resolution]) -> None:
    connection.execute(
        text("""
            update leads set match = v.match, contact_id = v.contact_id, company_id = v.company_id
            from unnest(cast(:cases as bigint[]), cast(:matches as text[]),
                        cast(:contacts as uuid[]), cast(:companies as uuid[]))
                 as v(case_id, match, contact_id, company_id)
            where leads.case_id = v.case_id"""),
        {
            "cases": [found.ref for found in resolutions],
            "matches": [found.match for found in resolutions],
            "contacts": [found.contact_id for found in resolutions],
            "companies": [found.company_id for found in resolutions],
        },
    )
