"""Slack as the `chat` role: by the Web API (posts, edits, pictures), or by an incoming webhook (posts only).

Posts at least once: Slack has no idempotency key, and an alert told twice is better than one that is lost. A picture
goes at most once: its message says the same. It chooses no connection and words no message.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from slack_sdk import WebClient, WebhookClient
from slack_sdk.errors import SlackApiError, SlackClientError

from include.integrations.http.secrets import mask
from include.integrations.ledger import WITHDRAWN
from include.integrations.systems import Failed, Operation, Outcome, PendingEffect, Sent, Settle, Unknown

TIMEOUT = 10
"""Seconds for one call. A batch stops at its first time-out, so it stays inside the ledger's lease."""
LONGEST_APPLY = 60.0
"""Seconds after which nothing further of a batch is begun; a picture takes three calls."""
DEFAULT_RETRY_AFTER = 30.0
"""Seconds to wait after a 429 that does not say how long."""
MISCONFIGURED_RETRY_AFTER = 60.0
"""Seconds until the next try where a person must mend the connection or the channel; trying then helps."""

REFUSED_CONTENT = frozenset(
    {"invalid_payload", "no_text", "msg_too_long", "invalid_blocks", "invalid_blocks_format", "too_many_attachments",
     "too_many_blocks", "msg_blocks_too_long", "invalid_arguments"}
)  # fmt: skip
"""Errors that the same message would get again (docs.slack.dev: chat.postMessage, incoming webhooks)."""
REFUSED_BLOCKS = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "too_many_blocks", "invalid_payload"}
)
OF_ONE_CHANNEL = frozenset(
    {"channel_not_found", "user_not_found", "user_disabled", "cannot_dm_bot", "not_in_channel", "is_archived",
     "messages_tab_disabled", "restricted_action", "restricted_action_read_only_channel"}
)  # fmt: skip
"""Errors that say nothing about the messages to others."""
CANNOT_EDIT = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
TRANSIENT = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable", "rollup_error"})
HALF_DONE = frozenset({"internal_error", "fatal_error", "no error code"})
"""Errors after which, as Slack says, some of it may have been done."""

NO_PICTURES = frozenset({"missing_scope", "file_uploads_disabled"})
"""Errors by which a workspace says that it wants no pictures; nobody is alerted about that."""
REFUSED_PICTURE = frozenset({"file_type_not_allowed", "file_upload_size_restricted", "storage_limit_reached"})
NOT_A_MEMBER = frozenset({"not_in_channel", "channel_not_found", "invalid_channel"})
"""What Slack says of a channel that the app may write to, but is not in: files need a member."""

OPERATIONS: Mapping[str, Operation] = {
    "post_message": Operation("post_message", Settle.RESEND, compensation="update_message"),
    "update_message": Operation("update_message", Settle.RESEND),
    "post_picture": Operation("post_picture", Settle.ASSUME_SENT),
}


def quiet_logger() -> logging.Logger:
    """Return a logger that keeps what slack_sdk would log to itself: it logs the webhook's address, a secret."""
    logger = logging.Logger("waybill.slack_sdk", level=logging.CRITICAL + 1)
    logger.addHandler(logging.NullHandler())
    return logger


class _Slack:
    """What both ways have in common: one call per message, and a batch that stops where Slack stops answering."""

    name = "slack"
    batch_size = 20
    operations = OPERATIONS
    _secrets: tuple[str, ...] = ()

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Post or edit the messages, in order; after a 429 or without an answer the rest is left for later."""
        outcomes: list[Outcome] = []
        begun = time.monotonic()
        for effect in effects:
            if time.monotonic() - begun > LONGEST_APPLY:
                late = Failed("not tried: what was before it took too long", retry_after=0)
                return outcomes + [late] * (len(effects) - len(outcomes))
            outcome, goes_on = self._guarded(operation, effect)
            outcomes.append(outcome)
            if not goes_on:
                wait = outcome.retry_after if isinstance(outcome, Failed) else None
                rest = Failed("not tried: Slack did not take the message before it", retry_after=wait)
                return outcomes + [rest] * (len(effects) - len(outcomes))
        return outcomes

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Never asked: both operations are sent again."""
        return [Unknown("Slack cannot be asked for a message by our key")] * len(effects)

    def _guarded(self, operation: str, effect: PendingEffect) -> tuple[Outcome, bool]:
        """The outcome of one effect, and whether it makes sense to go on with the next."""
        try:
            outcome = self._send(operation, effect)
        except TimeoutError:
            return Unknown("Slack did not answer in time"), False
        except URLError as error:
            reason = error.reason
            if isinstance(reason, TimeoutError):
                return Unknown("Slack did not answer in time"), False
            return Failed(self._clean(f"Slack cannot be reached: {type(reason).__name__}: {reason}")), False
        except (HTTPException, ConnectionError) as error:
            return Unknown(self._clean(f"Slack broke off: {type(error).__name__}")), False
        except (SlackClientError, ValueError, OSError) as error:
            return Failed(self._clean(f"{type(error).__name__}: {error}")), True
        stops = isinstance(outcome, Failed) and outcome.retry_after is not None
        return outcome, not stops or isinstance(outcome, _OneChannel)

    def _send(self, operation: str, effect: PendingEffect) -> Outcome:
        raise NotImplementedError

    def _clean(self, error: str) -> str:
        return mask(error, self._secrets)

    def _answered(self, status: int, retry_after: str | None, error: str) -> Failed:
        """Map a refusal to what the ledger does next."""
        said = self._clean(error)
        if status == 429 or error == "ratelimited":
            return Failed("Slack limits the rate", retry_after=_seconds(retry_after))
        if error in REFUSED_CONTENT:
            return Failed(f"Slack refused the message: {said}", permanent=True)
        if status >= 500 or error in TRANSIENT:
            return Failed(f"Slack answered {status} {said}".strip())
        kind = _OneChannel if error in OF_ONE_CHANNEL else Failed
        return kind(
            f"Slack refused: {said or status}. Check the connection and the channel",
            retry_after=MISCONFIGURED_RETRY_AFTER,
        )


class _OneChannel(Failed):
    """The channel or the person does not take it; the next message may go to another."""


class CannotOpen(RuntimeError):
    """Slack does not open a form; the message says why, and holds no secret."""


class SlackApi(_Slack):
    """Slack's Web API with a bot token: chat.postMessage, chat.update in place, and pictures in a message's thread.

    :param client: made with `retry_handlers=[]`, for the ledger retries, and with `quiet_logger()`.
    """

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._secrets = (client.token,) if client.token else ()

    def open_form(self, trigger: str, view: Mapping[str, Any]) -> None:
        """Open a modal for whoever pressed the button that `trigger` comes from, within 3 seconds of it.

        :raises CannotOpen: when Slack refuses, or does not answer.
        """
        try:
            self._client.views_open(trigger_id=trigger, view=dict(view))
        except SlackApiError as error:
            raise CannotOpen(self._clean(_code(error))) from None
        except (SlackClientError, HTTPException, ValueError, OSError) as error:
            raise CannotOpen(type(error).__name__) from None

    def _send(self, operation: str, effect: PendingEffect) -> Outcome:
        payload, posted = effect.payload, effect.payload.get("posted") or {}
        if operation == "post_picture":
            return self._show(payload, posted)
        if operation == "update_message":
            if not posted.get("ts") or not posted.get("channel"):
                return Sent({"skipped": "the message was not posted by this connection"})
            channel = posted["channel"]
            return self._call(
                lambda **content: self._client.chat_update(channel=channel, ts=posted["ts"], **content), payload
            )
        return self._call(
            lambda **content: self._client.chat_postMessage(
                channel=payload["channel"], unfurl_links=False, unfurl_media=False, **content
            ),
            payload,
        )

    def _show(self, payload: Mapping[str, Any], posted: Mapping[str, Any]) -> Outcome:
        """Upload a picture, and share it as a reply to its message (docs.slack.dev: files.completeUploadExternal).

        Nobody sees anything before the last call, so without an answer to an earlier one it may be begun again; an
        upload that is never completed is nothing. The message's answer has the channel's ID, which files need.
        """
        if not posted:
            return Failed("its message is not posted yet")
        if not posted.get("ts") or not posted.get("channel"):
            return Sent({"skipped": "the message was not posted by this connection"})
        file = self._uploaded(payload["filename"], base64.b64decode(payload["picture"]))
        if isinstance(file, Failed):
            return file
        try:
            self._client.files_completeUploadExternal(
                files=[{"id": file, "title": payload["text"], "highlight_type": "png"}],
                channel_id=posted["channel"],
                thread_ts=posted["ts"],
            )
        except SlackApiError as error:
            if _code(error) in HALF_DONE or _status(error)[0] >= 500:
                return Unknown(self._clean(f"Slack answered {_code(error)}: the picture may be there"))
            return self._not_shown(error)
        return Sent({"channel": posted["channel"], "ts": posted["ts"], "file": file})

    def _uploaded(self, filename: str, content: bytes) -> str | Failed:
        """Upload a file that nobody sees yet, and return its id."""
        try:
            place = self._client.files_getUploadURLExternal(filename=filename, length=len(content))
            self._upload(str(place["upload_url"]), content)
        except SlackApiError as error:
            return self._not_shown(error)
        except (HTTPException, OSError) as error:
            why = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
            return Failed(f"Slack did not take the picture: {type(why).__name__}", retry_after=DEFAULT_RETRY_AFTER)
        return str(place["file_id"])

    def _not_shown(self, error: SlackApiError) -> Failed:
        """Map a refusal of a picture to what the ledger does next; its message is there already."""
        code, response = _code(error), error.response
        if code in NO_PICTURES:
            needed = (response.get("needed") if hasattr(response, "get") else None) or "files:write"
            why = f"lacks the scope {needed}: add it to the Slack app and install the app again, or leave it so"
            if code == "file_uploads_disabled":
                why = "may not upload files: the workspace has turned that off"
            return Failed(f"{WITHDRAWN}no picture, for Waybill {why}", permanent=True)
        if code in NOT_A_MEMBER:
            return Failed(
                f"Slack refused the picture: {code}. Invite the app to the channel (/invite), then retry",
                permanent=True,
            )
        if code in REFUSED_PICTURE:
            return Failed(f"Slack refused the picture: {code}", permanent=True)
        return self._answered(*_status(error), code)

    def _upload(self, address: str, content: bytes) -> None:
        """Post bytes to an address that Slack gave out; whoever knows it may write there, so it is not repeated.

        :raises OSError: when they are not taken.
        """
        client = self._client
        proxy = ProxyHandler({"http": client.proxy, "https": client.proxy} if client.proxy else None)
        request = Request(address, content, {"Content-Type": "application/octet-stream"}, method="POST")  # noqa: S310 - Slack's own answer
        with build_opener(proxy, HTTPSHandler(context=client.ssl)).open(request, timeout=client.timeout):
            pass  # what is not taken is an HTTPError

    def _call(self, method: Callable[..., Any], payload: Mapping[str, Any]) -> Outcome:
        content = {"text": payload["text"], "blocks": payload.get("blocks") or None}
        try:
            answer = method(**content)
        except SlackApiError as error:
            code = _code(error)
            if code in REFUSED_BLOCKS and content["blocks"]:
                return self._call(method, {"text": payload["text"]})
            if code in CANNOT_EDIT:
                return Failed(f"Slack cannot edit the message: {code}", permanent=True)
            return self._answered(*_status(error), code)
        return Sent({"channel": answer.get("channel"), "ts": answer.get("ts")})


class SlackWebhook(_Slack):
    """An incoming webhook: it posts to the one channel that it was made for, and cannot edit.

    An update is left out, except when the count grew tenfold: then it is posted, or a storm would look like one.

    :param client: made with `retry_handlers=[]` and `quiet_logger()`; its URL is a secret.
    :raises ValueError: when the URL is not one.
    """

    def __init__(self, client: WebhookClient) -> None:
        parts = urlsplit(client.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                "the Slack webhook's address is not an http(s) URL; see the connection's password and host"
            )
        self._client = client
        tokens = sorted((part for part in parts.path.split("/") if len(part) >= 8), key=len, reverse=True)
        self._secrets = (client.url, parts.path, *tokens)

    def _send(self, operation: str, effect: PendingEffect) -> Outcome:
        if operation == "post_picture":
            return Sent({"skipped": "an incoming webhook takes no pictures"})
        if operation == "update_message" and not effect.payload.get("milestone"):
            return Sent({"skipped": "an incoming webhook cannot edit a message"})
        outcome = self._post(effect.payload["text"], effect.payload.get("blocks"))
        if isinstance(outcome, Failed) and outcome.permanent and effect.payload.get("blocks"):
            return self._post(effect.payload["text"], None)
        return outcome

    def _post(self, text: str, blocks: Sequence[Mapping[str, Any]] | None) -> Outcome:
        answer = self._client.send_dict({"text": text, "blocks": blocks, "unfurl_links": False})
        if answer.status_code == 200:
            return Sent({"webhook": True})
        return self._answered(answer.status_code, _header(answer.headers, "Retry-After"), answer.body.strip())


def _code(error: SlackApiError) -> str:
    """Slack's error code, or the beginning of what came instead of an answer."""
    response = error.response
    found = response.get("error") if hasattr(response, "get") else None
    return str(found) if found else "no error code"


def _status(error: SlackApiError) -> tuple[int, str | None]:
    """The HTTP status and Retry-After; slack_sdk gives a plain dict where the body was not JSON."""
    response = error.response
    if isinstance(response, dict):
        return int(response.get("status", 0)), _header(response.get("headers") or {}, "Retry-After")
    return int(getattr(response, "status_code", 0)), _header(getattr(response, "headers", None) or {}, "Retry-After")


def _header(headers: Mapping[str, Any], name: str) -> str | None:
    value = next((value for key, value in headers.items() if key.lower() == name.lower()), None)
    return str(value[0] if isinstance(value, list) else value) if value else None


def _seconds(value: str | None) -> float:
    try:
        return max(1.0, float(value)) if value else DEFAULT_RETRY_AFTER
    except ValueError:
        return DEFAULT_RETRY_AFTER
