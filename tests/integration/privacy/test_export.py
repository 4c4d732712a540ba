"""Who asks what is known of them gets all of it, and nothing of anybody else."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import Engine

from include.data.database import authored
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.http import HttpClient, Retries
from include.integrations.hubspot import HubSpotCrm, hubspot_system
from include.integrations.hubspot.properties import KEY
from include.integrations.systems import Mode, PendingEffect
from include.privacy.erase import erase
from include.privacy.export import as_json, delete_files, export, folder
from include.privacy.person import Unknown, by_case, by_email
from include.privacy.requests import export_to_file
from tests.standins.hubspot import TOKEN, hubspot
from tests.support.people import ADA, BEN, OF_ADA, lead, lose, places_of, win
from tests.support.work import rows


def test_everything_that_the_database_holds_of_her_is_in_it(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    win(engine, ada)
    with engine.connect() as connection:
        document = export(connection, by_case(connection, ada), BuiltinCrm(engine))
    told = as_json(document).decode().lower()
    tables = {place.partition(":")[0] for place in places_of(engine, OF_ADA)}
    assert tables <= set(document["held"])
    assert {"leads", "deliveries", "effects", "crm_contacts", "mailbox", "events", "cases"} <= set(document["held"])
    assert all(word in told for word in ("lovelace", "+493023125017", "countess", "cj0kcq-of-ada", "lovelace liked it"))
    assert json.loads(document["held"]["deliveries"]["rows"][0]["body"]) == ADA


def test_what_sales_wrote_of_a_lost_deal_is_in_it(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    lost = lose(engine, ada)
    with engine.connect() as connection:
        document = export(connection, by_case(connection, ada), BuiltinCrm(engine))
    assert lost in document["known_as"]["cases"]
    held = document["held"]
    assert [row["reason"] for row in held["deal_changes"]["rows"]] == ["Too dear for Lovelace"]
    assert any("Too dear for Lovelace" in row["body"] for row in held["deliveries"]["rows"])


def test_what_the_connected_crm_has_of_her_now_is_in_it_or_why_it_was_not_asked(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_SECRET_KEY", Fernet.generate_key().decode())
    [ada] = lead(engine, ADA)
    with engine.connect() as connection:
        person = by_case(connection, ada)
    key = str(person.contacts[0])
    with hubspot() as (account, address):
        account.create_waybill_properties()
        system = hubspot_system(token=SecretStr(TOKEN), base_urls=(address,))
        crm = HubSpotCrm(HttpClient(replace(system, retries=Retries(attempts=1)), engine))
        contact = {"key": key, "properties": {"email": "ada.lovelace@engines.example", "job_title": "Countess"}}
        crm.apply("upsert_contact", [PendingEffect(1, "k", "upsert_contact", key, contact, 1)])
        [there] = account.having("contacts", KEY, key)
        account.objects["contacts"][there]["jobtitle"] = "Enchantress of numbers"
        with engine.connect() as connection:
            document = export(connection, person, crm)
        assert document["connected"]["crm"]["contact"][key]["job_title"] == "Enchantress of numbers"
        assert {"Mail", "Slack", "ERP"} <= document["connected"]["to_look_through_by_hand"].keys()
    with engine.connect() as connection:
        document = export(connection, person, crm)
    assert "could not be asked" in document["connected"]["crm"]["not_asked"]
    assert document["held"]["leads"]


def test_of_a_colleague_it_holds_only_what_names_her(engine: Engine) -> None:
    ada, _ = lead(engine, ADA, BEN)
    with engine.connect() as connection:
        document = export(connection, by_case(connection, ada), BuiltinCrm(engine))
    [mention] = [row for row in document["held"]["deliveries"]["rows"] if "mentioned_in" in row]
    assert mention["found"] == ["body"]
    assert "babbage" not in as_json(document).decode().lower()


def test_a_suppliers_contact_is_found_by_the_address_alone(engine: Engine) -> None:
    lead(engine, BEN)
    with engine.connect() as connection:
        document = export(connection, by_email(connection, ADA["email"]), BuiltinCrm(engine))
    assert "deliveries" in document["held"]
    assert document["known_as"]["cases"] == []


def test_the_file_is_private_and_named_by_nobody(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    with authored(engine, actor="user:olga") as connection:
        written = export_to_file(connection, by_case(connection, ada), BuiltinCrm(engine))
    assert written.path.stat().st_mode & 0o077 == 0
    assert written.path.parent.stat().st_mode & 0o077 == 0
    assert "lovelace" not in written.path.name
    assert json.loads(written.path.read_bytes())["held"]
    [told] = rows(engine, "select case_id, actor, detail from events where kind = 'exported'")
    assert told == {"case_id": ada, "actor": "user:olga", "detail": None}


def test_of_who_is_unknown_there_is_no_file(engine: Engine) -> None:
    with authored(engine, actor="user:olga") as connection, pytest.raises(Unknown):
        export_to_file(connection, by_email(connection, "nobody@nowhere.example"), BuiltinCrm(engine))
    assert not folder().exists()


def test_files_go_with_the_person_and_with_time(engine: Engine) -> None:
    ada, ben = lead(engine, ADA, BEN)
    with authored(engine, actor="user:olga") as connection:
        one, other = (
            export_to_file(connection, by_case(connection, case), BuiltinCrm(engine)).path for case in (ada, ben)
        )
    with engine.begin() as connection:
        whom = by_case(connection, ada)
        erase(connection, whom, actor="user:olga", reason="letter 17", mode=Mode.LIVE)
    assert delete_files(whom) == 1
    assert (one.exists(), other.exists()) == (False, True)
    assert delete_files() == 0
    past = time.time() - 31 * 86_400
    os.utime(other, (past, past))
    assert delete_files() == 1
    assert list(Path(folder()).iterdir()) == []


def test_files_of_who_is_in_no_case_are_their_own_and_go_with_them(engine: Engine) -> None:
    lead(engine, BEN | {"message": "Ask ada.lovelace@engines.example, or eve@engines.example."})
    with authored(engine, actor="user:olga") as connection:
        ada, eve = (by_email(connection, address) for address in (ADA["email"], "eve@engines.example"))
        one, again, other = (export_to_file(connection, whom, BuiltinCrm(engine)).path for whom in (ada, ada, eve))
    assert len({one, again, other}) == 3
    assert not [word for word in ("ada", "lovelace", "eve") if word in one.name + other.name]
    assert delete_files(ada) == 2
    assert list(folder().iterdir()) == [other]
