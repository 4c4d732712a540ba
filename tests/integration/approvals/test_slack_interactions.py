"""What is pressed and written in Slack, over HTTP: what counts, what is refused, and what an attacker gets."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from include.approvals import delegations
from include.data.database import authored
from include.integrations.builtin.chat_log import ChatLog
from tests.standins.serving import served
from tests.standins.slack import TLS
from tests.support.approvals import answer, today
from tests.support.slack_office import Office
from tests.support.work import rows
from waybill import slack_actions
from waybill.slack_actions import answer_address

BOARD = (["ines.vogt", "karl.brandt", "sara.neumann"], 2)
APPROVE, REJECT, ASK, ANSWER = "waybill_approve", "waybill_reject", "waybill_ask", "waybill_answer"


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What is done after Slack has its answer."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)
    return found


def decisions(desk: Office) -> list[tuple[str, str, str, str]]:
    found = rows(desk.engine, "select person, answer, route, account from approval_decisions order by id")
    return [(row["person"], row["answer"], row["route"], row["account"]) for row in found]


def told(desk: Office, user: str) -> str:
    """What somebody is told beside the message, and nobody else sees."""
    eventually(lambda: [content for who, content in desk.slack.answers if who == user])
    content = [content for who, content in desk.slack.answers if who == user][-1]
    assert content["response_type"] == "ephemeral"
    assert content["replace_original"] is False
    return str(content["text"])


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"


def nothing_happened(desk: Office) -> None:
    assert decisions(desk) == []
    assert desk.woken == []
    assert all(message.edits == 0 for message in desk.slack.messages)


class TestDeciding:
    def test_approve_counts_takes_the_buttons_away_and_wakes_the_run(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        began = time.monotonic()
        response = desk.slack.press(desk.message("U0MARIA"), APPROVE, "U0MARIA")
        assert time.monotonic() - began < 3.0
        assert (response.status_code, response.content) == (200, b"")
        assert decisions(desk) == [("maria.keller", "approve", "slack", "U0MARIA")]
        assert desk.stands(asked.id).state == "approved"
        eventually(lambda: desk.message("U0MARIA").edits)
        assert desk.message("U0MARIA").buttons == {}
        eventually(lambda: desk.slack.inbox("U0ANNA"))
        assert desk.woken == [(asked.run_id, "purchase_decision", 1, "approve", "maria.keller")]

    def test_reject_asks_for_a_comment_first(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        assert desk.slack.press(desk.message("U0MARIA"), REJECT, "U0MARIA").content == b""
        eventually(lambda: desk.slack.forms)
        assert decisions(desk) == []
        empty = desk.slack.submit("U0MARIA", None).json()
        assert empty["response_action"] == "errors"
        assert "why" in empty["errors"]["comment"]
        assert desk.slack.submit("U0MARIA", "too dear\x00").content == b""
        assert desk.stands(asked.id).state == "rejected"
        assert desk.stands(asked.id).given[0].comment == "too dear"
        eventually(lambda: desk.slack.inbox("U0ANNA"))
        assert "too dear" in desk.message("U0ANNA").whole

    def test_a_question_and_its_answer_go_there_and_back(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        desk.slack.press(desk.message("U0MARIA"), ASK, "U0MARIA")
        eventually(lambda: desk.slack.forms)
        desk.slack.submit("U0MARIA", "which model?")
        eventually(lambda: desk.slack.inbox("U0ANNA"))
        assert desk.stands(asked.id).state == "asked"
        desk.slack.press(desk.message("U0ANNA"), ANSWER, "U0ANNA")
        eventually(lambda: len(desk.slack.forms) == 2)
        assert desk.slack.submit("U0ANNA", "the small one").status_code == 200
        eventually(lambda: len(desk.slack.inbox("U0MARIA")) == 2)
        eventually(lambda: len(desk.woken) == 2)
        assert [call[0] for call in desk.woken] == [asked.run_id] * 2, "the run that waits, not the one that follows"
        desk.slack.press(desk.message("U0MARIA"), APPROVE, "U0MARIA")
        assert desk.stands(asked.id).state == "approved"

    def test_two_of_three_approve(self, desk: Office) -> None:
        asked = desk.ask(BOARD)
        desk.slack.press(desk.message("U0KARL"), APPROVE, "U0KARL")
        eventually(lambda: desk.message("U0KARL").edits)
        assert desk.woken == []
        desk.slack.press(desk.message("U0SARA"), APPROVE, "U0SARA")
        assert desk.stands(asked.id).state == "approved"
        eventually(lambda: desk.woken)
        eventually(lambda: all(desk.message(user).buttons == {} for user in ("U0INES", "U0KARL", "U0SARA")))

    def test_a_deputy_decides_for_whom_they_stand_in(self, desk: Office) -> None:
        day = today("maria.keller")
        tomorrow = day + timedelta(days=1)
        with authored(desk.engine, actor="user:maria.keller") as connection:
            delegations.delegate(connection, "maria.keller", "tom.berger", day, tomorrow, "on leave", "user:x")
        asked = desk.ask("maria.keller")
        desk.slack.press(desk.message("U0TOM"), APPROVE, "U0TOM")
        (given,) = desk.stands(asked.id).given
        assert (given.person, given.seat) == ("tom.berger", "maria.keller")
        eventually(lambda: desk.message("U0MARIA").edits)
        assert "Approved by Tom Berger for Maria Keller" in desk.message("U0MARIA").text

    def test_the_next_stage_is_asked_as_soon_as_this_one_is_decided(self, desk: Office) -> None:
        desk.ask("maria.keller", "ines.vogt")
        desk.slack.press(desk.message("U0MARIA"), APPROVE, "U0MARIA")
        eventually(lambda: desk.slack.inbox("U0INES"))

    def test_the_button_that_only_leads_to_airflow_does_nothing(self, desk: Office) -> None:
        desk.ask("maria.keller")
        assert desk.slack.press(desk.message("U0MARIA"), "waybill_open", "U0MARIA").status_code == 200
        nothing_happened(desk)

    def test_slack_being_away_harms_no_decision(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        desk.slack.down = True
        assert desk.slack.press(message, APPROVE, "U0MARIA").status_code == 200
        assert desk.stands(asked.id).state == "approved"
        eventually(lambda: desk.woken)
        desk.slack.down = False
        desk.minute()
        assert message.buttons == {}

    def test_where_no_form_can_be_opened_people_are_sent_to_airflow(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        desk.slack.send(desk.slack.pressed(message, message.buttons[REJECT], "U0MARIA") | {"trigger_id": "1.unknown"})
        assert f"/runs/{asked.run_id}/tasks/stage_1/required_actions" in told(desk, "U0MARIA")
        desk.chat = ChatLog(desk.engine)
        with served(desk.app()) as address:
            desk.slack.endpoint = f"{address}/slack/interactions"
            desk.slack.press(message, ASK, "U0MARIA")
            eventually(lambda: len(desk.slack.answers) == 2)
        nothing_happened(desk)


class TestAtOnce:
    def test_two_approvers_of_one_seat_each_hear_the_truth(self, desk: Office) -> None:
        asked = desk.ask((["ines.vogt", "karl.brandt"], 1))
        messages = {user: desk.message(user) for user in ("U0INES", "U0KARL")}
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda user: desk.slack.press(messages[user], APPROVE, user), messages))
        assert len(decisions(desk)) == 1
        assert desk.stands(asked.id).state == "approved"
        loser = next(user for user in messages if user != decisions(desk)[0][3])
        assert "Already decided by" in told(desk, loser)

    def test_two_presses_of_one_person_are_one_decision(self, desk: Office) -> None:
        desk.ask(BOARD)
        message = desk.message("U0KARL")
        gate = threading.Barrier(4)

        def press(_: int) -> int:
            gate.wait()
            return desk.slack.press(message, APPROVE, "U0KARL").status_code

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(press, range(4))) == [200] * 4
        assert decisions(desk) == [("karl.brandt", "approve", "slack", "U0KARL")]
        assert "Already decided by Karl Brandt: approved, by Slack" in told(desk, "U0KARL")

    def test_what_was_decided_in_airflow_is_told(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        answer(
            desk.engine,
            asked.id,
            "maria.keller",
            route="airflow",
            now=datetime(2026, 11, 21, 10, 31, tzinfo=UTC),
        )
        desk.slack.press(message, REJECT, "U0MARIA")
        said = "Already decided by Maria Keller: approved, in Airflow, 21 Nov 10:31 UTC."
        assert told(desk, "U0MARIA") == said
        assert desk.slack.forms == []

    def test_a_form_that_is_sent_too_late_says_so_in_the_form(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        desk.slack.press(desk.message("U0MARIA"), REJECT, "U0MARIA")
        eventually(lambda: desk.slack.forms)
        answer(desk.engine, asked.id, "maria.keller", now=None)
        document = desk.slack.submit("U0MARIA", "too dear").json()
        assert document["response_action"] == "errors"
        assert "Already decided by Maria Keller" in document["errors"]["comment"]

    def test_a_late_press_for_one_stage_is_none_for_the_next(self, desk: Office) -> None:
        desk.ask("ines.vogt", "karl.brandt", "ines.vogt")
        message = desk.message("U0INES")
        first = desk.slack.pressed(message, message.buttons[APPROVE], "U0INES")
        again = desk.slack.pressed(message, message.buttons[APPROVE], "U0INES")
        desk.slack.send(first)
        eventually(lambda: desk.slack.inbox("U0KARL"))
        desk.slack.press(desk.message("U0KARL"), APPROVE, "U0KARL")
        eventually(lambda: len(desk.slack.inbox("U0INES")) == 2)
        desk.slack.send(again)
        assert "Already decided by Ines Vogt" in told(desk, "U0INES")
        assert len(decisions(desk)) == 2


class TestWhoMayNot:
    def refused_politely(self, desk: Office, user: str, action: str = APPROVE) -> str:
        message = desk.message("U0MARIA")
        response = desk.slack.press(message, action, user)
        assert (response.status_code, response.content) == (200, b"")
        said = told(desk, user)
        assert desk.slack.forms == []
        nothing_happened(desk)
        return said

    @pytest.mark.parametrize("action", [APPROVE, REJECT, ASK])
    def test_somebody_who_is_nobody(self, desk: Office, action: str) -> None:
        desk.ask("maria.keller")
        assert "nobody's who decides" in self.refused_politely(desk, "U0STRANGER", action)

    @pytest.mark.parametrize("action", [APPROVE, REJECT, ASK])
    def test_somebody_who_is_not_asked(self, desk: Office, action: str) -> None:
        desk.ask("maria.keller")
        assert "not asked" in self.refused_politely(desk, "U0BEN", action)

    @pytest.mark.parametrize("action", [APPROVE, REJECT, ASK])
    def test_the_requester(self, desk: Office, action: str) -> None:
        desk.ask("maria.keller")
        assert "own request" in self.refused_politely(desk, "U0ANNA", action)

    def test_the_requester_as_a_deputy(self, desk: Office) -> None:
        day = today("maria.keller")
        tomorrow = day + timedelta(days=1)
        with authored(desk.engine, actor="user:maria.keller") as connection:
            delegations.delegate(connection, "maria.keller", "anna.schmidt", day, tomorrow, "on leave", "user:x")
        desk.ask("maria.keller")
        assert "own request" in self.refused_politely(desk, "U0ANNA")

    def test_an_account_that_several_people_share(self, desk: Office, edit_people: Callable[..., None]) -> None:
        edit_people("admin", slack="U0ADMIN")
        desk.ask("maria.keller")
        assert "Several people" in self.refused_politely(desk, "U0ADMIN")

    def test_somebody_who_has_left(self, desk: Office, edit_people: Callable[..., None]) -> None:
        desk.ask("maria.keller")
        edit_people("maria.keller", active=False)
        assert self.refused_politely(desk, "U0MARIA")

    def test_an_answer_by_somebody_else_than_the_requester(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        answer(desk.engine, asked.id, "maria.keller", "ask", comment="which?", now=None)
        desk.minute()
        desk.slack.press(desk.message("U0ANNA"), ANSWER, "U0BEN")
        assert "only Anna Schmidt" in told(desk, "U0BEN").replace("Only", "only")

    def test_a_message_of_before_the_request_was_changed(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        old = desk.message("U0MARIA")
        desk.ask("maria.keller", content="twice as much", case=asked.case_id, deliver=False)
        desk.slack.press(old, APPROVE, "U0MARIA")
        assert "was changed" in told(desk, "U0MARIA")
        assert decisions(desk) == []

    def test_a_button_with_the_digest_of_something_else(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        value = json.dumps({"r": asked.id, "s": 1, "d": "0" * 64})
        desk.slack.send(desk.slack.pressed(message, {**message.buttons[APPROVE], "value": value}, "U0MARIA"))
        assert "not what you saw any more" in told(desk, "U0MARIA")
        nothing_happened(desk)

    def test_a_round_that_there_is_not(self, desk: Office) -> None:
        desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        value = json.dumps({"r": 999_999, "s": 1, "d": "0" * 64})
        desk.slack.send(desk.slack.pressed(message, {**message.buttons[APPROVE], "value": value}, "U0MARIA"))
        assert "does not exist" in told(desk, "U0MARIA")


class TestAttacks:
    def payload(self, desk: Office) -> dict[str, Any]:
        desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        return desk.slack.pressed(message, message.buttons[APPROVE], "U0MARIA")

    def test_without_a_signature(self, desk: Office) -> None:
        request = desk.slack.signed(self.payload(desk))
        for left_out in ("X-Slack-Signature", "X-Slack-Request-Timestamp"):
            headers = {name: value for name, value in request["headers"].items() if name != left_out}
            response = httpx.post(desk.slack.endpoint, content=request["content"], headers=headers)
            refused(response, 401, "signature.missing")
        nothing_happened(desk)

    @pytest.mark.parametrize("signature", ["v0=" + "0" * 64, "v1=" + "0" * 64, "v0=" + "é" * 64, "", "v0="])
    def test_with_a_forged_signature(self, desk: Office, signature: str) -> None:
        request = desk.slack.signed(self.payload(desk))
        request["headers"]["X-Slack-Signature"] = signature.encode()
        response = httpx.post(desk.slack.endpoint, **request)
        assert response.status_code == 401
        nothing_happened(desk)

    def test_with_another_secret(self, desk: Office) -> None:
        response = httpx.post(desk.slack.endpoint, **desk.slack.signed(self.payload(desk), secret="guessed"))
        refused(response, 401, "signature.wrong")
        nothing_happened(desk)

    def test_with_a_body_that_was_changed_on_its_way(self, desk: Office) -> None:
        request = desk.slack.signed(self.payload(desk))
        request["content"] = request["content"].replace("U0MARIA", "U0KARLX")
        refused(httpx.post(desk.slack.endpoint, **request), 401, "signature.wrong")
        nothing_happened(desk)

    @pytest.mark.parametrize("age", [301, -301, 10**8])
    def test_with_a_timestamp_that_is_not_now(self, desk: Office, age: int) -> None:
        response = httpx.post(desk.slack.endpoint, **desk.slack.signed(self.payload(desk), at=time.time() - age))
        refused(response, 401, "signature.wrong")
        nothing_happened(desk)

    @pytest.mark.parametrize("timestamp", ["soon", "", "1e9", "-5", "9" * 400, "١٢٣"])
    def test_with_a_timestamp_that_is_none(self, desk: Office, timestamp: str) -> None:
        request = desk.slack.signed(self.payload(desk))
        request["headers"]["X-Slack-Request-Timestamp"] = timestamp.encode()
        refused(httpx.post(desk.slack.endpoint, **request), 401, "signature.missing")

    def test_the_same_request_again_is_refused_as_such(self, desk: Office) -> None:
        request = desk.slack.signed(self.payload(desk))
        assert httpx.post(desk.slack.endpoint, **request).status_code == 200
        eventually(lambda: desk.message("U0MARIA").edits)
        refused(httpx.post(desk.slack.endpoint, **request), 409, "request.replayed")
        assert len(decisions(desk)) == 1

    def test_the_same_form_of_ask_again_asks_once(self, desk: Office) -> None:
        asked = desk.ask("maria.keller")
        desk.slack.press(desk.message("U0MARIA"), ASK, "U0MARIA")
        eventually(lambda: desk.slack.forms)
        request = desk.slack.signed(desk.slack.submitted("U0MARIA", "which model?"))
        assert httpx.post(desk.slack.endpoint, **request).status_code == 200
        answer(desk.engine, asked.id, "anna.schmidt", "answer", comment="the small one", now=None)
        refused(httpx.post(desk.slack.endpoint, **request), 409, "request.replayed")
        assert desk.stands(asked.id).state == "open"

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
    def test_by_another_method_than_post(self, desk: Office, method: str) -> None:
        request = desk.slack.signed(self.payload(desk))
        response = httpx.request(
            method, desk.slack.endpoint, params={"payload": json.dumps(self.payload(desk))}, **request
        )
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"
        nothing_happened(desk)

    def test_by_a_form_of_another_site(self, desk: Office) -> None:
        response = httpx.post(
            desk.slack.endpoint,
            data={"payload": json.dumps(self.payload(desk))},
            headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Cookie": "session=theirs"},
        )
        refused(response, 401, "signature.missing")
        assert "access-control-allow-origin" not in response.headers
        nothing_happened(desk)

    def test_where_no_secret_is_set_nobody_gets_in(self, desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        payload = self.payload(desk)
        for value in ("", "   "):
            monkeypatch.setenv("WAYBILL_SLACK_SIGNING_SECRET", value)
            response = httpx.post(desk.slack.endpoint, **desk.slack.signed(payload, secret=value or " "))
            refused(response, 503, "secret.missing")
        assert "WAYBILL_SLACK_SIGNING_SECRET" in response.json()["detail"]
        nothing_happened(desk)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"team": {"id": "T0OTHER"}}, "team.other"),
            ({"team": None}, "team.other"),
            ({"user": {"id": "U0MARIA", "team_id": "T0OTHER"}}, "team.other"),
            ({"api_app_id": "A0OTHER"}, "app.other"),
            ({"api_app_id": None}, "app.other"),
        ],
    )
    def test_from_another_workspace_or_app(self, desk: Office, changes: dict[str, Any], code: str) -> None:
        refused(desk.slack.send(self.payload(desk) | changes), 403, code)
        nothing_happened(desk)

    def test_a_huge_body(self, desk: Office) -> None:
        request = desk.slack.signed("x" * (2**20 + 1))
        refused(httpx.post(desk.slack.endpoint, **request), 413, "body.too_large")

        def endless() -> Any:
            for _ in range(64):
                yield b"x" * 2**16

        try:
            response = httpx.post(desk.slack.endpoint, content=endless(), headers=request["headers"])
            refused(response, 413, "body.too_large")
        except httpx.TransportError:
            pass  # it hung up before the rest was sent

    def test_a_body_that_does_not_come(self, desk: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slack_actions, "READ_PATIENCE", 0.2)
        parts = urlsplit(desk.slack.endpoint)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as connection:
            head = f"POST {parts.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            connection.sendall(f"{head}Content-Length: 1000\r\n\r\npay".encode())
            assert b" 408 " in connection.recv(1_000)

    @pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
    def test_another_kind_of_content(self, desk: Office, kind: str) -> None:
        request = desk.slack.signed(self.payload(desk))
        request["headers"]["Content-Type"] = kind
        refused(httpx.post(desk.slack.endpoint, **request), 415, "content.type")

    def test_bytes_that_are_no_text(self, desk: Office) -> None:
        request = desk.slack.signed("x")
        request["content"] = b"\xff\xfe\x00"
        refused(httpx.post(desk.slack.endpoint, **request), 401, "signature.wrong")


def malformed(desk: Office) -> list[Any]:
    desk.ask("maria.keller")
    message = desk.message("U0MARIA")
    good = desk.slack.pressed(message, message.buttons[APPROVE], "U0MARIA")
    action = good["actions"][0]
    desk.slack.press(message, REJECT, "U0MARIA")
    eventually(lambda: desk.slack.forms)
    form = desk.slack.submitted("U0MARIA", "no")
    view = form["view"]
    values: list[Any] = [
        "", "null", "[]", "1", '"text"', "{", "{}", "[" * 100_000, '{"a":' * 50_000, "NaN", "\\ud800", "\x00",
        '{"type":"\\ud800"}', {}, {"type": "block_actions"},
    ]  # fmt: skip
    for name in ("type", "user"):
        values += [good | {name: wrong} for wrong in (None, 1, "", [], {}, "x" * 10_000)]
    values += [good | {"user": {"id": wrong}} for wrong in (None, 1, "", "U0\x00", "<@U0>", "x" * 1_000, "Ü0")]
    values += [good | {"type": kind} for kind in ("view_closed", "shortcut", "view_submission", "event_callback")]
    values += [
        good | {"actions": wrong} for wrong in (None, {}, [], [None], [{}], [action, action], "x", [action] * 99)
    ]
    values += [
        good | {"actions": [action | {"value": wrong}]}
        for wrong in (
            None, "", "x", "[]", "{}", "[" * 1_500, "{" * 2_001, json.dumps({"r": 2**63, "s": 1, "d": "0" * 64}),
            json.dumps({"r": True, "s": 1, "d": "0" * 64}), json.dumps({"r": "1", "s": 1, "d": "0" * 64}),
            json.dumps({"r": 1, "s": -1, "d": "0" * 64}), json.dumps({"r": 1, "s": 1, "d": "0" * 63 + "\n"}),
            json.dumps({"r": 1.5, "s": 1, "d": "0" * 64}), json.dumps({"r": 1, "s": 1, "d": "0" * 64, "x": 1}),
            json.dumps({"r": 1, "s": 1, "d": None}), 7, {"r": 1},
        )
    ]  # fmt: skip
    values += [good | {"actions": [action | {"action_id": wrong}]} for wrong in (None, 1, "", "approve", "x" * 9_999)]
    values += [good | {"trigger_id": 1}, good | {"response_url": 1}, good | {"response_url": "x" * 5_000}]
    values += [form | {"view": wrong} for wrong in (None, 1, [], {}, {"callback_id": "waybill_reject"})]
    values += [form | {"view": view | {"callback_id": wrong}} for wrong in (None, "", "waybill_approve", 1)]
    values += [form | {"view": view | {"private_metadata": wrong}} for wrong in (None, "", "{}", "x" * 5_000, 1)]
    values += [
        form | {"view": view | {"state": wrong}}
        for wrong in (
            None,
            [],
            {},
            {"values": 1},
            {"values": {"comment": 1}},
            {"values": {"comment": {"comment": {"value": 1}}}},
        )
    ]
    return values


def test_what_is_malformed_is_refused_and_never_breaks_anything(desk: Office) -> None:
    for payload in malformed(desk):
        response = desk.slack.send(payload)
        shown = str(payload)[:200]
        assert 400 <= response.status_code < 500, f"{response.status_code} for {shown}"
        assert response.headers["content-type"] == "application/problem+json", shown
    for content in ("", "payload", "payload=1&payload=2", "other=1", "a=1&" * 50 + "payload={}", "payload=%ff%fe"):
        request = desk.slack.signed("x")
        request = signed_content(desk, content, request["headers"])
        assert httpx.post(desk.slack.endpoint, **request, verify=TLS).status_code == 400, content
    nothing_happened(desk)


def signed_content(desk: Office, content: str, headers: dict[str, str]) -> dict[str, Any]:
    from slack_sdk.signature import SignatureVerifier

    stamp = headers["X-Slack-Request-Timestamp"]
    signature = SignatureVerifier(desk.slack.secret).generate_signature(timestamp=stamp, body=content)
    return {"content": content, "headers": headers | {"X-Slack-Signature": signature or ""}}


def test_a_form_whose_comment_is_left_out_is_told_what_is_missing(desk: Office) -> None:
    desk.ask("maria.keller")
    desk.slack.press(desk.message("U0MARIA"), ASK, "U0MARIA")
    eventually(lambda: desk.slack.forms)
    payload = desk.slack.submitted("U0MARIA", "x")
    payload["view"]["state"]["values"] = {}
    assert desk.slack.send(payload).json()["response_action"] == "errors"


def test_nothing_secret_or_personal_is_logged(desk: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    desk.ask("maria.keller")
    message = desk.message("U0MARIA")
    desk.slack.press(message, APPROVE, "U0STRANGER")
    told(desk, "U0STRANGER")
    desk.slack.press(message, REJECT, "U0MARIA")
    eventually(lambda: desk.slack.forms)
    desk.slack.submit("U0MARIA", "a remark about a person")
    eventually(lambda: message.edits)
    desk.slack.send({"type": "nonsense", "user": {"id": "U0MARIA"}, "secret": "in the payload"})
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.split(".")[0] != "httpx")
    assert "changes nothing: unknown_person" in ours
    for secret in ("/actions/", desk.slack.secret, "a remark about", "in the payload", "xoxb-", "U0STRANGER"):
        assert secret not in ours


class TestWhereAnswersGo:
    @pytest.mark.parametrize(
        "url",
        [
            None, "", "x", "http://hooks.slack.com/actions/T/1/x", "https://evil.example/actions/T/1/x",
            "https://hooks.slack.com.evil.example/a", "https://hooks.slack.com@evil.example/a",
            "https://evil.example\\@hooks.slack.com/a", "https://hooks.slack.com:8443/a", "https://user@hooks.slack.com/a",
            "https://hooks.slack.com/a?to=evil", "https://hooks.slack.com/../a", "https://hooks.slack.com/a\r\nHost: b",
            "file:///etc/passwd", "//hooks.slack.com/a", "https://[::1/a", "https://HOOKS.slack.com.:443/a", "https:///a",
        ],
    )  # fmt: skip
    def test_only_to_slack(self, monkeypatch: pytest.MonkeyPatch, url: str | None) -> None:
        monkeypatch.delenv("WAYBILL_SLACK_RESPONSE_HOST", raising=False)
        assert answer_address(url) is None

    def test_slack_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WAYBILL_SLACK_RESPONSE_HOST", raising=False)
        url = "https://hooks.slack.com/actions/T024BE7LD/1234567890/AbC-d_e"
        assert answer_address(url) == url

    def test_a_redirect_is_not_followed(self, desk: Office) -> None:
        desk.ask("maria.keller")
        message = desk.message("U0MARIA")
        elsewhere = {"Location": f"{desk.slack.base}/elsewhere"}
        calls = desk.slack.calls
        desk.slack.faults = [(status, "", elsewhere) for status in (302, 307)]
        for _ in range(2):
            desk.slack.press(message, APPROVE, "U0STRANGER")
        eventually(lambda: desk.slack.calls == calls + 2)
        time.sleep(0.2)
        assert desk.slack.calls == calls + 2
        assert desk.slack.answers == []
