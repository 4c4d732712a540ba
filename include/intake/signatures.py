"""Signature schemes of senders: signing, and verifying in constant time.

Works on bytes and headers only; which source uses which scheme is declared in sources.yaml.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_SIGNATURES = 8
"""More signatures than this in one header are not looked at."""


class Scheme(StrEnum):
    """How a source proves that a delivery comes from it."""

    STANDARD_WEBHOOKS = "standard-webhooks"
    TYPEFORM = "typeform"
    HUBSPOT = "hubspot-v3"
    HMAC_HEX = "hmac-sha256-hex"
    SLACK = "slack"
    STRIPE = "stripe"
    NONE = "none"
    HANDOFF = "handoff"
    """Comes from another workflow of Waybill itself; nothing from outside can."""


class Refused(Exception):
    """No good proof; `code` is signature.missing, signature.wrong or timestamp.stale."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Message:
    """What is signed.

    :param url: the whole address as the sender called it; only HubSpot signs it.
    :param headers: by lower-case name.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Form:
    """One scheme.

    :param header: where the signatures are.
    :param timestamp: where the time of signing is, or None; Stripe has it inside the signature header.
    :param per_second: units of the timestamp in a second.
    :param key: the secret as the bytes of the HMAC's key.
    :param signed: the bytes that are signed, from the message and the timestamp.
    :param offered: the signatures in a header's value, without their prefix.
    :param written: a digest in the notation of `offered`.
    """

    header: str
    timestamp: str | None
    per_second: int
    key: Callable[[str], bytes]
    signed: Callable[[Message, str], bytes]
    offered: Callable[[str], Iterable[str]]
    written: Callable[[bytes], str]
    prefix: str = ""
    id_header: str | None = None


def _as_text(secret: str) -> bytes:
    return secret.encode()


def _standard_key(secret: str) -> bytes:
    """Base64 after `whsec_`, padding optional: standard-webhooks/spec, "Signature scheme"."""
    encoded = secret.removeprefix("whsec_")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("a Standard Webhooks secret is whsec_ and base64") from error


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _after(prefix: str) -> Callable[[str], list[str]]:
    def offered(value: str) -> list[str]:
        return [value.removeprefix(prefix).strip()] if value.startswith(prefix) else []

    return offered


_HUBSPOT_DECODED = {
    "%3A": ":",
    "%2F": "/",
    "%3F": "?",
    "%40": "@",
    "%21": "!",
    "%24": "$",
    "%27": "'",
    "%28": "(",
    "%29": ")",
    "%2A": "*",
    "%2C": ",",
    "%3B": ";",
}
_HUBSPOT_ENCODED = re.compile("|".join(_HUBSPOT_DECODED), re.IGNORECASE)


def _hubspot_text(message: Message, timestamp: str) -> bytes:
    """developers.hubspot.com, "Validate the v3 request signature": method, address, body, timestamp."""
    url = _HUBSPOT_ENCODED.sub(lambda match: _HUBSPOT_DECODED[match[0].upper()], message.url)
    return f"{message.method}{url}".encode() + message.body + timestamp.encode()


def _stripe_parts(value: str) -> list[tuple[str, str]]:
    return [(name.strip(), text.strip()) for name, _, text in (part.partition("=") for part in value.split(","))]


_FORMS = {
    Scheme.STANDARD_WEBHOOKS: _Form(
        "webhook-signature",
        "webhook-timestamp",
        1,
        _standard_key,
        lambda message, at: f"{message.headers.get('webhook-id', '')}.{at}.".encode() + message.body,
        lambda value: [part[3:] for part in value.split(" ") if part.startswith("v1,")],
        _base64,
        prefix="v1,",
        id_header="webhook-id",
    ),
    Scheme.TYPEFORM: _Form(
        "typeform-signature",
        None,
        1,
        _as_text,
        lambda m, _: m.body,
        _after("sha256="),
        _base64,
        prefix="sha256=",
    ),
    Scheme.HUBSPOT: _Form(
        "x-hubspot-signature-v3",
        "x-hubspot-request-timestamp",
        1000,
        _as_text,
        _hubspot_text,
        lambda value: [value.strip()],
        _base64,
    ),
    Scheme.HMAC_HEX: _Form(
        "x-hub-signature-256",
        None,
        1,
        _as_text,
        lambda m, _: m.body,
        _after("sha256="),
        bytes.hex,
        prefix="sha256=",
    ),
    Scheme.SLACK: _Form(
        "x-slack-signature",
        "x-slack-request-timestamp",
        1,
        _as_text,
        lambda message, at: f"v0:{at}:".encode() + message.body,
        _after("v0="),
        bytes.hex,
        prefix="v0=",
    ),
    Scheme.STRIPE: _Form(
        "stripe-signature",
        "stripe-signature",
        1,
        _as_text,
        lambda message, at: f"{at}.".encode() + message.body,
        lambda value: [text for name, text in _stripe_parts(value) if name == "v1"],
        bytes.hex,
    ),
}


def _timestamp(form: _Form, message: Message, now: float, tolerance: float) -> str:
    """The signed text of the timestamp, once it is known to be near enough to `now`."""
    name = form.timestamp or form.header
    text = message.headers.get(name, "")
    if name == form.header:
        text = next((value for key, value in _stripe_parts(text) if key == "t"), "")
    if not text:
        raise Refused("signature.missing", f"The time of signing is missing: send it in {name}.")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refused("signature.wrong", f"The time of signing in {name} is not a whole number.")
    difference = now - int(text) / form.per_second
    if abs(difference) > tolerance:
        which = "old" if difference > 0 else "far in the future"
        raise Refused(
            "timestamp.stale",
            f"The time of signing is too {which}: {tolerance:g} seconds are allowed. Check the clock.",
        )
    return text


def _key(form: _Form, secret: str) -> bytes | None:
    """The key, or None for a secret that this scheme cannot use: the others beside it stay good."""
    try:
        return form.key(secret) or None
    except ValueError:
        return None


def verify(
    scheme: Scheme,
    secrets: Sequence[str],
    message: Message,
    *,
    now: float,
    tolerance: float,
    header: str | None = None,
) -> None:
    """Return when `message` is signed with one of `secrets`.

    :param secrets: several while a secret is being changed; each is good.
    :param now: seconds since the epoch.
    :param tolerance: most seconds between signing and `now`, for schemes that sign the time.
    :param header: where the signature is, when not in the scheme's usual header.
    :raises Refused: when it is not.
    :raises ValueError: when none of `secrets` is of the scheme's form.
    """
    if scheme is Scheme.NONE:
        return
    form = _FORMS[scheme]
    value = message.headers.get(header or form.header)
    if not value:
        raise Refused("signature.missing", f"The signature is missing: send it in {header or form.header}.")
    if form.id_header and not message.headers.get(form.id_header):
        raise Refused("signature.missing", f"The header {form.id_header} is missing; it is part of what is signed.")
    at = _timestamp(form, message, now, tolerance) if form.timestamp else ""
    offered = [text.encode() for text in list(form.offered(value))[:MOST_SIGNATURES]]
    signed = form.signed(message, at)
    good = False
    keys = [key for secret in secrets if (key := _key(form, secret))]
    if secrets and not keys:
        raise ValueError(f"no secret is of the form that {scheme} needs")
    for key in keys:
        expected = form.written(hmac.digest(key, signed, hashlib.sha256)).encode()
        for text in offered:
            good |= hmac.compare_digest(expected, text)
    if not good:
        raise Refused(
            "signature.wrong",
            f"The signature in {header or form.header} does not fit the body and the secret.",
        )


def sign(
    scheme: Scheme,
    secret: str,
    body: bytes,
    *,
    now: float,
    message_id: str = "",
    url: str = "",
    method: str = "POST",
    header: str | None = None,
) -> dict[str, str]:
    """Return the headers that prove `body`, as a sender of this scheme writes them.

    :param now: the time of signing, seconds since the epoch.
    :param message_id: the sender's id of the delivery; Standard Webhooks signs it.
    :param url: the whole address that is called; HubSpot signs it.
    """
    if scheme is Scheme.NONE:
        return {}
    form = _FORMS[scheme]
    at = str(int(now * form.per_second))
    headers = {form.id_header: message_id} if form.id_header else {}
    digest = hmac.digest(form.key(secret), form.signed(Message(method, url, headers, body), at), hashlib.sha256)
    if scheme is Scheme.STRIPE:
        return {form.header: f"t={at},v1={form.written(digest)}"}
    if form.timestamp:
        headers[form.timestamp] = at
    return {**headers, header or form.header: form.prefix + form.written(digest)}
