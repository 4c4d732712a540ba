"""OAuth 2 access tokens that every process shares, renewed by one process at a time under a lease.

Client-credentials and refresh-token grants (RFC 6749, 4.4 and 6), and signed assertions (RFC 7523, 2.1); how a person
first grants access is not done here. An OAuth library would renew by itself, without the lease; what goes over the wire
is one form.
"""

from __future__ import annotations

import hashlib
import logging
import random
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import OperationalError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from include.integrations.http.errors import NotAuthorised, Unavailable
from include.integrations.http.secrets import Cipher, mask

log = logging.getLogger(__name__)

EARLY = 60.0  # seconds before its end at which a token is renewed, at most a tenth of its life
LIFE_UNSAID = 300.0  # seconds; RFC 6749 only recommends `expires_in`
REFUSED_FOR = 300.0  # seconds between two attempts with a credential that was refused
STORE_FOR = 60.0  # seconds during which storing a new refresh token is tried again

# A person who connects the system anew changes the seed, and what was stored under the former one is void.
ENSURE = text("""
insert into credentials as c (name, seed, refresh_token) values (:name, :seed, :refresh_token)
on conflict (name) do update
set seed = excluded.seed, refresh_token = excluded.refresh_token, access_token = null, expires_at = null,
    refusal = null, leased_by = null, leased_until = null, generation = c.generation + 1,
    updated_at = clock_timestamp()
where c.seed <> excluded.seed
""")
READ = text("""
select generation, access_token, expires_at, refusal, leased_until > clock_timestamp() as leased,
       extract(epoch from clock_timestamp() - updated_at)::float8 as age
from credentials where name = :name
""")
LEASE = text("""
update credentials set leased_by = :holder, leased_until = clock_timestamp() + :seconds * interval '1 second'
where name = :name and generation = :generation and coalesce(leased_until <= clock_timestamp(), true)
returning refresh_token
""")
# Not bound to the lease: a rotated refresh token is the only one left, even when the lease has run out.
STORE = text("""
update credentials
set access_token = :access_token, refresh_token = coalesce(:refresh_token, refresh_token),
    expires_at = :expires_at, generation = generation + 1, refusal = null,
    leased_by = null, leased_until = null, updated_at = clock_timestamp()
where name = :name and generation = :generation
""")
RELEASE = text("""
update credentials set leased_by = null, leased_until = null, refusal = cast(:refusal as text),
       updated_at = case when cast(:refusal as text) is null then updated_at else clock_timestamp() end
where name = :name and leased_by = :holder
""")


BY_ASSERTION: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True)
class OAuth2:
    """How to obtain access tokens for one account of one system.

    :param credential: the name under which tokens are shared; one per account, not per process.
    :param refresh_token: the one a person was given when connecting; rotated ones are kept in the database.
    :param assertion: makes the signed token that stands for the client in the grant `BY_ASSERTION`; the secret is the
        key that it is signed with, and is not sent.
    :param extra: further form fields that the token endpoint asks for, such as `audience`.
    :param timeout: seconds that the token endpoint may take.
    """

    token_url: str
    client_id: str
    client_secret: SecretStr
    credential: str
    grant: Literal["client_credentials", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"] = (
        "client_credentials"
    )
    refresh_token: SecretStr | None = None
    scope: str | None = None
    assertion: Callable[[], str] | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        if self.grant == "refresh_token" and self.refresh_token is None:
            raise ValueError(
                f"credential {self.credential}: the refresh-token grant needs a refresh token to begin with"
            )
        if (self.grant == BY_ASSERTION) != (self.assertion is not None):
            raise ValueError(f"credential {self.credential}: an assertion goes with its grant, and only with it")

    @property
    def seed(self) -> bytes:
        """A digest of what a person entered; it changes when they connect the system anew."""
        first = self.refresh_token.get_secret_value() if self.refresh_token else ""
        parts = (
            self.token_url,
            self.client_id,
            self.client_secret.get_secret_value(),
            self.grant,
            first,
            self.scope or "",
        )
        return hashlib.sha256("\0".join(parts).encode()).digest()


@dataclass(frozen=True)
class Token:
    """An access token, the generation of the credential it belongs to, and the Unix time of its renewal."""

    value: str = field(repr=False)
    generation: int
    renew_at: float


class CredentialStore:
    """Hands out the access token of one credential, and renews it."""

    def __init__(
        self, engine: Engine, system: str, oauth: OAuth2, http: httpx.Client, cipher: Cipher | None = None
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._system = system
        self._oauth = oauth
        self._http = http
        self._cipher = cipher or Cipher.from_environment()
        self._token: Token | None = None
        self._ensured = False

    def token(self, *, refused: Token | None = None) -> Token:
        """Return a token that is good for now.

        :param refused: a token that the system has just answered with 401; it is not handed out again.
        :raises NotAuthorised: when the system no longer accepts the credential.
        :raises Unavailable: when the token endpoint is away, or another process renews for too long.
        """
        held = self._token
        if held is not None and held != refused and held.renew_at > time.time():
            return held
        self._ensure()
        give_up_at = time.monotonic() + 2 * self._oauth.timeout
        while True:
            row = self._read()
            if token := self._usable(row, refused):
                self._token = token
                return token
            if row.refusal is not None and row.age < REFUSED_FOR:
                raise NotAuthorised(self._system, row.refusal, REFUSED_FOR - row.age)
            if not row.leased and self._renew(row.generation):
                continue
            if time.monotonic() > give_up_at:
                raise Unavailable(self._system, "another process is renewing its access token", self._oauth.timeout)
            time.sleep(random.uniform(0.05, 0.25))  # noqa: S311  not a secret

    def secrets(self) -> list[str]:
        """Return the strings that must not appear in any text."""
        configured = [self._oauth.client_secret, self._oauth.refresh_token]
        found = [secret.get_secret_value() for secret in configured if secret is not None]
        return found + ([self._token.value] if self._token else [])

    def _ensure(self) -> None:
        if self._ensured:
            return
        first = self._oauth.refresh_token
        values = {
            "name": self._oauth.credential,
            "seed": self._oauth.seed,
            "refresh_token": self._cipher.encrypt(first.get_secret_value()) if first else None,
        }
        with self._engine.connect() as connection:
            connection.execute(ENSURE, values)
        self._ensured = True

    def _read(self) -> Row[tuple[object, ...]]:
        with self._engine.connect() as connection:
            return connection.execute(READ, {"name": self._oauth.credential}).one()

    def _usable(self, row: Row[tuple[object, ...]], refused: Token | None) -> Token | None:
        if row.access_token is None or (refused is not None and row.generation <= refused.generation):
            return None
        life = row.expires_at.timestamp() - time.time()
        early = min(EARLY, max(life, 0.0) * 0.1) if refused is None else 0.0
        if life <= 0:
            return None
        value = self._cipher.decrypt(row.access_token)
        return Token(value=value, generation=row.generation, renew_at=time.time() + life - early)

    def _renew(self, generation: int) -> bool:
        """Renew under the lease; False when another process has it."""
        holder = uuid.uuid4()
        lease = {
            "name": self._oauth.credential,
            "holder": holder,
            "generation": generation,
            "seconds": 2 * self._oauth.timeout + STORE_FOR,
        }
        with self._engine.connect() as connection:
            row = connection.execute(LEASE, lease).one_or_none()
        if row is None:
            return False
        refusal: str | None = None
        try:
            answer = self._ask(self._cipher.decrypt(row.refresh_token) if row.refresh_token else None)
            self._store(generation, answer)
        except NotAuthorised as error:
            refusal = str(error).removeprefix(f"{self._system}: ")
            raise
        finally:
            with self._engine.connect() as connection:
                connection.execute(RELEASE, {"name": self._oauth.credential, "holder": holder, "refusal": refusal})
        return True

    def _ask(self, refresh_token: str | None) -> dict[str, object]:
        oauth = self._oauth
        client = (
            {"assertion": oauth.assertion()}
            if oauth.assertion
            else {
                "client_id": oauth.client_id,
                "client_secret": oauth.client_secret.get_secret_value(),
                **({"scope": oauth.scope} if oauth.scope else {}),
            }
        )
        form = {
            "grant_type": oauth.grant,
            **client,
            **({"refresh_token": refresh_token} if oauth.grant == "refresh_token" and refresh_token else {}),
            **oauth.extra,
        }
        try:
            response = self._http.post(oauth.token_url, data=form, timeout=oauth.timeout)
        except httpx.HTTPError as error:
            raise Unavailable(self._system, f"its token endpoint is away ({type(error).__name__})", 15.0) from None
        secrets = [*self.secrets(), *([refresh_token] if refresh_token else []), *filter(None, [form.get("assertion")])]
        if response.status_code in (400, 401, 403):
            detail = f"{response.status_code}: {mask(response.text, secrets, longest=200)}"
            raise NotAuthorised(
                self._system,
                f"the credential {oauth.credential} is refused ({detail}); connect the system"
                " again and enter the new refresh token or secret in its connection",
                REFUSED_FOR,
            )
        try:
            answer = response.json() if response.is_success else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise Unavailable(self._system, f"its token endpoint answered {response.status_code} without a token", 15.0)
        return answer

    def _store(self, generation: int, answer: Mapping[str, object]) -> None:
        life = answer.get("expires_in", LIFE_UNSAID)
        seconds = float(life) if isinstance(life, int | float | str) else LIFE_UNSAID
        rotated = answer.get("refresh_token")
        values = {
            "name": self._oauth.credential,
            "generation": generation,
            "access_token": self._cipher.encrypt(str(answer["access_token"])),
            "refresh_token": self._cipher.encrypt(rotated) if isinstance(rotated, str) and rotated else None,
            "expires_at": datetime.fromtimestamp(time.time() + seconds, UTC),
        }
        # The old refresh token may be worthless by now: a database away for a moment must not lose the new.
        for attempt in Retrying(
            retry=retry_if_exception_type(OperationalError),
            stop=stop_after_delay(STORE_FOR),
            wait=wait_random_exponential(multiplier=0.1, max=5),
            reraise=True,
        ):
            with attempt, self._engine.connect() as connection:
                connection.execute(STORE, values)
        log.info("credential %s: access token renewed, good for %.0f s", self._oauth.credential, seconds)
