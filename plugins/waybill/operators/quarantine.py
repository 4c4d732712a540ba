"""The task by which a person releases, corrects or discards what is set aside."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.cases import store
from include.cases.store import Selection
from include.contracts.registry import contract
from include.data.database import engine
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context

SHOWN = 50
"""Cases that a dry run lists in the log; the counts are of all."""


class QuarantineOperator(BaseOperator):
    """Release or discard the quarantined cases that the run's parameters choose; only look when it is a dry run.

    The parameters are `case_ids`, `reason`, `since`, `until`, `action`, `corrections`, `discard_reason`, `dry_run`.

    :param workflow: the contract's workflow.
    :returns: how many cases were chosen, by reason, and how many were changed.
    """

    def __init__(self, *, workflow: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow

    def execute(self, context: Context) -> dict[str, Any]:
        """Choose, show, and change."""
        wanted = context["params"]
        selection = Selection(
            self.workflow,
            tuple(wanted["case_ids"] or ()),
            wanted["reason"] or None,
            _moment(wanted["since"]),
            _moment(wanted["until"]),
        )
        with engine().connect() as connection:
            chosen = store.set_aside(connection, selection)
        by_reason = Counter(reason["code"] for case in chosen for reason in case["reasons"])
        self.log.info("%d cases are chosen: %s", len(chosen), dict(by_reason))
        for case in chosen[:SHOWN]:
            codes = ", ".join(reason["code"] for reason in case["reasons"])
            self.log.info("  case %d at %s since %s: %s", case["id"], case["stage"], case["since"], codes)
        changed = 0
        if wanted["dry_run"]:
            self.log.info("dry run: nothing was changed; trigger again without it")
        elif selection.is_everything:
            raise AirflowFailException("choose cases by id, reason or date: all of quarantine at once is not a choice")
        else:
            changed = self._change([case["id"] for case in chosen], wanted, context)
        return {"chosen": len(chosen), "by_reason": dict(by_reason), "changed": changed}

    def _change(self, ids: list[int], wanted: Any, context: Context) -> int:
        actor, run = triggered_by(context), context["run_id"]
        if wanted["action"] == "discard":
            return store.discard(engine(), ids, reason=wanted["discard_reason"] or "", actor=actor, run=run)
        if wanted["corrections"] and len(ids) > 1:
            raise AirflowFailException(
                f"a correction is for one case, and {len(ids)} are chosen: name its id in case_ids"
            )
        return store.release(
            engine(),
            ids,
            first_step=contract(self.workflow).first_stage,
            corrections=wanted["corrections"],
            actor=actor,
            run=run,
        )


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None
