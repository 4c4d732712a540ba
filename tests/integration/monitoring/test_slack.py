"""The Slack provider against a stand-in that follows the published contract, faults included."""

from __future__ import annotations

import base64

import pytest
from slack_sdk import WebClient, WebhookClient

from include.integrations.ledger import WITHDRAWN
from include.integrations.slack import SlackApi, SlackWebhook, quiet_logger
from include.integrations.systems import Failed, PendingEffect, Sent, Settle, Unknown
from tests.standins.slack import TOKEN, WEBHOOK_PATH, Shared, Slack

JSON = {"Content-Type": "application/json"}


def effects(count: int = 1, **payload: object) -> list[PendingEffect]:
    return [
        PendingEffect(
            n, f"key-{n}", "post_message", f"alert/{n}", {"channel": "#ops", "text": f"text {n}", **payload}, 1
        )
        for n in range(count)
    ]


def test_a_posted_message_can_be_edited_in_place(slack: Slack, api: SlackApi) -> None:
    (sent,) = api.apply("post_message", effects())
    assert isinstance(sent, Sent)
    (updated,) = api.apply("update_message", effects(text="newer", posted=sent.answer))
    assert isinstance(updated, Sent)
    (message,) = slack.messages
    assert (message.text, message.edits) == ("newer", 1)


def test_retry_after_is_honoured_and_the_rest_of_the_batch_is_left_alone(slack: Slack, api: SlackApi) -> None:
    slack.faults = [(429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": "17", **JSON})]
    outcomes = api.apply("post_message", effects(3))
    assert [outcome.retry_after for outcome in outcomes if isinstance(outcome, Failed)] == [17.0, 17.0, 17.0]
    assert slack.calls == 1


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, "no_text", (True, False)),
        (404, "no_service", (False, True)),
        (410, "channel_is_archived", (False, True)),
        (403, "action_prohibited", (False, True)),
        (429, "", (False, True)),
        (500, "<html>boom</html>", (False, False)),
    ],
)
def test_a_webhooks_refusals_say_whether_trying_again_helps(
    slack: Slack, webhook: SlackWebhook, status: int, body: str, expected: tuple[bool, bool]
) -> None:
    slack.faults = [(status, body, {})] * 2
    (outcome,) = webhook.apply("post_message", effects())
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.retry_after is not None) == expected


@pytest.mark.parametrize(
    ("error", "permanent"), [("channel_not_found", False), ("invalid_auth", False), ("msg_too_long", True)]
)
def test_the_apis_errors_come_as_ok_false_with_status_200(
    slack: Slack, api: SlackApi, error: str, permanent: bool
) -> None:
    slack.faults = [(200, f'{{"ok": false, "error": "{error}"}}', JSON)]
    (outcome,) = api.apply("post_message", effects())
    assert isinstance(outcome, Failed)
    assert outcome.permanent == permanent
    assert error in outcome.error


def test_an_answer_that_is_no_json_is_tried_again(slack: Slack, api: SlackApi) -> None:
    slack.faults = [(502, "<html>bad gateway</html>", {"Content-Type": "text/html"})]
    (outcome,) = api.apply("post_message", effects())
    assert isinstance(outcome, Failed)
    assert not outcome.permanent


def test_blocks_that_slack_refuses_are_left_out_rather_than_the_message(
    slack: Slack, api: SlackApi, webhook: SlackWebhook
) -> None:
    bad = [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}]
    for provider in (api, webhook):
        (outcome,) = provider.apply("post_message", effects(blocks=bad))
        assert isinstance(outcome, Sent)
    assert [message.text for message in slack.messages] == ["text 0", "text 0"]


def test_a_message_that_was_taken_without_an_answer_is_of_unknown_outcome(slack: Slack) -> None:
    slack.hang = 1.0
    for provider in (
        SlackApi(WebClient(TOKEN, base_url=slack.api, timeout=0.2, retry_handlers=[], logger=quiet_logger())),  # type: ignore[arg-type]
        SlackWebhook(WebhookClient(slack.webhook, timeout=0.2, retry_handlers=[], logger=quiet_logger())),  # type: ignore[arg-type]
    ):
        first, second = provider.apply("post_message", effects(2))
        assert isinstance(first, Unknown)
        assert isinstance(second, Failed)


def test_nobody_at_the_address_is_a_failure_that_names_no_secret() -> None:
    client = WebhookClient(f"http://127.0.0.1:9{WEBHOOK_PATH}", timeout=1, retry_handlers=[], logger=quiet_logger())
    (outcome,) = SlackWebhook(client).apply("post_message", effects())
    assert isinstance(outcome, Failed)
    assert "X" * 24 not in outcome.error


def test_an_address_that_is_none_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="not an http") as caught:
        SlackWebhook(WebhookClient("hooks.slack.com/secret-token"))
    assert "secret-token" not in str(caught.value)


PICTURE = b"\x89PNG the bytes of a picture"


def pictures(posted: object, count: int = 1) -> list[PendingEffect]:
    payload = {"channel": "#ops", "text": "Funnel", "filename": "leads.png", "posted": posted,
               "picture": base64.b64encode(PICTURE).decode()}  # fmt: skip
    return [PendingEffect(n, f"key-{n}", "post_picture", f"picture/{n}", payload, 1) for n in range(count)]


@pytest.fixture
def posted(api: SlackApi) -> dict[str, object]:
    (message,) = api.apply("post_message", effects())
    assert isinstance(message, Sent)
    return message.answer


def test_a_picture_is_a_reply_to_its_message(slack: Slack, api: SlackApi, posted: dict[str, object]) -> None:
    (outcome,) = api.apply("post_picture", pictures(posted))
    assert isinstance(outcome, Sent)
    (shown,) = slack.shared
    assert shown == Shared("C-ops", slack.messages[0].ts, "Funnel", "leads.png", PICTURE)


def test_a_picture_without_its_message_waits_or_is_left_out(
    slack: Slack, api: SlackApi, webhook: SlackWebhook, posted: dict[str, object]
) -> None:
    (waits,) = api.apply("post_picture", pictures(None))
    assert isinstance(waits, Failed)
    assert not waits.permanent
    for provider, answer in ((api, {"id": "kept in the local chat"}), (api, {"webhook": True}), (webhook, posted)):
        (left_out,) = provider.apply("post_picture", pictures(answer))
        assert isinstance(left_out, Sent)
        assert "skipped" in left_out.answer
    assert slack.uploads == {}


@pytest.mark.parametrize("call", [0, 1])
@pytest.mark.parametrize("fault", [(500, "boom", {}), (429, '{"ok": false, "error": "ratelimited"}', {**JSON})])
def test_a_picture_that_nobody_has_seen_yet_is_begun_again(
    slack: Slack, api: SlackApi, posted: dict[str, object], call: int, fault: tuple[int, str, dict[str, str]]
) -> None:
    slack.faults = [*[None] * call, fault]
    (outcome,) = api.apply("post_picture", pictures(posted))
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    assert isinstance(api.apply("post_picture", pictures(posted))[0], Sent)
    assert len(slack.shared) == 1


def test_retry_after_holds_for_pictures_too(slack: Slack, api: SlackApi, posted: dict[str, object]) -> None:
    slack.faults = [(429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": "17", **JSON})]
    before = slack.calls
    outcomes = api.apply("post_picture", pictures(posted, 3))
    assert [outcome.retry_after for outcome in outcomes if isinstance(outcome, Failed)] == [17.0, 17.0, 17.0]
    assert slack.calls == before + 1


def test_a_picture_that_may_be_there_is_not_posted_again(slack: Slack, posted: dict[str, object]) -> None:
    hasty = SlackApi(WebClient(TOKEN, base_url=slack.api, timeout=1, retry_handlers=[], logger=quiet_logger()))
    slack.hang = 1.5
    first, second = hasty.apply("post_picture", pictures(posted, 2))
    assert isinstance(first, Unknown)
    assert isinstance(second, Failed)
    assert hasty.operations["post_picture"].settle is Settle.ASSUME_SENT
    slack.hang = 0
    for body, status in (('{"ok": false, "error": "fatal_error"}', 200), ("<html>bad gateway</html>", 502)):
        slack.faults = [None, None, (status, body, JSON if status == 200 else {})]
        assert isinstance(hasty.apply("post_picture", pictures(posted))[0], Unknown)
    assert len(slack.shared) == 1


def test_an_app_that_may_not_upload_says_which_scope_to_add_and_alerts_nobody(
    slack: Slack, api: SlackApi, posted: dict[str, object]
) -> None:
    slack.scopes = {"chat:write"}
    outcomes = api.apply("post_picture", pictures(posted, 2))
    for outcome in outcomes:
        assert isinstance(outcome, Failed)
        assert outcome.permanent
        assert outcome.error.startswith(WITHDRAWN)
        assert "files:write" in outcome.error
    assert len(slack.messages) == 1


def test_an_app_that_is_not_in_the_channel_says_how_to_invite_it(
    slack: Slack, api: SlackApi, posted: dict[str, object]
) -> None:
    slack.not_in = {"C-ops"}
    (outcome,) = api.apply("post_picture", pictures(posted))
    assert isinstance(outcome, Failed)
    assert outcome.permanent
    assert "/invite" in outcome.error
    assert slack.shared == []


def test_an_address_to_upload_to_is_in_no_error(slack: Slack, api: SlackApi, posted: dict[str, object]) -> None:
    slack.faults = [(200, '{"ok": true, "upload_url": "http://127.0.0.1:9/upload/v1/secret", "file_id": "F1"}', JSON)]
    (outcome,) = api.apply("post_picture", pictures(posted))
    assert isinstance(outcome, Failed)
    assert "secret" not in outcome.error
    assert "ConnectionRefusedError" in outcome.error
