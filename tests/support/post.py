"""A real mail server on this machine, which keeps what it accepts, refuses addresses, and can be away."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.standins.hubspot import closed_port

REFUSED = "550 5.1.1 There is nobody of this name"


class Post:
    """The server, and the mails in it."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = closed_port()
        self.unknown: set[str] = set()
        """Addresses that it refuses, for good."""
        self._server: Controller | None = None

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.lower() in self.unknown:
            return REFUSED
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 OK"

    def to(self, address: str) -> list[EmailMessage]:
        """Return the mails to an address, in any case of letters."""
        return [one for one in self.mails if address.lower() in str(one["To"]).lower()]

    def open(self) -> None:
        """Answer from now on."""
        self._server = Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=True)
        self._server.start()

    def close(self) -> None:
        """Be away from now on."""
        if self._server is not None:
            self._server.stop()
            self._server = None


def subject_of(mail: EmailMessage) -> str:
    """Return what a mail is about; a long subject is folded on its way, and begins with a blank then."""
    return str(mail["Subject"]).strip()


def words(mail: EmailMessage) -> str:
    """Return what a mail says in plain text."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


@contextmanager
def mail_server() -> Iterator[Post]:
    """Serve mail on 127.0.0.1."""
    post = Post()
    post.open()
    try:
        yield post
    finally:
        post.close()
