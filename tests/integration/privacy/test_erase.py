"""A person is erased in every table, and the audit trail stays whole.

What is left is looked for in the whole database, not where the inventory says that it would be.
"""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.cases import store
from include.cases.model import Reason
from include.contracts.registry import contract
from include.data.database import authored
from include.intake.inbox import Item
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.systems import Mode
from include.privacy.erase import Erased, Refused, erase, plan, tell_systems
from include.privacy.person import Person, Unknown, by_case, by_contact, by_email
from tests.support.people import ADA, BEN, OF_ADA, lead, lose, misread, places_of, walk, win
from tests.support.work import assert_balanced, change, receive, rows

ACTOR = "user:olga"
LETTER = "letter 17"


def forget(engine: Engine, case_id: int, reason: str = LETTER) -> Erased:
    with engine.begin() as connection:
        return erase(connection, by_case(connection, case_id), actor=ACTOR, reason=reason, mode=Mode.LIVE)


def audit(engine: Engine) -> list[dict[str, Any]]:
    """What an auditor counts on: who did what to which case when, and what came of it."""
    return rows(
        engine,
        "select id, at, case_id, workflow, kind, stage, state, actor, run_id, step from events"
        " where kind <> 'erased' order by id",
    )


def test_nothing_of_the_person_is_left_anywhere(engine: Engine) -> None:
    first, again = lead(engine, ADA, ADA | {"company": "Analytical Ltd", "website": "https://analytical.example"})
    win(engine, first)
    assert len(places_of(engine, OF_ADA)) > 20
    done = forget(engine, again)
    assert done.id is not None
    assert sum(count.values for count in done.counts) > 50
    tell_systems(engine, BuiltinCrm(engine))
    assert places_of(engine, OF_ADA) == []


def test_what_sales_wrote_of_a_lost_deal_goes_too_also_where_a_win_contradicts_it(engine: Engine) -> None:
    ada, other = lead(engine, ADA, ADA | {"email": "a.lovelace@other.example", "phone": None, "last_name": "Lovelace"})
    lost = lose(engine, ada)
    win(engine, other)
    contradicting = lose(engine, other)
    assert rows(engine, "select state, outcome from cases where id = :id", id=lost) == [
        {"state": "finished", "outcome": "deal lost"}
    ]
    assert rows(engine, "select reasons->0->>'code' as code from cases where id = :id", id=contradicting) == [
        {"code": "deal.contradiction"}
    ]
    for told, case in ((lost, ada), (contradicting, other)):
        with engine.connect() as connection:
            assert case in by_case(connection, told).cases
    for case in (ada, other):
        forget(engine, case)
    tell_systems(engine, BuiltinCrm(engine))
    assert places_of(engine, OF_ADA) == []
    assert rows(engine, "select state from cases where id = :id", id=contradicting) == [{"state": "rejected"}]
    assert_balanced(engine)


def test_colleagues_and_companies_stay_and_lose_only_what_they_say_of_her(engine: Engine) -> None:
    ada, ben = lead(engine, ADA, BEN)
    companies = rows(engine, "select * from directory_companies order by id")
    crm = rows(engine, "select key, properties from crm_companies order by key")
    forget(engine, ada)
    assert rows(engine, "select * from directory_companies order by id") == companies
    assert rows(engine, "select key, properties from crm_companies order by key") == crm
    [left] = rows(engine, "select email, last_name, message, raw from leads where case_id = :id", id=ben)
    assert (left["email"], left["last_name"]) == ("ben@engines.example", "Babbage")
    [body] = rows(
        engine, "select body from deliveries join cases on delivery_id = deliveries.id and cases.id = :id", id=ben
    )
    assert json.loads(bytes(body["body"])) == BEN | {"message": "Ask [erased], she knows."}
    assert rows(engine, "select first_name from directory_contacts where first_name is not null") == [
        {"first_name": "Ben"}
    ]


def test_others_lose_her_address_wherever_it_stands_in_what_they_wrote(engine: Engine) -> None:
    """At the beginning of a line JSON has an escape before it, which is no part of it."""
    ben = BEN | {
        "message": "Good morning,\nada.lovelace@engines.example\r\nknows. So does xada.lovelace@engines.example."
    }
    ada, other = lead(engine, ADA, ben)
    forget(engine, ada)
    assert rows(engine, "select message from leads where case_id = :id", id=other) == [
        {"message": "Good morning,\n[erased]\nknows. So does xada.lovelace@engines.example."}
    ]
    left = {
        place.split(":")[0] for place in places_of(engine, [" ada.lovelace@", "\\nada.lovelace@", "\nada.lovelace@"])
    }
    assert left == set()


def test_the_audit_trail_stays_whole_and_says_that_and_when(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    before, balance = audit(engine), rows(engine, "select * from balance")
    effects = rows(engine, "select id, system, operation, case_id, step, state, mode, sent_at from effects order by id")
    forget(engine, ada)
    assert [event for event in audit(engine) if event["kind"] != "changed"] == before
    assert rows(engine, "select * from balance") == balance
    assert_balanced(engine)
    kept = rows(engine, "select id, system, operation, case_id, step, state, mode, sent_at from effects"
                        " where case_id is not null order by id")  # fmt: skip
    assert kept == effects
    [told] = rows(engine, "select actor, at, detail from events where kind = 'erased'")
    [erasure] = rows(engine, "select * from erasures")
    assert told["actor"] == ACTOR
    assert told["detail"] == {"erasure": erasure["id"], "kind": "request", "reason": LETTER}
    assert erasure["cases"] == [ada]
    assert erasure["counts"]["leads"] > 5
    [case] = rows(engine, "select erased_at is not null as told, outcome from cases where id = :id", id=ada)
    assert case["told"]


def test_a_second_erasure_finds_nothing(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    forget(engine, ada)
    count = rows(engine, "select (select count(*) from events) as events, (select count(*) from effects) as effects")
    assert forget(engine, ada).id is None
    after = rows(engine, "select (select count(*) from events) as events, (select count(*) from effects) as effects")
    assert after == count
    assert len(rows(engine, "select from erasures")) == 1


def test_two_who_erase_at_once_erase_once(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    start = threading.Barrier(2)

    def go(_: int) -> Erased:
        start.wait(10)
        return forget(engine, ada)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(go, range(2)))
    assert [one.id is None for one in done].count(True) == 1
    assert len(rows(engine, "select from erasures")) == 1


def test_half_an_erasure_is_none(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    before = places_of(engine, OF_ADA)
    connection = engine.connect()
    connection.begin()
    erase(connection, by_case(connection, ada), actor=ACTOR, reason=LETTER, mode=Mode.LIVE)
    connection.invalidate()  # the process dies here
    connection.close()
    assert places_of(engine, OF_ADA) == before
    assert rows(engine, "select from erasures") == []


def test_the_same_delivery_again_is_still_the_same(engine: Engine) -> None:
    import asyncio

    import asyncpg

    from include.data.database import SCHEMA, asyncpg_dsn
    from include.intake.inbox import store as store_items

    body = json.dumps(ADA).encode()
    item = Item("website", "lead_to_client", "id:of-ada", hashlib.sha256(body).digest(), body, "application/json",
                timedelta(days=1), "capture", "revenue_operations")  # fmt: skip

    async def arrive() -> str:
        connection = await asyncpg.connect(
            asyncpg_dsn(engine.url), server_settings={"search_path": SCHEMA, "waybill.actor": "source:website"}
        )
        try:
            return (await store_items(connection, [item]))[0].what
        finally:
            await connection.close()

    assert asyncio.run(arrive()) == "new"
    walk(engine)
    [case] = rows(engine, "select id from cases")
    forget(engine, case["id"])
    assert asyncio.run(arrive()) == "repeated"
    assert len(rows(engine, "select from cases")) == 1
    assert rows(engine, "select convert_from(body, 'UTF8') as body, digest from deliveries") == [
        {"body": '{"erased": true}', "digest": item.digest}
    ]


def test_who_writes_again_is_somebody_new(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    forget(engine, ada)
    [later] = lead(engine, ADA)
    found = rows(engine, "select case_id, match, contact_id from leads order by case_id")
    assert [row["match"] for row in found] == ["new", "new"]
    assert found[0]["contact_id"] != found[1]["contact_id"]
    assert rows(engine, "select state from cases where id = :id", id=later) == [{"state": "finished"}]


def test_open_cases_are_closed_and_what_was_not_sent_is_withdrawn(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    waiting = receive(engine, [ADA | {"email": "nobody at all", "consent": True}])
    walk(engine)
    assert rows(engine, "select state from cases where id = :id", id=waiting[0]) == [{"state": "quarantined"}]
    change(
        engine,
        """
        insert into effects (key, system, operation, case_id, step, target, payload, mode)
        values ('lead_to_client/x', 'mail', 'send_mail', :id, 'send_mail', 'x', '{"to": "x"}', 'live')""",
        id=waiting[0],
    )
    done = forget(engine, waiting[0])
    assert done.closed == 1
    [case] = rows(engine, "select state, outcome, reasons from cases where id = :id", id=waiting[0])
    assert (case["state"], case["outcome"]) == ("rejected", "the person was erased")
    assert all(set(reason) <= {"code", "field"} for reason in case["reasons"])
    [effect] = rows(engine, "select state, payload, error from effects where key = 'lead_to_client/x'")
    assert (effect["state"], effect["payload"]) == ("dead", {})
    assert effect["error"].startswith("withdrawn: ")
    assert "nobody at all" not in str(rows(engine, "select * from leads where case_id = :id", id=waiting[0]))
    assert rows(engine, "select email from leads where case_id = :id", id=ada)[0]["email"], "another person stays"
    assert_balanced(engine)


def test_while_a_run_works_on_a_case_nothing_is_erased(engine: Engine) -> None:
    [ada] = receive(engine, [ADA])
    store.claim(engine, workflow="lead_to_client", steps=contract("lead_to_client").step_ids, run_id="r")
    with pytest.raises(Refused, match=f"a run works on the cases {ada}"):
        forget(engine, ada)
    assert rows(engine, "select from erasures") == []


def test_while_nobody_knows_whether_something_was_sent_nothing_is_erased(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    change(engine, "update effects set state = 'unknown', error = 'lost', answer = null, sent_at = null"
                   " where operation = 'send_mail'")  # fmt: skip
    with pytest.raises(Refused, match="effects"):
        forget(engine, ada)


def test_an_erasure_says_why(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    with pytest.raises(Refused, match="reason"):
        forget(engine, ada, reason="  ")
    forget(engine, ada, reason="Ada Lovelace asked, ada.lovelace@engines.example")
    assert rows(engine, "select reason from erasures") == [{"reason": "[erased] asked, [erased]"}]


def test_a_suppliers_contact_is_taken_out_of_papers_and_an_open_one_is_in_the_way(engine: Engine) -> None:
    body = {"supplier": "S-7", "supplier_name": "Bolts AG", "supplier_email": "ada.lovelace@engines.example"}
    [bought] = receive(engine, [body], workflow="purchase_approval", source="purchase-portal")
    change(engine, """
        insert into purchase_requests (case_id, number, raw, supplier, supplier_name, supplier_email, supplier_record)
        values (:id, 'PR-1', '{"supplier_email": "ada.lovelace@engines.example"}', 'S-7', 'Bolts AG',
                'ada.lovelace@engines.example', '{"email": "ada.lovelace@engines.example", "name": "Bolts AG"}')""",
           id=bought)  # fmt: skip
    [ada] = lead(engine, ADA)
    with pytest.raises(Refused, match=f"open cases {bought}"):
        forget(engine, ada)
    store_close = "update cases set state = 'finished', outcome = 'booked', closed_at = now() where id = :id"
    change(engine, store_close, id=bought)
    forget(engine, ada)
    [paper] = rows(
        engine, "select supplier, supplier_name, supplier_email, supplier_record, raw from purchase_requests"
    )
    assert paper == {
        "supplier": "S-7",
        "supplier_name": "Bolts AG",
        "supplier_email": "[erased]",
        "supplier_record": {"email": "[erased]", "name": "Bolts AG"},
        "raw": {"supplier_email": "[erased]"},
    }
    assert places_of(engine, OF_ADA) == []
    assert rows(engine, "select erased_at from cases where id = :id", id=bought) == [{"erased_at": None}]


def test_an_objection_outlives_the_person(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    change(engine, "insert into suppressions (email_key, reason) values ('ada.lovelace@engines.example', 'objected')")
    forget(engine, ada)
    assert len(rows(engine, "select from suppressions")) == 1


def test_a_person_is_found_by_any_spelling_by_contact_and_by_case(engine: Engine) -> None:
    first, second = lead(engine, ADA, ADA | {"email": "ADA.Lovelace+news@engines.example", "phone": None})
    with engine.connect() as connection:
        [contact] = rows(engine, "select distinct contact_id as id from leads")
        found: list[Person] = [
            by_email(connection, "Ada <ada.lovelace@ENGINES.example>"),
            by_contact(connection, contact["id"]),
            by_case(connection, second),
        ]
        assert {one.cases for one in found} == {(first, second)}
        with pytest.raises(Unknown):
            by_case(connection, 999)
        with pytest.raises(Unknown):
            by_email(connection, "not an address")
        [bought] = receive(engine, 1, workflow="purchase_approval")
        with pytest.raises(Unknown, match="not about a person"):
            by_case(connection, bought)


def test_the_contact_that_a_corrected_lead_left_behind_goes_with_it(engine: Engine) -> None:
    [ben] = lead(engine, BEN | {"message": "Good morning"})
    ada = misread(engine, ADA, correct={"email": BEN["email"], "phone": BEN["phone"]})
    assert rows(engine, "select state, evidence from possible_duplicates") == [
        {"state": "open", "evidence": {"lead": "the same, corrected"}}
    ]
    with engine.connect() as connection:
        person = by_case(connection, ada)
        assert person.cases == (ben, ada)
        assert len(person.contacts) == 2
        assert [note for note in plan(connection, person).notes if "duplicates" in note] == []
    forget(engine, ada)
    assert tell_systems(engine, BuiltinCrm(engine))["sent"] >= 2
    assert len(rows(engine, "select from effects where operation = 'erase_contact' and state = 'sent'")) == 2
    assert places_of(engine, [*OF_ADA, "babbage", "ben@engines"]) == []


def test_what_a_corrected_lead_left_behind_stays_where_it_is_somebody_else_by_now(engine: Engine) -> None:
    lead(engine, BEN | {"message": "Good morning"})
    corrected = misread(engine, ADA, correct={"email": BEN["email"], "phone": BEN["phone"]})
    [ada] = lead(engine, ADA)
    forget(engine, corrected)
    assert rows(engine, "select first_name from directory_contacts where first_name is not null") == [
        {"first_name": "Ada"}
    ]
    with engine.connect() as connection:
        assert by_case(connection, ada).cases == (ada,)


def test_merged_contacts_are_one_person(engine: Engine) -> None:
    one, other = lead(engine, ADA, BEN)
    change(
        engine,
        """
        update directory_contacts set merged_into = (select contact_id from leads where case_id = :one)
        where id = (select contact_id from leads where case_id = :other)""",
        one=one,
        other=other,
    )
    with engine.connect() as connection:
        assert by_case(connection, one).cases == by_case(connection, other).cases == (one, other)


def test_the_plan_tells_what_would_be_done_and_does_nothing(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    win(engine, ada)
    before = places_of(engine, OF_ADA)
    with engine.begin() as connection:
        planned = plan(connection, by_case(connection, ada))
    assert planned.values > 30
    assert any("client" in note for note in planned.notes)
    assert planned.obstacles == []
    assert places_of(engine, OF_ADA) == before


@pytest.mark.parametrize(
    "statement",
    [
        'update deliveries set body = \'{"email": "eve@x.example"}\'',
        "update deliveries set key = 'id:other'",
        "update deliveries set body = '\\xff'",
        'update events set detail = \'{"who": "eve"}\'',
        "update events set kind = 'erased'",
        "update events set actor = 'user:eve'",
        "update events set at = now()",
        "delete from events",
        "delete from deliveries",
        "update erasures set reason = 'x'",
    ],
)
def test_an_erasure_adds_nothing_to_what_is_append_only(engine: Engine, statement: str) -> None:
    lead(engine, ADA)
    with authored(engine, actor=ACTOR) as connection:
        connection.execute(text("insert into erasures (kind, reason, counts) values ('request', 'by hand', '{}')"))
        with pytest.raises(DBAPIError, match="refused"):
            connection.execute(text(statement))
        connection.rollback()


def test_without_an_erasure_not_even_a_marker_is_let_in(engine: Engine) -> None:
    lead(engine, ADA)
    with authored(engine, actor=ACTOR) as connection:
        connection.execute(text("insert into erasures (kind, reason, counts) values ('request', 'earlier', '{}')"))
    for statement in (
        "update deliveries set body = '{\"erased\": true}', erased_at = now()",
        "update events set detail = null",
    ):
        with pytest.raises(DBAPIError, match="is refused"):
            change(engine, statement)


def test_an_erased_case_does_not_come_back(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    forget(engine, ada)
    with pytest.raises(DBAPIError, match="were erased"):
        change(engine, "update cases set state = 'pending', outcome = null, closed_at = null where id = :id", id=ada)


def test_reasons_lose_their_messages(engine: Engine) -> None:
    [ada] = receive(engine, [ADA])
    reasons = json.dumps([Reason("email.invalid", "ada.lovelace@engines.example cannot be", "email").as_json()])
    change(
        engine, "update cases set state = 'quarantined', reasons = cast(:r as jsonb) where id = :id", id=ada, r=reasons
    )
    forget(engine, ada)
    assert rows(engine, "select reasons from cases")[0]["reasons"] == [{"code": "email.invalid", "field": "email"}]
