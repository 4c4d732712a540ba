"""The SMTP provider against a real SMTP server that rejects, greylists, and drops connections."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr

from include.integrations.smtp import SmtpMail, SmtpServer, compose, message_id
from include.integrations.systems import Failed, PendingEffect, Sent, Settle, Unknown
from tests.standins.hubspot import closed_port

PASSWORD = "shh-mail-77"


class Mailbox:
    """Keeps what it accepts; what it says to each recipient and each mail can be set."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.envelopes: list[list[str]] = []
        self.connections = 0
        self.per_connection = 10_000
        self.recipients: dict[str, list[str]] = {}
        self.data: list[str | Callable[[SMTP], Any]] = []
        self.seen: Counter[str] = Counter()

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        session.mails = 0  # type: ignore[attr-defined]
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if session.mails >= self.per_connection:  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_later(0.02, server.transport.close)
            return "421 4.7.0 too many messages in this connection"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.seen[address] += 1
        if said := self.recipients.get(address):
            reply = said.pop(0) if len(said) > 1 else said[0]
            if not reply.startswith("250"):
                return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        session.mails += 1  # type: ignore[attr-defined]
        fault = self.data.pop(0) if self.data else None
        if isinstance(fault, str):
            return fault
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        self.envelopes.append(list(envelope.rcpt_tos))
        if fault is not None:
            fault(server)
            await asyncio.sleep(0.2)
        return "250 OK"


@pytest.fixture
def box() -> Iterator[tuple[Mailbox, int]]:
    held = Mailbox()
    controller = Controller(held, hostname="127.0.0.1", port=closed_port(), enable_SMTPUTF8=True)
    controller.start()
    yield held, controller.port
    controller.stop()


def provider(port: int, **changes: Any) -> SmtpMail:
    given: dict[str, Any] = {"sender": "Sales <sales@seller.example>", "security": "none", "answer_timeout": 2.0}
    return SmtpMail(SmtpServer("127.0.0.1", port, **{**given, **changes}))


def mail(number: int, to: object = None, **changes: Any) -> PendingEffect:
    payload = {
        "to": to or f"lead{number}@example.com",
        "subject": f"Grüße {number}",
        "text": "Hallo,\n.ein Punkt am Anfang\n",
        "html": "<p>Hallo</p>",
        **changes,
    }
    return PendingEffect(number, f"lead_to_client/{number}/send_mail/send_mail/welcome", "send_mail", "t", payload, 1)


def test_many_mails_go_over_one_connection_each_as_it_was_written(box: tuple[Mailbox, int]) -> None:
    held, port = box
    outcomes = provider(port).apply("send_mail", [mail(n) for n in range(20)])
    assert all(isinstance(one, Sent) for one in outcomes)
    assert held.connections == 1
    assert [one["Subject"] for one in held.mails] == [f"Grüße {n}" for n in range(20)]
    first = held.mails[0]
    assert first["From"] == "Sales <sales@seller.example>"
    assert first["To"] == "lead0@example.com"
    assert first.get_body(("plain",)).get_content().splitlines() == ["Hallo,", ".ein Punkt am Anfang"]  # type: ignore[union-attr]
    assert first.get_body(("html",)).get_content().strip() == "<p>Hallo</p>"  # type: ignore[union-attr]


def test_the_same_effect_always_has_the_same_message_id(box: tuple[Mailbox, int]) -> None:
    held, port = box
    provider(port).apply("send_mail", [mail(1)])
    provider(port).apply("send_mail", [mail(1), mail(2)])
    ids = [one["Message-ID"] for one in held.mails]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0] == message_id(mail(1).key, "sales@seller.example")
    assert ids[0].endswith("@seller.example>")


def test_a_recipient_refused_for_good_harms_no_other(box: tuple[Mailbox, int]) -> None:
    held, port = box
    held.recipients["gone@example.com"] = ["550 5.1.1 no such user"]
    outcomes = provider(port).apply("send_mail", [mail(1), mail(2, "gone@example.com"), mail(3)])
    assert isinstance(outcomes[1], Failed)
    assert outcomes[1].permanent
    assert "no such user" in outcomes[1].error
    assert [len(held.mails), isinstance(outcomes[0], Sent), isinstance(outcomes[2], Sent)] == [2, True, True]


def test_a_greylisted_mail_goes_again_later(box: tuple[Mailbox, int]) -> None:
    held, port = box
    held.recipients["grey@example.com"] = ["451 4.7.1 Greylisting in action, please come back later", "250 OK"]
    (outcome,) = provider(port).apply("send_mail", [mail(1, "grey@example.com")])
    assert isinstance(outcome, Failed)
    assert (outcome.permanent, outcome.retry_after) == (False, 300)
    (outcome,) = provider(port).apply("send_mail", [mail(1, "grey@example.com")])
    assert isinstance(outcome, Sent)
    assert len(held.mails) == 1


def test_of_several_recipients_the_good_ones_get_the_mail_once(box: tuple[Mailbox, int]) -> None:
    held, port = box
    held.recipients = {"gone@example.com": ["550 no"], "grey@example.com": ["451 later"]}
    (outcome,) = provider(port).apply("send_mail", [mail(1, ["a@example.com", "gone@example.com", "grey@example.com"])])
    assert isinstance(outcome, Sent)
    assert outcome.answer["refused"] == [451, 550]
    assert held.envelopes == [["a@example.com"]]
    (outcome,) = provider(port).apply("send_mail", [mail(2, ["gone@example.com", "grey@example.com"])])
    assert isinstance(outcome, Failed)
    assert not outcome.permanent, "one of them may still be accepted"


@pytest.mark.parametrize(("reply", "permanent"), [("554 5.7.1 looks like spam", True), ("452 4.2.2 over quota", False)])
def test_a_mail_refused_after_its_text_is_not_sent(box: tuple[Mailbox, int], reply: str, permanent: bool) -> None:
    held, port = box
    held.data = [reply]
    outcomes = provider(port).apply("send_mail", [mail(1), mail(2)])
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].permanent is permanent
    assert isinstance(outcomes[1], Sent)
    assert len(held.mails) == 1


def test_a_connection_dropped_after_the_text_leaves_the_outcome_unknown_and_is_not_repeated(
    box: tuple[Mailbox, int],
) -> None:
    held, port = box
    held.data = [lambda server: server.transport.abort()]
    smtp = provider(port)
    outcomes = smtp.apply("send_mail", [mail(1), mail(2)])
    assert isinstance(outcomes[0], Unknown)
    assert isinstance(outcomes[1], Sent), "the next mail takes a new connection"
    assert len(held.mails) == 2
    assert smtp.operations["send_mail"].settle is Settle.ASSUME_SENT
    assert smtp.settle("send_mail", [mail(1)]) == [Sent({"assumed": True})]


def test_a_server_that_never_answers_the_text_leaves_the_outcome_unknown(box: tuple[Mailbox, int]) -> None:
    held, port = box

    def stall(server: SMTP) -> None:
        import time

        time.sleep(1.0)

    held.data = [stall]
    (outcome,) = provider(port, answer_timeout=0.4).apply("send_mail", [mail(1)])
    assert isinstance(outcome, Unknown)


def test_a_server_that_limits_mails_per_connection_is_called_again(box: tuple[Mailbox, int]) -> None:
    held, port = box
    held.per_connection = 3
    outcomes = provider(port).apply("send_mail", [mail(n) for n in range(8)])
    assert all(isinstance(one, Sent) for one in outcomes)
    assert sorted(one["Subject"] for one in held.mails) == [f"Grüße {n}" for n in range(8)]
    assert held.connections == 3


def test_a_server_that_is_away_fails_all_at_once_and_none_for_good() -> None:
    outcomes = provider(closed_port()).apply("send_mail", [mail(n) for n in range(50)])
    assert all(isinstance(one, Failed) and not one.permanent and one.retry_after == 30 for one in outcomes)


def test_attachments_arrive_byte_by_byte_beside_the_text(box: tuple[Mailbox, int]) -> None:
    held, port = box
    content = bytes(range(256)) + b"\r\n.\r\n" + b"\n."
    attachment = {
        "filename": "Bestellung Łódź.pdf",
        "content_type": "application/pdf",
        "base64": base64.b64encode(content).decode(),
    }
    (outcome,) = provider(port).apply("send_mail", [mail(1, attachments=[attachment, {**attachment, "filename": "b"}])])
    assert isinstance(outcome, Sent)
    (received,) = held.mails
    first, second = received.iter_attachments()
    assert (first.get_filename(), second.get_filename()) == ("Bestellung Łódź.pdf", "b")
    assert first.get_content_type() == "application/pdf"
    assert first.get_content() == second.get_content() == content
    assert received.get_body(("plain",)).get_content().startswith("Hallo")  # type: ignore[union-attr]
    assert received.get_body(("html",)).get_content().strip() == "<p>Hallo</p>"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "changes",
    [
        {"to": "nobody"},
        {"to": "a@example.com\r\nBcc: everyone@example.com"},
        {"subject": "x\r\nBcc: everyone@example.com"},
        {"headers": {"X-Case": "1\nBcc: everyone@example.com"}},
        {"from": "nobody"},
        {"attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "base64": "not base64!"}]},
        {"attachments": [{"filename": "../a.pdf", "content_type": "application/pdf", "base64": "YQ=="}]},
        {"attachments": [{"filename": "a\r\nBcc: everyone@example.com", "content_type": "a/b", "base64": "YQ=="}]},
        {"attachments": [{"filename": "a.pdf", "content_type": "multipart/mixed", "base64": "YQ=="}]},
    ],
)
def test_what_is_no_mail_is_refused_before_it_leaves(box: tuple[Mailbox, int], changes: dict[str, Any]) -> None:
    held, port = box
    outcomes = provider(port).apply(
        "send_mail", [mail(1, **changes) if "to" not in changes else mail(1, changes["to"]), mail(2)]
    )
    assert isinstance(outcomes[0], Failed)
    assert outcomes[0].permanent
    assert "everyone@" not in outcomes[0].error
    assert isinstance(outcomes[1], Sent)
    assert len(held.mails) == 1


def test_addresses_beyond_ascii_reach_their_mailbox(box: tuple[Mailbox, int]) -> None:
    held, port = box
    outcomes = provider(port).apply("send_mail", [mail(1, "erika@müller.example"), mail(2, "jörg@müller.example")])
    assert all(isinstance(one, Sent) for one in outcomes), outcomes
    assert held.envelopes == [["erika@xn--mller-kva.example"], ["jörg@xn--mller-kva.example"]]


def test_a_payload_cannot_replace_the_headers_that_identify_a_mail() -> None:
    headers = {"Message-ID": "<x@y>", "Date": "never", "List-Unsubscribe": "<https://seller.example/u/1>"}
    message, to = compose("k", mail(1, headers=headers).payload, "sales@seller.example")
    assert message["Message-ID"] == message_id("k", "sales@seller.example")
    assert message["List-Unsubscribe"] == "<https://seller.example/u/1>"
    assert to == ["lead1@example.com"]


def _authenticated(right: str) -> Iterator[tuple[Mailbox, int]]:
    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword) -> AuthResult:
        return AuthResult(success=data.password == right.encode(), handled=False)

    held = Mailbox()
    controller = Controller(
        held, hostname="127.0.0.1", port=closed_port(), authenticator=check, auth_required=True, auth_require_tls=False
    )
    controller.start()
    yield held, controller.port
    controller.stop()


@pytest.fixture
def guarded_box() -> Iterator[tuple[Mailbox, int]]:
    yield from _authenticated(PASSWORD)


def test_a_refused_password_waits_for_a_person_and_is_told_to_nobody(
    guarded_box: tuple[Mailbox, int], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    held, port = guarded_box
    good = provider(port, username="sales", password=SecretStr(PASSWORD))
    assert isinstance(good.apply("send_mail", [mail(1)])[0], Sent)
    bad = provider(port, username="sales", password=SecretStr("shh-wrong-12"))
    outcomes = bad.apply("send_mail", [mail(2), mail(3)])
    assert all(isinstance(one, Failed) and not one.permanent and one.retry_after == 300 for one in outcomes)
    told = caplog.text + repr(outcomes) + repr(bad) + repr(bad.server) + repr(good.server)
    assert PASSWORD not in told
    assert "shh-wrong-12" not in told
    assert len(held.mails) == 1


def test_a_password_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ValueError, match="tls"):
        SmtpServer("mail.example", 25, "a@b.example", "user", SecretStr("x"), security="none")


def test_a_slow_server_gets_no_further_mail_when_the_time_is_up(
    box: tuple[Mailbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger takes a mail back whose lease has run out, so none may be begun too late."""
    held, port = box
    monkeypatch.setattr("include.integrations.smtp.LONGEST_APPLY", 0.1)
    held.data = [lambda server: None]  # takes 0.2 s
    outcomes = provider(port).apply("send_mail", [mail(1), mail(2), mail(3)])
    assert isinstance(outcomes[0], Sent)
    assert all(isinstance(one, Failed) and one.retry_after == 0 for one in outcomes[1:])
    assert len(held.mails) == 1
    assert all(isinstance(one, Sent) for one in provider(port).apply("send_mail", [mail(4)]))
