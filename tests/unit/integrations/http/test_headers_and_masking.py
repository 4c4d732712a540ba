"""What a system's headers ask for, and what never appears in a text."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from include.integrations.http import Basic, Bearer, Cipher, HttpSystem, OAuth2, RateLimit, mask
from include.integrations.http.client import pause_asked
from include.integrations.http.secrets import SecretKeyMissing, SecretUnreadable

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "120"}, 120),
        (503, {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 30),
        (503, {"retry-after": "Wed, 21 Oct 2015 07:27:00 GMT"}, 0),
        (429, {"retry-after": "soon"}, None),
        (429, {"retry-after": "nan"}, None),
        (200, {"retry-after": "120"}, None),
        (200, {"ratelimit": '"default";r=0;t=7'}, 7),
        (200, {"ratelimit": '"default";r=3;t=7'}, None),
        (200, {"ratelimit": "limit=100, remaining=0, reset=5"}, 5),
        (200, {"ratelimit-remaining": "0", "ratelimit-reset": "9"}, 9),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 40)}, 40),
        (200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "40"}, None),
        (200, {"x-hubspot-ratelimit-remaining": "0", "x-hubspot-ratelimit-interval-milliseconds": "10000"}, 10),
        (429, {"retry-after": "2", "ratelimit-remaining": "0", "ratelimit-reset": "9"}, 2),
        (429, {}, None),
        (429, {"retry-after": "99999999999"}, 86_400),
    ],
)
def test_the_pause_a_system_asks_for_is_understood(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert pause_asked(status, headers, now=NOW) == seconds


@given(st.dictionaries(st.sampled_from(["retry-after", "ratelimit", "x-ratelimit-remaining"]), st.text(max_size=30)))
def test_no_header_breaks_the_reading_of_headers(headers: dict[str, str]) -> None:
    asked = pause_asked(429, headers)
    assert asked is None or 0 <= asked <= 86_400


def test_secrets_tokens_and_addresses_are_masked() -> None:
    told = mask(
        'Authorization: Bearer abc.def-123 {"refresh_token": "r-1", "access_token":"a-2"} client_secret=shh&x=1'
        " key s3cr3t-key, Email address erika@example.com is invalid",
        ["s3cr3t-key"],
    )
    for secret in ("abc.def-123", "r-1", "a-2", "shh", "s3cr3t-key", "erika"):
        assert secret not in told
    assert "is invalid" in told


@pytest.mark.parametrize("part", ["x", "a.", "a@", "x/", "bearer "])
def test_an_error_as_long_as_a_book_is_read_once_and_cut(part: str) -> None:
    assert len(mask(part * 300_000)) <= 500


def test_secrets_are_not_in_the_repr_of_a_system() -> None:
    for auth in (
        Bearer(SecretStr("shh-1")),
        Basic("user", SecretStr("shh-1")),
        OAuth2("https://x/token", "id", SecretStr("shh-1"), "c", "refresh_token", SecretStr("shh-1")),
    ):
        assert "shh-1" not in repr(HttpSystem("x", ("https://x.example",), auth=auth))


def test_an_address_with_a_password_in_it_is_refused() -> None:
    with pytest.raises(ValueError, match="auth") as refused:
        HttpSystem("x", ("https://user:shh-1@x.example",))
    assert "shh-1" not in str(refused.value)


def test_a_former_key_still_opens_what_it_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    closed = Cipher([old]).encrypt("token")
    assert b"token" not in closed
    monkeypatch.delenv("WAYBILL_SECRET_KEY", raising=False)
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", f"{new},{old}")
    assert Cipher.from_environment().decrypt(closed) == "token"
    monkeypatch.setenv("WAYBILL_SECRET_KEY", new)
    with pytest.raises(SecretUnreadable, match="former key"):
        Cipher.from_environment().decrypt(closed)


@pytest.mark.parametrize("key", ["", "short"])
def test_a_missing_or_malformed_key_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("WAYBILL_SECRET_KEY", key)
    monkeypatch.delenv("AIRFLOW__CORE__FERNET_KEY", raising=False)
    with pytest.raises(SecretKeyMissing, match="WAYBILL_SECRET_KEY"):
        Cipher.from_environment()


@given(st.integers(1, 500), st.floats(0.1, 100), st.data())
def test_no_window_holds_more_calls_than_the_limit(calls: int, seconds: float, data: st.DataObject) -> None:
    limit = RateLimit(calls, seconds, burst=data.draw(st.integers(1, calls)))
    within_window = limit.at_once + int(seconds / limit.spacing * (1 - 1e-9))
    assert within_window <= max(calls, limit.at_once)
