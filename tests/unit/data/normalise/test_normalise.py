"""Values as people write them, and any text at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.data.normalise.companies import company, domain
from include.data.normalise.email import email
from include.data.normalise.languages import language
from include.data.normalise.names import name
from include.data.normalise.phone import is_of_country, phone, phone_given
from include.data.normalise.places import codes, country, postal_code
from include.data.normalise.text import fold, paragraphs, storable, text
from include.data.normalise.text import given as was_given
from include.data.normalise.touch import touches
from include.data.normalise.values import boolean, moment, whole_number
from include.domain.lead_to_client.normalise import Lead, normalised

any_text = st.text(st.characters(), max_size=40)  # lone surrogates and NUL included
wordy = st.text(st.sampled_from("aAbBzZ éÉßİıǅΣςŉﬁ.,'’-@+0190()\0\ud800\u200b\u0307山田أ"), max_size=14)
texts = st.one_of(any_text, wordy)
json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("written", "address", "key"),
    [
        ("  Anna.Schmidt@Firma.DE ", "anna.schmidt@firma.de", "anna.schmidt@firma.de"),
        ("anna+news@firma.de", "anna+news@firma.de", "anna@firma.de"),
        ("A.n.n.a+x@GoogleMail.com", "a.n.n.a+x@googlemail.com", "anna@gmail.com"),
        ("mailto:anna@firma.de", "anna@firma.de", "anna@firma.de"),
        ("Anna Schmidt <anna@firma.de>", "anna@firma.de", "anna@firma.de"),
        ("info@bücher.de", "info@xn--bcher-kva.de", "info@xn--bcher-kva.de"),
        ("info@xn--bcher-kva.de", "info@xn--bcher-kva.de", "info@xn--bcher-kva.de"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v"),
        ("anna\u200b@firma.de", "anna@firma.de", "anna@firma.de"),
    ],
)
def test_addresses_of_one_mailbox_have_one_key(written: str, address: str, key: str) -> None:
    read = email(written)
    assert read is not None
    assert (read.address, read.key) == (address, key)


@pytest.mark.parametrize(
    "written", ["anna", "anna@", "anna@firma", "a b@firma.de", "anna@@firma.de", "n/a", "", None, 7]
)
def test_what_is_no_address_is_none(written: object) -> None:
    assert email(written) is None


@given(
    st.from_regex(r"[a-z]([a-z.]{0,8}[a-z])?", fullmatch=True).filter(lambda n: ".." not in n),
    st.text("abc", min_size=1),
)
def test_aliases_case_and_dots_do_not_change_a_gmail_key(local: str, alias: str) -> None:
    variants = {f"{local}@gmail.com", f"{local}+{alias}@gmail.com", f"{local.upper()}@googlemail.com"}
    assert len({read.key for v in variants if (read := email(v))}) == 1


@given(
    st.one_of(
        st.emails(
            domains=st.sampled_from(["firma.de", "a.b-c.co.uk", "x.test", "localhost.local", "ab--c.de", "xn--a.de"])
        ),
        st.from_regex(r"[a-z0-9._+-]{1,66}@[a-z0-9.-]{1,66}\.[a-z]{1,6}", fullmatch=True),
    )
)
@settings(max_examples=400)
def test_the_short_way_for_ordinary_addresses_agrees_with_the_library(written: str) -> None:
    try:
        expected = validate_email(written.lower(), check_deliverability=False).ascii_email
    except EmailNotValidError:
        expected = None
    read = email(written)
    assert (read.address if read else None) == expected


@given(texts, texts)
def test_a_normalised_address_normalises_to_itself(local: str, host: str) -> None:
    read = email(f"{local}@{host}.de")
    if read:
        assert email(read.address) == read
        again = email(read.key)
        assert again is not None
        assert again.key == read.key


@pytest.mark.parametrize(
    ("written", "where", "expected"),
    [
        ("089 / 1234 567", "DE", "+49891234567"),
        ("+49 (0)89 1234567", None, "+49891234567"),
        ("0049 89 1234567", None, "+49891234567"),
        ("(202) 456-1111", "US", "+12024561111"),
        ("491701234567", "DE", "+491701234567"),
        (491701234567, "DE", "+491701234567"),
        ("tel:+44-20-7946-0018", None, "+442079460018"),
        ("+39 06 6982", None, "+39066982"),
        ("٠٨٩١٢٣٤٥٦٧", "DE", "+49891234567"),
        ("+49 89 1234567 ext. 12", None, "+49891234567"),
        ("089 1234567", None, None),
        ("12", "DE", None),
        ("call me", "DE", None),
        ("+1 000 000 0000", "US", None),
    ],
)
def test_telephone_numbers_are_read_as_in_their_country(
    written: object, where: str | None, expected: str | None
) -> None:
    assert phone(written, where) == expected


@given(
    st.one_of(texts, st.text("+0123456789 ()-/x.", max_size=20)),
    st.sampled_from([None, "DE", "US", "IT", "XK", "ZZ", "GB"]),
)
@example("+" + "9" * 15, None)
def test_a_number_is_e164_or_none_and_stays_what_it_is(written: str, where: str | None) -> None:
    read = phone(written, where)
    if read is not None:
        assert re.fullmatch(r"\+[1-9]\d{4,14}", read)
        assert phone(read, where) == phone(read, None) == read
        if where in codes():
            is_of_country(read, where)
    phone_given(written)


@pytest.mark.parametrize(
    ("number", "where", "expected"),
    [
        ("+49891234567", "DE", True),
        ("+33142685300", "DE", False),
        ("+12024561111", "US", True),
        ("+14165550123", "US", False),
        ("+14165550123", "CA", True),
        ("+80012345678", "DE", True),
        ("+441534440000", "GB", False),
    ],
)
def test_a_number_is_known_to_be_of_a_country(number: str, where: str, expected: bool) -> None:
    assert is_of_country(number, where) is expected


@pytest.mark.parametrize("written", ["-", "n/a", "000", "", None, "none"])
def test_a_placeholder_is_no_telephone_number_that_was_given(written: object) -> None:
    assert not phone_given(written)


@pytest.mark.parametrize(
    ("parts", "first", "last"),
    [
        (("Anna", "Schmidt", None), "Anna", "Schmidt"),
        ((None, None, "Anna Schmidt"), "Anna", "Schmidt"),
        ((None, None, "Schmidt, Anna"), "Anna", "Schmidt"),
        ((None, None, "DUPONT Marie"), "Marie", "Dupont"),
        (("DUPONT", "Marie", None), "Marie", "Dupont"),
        ((None, None, "Dr. Anna von der Leyen"), "Anna", "von der Leyen"),
        (("URSULA", "VON DER LEYEN", None), "Ursula", "von der Leyen"),
        (("ronald", "mcdonald", None), "Ronald", "McDonald"),
        (("sinéad", "o'connor", None), "Sinéad", "O'Connor"),
        (("Anna Schmidt", "Schmidt", None), "Anna", "Schmidt"),
        (("Anna Schmidt", None, None), "Anna", "Schmidt"),
        (("Anna Schmidt", "Anna Schmidt", None), "Anna", "Schmidt"),
        (("anna-lena", "MÜLLER", None), "Anna-Lena", "Müller"),
        (("DeShawn", "van Dyke", None), "DeShawn", "van Dyke"),
        (("JJ", "Abrams", None), "JJ", "Abrams"),
        (("Jennifer", "Null", None), "Jennifer", "Null"),
        ((None, None, "山田 太郎"), "太郎", "山田"),
        (("anna@firma.de", "Schmidt", None), None, "Schmidt"),
        ((None, None, "Madonna"), "Madonna", None),
        (("-", "n/a", "?"), None, None),
    ],
)
def test_names_keep_their_owner_s_spelling(parts: tuple[Any, Any, Any], first: str | None, last: str | None) -> None:
    read = name(*parts)
    assert (read.first, read.last) == (first, last)


@given(st.none() | texts, st.none() | texts, st.none() | texts)
@settings(max_examples=400)
def test_a_normalised_name_normalises_to_itself(first: str | None, last: str | None, full: str | None) -> None:
    read = name(first, last, full)
    assert name(read.first, read.last, read.full) == read


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller GmbH & Co. KG", "MULLER"),
        ("Acme, Inc.", "acme"),
        ("Société Générale S.A.", "Societe Generale"),
        ("Łódź Sp. z o.o.", "Lodz"),
        ("ООО Ромашка", "Ромашка"),
        ("Lumière S.à r.l.", "Lumiere Sarl"),
        ("Volvo AB (publ)", "Volvo"),
        ("株式会社日立", "日立"),
        ("Smith & Sons Ltd", "Smith + Sons Limited"),
    ],
)
def test_one_company_in_two_spellings_has_one_key(one: str, other: str) -> None:
    first, second = company(one), company(other)
    assert first is not None
    assert second is not None
    assert first.key == second.key


def test_a_company_that_is_all_legal_form_keeps_a_key() -> None:
    read = company("GmbH")
    assert read is not None
    assert read.key


@given(texts)
def test_a_company_name_normalises_to_itself(written: str) -> None:
    read = company(written)
    if read:
        assert company(read.name) == read


@pytest.mark.parametrize(
    ("website", "of_mail", "expected"),
    [
        ("https://www.firma.co.uk/about?x=1", None, "firma.co.uk"),
        ("Firma.de", "gmail.com", "firma.de"),
        (None, "mail.firma.de", "firma.de"),
        (None, "gmail.com", None),
        ("https://www.facebook.com/firma", "firma.de", "firma.de"),
        ("www.bücher.de", None, "xn--bcher-kva.de"),
        ("http://[::1", None, None),
        ("192.168.0.1", None, None),
        ("http://localhost", None, None),
        ("no website", None, None),
    ],
)
def test_a_domain_is_the_company_s_own_or_none(website: str | None, of_mail: str | None, expected: str | None) -> None:
    assert domain(website, of_mail) == expected


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("de", "DE"), ("DEU", "DE"), ("Germany", "DE"), ("Deutschland", "DE"), ("Allemagne", "DE"), ("Niemcy", "DE"),
        ("UK", "GB"), ("U.S.A.", "US"), ("United States of America", "US"), ("Österreich", "AT"), ("oesterreich", None),
        ("Schweiz", "CH"), ("Côte d’Ivoire", "CI"), ("日本", "JP"), ("US-CA", "US"), ("NA", "NA"), ("NO", "NO"),
        ("Kosovo", "XK"), ("The Netherlands", "NL"), ("Atlantis", None), ("n/a", None), ("", None),
    ],
)  # fmt: skip
def test_countries_are_known_by_code_and_name(written: str, code: str | None) -> None:
    assert country(written) == code


def test_every_country_code_is_its_own_country() -> None:
    assert {country(code) for code in codes()} == codes()


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("de_DE", "de-DE"), ("DE", "de"), ("deu", "de"), ("German", "de"), ("Deutsch", "de"), ("français", "fr"),
        ("zh-hant-TW", "zh-TW"), ("de-CH,de;q=0.9,en;q=0.8", "de-CH"), ("en_US.UTF-8", "en-US"), ("xx", None),
        ("whatever", None),
    ],
)  # fmt: skip
def test_languages_become_tags(written: str, tag: str | None) -> None:
    assert language(written) == tag


@pytest.mark.parametrize(
    ("written", "expected"),
    [("yes", True), ("JA", True), ("Oui", True), ("on", True), ("1", True), (1, True), (True, True), ("Sí", True),
     ("nein", False), ("off", False), (0, False), ("false", False), ("maybe", None), ("", None), (2, None),
     (None, None)],
)  # fmt: skip
def test_yes_and_no_in_several_languages(written: object, expected: bool | None) -> None:
    assert boolean(written) is expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [("1,200", 1200), ("1.200", 1200), ("51-200", 51), ("50+", 50), ("2k", 2000), ("over 500 people", 500), (12.7, 12),
     ("12.5", 12), ("-3", -3), ("many", None), ("99999999999", None), (float("nan"), None), (True, None)],
)  # fmt: skip
def test_whole_numbers(written: object, expected: int | None) -> None:
    assert whole_number(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-21T10:00:00Z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21T10:00:00+02:00", datetime(2026, 11, 21, 8, tzinfo=UTC)),
        ("2026-11-21 10:00:00 UTC", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2026-11-21", datetime(2026, 11, 21, tzinfo=UTC)),
        (1795255200, datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("1795255200000", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("21/11/2026", None),
    ],
)
def test_moments_are_in_utc(written: object, expected: datetime | None) -> None:
    assert moment(written) == expected


def test_the_landing_page_tells_how_the_visit_began_and_the_fields_what_came_last() -> None:
    page = "https://firma.de/?utm_source=Google&utm_campaign=Autumn&gclid=abc"
    first, last = touches({"landing_page": page, "utm_source": "Newsletter", "referrer": "https://x.org"})
    assert first == {"utm_source": "google", "utm_campaign": "Autumn", "gclid": "abc", "landing_page": page,
                     "referrer": "https://x.org"}  # fmt: skip
    assert last == {"utm_source": "newsletter", "landing_page": page, "referrer": "https://x.org"}
    assert touches({}) == (None, None)


def test_one_touch_stands_for_both_where_only_one_is_known() -> None:
    first, last = touches({"utm_source": "google"})
    assert first == last == {"utm_source": "google"}


@given(texts)
@settings(max_examples=400)
def test_text_functions_never_raise_and_change_their_own_results_no_more(written: str) -> None:
    for function in (text, paragraphs, fold, was_given, postal_code, country, language):
        once = function(written)
        assert once is None or isinstance(once, str)
        if once is not None and function is not country:
            assert function(once) == once
        assert "\0" not in (once or "")
        (once or "").encode()


@given(json_values)
@settings(max_examples=200)
def test_any_json_value_in_any_field_is_normalised_without_an_error(value: Any) -> None:
    lead = normalised(dict.fromkeys((*Lead._fields, "website", "landing_page", "gclid"), value))
    assert isinstance(lead, Lead)
    storable(value)
