"""E-mail addresses: one notation to write to, and one key by which two addresses are the same person's.

It asks no name server: an address that reads well may still not exist.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

from include.data.normalise.text import given

_GMAIL = frozenset({"gmail.com", "googlemail.com"})
_LONGEST = 320  # characters: longer is no address, and need not be read
# Addresses about which every standard agrees need no library: it would cost ten times as much.
_ORDINARY = re.compile(
    r"(?=.{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@((?:(?![a-z0-9]{2}--)[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?\.)+)([a-z]{2,24})"
)
_NOT_PUBLIC = frozenset(name.rpartition(".")[2] for name in SPECIAL_USE_DOMAIN_NAMES)
_LONGEST_ORDINARY = 200  # characters; near the limit of 254 the library counts
_BETWEEN = r"\s\"'<>\[\](){}:,;=/"
IN_TEXT = re.compile(rf"(?<![^{_BETWEEN}@])[^{_BETWEEN}@]++@[^{_BETWEEN}]+")
"""Whatever may be an address in a text, to be masked. Each word is read once and whole: read anew from each of its
letters, 80,000 letters took 16 s."""
_NAME_AND_ADDRESS = re.compile(r"[^<>]*<([^<>]+)>")


class Email(NamedTuple):
    """An address that can be written to.

    :param address: lower case, the domain in its ASCII form; an alias (`anna+news@`) is kept.
    :param key: the same without alias, and without dots where the provider ignores them.
    :param domain: ASCII form.
    """

    address: str
    key: str
    domain: str


def email(value: object) -> Email | None:
    """Read an address as people paste it (`Anna <anna@x.org>`, `mailto:`, stray spaces), or return None."""
    line = given(value)
    return None if line is None or len(line) > _LONGEST else _email(line)


@lru_cache(50_000)
def _email(line: str) -> Email | None:
    named = _NAME_AND_ADDRESS.fullmatch(line)
    bare = (named[1] if named else line).strip().removeprefix("mailto:").rstrip(",;").strip()
    if bare[:1] in {'"', "'"} and bare[:1] == bare[-1:]:
        bare = bare[1:-1]
    bare = bare.lower()
    ordinary = _ORDINARY.fullmatch(bare)
    if ordinary and ordinary[2] not in _NOT_PUBLIC and len(bare) <= _LONGEST_ORDINARY:
        return _of(*bare.split("@"))
    try:
        read = validate_email(bare, check_deliverability=False)
    except (EmailNotValidError, ValueError):
        return None
    if not read.ascii_domain:
        return None
    return _of(read.local_part, read.ascii_domain)


def _of(local: str, domain: str) -> Email:
    return Email(f"{local}@{domain}", _key(local, domain), domain)


def _key(local: str, domain: str) -> str:
    name = local.partition("+")[0] or local
    if domain in _GMAIL:
        return f"{name.replace('.', '') or name}@gmail.com"
    return f"{name}@{domain}"
