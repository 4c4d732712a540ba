"""The step `normalise`: each lead's fields in one notation, with the raw values kept beside them.

It judges nothing: what cannot be read is left empty, and the step `validate` decides what that means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases.model import StepResult, Work
from include.data.frames import copy_rows
from include.data.normalise.companies import company, domain
from include.data.normalise.email import email
from include.data.normalise.languages import language
from include.data.normalise.names import name
from include.data.normalise.phone import phone
from include.data.normalise.places import country, postal_code
from include.data.normalise.text import given, paragraphs, storable
from include.data.normalise.touch import touches
from include.data.normalise.values import boolean, moment, whole_number
from include.intake.received import Received, received


class Lead(NamedTuple):
    """What is known of a lead after normalising: the columns of `leads` of the same names."""

    submitted_at: datetime | None
    email: str | None
    email_key: str | None
    phone: str | None
    first_name: str | None
    last_name: str | None
    full_name: str | None
    name_key: str | None
    company: str | None
    company_key: str | None
    domain: str | None
    country: str | None
    region: str | None
    city: str | None
    postal_code: str | None
    language: str | None
    job_title: str | None
    company_size: int | None
    interest: str | None
    message: str | None
    consent: bool | None
    consent_at: datetime | None
    score: int | None
    first_touch: dict[str, str] | None
    last_touch: dict[str, str] | None
    utm_source: str | None
    campaign: str | None
    external_id: str | None


COLUMNS = ("case_id", "source", "raw", *Lead._fields)
IDENTITY = ("email_key", "phone", "name_key", "company_key", "domain", "external_id")
"""By what a lead names somebody: where it changes, the lead is matched anew."""


def normalised(fields: Mapping[str, Any]) -> Lead:
    """Bring a lead's fields, as they were sent, into one notation; never raises.

    :param fields: canonical field -> JSON value.
    """
    get = fields.get
    of_country = country(get("country"))
    address = email(get("email"))
    person = name(get("first_name"), get("last_name"), get("full_name"))
    firm = company(get("company"))
    first_touch, last_touch = touches(fields)
    return Lead(
        submitted_at=moment(get("submitted_at")),
        email=address.address if address else None,
        email_key=address.key if address else None,
        phone=phone(get("phone"), of_country),
        first_name=person.first,
        last_name=person.last,
        full_name=person.full,
        name_key=person.key,
        company=firm.name if firm else None,
        company_key=firm.key if firm else None,
        domain=domain(get("website"), address.domain if address else None),
        country=of_country,
        region=given(get("region")),
        city=given(get("city")),
        postal_code=postal_code(get("postal_code")),
        language=language(get("language")),
        job_title=given(get("job_title")),
        company_size=whole_number(get("company_size")),
        interest=given(get("interest")),
        message=paragraphs(get("message")),
        consent=boolean(get("consent")),
        consent_at=moment(get("consent_at")),
        score=whole_number(get("score")),
        first_touch=first_touch,
        last_touch=last_touch,
        utm_source=last_touch.get("utm_source") if last_touch else None,
        campaign=last_touch.get("utm_campaign") if last_touch else None,
        external_id=given(get("external_id")),
    )


def normalise(work: Work) -> StepResult:
    """Map, normalise and write the leads of a batch; a delivery that its source's mapping cannot read is set aside."""
    result = StepResult()
    rows = []
    for delivery in received(work):
        if delivery.reasons:
            result.quarantine[delivery.case_id] = delivery.reasons
        rows.append(_row(delivery))
    _write(work.connection, work.case_ids, rows)
    return result


def _row(delivery: Received) -> tuple[Any, ...]:
    raw = {field: storable(value) for field, value in delivery.fields.items() if value is not None}
    lead = normalised({**raw, **delivery.corrections})
    lead = lead._replace(submitted_at=lead.submitted_at or delivery.received_at)
    values = (Jsonb(value, dumps=_json) if isinstance(value, dict) else value for value in lead)
    return (delivery.case_id, delivery.source or "", Jsonb(raw, dumps=_json), *values)


def _json(value: Any) -> bytes:
    return orjson.dumps(value)


def _write(connection: Connection, case_ids: Sequence[int], rows: Sequence[tuple[Any, ...]]) -> None:
    """Write the rows by COPY; a case that was released goes through here again, and keeps what later steps found.

    But for its contact, where a correction changed by what it names somebody: the step `find_duplicates` looks again.
    """
    known = set(
        connection.execute(text("select case_id from leads where case_id = any(:ids)"), {"ids": case_ids}).scalars()
    )
    new = [row for row in rows if row[0] not in known]
    again = [row for row in rows if row[0] in known]
    copy_rows(connection, "leads", COLUMNS, new)
    if again:
        columns = ", ".join(COLUMNS)
        connection.execute(text(f"create temporary table leads_again as select {columns} from leads limit 0"))
        copy_rows(connection, "leads_again", COLUMNS, again)
        before, after = (", ".join(f"{table}.{name}" for name in IDENTITY) for table in ("leads", "leads_again"))
        connection.execute(
            text(f"""
                update leads set former_contact_id = leads.contact_id, contact_id = null, company_id = null,
                                 match = null
                from leads_again
                where leads_again.case_id = leads.case_id and leads.contact_id is not null
                  and ({before}) is distinct from ({after})""")
        )
        connection.execute(
            text(f"""
                update leads set ({columns}) = (select {columns} from leads_again where case_id = leads.case_id)
                where case_id in (select case_id from leads_again)""")
        )
        connection.execute(text("drop table leads_again"))
