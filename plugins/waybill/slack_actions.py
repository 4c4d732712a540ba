"""What people press and write in Slack: verified, mapped to a known person, and decided as everywhere else.

Slack proves itself by its signature; Airflow's login does not stand before this. Nothing that arrives here is logged:
it holds names, comments, and addresses that are secrets.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import traceback
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import orjson
from fastapi import FastAPI
from pydantic import BaseModel, Field, ValidationError
from slack_sdk.signature import SignatureVerifier
from sqlalchemy import Engine, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from include.approvals import asking, messages, wording
from include.approvals.answers import Sender, check, give
from include.approvals.decisions import Decision, Refused
from include.approvals.delivery import deliver_due
from include.approvals.people import people
from include.approvals.wording import Place
from include.data.database import DatabaseMissing, engine
from include.environment import current
from include.integrations.slack import CannotOpen
from include.integrations.systems import Mode, Provider
from waybill.approvals import QUESTION_TASK, decision_dag_of, moves_run, resume, stage_task
from waybill.systems import provider

log = logging.getLogger(__name__)

URL_PREFIX = "/slack"
SECRET, TEAM, APP, HOST = (
    "WAYBILL_SLACK_SIGNING_SECRET",
    "WAYBILL_SLACK_TEAM",
    "WAYBILL_SLACK_APP",
    "WAYBILL_SLACK_RESPONSE_HOST",
)
SLACK_HOST = "hooks.slack.com"
MOST_BYTES = 2**20
"""Slack sends back the whole message that a button is in."""
READ_PATIENCE = 3.0
ANSWER_PATIENCE = 5.0
"""Seconds for a body to arrive, and for Slack to take an answer."""

ANSWERS = {
    wording.APPROVE: "approve",
    wording.REJECT: "reject",
    wording.ASK: "ask",
    wording.ANSWER: "answer",
}
FORMS = {f"waybill_{answer}": answer for answer in ("reject", "ask", "answer")}
TITLES = {
    400: "The request cannot be read",
    401: "The signature is not accepted",
    403: "This workspace or app is not the one that is connected",
    405: "This method is not offered",
    408: "The body did not arrive in time",
    409: "This request was received before",
    413: "The body is too large",
    415: "This kind of content is not accepted",
    500: "The answer could not be taken",
    503: "Answers cannot be taken now",
}

_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")]


class _Team(BaseModel):
    id: _Id


class _User(BaseModel):
    id: _Id
    team_id: _Id | None = None


class _Action(BaseModel):
    action_id: str
    value: str = Field(default="", max_length=2_000)


class _Field(BaseModel):
    value: str | None = None


class _State(BaseModel):
    values: dict[str, dict[str, _Field]]


class _View(BaseModel):
    callback_id: str
    private_metadata: str = Field(max_length=3_000)
    state: _State


class _Payload(BaseModel):
    """What is read of a payload (docs.slack.dev, interaction payloads: block_actions, view_submission)."""

    type: str
    user: _User
    team: _Team | None = None
    api_app_id: _Id | None = None
    trigger_id: str | None = Field(default=None, max_length=500)
    response_url: str | None = Field(default=None, max_length=1_000)
    actions: list[_Action] = []
    view: _View | None = None


class _Problem(Exception):
    """A request that nothing is done about; the detail is for whoever set Slack up."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(code)
        self.status, self.code, self.detail = status, code, detail

    def response(self) -> Response:
        """Return it as a problem document (RFC 9457)."""
        document = {
            "type": f"urn:waybill:problem:{self.code}",
            "title": TITLES.get(self.status, "The request failed"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        headers = {"cache-control": "no-store"} | ({"connection": "close"} if self.status in (408, 413) else {})
        return Response(orjson.dumps(document), self.status, headers, "application/problem+json")


@dataclass(frozen=True)
class _Told:
    """An answer as it came: who, to what, and where its sender hears of a refusal."""

    sender: Sender
    answer: str
    place: Place
    comment: str = ""
    response_url: str | None = None


class SlackActions:
    """The endpoint.

    :param target: returns the database.
    :param system: role -> its provider, for the form and for the messages that follow.
    :param wake: lets the parked task of a decided stage go on.
    """

    def __init__(
        self, target: Callable[[], Engine], system: Callable[[str], Provider], wake: Callable[..., None]
    ) -> None:
        self._target = target
        self._system = system
        self._wake = wake

    async def interactions(self, request: Request) -> Response:
        """`POST /interactions`: one press of a button, or one form."""
        try:
            body = await self._proven(request)
            payload = _read(body)
            _check_origin(payload)
            return await run_in_threadpool(self._act, payload, request.headers["x-slack-signature"])
        except _Problem as problem:
            log.warning("a request to the Slack endpoint is refused: %s", problem.code)
            return problem.response()
        except ClientDisconnect:
            return Response(status_code=400)
        except (OperationalError, InterfaceError, PoolExhausted, DatabaseMissing):
            return _Problem(503, "database.away", "The database does not answer. Press the button again.").response()
        except Exception as error:
            # the message of an error may repeat what a person wrote; where it happened does not
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("the Slack endpoint failed: %s\n%s", type(error).__name__, where)
            return _Problem(500, "slack.failed", "Whether it was taken is not known. Look in Airflow.").response()

    async def _proven(self, request: Request) -> bytes:
        """The body, once it is known to be Slack's and of now."""
        secret = os.environ.get(SECRET, "").strip()
        if not secret:
            raise _Problem(503, "secret.missing", f"Set {SECRET} to the Slack app's signing secret.")
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded" or request.headers.get("content-encoding", "") not in (
            "",
            "identity",
        ):
            raise _Problem(415, "content.type", "Slack sends application/x-www-form-urlencoded.")
        body = await _body(request)
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not re.fullmatch(r"v0=[0-9a-f]{64}", signature):
            raise _Problem(401, "signature.missing", "A signature and its timestamp, as Slack makes them, are needed.")
        try:
            genuine = SignatureVerifier(secret).is_valid(body, timestamp, signature)
        except UnicodeDecodeError:
            genuine = False
        if not genuine:
            raise _Problem(401, "signature.wrong", f"It is wrong or older than 5 minutes; is {SECRET} the app's?")
        return body

    def _act(self, payload: _Payload, signature: str) -> Response:
        told, opens = _understood(payload)
        self._first_time(signature)
        if told is None:
            return Response()
        try:
            if opens:
                check(
                    self._target(),
                    told.place.round_id,
                    sender=told.sender,
                    answer=told.answer,
                    digest=told.place.digest,
                    asked_in=_asked_in(told),
                )
                return Response(background=BackgroundTask(self._open, told, payload.trigger_id or ""))
            decision, run_id, workflow = self._decided(told)
        except Refused as refusal:
            log.info("an answer by Slack changes nothing: %s", refusal.code)
            message = _sentence(refusal.message)
            if payload.type == "view_submission":
                return _errors(message)
            return Response(background=BackgroundTask(tell, told.response_url, message))
        return Response(background=BackgroundTask(self._follow_up, decision, told, run_id, workflow))

    def _first_time(self, signature: str) -> None:
        """Refuse a request that acted already; the decision would refuse it as well, but not every form of it."""
        with self._target().begin() as connection:
            connection.execute(text("delete from slack_requests where at < now() - interval '1 hour'"))
            kept = connection.execute(
                text("insert into slack_requests (signature) values (:signature) on conflict do nothing"),
                {"signature": hashlib.sha256(signature.encode()).digest()},
            )
        if not kept.rowcount:
            raise _Problem(409, "request.replayed", "It was acted on when it came for the first time.")

    def _decided(self, told: _Told) -> tuple[Decision, str, str]:
        """What an answer came to, and the run that asked for it: an answered question moves the round to another."""
        with self._target().connect() as connection:
            before = asking.standing(connection, told.place.round_id)
        decision = give(
            self._target(),
            told.place.round_id,
            sender=told.sender,
            answer=told.answer,
            comment=told.comment,
            mode=Mode(current().effect_mode),
            digest=told.place.digest,
            asked_in=_asked_in(told),
        )
        if before is None:
            raise LookupError(f"round {told.place.round_id} appeared in between")
        return decision, before.run_id, before.workflow

    def _follow_up(self, decision: Decision, told: _Told, run_id: str, workflow: str) -> None:
        """Let the run go on, and tell everybody; what fails here is done by the sweep within a minute."""
        if moves_run(decision):
            try:
                self._wake(run_id, decision_dag_of(workflow), told.place.stage, decision.answer, decision.person)
            except Exception as error:
                log.error("the run of round %d is not resumed now: %s", decision.round_id, type(error).__name__)
        for role in ("chat", "mail"):
            try:
                system = self._system(role)
                deliver_due(self._target(), **{"chat": None, "mail": None, role: system}, case_ids=[decision.case_id])
            except Exception as error:
                log.error("messages of round %d wait for the sweep: %s", decision.round_id, type(error).__name__)

    def _open(self, told: _Told, trigger: str) -> None:
        """Open the form for a comment; where Slack cannot, say where it can be written."""
        with self._target().connect() as connection:
            asked = asking.standing(connection, told.place.round_id)
        if asked is None:
            return
        try:
            open_form = getattr(self._system("chat"), "open_form", None)
            if open_form is None:
                raise CannotOpen("this chat has no forms")
            open_form(trigger, wording.form(told.answer, asked.title, told.place))
        except Exception as error:
            reason = str(error) if isinstance(error, CannotOpen) else type(error).__name__
            log.warning("Slack opens no form (%s); the person is sent to Airflow", reason)
            task = QUESTION_TASK if told.answer == "answer" else stage_task(told.place.stage)
            tell(
                told.response_url,
                f"Slack cannot ask for your comment here. Write it in Airflow: {messages.link(asked, task)}",
            )


def _read(body: bytes) -> _Payload:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=10)
        (document,) = fields["payload"]
        return _Payload.model_validate(orjson.loads(document))
    except (KeyError, ValueError, ValidationError, UnicodeError):
        raise _Problem(400, "payload.unreadable", "One field `payload`, a JSON object as Slack sends it.") from None


def _check_origin(payload: _Payload) -> None:
    """Refuse another workspace, a guest from another one, and another app, where it is said which is ours."""
    team, app = os.environ.get(TEAM, "").strip(), os.environ.get(APP, "").strip()
    teams = {payload.team.id if payload.team else None, payload.user.team_id or team}
    if team and teams != {team}:
        raise _Problem(403, "team.other", f"{TEAM} names the only workspace from which answers are taken.")
    if app and payload.api_app_id != app:
        raise _Problem(403, "app.other", f"{APP} names the only app from which answers are taken.")


def _understood(payload: _Payload) -> tuple[_Told | None, bool]:
    """What a payload says, and whether it only opens a form; None where there is nothing to do."""
    person = people().by_slack(payload.user.id)
    sender = Sender(person.id if person else None, payload.user.id, "slack")
    if payload.type == "block_actions":
        if len(payload.actions) != 1:
            _unknown("one action")
        action = payload.actions[0]
        if action.action_id == wording.OPEN:
            return None, False
        answer = ANSWERS.get(action.action_id) or _unknown("an action of Waybill's")
        return _Told(sender, answer, _place(action.value), "", payload.response_url), answer != "approve"
    if payload.type == "view_submission" and payload.view is not None:
        answer = FORMS.get(payload.view.callback_id) or _unknown("a form of Waybill's")
        written = payload.view.state.values.get(wording.COMMENT, {}).get(wording.COMMENT, _Field()).value or ""
        return _Told(sender, answer, _place(payload.view.private_metadata), written.replace("\x00", "")), False
    return _unknown("block_actions or view_submission")


def _place(value: str) -> Place:
    try:
        return Place.unpacked(value)
    except ValueError:
        return _unknown("a value of Waybill's")


def _unknown(wanted: str) -> NoReturn:
    raise _Problem(400, "payload.unknown", f"The payload is not {wanted}.")


def _asked_in(told: _Told) -> int | None:
    return told.place.stage if told.answer != "answer" else None


async def _body(request: Request) -> bytes:
    """The whole body, never more than the limit of it."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > MOST_BYTES:
        raise _Problem(413, "body.too_large", f"At most {MOST_BYTES} bytes are accepted.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(READ_PATIENCE):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MOST_BYTES:
                    raise _Problem(413, "body.too_large", f"At most {MOST_BYTES} bytes are accepted.")
    except TimeoutError:
        raise _Problem(408, "body.slow", "The body did not arrive in time.") from None
    return b"".join(parts)


def _errors(message: str) -> Response:
    document = {"response_action": "errors", "errors": {wording.COMMENT: message}}
    return Response(orjson.dumps(document), media_type="application/json")


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves redirects alone: the address was checked, and where it would lead was not."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow none."""
        return


def answer_address(response_url: str | None) -> str | None:
    """Return the address of an answer, made anew of its checked parts; None where it is not Slack's."""
    host = os.environ.get(HOST, "").strip()
    try:
        parts = urlsplit(response_url or "")
        schemes: Sequence[str] = ("http", "https") if host else ("https",)
        fits = (
            parts.scheme in schemes
            and parts.netloc == (host or SLACK_HOST)
            and re.fullmatch(r"/[A-Za-z0-9/_-]{1,500}", parts.path)
            and not parts.query
        )
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}{parts.path}" if fits else None


def tell(response_url: str | None, message: str) -> None:
    """Tell the one who pressed a button, and nobody else; never raises."""
    address = answer_address(response_url)
    if address is None:
        log.warning("an answer cannot be told: its address is not Slack's")
        return
    document = {"response_type": "ephemeral", "replace_original": False, "text": wording.escaped(message, 2_000)}
    request = urllib.request.Request(  # noqa: S310 - https, or what the stand-in's variable says
        address, orjson.dumps(document), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        urllib.request.build_opener(_NoRedirect).open(request, timeout=ANSWER_PATIENCE).close()
    except Exception as error:
        log.warning("Slack does not take an answer: %s", type(error).__name__)


async def _http_problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "path.unknown", 405: "method"}.get(error.status_code, "request")
    response = _Problem(error.status_code, code, "Slack posts to /slack/interactions.").response()
    response.headers.update(error.headers or {})
    return response


def create_app(
    *,
    target: Callable[[], Engine] = engine,
    system: Callable[[str], Provider] = provider,
    wake: Callable[..., None] = resume,
) -> FastAPI:
    """Return the endpoint."""
    app = FastAPI(title="Waybill in Slack", openapi_url=None, exception_handlers={HTTPException: _http_problem})
    app.router.redirect_slashes = False
    actions = SlackActions(target, system, wake)
    app.router.routes.append(Route("/interactions", actions.interactions, methods=["POST"]))
    return app


def fastapi_app() -> dict[str, Any]:
    """Return the mount: an entry of `AirflowPlugin.fastapi_apps`."""
    if os.environ.get(SECRET):
        # a form must be open within three seconds of the press, of which this import would take one or two
        import airflow.providers.slack.hooks.slack  # noqa: F401, PLC0415
    return {"app": create_app(), "url_prefix": URL_PREFIX, "name": "Waybill in Slack"}
