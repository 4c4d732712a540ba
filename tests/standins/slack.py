"""A stand-in for Slack, by its published contract: an incoming webhook, chat.postMessage and chat.update.

Contract: docs.slack.dev, "Sending messages using incoming webhooks", chat.postMessage, chat.update, "Rate limits",
Block Kit reference. It keeps what it was sent, and misbehaves on demand.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN = "xoxb-000000000000-test-not-a-real-token"
WEBHOOK_PATH = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
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
    def whole(self) -> str:
        return self.text + json.dumps(self.blocks, ensure_ascii=False)


@dataclass
class Slack:
    """What the workspace holds, and how it shall misbehave."""

    channels: set[str] | None = None
    messages: list[Posted] = field(default_factory=list)
    calls: int = 0
    faults: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    """Status, body and headers of the next answers, before anything is looked at."""
    hang: float = 0.0
    """Seconds before it answers, after it took the message."""
    revoked: bool = False
    down: bool = False
    base: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"{self.base}/api/"

    @property
    def webhook(self) -> str:
        return self.base + WEBHOOK_PATH


def bad_blocks(blocks: Any) -> bool:
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
        if block["type"] == "context" and not all(
            _fits(element, {"mrkdwn", "plain_text"}, 3000) for element in block.get("elements") or [None]
        ):
            return True
    return False


def _fits(text: Any, types: set[str], longest: int) -> bool:
    return isinstance(text, dict) and text.get("type") in types and 0 < len(text.get("text", "")) <= longest


class _Handler(BaseHTTPRequestHandler):
    slack: Slack

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
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
        if self.path in ("/api/chat.postMessage", "/api/chat.update"):
            return self._api(self.path.removeprefix("/api/"), body)
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

    def _api(self, method: str, body: bytes) -> None:  # noqa: PLR0911 - one for each refusal of the contract
        slack = self.slack
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" or slack.revoked:
            return self._json({"ok": False, "error": "invalid_auth"})
        if self.headers.get("Content-Type", "").startswith("application/json"):
            payload = json.loads(body)
        else:
            payload = {key: values[0] for key, values in parse_qs(body.decode()).items()}
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
        posted = self._keep("C-" + str(payload["channel"]).lstrip("#"), payload)
        return self._json({"ok": True, "channel": posted.channel, "ts": posted.ts, "message": {"text": posted.text}})

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
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
