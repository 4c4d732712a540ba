"""Approvals inside Airflow: the runs in which rounds are asked, and how an answer from elsewhere reaches a parked task.

Who may decide, and what was decided, is `include.approvals`; here is only what needs Airflow to say or hear it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from include.approvals import asking, rounds
from include.approvals.answers import Route, Sender
from include.approvals.asking import Standing
from include.approvals.decisions import Decision
from include.approvals.delivery import anything_due, catch_up, deliver_due
from include.approvals.messages import STEP
from include.approvals.people import people
from include.contracts.registry import contract
from include.data.database import authored, engine
from include.integrations import ledger
from waybill.systems import provider

log = logging.getLogger(__name__)

APPROVE, REJECT, ASK, WITHDRAW, ANSWER = "Approve", "Reject", "Ask for information", "Withdraw", "Answer"
"""The options of Airflow's required-actions page."""

ANSWERS = {APPROVE: "approve", REJECT: "reject", ASK: "ask", WITHDRAW: "withdraw", ANSWER: "answer"}
"""Option -> the answer that `include.approvals.decisions` takes."""

QUESTION_TASK = "question"
_STAGE_TASK = re.compile(r"stage_(\d+)")


def stage_task(number: int) -> str:
    """Return the id of the task that asks a stage."""
    return f"stage_{number}"


def stage_of_task(task_id: str) -> int | None:
    """Return the number of the stage that a task asks; None for every other task."""
    match = _STAGE_TASK.fullmatch(task_id)
    return int(match[1]) if match else None


def account_of(user_id: str, user_name: str, route: Route = "airflow") -> Sender:
    """Return who an Airflow user is, to the approvals."""
    person = people().by_airflow(user_id, user_name)
    return Sender(person.id if person else None, user_name or user_id, route)


def moves_run(decision: Decision) -> bool:
    """Whether the parked task has something to do: its stage is decided, or the round went another way."""
    return decision.stage_closed or decision.round_closed or decision.answer in ("ask", "answer")


def go_on(decision: Decision, asked: Standing) -> None:
    """Let the run of a round act on an answer, and tell everybody; never raises, for the sweep does what fails here.

    :param asked: the round as it stood before the answer, which may have moved it to another run.
    """
    if moves_run(decision) and asked.current is not None:
        stage = None if asked.state == "asked" else asked.current.number
        try:
            resume(asked.run_id, decision_dag_of(asked.workflow), stage, decision.answer, decision.person)
        except Exception:
            log.exception("the run of round %d is not resumed now; the sweep will", decision.round_id)
    deliver(decision.case_id)


def deliver(case_id: int) -> None:
    """Send what is due of a case's messages, now; a chat or a mail server that is away is tried again by the sweep."""
    scope = ledger.Scope([case_id], STEP, in_order=False)
    for system in ("chat", "mail"):
        try:
            ledger.deliver(engine(), provider(system), system=system, scope=scope)
        except Exception:
            log.exception("the messages of case %d cannot be sent by %s now; they are sent later", case_id, system)


def start_run(dag_id: str, run_id: str, conf: Mapping[str, Any], *, again: bool = False) -> None:
    """Start a run from inside a task, by the task SDK; a run that exists is left alone.

    :param again: clear a run that exists, so that its tasks look at their round once more.
    """
    from airflow.sdk.execution_time.comms import TriggerDagRun  # noqa: PLC0415 - inside a task only
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

    SUPERVISOR_COMMS.send(TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf), reset_dag_run=again))


@dataclass(frozen=True)
class _Voice:
    """Who Airflow shall name as the respondent of an answer that came by another way."""

    name: str

    def get_id(self) -> str:
        return self.name

    def get_name(self) -> str:
        return self.name


def resume(run_id: str, dag_id: str, stage_number: int | None, answer: str, by: str) -> None:
    """Let the parked task of a decided stage go on; for the API server, which is where answers come in.

    A task that is not parked, or was answered already, is left alone: it looks at Waybill's tables anyway. What is
    not resumed here, because the process died, the sweep of `waybill_approvals` finds.

    :param stage_number: of the stage that waits; None where the requester's question does.
    :param answer: as in `approval_decisions`: approve, reject, ask, withdraw or answer.
    :param by: the person's id, shown by Airflow as the respondent.
    """
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload  # noqa: PLC0415 - API server only
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from fastapi import HTTPException  # noqa: PLC0415

    task_id = QUESTION_TASK if answer == "answer" or stage_number is None else stage_task(stage_number)
    option = next(option for option, name in ANSWERS.items() if name == answer)
    voice: Any = _Voice(by)
    try:
        with create_session() as session:
            update_hitl_detail(
                dag_id=dag_id,
                dag_run_id=run_id,
                task_id=task_id,
                update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option], params_input={}),
                user=voice,
                session=session,
            )
    except HTTPException as refusal:
        log.info("%s of %s is not resumed: %s", task_id, run_id, refusal.status_code)


LEFT_BEHIND = timedelta(minutes=2)
"""Time that a run has to act on a decision, or to ask, before it is taken for left behind."""


def work_due() -> bool:
    """Write what messages lack; tell whether a task has something to do: messages to send, rounds to look after."""
    catch_up(engine())
    with engine().connect() as connection:
        return anything_due(connection) or bool(asking.unattended(connection, older_than=LEFT_BEHIND, limit=1))


def send_messages() -> dict[str, int]:
    """Bring all approvals' messages up to date and send what is due; returns counts."""
    return deliver_due(engine(), provider("chat"), provider("mail"))


def look_after() -> dict[str, int]:
    """Conclude rounds that are decided, and have the runs that were left behind look again; from inside a task.

    Nothing here decides anything: a run that looks again finds in Waybill's tables what there is to do.
    """
    with engine().connect() as connection:
        found = asking.unattended(connection, older_than=LEFT_BEHIND)
    for one in found:
        if one.closed:
            with authored(engine(), actor="system:approvals", step=STEP) as connection:
                rounds.conclude(connection, one.id)
        start_run(decision_dag_of(one.workflow), one.run_id, {"round_id": one.id}, again=True)
    return {"rounds": len(found)}


def decision_dag_of(workflow: str) -> str:
    """Return the DAG that asks a workflow's rounds: the one of its contract whose name ends in `_decision`."""
    return next(dag_id for dag_id in contract(workflow).dags if dag_id.endswith("_decision"))
