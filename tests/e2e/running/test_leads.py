"""Leads through a running Airflow: what goes in as webhooks comes out as contacts, deals, tasks, mails and reports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.support.mix import known_mix
from tests.support.stack import Waybill
from tests.support.work import change

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

OURS = "(select id from cases where created_at >= :since and workflow = 'lead_to_client')"


@pytest.fixture
def since(waybill: Waybill) -> Any:
    """The instant from which on cases are this test's."""
    waybill.settle()
    return waybill.one("select clock_timestamp()")


def test_five_hundred_leads_with_a_known_mix_end_where_they_must(waybill: Waybill, since: Any) -> None:
    mix = known_mix(500, seed=500)
    answers = waybill.send(mix.bodies)
    assert {answer.status for answer in answers} == {202}
    waybill.settle(300)
    waybill.assert_balanced()

    def count(query: str) -> int:
        return int(waybill.one(query.replace("OURS", OURS), since=since))

    assert count("select count(*) from cases where id in OURS") == 500
    assert count("select count(*) from cases where id in OURS and state = 'finished'") == mix.finished
    reasons = waybill.rows(
        f"""select r->>'code' as code, count(*) from cases, jsonb_array_elements(reasons) r
            where cases.id in {OURS} and state = 'quarantined' group by 1""",
        since=since,
    )
    assert {row["code"]: row["count"] for row in reasons} == mix.quarantined
    assert count("select count(*) from leads where case_id in OURS and match = 'new'") == mix.people
    assert count("select count(*) from leads where case_id in OURS and match = 'same'") == mix.merged
    contacts = "select contact_id::text from leads where case_id in OURS"
    assert count(f"select count(*) from crm_contacts where key in ({contacts})") == mix.people
    assert count(f"select count(*) from crm_deals where contact_key in ({contacts})") == mix.people
    assert count(f"select count(*) from crm_tasks where contact_key in ({contacts})") == mix.finished
    mailed = "select effects.key from effects where system = 'mail' and case_id in OURS"
    assert count(f"select count(*) from mailbox where key in ({mailed})") == mix.mails
    assert count("select count(*) from report_lead_facts where case_id in OURS") == mix.finished
    assert count("select count(*) from effects where case_id in OURS and state <> 'sent'") == 0


def test_the_same_delivery_five_times_at_once_is_one_case(waybill: Waybill, since: Any) -> None:
    body, delivery = known_mix(1, seed=5).bodies, f"msg_{uuid4().hex}"
    with ThreadPoolExecutor(5) as pool:
        answers = [a[0] for a in pool.map(lambda _: waybill.send(body, ids=[delivery]), range(5))]
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 202]
    assert len({answer.receipt for answer in answers}) == 1
    assert waybill.one(f"select count(*) from cases where id in {OURS}", since=since) == 1
    waybill.settle()
    waybill.assert_balanced()


def test_one_timeline_tells_the_whole_story_of_a_case(waybill: Waybill, since: Any) -> None:
    waybill.send(known_mix(1, seed=6).bodies)
    waybill.settle()
    story = waybill.rows(
        f"select what, name, result from case_timeline where case_id in {OURS} order by at", since=since
    )
    assert story[0] == {"what": "delivery", "name": "website", "result": "received"}
    assert [row["result"] for row in story if row["name"] == "advanced"] == [
        "validate", "find_duplicates", "update_crm", "segment", "assign", "create_tasks", "send_mail", "sync_reporting",
        "log",
    ]  # fmt: skip
    effects = {row["name"] for row in story if row["what"] == "effect"}
    assert effects == {
        "crm.upsert_company", "crm.upsert_contact", "crm.upsert_deal", "crm.create_task", "mail.send_mail"
    }  # fmt: skip
    assert story[-1]["name"] in ("finished", "crm.upsert_deal", "mail.send_mail")


def test_a_person_corrects_and_releases_from_the_ui(waybill: Waybill, since: Any) -> None:
    waybill.send([{"email": "typo at example.com", "full_name": "Ty Po", "country": "DE", "consent": True}])
    waybill.settle()
    case = waybill.one(f"select id from cases where id in {OURS} and state = 'quarantined'", since=since)
    look = waybill.trigger("lead_replay", case_ids=[case], reason="email")
    waybill.finish("lead_replay", look)
    assert waybill.one("select state from cases where id = :id", id=case) == "quarantined", "the first run is dry"
    fixed = waybill.trigger(
        "lead_replay", case_ids=[case], dry_run=False, corrections={"email": f"ty.po.{case}@example.com"}
    )
    waybill.finish("lead_replay", fixed)
    waybill.settle()
    assert waybill.one("select outcome from cases where id = :id", id=case) == "new contact"
    authors = waybill.rows("select distinct actor from events where case_id = :id and kind = 'corrected'", id=case)
    assert authors == [{"actor": "user:admin"}]


def test_a_replay_of_everything_is_refused(waybill: Waybill) -> None:
    waybill.finish("lead_replay", waybill.trigger("lead_replay", dry_run=False), state="failed", seconds=200)


def test_a_backfill_over_a_finished_day_sends_nothing_again(waybill: Waybill, since: Any) -> None:
    mix = known_mix(20, seed=20)
    waybill.send(mix.bodies)
    waybill.settle()
    cases = [row["id"] for row in waybill.rows(f"select id from cases where id in {OURS}", since=since)]
    yesterday = waybill.one("select date_trunc('day', now() - interval '1 day')")
    noon = yesterday + timedelta(hours=12)
    change(waybill.engine, "update cases set created_at = :noon where id = any(:ids)", noon=noon, ids=cases)
    effects = waybill.rows("select id, state, sent_at from effects where system <> 'chat' order by id")
    waybill.pause("lead_reprocess", False)
    answer = waybill.api.post(
        "/api/v2/backfills",
        json={
            "dag_id": "lead_reprocess",
            "from_date": yesterday.isoformat(),
            "to_date": yesterday.isoformat(),
            "reprocess_behavior": "completed",
            "dag_run_conf": {"finished_too": True},
        },
    )
    assert answer.status_code == 200, answer.text
    number = answer.json()["id"]
    waybill.wait_until(lambda: waybill.api.get(f"/api/v2/backfills/{number}").json()["completed_at"], 300)
    waybill.settle()
    reopened = waybill.one(
        """select count(*) from events
           where kind = 'released' and actor = 'system:lead_reprocess' and case_id = any(:ids)""",
        ids=cases,
    )
    assert reopened == mix.finished, "the backfill went over every lead that had finished"
    assert waybill.rows("select id, state, sent_at from effects where system <> 'chat' order by id") == effects
    waybill.assert_balanced()


def test_clearing_every_task_of_a_finished_run_changes_nothing(waybill: Waybill, since: Any) -> None:
    waybill.send(known_mix(10, seed=10).bodies)
    waybill.settle()
    runs = waybill.rows(
        f"select distinct run_id from events where kind = 'advanced' and case_id in {OURS}", since=since
    )
    # all but the due time, which the look writes when it comes by
    everything = "select to_jsonb(c) - 'due_at' as held from cases c order by id"
    cases = waybill.rows(everything)
    effects = waybill.rows("select * from effects where system <> 'chat' order by id")
    for run in runs:
        path = f"/api/v2/dags/lead_to_client/dagRuns/{run['run_id']}"
        waybill.wait_until(lambda path=path: waybill.api.get(path).json()["state"] == "success")
        answer = waybill.api.post(f"{path}/clear", json={"dry_run": False})
        assert answer.status_code == 200, answer.text
        waybill.wait_until(lambda path=path: waybill.api.get(path).json()["state"] == "success")
    assert waybill.rows(everything) == cases
    assert waybill.rows("select * from effects where system <> 'chat' order by id") == effects


def test_leads_imported_from_pasted_rows_go_the_same_way(waybill: Waybill, since: Any) -> None:
    pasted = "email,full_name,company,country\nimp1@imp-works.example,Ina Import,Imp Works,DE\n,Nobody,,DE\n"
    for _ in range(2):
        waybill.finish("lead_import", waybill.trigger("lead_import", rows=pasted))
    waybill.settle()
    stood = waybill.rows(f"select state, count(*) from cases where id in {OURS} group by 1", since=since)
    assert {row["state"]: row["count"] for row in stood} == {"finished": 1, "quarantined": 1}


def test_a_won_deal_becomes_a_client_and_a_case_for_finance(waybill: Waybill, since: Any) -> None:
    waybill.send(known_mix(2, seed=77).bodies)
    waybill.settle()
    won, lost = [
        row["id"]
        for row in waybill.rows(f"select id::text from deals where case_id in {OURS} order by case_id", since=since)
    ]
    news = [
        {"deal_key": won, "stage": "won", "amount": "12000.50", "currency": "EUR"},
        {"deal_key": won, "stage": "won", "amount": "12000.50", "currency": "EUR"},
        {"deal_key": lost, "stage": "lost", "reason": "too dear"},
        {"deal_key": str(uuid4()), "stage": "won"},
    ]
    waybill.send(news, source="crm", ids=[f"msg_{uuid4().hex}" for _ in news])
    waybill.settle()
    outcomes = waybill.rows(
        "select state, outcome from cases where workflow = 'deal_to_client' and created_at >= :since order by id",
        since=since,
    )
    assert sorted((row["state"], row["outcome"] or "") for row in outcomes) == [
        ("finished", "already a client"),
        ("finished", "client opened"),
        ("finished", "deal lost"),
        ("quarantined", ""),
    ]
    (client,) = waybill.rows("select * from clients where deal_id = :deal", deal=won)
    assert waybill.one("select stage from crm_contacts where key = :key", key=str(client["contact_id"])) == "customer"
    assert waybill.one("select reason from deals where id = :deal", deal=lost) == "too dear"
    (finance,) = waybill.rows("select * from cases where parent_id = :parent", parent=client["case_id"])
    assert (finance["workflow"], finance["state"]) == ("client_billing_setup", "waiting")
    tasks = waybill.one(
        "select count(*) from effects where case_id = :case and step = 'onboarding_tasks' and state = 'sent'",
        case=client["case_id"],
    )
    assert tasks >= 3
    (funnel,) = waybill.rows(
        """select sum(clients) as clients, sum(lost) as lost from report_lead_funnel
           where day >= (now() at time zone 'UTC')::date - 1"""
    )
    assert funnel["clients"] >= 1
    assert funnel["lost"] >= 1
    waybill.assert_balanced()
