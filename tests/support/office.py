"""Cases and decisions in a running Waybill, of any workflow: work goes in as webhooks, people answer in Airflow."""

from __future__ import annotations

from typing import Any

import httpx

from include.runtime.desk import Desk
from tests.support.stack import Waybill


class Office:
    """People at their desks.

    :param decisions: the DAG in whose runs the workflow's rounds are asked.
    """

    def __init__(self, waybill: Waybill, decisions: str) -> None:
        self.waybill = waybill
        self.decisions = decisions
        self.desk = Desk(waybill.home)

    def take_in(self, body: dict[str, Any], source: str) -> int:
        """Send a delivery; return its case."""
        (case,) = self.take_all([body], source)
        return case

    def take_all(self, bodies: list[dict[str, Any]], source: str) -> list[int]:
        """Send deliveries at the same time; return their cases."""
        answers = self.waybill.send(bodies, source=source)
        assert {answer.status for answer in answers} == {202}, answers
        case = "select id from cases where delivery_id = cast(:id as uuid)"
        return [int(self.waybill.one(case, id=answer.receipt)) for answer in answers]

    def case(self, case_id: int) -> dict[str, Any]:
        """Return a case."""
        (found,) = self.waybill.rows("select * from cases where id = :id", id=case_id)
        return found

    def reaches(self, case_id: int, stage: str, state: str = "waiting", seconds: float = 60) -> dict[str, Any]:
        """Wait until a case stands at a step in a state."""
        self.waybill.wait_until(
            lambda: (case := self.case(case_id))["stage"] == stage and case["state"] == state, seconds
        )
        return self.case(case_id)

    def round(self, case_id: int) -> dict[str, Any]:
        """Return the latest round of a case."""
        (found,) = self.waybill.rows(
            "select * from approval_rounds where case_id = :id order by number desc limit 1", id=case_id
        )
        return found

    def task(self, run_id: str, task: str) -> dict[str, Any]:
        """Return a task of a decision run; empty when it is not there yet."""
        answer = self.waybill.api.get(f"/api/v2/dags/{self.decisions}/dagRuns/{run_id}/taskInstances/{task}")
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return found

    def asked(self, case_id: int, task: str = "stage_1", seconds: float = 90) -> str:
        """Wait until a task of the case's latest round waits for people; return the run."""
        self.waybill.wait_until(
            lambda: (
                self.task(self.round(case_id)["run_id"], task).get("state") == "awaiting_input"
                if self.waybill.rows("select 1 from approval_rounds where case_id = :id", id=case_id)
                else None
            ),
            seconds,
        )
        return str(self.round(case_id)["run_id"])

    def answer(self, account: str, run_id: str, answer: str, *, stage: int = 1, comment: str = "") -> httpx.Response:
        """Answer as somebody."""
        return self.desk.answer(account, self.decisions, run_id, answer, stage=stage, comment=comment)

    def decide(self, account: str, run_id: str, answer: str, *, stage: int = 1, comment: str = "") -> None:
        """Answer as somebody who may."""
        said = self.answer(account, run_id, answer, stage=stage, comment=comment)
        assert said.status_code == 200, said.text

    def trigger(self, account: str, dag_id: str, **params: Any) -> str:
        """Trigger a DAG as somebody; return the run."""
        answer = self.desk.client(account).post(
            f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": params}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    def whom(self, case_id: int, seconds: float = 90) -> tuple[str, str]:
        """Wait until somebody is asked about a case; return the first who may answer, and the run in which."""
        run = self.asked(case_id, seconds=seconds)
        person = self.waybill.one(
            """
            select p.person from approval_stages s join approval_seats p on p.stage_id = s.id
            join approval_rounds r on r.id = s.round_id
            where r.run_id = :run and s.state = 'open' and s.asked_at is not null order by s.number, p.place limit 1""",
            run=run,
        )
        return str(person), run
