"""A letter says the same in text and in HTML, and cannot be misused by what somebody typed into a form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.domain import letters
from include.domain.letters import LANGUAGES, Letter, language_for, salutation, write

DOMAIN = Path(letters.__file__).parent
VALUES = {
    "lead_to_client": {"owner": "Lucía & Söhne", "hours": "4"},
    "deal_to_client": {"team": "Customer success"},
}
TEMPLATES = sorted(
    (workflow, file.name.split(".")[0])
    for workflow in VALUES
    for file in (DOMAIN / workflow / "templates").glob("*.en.j2")
)


def letter(workflow="lead_to_client", template="personal", language="en", **changes) -> Letter:
    return Letter(
        **{
            "folder": DOMAIN / workflow / "templates",
            "template": template,
            "language": language,
            "to": "ada@example.com",
            "first_name": "Ada",
            "values": VALUES[workflow],
            **changes,
        }
    )


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("workflow", "template"), TEMPLATES)
def test_every_letter_is_complete_in_every_language(workflow, template, language):
    mail = write(letter(workflow, template, language))
    assert mail["subject"]
    assert "\n" not in mail["subject"]
    for part in (mail["text"], mail["html"]):
        assert "{{" not in part
        assert "Ada" in part
        assert letters.stationery().unsubscribe in part
        assert letters.stationery().postal_address in part
    assert f'<html lang="{language}">' in mail["html"]
    assert mail["headers"]["List-Unsubscribe"] == "<mailto:unsubscribe@example.com>"


@pytest.mark.parametrize("file", sorted(DOMAIN.glob("*/templates/*.j2")), ids=lambda file: file.name)
def test_templates_hold_no_markup_because_text_and_html_come_from_the_same_words(file):
    assert not re.search(r"[<>&]", file.read_text(encoding="utf-8"))


def test_values_are_escaped_in_html_and_plain_in_text():
    mail = write(letter())
    assert "Lucía &amp; Söhne" in mail["html"]
    assert "Lucía & Söhne" in mail["text"]
    assert "&" not in mail["subject"].replace("Lucía & Söhne", "")


def test_consent_is_named_to_a_lead_and_the_contract_to_a_client():
    assert "because you agreed" in write(letter())["text"]
    assert "because you are our client" in write(letter("deal_to_client", "welcome", basis="client"))["text"]


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "  ",
        "http://spam.example",
        "Win 1000",
        "<b>Ada</b>",
        "a@b.example",
        "x" * 41,
        "www.spam",
        "A\x00",
        "Ada\u202e",
    ],
)
def test_what_does_not_look_like_a_name_is_not_repeated(name):
    assert salutation(name, "en") == "Hello,"


@pytest.mark.parametrize("name", ["Ada", "Jean-Luc", "O'Brien", "María José", "李", "محمد", "Øyvind"])
def test_names_of_all_scripts_are_greeted(name):
    assert salutation(name, "en") == f"Hello {name},"


@given(st.text())
def test_no_name_breaks_a_mail(name):
    mail = write(letter(first_name=name, values={"owner": name, "hours": "1"}))
    assert "\n" not in mail["subject"]
    assert "\r" not in mail["subject"]
    assert "<script" not in mail["html"].lower()


@pytest.mark.parametrize(
    ("language", "country", "expected"),
    [
        ("de", None, "de"), ("de-AT", "US", "de"), ("pt_BR", "DE", "en"), (None, "CH", "de"), (None, "MX", "es"),
        (None, "BE", "fr"), (None, "JP", "en"), (None, None, "en"), ("", "FR", "fr"),
    ],
)  # fmt: skip
def test_the_language_is_the_persons_then_the_countrys_then_english(language, country, expected):
    assert language_for(language, country) == expected
