"""A stock request as a person types it into a form: a delivery like any other, with who asks and who typed it in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Engine

from include.approvals.people import people
from include.intake.imports import ImportResult, import_rows

SOURCE = "stock-form"
LINE = ("item", "quantity", "unit", "lot", "expires_on", "unit_cost", "note")
FIELDS = ("kind", "from", "to", "reason", "reference", "occurred_at")


class FormRefused(ValueError):
    """The form cannot be taken; the message says what to write."""


def submit(engine: Engine, form: Mapping[str, Any], *, account: str, form_id: str, actor: str) -> ImportResult:
    """Store what was typed as one delivery, once however often it is submitted under the same id.

    :param form: the form's fields; the first line's stand beside the others, further lines under `more_lines`.
    :param account: name of the Airflow account that typed it.
    :param actor: the author of the delivery: `user:<name>`.
    :raises FormRefused: when nobody asks for it, or there is nothing to move.
    """
    return import_rows(engine, SOURCE, orjson.dumps(document(form, account, form_id)).decode() + "\n", actor)


def document(form: Mapping[str, Any], account: str, form_id: str) -> dict[str, Any]:
    """Return the form as the delivery's document; what is blank is left out."""
    person = people().by_airflow(None, account)
    own = person.id if person is not None and not person.shared else None
    requester = _given(form.get("requester")) or own
    if requester is None:
        raise FormRefused(f"the account {account!r} is no one person's: choose the requester in the form")
    first = {name: value for name in LINE if (value := _given(form.get(name))) is not None}
    lines = [*([first] if first.keys() - {"unit", "note"} else []), *(form.get("more_lines") or ())]
    if not lines:
        raise FormRefused("there is nothing to move: fill in item and quantity")
    fields = {name: value for name in FIELDS if (value := _given(form.get(name))) is not None}
    typed_by = person.id if person else account
    return {"id": form_id, "requester": requester, "entered_by": typed_by, **fields, "lines": lines}


def _given(value: Any) -> Any:
    if isinstance(value, str):
        return value.strip() or None
    return value or None
