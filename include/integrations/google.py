"""Service accounts of Google: what their key files hold, and how they prove themselves.

Source: developers.google.com/identity/protocols/oauth2/service-account, "Preparing to make an authorized API call".
It calls nothing; `include.integrations.http` does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import SecretStr

from include.integrations.http import BY_ASSERTION, OAuth2

LIFE = 3600
"""Seconds for which an assertion is good: the longest that Google takes."""


class KeyUnusable(ValueError):
    """What was entered is no key of a service account."""


@dataclass(frozen=True)
class ServiceAccount:
    """A service account.

    :param email: its address; what it may see is shared with it.
    """

    email: str
    key: SecretStr
    key_id: str
    token_url: str

    @classmethod
    def read(cls, written: str | dict[str, Any] | None) -> ServiceAccount:
        """Return the account of a key file, as text or parsed.

        :raises KeyUnusable: with what is wrong, and nothing of the key.
        """
        try:
            found: dict[str, Any] = orjson.loads(written) if isinstance(written, str) else written or {}
            email, key, token_url = (str(found[name]) for name in ("client_email", "private_key", "token_uri"))
            usable = found.get("type") == "service_account" and isinstance(
                load_pem_private_key(key.encode(), password=None), RSAPrivateKey
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            usable = False
        if not usable:
            raise KeyUnusable("the key is not the whole JSON file of a service account's key, as Google gave it")
        return cls(email, SecretStr(key), str(found.get("private_key_id") or ""), token_url)

    def oauth(self, scope: str, credential: str) -> OAuth2:
        """Return how it obtains access tokens for a scope.

        :param credential: the name under which they are shared.
        """
        return OAuth2(
            token_url=self.token_url,
            client_id=self.email,
            client_secret=self.key,
            credential=credential,
            grant=BY_ASSERTION,
            scope=scope,
            assertion=lambda: self._assertion(scope),
        )

    def _assertion(self, scope: str) -> str:
        now = int(time.time())
        claims = {"iss": self.email, "scope": scope, "aud": self.token_url, "iat": now, "exp": now + LIFE}
        headers = {"kid": self.key_id} if self.key_id else None
        return jwt.encode(claims, self.key.get_secret_value(), algorithm="RS256", headers=headers)
