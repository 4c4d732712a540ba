"""Requests that people type into a form: who asks, who typed it in, and the delivery that it becomes.

Which fields there are is the workflow's part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Engine

from include.approvals.people import people
from include.intake.imports import ImportResult, import_rows


class FormRefused(ValueError):
    """The form cannot be taken; the message says what to write."""


@dataclass(frozen=True)
class Form:
    """A form of one workflow; the first line's fields stand beside the others, further lines under `more_lines`.

    :param source: the source of intake that its deliveries have.
    :param line: the fields of a line.
    :param preset: of these, the ones that do not make a line by themselves, for the form fills them in.
    :param fields: the other fields.
    :param empty: what is said where there is no line.
    """

    source: str
    line: Sequence[str]
    preset: frozenset[str]
    fields: Sequence[str]
    empty: str

    def submit(
        self, engine: Engine, filled: Mapping[str, Any], *, account: str, form_id: str, actor: str
    ) -> ImportResult:
        """Store what was typed as one delivery, once however often it is submitted under the same id.

        :param filled: the form's fields with what was typed.
        :param account: name of the Airflow account that typed it.
        :param actor: the author of the delivery: `user:<name>`.
        :raises FormRefused: when nobody asks for it, or it has no line.
        """
        return store(engine, self.source, self.document(filled, account, form_id), actor)

    def document(self, filled: Mapping[str, Any], account: str, form_id: str) -> dict[str, Any]:
        """Return the form as the delivery's document; what is blank is left out."""
        requester, entered_by = who_asks(account, filled.get("requester"), role="the requester")
        first = {name: value for name in self.line if (value := given(filled.get(name))) is not None}
        lines = [
            *([first] if first.keys() - self.preset else []),
            *(line for line in filled.get("more_lines") or () if line),
        ]
        if not lines:
            raise FormRefused(self.empty)
        fields = {name: value for name in self.fields if (value := given(filled.get(name))) is not None}
        return {"id": form_id, "requester": requester, "entered_by": entered_by, **fields, "lines": lines}


def who_asks(account: str, chosen: Any, *, role: str) -> tuple[str, str]:
    """Return the ids of who asks, and of who typed it in: their account's name where it is no person's.

    :param chosen: whoever it is typed in for; blank means whoever types.
    :param role: what the form calls who asks.
    :raises FormRefused: when the account is several people's, and nobody is chosen.
    """
    person = people().by_airflow(None, account)
    own = person.id if person is not None and not person.shared else None
    asks = given(chosen) or own
    if asks is None:
        raise FormRefused(f"the account {account!r} is no one person's: choose {role} in the form")
    return asks, person.id if person else account


def given(value: Any) -> Any:
    """Return what was typed without blanks around it; None where nothing was."""
    if isinstance(value, str):
        return value.strip() or None
    return value or None


def store(engine: Engine, source: str, document: Mapping[str, Any], actor: str) -> ImportResult:
    """Store a form's document as a delivery of `source`; the same one again adds nothing."""
    return import_rows(engine, source, orjson.dumps(document).decode() + "\n", actor)
