"""A person's data in a running Airflow: counted, exported and erased by DAGs and from the page, also in the CRM."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.people import places_of
from tests.support.stack import Waybill
from tests.support.work import change

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

OTTILIE = {
    "email": "Ottilie.Erasmus@brightwater.example",
    "phone": "030 23125 087",
    "full_name": "Ottilie Erasmus",
    "company": "Brightwater Works",
    "country": "DE",
    "job_title": "Keeper of the weir",
    "message": "Ask for Ottilie at the gate.",
    "consent": True,
}
OF_OTTILIE = ("ottilie", "erasmus", "23125087", "23125 087", "keeper of the weir")
TILDA = {"email": "tilda.rask@brightwater.example", "full_name": "Tilda Rask", "country": "DE", "consent": True}
IVO = {"email": "ivo.brandl@altwasser.example", "full_name": "Ivo Brandl", "country": "DE", "consent": True}
RUNA = {"email": "runa.holm@brightwater.example", "full_name": "Runa Holm", "country": "DE"}
FRIEND = {
    "email": "quirin.falk@falkenhof.example",
    "full_name": "Quirin Falk",
    "country": "DE",
    "message": "ottilie.erasmus@brightwater.example told me of you.",
    "consent": True,
}


def lead(waybill: Waybill, body: dict[str, Any]) -> int:
    """Send a lead, and let it go through all steps."""
    (answer,) = waybill.send([body])
    waybill.settle()
    case = waybill.rows(
        "select id, state from cases where delivery_id = cast(:receipt as uuid)", receipt=answer.receipt
    )
    assert case[0]["state"] == "finished", case
    return int(case[0]["id"])


def person_data(waybill: Waybill, **params: Any) -> dict[str, Any]:
    """Trigger the DAG, and return what its task returned."""
    run = waybill.trigger("person_data", **params)
    waybill.finish("person_data", run)
    path = f"/api/v2/dags/person_data/dagRuns/{run}/taskInstances/handle_request/xcomEntries/return_value"
    value = waybill.api.get(path, params={"deserialize": "true"}).raise_for_status().json()["value"]
    found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
    return found


def erased_in_the_crm(waybill: Waybill, contact: str) -> None:
    """Wait until the CRM was told, and see that it has nothing any more."""
    waybill.wait_until(
        lambda: waybill.rows(
            "select 1 from effects where operation = 'erase_contact' and target = :key and state = 'sent'", key=contact
        ),
        60,
    )
    left = waybill.rows("select properties from crm_contacts where key = :key", key=contact)
    assert left in ([], [{"properties": {}}])


def nothing_names(waybill: Waybill, words: Sequence[str]) -> None:
    """Wait until no table holds any of the words: the CRM's deals are renamed by effects of their own."""
    left: list[str] = []

    def gone() -> bool:
        left[:] = places_of(waybill.engine, words)
        return not left

    with contextlib.suppress(AssertionError):
        waybill.wait_until(gone, 30)
    assert left == []


def contact_of(waybill: Waybill, case: int) -> str:
    return str(waybill.one("select contact_id from leads where case_id = :id", id=case))


@pytest.fixture(scope="module")
def ottilie(waybill: Waybill) -> Iterator[int]:
    """The case of a person whom another one names."""
    case = lead(waybill, OTTILIE)
    lead(waybill, FRIEND)
    assert {place.split(":")[0] for place in places_of(waybill.engine, ["ottilie.erasmus@"])} >= {
        "deliveries", "leads", "effects", "mailbox", "crm_contacts"
    }  # fmt: skip
    yield case
    waybill.assert_balanced()


def test_a_person_is_counted_exported_and_erased_everywhere_and_the_audit_trail_stays(
    waybill: Waybill, ottilie: int
) -> None:
    before = places_of(waybill.engine, OF_OTTILIE)
    counted = person_data(waybill, case_id=ottilie, action="erase")
    assert (counted["dry_run"], counted["refused"], counted["values"] > 20) == (True, False, True)
    assert places_of(waybill.engine, OF_OTTILIE) == before, "a dry run changes nothing"

    given = person_data(waybill, case_id=ottilie, dry_run=False)
    file = waybill.home.path / "exports" / "people" / given["file"]
    assert file.stat().st_mode & 0o077 == 0
    held = json.loads(file.read_text())["held"]
    assert {"deliveries", "leads", "effects", "mailbox", "crm_contacts", "directory_contacts"} <= held.keys()

    contact, events = contact_of(waybill, ottilie), "select id, kind, at from events where case_id = :id order by id"
    trail = waybill.rows(events, id=ottilie)
    done = person_data(waybill, case_id=ottilie, action="erase", reason="Letter 4711", dry_run=False)
    assert done["values"] >= counted["values"]
    erased_in_the_crm(waybill, contact)
    nothing_names(waybill, OF_OTTILIE)
    assert not file.exists()
    assert not in_files(waybill.home.path / "data_docs", OF_OTTILIE)

    assert waybill.rows(events, id=ottilie)[: len(trail)] == trail, "nothing of the trail is gone"
    (told,) = waybill.rows(
        "select actor, detail->>'reason' as reason from events where case_id = :id and kind = 'erased'", id=ottilie
    )
    assert told == {"actor": "user:admin", "reason": "Letter 4711"}
    again = person_data(waybill, case_id=ottilie, action="erase", reason="Letter 4711", dry_run=False)
    assert (again["erasure"], again["values"]) == (None, 0)


def test_an_erasure_from_the_page_reaches_the_crm_soon_and_once(waybill: Waybill) -> None:
    case = lead(waybill, TILDA)
    contact = contact_of(waybill, case)
    token = waybill.api.headers["Authorization"].removeprefix("Bearer ")
    with httpx.Client(base_url=f"{waybill.home.url}/waybill", cookies={"_token": token}, timeout=60) as page:
        for _ in range(2):
            form = page.get("/person", params={"case": case}).raise_for_status().text
            found = re.search(r'name="token" value="([^"]+)"', form)
            assert found
            sent = {"case": case, "reason": "Ticket 12", "confirmed": "yes", "token": found.group(1)}
            assert page.post("/person/erase", data=sent).status_code == 303
            erased_in_the_crm(waybill, contact)
    nothing_names(waybill, ("tilda.rask", "tilda rask"))
    assert waybill.one("select count(*) from erasures where :id = any(cases)", id=case) == 1
    assert waybill.one("select attempts from effects where key like :key", key=f"privacy/%erase_contact/{contact}") == 1


def test_runs_into_which_they_were_typed_are_deleted_with_them(waybill: Waybill) -> None:
    pasted = ",".join(RUNA) + "\n" + ",".join(RUNA.values())
    imported = waybill.trigger("lead_import", rows=pasted)
    waybill.finish("lead_import", imported)
    waybill.settle()
    asked = waybill.trigger("person_data", email=RUNA["email"], action="erase")
    waybill.finish("person_data", asked)
    case = int(waybill.one("select case_id from leads where email_key = :email", email=RUNA["email"]))
    done = person_data(waybill, case_id=case, action="erase", reason="Letter 4712", dry_run=False)
    typed = [("lead_import", imported), ("person_data", asked)]
    assert done["runs"] == [f"{dag}/{run}" for dag, run in typed]
    for dag, run in typed:
        path = f"/api/v2/dags/{dag}/dagRuns/{run}"
        waybill.wait_until(lambda path=path: waybill.api.get(path).status_code == 404, 60, every=1)
    nothing_names(waybill, ("runa.holm", "runa holm"))


def test_retention_erases_what_was_kept_long_enough_and_its_dry_run_only_counts(waybill: Waybill) -> None:
    case = lead(waybill, IVO)
    contact = contact_of(waybill, case)
    change(waybill.engine, "update cases set closed_at = closed_at - interval '9 years' where id = :id", id=case)
    gone = "select erased_at is not null from cases where id = :id"
    waybill.finish("retention", waybill.trigger("retention", dry_run=True))
    assert waybill.one(gone, id=case) is False
    waybill.finish("retention", waybill.trigger("retention"))
    assert waybill.one(gone, id=case) is True
    erased_in_the_crm(waybill, contact)
    nothing_names(waybill, ("ivo.brandl", "ivo brandl"))
    assert waybill.one("select count(*) from events where case_id = :id", id=case) > 5
    waybill.assert_balanced()


def test_the_canary_of_the_first_start_has_arrived(waybill: Waybill) -> None:
    waybill.wait_until(
        lambda: waybill.rows("select 1 from alerts where kind = 'canary' and state = 'resolved'"), 120, every=1
    )


def in_files(folder: Path, words: tuple[str, ...]) -> list[str]:
    """The files of a folder that hold one of some words."""
    return [
        str(path)
        for path in folder.rglob("*")
        if path.is_file() and any(word in path.read_text(errors="replace").lower() for word in words)
    ]
