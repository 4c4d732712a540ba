"""What the other files of this folder have left in logs and in Airflow's own database names nobody.

It comes last by its name. Alone it looks at what it sends itself.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from include.samples.leads import FILE, samples
from tests.support.stack import Waybill

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

ADDRESS = re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+")
NUMBER = re.compile(r"\+?\d[\d ()/.-]{5,}\d")
SHORTEST_NUMBER = 7  # digits
TYPED = {
    "email": "ulrike.typed@formular.example",
    "full_name": "Ulrike Typed",
    "phone": "+49 30 23125 099",
    "company": "Formular AG",
    "country": "DE",
}
"""Somebody whom a person types into Airflow's forms."""
SEARCHED = ("logs", "airflow/logs", "data_docs")
"""Folders of a Waybill in which processes and tasks write what they did."""


@dataclass(frozen=True)
class People:
    """Whom nothing may name: addresses and names in small letters, numbers as digits."""

    addresses: frozenset[str]
    numbers: frozenset[str]
    names: frozenset[str]

    def named_in(self, said: str) -> set[str]:
        """Return whom a text names."""
        said = said.lower()
        found = {address.replace("%40", "@") for address in ADDRESS.findall(said)} & self.addresses
        found |= {_digits(number) for number in NUMBER.findall(said)} & self.numbers
        return found | {name for name in self.names if name in said}


def _digits(number: str) -> str:
    return re.sub(r"\D", "", number).removeprefix("49").removeprefix("0")


def _people(rows: Iterable[dict[str, str | None]]) -> People:
    known = [*rows, TYPED]
    numbers = {_digits(str(row["phone"])) for row in known if row["phone"]}
    return People(
        frozenset(str(row["email"]).lower() for row in known if row["email"]),
        frozenset(number for number in numbers if len(number) >= SHORTEST_NUMBER),
        frozenset(str(row["full_name"]).lower() for row in known if row["full_name"] and " " in str(row["full_name"])),
    )


@pytest.fixture(scope="module")
def people(waybill: Waybill) -> People:
    """The sample people, and all of whom the running Waybill was told; those that type a form have done so."""
    waybill.send([sample.payload for sample in samples(60, mailing=uuid4().hex) if sample.source == "website"])
    httpx.post(f"{waybill.home.url}/intake/website", content=b'{"email": "anna.keller@nordlicht-logistik.example", ')
    pasted = ",".join(TYPED) + "\n" + ",".join(TYPED.values())
    waybill.finish("lead_import", waybill.trigger("lead_import", rows=pasted))
    waybill.finish("person_data", waybill.trigger("person_data", email=TYPED["email"], action="erase"))
    waybill.finish("person_data", waybill.trigger("person_data", email=TYPED["full_name"]), state="failed")
    waybill.settle()
    told = waybill.rows("""
        select email, phone, full_name from leads
        union select raw->>'email', raw->>'phone', raw->>'full_name' from leads
        union select email, phone, first_name || ' ' || last_name from leads""")
    with FILE.open(encoding="utf-8", newline="") as file:
        return _people([*csv.DictReader(file), *told])


def texts(home: Path) -> Iterator[tuple[str, str]]:
    """Every file that processes and tasks have written, by its place in Waybill's folder."""
    for folder in SEARCHED:
        for path in (home / folder).rglob("*"):
            if path.is_file():
                yield str(path.relative_to(home)), path.read_text(errors="replace")


def test_no_log_and_no_data_docs_name_anybody(waybill: Waybill, people: People) -> None:
    found, read = {}, set()
    for name, said in texts(waybill.home.path):
        read.add(name.split("/")[-1])
        if named := people.named_in(said):
            found[name] = sorted(named)[:5]
    assert len(people.addresses) > 40
    assert {"scheduler.log", "triggerer.log", "dag-processor.log", "api-server.log", "postgres.log"} <= read
    assert len([name for name in read if name.startswith("attempt=")]) > 0, "the tasks' logs are there"
    assert found == {}


def test_airflow_s_database_names_nobody_but_whom_a_person_typed_into_a_form(waybill: Waybill, people: People) -> None:
    """XComs, rendered fields, notes, questions, the audit log: every row of every table."""
    address = make_url(waybill.settings["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).set(drivername="postgresql+psycopg")
    airflow = create_engine(address)
    tables = text("select table_name from information_schema.tables where table_schema = 'public' order by 1")
    found, rows = {}, {}
    with airflow.connect() as connection:
        for table in connection.execute(tables).scalars().all():
            # the form of a run is kept by Airflow until the run is deleted: docs/personal-data.md
            but = "- 'conf'" if table == "dag_run" else ""
            said = connection.execute(text(f'select (to_jsonb(t) {but})::text from "{table}" t')).scalars().all()
            rows[table] = len(said)
            if named := people.named_in("\n".join(said)):
                found[table] = sorted(named)[:5]
        typed = connection.execute(
            text("select count(*) from dag_run where conf::text like '%ulrike.typed%'")
        ).scalar_one()
    airflow.dispose()
    assert min(rows[table] for table in ("xcom", "rendered_task_instance_fields", "log", "dag_run")) > 0
    assert typed > 0, "a form was typed, and Airflow keeps it with its run"
    assert found == {}
