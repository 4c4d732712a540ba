"""Segment and owner on the real database: recorded, kept, and fair when two runs assign at once."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime

from sqlalchemy import Engine, text

from include.cases.model import Work
from include.data.business_time import between
from include.data.database import authored
from include.domain.lead_to_client.assignment import Roster, assign, roster
from include.domain.lead_to_client.segments import segment
from tests.support.leads import WORKFLOW, add_leads, again, at_once, claim, contact, take
from tests.support.work import rows


def team(*, away: tuple[str, ...] = ()) -> Roster:
    """Four people of equal capacity, one market; those away are so in November 2026."""
    november = {"from": date(2026, 11, 1), "until": date(2026, 11, 30), "because": "away"}
    people = {
        name: {"name": name, "email": f"{name}@example.com", "country": "DE", "capacity": 100_000,
               "absences": [november] if name in away else []}
        for name in ("p0", "p1", "p2", "p3")
    }  # fmt: skip
    market = {
        "title": "All",
        "countries": [],
        "lead": "p0",
        "territories": [{"id": "all", "members": list(people)}],
    }
    return Roster.model_validate({"default_market": "all", "people": people, "markets": {"all": market}})


def assign_by(engine: Engine, ids: list[int], known: Roster, now: datetime | None = None) -> None:
    with authored(engine, actor="system:test") as connection:
        assign(Work(connection, WORKFLOW, "assign", 0, ids, "run"), known, now)


def shares(engine: Engine) -> Counter[str]:
    return Counter(row["assignee"] for row in rows(engine, "select assignee from leads where assignee is not null"))


def test_the_segment_is_recorded_with_the_rule_that_decided(engine: Engine) -> None:
    ids = add_leads(engine, {"company_size": 5000}, {"interest": "Demo", "company_size": 5}, {"interest": "help"})
    take(engine, claim(engine), "segment", segment)
    found = rows(engine, "select segment, segment_rule, sla_hours::int as hours from leads order by case_id")
    assert [tuple(row.values()) for row in found] == [
        ("strategic", "very_large_in_a_core_market", 1),
        ("small_business", "wants_to_buy", 8),
        ("support", "support_question", 4),
    ]
    events = rows(engine, "select case_id, detail from events where kind = 'decided' order by case_id")
    assert [row["case_id"] for row in events] == ids
    assert events[0]["detail"] == {
        "decision": "segment",
        "rule": "very_large_in_a_core_market",
        "segment": "strategic",
    }


def test_every_lead_gets_an_owner_and_a_due_time_in_the_owners_business_hours(engine: Engine) -> None:
    add_leads(engine, *({"country": country} for country in ("DE", "FR", "US", "JP", None)))
    position = claim(engine)
    take(engine, position, "segment", segment)
    take(engine, position, "assign", assign)
    found = rows(
        engine,
        """select market, assignee, assigned_by, sla_hours, task_due_at, cases.created_at as received
           from leads join cases on cases.id = case_id order by case_id""",
    )
    assert [row["market"] for row in found] == ["dach", "france", "north_america", "international", "international"]
    for row in found:
        calendar = roster().people[row["assignee"]].calendar
        hours = between(row["received"], row["task_due_at"], calendar).total_seconds() / 3600
        assert abs(hours - float(row["sla_hours"])) < 1e-6


def test_a_lead_that_goes_through_again_keeps_its_owner_and_counts_once(engine: Engine) -> None:
    ids = add_leads(engine, *({} for _ in range(8)))
    again(engine, ids, segment)
    again(engine, ids, assign)
    before = rows(engine, "select case_id, assignee, task_due_at from leads order by case_id")
    counted = rows(engine, "select * from assignment_counters order by person")
    again(engine, ids, assign)
    assert rows(engine, "select case_id, assignee, task_due_at from leads order by case_id") == before
    assert rows(engine, "select * from assignment_counters order by person") == counted
    assert sum(row["assigned"] for row in counted) == 8


def test_a_returning_lead_keeps_its_owner_also_after_a_merge(engine: Engine) -> None:
    ada, double = contact(engine), contact(engine)
    (first,) = add_leads(engine, {"contact_id": double})
    assign_by(engine, [first], team())
    (owner,) = shares(engine)
    with engine.begin() as connection:
        connection.execute(
            text("update directory_contacts set merged_into = :ada where id = :double"), {"ada": ada, "double": double}
        )
    later = add_leads(engine, *({"contact_id": ada} for _ in range(3)), {})
    assign_by(engine, later, team())
    found = rows(
        engine, "select assignee, assigned_by from leads where case_id = any(:ids) order by case_id", ids=later
    )
    assert [tuple(row.values()) for row in found[:3]] == [(owner, "earlier_owner")] * 3
    assert found[3]["assignee"] != owner


def test_a_stand_in_does_not_become_the_owner(engine: Engine) -> None:
    ada = contact(engine)
    november, december = (datetime(2026, month, 10, 12, tzinfo=UTC) for month in (11, 12))
    (first,) = add_leads(engine, {"contact_id": ada})
    assign_by(engine, [first], team(away=("p1", "p2", "p3")), november)
    for moment, away, expected in (
        (november, ("p0",), "stand_in"),
        (december, ("p0",), "earlier_owner"),
    ):
        (lead,) = add_leads(engine, {"contact_id": ada})
        assign_by(engine, [lead], team(away=away), moment)
        (found,) = rows(engine, "select assignee, assigned_by from leads where case_id = :id", id=lead)
        assert found["assigned_by"] == expected
        assert (found["assignee"] == "p0") is (expected == "earlier_owner")


def test_two_runs_at_once_share_out_fairly(engine: Engine) -> None:
    batches = [add_leads(engine, *({} for _ in range(size))) for size in (13, 21, 7, 10)]
    at_once(batches, lambda ids: assign_by(engine, ids, team()))
    got = shares(engine)
    assert sum(got.values()) == 51
    assert max(got.values()) - min(got.values()) <= 1
    counted = rows(engine, "select person, assigned from assignment_counters")
    assert {row["person"]: row["assigned"] for row in counted} == dict(got)


def test_two_runs_at_once_give_one_contact_one_owner(engine: Engine) -> None:
    ada = contact(engine)
    batches = [add_leads(engine, {}, {"contact_id": ada}, {}) for _ in range(4)]
    at_once(batches, lambda ids: assign_by(engine, ids, team()))
    owners = rows(engine, "select distinct assignee from leads where contact_id = :ada", ada=ada)
    assert len(owners) == 1
