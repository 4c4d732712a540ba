"""Fields of forms by which people trigger DAGs."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param

from include.approvals.people import people


def optional(title: str, description: str | None = None, **schema: Any) -> Param:
    """Return a field for text that may be left empty.

    :param description: what to write, shown below the field.
    :param schema: words of JSON Schema (`pattern`, `maxLength`, `enum`) and of Airflow (`section`, `values_display`).
    """
    return Param(None, type=["null", "string"], title=title, description=description, **schema)


def on_behalf(title: str) -> Param:
    """Return the field that names for whom somebody types something in; left empty, it is their own."""
    known = people()
    return optional(
        title,
        "Only where you type it in for somebody else.",
        enum=[None, *(person.id for person in known if person.decides)],
        values_display={person.id: person.name for person in known},
    )


def file_params() -> dict[str, Param]:
    """Return the fields of a form that takes a file, or rows pasted into it."""
    return {
        "path": optional(
            "File", "A path on the machine that runs the tasks: CSV, NDJSON, a JSON array or a spreadsheet."
        ),
        "rows": optional(
            "Rows",
            "Instead of a file: a header line and rows, or one JSON object on each line.",
            format="multiline",
        ),
    }
