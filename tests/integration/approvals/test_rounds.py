"""Rounds: what opens, voids, follows and concludes them, and what waits for whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from sqlalchemy import Engine, text

from include.approvals import rounds
from include.approvals.rounds import Round, Waiting
from include.data.database import authored
from tests.support.approvals import (
    HOUR,
    MONDAY,
    answer,
    ask_for,
    look,
    opened,
    plan,
    refusal,
    stands,
    waiting_case,
)
from tests.support.work import change, receive, rows


def latest(engine: Engine, *cases: int) -> dict[int, Round]:
    with engine.connect() as connection:
        return rounds.latest(connection, list(cases), MONDAY)


def waiting(engine: Engine, person: str | None = None, workflow: str | None = None) -> list[Waiting]:
    with engine.connect() as connection:
        return rounds.waiting(connection, workflow, person, MONDAY)


class TestOpening:
    def test_a_batch_at_once_each_with_its_own_stages(self, engine: Engine) -> None:
        cases = [waiting_case(engine) for _ in range(3)]
        asks = [
            ask_for(cases[0], plan("maria.keller")),
            ask_for(cases[1], plan("tom.berger", "ines.vogt"), requester="ben.fischer"),
            ask_for(cases[2], plan((["karl.brandt", "sara.neumann"], 2))),
        ]
        with authored(engine, actor="system:test", run="run-1") as connection:
            found = rounds.open_rounds(connection, asks, MONDAY)
        assert {case: found[case].waits_for for case in cases} == {
            cases[0]: ["maria.keller"],
            cases[1]: ["tom.berger"],
            cases[2]: ["karl.brandt", "sara.neumann"],
        }
        assert [found[case].run_id for case in cases] == [f"purchase_approval_{case}_1" for case in cases]
        assert found == latest(engine, *cases)

    def test_again_with_the_same_content_changes_nothing(self, engine: Engine) -> None:
        first = opened(engine, "maria.keller")
        answer(engine, first.id, "maria.keller", "ask")
        again = opened(engine, "tom.berger", case=first.case_id)
        assert (again.id, again.number, again.state) == (first.id, 1, "asked")
        assert rows(engine, "select count(*) from approval_stages") == [{"count": 1}]
        assert rows(engine, "select count(*) from events where kind = 'approval.opened'") == [{"count": 1}]

    def test_with_other_content_voids_what_was_given(self, engine: Engine) -> None:
        first = opened(engine, "maria.keller", "ines.vogt")
        answer(engine, first.id, "maria.keller")
        second = opened(engine, "maria.keller", "ines.vogt", content="dearer", case=first.case_id)
        assert (second.number, second.state, second.waits_for) == (2, "open", ["maria.keller"])
        assert second.run_id == f"purchase_approval_{first.case_id}_2"
        assert stands(engine, first.id).state == "void"
        refused = refusal(engine, first.id, "ines.vogt")
        assert refused.code == "void"
        assert "asked for again" in refused.message
        found = rows(engine, "select kind from events where kind like 'approval.%' order by id")
        assert [row["kind"] for row in found] == [
            "approval.opened",
            "approval.decided",
            "approval.void",
            "approval.opened",
        ]

    def test_an_approval_of_other_content_is_no_approval(self, engine: Engine) -> None:
        first = opened(engine, "maria.keller")
        answer(engine, first.id, "maria.keller")
        second = opened(engine, "maria.keller", content="dearer", case=first.case_id)
        assert (second.number, second.state) == (2, "open")
        assert stands(engine, first.id).state == "approved"

    @pytest.mark.parametrize("what", ["approve", "reject"])
    def test_what_is_decided_is_not_asked_again(self, engine: Engine, what: str) -> None:
        first = opened(engine, "maria.keller")
        answer(engine, first.id, "maria.keller", what)
        assert opened(engine, "maria.keller", case=first.case_id).id == first.id

    def test_what_expired_is_asked_again(self, engine: Engine) -> None:
        first = opened(engine, "karl.brandt")
        look(engine, first.id, MONDAY + timedelta(days=1))
        assert look(engine, first.id, MONDAY + timedelta(days=30)).expired
        assert opened(engine, "karl.brandt", case=first.case_id).number == 2

    def test_a_round_keeps_stages_and_policy_under_which_it_was_asked(self, engine: Engine) -> None:
        first = opened(engine, "maria.keller", "ines.vogt")
        again = opened(engine, "tom.berger", case=first.case_id)
        assert again.policy == first.policy
        assert again.waits_for == ["maria.keller"]

    def test_by_two_at_once_asks_once(self, engine: Engine) -> None:
        case = waiting_case(engine)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: opened(engine, "maria.keller", case=case), range(4)))
        assert len({each.id for each in found}) == 1

    def test_of_what_is_approved_by_rule_is_refused(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="by rule"):
            opened(engine)


class TestDigest:
    def test_is_of_the_content_and_not_of_its_order(self) -> None:
        assert rounds.digest_of({"a": "1", "b": ["2"]}) == rounds.digest_of({"b": ["2"], "a": "1"})
        assert rounds.digest_of({"a": "1"}) != rounds.digest_of({"a": "2"})

    def test_refuses_floats_however_deep(self) -> None:
        with pytest.raises(ValueError, match="more than one form"):
            rounds.digest_of({"a": [{"b": 0.1}]})


class TestConcluding:
    def test_wakes_the_case_once(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        with authored(engine, actor="system:test") as connection:
            assert not rounds.conclude(connection, asked.id)
        answer(engine, asked.id, "maria.keller")
        assert rows(engine, "select state from cases") == [{"state": "waiting"}]
        with authored(engine, actor="system:test") as connection:
            assert rounds.conclude(connection, asked.id)
        assert rows(engine, "select state from cases") == [{"state": "pending"}]
        change(engine, "update cases set state = 'waiting'")
        with authored(engine, actor="system:test") as connection:
            assert not rounds.conclude(connection, asked.id)
        assert rows(engine, "select state from cases") == [{"state": "waiting"}]
        assert latest(engine, asked.case_id)[asked.case_id].concluded

    def test_of_a_void_round_leaves_the_case_to_its_successor(self, engine: Engine) -> None:
        first = opened(engine, "maria.keller")
        opened(engine, "maria.keller", content="other", case=first.case_id)
        with authored(engine, actor="system:test") as connection:
            assert rounds.conclude(connection, first.id)
        assert rows(engine, "select state from cases") == [{"state": "waiting"}]

    def test_finds_what_nobody_concluded(self, engine: Engine) -> None:
        done, forgotten, still_open = (opened(engine, "maria.keller") for _ in range(3))
        for asked in (done, forgotten):
            answer(engine, asked.id, "maria.keller")
        with authored(engine, actor="system:test") as connection:
            rounds.conclude(connection, done.id)
            assert rounds.unconcluded(connection, timedelta(hours=1)) == [forgotten.id]
            assert rounds.unconcluded(connection, timedelta(days=3650)) == []
        assert still_open.is_open

    def test_keeps_that_the_case_drew_the_consequence(self, engine: Engine) -> None:
        asked = opened(engine, "karl.brandt")
        with authored(engine, actor="system:test") as connection:
            rounds.settle(connection, [asked.id])
        assert not stands(engine, asked.id).settled  # it is open
        answer(engine, asked.id, "karl.brandt", "reject")
        with authored(engine, actor="system:test") as connection:
            rounds.settle(connection, [asked.id])
        assert stands(engine, asked.id).settled


class TestWaiting:
    def test_tells_who_since_when_and_how_late(self, engine: Engine) -> None:
        late = opened(engine, "maria.keller", now=MONDAY - timedelta(days=7))
        asked = opened(engine, "maria.keller", now=MONDAY - HOUR)
        answer(engine, asked.id, "maria.keller", "ask", now=MONDAY)
        done = opened(engine, "maria.keller")
        answer(engine, done.id, "maria.keller")
        found = waiting(engine)
        assert [(each.round_id, each.who, each.late) for each in found] == [
            (late.id, ["maria.keller"], True),
            (asked.id, ["anna.schmidt"], False),
        ]
        assert found[0].since == MONDAY - timedelta(days=7)
        assert found[0].due is not None
        assert found[1].since == MONDAY

    def test_of_one_person_also_as_deputy_and_as_requester(self, engine: Engine) -> None:
        one = opened(engine, "maria.keller", requester="ben.fischer")
        opened(engine, "karl.brandt", "maria.keller", requester="ben.fischer")
        assert [each.round_id for each in waiting(engine, "maria.keller")] == [one.id]
        change(
            engine,
            "insert into delegations (person, deputy, starts, ends, reason, actor)"
            " values ('maria.keller', 'anna.schmidt', :day, :day, 'leave', 'user:x'),"
            " ('maria.keller', 'ben.fischer', :day, :day, 'leave', 'user:x')",
            day=date(2026, 11, 16),
        )
        assert [each.round_id for each in waiting(engine, "anna.schmidt")] == [one.id]
        assert waiting(engine, "ben.fischer") == []
        answer(engine, one.id, "maria.keller", "ask")
        assert [each.round_id for each in waiting(engine, "ben.fischer")] == [one.id]
        assert waiting(engine, "maria.keller") == []

    def test_of_one_workflow_and_not_of_closed_cases(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert len(waiting(engine, workflow="purchase_approval")) == 1
        assert waiting(engine, workflow="another") == []
        change(engine, "update cases set state = 'rejected', outcome = 'discarded', closed_at = now()")
        assert waiting(engine) == []
        look(engine, asked.id, MONDAY)
        assert stands(engine, asked.id).state == "void"

    def test_pages_of_rounds_and_questions_are_parts_of_one_list(self, engine: Engine) -> None:
        """Also where both have waited equally long."""
        for hours in (30, 9, 8, 8, 2, 1):
            opened(engine, "maria.keller", now=MONDAY - hours * HOUR)
            question = opened(engine, "maria.keller", now=MONDAY - timedelta(days=9))
            answer(engine, question.id, "maria.keller", "ask", now=MONDAY - hours * HOUR)
        whole = waiting(engine)
        assert [each.since for each in whole] == sorted(each.since for each in whole)
        assert {each.state for each in whole} == {"open", "asked"}
        for late in (False, True):
            parts, after = [], None
            with engine.connect() as connection:
                while part := rounds.waiting(connection, now=MONDAY, late=late, after=after, limit=5):
                    parts += part
                    after = part[-1].since, part[-1].round_id
            assert parts == [each for each in whole if each.late or not late]

    def test_does_not_name_who_has_left(self, engine: Engine, edit_people: Callable[..., None]) -> None:
        opened(engine, (["maria.keller", "tom.berger"], 1))
        edit_people("maria.keller", active=False)
        assert waiting(engine)[0].who == ["tom.berger"]


@pytest.mark.slow
def test_a_hundred_thousand_rounds_are_listed_quickly(engine: Engine) -> None:
    """Most of them over; one person's few among those that wait."""
    (template,) = receive(engine, [{}], workflow="purchase_approval", source="purchase-form")
    assert template
    with authored(engine, actor="system:test") as connection:
        connection.execute(
            text("""
            insert into cases (workflow, key, parent_id, stage, owner, state)
            select 'purchase_approval', 'many/' || n, :parent, 'approve', 'x', 'waiting'
            from generate_series(1, 100000) n
        """),
            {"parent": template},
        )
        connection.execute(
            text("""
            insert into approval_rounds (case_id, workflow, number, requester, title, shown, digest, policy, run_id,
                                         state, closed_at, concluded_at)
            select id, workflow, 1, 'anna.schmidt', 'Request', '[]', repeat('a', 64), 'p', 'run_' || id,
                   case when id % 20 = 0 then 'open' else 'approved' end,
                   case when id % 20 <> 0 then now() end, case when id % 20 <> 0 then now() end
            from cases where parent_id is not null""")
        )
        connection.execute(
            text("""
            insert into approval_stages (round_id, number, rule, why, needed, within, state, opened_at, due_at)
            select id, 1, 'r', 'w', 1, '8 hours', case state when 'open' then 'open' else 'approved' end, now(), now()
            from approval_rounds""")
        )
        connection.execute(
            text("""
            insert into approval_seats (stage_id, place, person, via)
            select id, 1, case when row_number() over (partition by state order by id) % 50 = 0
                               then 'tom.berger' else 'maria.keller' end, 'policy'
            from approval_stages""")
        )
    change(engine, "analyze")
    figures = []
    for person in (None, "maria.keller", "tom.berger"):
        started = time.perf_counter()
        found = waiting(engine, person)
        figures.append((person, len(found), round(time.perf_counter() - started, 3)))
    print(figures)
    assert [count for _, count, _ in figures] == [5000, 4900, 100]
    assert max(seconds for _, _, seconds in figures) < 5
