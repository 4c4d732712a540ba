"""What people find in Slack or in their mail about an approval: who, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from include.approvals import delegations, messages
from include.approvals.delivery import deliver_due
from include.data import database
from include.data.database import authored
from include.integrations import ledger
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.systems import Mode
from tests.standins.slack import bad_blocks
from tests.support.approvals import answer, today
from tests.support.slack_office import Office
from tests.support.work import change, rows
from waybill.approvals import work_due
from waybill.triggers import ApprovalWorkTrigger

BOARD = (["ines.vogt", "karl.brandt", "sara.neumann"], 2)


def plan_closed(desk: Office, round_id: int) -> int:
    with authored(desk.engine, actor="system:test") as connection:
        return ledger.write(connection, messages.plan_closed(connection, round_id), Mode.LIVE)


def mails(desk: Office) -> list[dict[str, str]]:
    return rows(desk.engine, 'select "to", subject, message from mailbox order by key')


class TestAsking:
    def test_who_is_asked_sees_the_facts_who_asks_why_until_when_and_the_buttons(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        (message,) = desk.slack.messages
        assert message.channel == "D0MARIA"
        assert "Anna Schmidt asks for your approval: PR-1: 3 laptops" in message.text
        for part in ("Dell GmbH", "4,300.00 EUR", "You are asked because because", "Please answer by"):
            assert part in message.whole
        assert list(message.buttons) == ["waybill_approve", "waybill_reject", "waybill_ask", "waybill_open"]
        assert json.loads(message.buttons["waybill_approve"]["value"]) == {"r": asked.id, "s": 1, "d": asked.digest}
        assert "confirm" in message.buttons["waybill_approve"]
        assert message.buttons["waybill_open"]["url"].startswith("https://waybill.example.com/dags/")
        assert message.buttons["waybill_open"]["url"].endswith(f"/runs/{asked.run_id}/tasks/stage_1/required_actions")

    def test_the_key_of_a_message_is_what_it_is_in_the_business(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        keys = [effect["key"] for effect in desk.effects()]
        assert keys == [f"purchase_approval/{asked.case_id}/approve/post_message/round-1/stage-1/maria.keller"]

    def test_planning_and_delivering_again_sends_nothing_again(self, desk: Office) -> None:
        asked = desk.ask(BOARD)
        assert desk.plan(asked.id) == 0
        assert plan_closed(desk, asked.id) == 0
        assert desk.minute() == {"chat": 0, "mail": 0}
        assert len(desk.slack.messages) == 3

    def test_only_the_open_stage_is_asked(self, desk: Office) -> None:
        asked = desk.ask("maria.keller", "ines.vogt")
        assert desk.slack.inbox("U0INES") == []
        answer(desk.engine, asked.id, "maria.keller", now=None)
        desk.plan(asked.id)
        desk.minute()
        assert "Stage 2 of 2." in desk.message("U0INES").whole
        assert desk.message("U0MARIA").buttons == {}
        assert "Approved by Maria Keller" in desk.message("U0MARIA").text

    def test_who_is_not_in_slack_gets_a_mail_with_the_way_to_airflow(
        self, desk: Office, edit_people: Callable[..., None]
    ) -> None:
        edit_people("maria.keller", slack=None)
        asked = desk.ask("maria.keller", title="PR-1: <b>laptops</b>\nBcc: all@example.com")
        (mail,) = mails(desk)
        assert desk.slack.messages == []
        assert mail["to"] == "maria.keller@nordlicht.example"
        assert "\n" not in mail["subject"]
        assert "<b>laptops" not in mail["message"]["html"]
        assert f"/runs/{asked.run_id}/tasks/stage_1/required_actions" in mail["message"]["text"]
        assert desk.plan(asked.id) == 0

    def test_a_deputy_is_asked_too_and_told_for_whom(self, desk: Office) -> None:
        day = today("maria.keller")
        with authored(desk.engine, actor="user:maria.keller") as connection:
            delegations.delegate(
                connection, "maria.keller", "tom.berger", day, day + timedelta(days=3), "on leave", "user:maria.keller"
            )
        desk.ask("maria.keller")
        assert "You stand in for Maria Keller" in desk.message("U0TOM").whole
        assert desk.slack.inbox("U0MARIA")

    def test_a_deputy_who_is_named_while_it_waits_is_asked_by_the_sweep(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        change(desk.engine, "update approval_stages set asked_at = now()")
        day = today("maria.keller")
        with authored(desk.engine, actor="user:maria.keller") as connection:
            made = delegations.delegate(
                connection, "maria.keller", "tom.berger", day, day + timedelta(days=1), "on leave", "user:maria.keller"
            )
        desk.minute()
        assert desk.message("U0TOM").buttons
        with authored(desk.engine, actor="user:maria.keller") as connection:
            delegations.end(connection, made, "user:maria.keller")
        plan_closed(desk, asked.id)
        desk.minute()
        assert desk.message("U0TOM").buttons == {}
        assert desk.message("U0MARIA").buttons

    def test_a_deputy_is_missing_from_the_first_minute_of_their_day_to_its_last_where_the_person_is(
        self, desk: Office
    ) -> None:
        asked = desk.ask("maria.keller")
        change(desk.engine, "update approval_stages set asked_at = now()")
        day, berlin = today("maria.keller") + timedelta(days=7), ZoneInfo("Europe/Berlin")
        with authored(desk.engine, actor="user:maria.keller") as connection:
            delegations.delegate(connection, "maria.keller", "tom.berger", day, day, "on leave", "user:maria.keller")
            begins = datetime.combine(day, datetime.min.time(), berlin)
            ends = datetime.combine(day + timedelta(days=1), datetime.min.time(), berlin)
            moments = [
                edge + after for edge in (begins, ends) for after in (timedelta(minutes=-5), timedelta(minutes=5))
            ]
            found = [messages.outdated(connection, now=moment) for moment in moments]
        assert found == [[], [asked.id], [asked.id], []]

    def test_whom_it_is_escalated_to_is_told_that_nobody_decided(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        desk.look(asked.id, datetime.now(UTC) + timedelta(days=6))
        desk.minute()
        assert "nobody decided in time" in desk.message("U0INES").whole
        assert desk.message("U0MARIA").buttons

    def test_a_reminder_is_another_message_once_and_is_closed_with_the_first(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        change(desk.engine, "update approval_stages set remind_at = now(), escalate_at = now() + interval '1 day'")
        for _ in range(2):
            desk.look(asked.id)
            desk.minute()
        first, reminder = desk.slack.inbox("U0MARIA")
        assert reminder.text.startswith("Reminder: ")
        assert reminder.buttons
        answer(desk.engine, asked.id, "maria.keller", now=None)
        desk.minute()
        assert first.buttons == reminder.buttons == {}


class TestTheEnd:
    def test_everybody_who_was_asked_sees_who_decided_and_has_no_buttons(self, desk: Office) -> None:
        asked = desk.ask(BOARD)
        answer(desk.engine, asked.id, "ines.vogt", now=None)
        desk.minute()
        assert desk.message("U0INES").buttons == {}
        assert "Others are still asked" in desk.message("U0INES").text
        assert desk.message("U0KARL").buttons
        answer(desk.engine, asked.id, "karl.brandt", now=None)
        desk.minute()
        for user in ("U0INES", "U0KARL", "U0SARA"):
            (message,) = desk.slack.inbox(user)
            assert message.buttons == {}
            assert "Approved by Ines Vogt" in message.whole
            assert "Approved by Karl Brandt" in message.whole
            assert "Dell GmbH" in message.whole
        assert desk.message("U0ANNA").text.startswith("Approved: Your request PR-1")
        assert plan_closed(desk, asked.id) == 0

    def test_the_outcome_names_the_minute(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        at = datetime.now(UTC)
        answer(desk.engine, asked.id, "maria.keller", now=at)
        desk.minute()
        assert f"Approved by Maria Keller, {at.day} {at:%b %H:%M} UTC" in desk.message("U0MARIA").text

    def test_the_requester_hears_of_a_rejection_with_its_comment(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        answer(desk.engine, asked.id, "maria.keller", "reject", comment="too dear <!channel>", now=None)
        desk.minute()
        assert "Rejected by Maria Keller" in desk.message("U0ANNA").text
        assert "too dear &lt;!channel&gt;" in desk.message("U0ANNA").whole
        assert "Rejected" in desk.message("U0MARIA").text

    def test_a_question_goes_to_the_requester_and_the_answer_asks_again(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        answer(desk.engine, asked.id, "maria.keller", "ask", comment="which model?", now=None)
        desk.plan(asked.id)
        desk.minute()
        assert list(desk.message("U0ANNA").buttons) == ["waybill_answer", "waybill_open"]
        assert "which model?" in desk.message("U0ANNA").whole
        assert desk.message("U0MARIA").buttons == {}
        answer(desk.engine, asked.id, "anna.schmidt", "answer", comment="the small one", now=None)
        desk.plan(asked.id)
        desk.minute()
        assert desk.message("U0ANNA").buttons == {}
        before, again = desk.slack.inbox("U0MARIA")
        assert before.buttons == {}
        assert again.buttons
        assert "the small one" in again.whole

    @pytest.mark.parametrize("how", ["withdraw", "expire", "change"])
    def test_whatever_ends_a_round_takes_the_buttons_away(self, desk: Office, how: str) -> None:
        asked = desk.ask("maria.keller")
        if how == "withdraw":
            answer(desk.engine, asked.id, "anna.schmidt", "withdraw", now=None)
        elif how == "expire":
            change(desk.engine, "update approval_stages set escalate_at = null, expires_at = now()")
            desk.look(asked.id)
        else:
            desk.ask("maria.keller", content="other content", case=asked.case_id, deliver=False)
        desk.minute()
        first = desk.slack.inbox("U0MARIA")[0]
        assert first.buttons == {}
        said = {"withdraw": "Withdrawn by Anna", "expire": "Nothing is approved by that", "change": "no longer counts"}
        assert said[how] in first.whole
        if how == "change":
            assert desk.message("U0MARIA").buttons
        if how == "expire":
            assert "Nobody decided in time" in desk.message("U0ANNA").text

    def test_a_round_that_nobody_plans_for_is_found_by_the_sweep(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        answer(desk.engine, asked.id, "maria.keller", now=None)
        assert desk.minute()["chat"] == 2
        assert desk.message("U0MARIA").buttons == {}
        assert desk.message("U0ANNA").text.startswith("Approved")
        with desk.engine.connect() as connection:
            assert messages.outdated(connection) == []


class TestTrouble:
    def test_slack_being_away_keeps_the_message_for_later(self, desk: Office) -> None:
        desk.slack.down = True
        asked = desk.ask("maria.keller")
        assert desk.slack.messages == []
        assert desk.stands(asked.id).state == "open"
        desk.slack.down = False
        assert desk.minute()["chat"] == 1
        assert desk.message("U0MARIA").buttons

    def test_what_was_decided_before_slack_came_back_is_never_shown_with_buttons(self, desk: Office) -> None:
        desk.slack.down = True
        asked = desk.ask("maria.keller")
        answer(desk.engine, asked.id, "maria.keller", now=None)
        plan_closed(desk, asked.id)
        desk.slack.down = False
        desk.minute()
        (message,) = desk.slack.inbox("U0MARIA")
        assert message.buttons == {}
        assert "Approved by Maria Keller" in message.text

    def test_a_message_on_its_way_when_it_is_decided_is_put_right_after_it_arrived(self, desk: Office) -> None:
        asked = desk.ask("maria.keller", deliver=False)
        change(desk.engine, "update effects set state = 'sending', lease_until = now() + interval '1 minute'")
        answer(desk.engine, asked.id, "maria.keller", now=None)
        assert plan_closed(desk, asked.id) == 1, "the requester hears of it"
        change(desk.engine, "update effects set lease_until = now() - interval '1 minute' where state = 'sending'")
        for _ in range(2):
            desk.minute()
        assert [message.buttons for message in desk.slack.inbox("U0MARIA")] == [{}]

    def test_one_account_that_is_gone_holds_up_nobody_and_gets_a_mail(self, desk: Office) -> None:
        desk.slack.users = {"U0KARL", "U0SARA"}
        desk.ask(BOARD)
        assert desk.message("U0KARL").buttons
        assert desk.message("U0SARA").buttons
        for _ in range(3):
            desk.minute()
        assert mails(desk) == []
        change(desk.engine, "update effects set created_at = now() - interval '1 hour' where state = 'failed'")
        for _ in range(2):
            desk.minute()
        (mail,) = mails(desk)
        assert mail["to"] == "ines.vogt@nordlicht.example"

    def test_an_edit_that_is_late_never_overwrites_a_newer_one(self, desk: Office) -> None:
        asked = desk.ask((["ines.vogt", "karl.brandt"], 2))
        answer(desk.engine, asked.id, "ines.vogt", now=None)
        desk.slack.down = True
        desk.minute()
        answer(desk.engine, asked.id, "karl.brandt", now=None)
        desk.minute()
        desk.slack.down = False
        desk.minute()
        updates = [effect for effect in desk.effects() if effect["key"].endswith("ines.vogt/1")]
        assert len(updates) == 1
        assert "Approved by Karl Brandt" in desk.message("U0INES").whole
        assert desk.message("U0INES").edits == 1

    def test_two_cases_never_share_a_line_of_the_built_in_log(self, desk: Office, engine: Engine) -> None:
        desk.chat = ChatLog(engine)
        desk.ask("maria.keller")
        second = desk.ask("maria.keller", content="another")
        answer(engine, second.id, "maria.keller", now=None)
        desk.minute()
        log = rows(engine, "select text from chat_log where channel = 'U0MARIA' order by key")
        assert sorted(entry["text"][:8] for entry in log) == ["Anna Sch", "Approved"]

    def test_nothing_leaves_where_effects_are_captured(
        self, desk: Office, monkeypatch: pytest.MonkeyPatch, engine: Engine
    ) -> None:
        monkeypatch.setenv("WAYBILL_EFFECT_MODE", "capture")
        asked = desk.ask("maria.keller", deliver=False)
        with authored(engine, actor="system:test") as connection:
            ledger.write(connection, messages.plan_stage(connection, asked.id), Mode.CAPTURE)
        change(engine, "update effects set mode = 'capture'")
        answer(engine, asked.id, "maria.keller", now=None)
        for _ in range(2):
            deliver_due(engine, desk.chat, desk.mail)
        assert desk.slack.calls == 0

    def test_a_message_given_up_is_not_revived_every_minute(self, desk: Office) -> None:
        asked = desk.ask("maria.keller", deliver=False)
        change(desk.engine, "update effects set state = 'dead', error = 'refused'")
        for _ in range(2):
            desk.plan(asked.id)
            desk.minute()
        assert desk.slack.messages == []
        assert [mail["to"] for mail in mails(desk)] == ["maria.keller@nordlicht.example"]


class TestWatcher:
    """What starts `waybill_approvals`: it looks whether there is something to do, and else nothing runs."""

    @pytest.fixture(autouse=True)
    def of_this_test(self, desk: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setenv("WAYBILL_DATABASE_URL", desk.engine.url.render_as_string(hide_password=False))
        database.engine.cache_clear()
        yield
        database.engine().dispose()
        database.engine.cache_clear()

    def test_there_is_nothing_to_do_until_a_message_is_due_or_its_sender_died(self, desk: Office) -> None:
        desk.ask("maria.keller")
        change(desk.engine, "update approval_stages set asked_at = now()")
        assert not work_due()
        for standing, due in (
            ("state = 'failed', error = '503', available_at = now() + interval '1 minute'", False),
            ("state = 'failed', error = '503', available_at = now()", True),
            ("state = 'sending', lease_until = now() + interval '1 minute'", False),
            ("state = 'sending', lease_until = now() - interval '1 second'", True),
        ):
            change(desk.engine, f"update effects set sent_at = null, answer = null, {standing}")
            assert work_due() is due, standing

    def test_a_round_that_was_left_behind_is_work(self, desk: Office) -> None:
        desk.ask("maria.keller")
        assert not work_due(), "its run has time to ask"
        change(desk.engine, "update approval_stages set opened_at = now() - interval '3 minutes'")
        assert work_due()

    def test_what_a_message_lacks_is_written_and_wakes_the_watcher(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        change(desk.engine, "update approval_stages set asked_at = now()")

        async def first() -> Any:
            events = ApprovalWorkTrigger(poll_interval=0.05).run()
            waiting = asyncio.ensure_future(anext(events))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 0.5)
            await asyncio.to_thread(answer, desk.engine, asked.id, "maria.keller", now=None)
            event = await asyncio.wait_for(waiting, 5)
            await events.aclose()
            return event

        assert asyncio.run(first()) is not None
        desk.minute()
        assert desk.message("U0MARIA").buttons == {}


NASTY = [
    "<!channel> <!here> <!everyone>",
    "<@U0KARL> <#C0GENERAL> <!subteam^S1>",
    "<https://evil.example|Dell GmbH>",
    "&lt;!channel&gt; &amp;",
    "```\neverything after this\n```",
    "x\n*Total:* 5.00 EUR\n&gt; approved",
    "\u202egnp.exe \u200b\x00\x07",
    "&" * 5_000,
    "<" * 5_000,
    "line\n" * 5_000,
    "",
    "   \n  ",
    "😀" * 2_000,
]


class TestWhatPeopleWrite:
    @pytest.mark.parametrize("text", NASTY)
    def test_it_is_text_wherever_it_stands_and_slack_takes_it(self, desk: Office, text: str) -> None:
        clean = text.replace("\x00", "")
        asked = desk.ask("maria.keller", title=clean or "-", shown=[[clean or "-", clean], ["Total", "9.00 EUR"]])
        answer(desk.engine, asked.id, "maria.keller", "ask", comment=clean.strip() or "?", now=None)
        desk.plan(asked.id)
        desk.minute()
        assert len(desk.slack.messages) == 2
        for message in desk.slack.messages:
            assert message.blocks, "Slack refused the blocks, and only the text was left"
            for harmful in ("<!", "<@", "<#", "<http", "```", "\n*Total:* 5.00", "\u202e"):
                assert harmful not in message.whole.replace("\\n", "\n"), harmful
            sections = [block["text"] for block in message.blocks if block["type"] == "section"]
            assert all(section["verbatim"] for section in sections)
            assert len(message.text) <= 3_000

    def test_many_lines_are_shortened_with_a_count(self, desk: Office) -> None:
        lines = [[f"Line {n}", f"{n} × a thing & another one, {'long ' * 40}"] for n in range(1, 301)]
        desk.ask("maria.keller", shown=[*lines, ["Parts", "\n".join(f"part {n}" for n in range(100))]])
        message = desk.message("U0MARIA")
        shown = sum(f"*Line {n}:*" in message.whole for n in range(1, 301))
        assert 10 <= shown <= 40
        assert f"and {301 - shown} more lines, which Airflow shows" in message.whole
        assert not bad_blocks(message.blocks)
        assert len(message.blocks) <= 50
        assert message.buttons

    def test_lines_within_a_fact_are_shortened_with_a_count_and_quoted(self, desk: Office) -> None:
        desk.ask("maria.keller", shown=[["Parts", "\n".join(f"part {n}" for n in range(100))]])
        whole = desk.message("U0MARIA").whole
        assert "&gt; part 11" in whole
        assert "part 12" not in whole
        assert "… and 88 more lines" in whole
