"""Reads leads.csv into the payloads that each kind of sender would post.

The same number gives the same leads; only the moments move, so that the samples are always recent.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("leads.csv")


@dataclass(frozen=True)
class Sample:
    """One lead as its sender posts it.

    :param note: what should become of it, where that is not the ordinary thing.
    """

    source: str
    note: str
    payload: dict[str, Any]


def samples(count: int, *, mailing: str, now: datetime | None = None) -> list[Sample]:
    """Return the first `count` sample leads; beyond the file, further people at the same companies.

    :param mailing: goes into the senders' own ids: another mailing of the same leads is other deliveries.
    """
    at = now or datetime.now(UTC)
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [_sample(rows[number % len(rows)], number, len(rows), mailing, at) for number in range(count)]


def _sample(row: dict[str, str], number: int, size: int, mailing: str, now: datetime) -> Sample:
    row = {name: value for name, value in row.items() if value}
    if number >= size:
        row = _somebody_else(row, number)
    row["submitted_at"] = (now - timedelta(hours=float(row.pop("hours_ago", "0")), minutes=1)).isoformat()
    source, note = row.pop("source"), row.pop("note", "")
    build = {"website": _website, "typeform": _typeform, "partner": _partner}[source]
    payload = build(row, number)
    if "event_id" in payload:
        payload["event_id"] += mailing
    return Sample(source, note, payload)


def _somebody_else(row: dict[str, str], number: int) -> dict[str, str]:
    changed = dict(row)
    if "@" in row.get("email", ""):
        name, _, domain = row["email"].partition("@")
        changed["email"] = f"{name}.{number}@{domain}"
    changed.pop("phone", None)
    changed["full_name"] = f"{row.get('full_name', 'Somebody')} {_letters(number)}"
    return changed


def _letters(number: int) -> str:
    """A made-up family name, as a number in a name would be set aside."""
    syllables = ("ba", "do", "fe", "gi", "ku", "la", "mo", "ne", "ri", "su")
    return "".join(syllables[int(digit)] for digit in str(number)).capitalize()


def _website(row: dict[str, str], number: int) -> dict[str, Any]:
    """A flat form, with the campaign in an object of its own."""
    names = ("utm_source", "utm_medium", "campaign", "click_id")
    click, _, value = row.get("click_id", "").partition("=")
    touch = {"utm_source": row.get("utm_source"), "utm_medium": row.get("utm_medium")}
    touch |= {"utm_campaign": row.get("campaign"), "landing_page": "https://www.waybill.example/start"}
    if click:
        touch[click] = value
    fields: dict[str, Any] = {name: value for name, value in row.items() if name not in names}
    fields["consent"] = row.get("consent") == "yes"
    return fields | {"id": f"form-{number}", "consent_at": row["submitted_at"], "tracking": touch}


def _typeform(row: dict[str, str], number: int) -> dict[str, Any]:
    """The nested `form_response` that Typeform documents at developers/webhooks/example-payload."""
    kinds = {"email": "email", "phone": "phone_number", "website": "url"}
    asked = ("email", "phone", "full_name", "company", "website", "country", "city", "job_title", "company_size")
    answers: list[dict[str, Any]] = []
    for ref in (*asked, "interest", "message"):
        if ref in row:
            kind = kinds.get(ref, "text")
            answers.append({"type": kind, kind: row[ref], "field": {"id": f"f{len(answers)}", "ref": ref}})
    answers.append(
        {"type": "boolean", "boolean": row.get("consent") == "yes", "field": {"id": "f99", "ref": "consent"}}
    )
    hidden = {"utm_source": row.get("utm_source"), "utm_campaign": row.get("campaign"), "language": row.get("language")}
    return {
        "event_id": f"01SAMPLE{number:08d}",
        "event_type": "form_response",
        "form_response": {
            "form_id": "samples",
            "token": f"sample{number}",
            "submitted_at": row["submitted_at"],
            "hidden": {name: value for name, value in hidden.items() if value},
            "answers": answers,
        },
    }


def _partner(row: dict[str, str], number: int) -> dict[str, Any]:
    """A partner's feed: the person, with the company and the address inside."""
    company = {"name": row.get("company"), "website": row.get("website"), "employees": row.get("company_size")}
    created = datetime.fromisoformat(row["submitted_at"])
    lead = {
        "id": f"P-{number}",
        "name": row.get("full_name"),
        "email": row.get("email"),
        "phone": row.get("phone"),
        "position": row.get("job_title"),
        "company": {name: value for name, value in company.items() if value},
        "address": {"country": row.get("country"), "city": row.get("city")},
        "interests": row.get("interest"),
        "notes": row.get("message"),
        "consent": {"given": row.get("consent") == "yes", "at": row["submitted_at"]},
        "created": int(created.timestamp()),
    }
    return {"lead": {name: value for name, value in lead.items() if value}, "campaign": row.get("campaign")}
