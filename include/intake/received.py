"""What each case of a batch was received with: the delivery's fields, and what a person put right since.

The first thing that a workflow's rules read. What the fields mean, and whether they will do, is the workflow's to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from include.cases.model import Reason, Work
from include.intake.sources import map_fields

_DELIVERIES = """
    select cases.id, deliveries.source, deliveries.body, deliveries.received_at,
           (select jsonb_object_agg(field, value order by id) from corrections where case_id = cases.id)
    from cases left join deliveries on deliveries.id = cases.delivery_id
    where cases.id = any(:ids) order by cases.id"""


@dataclass(frozen=True)
class Received:
    """One case's delivery, read by its source's mapping.

    :param source: the source's name; None for a case that was handed over and has no delivery.
    :param fields: canonical field -> JSON value, as it was sent.
    :param corrections: canonical field -> the latest value that a person gave it.
    :param reasons: why the delivery cannot be used as it is; what a person put right is no reason any more.
    """

    case_id: int
    source: str | None
    received_at: datetime | None
    fields: Mapping[str, Any]
    corrections: Mapping[str, Any]
    reasons: list[Reason]

    @property
    def corrected(self) -> dict[str, Any]:
        """The fields, with the corrections laid over them."""
        return {**self.fields, **self.corrections}


def received(work: Work) -> Iterator[Received]:
    """Yield what the cases of `work` were received with, by case id; one query for all."""
    return received_with(work.connection, work.case_ids)


def received_with(connection: Connection, case_ids: Sequence[int]) -> Iterator[Received]:
    """Yield what some cases were received with, by case id; one query for all."""
    for case_id, source, body, received_at, corrections in connection.execute(text(_DELIVERIES), {"ids": case_ids}):
        if source is None:
            message = "The case has no delivery to read. Discard it and ask for the delivery again."
            yield Received(case_id, None, None, {}, {}, [Reason("mapping.no_delivery", message)])
            continue
        mapped = map_fields(source, bytes(body))
        put_right = corrections or {}
        yield Received(case_id, source, received_at, mapped.fields, put_right, _left(mapped.reasons, put_right))


def _left(reasons: list[Reason], corrections: Mapping[str, Any]) -> list[Reason]:
    # Which of several fields was missing is for validation to say once a person has filled one of them in.
    return [
        reason
        for reason in reasons
        if reason.field not in corrections and not (corrections and reason.code == "mapping.missing")
    ]
