"""Purchases that wait for people while parts are killed and Slack is away: every decision counts, once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from include.approvals.answers import Sender, give
from include.approvals.wording import APPROVE
from include.integrations.systems import Mode
from include.runtime import embedded_postgres
from tests.standins.slack import Posted, Slack
from tests.support.buying import DECISIONS, Buying
from tests.support.faults import eventually, kill_program
from tests.support.stack import Waybill

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

MARIA = "U0MARIA"


@dataclass
class World:
    """A Waybill with Slack as its chat."""

    slack: Slack
    buying: Buying

    def message(self, case: int) -> Posted:
        """Wait for the message that asks Maria Keller about a case."""
        title = str(self.buying.round(case)["title"])

        def look() -> Posted | None:
            mine = [one for one in self.slack.inbox(MARIA) if title in one.whole and one.buttons]
            return mine[-1] if mine else None

        found: Posted = self.buying.waybill.wait_until(look, 90)
        return found


@pytest.fixture(scope="module")
def world(stack: Waybill, chat: Slack) -> Iterator[World]:
    """A Waybill that these tests may break."""
    connected = World(chat, Buying(stack))
    connected.buying.prepare()
    yield connected
    connected.buying.desk.close()


@pytest.fixture(scope="module")
def cases(world: World) -> dict[str, int]:
    """The requests of most of these tests: they pass the steps together, and then wait for their people."""
    return world.buying.requests(
        parts_killed={"price": "2000.00"},
        unheard={"price": "2200.00"},
        in_slack={"price": "2400.00"},
        twice={"price": "2500.00"},
    )


def assert_ordered_once(buying: Buying, case: int) -> None:
    """Fail unless the case has one order, at the ERP as well, and one decision."""
    buying.reaches(case, "receive", seconds=120)
    waybill = buying.waybill
    assert waybill.one("select count(*) from purchase_orders where case_id = :id", id=case) == 1
    assert waybill.one("select count(*) from erp_purchase_orders where key = :key", key=buying.order(case)) == 1
    assert (
        waybill.rows("select * from effects where case_id = :id and step = 'order' and state <> 'sent'", id=case) == []
    )
    decisions = """select count(*) from approval_decisions d join approval_rounds r on r.id = d.round_id
                   where r.case_id = :id and d.answer = 'approve'"""
    assert waybill.one(decisions, id=case) == 1
    waybill.assert_balanced()


def test_a_request_waits_on_when_the_parts_are_killed_one_after_another(world: World, cases: dict[str, int]) -> None:
    buying = world.buying
    case = cases["parts_killed"]
    run = buying.asked(case)
    for program in ("scheduler", "api-server"):
        kill_program(buying.waybill, program)
    server = embedded_postgres.running(buying.waybill.home)
    assert server is not None
    server.kill()
    answered = eventually(lambda: buying.answer("maria.keller", run, "approve").status_code in (200, 409))
    buying.waybill.wait_until(lambda: _quiet(answered), 120, 1)
    assert_ordered_once(buying, case)


def _quiet(check: Any) -> Any:
    """An answer, or None while the API server cannot be reached."""
    try:
        return check()
    except httpx.HTTPError:
        return None


def test_a_decision_counts_when_the_process_dies_before_airflow_hears_of_it(
    world: World, cases: dict[str, int]
) -> None:
    buying = world.buying
    waybill = buying.waybill
    case = cases["unheard"]
    run = buying.asked(case)
    round_id = buying.round(case)["id"]
    sender = Sender("maria.keller", "U0MARIA", "slack")
    give(waybill.engine, round_id, sender=sender, answer="approve", comment="", mode=Mode.LIVE)
    assert buying.task(run, "stage_1")["state"] == "awaiting_input", "nobody has told Airflow"
    with waybill.engine.begin() as connection:
        connection.exec_driver_sql(
            f"update approval_rounds set closed_at = now() - interval '1 hour' where id = {int(round_id)}"
        )
    waybill.finish("waybill_approvals", waybill.trigger("waybill_approvals"))
    assert_ordered_once(buying, case)
    waybill.finish(DECISIONS, run)


def test_slack_is_away_while_a_request_is_parked(world: World) -> None:
    buying = world.buying
    world.slack.down = True
    case = buying.request(price="2300.00")
    run = buying.asked(case)
    buying.decide("maria.keller", run, "approve")
    assert_ordered_once(buying, case)
    world.slack.down = False


def test_an_answer_in_slack_is_as_good_as_one_in_airflow(world: World, cases: dict[str, int]) -> None:
    buying = world.buying
    case = cases["in_slack"]
    run = buying.asked(case)
    message = world.message(case)
    assert world.slack.press(message, APPROVE, MARIA).status_code == 200
    assert_ordered_once(buying, case)
    buying.waybill.finish(DECISIONS, run)
    late = buying.answer("maria.keller", run, "approve")
    assert late.status_code == 409
    assert "by Slack" in late.json()["detail"]
    buying.waybill.wait_until(lambda: not message.buttons, 90)


def test_the_same_person_in_slack_and_in_airflow_at_the_same_instant(world: World, cases: dict[str, int]) -> None:
    buying = world.buying
    case = cases["twice"]
    run = buying.asked(case)
    message = world.message(case)
    buying.desk.client("maria.keller")
    with ThreadPoolExecutor(2) as pool:
        pressed = pool.submit(world.slack.press, message, APPROVE, MARIA)
        answered = pool.submit(buying.answer, "maria.keller", run, "reject", comment="no")
        assert pressed.result().status_code == 200
        outcome = answered.result()
    decisions = buying.waybill.rows(
        """select answer, route from approval_decisions d join approval_rounds r on r.id = d.round_id
           where case_id = :id""",
        id=case,
    )
    assert len(decisions) == 1, decisions
    if decisions[0]["route"] == "slack":
        assert outcome.status_code == 409
        assert_ordered_once(buying, case)
    else:
        buying.waybill.wait_until(lambda: buying.case(case)["outcome"] == "rejected", 60)
