"""What the contracts have kept long enough is erased, of closed cases only; every row stays, and so every count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.contracts.registry import contract
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.systems import Mode
from include.privacy import retention
from include.privacy.erase import tell_systems
from tests.support.people import ADA, BEN, OF_ADA, lead, lose, misread, places_of, win
from tests.support.work import assert_balanced, change, receive, rows

KEPT = contract("lead_to_client").retention
DAY = timedelta(days=1)
COUNTS = """
    select (select count(*) from deliveries) as deliveries, (select count(*) from cases) as cases,
           (select count(*) from events where kind <> 'erased') as events, (select count(*) from leads) as leads,
           (select count(*) from effects where case_id is not null) as effects,
           (select count(*) from report_lead_facts) as facts"""


def after(engine: Engine, passed: timedelta, *, dry_run: bool = False) -> dict[str, dict[str, int]]:
    return retention.apply(engine, now=datetime.now(UTC) + passed, mode=Mode.LIVE, dry_run=dry_run)


def test_before_its_time_nothing_is_erased(engine: Engine) -> None:
    lead(engine, ADA)
    assert after(engine, min(KEPT.deliveries, KEPT.personal_data) - DAY) == {}
    assert rows(engine, "select from erasures") == []


def test_deliveries_go_first_and_the_person_stays(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    counts = rows(engine, COUNTS)
    assert after(engine, KEPT.deliveries + DAY) == {"lead_to_client": {"deliveries": 1}}
    assert rows(engine, "select convert_from(body, 'UTF8') as body from deliveries") == [{"body": '{"erased": true}'}]
    assert rows(engine, "select first_name from leads where case_id = :id", id=ada) == [{"first_name": "Ada"}]
    assert rows(engine, COUNTS) == counts
    assert [row["detail"]["kind"] for row in rows(engine, "select detail from events where kind = 'erased'")] == [
        "deliveries"
    ]
    assert after(engine, KEPT.deliveries + DAY) == {}


def test_the_person_goes_when_their_time_is_over_also_in_the_crm(engine: Engine) -> None:
    lead(engine, ADA, BEN)
    counts = rows(engine, COUNTS)
    assert after(engine, KEPT.personal_data + DAY, dry_run=True) == {
        "lead_to_client": {"deliveries": 2, "personal_data": 2}
    }
    assert rows(engine, "select from erasures") == []
    assert after(engine, KEPT.personal_data + DAY) == {"lead_to_client": {"deliveries": 2, "personal_data": 2}}
    tell_systems(engine, BuiltinCrm(engine))
    assert places_of(engine, [*OF_ADA, "babbage"]) == []
    assert rows(engine, COUNTS) == counts
    assert len(rows(engine, "select from effects where operation = 'erase_contact' and state = 'sent'")) == 2
    assert_balanced(engine)
    assert after(engine, KEPT.personal_data + DAY) == {}


def test_a_deal_that_bears_their_name_loses_it_also_where_their_company_is_known_by_its_address(engine: Engine) -> None:
    lead(engine, {"email": "ivo.brandl@altwasser.example", "full_name": "Ivo Brandl", "country": "DE", "consent": True})
    (deal,) = rows(engine, "select properties->>'name' as name, company_key is null as alone from crm_deals")
    assert (deal["name"].startswith("Ivo Brandl"), deal["alone"]) == (True, False)
    after(engine, KEPT.personal_data + DAY)
    tell_systems(engine, BuiltinCrm(engine))
    assert places_of(engine, ["ivo.brandl", "ivo brandl"]) == []


def test_who_wrote_again_or_became_a_client_is_kept_as_long_as_that(engine: Engine) -> None:
    ada, ben = lead(engine, ADA, BEN)
    win(engine, ben)
    change(engine, "update cases set closed_at = now() - interval '731 days' where id = any(:ids)", ids=[ada, ben])
    later = lead(engine, ADA)
    assert after(engine, timedelta())["lead_to_client"] == {"personal_data": 2}
    kept = rows(engine, "select first_name from directory_contacts order by 1")
    assert kept == [{"first_name": "Ada"}, {"first_name": "Ben"}]
    assert rows(engine, "select first_name from leads order by case_id") == [
        {"first_name": None}, {"first_name": None}, {"first_name": "Ada"}
    ]  # fmt: skip
    assert rows(engine, "select state from cases where id = :id", id=later[0]) == [{"state": "finished"}]


def test_names_and_numbers_go_from_what_people_wrote_of_a_case(engine: Engine) -> None:
    ada, ben = lead(engine, ADA, BEN)
    said = "Discarded: Ada Lovelace, 030 23125 017, asked twice"
    for case in (ada, ben):
        change(engine, "update cases set outcome = :said where id = :id", id=case, said=said)
        change(engine, """
            insert into events (case_id, workflow, kind, actor, detail)
            select id, workflow, 'discarded', 'user:olga', jsonb_build_object('reason', outcome)
            from cases where id = :id""",
               id=case)  # fmt: skip
    change(engine, "update cases set closed_at = now() - interval '731 days' where id = :id", id=ada)
    after(engine, timedelta())
    left = "select outcome from cases where id = :id union all select detail->>'reason' from events " \
           "where case_id = :id and kind = 'discarded'"  # fmt: skip
    assert {row["outcome"] for row in rows(engine, left, id=ada)} == {"Discarded: [erased], [erased], asked twice"}
    assert {row["outcome"] for row in rows(engine, left, id=ben)} == {said}, "another case is kept as it is"


def test_a_lost_deal_keeps_nobody(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    lose(engine, ada)
    after(engine, KEPT.personal_data + DAY)
    tell_systems(engine, BuiltinCrm(engine))
    assert places_of(engine, OF_ADA) == []


def test_the_contact_that_a_corrected_lead_left_behind_goes_when_its_time_is_over(engine: Engine) -> None:
    lead(engine, BEN | {"message": "Good morning"})
    misread(engine, ADA, correct={"email": BEN["email"], "phone": BEN["phone"]})
    after(engine, KEPT.personal_data + DAY)
    tell_systems(engine, BuiltinCrm(engine))
    assert len(rows(engine, "select from effects where operation = 'erase_contact' and state = 'sent'")) == 2
    assert places_of(engine, [*OF_ADA, "babbage", "ben@engines"]) == []


def test_an_open_case_is_never_touched(engine: Engine) -> None:
    waiting = receive(engine, [ADA])
    assert after(engine, timedelta(days=4000)) == {}
    assert rows(engine, "select erased_at from cases where id = :id", id=waiting[0]) == [{"erased_at": None}]
    assert len(places_of(engine, ["lovelace"])) > 0


def test_details_of_events_go_and_the_events_stay(engine: Engine) -> None:
    lead(engine, ADA)
    change(engine, "update cases set owner = 'sales'", actor="user:olga")
    events = rows(engine, "select id, at, case_id, kind, stage, state from events order by id")
    found = after(engine, KEPT.events + DAY)
    assert found["lead_to_client"]["events"] > 0
    kept = rows(engine, "select id, at, case_id, kind, stage, state from events where id <= :last order by id",
                last=events[-1]["id"])  # fmt: skip
    assert kept == events
    assert rows(engine, "select from events where actor = 'user:olga'") == []
    assert rows(engine, "select from events where id <= :last and detail is not null", last=events[-1]["id"]) == []


def test_batches_go_on_until_nothing_is_left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CASES", 2)
    monkeypatch.setattr(retention, "DELIVERIES", 3)
    people = [ADA | {"email": f"p{n}@engines.example", "phone": None, "last_name": name}
              for n, name in enumerate(("Alpha", "Bravo", "Charlie", "Delta", "Echo"))]  # fmt: skip
    lead(engine, *people)
    assert after(engine, KEPT.personal_data + DAY) == {"lead_to_client": {"deliveries": 5, "personal_data": 5}}
    assert rows(engine, "select kind, count(*) as n from erasures group by kind order by kind") == [
        {"kind": "deliveries", "n": 2}, {"kind": "personal_data", "n": 3}
    ]  # fmt: skip
