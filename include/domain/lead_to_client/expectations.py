"""What a lead must be like to go on, and what a batch is usually like: the reviewed rules of the step `validate`.

`critical` sets a lead aside, `warning` only leaves an event. A missing consent is neither: it bars the mail only.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.data.normalise.phone import is_of_country, phone_given
from include.data.normalise.places import codes
from include.data.normalise.text import given
from include.data.validation.runner import meta

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

CLOCKS_DIFFER = timedelta(days=1)
"""A moment may be this far ahead: clocks are wrong, and a local time without its zone is up to 14 h off."""

FEWEST_FOR_A_SHARE = 20  # leads of one source in a batch; of fewer, a share says nothing
LEAST_USABLE = 0.8  # share of a source's leads in a batch
LARGEST_BATCH = 50_000  # leads
LONGEST = {
    "email": 254,  # RFC 5321
    "full_name": 200,
    "company": 200,
    "job_title": 200,
    "city": 100,
    "region": 100,
    "postal_code": 20,
    "interest": 1_000,
    "message": 20_000,
    "external_id": 200,
}  # characters

_RAW = ("email", "phone", "country", "consent")


def observed(leads: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    """Return the frame that the suite looks at: the leads, and a column of yes or no for each cross-field rule.

    :param leads: columns of `leads` and `sent`, the lead's fields as they were sent or corrected.
    :param now: a moment with a zone.
    """
    frame = leads.drop(columns=["sent"]).reset_index(drop=True)
    sent = leads["sent"].tolist()
    for name in _RAW:
        frame[f"sent_{name}"] = pd.Series([fields.get(name) for fields in sent], dtype=object)
    email, phone = frame["email"].notna(), frame["phone"].notna()
    email_given = frame["sent_email"].map(given).notna()
    phone_sent = frame["sent_phone"].map(phone_given).astype(bool)
    frame["email_can_exist"] = email | ~email_given
    frame["phone_can_exist"] = phone | ~phone_sent
    frame["country_is_known"] = frame["country"].notna() | frame["sent_country"].map(given).isna()
    # Where what was given cannot be read, that is the fault to mend, and not that nothing was given.
    frame["can_be_reached"] = email | phone | email_given | phone_sent
    frame["has_a_name"] = frame["full_name"].notna() | frame["company"].notna()
    frame["consent_is_clear"] = frame["consent"].notna() | frame["sent_consent"].map(given).isna()
    frame["consent_and_its_date_agree"] = frame["consent_at"].isna() | (frame["consent"] != False)  # noqa: E712
    latest = now + CLOCKS_DIFFER
    for name in ("consent_at", "submitted_at"):
        frame[f"{name}_is_past"] = frame[name].isna() | (pd.to_datetime(frame[name], utc=True) <= latest)
    frame["phone_is_of_country"] = [
        not number or not country or is_of_country(number, country)
        for number, country in zip(frame["phone"], frame["country"], strict=True)
    ]
    frame["too_long"], frame["too_long_field"] = _too_long(frame)
    return frame


def _too_long(frame: pd.DataFrame) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """What is too long in each row, in words, and the first such field; None where nothing is."""
    told = pd.Series([None] * len(frame), dtype=object)
    field = told.copy()
    for column, longest in reversed(LONGEST.items()):
        longer = frame[column].map(lambda value, most=longest: value is not None and len(value) > most).astype(bool)
        told[longer] = f"the field {column} has more than {longest} characters"
        field[longer] = column
    return told, field


def lead_suite() -> ExpectationSuite:
    """Return the rules for single leads."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415

    gxe: Any = import_module("great_expectations.expectations")

    def holds(column: str, code: str, message: str, field: str, severity: str = "critical") -> Any:
        return gxe.ExpectColumnValuesToBeInSet(
            column=column, value_set=[True], severity=severity, meta=meta(code, message, field)
        )

    return ExpectationSuite(
        name="leads",
        expectations=[
            holds(
                "can_be_reached",
                "lead.contact_missing",
                "There is neither an e-mail address nor a telephone number. Find one in the message, or discard it.",
                "email",
            ),
            holds(
                "has_a_name",
                "name.missing",
                "There is neither a person's name nor a company. Add one of them from the message or the address.",
                "full_name",
            ),
            holds(
                "email_can_exist",
                "email.invalid",
                "“{sent_email}” cannot be an e-mail address. Correct it, or clear it when there is a telephone number.",
                "email",
            ),
            holds(
                "phone_can_exist",
                "phone.invalid",
                "“{sent_phone}” is no telephone number of the lead's country, or it lacks its country code."
                " Correct it, or clear it when there is an e-mail address.",
                "phone",
            ),
            gxe.ExpectColumnValuesToMatchRegex(
                column="phone",
                regex=r"^\+[1-9]\d{5,14}$",
                severity="critical",
                meta=meta("phone.not_e164", "“{phone}” is not in international notation. Correct the number.", "phone"),
            ),
            holds(
                "country_is_known",
                "country.unknown",
                "“{sent_country}” is not known as a country. Write its two-letter code.",
                "country",
            ),
            gxe.ExpectColumnValuesToBeInSet(
                column="country",
                value_set=sorted(codes()),
                severity="critical",
                meta=meta("country.not_iso", "“{country}” is not a country code of ISO 3166.", "country"),
            ),
            gxe.ExpectColumnValuesToMatchRegex(
                column="language",
                regex=r"^[a-z]{2,3}(?:-[A-Z]{2})?$",
                severity="critical",
                meta=meta("lead.language", "“{language}” is not a language tag such as de or de-CH.", "language"),
            ),
            holds(
                "consent_is_clear",
                "consent.unclear",
                "“{sent_consent}” is neither yes nor no. Ask whoever runs the source; never guess a yes.",
                "consent",
            ),
            holds(
                "consent_and_its_date_agree",
                "consent.contradictory",
                "The person did not agree to be written to, and yet there is a date on which they did. Ask the source.",
                "consent",
            ),
            holds(
                "consent_at_is_past",
                "consent.in_future",
                "The consent is dated {consent_at}, which is in the future. Ask the source for the right date.",
                "consent_at",
            ),
            holds(
                "submitted_at_is_past",
                "lead.submitted_in_future",
                "The lead is dated {submitted_at}, which is in the future. Correct the date.",
                "submitted_at",
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="company_size",
                min_value=0,
                max_value=10_000_000,
                severity="critical",
                meta=meta("lead.company_size", "{company_size} is no number of employees. Correct it.", "company_size"),
            ),
            # One rule for all fields, because each expectation costs every batch, and a single lead waits for it.
            gxe.ExpectColumnValuesToBeNull(
                column="too_long",
                severity="critical",
                meta=meta(
                    "lead.too_long", "Too long: {too_long}. Shorten it, or discard the lead.", "{too_long_field}"
                ),
            ),
            holds(
                "phone_is_of_country",
                "phone.other_country",
                "The telephone number is of another country than the lead.",
                "phone",
                severity="warning",
            ),
        ],
    )


def by_source(frame: pd.DataFrame, failing: set[Any]) -> pd.DataFrame:
    """Return one row per source of a batch: how many leads, and which shares of them are usable and filled in.

    :param frame: as `observed` gives it.
    :param failing: the case ids that fail a critical expectation.
    """
    marks = pd.DataFrame(
        {
            "source": frame["source"],
            "usable": ~frame["case_id"].isin(failing),
            "email": frame["email"].notna(),
            "name": frame["full_name"].notna(),
        }
    )
    grouped = marks.groupby("source")
    shares = grouped.mean()
    enough = grouped.size() >= FEWEST_FOR_A_SHARE
    table = pd.DataFrame(
        {
            "leads": grouped.size(),
            "usable_share": shares["usable"].where(enough),
            "email_share": shares["email"].where(enough),
            "name_share": shares["name"].where(enough),
        }
    )
    return table.reset_index()


def batch_suite() -> ExpectationSuite:
    """Return the rules for a batch, source by source; a form that was changed shows here first."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415

    gxe: Any = import_module("great_expectations.expectations")

    def between(column: str, least: float, most: float, code: str, message: str) -> Any:
        return gxe.ExpectColumnValuesToBeBetween(
            column=column, min_value=least, max_value=most, severity="warning", meta=meta(code, message)
        )

    return ExpectationSuite(
        name="batches_of_leads",
        expectations=[
            between("leads", 1, LARGEST_BATCH, "batch.volume", "One source sent unusually many leads at once."),
            between("usable_share", LEAST_USABLE, 1, "batch.usable", "Many leads of one source are set aside."),
            between("email_share", 0.5, 1, "batch.email", "Half of one source's leads have no e-mail address."),
            between("name_share", 0.5, 1, "batch.name", "Half of one source's leads have no name."),
        ],
    )
