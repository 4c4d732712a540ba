"""The step "find duplicates" on the real database: who ends as whom, also when two batches ask at once."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.cases.model import Work
from include.data.database import authored
from include.data.matching import decisions, directory
from include.data.matching.people import fold
from include.domain.lead_to_client.duplicates import find_duplicates

ANNA: dict[str, Any] = {
    "email": "anna.meier@nordwind.de",
    "first_name": "Anna",
    "last_name": "Meier",
    "company": "Nordwind GmbH",
    "company_key": "nordwind",
    "domain": "nordwind.de",
    "country": "DE",
    "city": "Hamburg",
    "phone": "+494012345678",
}
WITHOUT_KEYS = {"email": None, "phone": None}


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


class Desk:
    """Puts leads into the tables as the steps before this one leave them, and runs the step."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._number = 0

    def add(self, *leads: Mapping[str, Any]) -> list[int]:
        with authored(self.engine, actor="system:test") as connection:
            return [self._add(connection, lead) for lead in leads]

    def _add(self, connection: Any, lead: Mapping[str, Any]) -> int:
        self._number += 1
        case_id = connection.execute(
            text("""
                with delivery as (
                    insert into deliveries (source, workflow, key, digest, body, content_type)
                    values ('web', 'lead_to_client', :key, sha256(''), '', 'application/json') returning id
                )
                insert into cases (workflow, key, delivery_id, state, stage, owner)
                select 'lead_to_client', :key, id, 'pending', 'find_duplicates', 'ops' from delivery returning id"""),
            {"key": f"web/{self._number}"},
        ).scalar_one()
        whole = " ".join(filter(None, (lead.get("first_name"), lead.get("last_name")))) or None
        row = {"email_key": lead.get("email"), "full_name": whole, "name_key": fold(whole), "source": "web", **lead}
        row |= {"case_id": case_id, "raw": Jsonb({})}
        connection.execute(
            text(f"insert into leads ({', '.join(row)}) values ({', '.join(f':{name}' for name in row)})"), row
        )
        return int(case_id)

    def run(self, case_ids: list[int]) -> None:
        with authored(self.engine, actor="system:test", step="find_duplicates") as connection:
            find_duplicates(Work(connection, "lead_to_client", "find_duplicates", 1, case_ids, "run"))

    def resolve(self, *leads: Mapping[str, Any]) -> list[tuple[str, UUID, UUID | None]]:
        ids = self.add(*leads)
        self.run(ids)
        found = self.rows(
            "select match, contact_id, company_id from leads where case_id = any(:ids) order by case_id", ids=ids
        )
        return [(row["match"], row["contact_id"], row["company_id"]) for row in found]

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def one(self, query: str, **values: Any) -> Any:
        [row] = self.rows(query, **values)
        return row


def number_of_contacts(desk: Desk) -> int:
    return int(desk.one("select count(*) as n from directory_contacts")["n"])


def test_an_unknown_person_becomes_a_contact_with_a_company(desk: Desk) -> None:
    [(match, contact_id, company_id)] = desk.resolve(ANNA)
    assert match == "new"
    contact = desk.one("select * from directory_contacts where id = :id", id=contact_id)
    assert (contact["email"], contact["name_key"], contact["company_id"]) == (ANNA["email"], "anna meier", company_id)
    assert desk.one("select name, domain from directory_companies") == {
        "name": "Nordwind GmbH",
        "domain": "nordwind.de",
    }


def test_the_same_address_is_the_same_person(desk: Desk) -> None:
    [(_, first, company)] = desk.resolve(ANNA)
    assert desk.resolve({**ANNA, "last_name": "Meier-Huber"}) == [("same", first, company)]
    assert number_of_contacts(desk) == 1


def test_the_senders_own_id_names_a_person_within_its_source_only(desk: Desk) -> None:
    [(_, first, _)] = desk.resolve({"external_id": "17", "first_name": "Anna", "last_name": "Meier"})
    again, elsewhere = desk.resolve(
        {"external_id": "17", "email": "new@nordwind.de"},
        {"external_id": "17", "source": "fair", "first_name": "Bo", "last_name": "Li"},
    )
    assert again[:2] == ("same", first)
    assert elsewhere[0] == "new"


def test_a_person_twice_in_one_batch_is_one_contact_also_by_detours(desk: Desk) -> None:
    found = desk.resolve(
        {"email": "a@x.de", "first_name": "Ann", "last_name": "Roe"},
        {"email": "b@x.de", "external_id": "7", "first_name": "Ann", "last_name": "Roe"},
        {"email": "a@x.de", "external_id": "7"},
    )
    assert [match for match, *_ in found] == ["new", "same", "same"]
    assert len({contact for _, contact, _ in found}) == 1


def test_running_the_step_again_changes_nothing(desk: Desk) -> None:
    ids = desk.add(ANNA, {**ANNA, **WITHOUT_KEYS, "city": "Bremen"}, {"email": "bo@li.cn"})
    desk.run(ids)
    tables = (
        "directory_contacts",
        "directory_companies",
        "contact_keys",
        "contact_blocks",
        "possible_duplicates",
        "leads",
    )
    before = {table: desk.rows(f"select * from {table} order by 1, 2") for table in tables}
    desk.run(ids)
    assert {table: desk.rows(f"select * from {table} order by 1, 2") for table in tables} == before


def test_blanks_never_overwrite_what_is_known(desk: Desk) -> None:
    [(_, contact_id, _)] = desk.resolve(ANNA)
    desk.resolve({"email": ANNA["email"], "phone": "", "city": None, "last_name": "Schulz", "first_name": "Anna"})
    contact = desk.one("select * from directory_contacts where id = :id", id=contact_id)
    assert (contact["phone"], contact["city"], contact["company_key"]) == (ANNA["phone"], "Hamburg", "nordwind")
    assert contact["last_name"] == "Schulz"


def test_blanks_in_the_directory_are_filled(desk: Desk) -> None:
    [(_, contact_id, _)] = desk.resolve({"email": ANNA["email"]})
    [(_, _, company_id)] = desk.resolve(ANNA)
    contact = desk.one("select * from directory_contacts where id = :id", id=contact_id)
    assert (contact["phone"], contact["name_key"], contact["company_id"]) == (ANNA["phone"], "anna meier", company_id)


def test_what_the_model_merges_fills_blanks_but_replaces_nothing(desk: Desk) -> None:
    [(_, contact_id, _)] = desk.resolve({**ANNA, "phone": None})
    lead = {**ANNA, "email": "anna.meir@nordwind.de", "last_name": "Meir"}
    [(match, found, _)] = desk.resolve(lead)
    assert (match, found) == ("same", contact_id)
    contact = desk.one("select * from directory_contacts where id = :id", id=contact_id)
    assert (contact["last_name"], contact["email"], contact["phone"]) == ("Meier", ANNA["email"], ANNA["phone"])
    assert desk.resolve({"email": "anna.meir@nordwind.de"})[0][:2] == ("same", contact_id)


def test_a_shared_phone_makes_nobody_the_same(desk: Desk) -> None:
    [(_, first, _)] = desk.resolve(ANNA)
    found = desk.resolve(
        {**ANNA, "email": "jo.kim@nordwind.de", "first_name": "Jo", "last_name": "Kim"},
        {"phone": ANNA["phone"], "email": "lee.ash@web.de", "first_name": "Lee", "last_name": "Ash"},
    )
    assert all(match != "same" for match, *_ in found)
    assert len({first, *(contact for _, contact, _ in found)}) == 3


def test_a_phone_with_an_agreeing_name_is_the_same_person(desk: Desk) -> None:
    [(_, first, _)] = desk.resolve({**ANNA, "first_name": "William", "last_name": "Ford"})
    lead = {"phone": ANNA["phone"], "email": "bill@web.de", "first_name": "Bill", "last_name": "Ford"}
    assert desk.resolve(lead)[0][:2] == ("same", first)


def test_a_mailbox_of_a_function_is_not_a_person(desk: Desk) -> None:
    info = {**ANNA, "email": "info@nordwind.de", "phone": None}
    [(_, first, company)] = desk.resolve(info)
    [(match, second, same_company)] = desk.resolve({**info, "first_name": "Jo", "last_name": "Kim"})
    assert match == "possible"
    assert second != first
    assert same_company == company
    assert desk.resolve({**info, "first_name": "A.", "last_name": "Meier"})[0][:2] == ("same", first)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {
            "company": "Nordwind Austria GmbH",
            "company_key": "nordwind austria",
            "domain": "nordwind.at",
            "country": "AT",
            "city": "Wien",
        },
        {"company": "Südsee AG", "company_key": "suedsee", "domain": "suedsee.de"},
        {"company": "Südsee AG", "company_key": "suedsee", "domain": "suedsee.de", "city": "München"},
    ],
    ids=["subsidiary", "moved company", "moved company and city"],
)
def test_the_same_name_elsewhere_is_not_merged_without_a_person(desk: Desk, elsewhere: dict[str, Any]) -> None:
    [(_, first, company)] = desk.resolve(ANNA)
    lead = {**ANNA, "phone": None, "email": f"anna.meier@{elsewhere['domain']}", **elsewhere}
    [(match, second, other_company)] = desk.resolve(lead)
    assert match in {"possible", "new"}
    assert second != first
    assert other_company != company


def test_a_possible_duplicate_goes_on_as_its_own_and_waits_for_a_person(desk: Desk) -> None:
    [(_, first, _)] = desk.resolve(ANNA)
    [(match, second, _)] = desk.resolve({**ANNA, **WITHOUT_KEYS, "company": None, "company_key": None, "domain": None})
    assert match == "possible"
    pair = desk.one("select * from possible_duplicates")
    assert {pair["contact_a"], pair["contact_b"]} == {first, second}
    assert pair["state"] == "open"
    assert 0.4 <= pair["score"] < 0.95
    assert pair["evidence"]["name"] == "equal"
    event = desk.one("select * from events where kind = 'possible duplicate'")
    assert event["case_id"] == pair["case_id"]
    assert event["detail"]["pairs"] == [pair["id"]]
    assert "Meier" not in str(event["detail"])


def test_numbered_names_are_different_people(desk: Desk) -> None:
    tills = [{**ANNA, **WITHOUT_KEYS, "email": f"till{n}@nordwind.de", "last_name": f"Till {n}"} for n in range(20)]
    assert len({contact for _, contact, _ in desk.resolve(*tills)}) == 20


def test_a_lead_that_says_nothing_is_a_new_contact(desk: Desk) -> None:
    found = desk.resolve({}, {})
    assert [match for match, *_ in found] == ["new", "new"]


def test_a_company_known_by_name_gets_its_domain_later(desk: Desk) -> None:
    [(_, _, by_name)] = desk.resolve({**ANNA, "email": "anna@gmail.com", "domain": None})
    [(_, _, by_domain)] = desk.resolve({**ANNA, "email": "bo.ek@nordwind.de", "first_name": "Bo", "last_name": "Ek"})
    assert by_name == by_domain
    assert desk.one("select domain from directory_companies")["domain"] == "nordwind.de"


@pytest.mark.parametrize("leads", [(ANNA, ANNA), (ANNA, {**ANNA, "email": "anna.meir@nordwind.de", "phone": None})])
def test_two_batches_at_once_make_one_contact_of_one_person(desk: Desk, leads: tuple[Any, Any]) -> None:
    batches = [desk.add(lead, *({"email": f"{place}{n}@x.de"} for n in range(50))) for place, lead in enumerate(leads)]
    ready = threading.Barrier(2)
    errors: list[BaseException] = []

    def run(ids: list[int]) -> None:
        try:
            with authored(desk.engine, actor="system:test") as connection:
                connection.execute(text("select 1"))
                ready.wait()
                find_duplicates(Work(connection, "lead_to_client", "find_duplicates", 1, ids, "run"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(ids,)) for ids in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = desk.rows("select contact_id from leads where case_id = any(:ids)", ids=[ids[0] for ids in batches])
    assert len({row["contact_id"] for row in found}) == 1
    assert number_of_contacts(desk) == 101


# --- what a person decides ---


@pytest.fixture
def pair(desk: Desk) -> dict[str, Any]:
    """Two contacts that may be one: the older without a phone, the younger without a company."""
    desk.resolve({**ANNA, "phone": None})
    lead = {**ANNA, "email": "anna.meier@gmail.com", "company": None, "company_key": None, "domain": None}
    assert desk.resolve(lead)[0][0] == "possible"
    return dict(desk.one("select * from possible_duplicates"))


def decide(desk: Desk, decision: Any, pair_id: int) -> decisions.Decision:
    with authored(desk.engine, actor="user:kim") as connection:
        return decision(connection, pair_id, "user:kim")


def contact(desk: Desk, contact_id: UUID) -> dict[str, Any]:
    return dict(desk.one("select * from directory_contacts where id = :id", id=contact_id))


def test_a_merge_fills_the_older_and_both_addresses_lead_to_it(desk: Desk, pair: dict[str, Any]) -> None:
    decision = decide(desk, decisions.merge, pair["id"])
    assert decision.changed
    assert (decision.winner, decision.loser) == (pair["contact_a"], pair["contact_b"])
    winner = contact(desk, pair["contact_a"])
    assert (winner["email"], winner["phone"]) == (ANNA["email"], ANNA["phone"])
    assert desk.resolve({"email": "anna.meier@gmail.com"})[0][:2] == ("same", pair["contact_a"])
    with desk.engine.connect() as connection:
        assert directory.survivors(connection, [pair["contact_b"]]) == {pair["contact_b"]: pair["contact_a"]}
    assert desk.one("select actor from events where kind = 'merged'")["actor"] == "user:kim"


def test_a_merge_twice_is_one_merge(desk: Desk, pair: dict[str, Any]) -> None:
    first = decide(desk, decisions.merge, pair["id"])
    second = decide(desk, decisions.merge, pair["id"])
    assert (second.winner, second.loser, second.changed) == (first.winner, first.loser, False)
    assert desk.one("select count(*) as n from contact_merges")["n"] == 1
    assert desk.one("select count(*) as n from events where kind = 'merged'")["n"] == 1


def test_undoing_a_merge_restores_both_and_asks_again(desk: Desk, pair: dict[str, Any]) -> None:
    before = [contact(desk, pair[side]) | {"updated_at": None} for side in ("contact_a", "contact_b")]
    decide(desk, decisions.merge, pair["id"])
    assert decide(desk, decisions.undo_merge, pair["id"]).changed
    assert not decide(desk, decisions.undo_merge, pair["id"]).changed
    after = [contact(desk, pair[side]) | {"updated_at": None} for side in ("contact_a", "contact_b")]
    assert after == before
    assert desk.one("select state from possible_duplicates")["state"] == "open"
    assert desk.resolve({"email": "anna.meier@gmail.com"})[0][:2] == ("same", pair["contact_b"])
    assert decide(desk, decisions.merge, pair["id"]).changed


def test_undoing_a_merge_leaves_what_changed_since(desk: Desk, pair: dict[str, Any]) -> None:
    decide(desk, decisions.merge, pair["id"])
    desk.resolve({"email": ANNA["email"], "phone": "+494099"})
    decide(desk, decisions.undo_merge, pair["id"])
    assert contact(desk, pair["contact_a"])["phone"] == "+494099"


def test_a_chain_of_merges_leads_to_one_and_can_be_undone_in_the_middle(desk: Desk) -> None:
    ids = [desk.resolve({"email": f"{name}@x.de"})[0][1] for name in ("a", "b", "c")]
    with desk.engine.begin() as connection:
        pairs = {(one, other): (None, 0.5, {}) for one, other in ((ids[1], ids[2]), (ids[0], ids[1]))}
        directory.ask(connection, pairs)
    first, second = (row["id"] for row in desk.rows("select id from possible_duplicates order by id"))
    decide(desk, decisions.merge, first)
    decide(desk, decisions.merge, second)
    assert [desk.resolve({"email": f"{name}@x.de"})[0][1] for name in "abc"] == [ids[0]] * 3
    decide(desk, decisions.undo_merge, second)
    assert [desk.resolve({"email": f"{name}@x.de"})[0][1] for name in "abc"] == [ids[0], ids[1], ids[1]]


def test_kept_apart_stays_apart(desk: Desk, pair: dict[str, Any]) -> None:
    assert decide(desk, decisions.keep_apart, pair["id"]).changed
    assert not decide(desk, decisions.keep_apart, pair["id"]).changed
    with pytest.raises(decisions.DecidedOtherwise, match="kept apart by user:kim"):
        decide(desk, decisions.merge, pair["id"])
    assert contact(desk, pair["contact_b"])["merged_into"] is None


def test_a_merged_pair_must_be_undone_before_it_is_kept_apart(desk: Desk, pair: dict[str, Any]) -> None:
    decide(desk, decisions.merge, pair["id"])
    with pytest.raises(decisions.DecidedOtherwise, match="undo the merge first"):
        decide(desk, decisions.keep_apart, pair["id"])


@pytest.mark.parametrize("decision", [decisions.merge, decisions.keep_apart, decisions.undo_merge])
def test_deciding_about_an_unknown_pair_says_so(desk: Desk, decision: Any) -> None:
    with pytest.raises(decisions.PairUnknown, match="404"):
        decide(desk, decision, 404)


def test_two_people_who_decide_at_once_make_one_merge(desk: Desk, pair: dict[str, Any]) -> None:
    found: list[decisions.Decision] = []
    threads = [
        threading.Thread(target=lambda: found.append(decide(desk, decisions.merge, pair["id"]))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(decision.changed for decision in found) == [False, False, False, True]
    assert desk.one("select count(*) as n from contact_merges")["n"] == 1
