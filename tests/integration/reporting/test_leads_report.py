"""The figures on leads, against facts that were counted by hand."""

from __future__ import annotations

from sqlalchemy import Engine

from include.reporting.intervals import Period
from tests.support import people
from tests.support.reports import at, end_deal, interval, lead, make, table, totals


def test_the_funnel_counts_each_thing_on_its_own_day(engine: Engine) -> None:
    first = lead(engine, at(2, 9), campaign="spring")
    second = lead(engine, at(2, 10))
    lead(engine, at(2, 11), source="fair")
    lead(engine, at(3, 9))
    end_deal(engine, first, at(3, 15), amount="250.00")
    end_deal(engine, second, at(3, 16), state="lost")
    monday, tuesday = make(engine, "leads"), make(engine, "leads", interval(at(3).date()))
    assert monday.reasons is None
    told = totals(monday)
    assert (told["leads"], told["new_contacts"], told["deals"], told["won"], told["lost"]) == (3, 3, 3, 0, 0)
    assert told["won_share"] is None
    told = totals(tuesday)
    assert (told["leads"], told["deals"], told["won"], told["lost"], told["won_share"]) == (1, 1, 1, 1, 0.5)
    assert table(tuesday, "won_value") == [{"currency": "EUR", "deals": 1, "amount": "250.00"}]
    assert [(row["source"], row["campaign"], row["leads"], row["won"]) for row in table(monday, "by_source")] == [
        ("fair", "", 1, 0),
        ("website", "", 1, 0),
        ("website", "spring", 1, 0),
    ]
    assert [(row["campaign"], row["won"], row["lost"]) for row in table(tuesday, "by_source")] == [
        ("", 0, 1),
        ("spring", 1, 0),
    ]


def test_a_loss_is_told_of_its_first_day_whatever_becomes_of_the_deal(engine: Engine) -> None:
    again, after_all = (
        lead(engine, at(1, 9), owner="anna.berg"),
        lead(engine, at(1, 10), owner="max.lang"),
    )
    for case in (again, after_all):
        people.lose(engine, case, occurred_at=at(2, 15).isoformat())
    monday = make(engine, "leads")
    assert totals(monday)["lost"] == 2
    assert table(monday, "owners") == [], "nobody has an open deal any more"
    people.lose(engine, again, occurred_at=at(3, 15).isoformat())
    people.win(engine, after_all, occurred_at=at(3, 16).isoformat())
    assert make(engine, "leads").digest == monday.digest
    told = totals(make(engine, "leads", interval(at(3).date())))
    assert (told["won"], told["lost"]) == (1, 0)


def test_a_week_has_its_days_and_a_day_begins_at_the_companys_midnight(engine: Engine) -> None:
    lead(engine, at(1, 23, 59))  # Sunday in Berlin, and by UTC as well
    lead(engine, at(2, 0, 30))  # Monday in Berlin, Sunday by UTC
    lead(engine, at(8, 23, 59))
    week = make(engine, "leads", interval(period=Period.WEEKLY))
    assert totals(week)["leads"] == 2
    assert [row["leads"] for row in table(week, "by_day")] == [1, 0, 0, 0, 0, 0, 1]
    assert table(week, "by_day")[0]["day"] == "2026-03-02"


def test_response_times_are_those_of_the_leads_that_became_ready(engine: Engine) -> None:
    for seconds in (60, 120, 600):
        lead(engine, at(2, 9), answered_after=seconds, ready_after=seconds + 5)
    lead(engine, at(2, 9), ready_after=30)
    lead(engine, at(2, 23, 59), ready_after=120, answered_after=100)  # ready on Tuesday
    (website,) = table(make(engine, "leads"), "response")
    assert (website["leads"], website["answered"], website["answered_after"]) == (4, 3, 120.0)
    assert (website["answered_slow"], website["ready_after"]) == (504.0, 95.0)
    (tuesday,) = table(make(engine, "leads", interval(at(3).date())), "response")
    assert (tuesday["leads"], tuesday["answered_after"]) == (1, 100.0)


def test_an_owner_has_what_came_and_what_was_open_at_the_end(engine: Engine) -> None:
    mine = lead(engine, at(1, 9), owner="anna.berg")
    lead(engine, at(2, 9), owner="anna.berg")
    lead(engine, at(2, 9), owner="max.lang")
    lead(engine, at(3, 9), owner="max.lang")
    end_deal(engine, mine, at(3, 9))
    owners = {row["owner"]: (row["leads"], row["open_deals"]) for row in table(make(engine, "leads"), "owners")}
    assert owners == {"anna.berg": (1, 2), "max.lang": (1, 1)}
    later = make(engine, "leads", interval(at(3).date()))
    assert {row["owner"]: row["open_deals"] for row in table(later, "owners")} == {"anna.berg": 1, "max.lang": 2}


def test_a_lead_that_came_late_counts_on_the_day_that_it_was_sent(engine: Engine) -> None:
    lead(engine, at(2, 9))
    before = make(engine, "leads")
    lead(engine, at(2, 18), received=at(20))
    late = make(engine, "leads")
    assert (totals(before)["leads"], totals(late)["leads"]) == (1, 2)
    assert (before.revision, late.revision) == (1, 2)
    assert totals(make(engine, "leads", interval(at(20).date())))["leads"] == 0
