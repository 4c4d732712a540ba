"""A stand-in for Slack, by its published contract: posts, edits, files, direct messages, buttons, forms and answers.

Contract: docs.slack.dev, "Sending messages using incoming webhooks", chat.postMessage, chat.update, views.open,
files.getUploadURLExternal, files.completeUploadExternal, "Working with files",
"Rate limits", Block Kit reference, "Handling user interaction" with its payloads block_actions and view_submission,
"Verifying requests from Slack". It keeps what it was sent, misbehaves on demand, and presses buttons.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

TOKEN = "xoxb-000000000000-test-not-a-real-token"
WEBHOOK_PATH = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
TEAM, APP = "T0NORDLICHT", "A0WAYBILL"
SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"  # the example of "Verifying requests from Slack"
TRIGGER_LIVES = 3.0  # seconds
TLS = httpx.create_ssl_context()  # making one takes longer than a request
POLL = 0.02  # seconds between looks whether it shall end
_FILES = ("files.getUploadURLExternal", "files.completeUploadExternal")
BLOCK_TYPES = {"header", "section", "context", "divider", "actions", "image"}


@dataclass
class Posted:
    """A message as people see it now."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    edits: int = 0

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """What can be pressed, by action id."""
        elements = [element for block in self.blocks if block["type"] == "actions" for element in block["elements"]]
        return {element["action_id"]: element for element in elements}

    @property
    def whole(self) -> str:
        return self.text + json.dumps(self.blocks, ensure_ascii=False)


@dataclass
class Upload:
    """A file that was announced; who sees it is said last."""

    id: str
    filename: str
    length: int
    content: bytes | None = None


@dataclass(frozen=True)
class Shared:
    """A file as people see it in a channel.

    :param thread: the `ts` of the message that it answers; empty in the channel itself.
    """

    channel: str
    thread: str
    title: str
    filename: str
    content: bytes


@dataclass
class Slack:
    """What the workspace holds, and how it shall misbehave."""

    channels: set[str] | None = None
    messages: list[Posted] = field(default_factory=list)
    calls: int = 0
    faults: list[tuple[int, str, dict[str, str]] | None] = field(default_factory=list)
    """Status, body and headers of the next answers, before anything is looked at; None: no fault."""
    scopes: set[str] = field(default_factory=lambda: {"chat:write", "im:write", "files:write"})
    not_in: set[str] = field(default_factory=set)
    """Ids of channels that the app may write to without being in them (chat:write.public)."""
    uploads: dict[str, Upload] = field(default_factory=dict)
    shared: list[Shared] = field(default_factory=list)
    hang: float = 0.0
    """Seconds before it answers, after it took the message."""
    revoked: bool = False
    down: bool = False
    base: str = ""
    users: set[str] | None = None
    """Members of the workspace; None: everybody is."""
    endpoint: str = ""
    """Where the app's manifest says that interactions are posted to."""
    secret: str = SIGNING_SECRET
    triggers: dict[str, tuple[str, float]] = field(default_factory=dict)
    forms: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """User and view of each form that was opened."""
    answers: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """User and content of what came to a response_url."""
    response_urls: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"{self.base}/api/"

    @property
    def webhook(self) -> str:
        return self.base + WEBHOOK_PATH

    @property
    def host(self) -> str:
        return self.base.removeprefix("http://")

    def inbox(self, user: str) -> list[Posted]:
        """The direct messages of somebody."""
        return [message for message in self.messages if message.channel == f"D{user[1:]}"]

    def press(self, message: Posted, action: str, user: str, **changes: Any) -> httpx.Response:
        """Press a button, and return what the app answers."""
        return self.send(self.pressed(message, message.buttons[action], user) | changes)

    def pressed(self, message: Posted, button: dict[str, Any], user: str) -> dict[str, Any]:
        """The payload of a button that is pressed."""
        trigger, response = self._fresh(user)
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM},
            "api_app_id": APP,
            "token": "verification-token-that-nobody-should-use",
            "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
            "trigger_id": trigger,
            "team": {"id": TEAM, "domain": "nordlicht"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": message.channel, "name": "directmessage"},
            "message": {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks},
            "state": {"values": {}},
            "response_url": response,
            "actions": [{**button, "block_id": "b1", "type": "button", "action_ts": message.ts}],
        }

    def submit(self, user: str, comment: str | None, **changes: Any) -> httpx.Response:
        """Fill in the form that was opened last for somebody, and send it."""
        return self.send(self.submitted(user, comment) | changes)

    def submitted(self, user: str, comment: str | None) -> dict[str, Any]:
        view = [view for opened_for, view in self.forms if opened_for == user][-1]
        values = {
            block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": comment}}
            for block in view["blocks"]
            if block["type"] == "input"
        }
        return {
            "type": "view_submission",
            "team": {"id": TEAM, "domain": "nordlicht"},
            "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": TEAM},
            "api_app_id": APP,
            "token": "verification-token-that-nobody-should-use",
            "trigger_id": self._fresh(user)[0],
            "view": {**view, "id": "V0001", "team_id": TEAM, "state": {"values": values}, "hash": "1.abc"},
            "response_urls": [],
            "is_enterprise_install": False,
            "enterprise": None,
        }

    def signed(self, payload: Any, *, secret: str | None = None, at: float | None = None) -> dict[str, Any]:
        """Body and headers of a request, as `httpx.post` takes them."""
        body = urlencode({"payload": payload if isinstance(payload, str) else json.dumps(payload)})
        timestamp = str(int(time.time() if at is None else at))
        digest = hmac.new((secret or self.secret).encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={digest.hexdigest()}",
            "User-Agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
        }
        return {"content": body, "headers": headers}

    def send(self, payload: Any) -> httpx.Response:
        """Post an interaction to the app; Slack gives it three seconds."""
        return httpx.post(self.endpoint, **self.signed(payload), timeout=3.0, verify=TLS)

    def _fresh(self, user: str) -> tuple[str, str]:
        """A trigger and a response_url, made for one interaction of one person."""
        with self.lock:
            number = len(self.response_urls) + 1
            trigger, path = f"{number}.{time.time_ns()}", f"/actions/{TEAM}/{number}/secret{time.time_ns()}"
            self.triggers[trigger] = (user, time.monotonic())
            self.response_urls[path] = user
        return trigger, self.base + path


def bad_blocks(blocks: Any) -> bool:  # noqa: PLR0911 - one for each refusal of the contract
    """Whether Slack would refuse these blocks: unknown type, empty or too long text, more than 50."""
    if not isinstance(blocks, list) or len(blocks) > 50:
        return True
    for block in blocks:
        if not isinstance(block, dict) or block.get("type") not in BLOCK_TYPES:
            return True
        if block["type"] == "header" and not _fits(block.get("text"), {"plain_text"}, 150):
            return True
        if block["type"] == "section" and not _fits(block.get("text"), {"mrkdwn", "plain_text"}, 3000):
            return True
        if block["type"] == "actions" and not _good_buttons(block.get("elements")):
            return True
        if block["type"] == "context" and not all(
            _fits(element, {"mrkdwn", "plain_text"}, 3000) for element in block.get("elements") or [None]
        ):
            return True
    return False


def _good_buttons(elements: Any) -> bool:
    """Whether buttons are as Slack takes them."""
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        return False
    if len({element.get("action_id") for element in elements}) < len(elements):
        return False
    for element in elements:
        confirm = element.get("confirm")
        if (
            element.get("type") != "button"
            or not _fits(element.get("text"), {"plain_text"}, 75)
            or len(element.get("value", "")) > 2000
            or len(element.get("url", "")) > 3000
            or element.get("style") not in (None, "primary", "danger")
            or (
                confirm
                and not all(
                    _fits(confirm.get(name), {"plain_text"}, longest)
                    for name, longest in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30))
                )
            )
        ):
            return False
    return True


def bad_view(view: Any) -> bool:
    """Whether Slack would refuse this modal."""
    if not isinstance(view, dict) or view.get("type") != "modal" or len(view.get("private_metadata", "")) > 3000:
        return True
    if not all(_fits(view.get(name), {"plain_text"}, 24) for name in ("title", "submit", "close")):
        return True
    if len(view.get("callback_id", "")) > 255:
        return True
    inputs = [block for block in view.get("blocks", []) if block.get("type") == "input"]
    if any(
        not _fits(block.get("label"), {"plain_text"}, 2000)
        or block.get("element", {}).get("type") != "plain_text_input"
        or not 1 <= block["element"].get("max_length", 3000) <= 3000
        for block in inputs
    ):
        return True
    return bad_blocks([block for block in view.get("blocks", []) if block.get("type") != "input"])


def _fits(text: Any, types: set[str], longest: int) -> bool:
    return isinstance(text, dict) and text.get("type") in types and 0 < len(text.get("text", "")) <= longest


class _Handler(BaseHTTPRequestHandler):
    slack: Slack

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:  # noqa: PLR0911 - one for each thing that is asked for
        slack = self.slack
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with slack.lock:
            slack.calls += 1
            fault = slack.faults.pop(0) if slack.faults else None
        if slack.down:
            return self._answer(503, "upstream connect error")
        if fault:
            return self._answer(fault[0], fault[1], fault[2])
        if self.path == WEBHOOK_PATH:
            return self._webhook(body)
        if self.path in slack.response_urls:
            return self._response(body)
        if self.path.startswith("/upload/v1/"):
            return self._take_bytes(body)
        method = urlsplit(self.path).path.removeprefix("/api/")
        if method in ("chat.postMessage", "chat.update", "views.open", *_FILES):
            return self._api(method, body)
        return self._answer(404, "no_service")

    def _webhook(self, body: bytes) -> None:
        if self.slack.revoked:
            return self._answer(404, "no_service")
        try:
            payload = json.loads(body)
        except ValueError:
            return self._answer(400, "invalid_payload")
        if not payload.get("text") and not payload.get("blocks"):
            return self._answer(400, "no_text")
        if payload.get("blocks") is not None and bad_blocks(payload["blocks"]):
            return self._answer(400, "invalid_blocks")
        self._keep("#of-the-webhook", payload)
        return self._answer(200, "ok")

    def _api(self, method: str, body: bytes) -> None:  # noqa: PLR0911, PLR0912 - one for each refusal of the contract
        slack = self.slack
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" or slack.revoked:
            return self._json({"ok": False, "error": "invalid_auth"})
        if self.headers.get("Content-Type", "").startswith("application/json"):
            payload = json.loads(body)
        else:
            payload = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        payload |= {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if method == "views.open":
            return self._open(payload)
        if method in _FILES:
            if "files:write" not in slack.scopes:
                provided = ",".join(sorted(slack.scopes))
                return self._json(
                    {"ok": False, "error": "missing_scope", "needed": "files:write", "provided": provided}
                )
            return self._announce(payload) if method == "files.getUploadURLExternal" else self._complete(payload)
        blocks = payload.get("blocks")
        payload["blocks"] = json.loads(blocks) if isinstance(blocks, str) else blocks
        if not payload.get("text") and not payload.get("blocks"):
            return self._json({"ok": False, "error": "no_text"})
        if payload.get("blocks") and bad_blocks(payload["blocks"]):
            return self._json({"ok": False, "error": "invalid_blocks"})
        if method == "chat.update":
            for message in slack.messages:
                if (message.ts, message.channel) == (payload.get("ts"), payload.get("channel")):
                    message.text, message.blocks = payload["text"], payload.get("blocks") or []
                    message.edits += 1
                    return self._json({"ok": True, "channel": message.channel, "ts": message.ts})
            return self._json({"ok": False, "error": "message_not_found"})
        if slack.channels is not None and payload.get("channel") not in slack.channels:
            return self._json({"ok": False, "error": "channel_not_found"})
        channel = str(payload["channel"])
        if channel.startswith("U"):
            if slack.users is not None and channel not in slack.users:
                return self._json({"ok": False, "error": "channel_not_found"})
            posted = self._keep(f"D{channel[1:]}", payload)
        else:
            posted = self._keep("C-" + channel.lstrip("#"), payload)
        return self._json({"ok": True, "channel": posted.channel, "ts": posted.ts, "message": {"text": posted.text}})

    def _announce(self, payload: dict[str, Any]) -> None:
        if not payload.get("filename") or not int(payload.get("length") or 0):
            return self._json({"ok": False, "error": "invalid_arguments"})
        with self.slack.lock:
            upload = Upload(f"F{len(self.slack.uploads):09d}", payload["filename"], int(payload["length"]))
            self.slack.uploads[upload.id] = upload
        return self._json({"ok": True, "upload_url": f"{self.slack.base}/upload/v1/{upload.id}", "file_id": upload.id})

    def _take_bytes(self, body: bytes) -> None:
        upload = self.slack.uploads.get(self.path.removeprefix("/upload/v1/"))
        if upload is None or len(body) != upload.length:
            return self._answer(400, "bad upload")
        upload.content = body
        return self._answer(200, f"OK - {len(body)}")

    def _complete(self, payload: dict[str, Any]) -> None:
        slack = self.slack
        channel, files = str(payload.get("channel_id", "")), json.loads(payload.get("files") or "[]")
        uploads = [slack.uploads.get(each.get("id", "")) for each in files]
        if not files or channel[:1] not in "CGDZ":  # a name or a member's id is none of a channel
            return self._json({"ok": False, "error": "invalid_arguments"})
        if channel in slack.not_in:
            return self._json({"ok": False, "error": "not_in_channel"})
        if channel not in {message.channel for message in slack.messages}:
            return self._json({"ok": False, "error": "channel_not_found"})
        for each, upload in zip(files, uploads, strict=True):
            if upload is None or upload.content is None:
                return self._json({"ok": False, "error": "file_not_found"})
            slack.shared.append(
                Shared(channel, str(payload.get("thread_ts", "")), each.get("title", ""), upload.filename,
                       upload.content)
            )  # fmt: skip
        if slack.hang:
            time.sleep(slack.hang)
        return self._json({"ok": True, "files": [{"id": each["id"], "title": each.get("title", "")} for each in files]})

    def _open(self, payload: dict[str, Any]) -> None:
        user, issued = self.slack.triggers.pop(str(payload.get("trigger_id")), ("", 0.0))
        if not user:
            return self._json({"ok": False, "error": "invalid_trigger"})
        if time.monotonic() - issued > TRIGGER_LIVES:
            return self._json({"ok": False, "error": "expired_trigger_id"})
        if bad_view(payload.get("view")):
            return self._json({"ok": False, "error": "invalid_arguments"})
        self.slack.forms.append((user, payload["view"]))
        return self._json({"ok": True, "view": {"id": "V0001", **payload["view"]}})

    def _response(self, body: bytes) -> None:
        self.slack.answers.append((self.slack.response_urls[self.path], json.loads(body)))
        self._answer(200, "ok")

    def _keep(self, channel: str, payload: dict[str, Any]) -> Posted:
        with self.slack.lock:
            ts = f"1700000000.{len(self.slack.messages):06d}"
            posted = Posted(channel, ts, payload.get("text", ""), payload.get("blocks") or [])
            self.slack.messages.append(posted)
        if self.slack.hang:
            time.sleep(self.slack.hang)
        return posted

    def _json(self, content: dict[str, Any]) -> None:
        self._answer(200, json.dumps(content), {"Content-Type": "application/json; charset=utf-8"})

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())
        except OSError:
            pass  # the client did not wait


@contextmanager
def slack_standin(port: int = 0) -> Iterator[Slack]:
    """Serve a workspace on 127.0.0.1."""
    slack = Slack()
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (_Handler,), {"slack": slack}))
    server.daemon_threads = True
    slack.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(POLL,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
