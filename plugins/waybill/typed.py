"""What people typed into Airflow's forms stays with its runs: which of them name a person, and how they are deleted.

Airflow's own database is not Waybill's to change: both is asked over its public API.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from include.integrations.systems import Failed, Operation, Outcome, PendingEffect, Sent, Settle
from include.monitoring.watching.airflow import signed_in
from include.privacy import runs
from include.privacy.person import Person
from waybill.watching import account

PAGE = 100
MOST_TOLD = 10
"""Runs that a sentence names; the page of effects has them all."""


class AirflowRuns:
    """Deletes runs of Airflow, with the account of its connection; a run that is gone already is deleted."""

    name = "airflow"
    batch_size = 10
    operations: Mapping[str, Operation] = {runs.DELETE: Operation(runs.DELETE, Settle.RESEND)}

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Delete them."""
        try:
            with signed_in(account()) as api:
                if api is None:
                    return [Failed("Airflow does not take the account of the connection waybill_airflow")] * len(
                        effects
                    )
                return [_deleted(api, effect) for effect in effects]
        except httpx.HTTPError as error:
            return [Failed(f"Airflow does not answer: {type(error).__name__}")] * len(effects)

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: to delete again changes nothing."""
        return self.apply(operation, effects)


def runs_naming(api: httpx.Client, person: Person) -> list[str]:
    """Return the runs into whose forms an address of a person was typed, each as `dag/run`.

    Only forms that hold an address are looked at: a name or a number alone may be anybody's.

    :raises httpx.HTTPError: when Airflow does not answer, or refuses.
    """
    named = re.compile(person.addresses, re.IGNORECASE)
    return [
        f"{run['dag_id']}/{run['dag_run_id']}"
        for run in _runs_with_addresses(api)
        if any(named.search(line) for line in _lines(run["conf"]))
    ]


def runs_as_watcher(person: Person) -> list[str] | None:
    """Return the same as a task finds it, by the connection of the alerts; None when Airflow could not be asked."""
    try:
        with signed_in(account()) as api:
            return None if api is None else runs_naming(api, person)
    except httpx.HTTPError:
        return None


def told(found: Sequence[str] | None, gone: Sequence[str]) -> str:
    """Return what becomes of such runs, in a sentence or two; empty when there are none.

    :param found: into whose forms a person was typed; None when Airflow could not be asked.
    :param gone: all that are deleted with them.
    """
    said = []
    if found is None:
        said.append(
            "Airflow could not be asked which runs they were typed into: "
            "look for the address in its list of runs, and delete those."
        )
    if gone:
        more = f" and {len(gone) - MOST_TOLD} more" if len(gone) > MOST_TOLD else ""
        said.append(
            "They were typed into forms or answers of Airflow. These runs are deleted there when they are over, "
            f"and what cannot be stays under Effects: {', '.join(gone[:MOST_TOLD])}{more}."
        )
    return " ".join(said)


def _deleted(api: httpx.Client, effect: PendingEffect) -> Outcome:
    dag, run = (quote(effect.payload[name], safe="") for name in ("dag", "run"))
    answer = api.delete(f"/api/v2/dags/{dag}/dagRuns/{run}")
    match answer.status_code:
        case httpx.codes.NO_CONTENT | httpx.codes.NOT_FOUND:
            return Sent()
        case httpx.codes.CONFLICT:
            return Failed("the run is not over yet; it is deleted when it is")
        case httpx.codes.FORBIDDEN:
            return Failed(
                "the account of the connection waybill_airflow may not delete runs: let it, and retry; "
                "or delete the run by hand, and say here that it was done",
                permanent=True,
            )
    return Failed(f"Airflow answers {answer.status_code}")


def _lines(typed: Any) -> Iterator[str]:
    """Every text in a form, however deep."""
    match typed:
        case str():
            yield typed
        case dict():
            for value in typed.values():
                yield from _lines(value)
        case list():
            for value in typed:
                yield from _lines(value)


def _runs_with_addresses(api: httpx.Client) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        looked_for: dict[str, str | int] = {"conf_contains": "@", "order_by": "id", "limit": PAGE, "offset": offset}
        answer = api.get("/api/v2/dags/~/dagRuns", params=looked_for)
        page = answer.raise_for_status().json()["dag_runs"]
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE
