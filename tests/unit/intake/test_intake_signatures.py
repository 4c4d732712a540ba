"""Every scheme against vectors that others published, and against everything that must not pass."""

from __future__ import annotations

import hmac
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

from include.intake import signatures
from include.intake.signatures import Message, Refused, Scheme, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
URL = "https://hooks.example.com/intake/x"
SIGNED = [scheme for scheme in Scheme if scheme not in (Scheme.NONE, Scheme.HANDOFF)]
TIMED = [Scheme.STANDARD_WEBHOOKS, Scheme.HUBSPOT, Scheme.SLACK, Scheme.STRIPE]
NOW = 1_700_000_000.0


def check(
    scheme: Scheme, headers: dict[str, str], body: bytes, *secrets: str, now: float = NOW, url: str = URL
) -> None:
    verify(scheme, secrets or [SECRET], Message("POST", url, headers, body), now=now, tolerance=300)


def signed(scheme: Scheme, body: bytes, secret: str = SECRET, now: float = NOW) -> dict[str, str]:
    return sign(scheme, secret, body, now=now, message_id="msg_1", url=URL)


def refusal(scheme: Scheme, headers: dict[str, str], body: bytes, *secrets: str, now: float = NOW) -> str:
    with pytest.raises(Refused) as refused:
        check(scheme, headers, body, *secrets, now=now)
    return refused.value.code


def test_the_published_vector_of_standard_webhooks_is_accepted() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    check(
        Scheme.STANDARD_WEBHOOKS, headers, b'{"test": 2432232314}', "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", now=1614265330
    )


def test_the_published_vector_of_github_is_accepted() -> None:
    headers = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    check(Scheme.HMAC_HEX, headers, b"Hello, World!", "It's a Secret to Everybody")


def test_the_published_vector_of_slack_is_accepted() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        "x-slack-request-timestamp": "1531420618",
    }
    check(Scheme.SLACK, headers, body, "8f742231b10e8888abcd99yyyzzz85a5", now=1531420618)


def test_what_the_standard_webhooks_library_signs_is_accepted_and_the_other_way_round() -> None:
    body = '{"name": "Ærø 🚚"}'
    now = datetime.now(tz=UTC).replace(microsecond=0)
    library = {
        "webhook-id": "msg_2",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("msg_2", now, body),
    }
    check(Scheme.STANDARD_WEBHOOKS, library, body.encode(), now=now.timestamp())
    ours = sign(Scheme.STANDARD_WEBHOOKS, SECRET, body.encode(), now=time.time(), message_id="msg_3")
    assert Webhook(SECRET).verify(body, ours) == {"name": "Ærø 🚚"}


def test_what_we_sign_for_slack_is_accepted_by_slacks_library() -> None:
    headers = sign(Scheme.SLACK, SECRET, b'{"a":1}', now=time.time())
    assert SignatureVerifier(SECRET).is_valid_request('{"a":1}', headers)


def test_hubspot_signs_the_address_with_the_documented_characters_decoded() -> None:
    import base64
    import hashlib

    url = "https://hooks.example.com/intake/hubspot?next=%2Fa%3Ab%20c"
    text = "POST" + "https://hooks.example.com/intake/hubspot?next=/a:b%20c" + '[{"a":1}]' + "1700000000000"
    mac = base64.b64encode(hmac.new(b"client-secret", text.encode(), hashlib.sha256).digest()).decode()
    headers = {"x-hubspot-signature-v3": mac, "x-hubspot-request-timestamp": "1700000000000"}
    check(Scheme.HUBSPOT, headers, b'[{"a":1}]', "client-secret", url=url)
    with pytest.raises(Refused):
        check(Scheme.HUBSPOT, headers, b'[{"a":1}]', "client-secret", url=url.replace("hubspot?", "website?"))


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_delivery_signed_with_the_secret_is_accepted(scheme: Scheme) -> None:
    check(scheme, signed(scheme, b'{"a":1}'), b'{"a":1}')


@pytest.mark.parametrize("scheme", SIGNED)
def test_while_a_secret_is_changed_the_old_and_the_new_one_are_good(scheme: Scheme) -> None:
    for secret in (SECRET, OTHER):
        check(scheme, signed(scheme, b"{}", secret), b"{}", OTHER, SECRET)
    assert refusal(scheme, signed(scheme, b"{}", SECRET), b"{}", OTHER) == "signature.wrong"


def test_a_secret_that_cannot_be_used_does_not_shut_out_the_good_one_beside_it() -> None:
    headers = signed(Scheme.STANDARD_WEBHOOKS, b"{}")
    check(Scheme.STANDARD_WEBHOOKS, headers, b"{}", "whsec_not!base64", SECRET)
    for unusable in ("whsec_not!base64", "whsec_"):
        with pytest.raises(ValueError, match="no secret"):
            check(Scheme.STANDARD_WEBHOOKS, headers, b"{}", unusable)


@pytest.mark.parametrize("scheme", SIGNED)
def test_another_body_is_refused(scheme: Scheme) -> None:
    assert refusal(scheme, signed(scheme, b'{"a":1}'), b'{"a":2}') == "signature.wrong"


@pytest.mark.parametrize("scheme", SIGNED)
def test_a_missing_signature_is_refused(scheme: Scheme) -> None:
    assert refusal(scheme, {"webhook-id": "msg_1", "webhook-timestamp": "1700000000"}, b"{}") == "signature.missing"


@pytest.mark.parametrize("scheme", SIGNED)
def test_no_secret_at_all_accepts_nothing(scheme: Scheme) -> None:
    with pytest.raises(Refused):
        verify(scheme, [], Message("POST", URL, signed(scheme, b"{}"), b"{}"), now=NOW, tolerance=300)


@pytest.mark.parametrize("scheme", TIMED)
@pytest.mark.parametrize("away", [-301, 301])
def test_a_delivery_signed_too_long_ago_or_in_the_future_is_refused(scheme: Scheme, away: int) -> None:
    headers = signed(scheme, b"{}")
    check(scheme, headers, b"{}", now=NOW + away / 301 * 299)
    assert refusal(scheme, headers, b"{}", now=NOW + away) == "timestamp.stale"


@pytest.mark.parametrize("scheme", TIMED)
def test_the_time_of_signing_cannot_be_moved(scheme: Scheme) -> None:
    old, new = signed(scheme, b"{}", now=NOW), signed(scheme, b"{}", now=NOW + 10_000)
    mixed = {name: new[name] if "timestamp" in name else value for name, value in old.items()}
    if scheme is Scheme.STRIPE:
        mixed = {"stripe-signature": old["stripe-signature"].replace("t=17", "t=18")}
        assert refusal(scheme, mixed, b"{}", now=NOW + 100_000_000) == "signature.wrong"
    else:
        assert refusal(scheme, mixed, b"{}", now=NOW + 10_000) == "signature.wrong"


def test_the_id_of_standard_webhooks_is_part_of_what_is_signed() -> None:
    headers = signed(Scheme.STANDARD_WEBHOOKS, b"{}")
    assert refusal(Scheme.STANDARD_WEBHOOKS, {**headers, "webhook-id": "msg_2"}, b"{}") == "signature.wrong"
    del headers["webhook-id"]
    assert refusal(Scheme.STANDARD_WEBHOOKS, headers, b"{}") == "signature.missing"


def test_one_good_signature_among_several_is_enough() -> None:
    headers = signed(Scheme.STANDARD_WEBHOOKS, b"{}")
    headers["webhook-signature"] = "v1a,xxx v1,AAAA " + headers["webhook-signature"]
    check(Scheme.STANDARD_WEBHOOKS, headers, b"{}")
    stripe = signed(Scheme.STRIPE, b"{}")
    stripe["stripe-signature"] += ",v1=00,v0=11"
    check(Scheme.STRIPE, stripe, b"{}")


def test_every_comparison_is_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr(signatures.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or False)
    for scheme in SIGNED:
        before = len(compared)
        refusal(scheme, signed(scheme, b"{}"), b"{}")
        assert len(compared) == before + 1


HEADERS = sorted(name for scheme in SIGNED for name in signed(scheme, b"{}"))


@given(
    scheme=st.sampled_from(SIGNED),
    headers=st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=60), max_size=4),
    body=st.binary(max_size=60),
)
def test_nothing_that_a_stranger_can_send_is_accepted_or_breaks(
    scheme: Scheme, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(Refused):
        check(scheme, headers, body)
