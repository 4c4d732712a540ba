"""Stands before Airflow's own route for answers: whoever may not decide is told why, and nothing is recorded.

Airflow knows neither stand-ins nor N of M, and takes any answer of any user who may edit the DAG. For the tasks of
approvals this middleware records the answer itself, and lets Airflow resume the task only when its stage is decided.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from include.approvals import asking
from include.approvals.answers import give
from include.approvals.decisions import Refused
from include.data.database import engine
from include.environment import current
from include.integrations.systems import Mode
from waybill.approvals import ANSWERS, QUESTION_TASK, account_of, deliver, moves_run, stage_of_task

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ROUTE = re.compile(
    r"/api/v2/dags/(?P<dag>[^/]+)/dagRuns/(?P<run>[^/]+)/taskInstances/(?P<task>[^/]+)/(?P<map>-?\d+)/hitlDetails/?$"
)
MOST_BYTES = 64 * 2**10
STATUS = {
    "unknown_person": 403,
    "shared_account": 403,
    "not_asked": 403,
    "own_request": 403,
    "comment_needed": 400,
    "unknown_round": 404,
}
"""Refusals by who one is and by what is missing; every other one is a conflict with what was decided, 409."""


@dataclass(frozen=True)
class _Answer:
    """What a request wants to say in a round."""

    round_id: int
    stage: int | None
    option: str
    comment: str


class ApprovalGuard:
    """An ASGI middleware: an entry of `AirflowPlugin.fastapi_root_middlewares`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but answers to approvals."""
        match = ROUTE.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PATCH" else None
        if match is None or not _is_approval(match["task"]):
            await self._app(scope, receive, send)
            return
        round_id = await run_in_threadpool(_round, match["run"])
        if round_id is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        if (foreign := _from_elsewhere(request)) is not None:
            await foreign(scope, receive, send)
            return
        body = await _body(request)
        user = await _user(request, match["dag"])
        answer = _read(body, round_id, stage_of_task(match["task"]))
        if user is None or answer is None:
            await self._app(scope, _again(body or b""), send)  # Airflow refuses it in its own words
            return
        response = await self._answer(answer, user, scope, body or b"")
        await response(scope, receive, send)

    async def _answer(self, answer: _Answer, user: Any, scope: Scope, body: bytes) -> Response:
        sender = account_of(str(user.get_id()), str(user.get_name()))
        try:
            decision = await run_in_threadpool(
                give,
                engine(),
                answer.round_id,
                sender=sender,
                answer=ANSWERS[answer.option],
                comment=answer.comment,
                mode=Mode(current().effect_mode),
                asked_in=answer.stage,
            )
        except Refused as refusal:
            return JSONResponse({"detail": refusal.message}, STATUS.get(refusal.code, 409))
        given = {
            "responded_by": {"id": str(user.get_id()), "name": str(user.get_name())},
            "responded_at": datetime.now(UTC).isoformat(),
            "chosen_options": [answer.option],
            "params_input": {"comment": answer.comment},
        }
        if moves_run(decision):
            await self._resume(scope, body)
        else:
            await run_in_threadpool(deliver, decision.case_id)
        return JSONResponse(given)

    async def _resume(self, scope: Scope, body: bytes) -> None:
        """Let Airflow wake the task. The answer is recorded already, so a task that cannot be woken is swept later."""
        status = 0

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = message.get("status", status)

        await self._app({**scope}, _again(body), note)
        if status >= 400:
            log.warning("Airflow did not resume a decided stage (%s); the sweep will", status)


def _is_approval(task_id: str) -> bool:
    return task_id == QUESTION_TASK or stage_of_task(task_id) is not None


def _round(run_id: str) -> int | None:
    with engine().connect() as connection:
        return asking.round_of_run(connection, run_id)


def _from_elsewhere(request: Request) -> Response | None:
    """Refuse what another site's page has made a browser send with this user's cookie."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    here = request.headers.get("host", "")
    if site in ("cross-site", "same-site") or (origin is not None and urlsplit(origin).netloc != here):
        return JSONResponse({"detail": "an answer is given from Waybill's own pages, or with a token"}, 403)
    return None


async def _body(request: Request) -> bytes | None:
    """The body; None when it is larger than any answer."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


async def _user(request: Request, dag_id: str) -> Any:
    """The signed-in user who may answer for this DAG by Airflow's roles; None for everybody else."""
    from airflow.api_fastapi.app import get_auth_manager  # noqa: PLC0415 - API server only
    from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN  # noqa: PLC0415
    from airflow.api_fastapi.auth.managers.models.resource_details import (  # noqa: PLC0415
        DagAccessEntity,
        DagDetails,
    )
    from airflow.api_fastapi.core_api.security import resolve_user_from_token  # noqa: PLC0415
    from fastapi import HTTPException  # noqa: PLC0415

    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        user = await resolve_user_from_token(
            token if scheme.lower() == "bearer" else request.cookies.get(COOKIE_NAME_JWT_TOKEN)
        )
    except HTTPException:
        return None
    allowed = get_auth_manager().is_authorized_dag(
        method="PUT", access_entity=DagAccessEntity.HITL_DETAIL, details=DagDetails(id=dag_id), user=user
    )
    return user if allowed else None


def _read(body: bytes | None, round_id: int, stage: int | None) -> _Answer | None:
    """What the request says; None when Airflow's own validation will refuse it."""
    try:
        document = orjson.loads(body or b"")
        (option,) = document["chosen_options"]
        comment = (document.get("params_input") or {}).get("comment") or ""
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    if option not in ANSWERS or not isinstance(comment, str):
        return None
    return _Answer(round_id, stage, option, comment)


def _again(body: bytes) -> Receive:
    """A receive channel that gives the body once more."""
    sent = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


MIDDLEWARE: dict[str, Any] = {"middleware": ApprovalGuard, "args": [], "kwargs": {}, "name": "Waybill approval guard"}
"""For `AirflowPlugin.fastapi_root_middlewares`."""
