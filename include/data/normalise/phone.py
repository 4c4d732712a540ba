"""Telephone numbers to E.164, read as they are written in the lead's country.

A number that no network there hands out becomes None; an extension is not part of E.164 and is left out.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from include.data.normalise.text import given

_LONGEST = 60  # characters
_LONGEST_E164 = 16  # characters, with the plus sign; some countries' patterns allow more
_ONE_TO_NINE = tuple("123456789")
_NATIONAL_ZERO = re.compile(r"\(0\)")


def phone(value: object, country: str | None) -> str | None:
    """Return `value` in E.164, e.g. `+49891234567`, or None.

    :param country: ISO 3166-1 alpha-2, for numbers without an international prefix.
    """
    line = given(value)
    return None if line is None or len(line) > _LONGEST else _phone(line, country)


def phone_given(value: object) -> bool:
    """Tell whether somebody meant to give a number: `-`, `none` and `000` are not one."""
    line = given(value)
    return line is not None and any(unicodedata.digit(c, 0) > 0 for c in line)


def is_of_country(number: str, country: str) -> bool:
    """Tell whether an E.164 number is of a country (ISO 3166-1 alpha-2), or may be, because it is of no single one."""
    code = phonenumbers.country_code_for_region(country)
    if not number.startswith(f"+{code}"):
        return not code or _country_of(number) is None
    if len(phonenumbers.region_codes_for_country_code(code)) == 1:
        return True  # nearly every country; to take the number apart would cost twenty times as much
    return _country_of(number) in {country, None}


@lru_cache(50_000)
def _phone(line: str, country: str | None) -> str | None:
    plain = _NATIONAL_ZERO.sub("", line)
    if not plain.lstrip("(").startswith("+") and re.sub(r"\D", "", plain).startswith("00"):
        plain = re.sub(r"^[\s(]*0\D*0", "+", plain)
    number = _read(plain, country)
    if country and plain[:1] in _ONE_TO_NINE:
        # A spreadsheet drops the plus sign: 49891234567 in a row about Germany. Both readings can be numbers there;
        # a mobile one is then more likely, because it is what most people give.
        digits = re.sub(r"\D", "", plain)
        if digits.startswith(str(phonenumbers.country_code_for_region(country))):
            international = _read("+" + digits, None)
            if international and not (number and _is_mobile(number) and not _is_mobile(international)):
                number = international
    written = phonenumbers.format_number(number, PhoneNumberFormat.E164) if number else None
    return written if written and len(written) <= _LONGEST_E164 else None


def _read(plain: str, country: str | None) -> PhoneNumber | None:
    try:
        number = phonenumbers.parse(plain, country)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def _is_mobile(number: PhoneNumber) -> bool:
    return phonenumbers.number_type(number) == PhoneNumberType.MOBILE


@lru_cache(50_000)
def _country_of(number: str) -> str | None:
    try:
        region = phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None
    return region if region and len(region) == 2 and region.isalpha() else None
