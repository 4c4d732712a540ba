"""A running Waybill whose parts are killed in mid-work: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from include.contracts.registry import contract
from include.runtime import embedded_postgres
from include.runtime.supervision import Supervisor
from tests.support.faults import eventually, holds, kill_program
from tests.support.mix import KnownMix, known_mix
from tests.support.stack import Waybill
from tests.support.storing import Storing

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = contract("lead_to_client").step_ids
OURS = "(select id from cases where created_at >= :since and workflow = 'lead_to_client')"
ABOUT = f"(select distinct contact_id::text from leads where case_id in {OURS} and contact_id is not null)"


@pytest.fixture
def since(stack: Waybill) -> Any:
    """The instant from which on cases are this test's."""
    stack.settle()
    return stack.one("select clock_timestamp()")


def assert_all_is_well(stack: Waybill, since: Any, mix: KnownMix, times: int = 1) -> None:
    """Fail unless every lead came to its known end, and the built-in systems hold each effect once.

    :param times: how often the mix was sent.
    """
    stack.assert_balanced()

    def count(query: str) -> int:
        return int(stack.one(query, since=since))

    assert count(f"select count(*) from cases where id in {OURS}") == times * len(mix.bodies)
    assert count(f"select count(*) from cases where id in {OURS} and state = 'finished'") == times * mix.finished
    reasons = stack.rows(
        f"""select r->>'code' as code, count(*) from cases, jsonb_array_elements(reasons) r
            where cases.id in {OURS} and state = 'quarantined' group by 1""",
        since=since,
    )
    assert {row["code"]: row["count"] for row in reasons} == {k: times * n for k, n in mix.quarantined.items()}
    assert stack.rows(f"select * from effects where case_id in {OURS} and state <> 'sent'", since=since) == []
    assert count(f"select count(distinct contact_id) from leads where case_id in {OURS}") == mix.people
    assert count(f"select count(*) from crm_contacts where key in {ABOUT}") == mix.people
    emails = f"select properties->>'email' as email from crm_contacts where key in {ABOUT}"
    assert count(f"select count(distinct lower(email)) from ({emails})") == mix.people
    assert count(f"select count(*) from crm_deals where contact_key in {ABOUT}") == mix.people
    assert count(f"select count(*) from crm_tasks where contact_key in {ABOUT}") == times * mix.finished
    answered = count(f"select count(*) from leads where case_id in {OURS} and mail = 'planned'")
    written = f"select key from effects where system = 'mail' and case_id in {OURS}"
    assert count(f"select count(*) from mailbox where key in ({written})") == answered > 0
    assert count(f"select count(*) from report_lead_facts where case_id in {OURS}") == times * mix.finished


def tries(stack: Waybill, since: Any) -> dict[str, int]:
    """Return the most tries that each task took."""
    found: dict[str, int] = {}
    runs = stack.rows(f"select distinct run_id from events where case_id in {OURS} and run_id is not null", since=since)
    for run in runs:
        path = f"/api/v2/dags/lead_to_client/dagRuns/{run['run_id']}/taskInstances"
        for task in stack.api.get(path).json()["task_instances"]:
            found[task["task_id"]] = max(found.get(task["task_id"], 0), task["try_number"])
    return found


def test_each_step_killed_before_its_commit_is_done_by_its_retry(stack: Waybill, since: Any) -> None:
    mix = known_mix(40, seed=41)
    with holds(stack) as held:
        held.hold(*STEPS)
        stack.send(mix.bodies)
        for step in STEPS:
            held.kill_at(step)
        stack.settle()
    assert_all_is_well(stack, since, mix)
    # what the killed `capture` had not taken yet, its retry takes or another run
    assert tries(stack, since) | {"capture": 2} == dict.fromkeys(STEPS, 2), "every step was killed once"


def test_a_step_killed_while_a_system_takes_its_effects_sends_the_rest(stack: Waybill, since: Any) -> None:
    mix = known_mix(40, seed=42)
    with holds(stack) as held:
        held.hold("crm_contacts", "crm_tasks", "mailbox")
        stack.send(mix.bodies)
        held.kill_at("crm_contacts", "update_crm")
        held.kill_at("crm_tasks", "create_tasks")
        held.kill_at("mailbox", "send_mail")
        stack.settle()
    assert_all_is_well(stack, since, mix)
    assert {task for task, most in tries(stack, since).items() if most > 1} == {
        "update_crm", "create_tasks", "send_mail"
    }  # fmt: skip


def test_two_runs_at_once_with_the_same_people_make_one_contact_of_each(stack: Waybill, since: Any) -> None:
    mix = known_mix(40, seed=43)
    with holds(stack) as held:
        held.hold("validate")
        stack.send(mix.bodies)
        held.wait("validate")
        stack.send([body | {"message": "and again"} for body in mix.bodies])
        stack.wait_until(
            lambda: (
                stack.one(
                    f"select count(distinct claim_id) from cases where id in {OURS} and state = 'running'", since=since
                )
                == 2
            )
        )
        stack.wait_until(
            lambda: (
                stack.one(
                    f"select count(*) from cases where id in {OURS} and state = 'running' and stage <> 'normalise'",
                    since=since,
                )
                == 2 * len(mix.bodies)
            )
        )
    stack.settle()
    assert_all_is_well(stack, since, mix, times=2)
    runs = stack.rows(f"select distinct run_id from events where case_id in {OURS} and step = 'log'", since=since)
    assert len(runs) >= 2, "two runs took part"


def test_a_killed_triggerer_comes_back_and_misses_no_lead(stack: Waybill, since: Any) -> None:
    mix = known_mix(60, seed=44)
    with ThreadPoolExecutor(1) as pool:
        stack.send(mix.bodies[:20])
        killed = pool.submit(kill_program, stack, "triggerer")
        stack.send(mix.bodies[20:])
        killed.result()
    stack.settle()
    assert_all_is_well(stack, since, mix)


def test_postgres_killed_in_mid_run_loses_nothing_that_was_acknowledged(stack: Waybill, since: Any) -> None:
    mix = known_mix(120, seed=45)
    postgres = embedded_postgres.running(stack.home)
    assert postgres is not None
    with ThreadPoolExecutor(1) as pool:
        with holds(stack) as held:
            held.hold("segment")
            stack.send(mix.bodies[:40])
            held.wait("segment")
            sending = pool.submit(stack.send, mix.bodies[40:])
            time.sleep(0.05)
            postgres.send_signal(signal.SIGKILL)
        answers = sending.result()
    assert {answer.status for answer in answers} <= {200, 202}
    assert max(answer.attempts for answer in answers) > 1, "senders met the outage, and came again"
    stack.wait_until(eventually(stack.settled), 240)
    receipts = [answer.receipt for answer in answers]
    assert stack.one(
        "select count(*) from cases where delivery_id = any(cast(:receipts as uuid[]))", receipts=receipts
    ) == len(answers)
    assert_all_is_well(stack, since, mix)


def test_a_killed_scheduler_is_replaced_and_its_runs_come_to_their_end(stack: Waybill, since: Any) -> None:
    mix = known_mix(40, seed=46)
    with holds(stack) as held:
        held.hold("update_crm")
        stack.send(mix.bodies)
        held.wait("update_crm")
        os.kill(Supervisor(stack.home).states()["scheduler"]["pid"], signal.SIGKILL)
    stack.settle(300)
    assert_all_is_well(stack, since, mix)


def test_a_posting_that_is_killed_moves_once_and_the_erp_is_told_once(stack: Waybill) -> None:
    storing = Storing(stack)
    storing.prepare()
    storing.ends(storing.request("receipt", "LAMP", 10))
    with holds(stack) as held:
        held.hold("post", "update_erp")
        case = storing.request("issue", "LAMP", 4)
        held.kill_at("post", dag_id="stock_request")
        held.kill_at("update_erp", dag_id="stock_request")
        assert storing.ends(case) == "posted"
    assert storing.on_hand("LAMP") == 6
    assert stack.one("select quantity from erp_stock where item = 'LAMP' and location = 'MAIN'") == 6
    storing.assert_true()


def test_requests_under_way_when_the_scheduler_and_the_database_die_move_once_each(stack: Waybill) -> None:
    storing = Storing(stack)
    storing.prepare()
    storing.ends(storing.request("receipt", "BOLT-8", 1_000))
    one = {
        "kind": "issue",
        "requester": "lena.hoffmann",
        "location": "MAIN",
        "lines": [{"item": "BOLT-8", "quantity": 3}],
    }
    stack.send([one | {"reference": str(n)} for n in range(300)], source="stock-requests")
    kill_program(stack, "scheduler")
    stack.send([one | {"reference": str(n)} for n in range(300, 330)], source="stock-requests")
    postgres = embedded_postgres.running(stack.home)
    assert postgres is not None
    postgres.send_signal(signal.SIGKILL)
    stack.wait_until(eventually(lambda: stack.settled("stock_request")), 300)
    assert storing.on_hand("BOLT-8") == 1_000 - 3 * 330
    storing.assert_true()
