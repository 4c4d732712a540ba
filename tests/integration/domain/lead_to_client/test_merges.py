"""Merging two contacts reaches the CRM, built-in or HubSpot, after a time in which the merge can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from include.data.database import authored
from include.data.matching.decisions import Decision
from include.domain.lead_to_client.crm import plan_crm
from include.integrations import ledger, merges, uncarried
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.http import HttpClient, Retries, Timeouts
from include.integrations.hubspot import HubSpotCrm, hubspot_system
from include.integrations.hubspot.properties import KEY
from include.integrations.systems import Effect, Failed, Mode, Outcome, PendingEffect, Provider
from tests.standins.hubspot import TOKEN, HubSpot, hubspot
from tests.standins.system import Crash
from tests.support.leads import add_leads, claim, contact, send
from tests.support.work import change, receive, rows

HASTY = Timeouts(connect=2, read=1.0, write=2, pool=2, answer=2, total=20)
ADA, BYRON = "ada@example.org", "ada@byron.org"


class Desk:
    """Two contacts that may be one, and a CRM."""

    def __init__(self, engine: Engine, crm: Any, account: HubSpot | None = None) -> None:
        self.engine, self.crm, self.account = engine, crm, account
        (self.case,) = receive(engine)
        self.older, self.younger = contact(engine, ADA), contact(engine, BYRON, phone="+442071234567")
        self.pair = self._pair()

    def _pair(self) -> int:
        with self.engine.begin() as connection:
            return int(
                connection.execute(
                    text("""
                        insert into possible_duplicates (contact_a, contact_b, case_id, score, evidence)
                        values (least(:a, :b)::uuid, greatest(:a, :b)::uuid, :case, 0.8, '{}') returning id"""),
                    {"a": self.older, "b": self.younger, "case": self.case},
                ).scalar_one()
            )

    def knows(self, *keys: str) -> None:
        """Let the CRM have contacts; the younger is a customer already, and the only one with a phone."""
        news = {
            self.older: {"email": ADA, "first_name": "Ada", "lifecycle_stage": "lead"},
            self.younger: {"email": BYRON, "first_name": "A.", "phone": "+442071", "lifecycle_stage": "customer"},
        }
        effects = [pending("upsert_contact", {"key": key, "properties": news[key]}) for key in keys]
        assert not [one for one in self.crm.apply("upsert_contact", effects) if isinstance(one, Failed)]

    def decide(self, what: str) -> Decision:
        with authored(self.engine, actor="user:kim") as connection:
            return merges.ACTIONS[what](connection, self.pair, "user:kim", Mode.LIVE)

    def deliver(self) -> dict[str, int]:
        @contextmanager
        def provider(_role: str) -> Iterator[Provider]:
            yield self.crm

        return uncarried.deliver_due(self.engine, provider)

    def an_hour_later(self) -> dict[str, int]:
        change(self.engine, "update effects set available_at = available_at - interval '61 minutes' where step = 'x' or"
                            " operation = 'merge_contacts'")  # fmt: skip
        return self.deliver()

    def told(self) -> list[dict[str, Any]]:
        return rows(self.engine, "select * from effects where operation = 'merge_contacts' order by id")

    def in_crm(self) -> dict[str, dict[str, Any]]:
        return dict(self.crm.read("contact", [self.older, self.younger]))


def pending(operation: str, payload: dict[str, Any]) -> PendingEffect:
    return PendingEffect(1, f"w/{operation}", operation, "t", payload, 1)


@pytest.fixture(params=["builtin", "hubspot"])
def desk(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Desk]:
    if request.param == "builtin":
        yield Desk(engine, BuiltinCrm(engine))
        return
    with hubspot() as (account, address):
        account.create_waybill_properties()
        system = replace(
            hubspot_system(token=SecretStr(TOKEN), base_urls=(address,)),
            timeouts=HASTY,
            retries=Retries(attempts=2, first=0.01, longest=0.1),
        )
        yield Desk(engine, HubSpotCrm(HttpClient(system, engine)), account)


def test_a_merge_reaches_the_crm_an_hour_later_and_once(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    desk.decide("merge")
    (told,) = desk.told()
    assert told["case_id"] == desk.case, "the lead's timeline shows it"
    assert desk.deliver() == {}
    assert set(desk.in_crm()) == {desk.older, desk.younger}
    assert desk.an_hour_later() == {"crm": 1}
    found = desk.in_crm()
    assert set(found) == {desk.older}
    kept = found[desk.older]
    assert (kept["email"], kept["first_name"]) == (ADA, "Ada"), "the older one's word counts"
    assert (kept["phone"], kept["lifecycle_stage"]) == ("+442071", "customer"), "its blanks are filled"
    assert desk.an_hour_later() == {}
    if desk.account:
        assert desk.account.calls("contacts/merge") == 1


def test_what_hangs_on_the_other_contact_moves_along(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    deal = {"key": "deal-1", "properties": {"name": "Engines"}, "contact_key": desk.younger}
    desk.crm.apply("upsert_deal", [pending("upsert_deal", deal)])
    desk.decide("merge")
    desk.an_hour_later()
    if desk.account is None:
        assert rows(desk.engine, "select contact_key from crm_deals") == [{"contact_key": desk.older}]
    else:
        (merged,) = desk.account.having("contacts", KEY, desk.older)
        assert [pair[3] for pair in desk.account.associations if pair[0] == "deals"] == [merged]


def test_undone_within_the_hour_the_crm_is_never_told(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    assert desk.decide("undo merge").changed
    assert desk.an_hour_later() == {}
    assert set(desk.in_crm()) == {desk.older, desk.younger}
    (told,) = desk.told()
    assert told["error"] == "withdrawn: the merge was undone"
    desk.decide("merge")
    assert [each["state"] for each in desk.told()] == ["dead", "pending"], "another merge is told anew, an hour later"
    assert desk.deliver() == {}
    assert desk.an_hour_later() == {"crm": 1}


def test_undone_afterwards_it_says_what_to_do_in_the_crm(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    desk.an_hour_later()
    with pytest.raises(merges.MergedThere, match="cannot part them"):
        desk.decide("undo merge")
    assert rows(desk.engine, "select state from possible_duplicates") == [{"state": "merged"}]
    assert desk.decide(merges.PARTED).state == "open"
    assert [each["state"] for each in desk.told()] == ["sent"]


@pytest.mark.parametrize("known", ["neither", "the older"])
def test_what_the_crm_does_not_have_is_not_merged_and_can_be_undone(desk: Desk, known: str) -> None:
    desk.knows(*([desk.older] if known == "the older" else []))
    desk.decide("merge")
    before = desk.in_crm()
    assert desk.an_hour_later() == {"crm": 1}
    assert desk.in_crm() == before
    assert desk.told()[0]["answer"]["merged"] is False
    assert desk.decide("undo merge").state == "open"


def test_where_the_crm_has_only_the_younger_it_goes_on_under_the_key_of_both(desk: Desk) -> None:
    desk.knows(desk.younger)
    desk.decide("merge")
    assert desk.an_hour_later() == {"crm": 1}
    assert set(desk.in_crm()) == {desk.older}
    assert desk.in_crm()[desk.older]["email"] == BYRON
    if desk.account:
        assert desk.account.calls("contacts/merge") == 0


def test_a_later_lead_of_the_younger_goes_to_the_one_that_stands_for_both(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    desk.an_hour_later()
    add_leads(desk.engine, {"email": BYRON, "email_key": BYRON, "contact_id": desk.younger, "job_title": "Countess"})
    change(desk.engine, "update cases set stage = 'update_crm' where stage = 'segment'")
    assert send(desk.engine, claim(desk.engine), "update_crm", plan_crm, desk.crm).advanced == 1
    assert set(desk.in_crm()) == {desk.older}
    assert desk.in_crm()[desk.older]["job_title"] == "Countess"


def test_what_is_on_its_way_about_the_younger_goes_first(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    payload = {"key": desk.younger, "properties": {"job_title": "Countess"}}
    on_its_way = Effect("lead_to_client/1/update_crm/u", "crm", "upsert_contact", desk.case, "update_crm", "t", payload)
    with desk.engine.begin() as connection:
        ledger.write(connection, [on_its_way], Mode.LIVE)
    desk.decide("merge")
    assert desk.an_hour_later() == {}
    ledger.deliver(desk.engine, desk.crm, system="crm", scope=ledger.Scope([desk.case], "update_crm"))
    assert desk.deliver() == {"crm": 1}
    assert desk.in_crm()[desk.older]["job_title"] == "Countess"


def test_outside_production_nothing_is_merged_and_undoing_stays_possible(desk: Desk) -> None:
    desk.knows(desk.older, desk.younger)
    with authored(desk.engine, actor="user:kim") as connection:
        merges.merge(connection, desk.pair, "user:kim", Mode.CAPTURE)
    assert desk.an_hour_later() == {"crm": 1}
    assert set(desk.in_crm()) == {desk.older, desk.younger}
    assert desk.decide("undo merge").state == "open"


# --- faults


def test_a_process_that_dies_with_the_decision_leaves_neither_half(desk: Desk) -> None:
    with suppress(Crash), authored(desk.engine, actor="user:kim") as connection:
        merges.merge(connection, desk.pair, "user:kim", Mode.LIVE)
        raise Crash
    assert desk.told() == []
    assert rows(desk.engine, "select state from possible_duplicates") == [{"state": "open"}]


@pytest.mark.parametrize("after", [True, False])
def test_a_sender_that_dies_before_or_after_the_call_ends_with_one_merge(desk: Desk, after: bool) -> None:
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    crm = desk.crm

    class Dying:
        operations, batch_size, name = crm.operations, crm.batch_size, "dying"

        def apply(self, operation: str, effects: list[PendingEffect]) -> list[Outcome]:
            if after:
                crm.apply(operation, effects)
            raise Crash

    desk.crm = Dying()
    with pytest.raises(Crash):
        desk.an_hour_later()
    desk.crm = crm
    with pytest.raises(merges.MergedThere, match="at this moment"):
        desk.decide("undo merge")
    change(desk.engine, "update effects set lease_until = now() - interval '1 second' where state = 'sending'")
    desk.deliver()
    assert set(desk.in_crm()) == {desk.older}
    (told,) = desk.told()
    assert (told["state"], told["answer"]["merged"]) == ("sent", True)
    if desk.account:
        assert desk.account.calls("contacts/merge") == 1


@pytest.mark.parametrize("desk", ["hubspot"], indirect=True)
@pytest.mark.parametrize("fault", ["lost answer", "500 after the write", "503", "refused"])
def test_hubspot_s_faults_end_with_one_merge(desk: Desk, fault: str) -> None:
    assert desk.account
    desk.knows(desk.older, desk.younger)
    desk.decide("merge")
    path = "contacts/merge"
    {
        "lost answer": lambda: desk.account.lose_answer(path=path, seconds=1.3),
        "500 after the write": lambda: desk.account.write_then_500(path=path),
        "503": lambda: desk.account.fail(503, 5, path=path),
        "refused": lambda: desk.account.fail(400, path=path),
    }[fault]()
    desk.an_hour_later()
    (told,) = desk.told()
    assert told["state"] == {"503": "failed", "refused": "dead"}.get(fault, "unknown")
    desk.account.faults.clear()
    change(desk.engine, "update circuits set state = 'closed', failures = 0")
    change(desk.engine, "update effects set available_at = now()")
    change(desk.engine, "update effects set state = 'pending' where state = 'dead'")
    desk.deliver()
    desk.deliver()
    assert set(desk.in_crm()) == {desk.older}
    (told,) = desk.told()
    assert (told["state"], told["answer"]["merged"]) == ("sent", True)
    assert len(desk.account.objects["contacts"]) == 1


@pytest.mark.parametrize("desk", ["builtin"], indirect=True)
@pytest.mark.parametrize(("minutes", "waits"), [("0", False), ("90", True), ("soon", None), ("-1", None)])
def test_the_time_for_undoing_is_a_setting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, minutes: str, waits: bool | None
) -> None:
    monkeypatch.setenv("WAYBILL_MERGE_GRACE_MINUTES", minutes)
    if waits is None:
        with pytest.raises(ValueError, match=minutes):
            desk.decide("merge")
        return
    desk.decide("merge")
    assert desk.deliver() == ({} if waits else {"crm": 1})
    assert desk.an_hour_later() == {}
