"""Keeps secrets secret: masks them in text, and encrypts the ones that the database holds.

Decides nothing about where secrets come from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from include.data.normalise.email import IN_TEXT

KEY_VARIABLES = ("WAYBILL_SECRET_KEY", "AIRFLOW__CORE__FERNET_KEY")
MASK = "***"
SHORTEST_SECRET = 4  # masking shorter strings would mangle ordinary words

_SCHEMES = re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;}]+")
_FIELDS = re.compile(
    r"(?i)([\"']?\b(?:access_token|refresh_token|client_secret|api_key|password)[\"']?\s*[=:]\s*[\"']?)"
    r"[^\s\"'&,;}]+"
)


class SecretKeyMissing(RuntimeError):
    """No usable key to encrypt stored credentials with."""


class SecretUnreadable(RuntimeError):
    """A stored credential was encrypted with a key that is no longer configured."""


class Cipher:
    """Encrypts with the first key, and decrypts with any, so that keys can be rotated."""

    def __init__(self, keys: Iterable[str]) -> None:
        try:
            fernets = [Fernet(key) for key in keys]
        except ValueError as error:
            raise SecretKeyMissing(
                f"{' or '.join(KEY_VARIABLES)} is not a Fernet key (32 bytes, URL-safe base64); make one with"
                ' python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            ) from error
        if not fernets:
            raise SecretKeyMissing(f"set {' or '.join(KEY_VARIABLES)}: stored credentials are encrypted with it")
        self._fernet = MultiFernet(fernets)

    @classmethod
    def from_environment(cls) -> Cipher:
        """Return the cipher of the first of `KEY_VARIABLES` that is set; commas separate several keys.

        :raises SecretKeyMissing: when none is set, or one is malformed.
        """
        for variable in KEY_VARIABLES:
            if value := os.environ.get(variable):
                return cls(key.strip() for key in value.split(",") if key.strip())
        return cls(())

    def encrypt(self, secret: str) -> bytes:
        """Return the ciphertext of `secret`."""
        return self._fernet.encrypt(secret.encode())

    def decrypt(self, ciphertext: bytes) -> str:
        """Return the secret.

        :raises SecretUnreadable: when no configured key fits.
        """
        try:
            return self._fernet.decrypt(ciphertext).decode()
        except InvalidToken as error:
            raise SecretUnreadable(
                f"a stored credential does not open with {' or '.join(KEY_VARIABLES)}: add the former key after a comma"
            ) from error

    def __repr__(self) -> str:
        return f"Cipher({MASK})"


def mask(message: str, secrets: Iterable[str] = (), *, longest: int = 500) -> str:
    """Return `message` without `secrets`, anything that looks like a token, and e-mail addresses.

    :param longest: characters kept; an outside system's error can be as long as a book.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            message = message.replace(secret, MASK)
    message = _SCHEMES.sub(rf"\1 {MASK}", message)
    message = _FIELDS.sub(rf"\1{MASK}", message)
    message = IN_TEXT.sub("<e-mail>", message)
    return message if len(message) <= longest else message[: longest - 1] + "…"
