"""Approvals on a page: what waits for whom, answers by whoever is asked and nobody else, and who decides for whom."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from sqlalchemy import Engine

from include.approvals import rounds
from include.approvals.rounds import Round
from include.monitoring.views.approval_rounds import PAGE_LENGTH
from include.monitoring.views.masking import HIDDEN
from tests.support import purchases
from tests.support.approvals import answer, opened, stands, today
from tests.support.pages import Browser
from tests.support.work import change, rows
from waybill.pages.visitor import visitor

pytestmark = pytest.mark.airflow

DECISIONS = "select person, account, answer, route, comment, seat from approval_decisions order by id"


@pytest.fixture(autouse=True)
def _live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "live")


def asked(engine: Engine, *stages: Any, **more: Any) -> Round:
    """A round that was opened just now."""
    return opened(engine, *stages, **{"now": datetime.now(UTC), **more})


def says(log_in: Any, account: str, about: Round, what: str, comment: str = "", **changed: Any) -> Any:
    """Press a button of a round that may have been loaded long ago."""
    fields = {"answer": what, "comment": comment, "digest": about.digest, "stage": about.stage, **changed}
    return log_in("user", account).post(f"/approvals/{about.id}", **fields, token=token_of(account))


def in_days(days: int) -> str:
    """A day as it is typed, counted from today where Maria Keller is."""
    return str(today("maria.keller") + timedelta(days=days))


def followed(browser: Browser, answer: Any) -> str:
    """The page to which an action leads."""
    assert answer.status_code == 303
    address = httpx.URL(answer.headers["location"])
    return browser.text(address.path.removeprefix("/waybill"), **dict(address.params))


class TestLists:
    def test_mine_are_those_in_which_i_can_act_now(self, engine: Engine, log_in: Any) -> None:
        mine = asked(engine, "maria.keller")
        asked(engine, "tom.berger")
        seen = log_in("user", "maria.keller").text("/approvals")
        assert f"Request {mine.case_id}" in seen
        assert seen.count("<tr>") == 2
        assert "Maria Keller" in seen
        assert "Nothing waits for you" in log_in("user", "petra.lang").text("/approvals")

    def test_who_is_nobody_that_is_asked_begins_with_all(self, engine: Engine, log_in: Any) -> None:
        waits = asked(engine, "maria.keller")
        vera = log_in("viewer", "vera")
        seen = vera.text("/approvals")
        assert f'href="/waybill/approvals/{waits.id}"' in seen
        assert '<a href="/waybill/approvals?show=all" aria-current="page">' in seen
        assert "no one person's" in vera.text("/approvals", show="mine").replace("&#39;", "'")

    def test_all_are_everybody_s_and_late_those_past_their_due_time(self, engine: Engine, log_in: Any) -> None:
        late = opened(engine, "maria.keller", now=datetime.now(UTC) - timedelta(days=7))
        asked(engine, "tom.berger")
        ines = log_in("op", "ines.vogt")
        assert ines.text("/approvals", show="all").count("/waybill/approvals/") == 2 + 1  # and the one to the deputies
        seen = ines.text("/approvals", show="late")
        assert f"Request {late.case_id}" in seen
        assert "late since" in seen
        assert seen.count("<tr>") == 2
        assert ines.get("/approvals", show="yours").status_code == 422

    def test_a_page_holds_fifty_and_leads_to_the_next(self, engine: Engine, log_in: Any) -> None:
        for _ in range(PAGE_LENGTH + 3):
            asked(engine, "maria.keller")
        ines = log_in("op", "ines.vogt")
        first = ines.text("/approvals", show="all")
        found = re.search(r'rel="next" href="/waybill([^"]+)"', first)
        assert found
        address = httpx.URL(unescape(found.group(1)))
        second = ines.text(address.path, **dict(address.params))
        titles = [set(re.findall(r"Request \d+", text)) for text in (first, second)]
        assert [len(each) for each in titles] == [PAGE_LENGTH, 3]
        assert not titles[0] & titles[1]
        assert "Further ones" not in second

    def test_who_asked_is_told_to_those_concerned_and_to_ops_only(self, engine: Engine, log_in: Any) -> None:
        asked(engine, "maria.keller")
        assert "Anna Schmidt" not in log_in("viewer").text("/approvals", show="all")
        assert HIDDEN in log_in("viewer").text("/approvals", show="all")
        assert "Anna Schmidt" in log_in("op").text("/approvals", show="all")
        assert "Anna Schmidt" in log_in("user", "maria.keller").text("/approvals", show="all")

    def test_who_only_looks_sees_neither_what_is_bought_nor_who_asked_for_it(self, engine: Engine, log_in: Any) -> None:
        """Of a purchase by whoever would approve it, so that why its stages are asked names them."""
        purchases.prepare(engine)
        body = purchases.request("6000.00", "2", requester="tom.berger", cost_centre="5200", category="software")
        (case,) = purchases.add(engine, body)
        purchases.run(engine, until="approve")
        (one,) = rows(engine, "select id, title from approval_rounds where case_id = :id", id=case)
        told = ("Tom Berger", "Łukasz Müller", "14,280.00", "who asked for it")
        for path in ("/approvals", f"/approvals/{one['id']}"):
            page = unescape(log_in("viewer").text(path, show="all"))
            for each in told:
                assert each not in page, path
            assert f"Approval {one['id']}" in page
        op = log_in("op")
        assert one["title"] in unescape(op.text("/approvals", show="all"))
        page = unescape(op.text(f"/approvals/{one['id']}"))
        for each in (one["title"], *told):
            assert each in page

    def test_a_stranger_sees_nothing(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        for path in ("/approvals", f"/approvals/{one.id}", "/approvals/deputies"):
            assert log_in(None).get(path).status_code == 401
        assert log_in("viewer").get("/approvals/999").status_code == 404


class TestOneRound:
    def test_it_says_what_is_decided_who_is_asked_and_why(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, (["maria.keller", "tom.berger"], 2), "karl.brandt")
        answer(engine, one.id, "maria.keller", now=None, comment="good price")
        seen = log_in("user", "tom.berger").text(f"/approvals/{one.id}")
        for part in (
            "Amount",
            "1,000 EUR",
            "because",
            "2 of 2",
            "Karl Brandt",
            "good price",
            "Approve",
            "Anna Schmidt",
        ):
            assert part in seen

    def test_content_and_comments_are_for_those_concerned_and_for_ops(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, (["maria.keller", "tom.berger"], 2))
        answer(engine, one.id, "maria.keller", now=None, comment="call me at home")
        for person in ("olaf.winter", "olga"):
            seen = log_in("viewer", person).text(f"/approvals/{one.id}")
            assert "1,000 EUR" not in seen
            assert "call me at home" not in seen
            assert "<button" not in seen
        seen = log_in("op").text(f"/approvals/{one.id}")
        assert "1,000 EUR" in seen
        assert "<button" not in seen

    def test_what_people_wrote_is_only_text(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, (["maria.keller", "tom.berger"], 2))
        answer(engine, one.id, "maria.keller", now=None, comment="<script>alert(1)</script>")
        assert "<script>alert" not in log_in("user", "tom.berger").text(f"/approvals/{one.id}")


class TestAnswering:
    def test_whoever_is_asked_approves_and_the_event_says_who(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        maria, page = log_in("user", "maria.keller"), f"/approvals/{one.id}"
        done = maria.submit(page, page, answer="approve", comment="fine", digest=one.digest, stage=one.stage)
        shown = followed(maria, done)
        assert rows(engine, DECISIONS) == [
            {
                "person": "maria.keller",
                "account": "maria.keller",
                "answer": "approve",
                "route": "page",
                "comment": "fine",
                "seat": "maria.keller",
            }
        ]
        assert stands(engine, one.id, None).state == "approved"
        (event,) = rows(engine, "select actor, detail->>'route' as route from events where kind = 'approval.decided'")
        assert event == {"actor": "user:maria.keller", "route": "page"}
        assert "You have approved it." in shown
        assert "<button" not in shown

    def test_what_follows_is_in_the_ledger_as_by_every_other_way(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller", "tom.berger")
        says(log_in, "maria.keller", one, "approve")
        told = {row["target"] for row in rows(engine, "select target from effects")}
        assert any(target.endswith("stage-2/tom.berger") for target in told)
        assert stands(engine, one.id, None).waits_for == ["tom.berger"]

    def test_the_same_form_again_changes_nothing_and_says_so(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller", "tom.berger")
        says(log_in, "maria.keller", one, "approve")
        again = says(log_in, "maria.keller", one, "approve")
        assert again.status_code == 409
        assert "already decided by Maria Keller" in again.text
        assert len(rows(engine, DECISIONS)) == 1

    def test_a_question_goes_to_the_requester_and_its_answer_comes_back(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        maria, anna = log_in("user", "maria.keller"), log_in("user", "anna.schmidt")
        assert says(log_in, "maria.keller", one, "ask", "Which model?").status_code == 303
        assert "Which model?" in anna.text(f"/approvals/{one.id}")
        assert f"Request {one.case_id}" in anna.text("/approvals")
        assert says(log_in, "anna.schmidt", one, "answer", "The small one").status_code == 303
        assert "The small one" in maria.text(f"/approvals/{one.id}")
        assert says(log_in, "maria.keller", one, "approve").status_code == 303

    def test_a_comment_that_is_needed_is_asked_for_and_what_is_written_stays(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        refused = says(log_in, "maria.keller", one, "reject", "  ")
        assert refused.status_code == 400
        assert "say why you reject" in refused.text
        assert says(log_in, "maria.keller", one, "reject", "too dear").status_code == 303
        assert stands(engine, one.id, None).state == "rejected"

    def test_the_requester_withdraws_and_never_approves(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        refused = says(log_in, "anna.schmidt", one, "approve")
        assert refused.status_code == 403
        assert "your own request" in refused.text
        assert rows(engine, DECISIONS) == []
        assert says(log_in, "anna.schmidt", one, "withdraw").status_code == 303
        assert stands(engine, one.id, None).state == "withdrawn"

    @pytest.mark.parametrize(
        ("account", "role", "why"),
        [
            ("olaf.winter", "user", "you are not asked"),
            ("admin", "admin", "several people use"),
            ("olga", "op", "nobody&#39;s who decides"),
            ("olga", "viewer", "nobody&#39;s who decides"),
        ],
    )
    def test_nobody_else_decides_whatever_their_role(
        self, engine: Engine, log_in: Any, account: str, role: str, why: str
    ) -> None:
        one = asked(engine, "maria.keller")
        token = token_of(account)
        refused = log_in(role, account).post(
            f"/approvals/{one.id}", answer="approve", digest=one.digest, stage=1, token=token
        )
        assert refused.status_code == 403
        assert why in refused.text
        assert rows(engine, DECISIONS) == []

    def test_content_that_changed_since_is_not_approved(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        refused = says(log_in, "maria.keller", one, "approve", digest="0" * 64)
        assert refused.status_code == 409
        assert "not what you saw" in refused.text
        opened(engine, "maria.keller", case=one.case_id, content="another", now=datetime.now(UTC))
        void = says(log_in, "maria.keller", one, "approve")
        assert void.status_code == 409
        assert "void" in void.text
        assert "This is not the last word" in void.text
        assert rows(engine, DECISIONS) == []

    def test_a_form_of_another_stage_is_none_for_this_one(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller", "maria.keller")
        assert says(log_in, "maria.keller", one, "approve").status_code == 303
        assert says(log_in, "maria.keller", one, "approve", stage=1).status_code == 409
        assert says(log_in, "maria.keller", one, "approve", stage=2).status_code == 303

    def test_without_the_page_s_token_nothing_happens(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        maria = log_in("user", "maria.keller")
        fields = {"answer": "approve", "digest": one.digest, "stage": 1}
        others = token_of("tom.berger")
        for token in ({}, {"token": "made up"}, {"token": others}):
            assert maria.post(f"/approvals/{one.id}", **fields, **token).status_code == 403
        assert log_in(None).post(f"/approvals/{one.id}", **fields).status_code == 401
        assert rows(engine, DECISIONS) == []

    def test_a_deputy_decides_for_whom_they_stand_in(self, engine: Engine, log_in: Any) -> None:
        one = asked(engine, "maria.keller")
        _delegated(log_in)
        tom = log_in("user", "tom.berger")
        assert "Tom Berger, who decides in their place now" in tom.text(f"/approvals/{one.id}")
        assert f"Request {one.case_id}" in tom.text("/approvals")
        assert says(log_in, "tom.berger", one, "approve").status_code == 303
        assert rows(engine, "select person, seat from approval_decisions") == [
            {"person": "tom.berger", "seat": "maria.keller"}
        ]


class TestDeputies:
    def test_a_person_names_a_deputy_once_and_ends_it_once(self, engine: Engine, log_in: Any) -> None:
        for said in ("Entered as number 1", "entered already"):
            assert said in followed(log_in("user", "maria.keller"), _delegated(log_in))
        maria = log_in("user", "maria.keller")
        for _ in range(2):
            assert maria.submit("/approvals/deputies", "/approvals/deputies/1/end").status_code == 303
        assert rows(engine, "select person, deputy, actor, ended_by from delegations") == [
            {
                "person": "maria.keller",
                "deputy": "tom.berger",
                "actor": "user:maria.keller",
                "ended_by": "user:maria.keller",
            }
        ]
        events = rows(engine, "select kind, actor, workflow from events where kind like 'delegation%' order by id")
        assert [(each["kind"], each["actor"], each["workflow"]) for each in events] == [
            ("delegation.entered", "user:maria.keller", "approvals"),
            ("delegation.ended", "user:maria.keller", "approvals"),
        ]

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_deputy_decides_from_the_first_day_until_the_end_and_no_longer(
        self, engine: Engine, log_in: Any, ended: bool
    ) -> None:
        one = asked(engine, "maria.keller")
        _delegated(log_in, starts=in_days(0 if ended else 2))
        if ended:
            assert f"Request {one.case_id}" in log_in("user", "tom.berger").text("/approvals")
            maria = log_in("user", "maria.keller")
            maria.submit("/approvals/deputies", "/approvals/deputies/1/end")
        assert f"Request {one.case_id}" not in log_in("user", "tom.berger").text("/approvals")
        assert says(log_in, "tom.berger", one, "approve").status_code == 403
        assert rows(engine, DECISIONS) == []

    def test_what_cannot_be_is_said_and_what_was_written_stays(self, engine: Engine, log_in: Any) -> None:
        for fields, why in (
            ({"deputy": "maria.keller"}, "cannot stand in for themselves"),
            ({"ends": in_days(-3)}, "is before the first"),
            ({"ends": "soon"}, "written as 2026-12-24"),
            ({"reason": " "}, "say why"),
        ):
            refused = _delegated(log_in, **fields)
            assert refused.status_code == 400, fields
            assert why in refused.text
            assert "selected" in refused.text
        assert rows(engine, "select * from delegations") == []

    @pytest.mark.parametrize("account", ["anna.schmidt", "petra.lang", "admin", "olga"])
    def test_nobody_gives_away_or_ends_what_is_not_theirs(self, engine: Engine, log_in: Any, account: str) -> None:
        token = token_of(account)
        fields = {"person": "maria.keller", "deputy": "tom.berger", "ends": in_days(1), "reason": "away"}
        assert log_in("op", account).post("/approvals/deputies", **fields, token=token).status_code == 403
        assert rows(engine, "select * from delegations") == []
        _delegated(log_in)
        assert log_in("op", account).post("/approvals/deputies/1/end", token=token).status_code == 403
        assert rows(engine, "select ended_at from delegations") == [{"ended_at": None}]

    def test_they_are_shown_to_those_concerned_and_to_ops(self, engine: Engine, log_in: Any) -> None:
        _delegated(log_in, reason="in hospital")
        for account, role in (("maria.keller", "user"), ("tom.berger", "user"), ("ines.vogt", "user"), ("olga", "op")):
            assert "in hospital" in log_in(role, account).text("/approvals/deputies")
        for account, role in (("petra.lang", "user"), ("olga", "viewer")):
            assert "in hospital" not in log_in(role, account).text("/approvals/deputies")

    def test_without_the_page_s_token_nothing_happens(self, engine: Engine, log_in: Any) -> None:
        fields = {"deputy": "tom.berger", "ends": in_days(1), "reason": "away"}
        assert log_in("user", "maria.keller").post("/approvals/deputies", **fields).status_code == 403
        _delegated(log_in)
        assert log_in("user", "maria.keller").post("/approvals/deputies/1/end").status_code == 403
        assert rows(engine, "select ended_at from delegations") == [{"ended_at": None}]


def test_who_has_decided_already_is_not_told_that_it_waits_for_them(
    engine: Engine,
) -> None:
    one = asked(engine, (["maria.keller", "tom.berger"], 2))
    change(
        engine,
        "insert into delegations (person, deputy, starts, ends, reason, actor)"
        " values ('tom.berger', 'maria.keller', :day, :day + 1, 'leave', 'user:x')",
        day=today("tom.berger"),
    )
    answer(engine, one.id, "maria.keller", now=None)
    with engine.connect() as connection:
        assert rounds.waiting(connection, person="maria.keller") == []
        assert len(rounds.waiting(connection, person="tom.berger")) == 1


def _delegated(log_in: Any, **changed: str) -> Any:
    fields = {
        "person": "maria.keller",
        "deputy": "tom.berger",
        "starts": in_days(-1),
        "ends": in_days(3),
        "reason": "on leave",
    }
    return log_in("user", "maria.keller").submit("/approvals/deputies", "/approvals/deputies", **{**fields, **changed})


def token_of(account: str) -> str:
    """The token that a page with a form would give an account."""
    return visitor(SimpleAuthManagerUser(username=account, role="user")).token
