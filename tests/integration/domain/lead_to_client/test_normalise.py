"""The step `normalise`: deliveries in, rows of `leads` out, and nobody's bad delivery in the way of the others."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.steps import Position, run_step
from include.domain.lead_to_client.normalise import normalise

STEPS = ("capture", "normalise", "validate", "find_duplicates")


def deliver(engine: Engine, bodies: list[bytes | dict[str, Any]], source: str = "website") -> list[int]:
    """Store deliveries with their cases, as the intake does, and return the case ids in order."""
    raw = [body if isinstance(body, bytes) else orjson.dumps(body) for body in bodies]
    with engine.begin() as connection:
        connection.execute(text("select set_config('waybill.actor', 'test', true)"))
        return list(
            connection.execute(
                text("""
                    with new as (
                        insert into deliveries (source, workflow, key, digest, body, content_type)
                        select :source, 'lead_to_client', 'id:' || gen_random_uuid(), sha256(body), body,
                               'application/json'
                        from unnest(cast(:bodies as bytea[])) with ordinality as b(body, n) order by n
                        returning id, key)
                    insert into cases (workflow, key, delivery_id, state, stage, owner)
                    select 'lead_to_client', :source || '/' || key, id, 'pending', 'capture', 'revenue_operations'
                    from new order by id returning id"""),
                {"source": source, "bodies": raw},
            ).scalars()
        )


def run(engine: Engine, run_id: str = "run") -> None:
    claim = store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id=run_id, limit=100_000)
    assert claim
    run_step(engine, Position("lead_to_client", STEPS, "normalise", claim.id, run_id), normalise)


def leads(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text("select * from leads order by case_id")).mappings()]


def states(engine: Engine) -> list[tuple[str, str, list[str]]]:
    with engine.connect() as connection:
        found = connection.execute(text("select state, stage, reasons from cases order by id"))
        return [(row.state, row.stage, [reason["code"] for reason in row.reasons or []]) for row in found]


def test_a_lead_is_written_in_one_notation_with_the_raw_values_beside(engine: Engine) -> None:
    deliver(
        engine,
        [
            {
                "email": "Anna.Schmidt+Web@Firma.DE",
                "phone": "089 / 1234 567",
                "name": "SCHMIDT Anna",
                "company": "Müller GmbH & Co. KG",
                "country": "Deutschland",
                "language": "de_DE",
                "company_size": "51-200",
                "consent": "ja",
                "landing_page": "https://x.org/?utm_source=Google&utm_campaign=Herbst",
            }
        ],
    )
    run(engine)
    [lead] = leads(engine)
    assert (lead["email"], lead["email_key"]) == ("anna.schmidt+web@firma.de", "anna.schmidt@firma.de")
    assert (lead["phone"], lead["country"], lead["language"]) == ("+49891234567", "DE", "de-DE")
    assert (lead["first_name"], lead["last_name"], lead["name_key"]) == ("Anna", "Schmidt", "anna schmidt")
    assert (lead["company_key"], lead["domain"], lead["company_size"]) == ("muller", "firma.de", 51)
    assert (lead["consent"], lead["utm_source"], lead["campaign"]) == (True, "google", "Herbst")
    assert lead["raw"]["email"] == "Anna.Schmidt+Web@Firma.DE"
    assert lead["raw"]["company_size"] == "51-200"
    assert lead["submitted_at"] is not None
    assert states(engine) == [("running", "validate", [])]


def test_a_delivery_that_does_not_fit_is_set_aside_and_the_others_go_on(engine: Engine) -> None:
    deliver(engine, [{"email": "a@firma.de"}, b"no json", {"email": {"not": "text"}}, {"email": "b@firma.de"}])
    run(engine)
    found = states(engine)
    assert [state for state, _, _ in found] == ["running", "quarantined", "quarantined", "running"]
    assert all(code.startswith("mapping.") for _, _, codes in found for code in codes)
    assert len(leads(engine)) == 4


@pytest.mark.parametrize(
    "value",
    ["a\\u0000b", "\U0001f600" * 50, "مرحبا \u202eabc", "x" * 200_000, "'; drop table leads; --", "a\tb\\N\\."],
)
def test_no_text_breaks_the_writing(engine: Engine, value: str) -> None:
    body = b'{"email": "a@firma.de", "message": "%s", "company": "%s"}' % (
        *[value.replace("\t", "\\t").replace("\\N\\.", "\\\\N\\\\.").encode()] * 2,
    )
    deliver(engine, [body, {"email": "b@firma.de"}])
    run(engine)
    assert len(leads(engine)) == 2
    assert states(engine)[1] == ("running", "validate", [])


def test_a_correction_is_laid_over_what_was_received(engine: Engine) -> None:
    [case_id] = deliver(engine, [{"email": {"not": "text"}, "name": "Anna Schmidt"}])
    run(engine)
    with engine.begin() as connection:
        connection.execute(text("update leads set assignee = 'sales:anna'"))
    store.release(
        engine, [case_id], first_step="capture", actor="user:ops", corrections={"email": "Anna@Firma.de", "phone": None}
    )
    run(engine, "second")
    [lead] = leads(engine)
    assert lead["email"] == "anna@firma.de"
    assert lead["raw"] == {"full_name": "Anna Schmidt"}
    assert lead["assignee"] == "sales:anna"  # what later steps found stays
    assert states(engine) == [("running", "validate", [])]


def test_a_source_that_is_gone_sets_its_leads_aside(engine: Engine) -> None:
    deliver(engine, [{"email": "a@firma.de"}], source="forgotten")
    run(engine)
    assert states(engine) == [("quarantined", "normalise", ["mapping.source"])]


def test_ten_thousand_leads_are_normalised_in_seconds(engine: Engine) -> None:
    deliver(
        engine,
        [
            {
                "email": f"anna.schmidt{i}@firma{i}.de",
                "phone": f"089 1{i:06d}",
                "name": f"Anna Schmidt{i}",
                "company": f"Firma {i % 3000} GmbH",
                "country": "Germany",
                "message": f"Please call me about {i}",
                "landing_page": f"https://x.org/?utm_source=google&utm_campaign=c{i % 20}",
                "consent": "on",
            }
            for i in range(10_000)
        ],
    )
    claim = store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id="r", limit=100_000)
    assert claim
    started = time.perf_counter()
    run_step(engine, Position("lead_to_client", STEPS, "normalise", claim.id, "r"), normalise)
    seconds = time.perf_counter() - started
    print(f"10,000 leads in {seconds:.2f} s")
    assert len(leads(engine)) == 10_000
    assert seconds < 15  # about 2 s on an idle core; the bound only catches a query per row
