"""Possible duplicates: two contacts side by side, merged or kept apart by a person, who can take it back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import HTMLResponse, Response

from include.data.database import authored, engine
from include.data.matching import decisions
from include.environment import current
from include.integrations import merges
from include.integrations.systems import Mode
from include.monitoring.views import duplicates
from waybill.pages.rendering import page, redirect
from waybill.pages.visitor import Acting, Looking

TAB = "quarantine"
PLACE = f"{TAB}/duplicates"
DONE = {
    "merge": "merged",
    "keep apart": "kept apart",
    "undo merge": "two people again, and open",
    merges.PARTED: "two people again, and open",
    "undo keep apart": "open again",
}
"""What a pair is after each decision."""

router = APIRouter(prefix=f"/{PLACE}")


@router.get("")
def listed(visitor: Looking, after: int = 0, said: str | None = None) -> HTMLResponse:
    """Show the pairs that wait for a decision, and those that were decided last."""
    with engine().connect() as connection:
        waiting, decided = duplicates.open_pairs(connection, after), duplicates.decided_pairs(connection)
        total = duplicates.count_open(connection)
    return page(
        "duplicates.html", visitor, tab=TAB, said=said, waiting=waiting, decided=decided, total=total,
        size=duplicates.PAGE,
    )  # fmt: skip


@router.get("/{pair_id}")
def side_by_side(pair_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show two contacts side by side."""
    with engine().connect() as connection:
        pair = duplicates.pair(connection, pair_id)
    if pair is None:
        raise HTTPException(404, "there is no such pair")
    return page(
        "duplicate.html", visitor, tab=TAB, said=said, pair=pair, compared=duplicates.COMPARED,
        grace=round(merges.grace().total_seconds() / 60), parted=merges.PARTED,
    )  # fmt: skip


@router.post("/{pair_id}")
def decide(pair_id: int, visitor: Acting, decision: Annotated[str, Form()]) -> Response:
    """Merge the pair, keep it apart, or undo either; what was decided otherwise meanwhile is told."""
    action = merges.ACTIONS.get(decision)
    if action is None:
        raise HTTPException(422, "there is no such decision")
    try:
        with authored(engine(), actor=visitor.actor) as connection:
            done = action(connection, pair_id, visitor.actor, Mode(current().effect_mode))
    except decisions.PairUnknown:
        raise HTTPException(404, "there is no such pair") from None
    except decisions.DecidedOtherwise as error:
        return redirect(f"{PLACE}/{pair_id}", f"Nothing was changed: {error}.", refused=True)
    if done.changed:
        return redirect(f"{PLACE}/{pair_id}", f"Pair {pair_id} is {DONE[decision]}.")
    return redirect(f"{PLACE}/{pair_id}", f"Nothing was changed: pair {pair_id} is {done.state} already.")
