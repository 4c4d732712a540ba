"""Who may answer a round, what an answer does, and what is refused however it is tried."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from include.approvals import delegations, people, rounds
from include.approvals.decisions import Decision, Refused
from include.data.database import authored
from tests.support.approvals import HOUR, MONDAY, answer, look, opened, refusal, stands, today
from tests.support.work import change, rows

BOARD = ["ines.vogt", "karl.brandt", "sara.neumann"]


def delegate(engine: Engine, person: str, deputy: str, starts: date, ends: date) -> int:
    with authored(engine, actor=f"user:{person}") as connection:
        return connection.exec_driver_sql(
            "insert into delegations (person, deputy, starts, ends, reason, actor)"
            " values (%s, %s, %s, %s, 'on leave', 'user:test') returning id",
            (person, deputy, starts, ends),
        ).scalar_one()


def owner(engine: Engine, case: int) -> str:
    return str(rows(engine, "select owner from cases where id = :id", id=case)[0]["owner"])


def kinds(engine: Engine, case: int) -> list[str]:
    found = rows(engine, "select kind from events where case_id = :id and kind like 'approval.%' order by id", id=case)
    return [row["kind"] for row in found]


def decisions(engine: Engine) -> list[dict[str, object]]:
    return rows(engine, "select person, seat, answer, route, comment, digest from approval_decisions order by id")


class TestStages:
    def test_one_after_another_and_the_last_one_approves_the_round(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", "ines.vogt")
        assert asked.waits_for == ["maria.keller"]
        first = answer(engine, asked.id, "maria.keller")
        assert (first.stage, first.stage_closed, first.round_closed, first.round_state) == (1, True, False, "open")
        assert stands(engine, asked.id).waits_for == ["ines.vogt"]
        last = answer(engine, asked.id, "ines.vogt")
        assert (last.stage, last.round_closed, last.round_state) == (2, True, "approved")
        assert stands(engine, asked.id).waits_for == []
        assert kinds(engine, asked.case_id) == ["approval.opened", "approval.decided", "approval.decided"]

    def test_a_later_stage_is_not_asked_before_its_time(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", "ines.vogt")
        refused = refusal(engine, asked.id, "ines.vogt")
        assert refused.code == "not_asked"
        assert "stage 2" in refused.message

    def test_as_many_as_needed_side_by_side(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 2))
        assert not answer(engine, asked.id, "sara.neumann").stage_closed
        assert stands(engine, asked.id).waits_for == ["ines.vogt", "karl.brandt"]
        assert answer(engine, asked.id, "karl.brandt").round_state == "approved"

    def test_one_rejection_ends_the_round_at_once(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 2), "frank.weber")
        answer(engine, asked.id, "karl.brandt")
        assert answer(engine, asked.id, "ines.vogt", "reject").round_state == "rejected"
        assert rows(engine, "select distinct state from approval_stages") == [{"state": "closed"}]
        refused = refusal(engine, asked.id, "sara.neumann")
        assert refused.code == "already_decided"
        assert "Ines Vogt: rejected" in refused.message

    def test_the_owner_of_the_case_is_whom_it_waits_for(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", "ines.vogt")
        answer(engine, asked.id, "maria.keller")
        assert owner(engine, asked.case_id) == "ines.vogt"
        answer(engine, asked.id, "ines.vogt", "ask", comment="Which model?")
        assert owner(engine, asked.case_id) == "anna.schmidt"
        answer(engine, asked.id, "anna.schmidt", "answer", comment="The small one.")
        assert owner(engine, asked.case_id) == "ines.vogt"

    @pytest.mark.parametrize("what", ["reject", "ask"])
    def test_an_answer_that_somebody_must_understand_needs_a_comment(self, engine: Engine, what: str) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "maria.keller", what, comment="  ").code == "comment_needed"
        assert decisions(engine) == []


class TestQuestion:
    def test_goes_to_the_requester_and_returns_with_what_was_approved(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 2))
        answer(engine, asked.id, "karl.brandt")
        assert answer(engine, asked.id, "ines.vogt", "ask", comment="Why now?").round_state == "asked"
        assert stands(engine, asked.id).waits_for == ["anna.schmidt"]
        assert refusal(engine, asked.id, "sara.neumann").code == "asked"
        assert answer(engine, asked.id, "anna.schmidt", "answer", comment="It broke.").round_state == "open"
        assert stands(engine, asked.id).waits_for == ["ines.vogt", "sara.neumann"]
        assert answer(engine, asked.id, "ines.vogt").round_state == "approved"

    def test_the_clock_starts_anew_with_the_answer(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        answer(engine, asked.id, "maria.keller", "ask", now=MONDAY + 7 * HOUR)
        answer(engine, asked.id, "anna.schmidt", "answer", now=MONDAY + timedelta(days=1))
        assert look(engine, asked.id, MONDAY + timedelta(days=1, hours=3)).escalated == []
        assert look(engine, asked.id, MONDAY + timedelta(days=1, hours=8)).escalated == ["ines.vogt"]

    def test_an_answered_question_is_asked_in_another_run(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        answer(engine, asked.id, "maria.keller", "ask")
        answer(engine, asked.id, "anna.schmidt", "answer")
        assert stands(engine, asked.id).run_id == f"{asked.run_id}_2"

    def test_only_the_requester_answers_and_only_when_asked(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "anna.schmidt", "answer").code == "not_asked"
        answer(engine, asked.id, "maria.keller", "ask")
        assert refusal(engine, asked.id, "maria.keller", "answer").code == "not_asked"


class TestWithdrawal:
    @pytest.mark.parametrize("asked_first", [False, True])
    def test_by_the_requester_while_it_waits(self, engine: Engine, asked_first: bool) -> None:
        asked = opened(engine, "maria.keller")
        if asked_first:
            answer(engine, asked.id, "maria.keller", "ask")
        assert answer(engine, asked.id, "anna.schmidt", "withdraw", comment=None).round_state == "withdrawn"
        refused = refusal(engine, asked.id, "maria.keller")
        assert refused.code == "closed"
        assert "Anna Schmidt withdrew" in refused.message

    def test_by_nobody_else_and_not_afterwards(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "maria.keller", "withdraw").code == "not_asked"
        answer(engine, asked.id, "maria.keller")
        assert refusal(engine, asked.id, "anna.schmidt", "withdraw").code == "already_decided"


class TestSelfApproval:
    def test_the_requester_is_refused(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        for what in ("approve", "reject", "ask"):
            assert refusal(engine, asked.id, "anna.schmidt", what).code == "own_request"

    def test_the_requester_is_no_deputy(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        delegate(engine, "maria.keller", "anna.schmidt", MONDAY.date(), MONDAY.date())
        assert refusal(engine, asked.id, "anna.schmidt").code == "own_request"
        assert stands(engine, asked.id).may_decide == ["maria.keller"]

    def test_a_round_that_would_ask_the_requester_is_not_opened(self, engine: Engine) -> None:
        with pytest.raises(ValueError, match="own request"):
            opened(engine, (["anna.schmidt", "maria.keller"], 1), requester="anna.schmidt")

    def test_escalation_passes_the_requester_over(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", requester="ines.vogt")
        assert look(engine, asked.id, MONDAY + timedelta(days=1)).escalated == ["karl.brandt"]
        assert refusal(engine, asked.id, "ines.vogt").code == "own_request"

    def test_a_requester_who_became_the_manager_since_is_refused_and_passed_over(
        self, engine: Engine, edit_people: Callable[..., None]
    ) -> None:
        asked = opened(engine, "maria.keller")
        edit_people("maria.keller", manager="anna.schmidt")
        edit_people("anna.schmidt", manager="sara.neumann", roles=["board"])
        assert look(engine, asked.id, MONDAY + timedelta(days=1)).escalated == ["sara.neumann"]
        assert refusal(engine, asked.id, "anna.schmidt").code == "own_request"

    def test_a_shared_account_decides_nothing(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", requester="ben.fischer")
        assert refusal(engine, asked.id, "admin").code == "shared_account"
        assert refusal(engine, asked.id, "maria.keller", account="admin").code == "shared_account"

    def test_somebody_elses_account_decides_nothing(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "maria.keller", account="anna.schmidt").code == "unknown_person"
        assert refusal(engine, asked.id, "maria.keller", account="U0ANNA", route="slack").code == "unknown_person"

    @pytest.mark.parametrize(("person", "seat"), [("anna.schmidt", "maria.keller"), ("anna.schmidt", "anna.schmidt")])
    @pytest.mark.parametrize("what", ["approve", "reject", "ask"])
    def test_the_database_itself_refuses_it(self, engine: Engine, person: str, seat: str, what: str) -> None:
        asked = opened(engine, "maria.keller")
        number = delegate(engine, "maria.keller", "anna.schmidt", MONDAY.date(), MONDAY.date())
        with pytest.raises(DBAPIError, match="nobody decides on their own request"):
            change(
                engine,
                "insert into approval_decisions (round_id, stage_id, person, seat, delegation_id, answer, route,"
                " account, comment, digest) select r.id, s.id, :person, :seat,"
                " case when :person <> :seat then cast(:number as bigint) end, :what, 'page', 'x', 'y', r.digest"
                " from approval_rounds r join approval_stages s on s.round_id = r.id",
                person=person,
                seat=seat,
                number=number,
                what=what,
            )
        with pytest.raises(DBAPIError, match="nobody is asked about their own request"):
            change(
                engine,
                "insert into approval_seats (stage_id, place, person, via)"
                " select id, 9, 'anna.schmidt', 'escalation' from approval_stages",
            )
        with pytest.raises(DBAPIError, match="stays as it was asked"):
            change(engine, "update approval_rounds set requester = 'ben.fischer'")
        assert stands(engine, asked.id).state == "open"


class TestDatabase:
    def direct(self, engine: Engine, **values: object) -> None:
        parts = {"person": "maria.keller", "seat": "maria.keller", "answer": "approve", "delegation": None} | values
        change(
            engine,
            "insert into approval_decisions (round_id, stage_id, person, seat, delegation_id, answer, route, account,"
            " digest) select r.id, s.id, :person, :seat, cast(:delegation as bigint), :answer, 'page', 'x',"
            " coalesce(:digest, r.digest) from approval_rounds r join approval_stages s on s.round_id = r.id",
            **({"digest": None} | parts),
        )

    @pytest.mark.parametrize(
        "values",
        [
            {"person": "frank.weber", "seat": "frank.weber"},  # no seat
            {"person": "frank.weber"},  # no delegation
            {"person": "frank.weber", "delegation": 1},  # somebody else's
            {"digest": "0" * 64},
        ],
    )
    def test_refuses_what_the_program_would_refuse(self, engine: Engine, values: dict[str, object]) -> None:
        opened(engine, "maria.keller")
        delegate(engine, "maria.keller", "tom.berger", MONDAY.date(), MONDAY.date())
        with pytest.raises(DBAPIError):
            self.direct(engine, **values)
        self.direct(engine)
        assert len(decisions(engine)) == 1

    def test_refuses_a_decision_on_a_closed_round(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 1))
        answer(engine, asked.id, "karl.brandt")
        with pytest.raises(DBAPIError, match="takes no decision"):
            self.direct(engine, person="ines.vogt", seat="ines.vogt")

    @pytest.mark.parametrize(
        "statement",
        [
            "update approval_decisions set answer = 'reject'",
            "delete from approval_decisions",
            "truncate approval_decisions",
            "delete from approval_seats",
            "update approval_seats set person = 'frank.weber'",
            "update approval_stages set needed = 1",
            "update approval_rounds set digest = repeat('0', 64)",
            "delete from delegations",
            "update delegations set deputy = 'frank.weber'",
        ],
    )
    def test_keeps_what_was_decided_and_under_what(self, engine: Engine, statement: str) -> None:
        asked = opened(engine, (BOARD, 2))
        answer(engine, asked.id, "karl.brandt")
        with pytest.raises(DBAPIError, match="is refused"):
            change(engine, statement)


class TestDelegation:
    def test_a_deputy_decides_for_the_seat_on_these_days(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        delegate(engine, "maria.keller", "tom.berger", MONDAY.date(), MONDAY.date())
        assert stands(engine, asked.id).may_decide == ["maria.keller", "tom.berger"]
        made = answer(engine, asked.id, "tom.berger")
        assert (made.person, made.seat, made.round_state) == ("tom.berger", "maria.keller", "approved")
        assert decisions(engine)[0]["person"] == "tom.berger"
        assert decisions(engine)[0]["seat"] == "maria.keller"

    @pytest.mark.parametrize("days", [-1, 1])
    def test_not_before_and_not_after(self, engine: Engine, days: int) -> None:
        asked = opened(engine, "maria.keller")
        day = MONDAY.date() + timedelta(days=days)
        delegate(engine, "maria.keller", "tom.berger", day, day)
        assert refusal(engine, asked.id, "tom.berger").code == "not_asked"

    def test_the_day_is_the_one_at_the_place_of_whom_it_is_for(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        delegate(engine, "maria.keller", "tom.berger", MONDAY.date() + timedelta(days=1), date(2026, 11, 17))
        late = MONDAY.replace(hour=23, minute=30)  # half past midnight in Berlin
        assert refusal(engine, asked.id, "tom.berger", now=late - HOUR).code == "not_asked"
        assert answer(engine, asked.id, "tom.berger", now=late).round_closed

    def test_an_ended_one_lets_nobody_decide(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        number = delegate(engine, "maria.keller", "tom.berger", MONDAY.date(), MONDAY.date())
        with authored(engine, actor="user:maria.keller") as connection:
            assert delegations.end(connection, number, "user:maria.keller")
            assert not delegations.end(connection, number, "user:maria.keller")
        assert refusal(engine, asked.id, "tom.berger").code == "not_asked"

    def test_the_deputy_of_a_deputy_is_nobody(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        delegate(engine, "maria.keller", "tom.berger", MONDAY.date(), MONDAY.date())
        delegate(engine, "tom.berger", "petra.lang", MONDAY.date(), MONDAY.date())
        assert refusal(engine, asked.id, "petra.lang").code == "not_asked"

    def test_the_same_seat_decides_once(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 2))
        delegate(engine, "karl.brandt", "tom.berger", MONDAY.date(), MONDAY.date())
        answer(engine, asked.id, "tom.berger", route="slack", account="U0TOM")
        refused = refusal(engine, asked.id, "karl.brandt")
        assert refused.code == "already_decided"
        assert refused.message == (
            "already decided by Tom Berger for Karl Brandt: approved, by Slack, 16 Nov 08:00 UTC"
        )

    def test_one_person_counts_once_in_a_stage_whomever_they_stand_in_for(self, engine: Engine) -> None:
        asked = opened(engine, (BOARD, 2))
        delegate(engine, "karl.brandt", "sara.neumann", MONDAY.date(), MONDAY.date())
        assert answer(engine, asked.id, "sara.neumann").seat == "sara.neumann"
        assert refusal(engine, asked.id, "sara.neumann").code == "already_decided"
        assert stands(engine, asked.id).state == "open"

    def test_what_cannot_be_is_refused_to_whoever_makes_it(self, engine: Engine) -> None:
        day, one_day = today("maria.keller"), timedelta(days=1)
        with authored(engine, actor="user:x") as connection:
            for person, deputy, starts, ends, reason, why in (
                ("maria.keller", "maria.keller", day, day + one_day, "leave", "themselves"),
                ("maria.keller", "admin", day, day + one_day, "leave", "nobody who decides"),
                ("maria.keller", "nobody", day, day + one_day, "leave", "nobody who decides"),
                ("maria.keller", "tom.berger", day, day - one_day, "leave", "before the first"),
                ("maria.keller", "tom.berger", day - timedelta(days=9), day - timedelta(days=8), "x", "is over"),
                ("maria.keller", "tom.berger", day, day + one_day, " ", "say why"),
            ):
                with pytest.raises(delegations.DelegationInvalid, match=why):
                    delegations.delegate(connection, person, deputy, starts, ends, reason, "user:x")
            made = delegations.delegate(connection, "maria.keller", "tom.berger", day, day + one_day, "leave", "user:x")
            assert delegations.deputies(connection, ["maria.keller", "ines.vogt"], day) == {
                "maria.keller": ["tom.berger"]
            }
            ends = datetime.combine(day + 2 * one_day, time(), ZoneInfo("Europe/Berlin"))
            for minutes, those in ((-5, [made]), (5, [])):
                found = delegations.current(connection, ends + timedelta(minutes=minutes))
                assert [each.id for each in found] == those


class TestRefusal:
    def test_of_somebody_who_is_not_asked(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "tom.berger").code == "not_asked"
        answer(engine, asked.id, "maria.keller")
        assert refusal(engine, asked.id, "tom.berger").code == "not_asked"

    def test_of_an_unknown_or_departed_person(self, engine: Engine, edit_people: Callable[..., None]) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "", account="mallory").code == "unknown_person"
        edit_people("maria.keller", active=False)
        assert refusal(engine, asked.id, "maria.keller").code == "unknown_person"

    def test_of_a_round_that_does_not_exist(self, engine: Engine) -> None:
        assert refusal(engine, 404, "maria.keller").code == "unknown_round"

    def test_of_another_digest_than_the_rounds(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        assert refusal(engine, asked.id, "maria.keller", digest="0" * 64).code == "digest_differs"
        assert answer(engine, asked.id, "maria.keller", digest=asked.digest).round_closed
        assert decisions(engine)[0]["digest"] == asked.digest

    def test_of_a_closed_case(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        change(engine, "update cases set state = 'rejected', outcome = 'discarded', closed_at = now()")
        assert refusal(engine, asked.id, "maria.keller").code == "closed"

    def test_of_a_second_answer_names_the_first(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller", "ines.vogt")
        answer(engine, asked.id, "maria.keller", route="airflow")
        refused = refusal(engine, asked.id, "maria.keller", "reject")
        assert refused.code == "already_decided"
        assert refused.message == "already decided by Maria Keller: approved, in Airflow, 16 Nov 08:00 UTC"


def test_a_late_answer_to_one_stage_is_none_to_the_next(engine: Engine) -> None:
    asked = opened(engine, "maria.keller", (["ines.vogt", "karl.brandt"], 2), "maria.keller")
    for person in ("maria.keller", "ines.vogt", "karl.brandt"):
        answer(engine, asked.id, person)
    refused = refusal(engine, asked.id, "maria.keller", asked_in=1)
    assert refused.code == "already_decided"
    assert "already decided by Maria Keller" in refused.message
    assert answer(engine, asked.id, "maria.keller", asked_in=3).round_state == "approved"


class TestAtTheSameInstant:
    def together(self, *tasks: Callable[[], Decision]) -> list[Decision | Refused]:
        barrier = threading.Barrier(len(tasks))

        def run(task: Callable[[], Decision]) -> Decision | Refused:
            barrier.wait()
            try:
                return task()
            except Refused as refused:
                return refused

        with ThreadPoolExecutor(len(tasks)) as pool:
            return list(pool.map(run, tasks))

    @pytest.mark.parametrize("attempt", range(5))
    def test_two_approvers_both_count_where_both_are_needed(self, engine: Engine, attempt: int) -> None:
        asked = opened(engine, (BOARD, 2))
        came = self.together(
            lambda: answer(engine, asked.id, "karl.brandt"),
            lambda: answer(engine, asked.id, "ines.vogt", route="slack", account="U0INES"),
        )
        assert sorted(each.round_state for each in came if isinstance(each, Decision)) == ["approved", "open"]

    @pytest.mark.parametrize("attempt", range(5))
    def test_one_seat_by_three_routes_decides_once(self, engine: Engine, attempt: int) -> None:
        asked = opened(engine, "maria.keller", "ines.vogt")
        delegate(engine, "maria.keller", "tom.berger", MONDAY.date(), MONDAY.date())
        came = self.together(
            lambda: answer(engine, asked.id, "maria.keller", route="airflow"),
            lambda: answer(engine, asked.id, "maria.keller", "reject", route="slack", account="U0MARIA"),
            lambda: answer(engine, asked.id, "tom.berger"),
        )
        made = [each for each in came if isinstance(each, Decision)]
        refused = [each for each in came if isinstance(each, Refused)]
        assert len(made) == 1
        assert len(decisions(engine)) == 1
        assert {each.code for each in refused} == {"already_decided"}
        name = "Tom Berger for Maria Keller" if made[0].person == "tom.berger" else "Maria Keller"
        assert all(f"already decided by {name}: " in each.message for each in refused)

    @pytest.mark.parametrize("attempt", range(5))
    def test_approval_and_rejection_by_two_leave_one_outcome(self, engine: Engine, attempt: int) -> None:
        asked = opened(engine, (BOARD, 1))
        came = self.together(
            lambda: answer(engine, asked.id, "karl.brandt"),
            lambda: answer(engine, asked.id, "ines.vogt", "reject"),
        )
        made = [each for each in came if isinstance(each, Decision)]
        assert len(made) == 1
        assert stands(engine, asked.id).state == made[0].round_state

    @pytest.mark.parametrize("attempt", range(8))
    def test_in_the_second_of_the_expiry_it_is_decided_or_expired_and_never_both(
        self, engine: Engine, attempt: int
    ) -> None:
        asked = opened(engine, "karl.brandt")
        ends = look(engine, asked.id, MONDAY + timedelta(days=1)).next_at
        assert ends is not None
        moment = ends - timedelta(seconds=attempt % 2)
        with ThreadPoolExecutor(2) as pool:
            looking = pool.submit(look, engine, asked.id, ends)
            deciding = self.together(lambda: answer(engine, asked.id, "karl.brandt", now=moment))[0]
            looking.result()
        state = stands(engine, asked.id).state
        if isinstance(deciding, Decision):
            assert state == "approved"
            assert "approval.expired" not in kinds(engine, asked.case_id)
        else:
            assert deciding.code == "expired"
            assert state == "expired"
            assert decisions(engine) == []

    def test_a_change_of_content_and_a_decision_do_not_wait_for_each_other(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        with ThreadPoolExecutor(2) as pool:
            changing = pool.submit(opened, engine, "maria.keller", content="other", case=asked.case_id)
            came = self.together(lambda: answer(engine, asked.id, "maria.keller"))[0]
            after = changing.result()
        assert after.number == 2
        assert after.state == "open"
        assert stands(engine, asked.id).state == ("void" if isinstance(came, Refused) else "approved")


class TestEvents:
    def test_they_name_persons_by_id_and_hold_no_comment(self, engine: Engine) -> None:
        asked = opened(engine, "maria.keller")
        answer(engine, asked.id, "maria.keller", "reject", comment="Too dear for Anna")
        (event,) = rows(engine, "select detail, actor from events where kind = 'approval.decided'")
        assert event["detail"] == {
            "round": asked.id,
            "number": 1,
            "answer": "reject",
            "person": "maria.keller",
            "stage": 1,
            "seat": "maria.keller",
            "route": "page",
            "round_state": "rejected",
        }
        assert event["actor"] == "user:maria.keller"


def test_a_people_file_that_changes_is_read_again(
    engine: Engine, edit_people: Callable[..., None], tmp_path: Path
) -> None:
    before = people.people()
    edit_people("tom.berger", active=False)
    assert before.decides("tom.berger")
    assert not people.people().decides("tom.berger")
    assert yaml.safe_load((tmp_path / "people.yaml").read_text())["people"]["tom.berger"]["active"] is False
    assert rounds.waits("open", "x", ["tom.berger", "ines.vogt"], people.people()) == ["ines.vogt"]
