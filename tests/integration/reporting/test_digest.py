"""The digest in the chat: a message, and the first plot as a reply to it; neither is told twice."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from sqlalchemy import Engine

from include.integrations.builtin.chat_log import ChatLog
from include.integrations.ledger import SENDING_LEASE, Scope, deliver
from include.integrations.slack import SlackApi, quiet_logger
from include.reporting.catalogue import REPORTS
from include.reporting.charts import first
from include.reporting.going_out import CHAT
from tests.standins.slack import TOKEN, Slack, slack_standin
from tests.support.reports import at, lead, make
from tests.support.work import change, rows

PNG = b"\x89PNG\r\n"


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_standin() as standin:
        yield standin


def tell(engine: Engine, slack: Slack, *, timeout: int = 5) -> None:
    client = WebClient(TOKEN, base_url=slack.api, timeout=timeout, retry_handlers=[], logger=quiet_logger())
    change(engine, "update effects set available_at = now() where state in ('pending', 'failed', 'unknown')")
    deliver(engine, SlackApi(client), system="chat", scope=Scope(step=CHAT))


def states(engine: Engine) -> dict[str, str]:
    return {row["operation"]: row["state"] for row in rows(engine, "select operation, state from effects "
                                                                   "where system = 'chat'")}  # fmt: skip


@pytest.fixture
def made(engine: Engine) -> Any:
    lead(engine, at(2, 9))
    return make(engine, "leads")


def test_the_digest_has_its_first_plot_as_a_reply(engine: Engine, slack: Slack, made: Any) -> None:
    tell(engine, slack)
    (message,) = slack.messages
    (shown,) = slack.shared
    assert (shown.channel, shown.thread) == (message.channel, message.ts)
    assert shown.title == "Leads, Mon 2 Mar 2026: Funnel by source and campaign"
    assert shown.filename == "leads-daily-2026-03-02.png"
    assert shown.content.startswith(PNG)
    make(engine, "leads")
    tell(engine, slack)
    assert (len(slack.messages), len(slack.shared)) == (1, 1), "the same figures are not told again"


def test_the_same_figures_are_drawn_as_the_same_picture(made: Any) -> None:
    drawn = first(REPORTS["leads"], made.tables)
    assert drawn is not None
    assert drawn == first(REPORTS["leads"], made.tables)


def test_a_digest_with_nothing_to_draw_is_a_message(engine: Engine, slack: Slack) -> None:
    make(engine, "leads")
    tell(engine, slack)
    assert (len(slack.messages), slack.shared) == (1, [])


def test_a_picture_waits_for_its_message(engine: Engine, slack: Slack, made: Any) -> None:
    slack.down = True
    tell(engine, slack)
    assert states(engine) == {"post_message": "failed", "post_picture": "failed"}
    slack.down = False
    slack.faults = [None, (503, "busy", {})]
    tell(engine, slack)
    assert states(engine) == {"post_message": "sent", "post_picture": "failed"}
    tell(engine, slack)
    assert (len(slack.messages), len(slack.shared)) == (1, 1)
    assert states(engine) == {"post_message": "sent", "post_picture": "sent"}


def test_a_picture_whose_answer_was_lost_is_not_posted_again(engine: Engine, slack: Slack, made: Any) -> None:
    tell(engine, slack)
    slack.shared.clear()
    change(engine, "update effects set state = 'pending', answer = null, sent_at = null "
                   "where operation = 'post_picture'")  # fmt: skip
    slack.hang = 1.5
    tell(engine, slack, timeout=1)
    assert states(engine)["post_picture"] == "unknown"
    slack.hang = 0
    tell(engine, slack)
    assert states(engine)["post_picture"] == "sent"
    assert len(slack.shared) == 1
    (effect,) = rows(engine, "select answer from effects where operation = 'post_picture'")
    assert effect["answer"] == {"assumed": True}


class Crash(BaseException):
    """The process dies."""


class Dying(SlackApi):
    def _show(self, payload: Any, posted: Any) -> Any:
        super()._show(payload, posted)
        raise Crash


def test_a_process_that_dies_with_a_picture_posts_none_twice(engine: Engine, slack: Slack, made: Any) -> None:
    client = WebClient(TOKEN, base_url=slack.api, timeout=5, retry_handlers=[], logger=quiet_logger())
    with pytest.raises(Crash):
        deliver(engine, Dying(client), system="chat", scope=Scope(step=CHAT))
    change(engine, "update effects set lease_until = now() - cast(:lease as interval) where state = 'sending'",
           lease=SENDING_LEASE)  # fmt: skip
    tell(engine, slack)
    assert (len(slack.messages), len(slack.shared)) == (1, 1)
    assert states(engine) == {"post_message": "sent", "post_picture": "sent"}


def test_without_the_scope_the_message_is_there_and_the_reason_too(engine: Engine, slack: Slack, made: Any) -> None:
    slack.scopes = {"chat:write"}
    tell(engine, slack)
    assert (len(slack.messages), slack.shared) == (1, [])
    (effect,) = rows(engine, "select state, error from effects where operation = 'post_picture'")
    assert effect["state"] == "dead"
    assert effect["error"].startswith("withdrawn: ")
    assert "files:write" in effect["error"]
    slack.scopes = {"chat:write", "files:write"}
    make(engine, "leads")
    tell(engine, slack)
    assert (len(slack.messages), len(slack.shared)) == (1, 1), "after the scope was added, making it again is enough"


def test_a_picture_of_a_message_that_was_refused_is_left_out(engine: Engine, slack: Slack, made: Any) -> None:
    slack.faults = [(200, '{"ok": false, "error": "msg_too_long"}', {"Content-Type": "application/json"})]
    tell(engine, slack)
    assert states(engine) == {"post_message": "dead", "post_picture": "sent"}
    assert slack.shared == []


def test_the_built_in_chat_keeps_the_picture(engine: Engine, made: Any) -> None:
    deliver(engine, ChatLog(engine), system="chat", scope=Scope(step=CHAT))
    message, picture = rows(engine, "select channel, text, blocks from chat_log order by key")
    assert message["text"] == "Leads, Mon 2 Mar 2026"
    assert picture["channel"] == message["channel"]
    (block,) = picture["blocks"]
    assert block["alt_text"] == "Leads, Mon 2 Mar 2026: Funnel by source and campaign"
    assert base64.b64decode(block["image_url"].removeprefix("data:image/png;base64,")).startswith(PNG)
