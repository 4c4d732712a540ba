"""Cases: the search over all workflows, lists of what stands where, and one case's whole story."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, HTTPException, Query
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from include.approvals.people import people
from include.contracts.registry import contracts, load_teams
from include.data.database import engine
from include.environment import base_url
from include.monitoring.views import search
from include.monitoring.views.case import (
    LONGEST_BODY,
    MOST_RELATED,
    delivery_of,
    fields_of,
    records_of,
    related_to,
    standing,
)
from include.monitoring.views.levels import first_due, levels_of
from include.monitoring.views.search import GROUPS, STATES, Filters
from include.monitoring.views.timeline import MOST_EFFECTS, Run, timeline
from waybill.pages.rendering import PREFIX, page, redirect, run_link
from waybill.pages.visitor import Looking, Visitor, concealed, revealed

LONGEST_WORD = 300
LONGEST_SOUGHT = 5000
"""Characters of what is looked for when nobody can read it."""
Word = Annotated[str, Field(max_length=LONGEST_WORD)]
CaseId = Annotated[int, Field(ge=0, le=search.LARGEST_ID)]


class Asked(BaseModel):
    """What a list is asked for: what is looked for, where it stands, and below which id the page begins."""

    q: Word = ""
    workflow: Word = ""
    state: Word = ""
    step: Word = ""
    owner: Word = ""
    before: CaseId | None = None

    @property
    def filters(self) -> Filters:
        """Where the cases stand."""
        return Filters(self.workflow or None, self.state or None, self.step or None, _owner(self.owner.strip()))


class Addressed(Asked):
    """What the address of a list asks for.

    :param sought: what is looked for, as `concealed` has it.
    """

    sought: Annotated[str, Field(max_length=LONGEST_SOUGHT)] = ""
    said: str | None = None


router = APIRouter()


@router.get("/cases")
def list_cases(visitor: Looking, asked: Annotated[Addressed, Query()]) -> Response:
    """Show the cases that stand somewhere, or those that fit what is looked for."""
    q = revealed(asked.sought, visitor) if asked.sought else asked.q.strip()
    if q is None:
        return redirect("cases", "What was looked for is not kept that long, nor for anybody else: type it again.")
    return _listing(visitor, q, asked)


@router.post("/cases")
def search_cases(visitor: Looking, asked: Annotated[Asked, Form()]) -> Response:
    """Lead to what is looked for.

    It changes nothing: the form is posted so that no address or number gets into a log, and leads to an address, so
    that one comes back to the hits.
    """
    q = asked.q.strip()
    sought = concealed(q, visitor) if q else None
    return RedirectResponse(f"{PREFIX}/cases{_query(asked.filters, sought=sought)}", status_code=303)


@router.get("/cases/{case_id}")
def show_case(
    visitor: Looking,
    case_id: int,
    before: Annotated[int | None, Query(le=search.LARGEST_ID)] = None,
    effects: Annotated[int | None, Query(le=search.LARGEST_ID)] = None,
) -> Response:
    """Show one case, and what happened to it; before one of its events, and before one of its effects."""
    if not 0 < case_id <= search.LARGEST_ID:
        raise HTTPException(404, "there is no such case")
    clear = visitor.acts
    with engine().connect() as connection:
        case = standing(connection, case_id, clear=clear)
        if case is None:
            raise HTTPException(404, "there is no such case")
        levels = levels_of(connection, case_id)
        return page(
            "case.html", visitor, tab="cases", case=case, levels=levels, due=first_due(levels),
            delivery=delivery_of(connection, case_id, clear=clear),
            fields=fields_of(connection, case_id, clear=clear),
            records=records_of(connection, case, clear=clear),
            related=related_to(connection, case_id),
            timeline=timeline(connection, case_id, case.workflow, clear=clear, before=before, effects=effects),
            since=before, further=effects is not None, run_address=_run_address, task_address=_task_address,
            longest_body=LONGEST_BODY, most_effects=MOST_EFFECTS, most_related=MOST_RELATED,
        )  # fmt: skip


def _listing(visitor: Visitor, q: str, asked: Addressed) -> Response:
    filters, before = asked.filters, asked.before
    with engine().connect() as connection:
        if q:
            found = search.search(connection, q, filters, clear=visitor.acts, before=before)
        else:
            found = search.listed(connection, filters, clear=visitor.acts, before=before)
    if q and filters.admit_all and before is None and len(found.cases) == 1:
        return RedirectResponse(f"{PREFIX}/cases/{found.cases[0].id}", status_code=303)
    return page(
        "cases.html", visitor, tab="cases", said=asked.said, q=q, filters=filters, found=found, before=before,
        states=STATES, groups=GROUPS, workflows=contracts(), steps=_steps(filters.workflow), owners=_owners(),
        older=_query(filters, q=asked.q or None, sought=asked.sought or None, before=found.before),
        most=search.MOST_HITS,
    )  # fmt: skip


def _query(filters: Filters, **more: str | int | None) -> str:
    given = {**vars(filters), **more}
    said = urlencode({name: value for name, value in given.items() if value is not None})
    return f"?{said}" if said else ""


def _steps(workflow: str | None) -> dict[str, str]:
    """The steps to choose from, in their order: of one workflow, or of all of them."""
    chosen = [of for name, of in contracts().items() if workflow in (None, name)]
    return {step.id: step.title for of in chosen for step in of.steps}


def _owners() -> dict[str, str]:
    """Whoever can have a case: teams, and people."""
    teams = {team.id: team.name for team in load_teams().values()}
    return teams | {person.id: person.name for person in people() if person.active}


def _owner(typed: str) -> str | None:
    """The id of whoever is meant, by their id or by their name; what is nobody's stays as it was typed."""
    ids = {name.lower(): owner for owner, name in _owners().items()}
    return ids.get(typed.lower(), typed) or None


def _run_address(run: Run) -> str:
    """Where a run is in Airflow: its own page, or the list of runs, filtered by its id."""
    if run.dag_id:
        return run_link(run.dag_id, quote(run.run_id, safe=""))
    return f"{base_url()}/dag_runs?{urlencode({'run_id_pattern': run.run_id})}"


def _task_address(run: Run) -> str | None:
    """Where the log of the task is."""
    return f"{_run_address(run)}/tasks/{quote(run.task, safe='')}" if run.dag_id and run.task else None
