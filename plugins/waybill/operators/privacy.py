"""Tasks about personal data: a person's request, the contracts' retention, and what the CRM and Airflow are told.

Logs and return values hold counts and case ids, never whom they are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import Connection

from include.data.database import authored, engine
from include.environment import current
from include.integrations.systems import CrmProvider, Mode
from include.privacy import retention
from include.privacy.erase import Plan, Refused, erase, plan, tell_systems
from include.privacy.export import delete_files
from include.privacy.person import Person, Unknown, by_case, by_email
from include.privacy.requests import export_to_file
from waybill import typed
from waybill.operators.forms import triggered_by
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class PersonDataOperator(BaseOperator):
    """Export or erase one person; the parameters are `case_id` or `email`, `action`, `reason` and `dry_run`.

    :returns: how many values there are, or were, and the runs of Airflow that go with them; of an export, the file's
        name.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Do what the form says."""
        wanted, actor = context["params"], triggered_by(context)
        with authored(engine(), actor=actor, run=context["run_id"], step=self.task_id) as connection:
            try:
                person = _whom(connection, wanted)
                erasing = wanted["action"] == "erase"
                runs = typed.runs_as_watcher(person) if erasing else []
                if wanted["dry_run"]:
                    planned = plan(connection, person)
                    gone = {*(runs or ()), *planned.runs} if erasing else ()
                    return {**self._show(planned, erasing=erasing), "runs": self._tell(runs, sorted(gone))}
                if wanted["action"] == "export":
                    with closing_provider("crm") as crm:
                        written = export_to_file(connection, person, cast("CrmProvider", crm))
                    self.log.info("the export is in %s", written.path)
                    return {"file": written.path.name, "rows": written.rows}
                done = erase(
                    connection,
                    person,
                    actor=actor,
                    reason=wanted["reason"] or "",
                    mode=Mode(current().effect_mode),
                    run=context["run_id"],
                    typed=runs or (),
                )
            except (Unknown, Refused) as error:
                raise AirflowFailException(str(error)) from None
        delete_files(person)
        values = sum(count.values for count in done.counts)
        self.log.info("erased %d values, closed %d cases", values, done.closed)
        return {"erasure": done.id, "values": values, "closed": done.closed, "runs": self._tell(runs, done.runs)}

    def _tell(self, found: list[str] | None, gone: Sequence[str]) -> list[str] | None:
        if told := typed.told(found, gone):
            self.log.warning("%s", told)
        return None if found is None else list(gone)

    def _show(self, planned: Plan, *, erasing: bool) -> dict[str, Any]:
        for count in planned.counts:
            self.log.info("%s: %d rows, %d values", count.table, count.rows, count.values)
        if erasing:
            for line in (*planned.notes, *planned.obstacles):
                self.log.warning("%s", line)
            if planned.closes:
                self.log.warning("open cases that would be closed: %s", ", ".join(map(str, planned.closes)))
        return {"values": planned.values, "refused": bool(erasing and planned.obstacles), "dry_run": True}


def _whom(connection: Connection, wanted: Any) -> Person:
    if wanted["case_id"] and wanted["email"]:
        raise Unknown("write the case or the e-mail address, not both: they may be of two people")
    if wanted["case_id"]:
        return by_case(connection, wanted["case_id"])
    if wanted["email"]:
        return by_email(connection, wanted["email"])
    raise Unknown("say whom you mean: the number of one of their cases, or their e-mail address")


class ApplyRetentionOperator(BaseOperator):
    """Erase what was kept long enough, by the contracts; the parameter is `dry_run`.

    :param until: (templated) the moment at which it is looked at.
    :returns: how many deliveries, cases and events, by workflow.
    """

    template_fields: Sequence[str] = ("until",)

    def __init__(self, *, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """Erase it."""
        dry_run = bool(context["params"]["dry_run"])
        found = retention.apply(
            engine(),
            now=datetime.fromisoformat(self.until),
            mode=Mode(current().effect_mode),
            dry_run=dry_run,
            run=context["run_id"],
        )
        for workflow, tally in found.items():
            told = ", ".join(f"{number} {kind}" for kind, number in tally.items())
            self.log.info("%s: %s %s", workflow, told, "would be erased" if dry_run else "erased")
        if not dry_run:
            self.log.info("%d old exports of people deleted", delete_files())
        return found


class EraseInSystemsOperator(BaseOperator):
    """Deliver what erasures planned for the CRM and for Airflow; what is not taken now is tried again by the ledger.

    :returns: counts of what came of the effects, by system.
    """

    def execute(self, context: Context) -> dict[str, dict[str, int]]:  # noqa: ARG002
        """Deliver it."""
        told = {}
        for system in ("crm", "airflow"):
            with closing_provider(system) as provider:
                told[system] = tell_systems(engine(), provider, system)
        return told
