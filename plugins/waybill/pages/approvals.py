"""What waits for a decision, one round of it with its answers, and who decides for whom.

Answering is a matter of who is asked, not of a role in Airflow: the same checks stand before it as on every other way.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Form, HTTPException
from fastapi.responses import HTMLResponse, Response

from include.approvals import asking
from include.approvals import delegations as delegating
from include.approvals.answers import LONGEST_COMMENT, give
from include.approvals.decisions import Refused
from include.approvals.people import people
from include.data.database import authored, engine
from include.environment import current
from include.integrations.systems import Mode
from include.monitoring.views import approval_rounds
from include.monitoring.views.approval_rounds import List
from include.monitoring.views.masking import HIDDEN
from waybill.approval_guard import STATUS
from waybill.approvals import account_of, go_on
from waybill.pages.rendering import page, redirect
from waybill.pages.visitor import Looking, Submitting, Visitor

LISTS: dict[List, str] = {"mine": "Mine", "all": "All", "late": "Late"}
LONGEST_REASON = 200
NOTHING = dict.fromkeys(("person", "deputy", "starts", "ends", "reason"), "")
"""The form of a delegation that nobody has written in."""
DONE = {
    "approve": "You have approved it.",
    "reject": "You have rejected it.",
    "ask": "Your question is put to the requester.",
    "answer": "Your answer is given to those who decide.",
    "withdraw": "You have withdrawn it.",
}

Written = Annotated[str, Form(max_length=LONGEST_COMMENT)]
Digest = Annotated[str, Form(pattern=r"^[0-9a-f]{64}$")]
Chosen = Annotated[Literal["approve", "reject", "ask", "answer", "withdraw"], Form()]

router = APIRouter(prefix="/approvals")


@router.get("")
def waiting(
    visitor: Looking, show: List | None = None, since: datetime | None = None, after: int | None = None,
    said: str | None = None,
) -> HTMLResponse:  # fmt: skip
    """Show what waits for a decision: at first what is the visitor's, or everything for who is never asked."""
    person = _person(visitor)
    show = show or ("mine" if person else "all")
    key = (since, after) if since is not None and after is not None else None
    with engine().connect() as connection:
        found, further = approval_rounds.waiting(connection, show, person, key)
    return page(
        "approvals.html", visitor, tab="approvals", said=said, lists=LISTS, show=show, found=found, further=further,
        first=key is None, person=person, hidden=HIDDEN,
    )  # fmt: skip


@router.get("/deputies")
def deputies(visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show who decides for whom, and the form to say so."""
    return _deputies(visitor, said=said)


@router.post("/deputies")
def delegate(  # noqa: PLR0917 - the fields of one form
    visitor: Submitting,
    deputy: Annotated[str, Form()],
    ends: Annotated[str, Form()],
    person: Annotated[str, Form()] = "",
    starts: Annotated[str, Form()] = "",
    reason: Annotated[str, Form(max_length=LONGEST_REASON)] = "",
) -> Response:
    """Enter a delegation; the same again adds nothing."""
    written = {"person": person, "deputy": deputy, "starts": starts, "ends": ends, "reason": reason}
    try:
        with authored(engine(), actor=visitor.actor) as connection:
            number, new = delegating.enter(
                connection,
                visitor.name,
                person=person or None,
                deputy=deputy or None,
                starts=_day("the first day", starts),
                ends=_day("the last day", ends),
                reason=_text(reason),
            )
    except delegating.DelegationInvalid as error:
        return _deputies(visitor, refused=str(error), written=written, status=_status(error))
    said = f"Entered as number {number}." if new else f"It is entered already, as number {number}."
    return redirect("approvals/deputies", said)


@router.post("/deputies/{number}/end")
def end(number: int, visitor: Submitting) -> Response:
    """End a delegation now; what was decided by it stands."""
    try:
        with authored(engine(), actor=visitor.actor) as connection:
            ended = delegating.end_by(connection, number, visitor.name)
    except delegating.DelegationInvalid as error:
        return _deputies(visitor, refused=str(error), status=_status(error))
    return redirect("approvals/deputies", f"Number {number} is ended." if ended else f"Number {number} was over.")


@router.get("/{round_id}")
def one(round_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show a round."""
    return _round(round_id, visitor, said=said)


@router.post("/{round_id}")
def answer(  # noqa: PLR0917 - the fields of one form
    round_id: int,
    visitor: Submitting,
    background: BackgroundTasks,
    answer: Chosen,
    digest: Digest,
    stage: Annotated[int, Form()],
    comment: Written = "",
) -> Response:
    """Take an answer; one that changes nothing leads back to the round, and says why."""
    with engine().connect() as connection:
        before = asking.standing(connection, round_id)
    if before is None:
        raise HTTPException(404, "there is no such approval")
    try:
        decision = give(
            engine(),
            round_id,
            sender=account_of(visitor.id, visitor.name, "page"),
            answer=answer,
            comment=_text(comment),
            mode=Mode(current().effect_mode),
            digest=digest,
            asked_in=stage,
        )
    except Refused as refusal:
        status = STATUS.get(refusal.code, 409)
        return _round(round_id, visitor, refused=refusal.message, written=comment, status=status)
    background.add_task(go_on, decision, before)
    return redirect(f"approvals/{round_id}", DONE[answer])


def _round(
    round_id: int, visitor: Visitor, *, said: str | None = None, refused: str = "", written: str = "", status: int = 200
) -> HTMLResponse:
    person = _person(visitor)
    with engine().connect() as connection:
        found = approval_rounds.shown(connection, round_id, person)
    if found is None:
        raise HTTPException(404, "there is no such approval")
    return page(
        "approval.html", visitor, tab="approvals", said=said, status=status, found=found, refused=refused,
        written=written, open_to_them=visitor.acts or found.concerned, longest=LONGEST_COMMENT, hidden=HIDDEN,
        did=asking.DID,
    )  # fmt: skip


def _deputies(
    visitor: Visitor,
    *,
    said: str | None = None,
    refused: str = "",
    written: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    theirs = delegating.may_enter_for(visitor.name)
    with engine().connect() as connection:
        found = approval_rounds.delegations(connection, visitor.name, _person(visitor), all_=visitor.acts)
    return page(
        "deputies.html", visitor, tab="approvals", said=said, status=status, found=found, refused=refused,
        written=written or NOTHING, theirs=theirs, their_ids={each.id for each in theirs},
        deputies=[each for each in people() if each.decides], longest=LONGEST_REASON,
    )  # fmt: skip


def _person(visitor: Visitor) -> str | None:
    """Who looks, as approvals know people; several people's account is nobody's."""
    found = people().by_airflow(visitor.id, visitor.name)
    return found.id if found is not None and found.decides else None


def _status(error: delegating.DelegationInvalid) -> int:
    return 403 if isinstance(error, delegating.NotTheirs) else 400


def _day(name: str, value: str) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise delegating.DelegationInvalid(f"{name} is written as 2026-12-24") from None


def _text(value: str) -> str:
    return value.replace("\x00", "")
