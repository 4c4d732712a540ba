"""How a workflow's DAGs are made: owner, documentation, retries, alerts and deadline, from its contract.

One place for these decisions; the DAG files add the trigger and the order of the steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import (
    DAG,
    Asset,
    AssetWatcher,
    BaseOperator,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    Param,
    RetryDecision,
    RetryPolicy,
    chain,
    cross_downstream,
)

from include.approvals.policy import MOST_STAGES
from include.cases.model import Step
from include.cases.store import LEASE, put_back_run
from include.contracts.generate import dag_documentation
from include.contracts.registry import contract
from include.data.database import engine
from include.environment import calendar_paused
from include.integrations.steps import Plan
from include.reporting.catalogue import REPORTS
from include.reporting.going_out import SYSTEMS
from include.reporting.intervals import Period
from include.stock.warehouse import warehouse
from waybill.approvals import QUESTION_TASK, stage_task
from waybill.notifiers import deadline, on_run_failure, on_run_success, on_task_failure
from waybill.operators.approvals import (
    COMMENT,
    ApprovalStepOperator,
    AskRequesterOperator,
    AskStageOperator,
    ConcludeRoundOperator,
)
from waybill.operators.cases import CaseStepOperator, ClaimCasesOperator, ReclaimCasesOperator
from waybill.operators.effects import EffectStepOperator
from waybill.operators.reports import DeliverReportsOperator, MakeReportOperator, ReportWaits
from waybill.triggers import ApprovalWorkTrigger, DueEffectsTrigger, PendingCasesTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

START = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
"""First day that the scheduled companions can be backfilled from."""

UNTIL = "(data_interval_end | default(dag_run.run_after))"
"""In a template, the moment up to which a scheduled DAG looks; up to now, in a run that is triggered without a date."""

PATIENT: dict[str, Any] = {
    "retries": 30,
    "retry_delay": timedelta(minutes=1),
    "max_retry_delay": timedelta(minutes=15),
}
"""For tasks that tell people something: a chat or a mail server may be away for a morning."""

DEFAULT_ARGS: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(seconds=3),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": LEASE,
    "on_failure_callback": on_task_failure,
}
"""A step may always be tried again; its time-out is the lease of the claim that it works under."""

RUN_OVER_CASES = timedelta(minutes=30)
"""How long a run may take that goes over cases; how long a case may take is measured by itself."""


class PatientWithWhatPasses(RetryPolicy):
    """For `PATIENT` tasks: they wait for what passes by itself, and any other error fails them as soon as usual."""

    def __init__(self, passing: type[BaseException]) -> None:
        self._passing = passing

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Say whether to go on as `retries` says."""
        usual = max_tries - try_number >= PATIENT["retries"] - DEFAULT_ARGS["retries"]
        return RetryDecision.default() if usual or isinstance(exception, self._passing) else RetryDecision.fail()


CALENDAR = (CronDataIntervalTimetable, CronTriggerTimetable)
"""The schedules of what runs daily, weekly or monthly, and not whenever there is work."""


def pending(workflow: str) -> list[Asset]:
    """Return the schedule of a DAG that runs whenever `workflow` has cases pending."""
    return [
        Asset(
            name=f"pending_{workflow}",
            watchers=[AssetWatcher(name=f"watch_{workflow}", trigger=PendingCasesTrigger(workflow=workflow))],
        )
    ]


def effects_due() -> list[Asset]:
    """Return the schedule of the DAG that runs whenever effects are due that no case carries."""
    return [Asset(name="effects_due", watchers=[AssetWatcher(name="watch_effects_due", trigger=DueEffectsTrigger())])]


def approval_work() -> list[Asset]:
    """Return what starts the DAG that looks after approvals: messages to send, or rounds that were left behind."""
    watcher = AssetWatcher(name="watch_approvals", trigger=ApprovalWorkTrigger())
    return [Asset(name="approval_work", watchers=[watcher])]


def workflow_dag(
    dag_id: str,
    workflow: str,
    *,
    schedule: Any,
    purpose: str = "",
    params: Mapping[str, Any] | None = None,
    catchup: bool = False,
    max_active_runs: int = 1,
    deadline_after: timedelta | None = None,
    heals_by_run: bool | None = None,
) -> DAG:
    """Return a DAG of `workflow` with everything that follows from its contract.

    :param purpose: the DAG file's docstring, shown in the UI above the contract.
    :param deadline_after: how long after it was queued a run may take before its owner is told; by default what the
        contract promises, where no cases pass, and half an hour where they do.
    :param heals_by_run: whether a good run shows that trouble is over; by default where no cases pass.
    """
    declared = contract(workflow)
    promised = RUN_OVER_CASES if declared.has_cases else declared.service_level.within
    return DAG(
        dag_id,
        schedule=schedule,
        start_date=START,
        catchup=catchup,
        max_active_runs=max_active_runs,
        params=dict(params or {}),
        default_args={**DEFAULT_ARGS, "owner": declared.owner.id},
        tags={"waybill", f"workflow:{workflow}", f"owner:{declared.owner.id}"},
        description=declared.dags[dag_id],
        is_paused_upon_creation=True if isinstance(schedule, CALENDAR) and calendar_paused() else None,
        doc_md=dag_documentation(declared, purpose),
        deadline=deadline(workflow, deadline_after or promised),
        on_failure_callback=[put_back_cases, on_run_failure],
        # Where cases pass the steps, they show that trouble is over; in a plan or a form, only the run does.
        on_success_callback=on_run_success
        if (not isinstance(schedule, list) if heals_by_run is None else heals_by_run)
        else None,
    )


def reprocess_dag(dag_id: str, workflow: str, *, purpose: str, finished_too: bool = False) -> DAG:
    """Return the scheduled companion of an event-driven DAG: it goes over a past day again, and can be backfilled.

    Lay the workflow's steps behind `reclaim(workflow)` in it.

    :param finished_too: offer to derive again what is finished; only where that asks nobody anything anew.
    """
    offered = {
        "finished_too": Param(
            False,
            type="boolean",
            title="Also what is finished",
            description="Derive again what already finished; nothing is sent twice.",
        )
    }
    return workflow_dag(
        dag_id,
        workflow,
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        purpose=purpose,
        deadline_after=timedelta(hours=2),
        params=offered if finished_too else None,
        heals_by_run=False,
    )


def reclaim(workflow: str) -> ReclaimCasesOperator:
    """Claim what arrived in the run's data interval and was set aside with an error."""
    return ReclaimCasesOperator(
        workflow=workflow,
        since="{{ data_interval_start.isoformat() }}",
        until="{{ data_interval_end.isoformat() }}",
        finished_too="{{ params.finished_too | default(False) }}",
    )


def reports_dag(dag_id: str, period: Period, *, cron: str, purpose: str) -> DAG:
    """Return the DAG that makes the reports of a day, week or month, each in a task, and then delivers them.

    A report that is refused keeps no other from going out; the run fails.

    :param cron: by the company's clock, some hours after the period's end.
    """
    titles = {name: report.title for name, report in REPORTS.items()}
    preview = Param(
        False,
        type="boolean",
        title="A preview",
        description="Of the day, week or month that has begun, up to now. It says so; the final edition follows.",
    )
    chosen = Param(
        list(REPORTS),
        type="array",
        title="Reports",
        description="Those to make; nobody gets the same figures of an interval twice.",
        items={"type": "string", "enum": list(REPORTS)},
        examples=list(REPORTS),
        values_display=titles,
    )
    with workflow_dag(
        dag_id,
        "reports",
        schedule=CronDataIntervalTimetable(cron, timezone=warehouse().zone.key),
        purpose=purpose,
        params={"reports": chosen, "preview": preview},
    ) as dag:
        # A form of Airflow's names the last interval that is over, also when somebody wants to see the one that is not.
        moment = f"{{{{ (dag_run.run_after if params.preview else {UNTIL}).isoformat() }}}}"
        # Soon at first: what a report waits for is mostly seconds behind.
        waits = {
            **PATIENT,
            "retry_delay": DEFAULT_ARGS["retry_delay"],
            "retry_policy": PatientWithWhatPasses(ReportWaits),
        }
        made = [
            MakeReportOperator(
                task_id=name, task_display_name=titles[name], report=name, period=period, moment=moment,
                owner=contract("reports").step(name).owner.id, **waits,
            )
            for name in REPORTS
        ]  # fmt: skip
        sent = [DeliverReportsOperator(task_id=step, step=step, trigger_rule="all_done", **PATIENT) for step in SYSTEMS]
        # The last task of a run decides how the run ends: whatever failed before it, fails it.
        done = EmptyOperator(task_id="done", trigger_rule="none_failed")
        cross_downstream(made, sent)
        [*made, *sent] >> done
    return dag


MOST_ROUNDS = 20_000
"""Rounds of one workflow that may wait at once; a waiting run costs no worker."""
LONGEST_ROUND = timedelta(days=30)
"""After this a round that is still asked is a case for its owner, whatever its stages' clocks say."""


def decision_dag(dag_id: str, workflow: str, *, purpose: str) -> DAG:
    """Return the DAG whose runs ask rounds of approval of `workflow`: stage after stage, then the conclusion.

    Its runs are started by the step `approve`. A question to the requester ends the stages; a further run goes on
    after the answer, since a task that was answered cannot show anything new.
    """
    with workflow_dag(
        dag_id,
        workflow,
        schedule=None,
        purpose=purpose,
        max_active_runs=MOST_ROUNDS,
        deadline_after=LONGEST_ROUND,
        params={
            "round_id": Param(
                None, type=["null", "integer"], title="Round", description="Set by the step that asks; not by hand."
            )
        },
    ) as dag:
        always: dict[str, Any] = {"trigger_rule": "none_failed"}
        asks = {**always, "params": COMMENT}
        stages = [
            AskStageOperator(task_id=stage_task(n), stage=n, task_display_name=f"Stage {n}", **asks)
            for n in range(1, MOST_STAGES + 1)
        ]
        question = AskRequesterOperator(task_id=QUESTION_TASK, task_display_name="Question", **asks)
        chain(*stages, question, ConcludeRoundOperator(task_id="conclude", task_display_name="Conclude", **always))
    return dag


def put_back_cases(context: Mapping[str, Any]) -> None:
    """Make what a failed run held claimable at once, instead of when its lease runs out."""
    workflow = next(tag.removeprefix("workflow:") for tag in context["dag"].tags if tag.startswith("workflow:"))
    put_back_run(engine(), workflow, run_id=str(context["run_id"]))


class CaseSteps:
    """Lays one step after another behind the claim; each is a task of the step's name and owner."""

    def __init__(self, capture: ClaimCasesOperator) -> None:
        self._workflow = capture.workflow
        self._claim_id = capture.output
        self._last: BaseOperator = capture

    def rule(self, step: str, rule: Step) -> None:
        """Add a step that changes nothing outside."""
        self._add(CaseStepOperator(step=rule, **self._common(step)))

    def effects(self, step: str, plan: Plan, *, system: str) -> None:
        """Add a step whose effects go to `system`."""
        self._add(EffectStepOperator(plan=plan, system=system, **self._common(step)))

    def approval(self, step: str, rule: Step, *, decision_dag: str) -> None:
        """Add a step at which people decide; each round is asked in a run of `decision_dag`."""
        self._add(ApprovalStepOperator(step=rule, decision_dag=decision_dag, **self._common(step)))

    def _common(self, step: str) -> dict[str, Any]:
        declared = contract(self._workflow).step(step)
        return {
            "task_id": step,
            "task_display_name": declared.title,
            "workflow": self._workflow,
            "claim_id": self._claim_id,
            "owner": declared.owner.id,
            "doc_md": declared.does,
        }

    def _add(self, task: BaseOperator) -> None:
        self._last >> task
        self._last = task
