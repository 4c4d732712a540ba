"""Tasks of an approval: start the runs of rounds, ask a stage, ask the requester, draw the conclusion.

A task shows a round in Airflow and waits without a worker. What was decided is in Waybill's own tables, and only
that counts: a task that is cleared, retried or marked by hand looks there and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DownstreamTasksSkipped
from sqlalchemy import Connection, text

from include.approvals import asking, clock, messages, rounds
from include.approvals.answers import give
from include.approvals.asking import Standing
from include.approvals.decisions import Refused
from include.approvals.messages import STEP
from include.approvals.people import people
from include.data.database import authored, engine
from include.environment import current
from include.integrations import ledger
from include.integrations.systems import Mode
from waybill.approvals import (
    ANSWER,
    ANSWERS,
    APPROVE,
    ASK,
    QUESTION_TASK,
    REJECT,
    WITHDRAW,
    account_of,
    deliver,
    stage_of_task,
    start_run,
)
from waybill.operators.cases import CaseStepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

LONGEST_WAIT = timedelta(days=7)
"""A parked task looks at its round at least this often, whatever the clock of its stage says."""


COMMENT = {
    "comment": Param(
        "",
        type="string",
        title="Comment",
        description="Needed to reject, to ask and to answer; everybody who is asked reads it.",
    )
}
"""The field beside the buttons; given to each task as its params."""


class ApprovalStepOperator(CaseStepOperator):
    """Run an approval step over the claimed cases, then start a run for each round that is to be asked.

    Starting is safe to repeat: a round has one run id. A round that is void now has its run look again, and end.

    :param decision_dag: the DAG whose runs ask the rounds.
    """

    def __init__(self, *, decision_dag: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decision_dag = decision_dag

    def execute(self, context: Context) -> dict[str, int]:
        """Open the rounds, and start their runs."""
        tally = super().execute(context)
        with engine().connect() as connection:
            to_start, void = _opened_in(connection, context["run_id"])
        for round_id, run_id in to_start:
            start_run(self.decision_dag, run_id, {"round_id": round_id})
        for round_id, run_id in void:
            start_run(self.decision_dag, run_id, {"round_id": round_id}, again=True)
        self.log.info("%d rounds are asked, %d are void", len(to_start), len(void))
        return tally


def _opened_in(connection: Connection, run_id: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """The rounds that a run opened and nobody was asked in yet, and those that became void by it."""
    rows = connection.execute(
        text("""
            select r.id, r.run_id, r.state = 'void' as void from approval_rounds r
            where r.case_id in (select case_id from approval_rounds where opened_in = :run_id)
              and (exists (select from approval_stages s
                           where s.round_id = r.id and r.state = 'open' and s.state = 'open' and s.asked_at is null)
                   or (r.state = 'void' and r.concluded_at is null))
            order by r.id"""),
        {"run_id": run_id},
    ).all()
    return [(row.id, row.run_id) for row in rows if not row.void], [(row.id, row.run_id) for row in rows if row.void]


class _RoundTask(HITLOperator):
    """A task that shows a round and waits until it has moved on."""

    template_fields: Sequence[str] = ()

    def __init__(self, *, options: list[str], **kwargs: Any) -> None:
        super().__init__(subject="An approval", options=options, execution_timeout=None, **kwargs)

    def ask(self, connection: Connection, asked: Standing) -> datetime | str | None:
        """Prepare what is shown and return when to look again; or return, or raise as a skip, why nobody is asked."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Look at the round; park while it waits for somebody here, else say how it stands."""
        round_id = _round_id(context)
        with authored(engine(), actor="system:approvals", run=context["run_id"], step=STEP) as connection:
            asked = _standing(connection, round_id, context["run_id"])
            look_again = self.ask(connection, asked)
            asked = asking.standing(connection, round_id) or asked
            if asked.state not in ("open", "asked"):
                rounds.conclude(connection, round_id)  # the case need not wait for this run's other tasks
        deliver(asked.case_id)
        if isinstance(look_again, str):
            self.log.info(look_again)
            if needless := _not_needed(context, asked):
                raise DownstreamTasksSkipped(tasks=needless)  # type: ignore[no-untyped-call]
            return look_again
        wait = LONGEST_WAIT if look_again is None else look_again - datetime.now(UTC)
        self.response_timeout = max(timedelta(seconds=1), min(wait, LONGEST_WAIT))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Hear an answer that nobody has recorded yet, or that it is time to look; then look at the round again."""
        if "error" not in event:
            self._hear(context, event)
        return self.execute(context)

    def _hear(self, context: Context, event: Mapping[str, Any]) -> None:
        """Record an answer that came by Airflow's own API; it was recorded already where the guard stands before it."""
        who = event["responded_by_user"] or {}
        try:
            with engine().connect() as connection:
                asked = asking.standing(connection, _round_id(context))
            if asked is None or asked.run_id != context["run_id"]:
                return
            give(
                engine(),
                asked.id,
                sender=account_of(str(who.get("id") or ""), str(who.get("name") or "")),
                answer=ANSWERS[event["chosen_options"][0]],
                comment=str((event["params_input"] or {}).get("comment") or ""),
                mode=Mode(current().effect_mode),
                asked_in=stage_of_task(context["task"].task_id),
            )
        except Refused as refusal:
            self.log.info("the answer changes nothing: %s", refusal.message)


def _not_needed(context: Context, asked: Standing) -> list[str]:
    """The tasks behind this one that have nothing to ask any more: skipped here, they cost no worker each."""
    behind = context["task"].get_flat_relative_ids(upstream=False)
    over = asked.state not in ("open", "asked")
    needless = []
    for task_id in sorted(behind):
        number = stage_of_task(task_id)
        if task_id == QUESTION_TASK:
            unused = over
        else:
            unused = number is not None and (asked.state != "open" or number > len(asked.stages))
        if unused:
            needless.append(task_id)
    return needless


class AskStageOperator(_RoundTask):
    """Ask the people of one stage, and wait until as many as needed have decided.

    Reminders, escalation and expiry happen when the task looks at the clock: Airflow wakes it at the next milestone.

    :param stage: its number, from 1; a round with fewer stages skips it.
    """

    def __init__(self, *, stage: int, **kwargs: Any) -> None:
        super().__init__(options=[APPROVE, REJECT, ASK, WITHDRAW], **kwargs)
        self.stage = stage

    def ask(self, connection: Connection, asked: Standing) -> datetime | str | None:
        """Bring the stage's clock up to date, plan its messages, and say when the next milestone is."""
        stage = asked.stage(self.stage)
        if stage is None:
            raise AirflowSkipException(f"the round has {len(asked.stages)} stages")
        if asked.state == "open" and stage.state == "open":
            next_at = _look_at_clock(connection, asked)
            asking.mark_asked(connection, stage.id)
            asked = asking.standing(connection, asked.id) or asked
            stage = asked.stage(self.stage) or stage
            if asked.state == "open":
                self.subject, self.body = asking.subject(asked), asking.body(asked, people(), stage=stage)
                return next_at
        if asked.state == "open" and stage.state == "planned":
            raise AirflowFailException(
                f"stage {stage.number} is not to be asked yet: an earlier one is not decided. Clear that one's task; "
                "marking a task by hand decides nothing"
            )
        said = f"stage {stage.number} is {stage.state}, the round is {asked.state}"
        if not stage.asked:
            raise AirflowSkipException(said)
        return said


def _look_at_clock(connection: Connection, asked: Standing) -> datetime | None:
    """Remind, escalate or expire what is due, write the messages about it, and return when something is due next."""
    milestones = clock.look(connection, asked.id)
    effects = [*messages.plan_stage(connection, asked.id)]
    effects += messages.plan_reminders(connection, asked.id, milestones.remind)
    effects += messages.plan_closed(connection, asked.id) if milestones.expired else []
    ledger.write(connection, effects, Mode(current().effect_mode))
    return milestones.next_at


class AskRequesterOperator(_RoundTask):
    """Put an approver's question to the requester, and wait for the answer; skipped when there is none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(options=[ANSWER, WITHDRAW], **kwargs)

    def ask(self, connection: Connection, asked: Standing) -> datetime | str | None:
        """Show the question."""
        if asked.question is None:
            raise AirflowSkipException("nobody asked for information, or it was given")
        next_at = _look_at_clock(connection, asked)
        asked = asking.standing(connection, asked.id) or asked
        if asked.state != "asked":
            return f"the round is {asked.state}"
        self.subject = f"A question about {asked.title}"
        self.body = asking.body(asked, people())
        return next_at


class ConcludeRoundOperator(BaseOperator):
    """Draw the conclusion of a round: its case goes on, or, after an answered question, the next run asks again.

    :returns: how the round ended.
    """

    def execute(self, context: Context) -> str:
        """Conclude, or go on asking."""
        round_id = _round_id(context)
        with authored(engine(), actor="system:approvals", run=context["run_id"], step=STEP) as connection:
            asked = asking.standing(connection, round_id)
            if asked is None:
                raise AirflowFailException(f"there is no round {round_id}")
            if asked.state not in ("open", "asked"):
                rounds.conclude(connection, round_id)
        deliver(asked.case_id)
        if asked.run_id != context["run_id"]:
            start_run(context["dag"].dag_id, asked.run_id, {"round_id": round_id})
            return f"{asked.state}: {asked.run_id} goes on"
        if asked.state in ("open", "asked"):
            raise AirflowFailException(
                "nobody has decided. A stage's task was marked by hand, which decides nothing: clear it"
            )
        return asked.state


def _round_id(context: Context) -> int:
    value = context["params"].get("round_id")
    if not value:
        raise AirflowFailException("this DAG is started for a round of approval, and is not triggered by hand")
    return int(value)


def _standing(connection: Connection, round_id: int, run_id: str) -> Standing:
    asked = asking.standing(connection, round_id)
    if asked is None:
        raise AirflowFailException(f"there is no round {round_id}: rounds are opened by the step {STEP}")
    if asked.run_id != run_id:
        raise AirflowSkipException(f"the round is asked by the run {asked.run_id}")
    return asked
