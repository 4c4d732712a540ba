"""DAGs that are a form: a person triggers them to take in rows, or to resolve what is set aside.

One shape for every workflow; the DAG files give the words that are the workflow's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk import DAG, Param

from waybill.dags import workflow_dag
from waybill.operators.imports import ImportRowsOperator
from waybill.operators.quarantine import QuarantineOperator
from waybill.params import file_params, optional


def import_dag(dag_id: str, workflow: str, *, source: str, purpose: str) -> DAG:
    """Return the DAG that takes in a file, or rows pasted into its form.

    :param source: the source of sources.yaml that is chosen unless another one is.
    """
    with workflow_dag(
        dag_id,
        workflow,
        schedule=None,
        purpose=purpose,
        params={
            "source": Param(
                source, type="string", title="Source", description="A source of include/intake/sources.yaml."
            ),
            **file_params(),
        },
    ) as dag:
        ImportRowsOperator(task_id="import_rows")
    return dag


def quarantine_dag(dag_id: str, workflow: str, *, purpose: str, reasons: Sequence[str], correction: str) -> DAG:
    """Return the DAG by which a person releases, corrects or discards what is set aside; a dry run unless told.

    :param reasons: reason codes to choose by, offered as examples.
    :param correction: a correction as JSON, for the form.
    """
    with workflow_dag(
        dag_id,
        workflow,
        schedule=None,
        purpose=purpose,
        params={
            "dry_run": Param(True, type="boolean", title="Dry run", description="Only show which cases are chosen."),
            "action": Param(
                "release",
                type="string",
                enum=["release", "discard"],
                title="Action",
                description="Release sends them through the workflow again; discard closes them.",
            ),
            "case_ids": Param(
                [],
                type="array",
                items={"type": "integer", "minimum": 1},
                title="Case ids",
                description="One on each line.",
            ),
            "reason": optional(
                "Reason",
                f"A reason code such as {reasons[0]}, or its beginning: {reasons[0].split('.')[0]}, error.",
                examples=list(reasons),
            ),
            "since": optional("Arrived since", format="date-time"),
            "until": optional("Arrived before", format="date-time"),
            "corrections": Param(
                None,
                type=["null", "object"],
                title="Corrections",
                description=f"For one case: field and right value, such as {correction}.",
            ),
            "discard_reason": optional("Why they are discarded", "Kept as the outcome.", maxLength=200),
        },
    ) as dag:
        QuarantineOperator(task_id=dag_id.rsplit("_", 1)[-1], workflow=workflow)
    return dag
