"""A person's request to know what is known of them, answered: the export, and the event that says it was given out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from include.cases import store
from include.integrations.systems import CrmProvider
from include.privacy.export import export, write
from include.privacy.person import Person, Unknown


@dataclass(frozen=True)
class Written:
    """An export in its file."""

    path: Path
    rows: int


def give_out(connection: Connection, person: Person, crm: CrmProvider) -> dict[str, Any]:
    """Return a person's export, and record in each of their cases that somebody got it; in an authored transaction.

    :raises Unknown: when nothing is known of them.
    """
    document = export(connection, person, crm)
    if not document["held"]:
        raise Unknown("nothing is known of this person")
    store.record(connection, "exported", person.cases)
    return document


def export_to_file(connection: Connection, person: Person, crm: CrmProvider) -> Written:
    """Write a person's export to a private file; in an authored transaction.

    :raises Unknown: when nothing is known of them.
    """
    document = give_out(connection, person, crm)
    return Written(write(person, document), sum(len(table["rows"]) for table in document["held"].values()))
