"""The `webhook` role: events of Waybill to an address outside, signed as Standard Webhooks has it.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. The id of a message is made of the
effect's key, so a receiver that was told twice can tell.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence

import orjson
from pydantic import SecretStr

from include.integrations.http import HttpClient, Rejected, SystemTrouble, Unavailable, UnknownOutcome
from include.integrations.systems import Failed, Operation, Outcome, PendingEffect, Sent, Settle, Unknown


class SecretUnusable(ValueError):
    """The secret is not of the form that Standard Webhooks has."""


def key_of(secret: str) -> bytes:
    """Return the bytes of a secret: `whsec_` and base64.

    :raises SecretUnusable: when it is not.
    """
    encoded = secret.removeprefix("whsec_")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise SecretUnusable("the webhook's secret is whsec_ and base64")
    return key


def message_id(key: str) -> str:
    """Return the id of the message with a ledger key: always the same."""
    return f"msg_{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def signed(secret: SecretStr, message: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove a message.

    :param message: its id.
    :param at: seconds since the epoch.
    """
    digest = hmac.digest(key_of(secret.get_secret_value()), f"{message}.{at}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


class SignedWebhook:
    """Calls one address.

    :param path: of the address, from its host on.
    """

    name = "webhook"
    batch_size = 2  # two calls with their waits fit into the ledger's lease
    operations: Mapping[str, Operation] = {"call_webhook": Operation("call_webhook", Settle.RESEND)}

    def __init__(self, client: HttpClient, path: str, secret: SecretStr) -> None:
        key_of(secret.get_secret_value())
        self._client = client
        self._path = path
        self._secret = secret

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Call it once for each effect."""
        return [self._call(effect) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Never asked: it is called again with the same id."""
        return [Unknown("a webhook cannot be asked")] * len(effects)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _call(self, effect: PendingEffect) -> Outcome:
        message = message_id(effect.key)
        headers = signed(self._secret, message, int(time.time()), orjson.dumps(effect.payload))
        try:
            # The client writes the same payload in the same way, so what is signed is what is sent.
            answer = self._client.request("POST", self._path, json=effect.payload, headers=headers, repeatable=True)
        except Rejected as trouble:
            return Failed(str(trouble), permanent=True)
        except Unavailable as trouble:
            return Failed(str(trouble), retry_after=trouble.retry_after)
        except (UnknownOutcome, SystemTrouble) as trouble:
            return Unknown(str(trouble))
        return Sent({"id": message, "status": answer.status})
