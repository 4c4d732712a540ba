"""Forms: who triggered a run, and the task that takes in what they typed."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.approvals.forms import Form, FormRefused
from include.data.database import engine
from include.intake.files import ImportRefused
from include.intake.imports import ImportResult

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def triggered_by(context: Context) -> str:
    """Return the author for what a person does by triggering a run."""
    return f"user:{getattr(context['dag_run'], 'triggering_user_name', None) or 'airflow'}"


def account_of(context: Context) -> str:
    """Return the name of the account that triggered the run."""
    return triggered_by(context).removeprefix("user:")


def ensure_stored(result: ImportResult) -> None:
    """Log what is to be told of a delivery.

    :raises AirflowFailException: when it was not stored.
    """
    for line in result.told:
        log.warning("%s", line)
    if result.unreadable or result.conflicts:
        raise AirflowFailException("the form was not stored; the lines above say why")


class SubmitFormOperator(BaseOperator):
    """Store a form's fields as one delivery, in the name of whoever triggered the run; trying again adds nothing.

    :param form: the workflow's form.
    :returns: whether it is new, or was there already.
    """

    def __init__(self, *, form: Form, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.form = form

    def execute(self, context: Context) -> dict[str, int]:
        """Store the request."""
        try:
            result = self.form.submit(
                engine(),
                dict(context["params"]),
                account=account_of(context),
                form_id=context["run_id"],
                actor=triggered_by(context),
            )
        except (FormRefused, ImportRefused) as error:
            raise AirflowFailException(str(error)) from None
        ensure_stored(result)
        return {name: count for name, count in asdict(result).items() if name in ("new", "repeated")}
