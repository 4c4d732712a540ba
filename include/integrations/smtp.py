"""The SMTP provider of the `mail` role: many mails over one connection, each with its own outcome.

Mail cannot be asked for afterwards, so one of unknown outcome counts as sent: at most once, as declared.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import smtplib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, getaddresses
from typing import Any

from pydantic import SecretStr

from include.integrations.http.secrets import mask
from include.integrations.systems import (
    Failed,
    Json,
    Operation,
    Outcome,
    PendingEffect,
    Sent,
    Settle,
    Unknown,
)

log = logging.getLogger(__name__)

BATCH = 100
LONGEST_APPLY = 60.0  # seconds after which no further mail is begun
LATEST_END = 105.0  # seconds after which nothing is waited for: the ledger's lease is two minutes
SHORTEST_DIALOGUE = 4.0  # seconds that must be left to begin a mail
GREYLISTED_FOR = 300.0  # seconds; RFC 6647 advises senders to expect minutes
SERVER_AWAY_FOR = 30.0  # seconds
UNAUTHORISED_FOR = 300.0  # seconds
LEFT_ALONE = 421  # the server closes the connection (RFC 5321, 4.2.1)
GO_AHEAD = 354
REFUSED = 400  # replies from here on are refusals
PERMANENT = 500  # replies from here on will be the same next time

OWN_HEADERS = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    }
)
"""Headers that a payload's `headers` cannot set."""


@dataclass(frozen=True)
class SmtpServer:
    """How a mail server is reached.

    :param sender: the address mails come from unless they say otherwise; its domain is in their Message-ID.
    :param security: `tls` from the start (port 465), `starttls` (port 587), or `none` on a trusted network.
    :param connect_timeout: seconds.
    :param answer_timeout: seconds that the server may take for one reply.
    :param per_connection: mails after which a new connection is made; servers limit it.
    """

    host: str
    port: int
    sender: str
    username: str | None = None
    password: SecretStr | None = None
    security: str = "starttls"
    connect_timeout: float = 10.0
    answer_timeout: float = 40.0
    per_connection: int = 100
    verify: bool = True

    def __post_init__(self) -> None:
        if self.security not in ("tls", "starttls", "none"):
            raise ValueError(f"mail server {self.host}: security is tls, starttls or none, not {self.security!r}")
        if "@" not in self.sender:
            raise ValueError(f"mail server {self.host}: the sender is not an e-mail address")
        if self.password is not None and self.security == "none" and self.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"mail server {self.host}: a password needs tls or starttls")


def message_id(key: str, sender: str) -> str:
    """Return the Message-ID of the mail with a ledger key: always the same (RFC 5322, 3.6.4)."""
    _, _, domain = sender.rpartition("@")
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{_ascii_domain(domain.strip('> '))}>"


def compose(key: str, payload: Mapping[str, Any], sender: str) -> tuple[EmailMessage, list[str]]:
    """Return the mail of a `send_mail` effect, and the addresses that it goes to.

    :raises ValueError: when the payload is no mail: no recipient, a line break in a header, a broken address or
        attachment.
    """
    origin = str(payload.get("from") or sender)
    to = _addresses(payload.get("to"))
    if not to:
        raise ValueError("no recipient")
    message = EmailMessage(policy=SMTP)
    message["From"] = _mailboxes([origin])
    message["To"] = _mailboxes(to)
    message["Subject"] = str(payload.get("subject") or "")
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = message_id(key, origin)
    for name, value in (payload.get("headers") or {}).items():
        if name.lower() not in OWN_HEADERS:
            message[name] = str(value)
    text, html = payload.get("text"), payload.get("html")
    message.set_content(str(text if text is not None else "" if html else payload.get("body") or ""))
    if html:
        message.add_alternative(str(html), subtype="html")
    for attachment in payload.get("attachments") or ():
        _attach(message, attachment)
    return message, [mailbox.addr_spec for mailbox in message["To"].addresses]


class SmtpMail:
    """Sends mails through one server."""

    name = "smtp"
    batch_size = BATCH
    operations: Mapping[str, Operation] = {"send_mail": Operation("send_mail", Settle.ASSUME_SENT)}

    def __init__(self, server: SmtpServer) -> None:
        self.server = server
        self._connection: smtplib.SMTP | None = None
        self._sent = 0
        self._end = 0.0

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Send the mails over as few connections as the server allows; one outcome each, in their order."""
        began = time.monotonic()
        self._end = began + LATEST_END
        outcomes: list[Outcome] = []
        away: Failed | None = None
        try:
            for effect in effects:
                if away is None and time.monotonic() < began + LONGEST_APPLY:
                    outcome = self._deliver(effect)
                    if isinstance(outcome, _Away):
                        away = outcome = Failed(outcome.error, outcome.retry_after)
                    outcomes.append(outcome)
                else:
                    outcomes.append(away or Failed("not tried yet: the server answers slowly", retry_after=0))
        finally:
            self.close()
        return outcomes

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Count mails of unknown outcome as sent: twice is worse than never."""
        return [Sent({"assumed": True})] * len(effects)

    def test(self) -> None:
        """Connect, log in and say nothing more.

        :raises OSError, smtplib.SMTPException: when that fails.
        """
        try:
            self._connect().noop()
        finally:
            self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            try:
                self._connection.quit()
            except (smtplib.SMTPException, OSError):
                self._connection.close()
            self._connection = None

    def _deliver(self, effect: PendingEffect) -> Outcome | _Away:
        try:
            message, to = compose(effect.key, effect.payload, self.server.sender)
            sender = message["From"].addresses[0].addr_spec
        except (ValueError, IndexError, TypeError, AttributeError, UnicodeError) as error:
            return Failed(mask(f"smtp: not a mail: {error}"), permanent=True)
        fresh = self._connection is None
        try:
            return self._send(message, sender, to)
        except _ConnectionLost as lost:
            self._drop()
            if fresh:
                return _Away(str(lost), SERVER_AWAY_FOR)
        try:  # nothing was handed over yet; the server had only closed an older connection
            return self._send(message, sender, to)
        except _ConnectionLost as lost:
            self._drop()
            return _Away(str(lost), SERVER_AWAY_FOR)

    def _send(self, message: EmailMessage, sender: str, to: Sequence[str]) -> Outcome | _Away:
        """Go through the dialogue of one mail (RFC 5321, 3.3), to know at each point what the server has."""
        try:
            connection = self._connect()
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            return _away(error)
        wide = any(not address.isascii() for address in (sender, *to))
        if wide and not connection.has_extn("smtputf8"):
            return Failed("smtp: the server takes no addresses beyond ASCII (SMTPUTF8)", permanent=True)
        content = message.as_bytes(policy=(SMTPUTF8 if wide else SMTP).clone(max_line_length=78))
        try:
            self._wait_at_most(connection, replies=len(to) + 3)
            refused = _envelope(connection, sender, to, wide)
            self._wait_at_most(connection, replies=1)
        except _Refusal as refusal:
            return self._refused(refusal)
        except (smtplib.SMTPException, OSError) as error:
            raise _ConnectionLost(f"smtp: lost before the mail was handed over ({type(error).__name__})") from None
        try:
            connection.send(_stuffed(content) + b".\r\n")
            code, reply = connection.getreply()
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            return Unknown(f"smtp: the mail was handed over, and no answer came ({type(error).__name__})")
        if code >= REFUSED:
            return self._refused(_Refusal("the mail", code, reply), handed_over=True)
        self._sent += 1
        answer: Json = {"id": message["Message-ID"]}
        if refused:
            answer["refused"] = sorted(refused.values())
            log.warning("smtp: %s of %s recipients of one mail refused", len(refused), len(to))
        return Sent(answer)

    def _refused(self, refusal: _Refusal, *, handed_over: bool = False) -> Outcome:
        said = mask(f"smtp: {refusal}", longest=300)
        if refusal.code == LEFT_ALONE:
            if not handed_over:
                raise _ConnectionLost(said)
            self._drop()
            return Failed(said, retry_after=SERVER_AWAY_FOR)
        try:
            if self._connection is not None:
                self._connection.rset()
        except (smtplib.SMTPException, OSError):
            self._drop()
        permanent = refusal.code >= PERMANENT
        return Failed(said, retry_after=None if permanent else GREYLISTED_FOR, permanent=permanent)

    def _wait_at_most(self, connection: smtplib.SMTP, replies: int) -> None:
        """Share what is left of the time among the replies to come."""
        left = self._end - time.monotonic()
        if left < SHORTEST_DIALOGUE:
            raise TimeoutError
        if connection.sock is not None:
            connection.sock.settimeout(min(self.server.answer_timeout, left / replies))

    def _connect(self) -> smtplib.SMTP:
        if self._connection is not None and self._sent < self.server.per_connection:
            return self._connection
        self.close()
        server = self.server
        context = ssl.create_default_context()
        if not server.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection: smtplib.SMTP
        if server.security == "tls":
            connection = smtplib.SMTP_SSL(server.host, server.port, timeout=server.connect_timeout, context=context)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=server.connect_timeout)
        self._connection, self._sent = connection, 0
        connection.ehlo()
        if server.security == "starttls":
            connection.starttls(context=context)
            connection.ehlo()
        if server.username and server.password:
            connection.login(server.username, server.password.get_secret_value())
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __repr__(self) -> str:
        return f"SmtpMail({self.server.host}:{self.server.port})"


class _Refusal(Exception):
    """A reply of 4xx or 5xx."""

    def __init__(self, what: str, code: int, reply: bytes) -> None:
        super().__init__(f"{what} is refused: {code} {reply.decode('utf-8', 'replace')}")
        self.code = code


class _ConnectionLost(Exception):
    """The connection broke, and the server certainly does not have the mail."""


@dataclass(frozen=True)
class _Away:
    """The server takes no mail at all for now."""

    error: str
    retry_after: float


def _away(error: Exception) -> _Away:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return _Away(f"smtp: log-in refused ({error.smtp_code}): check the password", UNAUTHORISED_FOR)
    return _Away(f"smtp: no connection ({type(error).__name__})", SERVER_AWAY_FOR)


def _envelope(connection: smtplib.SMTP, sender: str, to: Sequence[str], wide: bool) -> dict[str, int]:
    """Name sender and recipients, and announce the mail; return the recipients refused while others are not.

    :raises _Refusal: when the server wants none of it.
    """
    code, reply = connection.mail(sender, ["SMTPUTF8"] if wide else [])
    if code >= REFUSED:
        raise _Refusal("the sender", code, reply)
    refused: dict[str, int] = {}
    mildest: _Refusal | None = None  # a recipient that may be accepted later decides
    for address in to:
        code, reply = connection.rcpt(address)
        if code >= REFUSED:
            refusal = _Refusal("the recipient", code, reply)
            if code == LEFT_ALONE:
                raise refusal
            refused[address] = code
            mildest = refusal if mildest is None or code < mildest.code else mildest
    if mildest is not None and len(refused) == len(to):
        raise mildest
    code, reply = connection.docmd("DATA")
    if code != GO_AHEAD:
        raise _Refusal("the mail", code, reply)
    return refused


def _attach(message: EmailMessage, attachment: Mapping[str, Any]) -> None:
    """Add a file: {filename, content_type, base64}."""
    name = str(attachment.get("filename") or "")
    main, slash, sub = str(attachment.get("content_type") or "").partition("/")
    if not name or not name.isprintable() or "/" in name:
        raise ValueError("an attachment needs a file name without a path")
    if not (slash and main.isalnum() and sub) or main in ("multipart", "message", "text"):
        raise ValueError(f"the attachment {name} needs a content type such as application/pdf")
    content = base64.b64decode(str(attachment.get("base64") or ""), validate=True)
    message.add_attachment(content, maintype=main, subtype=sub, filename=name)


def _addresses(value: object) -> list[str]:
    given = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)] if value else []
    if any("\n" in one or "\r" in one for one in given):
        raise ValueError("a line break in an address")
    return [f"{name} <{address}>" if name else address for name, address in getaddresses(given) if address]


def _mailboxes(given: Sequence[str]) -> list[Address]:
    """Return addresses with their domains as the mail system knows them (RFC 5891)."""
    found = []
    for name, address in getaddresses(list(given)):
        local, at, domain = address.rpartition("@")
        if not at or not local or not domain:
            raise ValueError("an address without a user or a domain")
        found.append(Address(display_name=name, username=local, domain=_ascii_domain(domain)))
    return found


def _ascii_domain(domain: str) -> str:
    return domain if domain.isascii() else domain.encode("idna").decode("ascii")


def _stuffed(content: bytes) -> bytes:
    """Return the text for the wire: CRLF, and a dot before each dot that begins a line (RFC 5321, 4.5.2)."""
    lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    return b"".join((b"." + line if line.startswith(b".") else line) + b"\r\n" for line in lines)
