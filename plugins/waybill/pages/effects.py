"""The ledger: effects in trouble, and the systems they go to; retry, settle, give up, one by one or all of a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from include.contracts.model import SystemOperation
from include.contracts.registry import contract, contracts
from include.data.database import engine
from include.integrations import by_hand
from include.integrations.by_hand import Handled
from include.monitoring.views.effects import MOST_GROUPS, PAGE, STATES, Choice, chosen, details, groups, listed
from include.monitoring.views.masking import HIDDEN, masked, without_contacts, written
from include.monitoring.views.systems import operations, systems
from waybill.pages.rendering import page, redirect
from waybill.pages.visitor import Acting, Looking, Visitor

router = APIRouter()

State = Literal["", "failed", "dead", "unknown", "waiting", "given_up"]
Action = Literal["retry", "happened", "not_happened", "give_up"]
ACTIONS = {
    "retry": "Retry now",
    "happened": "It happened",
    "not_happened": "It did not happen: send it",
    "give_up": "Give up",
}
POSSIBLE = {
    "pending": ["give_up"],
    "waiting": ["give_up"],
    "failed": ["retry", "give_up"],
    "dead": ["retry", "happened", "give_up"],
    "unknown": ["happened", "not_happened", "give_up"],
    "given_up": ["happened"],
    "": list(ACTIONS),
}
"""State of an effect, or of a choice -> what a person can do about it."""
BYTES = ("base64", "picture")
"""Fields of a payload that hold bytes."""
DONE = {
    "retry": "retried",
    "happened": "settled: it happened",
    "not_happened": "settled: it did not happen, and is sent",
    "give_up": "given up",
}


def _looked_for(
    state: Annotated[State, Query()] = "",
    system: Annotated[str, Query(max_length=100)] = "",
    operation: Annotated[str, Query(max_length=100)] = "",
    cause: Annotated[str, Query(pattern="^([0-9a-f]{12})?$")] = "",
    workflow: Annotated[str, Query(max_length=100)] = "",
) -> Choice:
    return Choice(state, system, operation, cause, workflow)


def _meant(
    state: Annotated[State, Form()] = "",
    system: Annotated[str, Form(max_length=100)] = "",
    operation: Annotated[str, Form(max_length=100)] = "",
    cause: Annotated[str, Form(pattern="^([0-9a-f]{12})?$")] = "",
    workflow: Annotated[str, Form(max_length=100)] = "",
) -> Choice:
    return Choice(state, system, operation, cause, workflow)


@dataclass(frozen=True)
class Confirmed:
    """What somebody who means all effects of a choice has seen of them.

    :param newest: the id of the newest one.
    """

    count: Annotated[int, Form()]
    newest: Annotated[int, Form()]
    sure: Annotated[bool, Form()] = False


LookedFor = Annotated[Choice, Depends(_looked_for)]
Meant = Annotated[Choice, Depends(_meant)]


@router.get("/effects")
def show(visitor: Looking, choice: LookedFor, before: int | None = None, said: str | None = None) -> HTMLResponse:
    """Show the systems, what is in trouble, and the effects of a choice."""
    with engine().connect() as connection:
        found = listed(connection, choice, before=before)
        return page(
            "effects.html", visitor, tab="effects", said=said, choice=choice, states=STATES, known=operations(),
            workflows=contracts(), systems=systems(connection), groups=groups(connection), most=MOST_GROUPS,
            effects=found, actions=_actions(choice.state),
            older=_address("effects", choice, before=found[-1].id) if len(found) == PAGE else None, address=_address,
            error=lambda words: _words(visitor, words), name=lambda words: _name(visitor, words),
        )  # fmt: skip


@router.get("/effects/all")
def confirm(visitor: Looking, choice: LookedFor, said: str | None = None) -> HTMLResponse:
    """Ask whether all effects of a choice are meant, with their number."""
    with engine().connect() as connection:
        found = chosen(connection, choice)
    return page(
        "effects_all.html", visitor, tab="effects", said=said, choice=choice, states=STATES, count=len(found),
        newest=found[-1] if found else 0, address=_address, actions=_actions(choice.state),
    )  # fmt: skip


@router.get("/effects/{effect_id}")
def one(effect_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show one effect with what was sent, what came of it, and who did what about it."""
    with engine().connect() as connection:
        found = details(connection, effect_id)
    if found is None:
        raise HTTPException(404, "there is no such effect")
    return page(
        "effect.html", visitor, tab="effects", said=said, effect=found.effect, workflow_id=found.workflow,
        events=found.events, actions=_actions("given_up" if found.effect.withdrawn else found.effect.state),
        promise=_promise(found.workflow, found.effect.operation),
        error=lambda words: _words(visitor, words), name=lambda words: _name(visitor, words),
        document=lambda value: _document(visitor, value),
    )  # fmt: skip


@router.post("/effects/chosen")
def act_on_chosen(
    visitor: Acting,
    choice: Meant,
    action: Annotated[Action, Form()],
    ids: Annotated[list[int] | None, Form()] = None,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> RedirectResponse:
    """Do something about the effects that are ticked."""
    return redirect(_address("effects", choice), _act(visitor, action, ids or [], reason=reason))


@router.post("/effects/all")
def act_on_all(
    visitor: Acting,
    choice: Meant,
    action: Annotated[Action, Form()],
    seen: Annotated[Confirmed, Depends()],
    reason: Annotated[str, Form(max_length=500)] = "",
) -> RedirectResponse:
    """Do something about all effects of a choice, as many as were confirmed; those that came later are left."""
    with engine().connect() as connection:
        found = chosen(connection, choice, newest=seen.newest)
    if not seen.sure or len(found) > seen.count:
        why = f"there are {len(found)} now" if seen.sure else "say that you are sure"
        return redirect(_address("effects/all", choice), f"Nothing was changed: {why}.")
    return redirect(_address("effects", choice), _act(visitor, action, found, reason=reason))


@router.post("/effects/{effect_id}")
def act_on_one(
    effect_id: int,
    visitor: Acting,
    action: Annotated[Action, Form()],
    reason: Annotated[str, Form(max_length=500)] = "",
    theirs: Annotated[str, Form(max_length=by_hand.LONGEST_ID)] = "",
) -> RedirectResponse:
    """Do something about one effect."""
    return redirect(f"effects/{effect_id}", _act(visitor, action, [effect_id], reason=reason, theirs=theirs))


def _act(visitor: Visitor, action: Action, ids: list[int], *, reason: str, theirs: str = "") -> str:
    """Do it, and say what came of it."""
    if not ids:
        return "Nothing was changed: choose at least one effect."
    if action == "give_up" and not reason.strip():
        return "Nothing was changed: an effect is given up with a reason."
    done = _done(visitor.actor, action, ids, reason=reason, theirs=theirs)
    effects = "1 effect" if done.effects == 1 else f"{done.effects:,} effects"
    words = f"{effects} {DONE[action]}."
    if done.cases:
        what = "set aside" if action == "give_up" else "on the way again"
        words += f" {done.cases:,} {'case is' if done.cases == 1 else 'cases are'} {what}."
    if left := len(ids) - done.effects:
        words += f" {left:,} left as it is: changed meanwhile, being sent or worked on, or not in a state for it."
    return words


def _done(actor: str, action: Action, ids: list[int], *, reason: str, theirs: str) -> Handled:
    match action:
        case "retry":
            return by_hand.retry(engine(), ids, actor=actor)
        case "happened":
            return by_hand.settle_as_sent(engine(), dict.fromkeys(ids, theirs), actor=actor)
        case "not_happened":
            return by_hand.settle_as_not_sent(engine(), ids, actor=actor)
        case "give_up":
            return by_hand.give_up(engine(), ids, reason=reason, actor=actor)


def _document(visitor: Visitor, document: Any) -> str:
    """A payload or an answer, as the visitor may see it."""
    shown = _without_bytes(document)
    return written(shown if visitor.acts else masked(shown))


def _without_bytes(document: Any) -> Any:
    """A payload without the bytes of its pictures and documents, which nobody reads as text."""
    if isinstance(document, dict):
        return {
            name: f"[{len(value) * 3 // 4:,} bytes]"
            if name in BYTES and isinstance(value, str)
            else _without_bytes(value)
            for name, value in document.items()
        }
    return [_without_bytes(each) for each in document] if isinstance(document, list) else document


def _actions(state: str) -> dict[str, str]:
    return {action: ACTIONS[action] for action in POSSIBLE.get(state, [])}


def _address(path: str, choice: Choice, **more: Any) -> str:
    """The path of a page with a choice, below the prefix."""
    return f"{path}?{query}" if (query := urlencode({**choice.named, **more})) else path


def _words(visitor: Visitor, words: str | None) -> str:
    """An error as the visitor may see it: a system's words may repeat a person's data."""
    return words or "" if visitor.acts or not words else HIDDEN


def _name(visitor: Visitor, words: str) -> str:
    return words if visitor.acts else without_contacts(words)


def _promise(workflow: str, operation: str) -> SystemOperation | None:
    """What the contract promises about an operation, where there is one that does."""
    try:
        return contract(workflow).operation(operation)
    except KeyError:
        return None
