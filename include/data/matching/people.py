"""A person as matching sees them, and what is derived from them: comparison fields and blocks.

Pure functions; reads no database and decides nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import blake2b

_ROLES = """
    accounting accounts admin administration anfrage bestellung billing booking bookings buchhaltung
    compras contact contact-us contacto customerservice einkauf enquiries finance hello help hi hola
    hr info information inquiries invoice invoices it jobs kontakt mail marketing office ops orders
    post purchasing recepcion reception rechnung sales secretary sekretariat service services shop
    support team ventas vertrieb webmaster welcome zentrale
"""
ROLE_ADDRESSES = frozenset(_ROLES.split())
"""Local parts that name a function, not a person: several people write from them."""

NICKNAMES = (
    ("johannes", "hans", "hannes", "johann"),
    ("josef", "joseph", "sepp", "beppo"),
    ("jose", "pepe"),
    ("francisco", "paco", "pancho"),
    ("ignacio", "nacho"),
    ("dolores", "lola"),
    ("giuseppe", "beppe", "peppe"),
    ("luigi", "gigi"),
    ("wolfgang", "wolf"),
    ("friedrich", "fritz"),
    ("heinrich", "heinz"),
    ("maximilian", "max"),
    ("sebastian", "basti"),
    ("tobias", "tobi"),
    ("susanne", "susi"),
    ("franziska", "franzi"),
    ("jan", "johannes"),
)
"""Given names outside English; English ones come from the package `nicknames`."""

_SECOND_LEVEL = frozenset({"co", "com", "org", "net", "ac", "gov", "edu", "gob", "gv"})
_SOUNDS = str.maketrans("bfpvcgjkqsxzdtlmnr", "111122222222334556")
_SEPARATORS = re.compile(r"[^\w]+|_+")
_DIGITS = re.compile(r"\d+")


def fold(value: str | None) -> str | None:
    """Return `value` in lower case without accents and punctuation, or None when nothing is left."""
    if not value:
        return None
    if not value.isascii():
        decomposed = unicodedata.normalize("NFKD", value.replace("ß", "ss"))
        value = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return " ".join(_SEPARATORS.sub(" ", value.casefold()).split()) or None


@cache
def sound(word: str) -> str:
    """Return the Soundex code of a folded word; a word that is not Latin is its own code.

    Source: the Soundex of the US National Archives, https://www.archives.gov/research/census/soundex.
    """
    if not word.isascii() or not word.isalpha():
        return word[:6]
    code, previous = word[0], word[0].translate(_SOUNDS)
    for letter in word[1:]:
        digit = letter.translate(_SOUNDS)
        if digit.isdigit() and digit != previous:
            code += digit
        if letter not in "hw":
            previous = digit
    return code[:4].ljust(4, "0")


@cache
def domain_stem(domain: str) -> str:
    """Return the registered name of a domain without its ending: `acme` for `shop.acme.co.uk`."""
    labels = domain.split(".")
    if len(labels) < 2:
        return domain
    cut = 3 if len(labels) > 2 and labels[-2] in _SECOND_LEVEL else 2
    return labels[-cut]


@cache
def given_forms(given: str) -> tuple[str, ...]:
    """Return a folded given name and the full names that it may be short for."""
    forms = {given} | _nicknamer().canonicals_of(given)
    forms |= {names[0] for names in NICKNAMES if given in names}
    return tuple(sorted(forms))


@cache
def _nicknamer():  # type: ignore[no-untyped-def]
    from nicknames import NickNamer  # noqa: PLC0415 - reads its file on import

    return NickNamer()


@dataclass(frozen=True)
class Person:
    """One lead, or one contact of the directory. Every field may be missing.

    :param ref: the lead's case id, or the contact's id.
    :param external: the sender's own id of this person, `<source>/<id>`.
    """

    ref: Hashable
    email: str | None = None
    email_key: str | None = None
    phone: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    full_name: str | None = None
    name_key: str | None = None
    company: str | None = None
    company_key: str | None = None
    domain: str | None = None
    country: str | None = None
    city: str | None = None
    postal_code: str | None = None
    external: str | None = None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The folded words of the whole name, sorted, so that swapped fields compare equal."""
        whole = fold(self.name_key) or fold(self.full_name) or fold(f"{self.first_name or ''} {self.last_name or ''}")
        return tuple(sorted((whole or "").split()))

    @cached_property
    def name(self) -> str | None:
        """The words of the name as one text."""
        return " ".join(self.words) or None

    @cached_property
    def first(self) -> str | None:
        """The folded given name."""
        return fold(self.first_name)

    @cached_property
    def last(self) -> str | None:
        """The folded family name."""
        return fold(self.last_name)

    @cached_property
    def given(self) -> tuple[str, ...]:
        """The given name and what it may be short for."""
        return given_forms(self.first.split()[0]) if self.first else ()

    @cached_property
    def place(self) -> str | None:
        """The folded city."""
        return fold(self.city)

    @cached_property
    def organisation(self) -> str | None:
        """The folded company."""
        return fold(self.company_key)

    @cached_property
    def organisation_head(self) -> str | None:
        """The first word of the company: subsidiaries usually share it."""
        return self.organisation.split()[0] if self.organisation else None

    @cached_property
    def stem(self) -> str | None:
        """The company's domain without its ending."""
        return domain_stem(self.domain) if self.domain else None

    @cached_property
    def local(self) -> str | None:
        """The e-mail address before the @, unless it names a function."""
        local = (self.email_key or "").partition("@")[0]
        return None if not local or local in ROLE_ADDRESSES else local

    @property
    def has_role_address(self) -> bool:
        """Whether the e-mail address names a function, not a person."""
        return bool(self.email_key) and self.local is None

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The numbers in the name: `Till 17` and `Till 18` are two."""
        return tuple(_DIGITS.findall(self.name or ""))

    @cached_property
    def blocks(self) -> tuple[int, ...]:
        """The buckets in which this person is looked for; two people without a common one are never compared.

        Each joins at least two facts, so that a bucket stays small however large the directory grows.
        """
        found: list[tuple[str, ...]] = []
        if self.phone:
            found.append(("phone", self.phone))
        if self.local and len(self.local) > 3:
            found.append(("mailbox", self.local, (self.email_key or "").partition("@")[2][:1]))
        parts = {sound(word) for word in ((self.first or "").split()[:1] + (self.last or "").split()[-1:])}
        parts = parts or {sound(word) for word in self.words[:3]}
        for part in parts:
            if self.stem:
                found.append(("domain", part, self.stem))
            if self.organisation_head and self.organisation_head != self.stem:
                found.append(("company", part, self.organisation_head))
        if len(parts) > 1 and self.place:
            found.append(("city", *sorted(parts), self.place))
        if len(self.words) > 1 and self.country:
            found.append(("country", self.name or "", self.country))
        return tuple({_hash(block) for block in found})


def _hash(block: tuple[str, ...]) -> int:
    digest = blake2b("\x1f".join(block).encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def names_agree(one: Person, other: Person) -> bool | None:
    """Tell whether two names can be one person's by nickname, initial, order or accents.

    None when one is missing. Typing errors are not looked at: that is for the model.
    """
    if not one.words or not other.words:
        return None
    if one.words == other.words:
        return True
    if not (one.first and one.last and other.first and other.last):
        return False
    if one.last != other.last or one.numbers != other.numbers:
        return False
    initial = one.first[0] == other.first[0] and 1 in (len(one.first), len(other.first))
    return initial or not set(one.given).isdisjoint(other.given)
