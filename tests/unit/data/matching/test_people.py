"""What is derived from a person for matching: keys, sounds, names that agree, blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.data.matching.people import Person, domain_stem, fold, given_forms, names_agree, sound


def person(first: str | None = None, last: str | None = None, **fields: str) -> Person:
    whole = " ".join(filter(None, (first, last))) or None
    return Person(0, first_name=first, last_name=last, full_name=whole, name_key=fold(whole), **fields)


@pytest.mark.parametrize(
    ("value", "folded"),
    [
        ("José  O'Brien", "jose o brien"),
        ("Groß-Müller", "gross muller"),
        ("王 小明", "王 小明"),
        ("محمد", "محمد"),
        (" .,- ", None),
        ("", None),
        (None, None),
    ],
)
def test_folding_drops_case_accents_and_punctuation(value: str | None, folded: str | None) -> None:
    assert fold(value) == folded


@given(st.text())
def test_folding_twice_is_folding_once(value: str) -> None:
    once = fold(value)
    assert fold(once) == once


# Vectors of the US National Archives, https://www.archives.gov/research/census/soundex
@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("washington", "w252"),
        ("lee", "l000"),
        ("gutierrez", "g362"),
        ("pfister", "p236"),
        ("jackson", "j250"),
        ("tymczak", "t522"),
        ("ashcraft", "a261"),
    ],
)
def test_sounds_are_the_archives_soundex(word: str, code: str) -> None:
    assert sound(word) == code


@given(st.text())
def test_every_text_has_a_sound(word: str) -> None:
    assert len(sound(word)) <= 6


@pytest.mark.parametrize(
    ("domain", "stem"),
    [("acme.com", "acme"), ("shop.acme.co.uk", "acme"), ("acme.co.uk", "acme"), ("localhost", "localhost")],
)
def test_a_domains_stem_is_its_registered_name(domain: str, stem: str) -> None:
    assert domain_stem(domain) == stem


def test_short_names_lead_to_the_full_ones() -> None:
    assert "william" in given_forms("bill")
    assert "johannes" in given_forms("hans")
    assert given_forms("zorblax") == ("zorblax",)


@pytest.mark.parametrize(
    ("one", "other", "agree"),
    [
        (("Anna", "Meier"), ("ANNA", "Meiér"), True),
        (("Anna", "Meier"), ("Meier", "Anna"), True),
        (("Bill", "Ford"), ("William", "Ford"), True),
        (("A.", "Meier"), ("Anna", "Meier"), True),
        (("Anna", "Meier"), ("Hanna", "Meier"), False),
        (("Anna", "Meier"), ("Anna", "Huber"), False),
        (("Till", "17"), ("Till", "18"), False),
        (("Anna", "Meier"), (None, None), None),
    ],
)
def test_names_agree_by_nickname_initial_and_order(
    one: tuple[str | None, str | None], other: tuple[str | None, str | None], agree: bool | None
) -> None:
    assert names_agree(person(*one), person(*other)) is agree
    assert names_agree(person(*other), person(*one)) is agree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("Anna", "Meier", domain="acme.de"), person("Meier", "Anna", domain="acme.de")),
        (person("Anna", "Meier", domain="acme.de"), person("Anna", "Mayer", domain="acme.at")),
        (person("Ana", "Meier", company_key="acme"), person("Anna", "Huber", company_key="acme")),
        (person("Anna", "Meier", city="Köln"), person("Anna", "Meyer", city="KOLN")),
        (Person(1, email_key="anna.meier@gmail.com"), Person(2, email_key="anna.meier@gmial.com")),
        (Person(1, phone="+4940123"), Person(2, phone="+4940123")),
    ],
)
def test_people_who_may_be_one_share_a_block(one: Person, other: Person) -> None:
    assert set(one.blocks) & set(other.blocks)


def test_one_fact_alone_makes_no_block() -> None:
    assert person("Anna", "Meier").blocks == ()
    assert Person(0, country="DE", city="Berlin", domain="acme.de").blocks == ()


def test_blocks_are_the_same_in_every_process() -> None:
    assert Person(0, phone="+4940123").blocks == (-6731165743338054063,)


def test_a_mailbox_of_a_function_is_no_sign_of_a_person() -> None:
    assert Person(0, email_key="info@acme.de").local is None
    assert Person(0, email_key="info@acme.de").has_role_address
    assert not Person(0).has_role_address


@given(st.builds(person, st.text(max_size=20), st.text(max_size=20), domain=st.text(min_size=1, max_size=9)))
def test_blocks_fit_the_database_and_swapping_names_keeps_them(found: Person) -> None:
    assert all(-(2**63) <= block < 2**63 for block in found.blocks)
