"""Airflow's runs that keep what people typed about a person: in which approvals, and the effects that delete them.

Airflow's own database is not Waybill's to change: it is asked to delete a run, by the ledger as any other system. Which
forms name a person is asked of Airflow too, and so is the plugin's part, as the asking is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from include.contracts.registry import contract
from include.integrations.systems import Effect
from include.privacy.mentions import Mentions
from include.privacy.person import Person

SYSTEM = "airflow"
DELETE = "delete_run"
LEFT_TO_READ = timedelta(days=1)
"""How long the run stays that erased somebody, for whoever reads its log."""


def asked_in(connection: Connection, person: Person, mentions: Mentions) -> list[str]:
    """Return the runs in which approvals were asked whose content or comments name a person, each as `dag/run`.

    A round whose question was answered was asked again by a further run: all of them are meant.
    """
    named = {name: rows.ids for name, rows in mentions.items()}
    found = connection.execute(
        text("""
            select workflow, workflow || '_' || case_id || '_' || number || case when n > 1 then '_' || n else '' end
            from approval_rounds cross join lateral generate_series(1, part) n
            where case_id = any(:cases) or id = any(:rounds)
               or id in (select round_id from approval_decisions where id = any(:decisions))
            order by id, n"""),
        {
            **person.values,
            "rounds": named.get("approval_rounds", []),
            "decisions": named.get("approval_decisions", []),
        },
    )
    return [f"{dag}/{run}" for workflow, run in found for dag in _decision_dags(workflow)]


def deletions(step: str, runs: Iterable[str], *, own: str) -> list[Effect]:
    """Return the effects that delete runs, each as `dag/run`.

    :param own: id of the run that erases, if one does; it is deleted a day later.
    """
    later = datetime.now(UTC) + LEFT_TO_READ
    effects = []
    for name in sorted(set(runs)):
        dag, _, run = name.partition("/")
        effects.append(
            Effect(
                f"privacy/{step}/{DELETE}/{name}",
                SYSTEM,
                DELETE,
                None,
                step,
                name,
                {"dag": dag, "run": run},
                not_before=later if run == own else None,
            )
        )
    return effects


def _decision_dags(workflow: str) -> list[str]:
    return [dag for dag in contract(workflow).dags if dag.endswith("_decision")]
