"""Purchases through a running Airflow: asked for, approved by people, ordered, received, invoiced and booked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.buying import DECISIONS, Buying
from tests.support.stack import Waybill

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def buying(waybill: Waybill) -> Iterator[Buying]:
    """Purchasing in the running Waybill."""
    found = Buying(waybill)
    found.prepare()
    yield found
    found.desk.close()


@pytest.fixture(scope="module")
def cases(buying: Buying) -> dict[str, int]:
    """The requests of most of these tests: they pass the steps together, and then wait for their people."""
    return buying.requests(
        booked={"price": "250.00", "quantity": "10"},
        small={"price": "49.90", "quantity": "2"},
        rejected={"price": "1310.00"},
        in_stages={"price": "6000.00", "requester": "ben.fischer", "cost_centre": "6300", "category": "material"},
        asked_back={"price": "1420.00"},
        withdrawn={"price": "1530.00"},
        on_the_page={"price": "1580.00"},
        withdrawn_on_the_page={"price": "1590.00"},
        not_for_all={"price": "1640.00"},
        marked={"price": "1750.00"},
        cleared={"price": "1860.00"},
        changed={"price": "1970.00"},
        by_two={"price": "27000.00", "requester": "ben.fischer", "cost_centre": "5200", "category": "hardware"},
    )


def test_a_purchase_goes_from_the_request_to_the_journal(buying: Buying, cases: dict[str, int]) -> None:
    waybill = buying.waybill
    case = cases["booked"]
    run = buying.asked(case)
    assert buying.reaches(case, "approve")["owner"] == "maria.keller", "a named person has it"
    buying.decide("maria.keller", run, "approve")
    assert buying.reaches(case, "receive")["owner"] == "anna.schmidt"
    order = buying.order(case)
    assert waybill.one("select count(*) from erp_purchase_orders where key = :key", key=order) == 1
    (mail,) = waybill.rows("select * from mailbox where subject like '%' || :order || '%'", order=order)
    assert mail["to"] == "orders@papierhaus.example"
    early = buying.invoice(order, f"R-{case}", "10", "250.00")
    buying.settle()
    assert buying.case(early)["state"] == "waiting", "an invoice before its receipt waits"
    for quantity in ("4", "6"):
        delivery = buying.receive(order, quantity)
        buying.reaches(delivery, "log", "finished")
    buying.reaches(early, "log", "finished")
    done = buying.reaches(case, "log", "finished")
    assert done["outcome"] == "booked"
    journal = waybill.rows("select sum(debit) d, sum(credit) c from journal_lines where case_id = :id", id=early)
    assert journal == [{"d": journal[0]["c"], "c": journal[0]["d"]}]
    assert str(journal[0]["d"]) == "2975.00"
    (budget,) = waybill.rows(
        "select sum(committed) as committed, sum(consumed) as consumed from budget_entries where case_id = :id", id=case
    )
    assert (str(budget["committed"]), str(budget["consumed"])) == ("0.00", "2500.00")
    waybill.assert_balanced()


def test_a_small_purchase_is_approved_by_rule_and_says_by_which(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["small"]
    buying.reaches(case, "receive")
    assert buying.waybill.one("select approved_by from purchase_requests where case_id = :id", id=case) == "rule:small"
    assert not buying.waybill.rows("select 1 from approval_rounds where case_id = :id", id=case)


def test_a_rejected_purchase_ends_with_the_reason_and_orders_nothing(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["rejected"]
    run = buying.asked(case)
    silent = buying.answer("maria.keller", run, "reject")
    assert silent.status_code == 400, "a rejection says why"
    buying.decide("maria.keller", run, "reject", comment="we bought chairs in March")
    buying.waybill.wait_until(lambda: buying.case(case)["outcome"] == "rejected", 60)
    assert not buying.waybill.rows("select 1 from purchase_orders where case_id = :id", id=case)
    buying.waybill.finish(DECISIONS, run)


def test_stages_follow_each_other_and_each_is_asked_once(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["in_stages"]
    run = buying.asked(case)
    assert buying.answer("olaf.winter", run, "approve").status_code == 403, "not asked in the first stage"
    buying.decide("tom.berger", run, "approve")
    buying.asked(case, "stage_2")
    assert buying.reaches(case, "approve")["owner"] == "olaf.winter"
    buying.decide("olaf.winter", run, "approve", stage=2)
    buying.reaches(case, "receive")
    assert buying.answer("tom.berger", run, "approve").status_code == 409
    assert "already decided by" in buying.answer("tom.berger", run, "approve").json()["detail"]


def test_a_question_goes_back_to_the_requester_and_returns(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["asked_back"]
    run = buying.asked(case)
    buying.decide("maria.keller", run, "ask", comment="for which room?")
    buying.asked(case, "question")
    assert buying.case(case)["owner"] == "anna.schmidt"
    assert buying.answer("maria.keller", run, "approve").status_code in (403, 409), "it waits for the answer"
    buying.decide("anna.schmidt", run, "answer", comment="for the new meeting room")
    again = buying.asked(case)
    assert again != run, "a task that was answered shows nothing new: another run asks"
    buying.decide("maria.keller", again, "approve")
    buying.reaches(case, "receive")


def test_the_requester_can_withdraw(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["withdrawn"]
    run = buying.asked(case)
    assert buying.answer("maria.keller", run, "withdraw", comment="no").status_code == 403
    buying.decide("anna.schmidt", run, "withdraw", comment="not needed any more")
    buying.waybill.wait_until(lambda: buying.case(case)["outcome"] == "withdrawn", 60)


def test_answers_on_waybill_s_own_page_wake_the_run_at_once(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["on_the_page"]
    run = buying.asked(case)
    assert on_the_page(buying, "olaf.winter", case, "approve").status_code == 403, "not asked"
    assert on_the_page(buying, "maria.keller", case, "ask", "for which room?").status_code == 303
    buying.asked(case, "question", seconds=30)
    assert on_the_page(buying, "anna.schmidt", case, "answer", "for the new one").status_code == 303
    again = buying.asked(case, seconds=30)
    assert again != run
    assert on_the_page(buying, "maria.keller", case, "approve").status_code == 303
    buying.reaches(case, "receive", seconds=60)
    assert buying.task(again, "stage_1")["state"] == "success"


def test_a_question_may_be_followed_by_a_withdrawal_on_the_page(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["withdrawn_on_the_page"]
    buying.asked(case)
    assert on_the_page(buying, "maria.keller", case, "ask", "for which room?").status_code == 303
    run = buying.asked(case, "question", seconds=30)
    assert on_the_page(buying, "anna.schmidt", case, "withdraw").status_code == 303
    buying.waybill.wait_until(lambda: buying.case(case)["outcome"] == "withdrawn", 60)
    buying.waybill.finish(DECISIONS, run, seconds=60)


def on_the_page(buying: Buying, account: str, case: int, answer: str, comment: str = "") -> httpx.Response:
    """Answer on the page of a case's latest round, with the token that any page of the account carries."""
    client, asked = buying.desk.client(account), buying.round(case)
    token = re.search(r'name="token" value="([^"]+)"', client.get("/waybill/approvals/deputies").text)
    assert token is not None
    stage = buying.waybill.one(
        "select number from approval_stages where round_id = :id and state = 'open'", id=asked["id"]
    )
    fields = {"answer": answer, "comment": comment, "digest": asked["digest"], "stage": str(stage)}
    return client.post(f"/waybill/approvals/{asked['id']}", data={**fields, "token": token.group(1)})


def test_whoever_may_not_decide_is_told_why_and_changes_nothing(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["not_for_all"]
    run = buying.asked(case)
    path = f"/api/v2/dags/{DECISIONS}/dagRuns/{run}/taskInstances/stage_1/-1/hitlDetails"
    approve = {"chosen_options": ["Approve"], "params_input": {"comment": ""}}
    base = buying.waybill.home.url
    assert httpx.patch(base + path, json=approve).status_code == 401
    assert httpx.patch(base + path, json=approve, headers={"Authorization": "Bearer forged"}).status_code in (401, 403)
    assert buying.answer("viewer", run, "approve").status_code == 403, "a viewer looks"
    for account, words in {
        "anna.schmidt": "own request",
        "tom.berger": "not asked",
        "admin": "several people use",
    }.items():
        said = buying.answer(account, run, "approve")
        assert said.status_code == 403, (account, said.text)
        assert words in said.json()["detail"], said.text
    token = buying.desk.client("maria.keller").headers["Authorization"].removeprefix("Bearer ")
    forged = httpx.patch(
        base + path, json=approve, cookies={"_token": token}, headers={"Origin": "https://evil.example"}
    )
    assert forged.status_code == 403, "another site's page cannot answer with a person's cookie"
    assert httpx.get(base + path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert not buying.waybill.rows(
        "select 1 from approval_decisions d join approval_rounds r on r.id = d.round_id where r.case_id = :id", id=case
    )
    assert buying.task(run, "stage_1")["state"] == "awaiting_input"


def test_marking_a_task_by_hand_approves_nothing(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["marked"]
    run = buying.asked(case)
    marked = buying.waybill.api.patch(
        f"/api/v2/dags/{DECISIONS}/dagRuns/{run}/taskInstances/stage_1", json={"new_state": "success"}
    )
    assert marked.status_code == 200, marked.text
    buying.waybill.finish(DECISIONS, run, state="failed")
    assert buying.case(case)["state"] == "waiting"
    assert not buying.waybill.rows("select 1 from purchase_orders where case_id = :id", id=case)
    cleared = buying.waybill.api.post(
        f"/api/v2/dags/{DECISIONS}/clearTaskInstances",
        json={"dry_run": False, "dag_run_id": run, "only_failed": False, "reset_dag_runs": True},
    )
    assert cleared.status_code == 200, cleared.text
    buying.asked(case)
    buying.decide("maria.keller", run, "approve")
    buying.reaches(case, "receive")


def test_clearing_a_decision_run_at_every_task_changes_nothing(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["cleared"]
    run = buying.asked(case)
    buying.decide("maria.keller", run, "approve")
    buying.reaches(case, "receive")
    buying.waybill.finish(DECISIONS, run)
    before = buying.waybill.rows("select * from effects where case_id = :id order by id", id=case)
    for task in ("stage_1", "question", "conclude"):
        cleared = buying.waybill.api.post(
            f"/api/v2/dags/{DECISIONS}/clearTaskInstances",
            json={"dry_run": False, "dag_run_id": run, "task_ids": [task], "only_failed": False,
                  "include_downstream": True, "reset_dag_runs": True},
        )  # fmt: skip
        assert cleared.status_code == 200, cleared.text
        buying.waybill.finish(DECISIONS, run)
    assert buying.waybill.rows("select * from effects where case_id = :id order by id", id=case) == before
    assert buying.case(case)["stage"] == "receive"


def test_a_change_of_content_voids_what_was_asked(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["changed"]
    run = buying.asked(case)
    change = buying.desk.client("anna.schmidt").post(
        "/api/v2/dags/purchase_change/dagRuns",
        json={"logical_date": None, "conf": {"request": f"PR-{case}", "justification": "for the new office"}},
    )
    assert change.status_code == 200, change.text
    buying.waybill.finish("purchase_change", change.json()["dag_run_id"])
    buying.waybill.wait_until(lambda: buying.round(case)["number"] == 2, 60)
    again = buying.asked(case)
    late = buying.answer("maria.keller", run, "approve")
    assert late.status_code == 409
    assert "changed" in late.json()["detail"]
    buying.waybill.finish(DECISIONS, run)
    buying.decide("maria.keller", again, "approve")
    buying.reaches(case, "receive")


def test_two_approvers_at_the_same_instant_are_both_heard_and_none_twice(buying: Buying, cases: dict[str, int]) -> None:
    case = cases["by_two"]
    run = buying.asked(case)
    seats = _decide_until_two_are_needed(buying, case, run)
    number = len(buying.waybill.rows("select 1 from approval_stages where round_id = :id", id=buying.round(case)["id"]))

    def approve(account: str) -> httpx.Response:
        return buying.answer(account, run, "approve", stage=number)

    for account in seats:
        buying.desk.client(account)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(approve, [*seats[:2], *seats[:2]]))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409], [a.text for a in answers]
    buying.reaches(case, "receive")
    assert (
        buying.waybill.one(
            "select count(*) from approval_decisions d join approval_stages s on s.id = d.stage_id"
            " where d.round_id = :id and s.number = :number",
            id=buying.round(case)["id"],
            number=number,
        )
        == 2
    )


def _decide_until_two_are_needed(buying: Buying, case: int, run: str) -> list[str]:
    """Approve stage after stage until the one that needs two; return its seats."""
    round_id = buying.round(case)["id"]
    stages: list[dict[str, Any]] = buying.waybill.rows(
        """select s.number, s.needed, array_agg(p.person order by p.place) as seats
           from approval_stages s join approval_seats p on p.stage_id = s.id
           where s.round_id = :id group by s.number, s.needed order by s.number""",
        id=round_id,
    )
    for stage in stages:
        buying.asked(case, f"stage_{stage['number']}")
        if stage["needed"] == 2:
            return list(stage["seats"])
        buying.decide(stage["seats"][0], run, "approve", stage=stage["number"])
    raise AssertionError("no stage needs two")
