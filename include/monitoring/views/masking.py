"""Masks personal data for who may only look: by the name of a field, and by what an address or a number looks like.

A field that is not known to be harmless is hidden, and so is all free text: names cannot be told from other words. It
works on values that are shown; what is stored stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from include.data.normalise.email import IN_TEXT

HIDDEN = "[hidden]"
E_MAIL = "[e-mail]"
TELEPHONE = "[telephone]"


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


PERSONAL = _names("""
    email phone first_name last_name full_name region city postal_code job_title interest message referrer landing_page
    gclid fbclid msclkid requester entered_by received_by counter supplier_email justification attachments reason note
    description file zip postcode birthday age ip tax_id
""")
"""Fields that can tell of a person, or that hold free text; their numbers are hidden too. Unknown ones may as well."""

HARMLESS = _names("""
    consent consent_at given country language company company_name company_size employees website domain size
    external_id object_id submitted_at created created_at updated_at occurred_at at score utm_source utm_medium
    utm_campaign utm_term utm_content campaign source market territory segment segment_rule lifecycle_stage priority
    sla_hours match assigned_by due_at task_due_at
    id ids key keys deal_key contact_key company_key deal_id contact_id company_id event_id event_type form_id type
    ref kind state stage step system operation workflow captured assumed version count object
    number order order_id order_key order_number order_line department cost_centre category supplier supplier_name
    supplier_country supplier_state currency company_currency total net tax gross claimed_gross amount routed_amount
    rate rate_day tax_rate unit_price unit_cost price standard_cost needed_by requested_at ordered_at risk corrects
    invoice_date due_date received_on recorded_at matched_at booked_at posted_at closed_at opened_at arrived_at account
    lines line row item quantity sent_quantity posted received returned accepted invoiced unit lot expires_on condition
    verdict planned_for blind class need on_day scope found_on waybill erp figures policy digest group decimals
    tracking hazard abc active units decision decisions since
""")
"""Fields that never tell of a person; addresses and telephone numbers in them are masked all the same."""

CODES = _names("from to origin destination location from_location sheet reference")
"""Fields that hold a code in our documents, and anything in others': what looks like a code is shown."""

_CODE = re.compile(r"[A-Z0-9][A-Z0-9._/-]{0,39}")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# An international or a national number; what starts otherwise is more likely a date, an amount or an order's number.
_TELEPHONE = re.compile(
    r"(?<![\w-])(?:(?:\+|\(?0)[\d\s()./-]{5,20}\d|\(?[2-9]\d{2}\)?[-. ]\d{3}[-. ]\d{4})(?![\w-])",
)
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15
"""Digits of a telephone number; ITU-T E.164 has the upper limit."""
_LARGEST_NUMBER = 100_000
"""From here on a number in an unknown field may be a telephone number."""


def masked(document: Any, *, under: str = "") -> Any:
    """Return a JSON value without personal data, with the same fields and the same length of its lists.

    :param under: the name of the field that holds it; a list's entries are under the list's name.
    """
    if isinstance(document, Mapping):
        return {without_contacts(str(name)): masked(value, under=str(name)) for name, value in document.items()}
    if isinstance(document, list | tuple):
        return [masked(value, under=under) for value in document]
    if document is None or isinstance(document, bool) or document == "":
        return document
    name = _name(under)
    if isinstance(document, str):
        shown = name in HARMLESS or (name in CODES and _CODE.fullmatch(document))
        return without_contacts(document) if shown else HIDDEN
    may_tell = name in PERSONAL or (name not in HARMLESS and abs(document) >= _LARGEST_NUMBER)
    return HIDDEN if may_tell else document


def masked_body(body: str) -> str:
    """Return a delivery's body without personal data, set out for reading; what is not JSON is hidden as a whole."""
    try:
        document = json.loads(body)
    except ValueError:
        return HIDDEN if body else body
    return written(masked(document))


def without_contacts(text: str) -> str:
    """Return text without e-mail addresses and telephone numbers. Names stay: free text is to be hidden instead."""
    return _TELEPHONE.sub(_number, IN_TEXT.sub(E_MAIL, text))


def written(document: Any) -> str:
    """Return a JSON value set out for reading."""
    return json.dumps(document, ensure_ascii=False, indent=2, default=str)


def _name(field: str) -> str:
    """A field's name as the lists above have it: `firstName`, `First name` and `first-name` are `first_name`."""
    return re.sub(r"[\s-]+", "_", _HUMP.sub("_", field.strip())).lower()


def _number(found: re.Match[str]) -> str:
    digits = sum(character.isdigit() for character in found[0])
    return TELEPHONE if _FEWEST_DIGITS <= digits <= _MOST_DIGITS else found[0]
