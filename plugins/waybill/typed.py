"""What people typed into Airflow's forms stays with its runs: which of them name a person, so that they can be deleted.

Airflow's own database is not Waybill's to change; it is asked over the public API, and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from include.monitoring.watching.airflow import signed_in
from include.privacy.person import Person
from waybill.watching import account

PAGE = 100
MOST_TOLD = 10
"""Runs that a sentence names; whoever deletes these and asks again is told the next."""


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


def told(runs: Sequence[str] | None) -> str:
    """Return what is left to do about such runs, as a sentence; empty when there are none."""
    if runs is None:
        return "Airflow could not be asked which runs they were typed into: look for the address in its list of runs."
    if not runs:
        return ""
    more = f" and {len(runs) - MOST_TOLD} more" if len(runs) > MOST_TOLD else ""
    return f"They were typed into forms of Airflow: delete these runs there: {', '.join(runs[:MOST_TOLD])}{more}."


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
