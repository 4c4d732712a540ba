"""Tasks over a claimed batch of cases: claim it, then run one step after another over it.

The work itself is in `include.cases` and in the workflow's domain; XComs carry the claim's number, and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.cases import store
from include.cases.model import Step
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import engine

if TYPE_CHECKING:
    from airflow.sdk import Context

CLAIM_TASK = "capture"


class ClaimCasesOperator(BaseOperator):
    """Claim pending cases for this run; skip the run when there are none.

    :param workflow: the contract's workflow.
    :param limit: the largest batch.
    :param since: (templated) only cases that arrived at or after this instant, ISO 8601.
    :param until: (templated) only cases that arrived before this instant, ISO 8601.
    :returns: the claim's number.
    """

    template_fields: Sequence[str] = ("since", "until")

    def __init__(self, *, workflow: str, limit: int = 5_000, since: str = "", until: str = "", **kwargs: Any) -> None:
        declared = contract(workflow).step(CLAIM_TASK)
        super().__init__(
            task_id=CLAIM_TASK,
            **{
                "task_display_name": declared.title,
                "owner": declared.owner.id,
                "doc_md": declared.does,
                **kwargs,
            },
        )
        self.workflow = workflow
        self.limit = limit
        self.since = since
        self.until = until

    def execute(self, context: Context) -> int:
        """Claim the batch."""
        claim = store.claim(
            engine(),
            workflow=self.workflow,
            steps=contract(self.workflow).step_ids,
            run_id=context["run_id"],
            limit=self.limit,
            since=datetime.fromisoformat(self.since) if self.since else None,
            until=datetime.fromisoformat(self.until) if self.until else None,
        )
        if claim is None:
            raise AirflowSkipException(f"no case of {self.workflow} is pending")
        self.log.info("claim %d holds %d cases", claim.id, claim.cases)
        return claim.id


class _ClaimedOperator(BaseOperator):
    """A task that works on the batch which `capture` claimed."""

    template_fields: Sequence[str] = ("claim_id",)

    def __init__(self, *, workflow: str, claim_id: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.claim_id = claim_id

    def position(self, context: Context) -> Position:
        """Return where in the workflow this task stands; its id is the step's."""
        return Position(
            self.workflow, contract(self.workflow).step_ids, self.task_id, int(self.claim_id), context["run_id"]
        )


class CaseStepOperator(_ClaimedOperator):
    """Run one step of the contract, by its task id, over the claimed cases that stand at it.

    Clearing it is safe: the cases that went on are not there any more.

    :param step: the rule, a plain function of the workflow's domain.
    :returns: counts of what came of the cases.
    """

    def __init__(self, *, step: Step, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> dict[str, int]:
        """Run the step."""
        return asdict(run_step(engine(), self.position(context), self.step))


class ReclaimCasesOperator(ClaimCasesOperator):
    """Release what arrived in an interval and was set aside with an error, then claim it.

    What a person must correct stays in quarantine: trying it again would end there again.

    :param finished_too: (templated) `True` to derive again what already finished; nothing is sent twice.
    """

    template_fields: Sequence[str] = (*ClaimCasesOperator.template_fields, "finished_too")

    def __init__(self, *, finished_too: str = "False", limit: int = 50_000, **kwargs: Any) -> None:
        super().__init__(limit=limit, **kwargs)
        self.finished_too = finished_too

    def execute(self, context: Context) -> int:
        """Release, reopen on request, and claim."""
        since, until = datetime.fromisoformat(self.since), datetime.fromisoformat(self.until)
        actor, run = f"system:{context['dag'].dag_id}", context["run_id"]
        first_step = contract(self.workflow).first_stage
        with engine().connect() as connection:
            failed = store.set_aside(connection, store.Selection(self.workflow, (), "error", since, until))
        released = store.release(engine(), [case["id"] for case in failed], first_step=first_step, actor=actor, run=run)
        reopened = 0
        if self.finished_too == "True":
            reopened = store.reopen(
                engine(),
                workflow=self.workflow,
                first_step=first_step,
                since=since,
                until=until,
                actor=actor,
                run=run,
            )
        self.log.info("released %d failed cases, reopened %d finished ones", released, reopened)
        return super().execute(context)
