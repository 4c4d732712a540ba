"""Everything that is known of a person, as one document, and the private file that it is kept in for who asked."""

from __future__ import annotations

import os
import secrets
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection

from include.data.exports import export_folder
from include.integrations.http import SystemTrouble
from include.integrations.systems import CrmProvider
from include.privacy import rows
from include.privacy.inventory import inventory
from include.privacy.mentions import search
from include.privacy.person import Person

KEPT = timedelta(days=30)
"""How long a file stays; who asked has it by then."""
NAMELESS = "address"


def export(connection: Connection, person: Person, crm: CrmProvider) -> dict[str, Any]:
    """Return what each table holds of a person, with what it is and why some of it is kept when they are erased.

    With what the CRM has of them now, and where else somebody must look by hand.
    """
    holds = inventory().holds
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "known_as": {
            "e-mail": list(person.emails),
            "contacts": [str(contact) for contact in person.contacts],
            "cases": list(person.cases),
        },
        "held": {
            name: {
                "what": {column: entry.holds for column, entry in holds[name].columns.items()},
                **({"kept_because": holds[name].why} if holds[name].why else {}),
                "rows": found,
            }
            for name, found in rows.read(connection, person, search(connection, person)).items()
        },
        "connected": {"crm": _in_crm(crm, person), "to_look_through_by_hand": dict(inventory().by_hand)},
        "outside_of_the_tables": dict(inventory().files),
    }


def _in_crm(crm: CrmProvider, person: Person) -> dict[str, Any]:
    """Their contacts and deals by Waybill's keys; or why it could not be asked."""
    keys = {"contact": person.values["contact_keys"], "deal": person.values["deal_keys"]}
    try:
        return {kind: dict(crm.read(kind, known)) for kind, known in keys.items() if known}
    except SystemTrouble as trouble:
        return {"not_asked": f"The CRM could not be asked; look there by hand, or export again later. {trouble}"}


def as_json(document: dict[str, Any]) -> bytes:
    """Return an export as people and programs read it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str)


def folder() -> Path:
    """Return where the files of exports are: `people` in the folder of exports, for the tasks' own account only."""
    return export_folder() / "people"


def file_name(person: Person) -> str:
    """Return a name that holds nothing personal and is nobody else's.

    An erasure finds the file by it, and one of an address that is nobody's contact and in no case by what it holds.
    """
    whose = NAMELESS
    if person.contacts:
        whose = f"contact-{person.contacts[0]}"
    elif person.cases:
        whose = f"case-{person.cases[0]}"
    return f"{whose}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}.json"


def write(person: Person, document: dict[str, Any]) -> Path:
    """Write an export whole or not at all, readable by nobody else; return where.

    :raises OSError: when the folder cannot be written.
    """
    target = folder() / file_name(person)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o700)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".draft")  # readable by its owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(as_json(document))
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return target


def delete_files(person: Person | None = None) -> int:
    """Delete the files of a person; without one, those that were kept long enough. Return how many."""
    if not folder().is_dir():
        return 0
    if person is None:
        oldest = (datetime.now(UTC) - KEPT).timestamp()
        files = [path for path in folder().iterdir() if path.stat().st_mtime < oldest]
    else:
        theirs = [f"contact-{contact}-" for contact in person.contacts] + [f"case-{case}-" for case in person.cases]
        files = [path for path in folder().iterdir() if path.name.startswith(tuple(theirs))]
        files += [path for path in folder().glob(f"{NAMELESS}-*") if _known_as(path) & set(person.emails)]
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)


def _known_as(path: Path) -> set[str]:
    return set(orjson.loads(path.read_bytes())["known_as"]["e-mail"])
