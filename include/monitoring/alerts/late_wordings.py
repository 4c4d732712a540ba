"""The wording of service levels that are about to be missed, or are.

Facts come from `include.monitoring.service_levels.telling`; nothing is looked up here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.monitoring.alerts.wording import Wording, cases_in_words, step_in_words, such_as

if TYPE_CHECKING:
    from include.monitoring.alerts.messages import Alert, Names, Numbers


def _where(names: Names) -> str:
    return f" at {step_in_words(names.step)}" if names.step else ""


def _how_many(alert: Alert, numbers: Numbers) -> str:
    """Those that are left while it lasts; when it is over, all that there were."""
    return cases_in_words(numbers.cases if alert.state == "resolved" else numbers.remaining)


def at_risk(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    """Say what will be late soon."""
    return Wording(
        f"{names.workflow}: {_how_many(alert, numbers)} about to be late{_where(names)}",
        f"Nothing yet. What was promised is {alert.facts.get('promise', 'in the contract')}.",
        f"{cases_in_words(numbers.remaining)} whose time is nearly up{such_as(numbers.examples)}.",
        "Often: what waits for a system or a run goes on by itself. What waits for a person does not.",
        "See who has the oldest of them, and whether they can act before it is late.",
    )


def missed(alert: Alert, numbers: Numbers, names: Names) -> Wording:
    """Say what is late, and who is told next."""
    done = numbers.cases - numbers.remaining
    return Wording(
        f"{names.workflow}: {_how_many(alert, numbers)} late{_where(names)}",
        f"What was promised was not kept: {alert.facts.get('promise', 'see the contract')}.",
        f"{cases_in_words(numbers.remaining)} late now{such_as(numbers.examples)}"
        + (f"; {cases_in_words(done)} done late." if done > 0 else "."),
        "No: what is late stays late. It is over when none of them is open there any more.",
        f"Take the oldest first. If it goes on, {alert.facts.get('next', 'the next in line')} is told.",
    )
