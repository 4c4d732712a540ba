"""What time does to a round, and that looking at it does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.approvals import clock
from include.approvals.clock import Milestones
from tests.support.approvals import HOUR, MONDAY, answer, look, opened, refusal, stands
from tests.support.work import rows

TUESDAY = MONDAY + timedelta(days=1)


def kinds(engine: Engine) -> list[str]:
    found = rows(engine, "select kind from events where kind like 'approval.%' order by id")
    return [row["kind"].removeprefix("approval.") for row in found]


def owner(engine: Engine) -> str:
    return str(rows(engine, "select owner from cases")[0]["owner"])


def test_nothing_is_due_at_first(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    assert look(engine, asked.id, MONDAY) == Milestones(next_at=MONDAY + 4 * HOUR)
    assert kinds(engine) == ["opened"]


def test_half_of_the_time_is_a_reminder_told_once(engine: Engine) -> None:
    asked = opened(engine, (["karl.brandt", "sara.neumann"], 2))
    answer(engine, asked.id, "karl.brandt")
    assert look(engine, asked.id, MONDAY + 4 * HOUR).remind == ["sara.neumann"]
    again = look(engine, asked.id, MONDAY + 4 * HOUR)
    assert again == Milestones(next_at=MONDAY + 8 * HOUR)
    assert kinds(engine).count("reminded") == 1


def test_the_time_is_business_time_of_who_is_asked(engine: Engine) -> None:
    friday = MONDAY - timedelta(days=3)
    asked = opened(engine, "maria.keller", now=friday + 6 * HOUR)
    assert look(engine, asked.id, friday + 7 * HOUR).next_at == MONDAY + 2 * HOUR
    assert look(engine, asked.id, MONDAY + 5 * HOUR).escalated == []


def test_the_whole_time_is_an_escalation_to_the_next_in_line(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    found = look(engine, asked.id, MONDAY + 8 * HOUR)
    assert found.escalated == ["ines.vogt"]
    assert found.next_at == TUESDAY + 4 * HOUR  # her own reminder
    assert stands(engine, asked.id).waits_for == ["ines.vogt", "maria.keller"]
    assert owner(engine) == "ines.vogt"
    assert answer(engine, asked.id, "maria.keller").round_state == "approved"  # a seat is not taken away


def test_whoever_was_escalated_to_may_decide(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    assert refusal(engine, asked.id, "ines.vogt").code == "not_asked"
    look(engine, asked.id, MONDAY + 8 * HOUR)
    assert answer(engine, asked.id, "ines.vogt").seat == "ines.vogt"


def test_it_climbs_and_at_the_top_the_time_runs_out(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    now, climbed, expired = MONDAY, [], False
    for _ in range(20):
        found = look(engine, asked.id, now)
        climbed += found.escalated
        if found.expired:
            expired = True
            break
        assert found.next_at is not None
        now = found.next_at
    assert climbed == ["ines.vogt", "karl.brandt"]
    assert expired
    # 3 escalation times of 8 hours, the last of which finds nobody, and 3 times 8 hours from there: 6 working days
    assert now == datetime.fromisoformat("2026-11-23T16:00:00Z")
    assert kinds(engine) == ["opened", "reminded", "escalated", "reminded", "escalated", "reminded", "expired"]
    assert look(engine, asked.id, now + timedelta(days=90)) == Milestones(expired=True)
    assert rows(engine, "select count(*) from approval_decisions") == [{"count": 0}]


def test_after_an_outage_people_still_get_their_time(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    much_later = MONDAY + timedelta(days=70)
    found = look(engine, asked.id, much_later)
    assert found.escalated == ["ines.vogt"]
    assert not found.expired
    assert answer(engine, asked.id, "maria.keller", now=much_later + HOUR).round_state == "approved"


def test_when_the_time_ran_out_nobody_decides_even_before_anybody_looked(engine: Engine) -> None:
    asked = opened(engine, "karl.brandt")
    ends = look(engine, asked.id, TUESDAY).next_at
    assert ends is not None
    assert refusal(engine, asked.id, "karl.brandt", now=ends).code == "expired"
    assert stands(engine, asked.id).state == "open"
    assert look(engine, asked.id, ends).expired
    assert refusal(engine, asked.id, "karl.brandt", now=ends).code == "expired"


def test_the_next_stage_has_its_own_time(engine: Engine) -> None:
    asked = opened(engine, "maria.keller", "tom.berger")
    answer(engine, asked.id, "maria.keller", now=MONDAY + 7 * HOUR)
    assert look(engine, asked.id, MONDAY + 8 * HOUR).escalated == []
    assert look(engine, asked.id, TUESDAY + 7 * HOUR).escalated == ["ines.vogt"]


def test_a_question_reminds_the_requester_and_escalates_to_nobody(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    answer(engine, asked.id, "maria.keller", "ask")
    assert look(engine, asked.id, MONDAY + 4 * HOUR).remind == ["anna.schmidt"]
    assert look(engine, asked.id, TUESDAY).escalated == []
    assert look(engine, asked.id, TUESDAY + timedelta(days=2)).expired


def test_who_has_left_is_replaced_at_once_where_too_few_are_left(
    engine: Engine, edit_people: Callable[..., None]
) -> None:
    asked = opened(engine, "maria.keller")
    edit_people("maria.keller", active=False)
    assert look(engine, asked.id, MONDAY + HOUR).escalated == ["ines.vogt"]
    assert look(engine, asked.id, MONDAY + HOUR).escalated == []
    assert owner(engine) == "ines.vogt"
    assert answer(engine, asked.id, "ines.vogt").round_closed


def test_who_has_left_is_not_replaced_where_enough_are_left(engine: Engine, edit_people: Callable[..., None]) -> None:
    asked = opened(engine, (["maria.keller", "tom.berger"], 1))
    edit_people("maria.keller", active=False)
    assert look(engine, asked.id, MONDAY + HOUR).escalated == []


def test_escalation_passes_over_who_has_left_or_decided(engine: Engine, edit_people: Callable[..., None]) -> None:
    asked = opened(engine, (["ines.vogt", "maria.keller"], 2))
    answer(engine, asked.id, "ines.vogt")
    edit_people("karl.brandt", active=False)
    found = look(engine, asked.id, TUESDAY)
    assert found.escalated == []
    assert found.next_at is not None  # the expiry


@pytest.mark.parametrize("attempt", range(4))
def test_many_who_look_at_once_do_each_thing_once(engine: Engine, attempt: int) -> None:
    asked = opened(engine, "maria.keller")
    for moment in (MONDAY + 4 * HOUR, MONDAY + 8 * HOUR):
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda _, at=moment: look(engine, asked.id, at), range(6)))
    assert kinds(engine) == ["opened", "reminded", "escalated"]
    assert sorted(each.escalated for each in found) == [[]] * 5 + [["ines.vogt"]]


def test_what_is_due_is_found(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    later = opened(engine, "maria.keller", now=TUESDAY)
    with engine.connect() as connection:
        assert clock.due(connection, MONDAY) == []
        assert clock.due(connection, MONDAY + 4 * HOUR) == [asked.id]
        assert clock.due(connection, TUESDAY + 8 * HOUR) == [asked.id, later.id]


def test_a_round_that_is_not_there_or_is_over_has_no_milestones(engine: Engine) -> None:
    asked = opened(engine, "maria.keller")
    answer(engine, asked.id, "maria.keller")
    assert look(engine, asked.id, TUESDAY) == Milestones()
    assert look(engine, 404, TUESDAY) == Milestones()
