"""The ledger: effects in trouble, and the systems they go to; retry, settle, give up, one by one or all of a group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query
from fastapi.responses import HTMLResponse, Response

from include.contracts.model import SystemOperation
from include.contracts.registry import contract, contracts
from include.data.database import engine
from include.integrations import by_hand
from include.integrations.by_hand import Handled
from include.monitoring.views.effects import MOST_GROUPS, PAGE, STATES, Choice, chosen, details, groups, listed
from include.monitoring.views.masking import HIDDEN, masked, without_contacts, written
from include.monitoring.views.systems import operations, systems
from waybill.pages.rendering import page, redirect
from waybill.pages.visitor import Acting, Looking, Visitor, sealed_seen, unsealed_seen

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


def _seen(seen: Annotated[str, Form()] = "") -> dict[int, str]:
    return {int(effect): stood for effect, stood in unsealed_seen(seen).items()}


@dataclass(frozen=True)
class Wanted:
    """What somebody wants done, as the form has it.

    :param theirs: the id that the other system gave.
    """

    action: Annotated[Action, Form()]
    reason: Annotated[str, Form(max_length=500)] = ""
    theirs: Annotated[str, Form(max_length=by_hand.LONGEST_ID)] = ""


LookedFor = Annotated[Choice, Depends(_looked_for)]
Meant = Annotated[Choice, Depends(_meant)]
Seen = Annotated[dict[int, str], Depends(_seen)]
"""The effects of the page on which the form is, with how they stood on it."""
Want = Annotated[Wanted, Depends()]


@router.get("/effects")
def show(visitor: Looking, choice: LookedFor, before: int | None = None, said: str | None = None) -> HTMLResponse:
    """Show the systems, what is in trouble, and the effects of a choice."""
    return _list(visitor, choice, before=before, said=said)


@router.post("/effects")
def act_on_chosen(  # noqa: PLR0917 - the fields of one form
    visitor: Acting,
    choice: Meant,
    wanted: Want,
    seen: Seen,
    ids: Annotated[list[int] | None, Form()] = None,
    before: Annotated[int | None, Form()] = None,
) -> Response:
    """Do something about the effects that are ticked."""
    meant = {effect: seen.get(effect, "") for effect in ids or []}
    if why := _lacks(wanted, meant):
        return _list(visitor, choice, before=before, refused=why, wanted=wanted, meant=meant, seen=seen)
    return _act(visitor, wanted, meant, back=_address("effects", choice))


@router.get("/effects/all")
def confirm(visitor: Looking, choice: LookedFor, said: str | None = None) -> HTMLResponse:
    """Ask whether all effects of a choice are meant, with their number."""
    with engine().connect() as connection:
        found = chosen(connection, choice)
    return _all(visitor, choice, found, said=said)


@router.post("/effects/all")
def act_on_all(
    visitor: Acting, choice: Meant, wanted: Want, seen: Seen, sure: Annotated[bool, Form()] = False
) -> Response:
    """Do something about all effects of a choice that were there when it was confirmed, and have not changed since."""
    if why := _lacks(wanted, seen) or ("" if sure else "say that you are sure"):
        return _all(visitor, choice, seen, refused=why, wanted=wanted)
    return _act(visitor, wanted, seen, back=_address("effects", choice))


@router.get("/effects/{effect_id}")
def one(effect_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show one effect with what was sent, what came of it, and who did what about it."""
    return _one(effect_id, visitor, said=said)


@router.post("/effects/{effect_id}")
def act_on_one(effect_id: int, visitor: Acting, wanted: Want, seen: Seen) -> Response:
    """Do something about one effect."""
    meant = {effect_id: seen.get(effect_id, "")}
    if why := _lacks(wanted, meant):
        return _one(effect_id, visitor, refused=why, wanted=wanted, seen=meant)
    return _act(visitor, wanted, meant, back=f"effects/{effect_id}")


def _list(
    visitor: Visitor,
    choice: Choice,
    *,
    before: int | None,
    said: str | None = None,
    refused: str = "",
    wanted: Wanted | None = None,
    meant: Mapping[int, str] | None = None,
    seen: Mapping[int, str] | None = None,
) -> HTMLResponse:
    """Return the page of the ledger; refused, it has what was ticked and written, bound to what was seen first."""
    with engine().connect() as connection:
        found = listed(connection, choice, before=before)
        return page(
            "effects.html", visitor, tab="effects", said=said, refused=refused, status=422 if refused else 200,
            choice=choice, states=STATES, known=operations(), workflows=contracts(), systems=systems(connection),
            groups=groups(connection), most=MOST_GROUPS, effects=found, actions=_actions(choice.state), before=before,
            older=_address("effects", choice, before=found[-1].id) if len(found) == PAGE else None, address=_address,
            wanted=wanted, meant=meant or {},
            seen=sealed_seen({each.id: each.as_seen for each in found} | dict(seen or {})),
            error=lambda words: _words(visitor, words), name=lambda words: _name(visitor, words),
        )  # fmt: skip


def _all(
    visitor: Visitor,
    choice: Choice,
    seen: Mapping[int, str],
    *,
    said: str | None = None,
    refused: str = "",
    wanted: Wanted | None = None,
) -> HTMLResponse:
    return page(
        "effects_all.html", visitor, tab="effects", said=said, refused=refused, status=422 if refused else 200,
        choice=choice, states=STATES, count=len(seen), seen=sealed_seen(seen), address=_address,
        actions=_actions(choice.state), wanted=wanted,
    )  # fmt: skip


def _one(
    effect_id: int,
    visitor: Visitor,
    *,
    said: str | None = None,
    refused: str = "",
    wanted: Wanted | None = None,
    seen: Mapping[int, str] | None = None,
) -> HTMLResponse:
    with engine().connect() as connection:
        found = details(connection, effect_id)
    if found is None:
        raise HTTPException(404, "there is no such effect")
    return page(
        "effect.html", visitor, tab="effects", said=said, refused=refused, status=422 if refused else 200,
        effect=found.effect, workflow_id=found.workflow, events=found.events,
        actions=_actions("given_up" if found.effect.withdrawn else found.effect.state),
        promise=_promise(found.workflow, found.effect.operation),
        wanted=wanted, seen=sealed_seen(seen or {effect_id: found.effect.as_seen}),
        error=lambda words: _words(visitor, words), name=lambda words: _name(visitor, words),
        document=lambda value: _document(visitor, value),
    )  # fmt: skip


def _lacks(wanted: Wanted, meant: Mapping[int, str]) -> str:
    """What a form lacks for what is wanted, in words; empty where it lacks nothing."""
    if not meant:
        return "choose at least one effect"
    if wanted.action == "give_up" and not wanted.reason.strip():
        return "an effect is given up with a reason"
    return ""


def _act(visitor: Visitor, wanted: Wanted, meant: Mapping[int, str], *, back: str) -> Response:
    """Do it, and lead back to a page that says what came of it."""
    done = _done(visitor.actor, wanted, meant)
    effects = "1 effect" if done.effects == 1 else f"{done.effects:,} effects"
    words = f"{effects} {DONE[wanted.action]}."
    if done.cases:
        what = "set aside" if wanted.action == "give_up" else "on the way again"
        words += f" {done.cases:,} {'case is' if done.cases == 1 else 'cases are'} {what}."
    if left := len(meant) - done.effects:
        words += f" {left:,} left as it is: changed meanwhile, being sent or worked on, or not in a state for it."
    return redirect(back, words, refused=not done.effects)


def _done(actor: str, wanted: Wanted, meant: Mapping[int, str]) -> Handled:
    match wanted.action:
        case "retry":
            return by_hand.retry(engine(), meant, actor=actor)
        case "happened":
            return by_hand.settle_as_sent(engine(), meant, theirs=wanted.theirs, actor=actor)
        case "not_happened":
            return by_hand.settle_as_not_sent(engine(), meant, actor=actor)
        case "give_up":
            return by_hand.give_up(engine(), meant, reason=wanted.reason, actor=actor)


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
