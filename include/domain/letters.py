"""Turns a letter's template into a mail: subject, text and HTML from the same words, with footer and headers.

A template is plain paragraphs. Who gets which letter, and whether, is decided by the workflow that sends it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.contracts.documents import DocumentError, read

FILE = Path(__file__).with_name("letters.yaml")
LANGUAGES = ("en", "de", "fr", "es")

LONGEST_NAME = 40
"""Characters of a first name that we greet with."""

_PAGE = """\
<!doctype html>
<html lang="{{ language }}">
<head><meta charset="utf-8"><title>{{ subject }}</title></head>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 40em">
{% for paragraph in paragraphs %}<p>{{ paragraph }}</p>
{% endfor %}<hr>
<p style="color: #555; font-size: small">{{ reason }}<br>
{{ objection }} <a href="mailto:{{ unsubscribe }}">{{ unsubscribe }}</a>.<br>
{{ postal_address }}</p>
</body>
</html>
"""


class Words(BaseModel):
    """The words around a letter in one language."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    greeting: str
    greeting_nameless: str
    consent: str
    client: str
    objection: str


class Stationery(BaseModel):
    """What every mail has in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: str = Field(alias="from")
    unsubscribe: str
    postal_address: str
    default_language: Literal["en", "de", "fr", "es"]
    language_of_country: dict[Literal["en", "de", "fr", "es"], list[str]]
    words: dict[Literal["en", "de", "fr", "es"], Words] = Field(min_length=len(LANGUAGES))


@dataclass(frozen=True)
class Letter:
    """Which template goes to whom.

    :param basis: why we may write: the person's consent, or the contract with a client.
    """

    folder: Path
    template: str
    language: str
    to: str
    first_name: str | None
    values: Mapping[str, Any]
    basis: Literal["consent", "client"] = "consent"
    reply_to: str | None = None


@cache
def stationery() -> Stationery:
    """Read letters.yaml once per process. DocumentError says what is wrong with it."""
    try:
        return Stationery.model_validate(read(FILE))
    except ValidationError as error:
        raise DocumentError(f"{FILE.name}: {error}") from None


def language_for(language: str | None, country: str | None) -> str:
    """The language to write in: the person's own where we have it, else their country's, else the default."""
    wanted = (language or "").replace("_", "-").split("-")[0].lower()
    if wanted in LANGUAGES:
        return wanted
    known = stationery()
    for candidate, countries in known.language_of_country.items():
        if not wanted and country in countries:
            return candidate
    return known.default_language


def salutation(first_name: str | None, language: str) -> str:
    """The greeting, with the name only where it looks like one.

    A form can be filled in to make us carry somebody's words to a stranger: a name has no digits, dots or slashes.
    """
    words = stationery().words[language]  # type: ignore[index]  # LANGUAGES are the keys
    name = " ".join((first_name or "").split())
    return words.greeting.format(name=name) if _is_a_name(name) else words.greeting_nameless


def _is_a_name(text: str) -> bool:
    fits = all(unicodedata.category(letter)[0] in "LM" or letter in " -'’‘`´·" for letter in text)
    return bool(text) and fits and text[0].isalpha() and len(text) <= LONGEST_NAME


def write(letter: Letter) -> dict[str, Any]:
    """The payload of send_mail: to, from, subject, text, html and headers.

    The template's first line is the subject; paragraphs are parted by blank lines. Values are escaped in HTML.

    :raises jinja2.TemplateNotFound: when there is no such template in the language.
    :raises jinja2.UndefinedError: when the template names a value that is not given.
    """
    known = stationery()
    words = known.words[letter.language]  # type: ignore[index]  # LANGUAGES are the keys
    values = {**letter.values, "greeting": salutation(letter.first_name, letter.language)}
    subject, text = _render(letter, values, escape=False)
    _, html = _render(letter, values, escape=True)
    subject = " ".join(subject.split())
    reason = words.consent if letter.basis == "consent" else words.client
    page = _page().render(
        language=letter.language,
        subject=subject,
        paragraphs=[Markup(part.replace("\n", "<br>\n")) for part in _paragraphs(html)],  # noqa: S704 - escaped above
        reason=reason,
        objection=words.objection,
        unsubscribe=known.unsubscribe,
        postal_address=known.postal_address,
    )
    footer = f"{reason}\n{words.objection} {known.unsubscribe}.\n{known.postal_address}"
    headers = {"List-Unsubscribe": f"<mailto:{known.unsubscribe}>", "Auto-Submitted": "auto-generated"}
    if letter.reply_to:
        headers["Reply-To"] = letter.reply_to
    return {
        "to": letter.to,
        "from": known.sender,
        "subject": subject,
        "text": "\n\n".join([*_paragraphs(text), f"-- \n{footer}\n"]),
        "html": page,
        "headers": headers,
    }


def _render(letter: Letter, values: Mapping[str, Any], *, escape: bool) -> tuple[str, str]:
    rendered = _template(letter.folder, f"{letter.template}.{letter.language}.j2", escape).render(values)
    subject, _, body = rendered.partition("\n")
    return subject, body


def _paragraphs(body: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", body) if part.strip()]


def preload() -> None:
    """Compile every letter once, in the process whose children write them."""
    stationery()
    for path in sorted(Path(__file__).parent.glob("*/templates/*.j2")):
        for escape in (False, True):
            _template(path.parent, path.name, escape)


@cache
def _template(folder: Path, name: str, escape: bool) -> Template:
    # The text part must not be escaped; the HTML part always is.
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=escape,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template(name)


@cache
def _page() -> Template:
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(_PAGE)
