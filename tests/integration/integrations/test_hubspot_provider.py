"""HubSpot as the `crm` role, against a stand-in that keeps to the published contract, under faults.

Each test ends by asking the stand-in: every object there, each once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from include.integrations import ledger
from include.integrations.http import HttpClient, OAuth2, Retries, Timeouts
from include.integrations.hubspot import HubSpotCrm, hubspot_system
from include.integrations.hubspot.properties import KEY, KINDS
from include.integrations.systems import Effect, Failed, Mode, PendingEffect, Sent, Unknown
from tests.standins.hubspot import CLIENT_ID, CLIENT_SECRET, TOKEN, HubSpot, hubspot

Account = tuple[HubSpot, str]
HASTY = Timeouts(connect=2, read=1.0, write=2, pool=2, answer=2, total=20)


def crm(engine: Engine, address: str, **changes: Any) -> HubSpotCrm:
    """A provider on the stand-in, in a hurry."""
    system = replace(
        hubspot_system(token=SecretStr(TOKEN), base_urls=(address,)),
        timeouts=HASTY,
        retries=Retries(attempts=4, first=0.01, longest=0.1),
        **changes,
    )
    return HubSpotCrm(HttpClient(system, engine))


def key(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))


def effect(number: int, operation: str, properties: dict[str, Any], **links: str) -> PendingEffect:
    payload = {"key": links.pop("key", key(number)), "properties": properties, **links}
    return PendingEffect(number, f"w/{number}/s/{operation}/t", operation, "t", payload, 1)


def contacts(count: int, start: int = 1, **links: str) -> list[PendingEffect]:
    return [
        effect(n, "upsert_contact", {"email": f"lead{n}@example.com", "first_name": f"Lead {n}"}, **links)
        for n in range(start, start + count)
    ]


def tasks(count: int, **links: str) -> list[PendingEffect]:
    return [
        effect(
            n, "create_task", {"subject": f"Call {n}", "due_at": "2026-11-23T09:00:00Z", "priority": "high"}, **links
        )
        for n in range(1, count + 1)
    ]


def each_once(account: HubSpot, kind: str, effects: Sequence[PendingEffect]) -> None:
    for one in effects:
        assert len(account.having(kind, KEY, one.payload["key"])) == 1, one
    assert len(account.objects[kind]) == len({one.payload["key"] for one in effects})


def all_sent(outcomes: Sequence[object]) -> bool:
    return all(isinstance(outcome, Sent) for outcome in outcomes)


def test_a_lead_becomes_a_company_a_contact_a_deal_and_a_task_that_belong_together(
    engine: Engine, account: Account
) -> None:
    held, address = account
    provider = crm(engine, address)
    company = effect(1, "upsert_company", {"name": "Ä & Söhne", "domain": "aes.example", "size": 40, "country": "DE"})
    contact = effect(
        2,
        "upsert_contact",
        {"email": "e@aes.example", "lifecycle_stage": "mql", "owner": "Anna@seller.example", "consent": True,
         "first_touch_utm_source": "ads", "phone": None},
        company_key=key(1),
    )  # fmt: skip
    deal = effect(3, "upsert_deal", {"name": "Ä & Söhne", "stage": "new", "amount": 1200.5, "currency": "EUR"},
                  contact_key=key(2), company_key=key(1))  # fmt: skip
    task = effect(4, "create_task", {"subject": "Call", "body": "…", "due_at": "2026-11-23T09:00:00Z"},
                  contact_key=key(2), deal_key=key(3))  # fmt: skip
    for one in (company, contact, deal, task):
        assert all_sent(provider.apply(one.operation, [one])), provider.apply(one.operation, [one])
    ids = {kind.path: held.having(kind.path, KEY, key(n))[0] for n, kind in enumerate(KINDS.values(), 1)}
    assert {
        ("contacts", ids["contacts"], "companies", ids["companies"]),
        ("deals", ids["deals"], "contacts", ids["contacts"]),
        ("deals", ids["deals"], "companies", ids["companies"]),
        ("tasks", ids["tasks"], "contacts", ids["contacts"]),
        ("tasks", ids["tasks"], "deals", ids["deals"]),
    } == held.associations
    assert provider.read("contact", [key(2), key(99)]) == {
        key(2): {
            "email": "e@aes.example",
            "lifecycle_stage": "mql",
            "owner": "anna@seller.example",
            "consent": True,
            "first_touch_utm_source": "ads",
        }
    }
    assert provider.read("company", [key(1)])[key(1)]["size"] == 40
    assert provider.read("deal", [key(3)])[key(3)]["stage"] == "new"


def test_two_leads_of_one_contact_are_one_object_with_the_later_word_and_the_further_stage(
    engine: Engine, account: Account
) -> None:
    held, address = account
    first = effect(1, "upsert_contact", {"email": "a@x.example", "city": "Bonn", "lifecycle_stage": "sql"})
    second = effect(2, "upsert_contact", {"city": "Köln", "lifecycle_stage": "lead", "job_title": None}, key=key(1))
    outcomes = crm(engine, address).apply("upsert_contact", [first, second])
    assert outcomes[0] == outcomes[1]
    assert all_sent(outcomes)
    (only,) = held.objects["contacts"].values()
    assert (only["city"], only["lifecyclestage"]) == ("Köln", "salesqualifiedlead")


def test_a_hundred_contacts_are_one_call_and_more_are_several(engine: Engine, account: Account) -> None:
    held, address = account
    effects = contacts(230)
    assert all_sent(crm(engine, address).apply("upsert_contact", effects))
    assert held.calls("contacts/batch/upsert") == 3
    each_once(held, "contacts", effects)


def test_one_bad_item_harms_no_other(engine: Engine, account: Account) -> None:
    held, address = account
    effects = contacts(50)
    effects[7].payload["properties"]["email"] = "not an address"
    outcomes = crm(engine, address).apply("upsert_contact", effects)
    assert isinstance(outcomes[7], Failed)
    assert outcomes[7].permanent
    assert "INVALID_EMAIL" in outcomes[7].error
    assert held.calls("contacts/batch/upsert") == 1
    assert all_sent([*outcomes[:7], *outcomes[8:]])
    each_once(held, "contacts", [*effects[:7], *effects[8:]])


def test_a_batch_that_is_refused_whole_is_halved_until_the_culprit_is_alone(engine: Engine, account: Account) -> None:
    held, address = account
    effects = contacts(20)
    effects[13].payload["key"] = ""  # the contract refuses the whole batch for it
    outcomes = crm(engine, address).apply("upsert_contact", effects)
    assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Sent)] == [13]
    each_once(held, "contacts", [*effects[:13], *effects[14:]])


def test_half_a_batch_that_fails_goes_again_alone(engine: Engine, account: Account) -> None:
    held, address = account
    held.reject = lambda kind, properties: properties.get("firstname", "").endswith(("1", "3", "5", "7", "9"))
    provider, effects = crm(engine, address), contacts(40)
    outcomes = provider.apply("upsert_contact", effects)
    assert sum(isinstance(one, Sent) for one in outcomes) == 20
    held.reject = lambda kind, properties: False
    again = [one for one, outcome in zip(effects, outcomes, strict=True) if not isinstance(outcome, Sent)]
    assert all_sent(provider.apply("upsert_contact", again))
    each_once(held, "contacts", effects)


@pytest.mark.parametrize("operation", ["upsert_contact", "create_task"])
def test_a_storm_of_429_is_weathered(engine: Engine, account: Account, operation: str) -> None:
    held, address = account
    held.storm(2, retry_after="1")
    effects = contacts(30) if operation == "upsert_contact" else tasks(30)
    assert all_sent(crm(engine, address).apply(operation, effects))
    each_once(held, "contacts" if operation == "upsert_contact" else "tasks", effects)


def test_a_used_up_daily_quota_stops_the_step_and_not_the_process(engine: Engine, account: Account) -> None:
    held, address = account
    held.storm(1, retry_after="7200", policy="DAILY")
    provider, effects = crm(engine, address), contacts(3)
    for _ in range(2):
        outcomes = provider.apply("upsert_contact", effects)
        assert all(isinstance(one, Failed) and not one.permanent for one in outcomes)
        assert isinstance(outcomes[0], Failed)
        assert outcomes[0].retry_after == pytest.approx(7200, abs=20)
    assert len(held.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_server_errors_are_survived(engine: Engine, account: Account, status: int) -> None:
    held, address = account
    held.fail(status, times=3, path="upsert")
    effects = contacts(30)
    assert all_sent(crm(engine, address).apply("upsert_contact", effects))
    each_once(held, "contacts", effects)


def test_an_answer_lost_after_the_write_does_not_double_contacts(engine: Engine, account: Account) -> None:
    held, address = account
    held.lose_answer(path="upsert", seconds=1.5)
    effects = contacts(30)
    assert all_sent(crm(engine, address).apply("upsert_contact", effects))
    each_once(held, "contacts", effects)


@pytest.mark.parametrize("fault", ["lose_answer", "write_then_500"])
def test_an_answer_lost_after_tasks_were_made_is_settled_by_asking(
    engine: Engine, account: Account, fault: str
) -> None:
    held, address = account
    provider, effects = crm(engine, address), tasks(10)
    getattr(held, fault)(path="tasks/batch/create")
    outcomes = provider.apply("create_task", effects)
    assert all(isinstance(outcome, Unknown) for outcome in outcomes)
    assert all_sent(provider.settle("create_task", effects))
    each_once(held, "tasks", effects)


def test_tasks_that_hubspot_does_not_have_are_sent_again(engine: Engine, account: Account) -> None:
    held, address = account
    provider, effects = crm(engine, address), tasks(4)
    assert all_sent(provider.apply("create_task", effects[:2]))
    outcomes = provider.settle("create_task", effects)
    assert [type(outcome) for outcome in outcomes] == [Sent, Sent, Failed, Failed]
    assert all_sent(provider.apply("create_task", effects))  # all four, two of them again
    each_once(held, "tasks", effects)


def test_a_token_that_expires_in_mid_batch_is_renewed(engine: Engine) -> None:
    with hubspot(HubSpot(rotate=True)) as (held, address):
        held.create_waybill_properties()
        oauth = OAuth2(
            f"{address}/oauth/v1/token", CLIENT_ID, SecretStr(CLIENT_SECRET), "hubspot", "refresh_token",
            SecretStr("refresh-0"),
        )  # fmt: skip
        provider = crm(engine, address, auth=oauth)
        assert all_sent(provider.apply("upsert_company", [effect(900, "upsert_company", {"name": "X"})]))
        held.expire_tokens_before("contacts/batch/upsert")
        held.expire_tokens_before("associate/default")
        effects = contacts(150, company_key=key(900))
        assert all_sent(provider.apply("upsert_contact", effects))
        each_once(held, "contacts", effects)
        assert held.refreshes == 3
        held.expire_tokens_before("tasks/batch/create")
        assert all_sent(provider.apply("create_task", tasks(5)))
        each_once(held, "tasks", tasks(5))


def test_a_contact_that_hubspot_knew_by_its_address_is_adopted(engine: Engine, account: Account) -> None:
    held, address = account
    held.objects["contacts"]["51"] = {"email": "lead2@example.com", "city": "Ulm"}
    effects = contacts(3)
    outcomes = crm(engine, address).apply("upsert_contact", effects)
    assert all_sent(outcomes)
    assert outcomes[1] == Sent({"id": "51"})
    assert held.objects["contacts"]["51"]["city"] == "Ulm"
    each_once(held, "contacts", effects)


def test_a_contact_that_is_another_of_ours_is_never_taken_over(engine: Engine, account: Account) -> None:
    held, address = account
    provider = crm(engine, address)
    assert all_sent(provider.apply("upsert_contact", contacts(1)))
    twin = effect(2, "upsert_contact", {"email": "lead1@example.com", "city": "Rome"})
    (outcome,) = provider.apply("upsert_contact", [twin])
    assert isinstance(outcome, Failed)
    assert outcome.permanent
    assert "merge" in outcome.error
    assert "lead1@" not in outcome.error
    each_once(held, "contacts", contacts(1))


def test_what_belongs_to_something_that_is_not_there_yet_waits(engine: Engine, account: Account) -> None:
    held, address = account
    provider = crm(engine, address)
    effects = contacts(2, company_key=key(900))
    outcomes = provider.apply("upsert_contact", effects)
    assert all(isinstance(one, Failed) and not one.permanent and one.retry_after for one in outcomes)
    (late,) = provider.apply("create_task", tasks(1, deal_key=key(901)))
    assert isinstance(late, Failed)
    assert held.objects["tasks"] == {}
    provider.apply("upsert_company", [effect(900, "upsert_company", {"name": "X"})])
    assert all_sent(provider.apply("upsert_contact", effects))
    each_once(held, "contacts", effects)


def test_what_hubspot_has_no_place_for_is_named_and_stops_nothing(engine: Engine, account: Account) -> None:
    held, address = account
    one = effect(1, "upsert_contact", {"email": "a@x.example", "shoe_size": 43, "owner": "nobody@seller.example"})
    (outcome,) = crm(engine, address).apply("upsert_contact", [one])
    assert isinstance(outcome, Sent)
    assert outcome.answer["unmapped"] == ["shoe_size", "owner"]
    each_once(held, "contacts", [one])


def test_a_revoked_token_waits_for_a_person(engine: Engine, account: Account) -> None:
    held, address = account
    held.access_tokens = {}
    outcomes = crm(engine, address).apply("upsert_contact", contacts(2))
    assert all(isinstance(one, Failed) and not one.permanent and one.retry_after == 300 for one in outcomes)


def test_the_properties_that_waybill_needs_are_created_once(engine: Engine) -> None:
    with hubspot() as (held, address):
        provider = crm(engine, address)
        assert KEY in provider.missing_properties()["task"]
        created = provider.create_properties()
        assert set(created) == set(KINDS)
        assert provider.missing_properties() == {}
        assert provider.create_properties() == {}
        assert all_sent(provider.apply("upsert_contact", contacts(2)))
        each_once(held, "contacts", contacts(2))


def test_the_ledger_ends_with_every_object_there_once_whatever_goes_wrong(engine: Engine, account: Account) -> None:
    held, address = account
    provider = crm(engine, address)
    held.storm(2, retry_after="0")
    held.lose_answer(path="contacts/batch/upsert", seconds=1.3)
    held.fail(503, path="contacts/batch/upsert")
    held.write_then_500(path="tasks/batch/create")
    planned = [
        Effect(f"w/{n}/crm/{operation}/{n}", "crm", operation, None, "crm", str(n), one.payload)
        for operation, effects in (("upsert_contact", contacts(120)), ("create_task", tasks(120)))
        for n, one in enumerate(effects)
    ]
    with engine.begin() as connection:
        ledger.write(connection, planned, Mode.LIVE)
    for _ in range(8):
        ledger.deliver(engine, provider, system="crm")
        with engine.begin() as connection:
            connection.execute(text("update effects set available_at = now() where state in ('failed', 'unknown')"))
            left = connection.execute(text("select count(*) from effects where state <> 'sent'")).scalar_one()
        if not left:
            break
    assert left == 0
    each_once(held, "contacts", contacts(120))
    each_once(held, "tasks", tasks(120))


def test_an_erased_contact_is_gone_for_good_and_the_tasks_about_it_say_nothing(
    engine: Engine, account: Account
) -> None:
    held, address = account
    provider = crm(engine, address)
    assert all_sent(provider.apply("upsert_contact", contacts(2)))
    [task] = tasks(1, contact_key=key(1), key=key(11))
    assert all_sent(provider.apply("create_task", [task]))
    erasing = PendingEffect(9, "privacy/e", "erase_contact", key(1), {"key": key(1), "tasks": [key(11)]}, 1)
    unknown = PendingEffect(10, "privacy/n", "erase_contact", key(7), {"key": key(7), "tasks": []}, 1)
    assert provider.apply("erase_contact", [erasing, unknown]) == [Sent({"erased": 1}), Sent({"erased": 0})]
    assert held.having("contacts", KEY, key(1)) == []
    assert len(held.having("contacts", KEY, key(2))) == 1
    assert [one["hs_task_subject"] for one in held.objects["tasks"].values()] == ["[erased]"]
    assert provider.apply("erase_contact", [erasing]) == [Sent({"erased": 0})]


def test_an_erasure_whose_answer_is_lost_is_sent_again(engine: Engine, account: Account) -> None:
    held, address = account
    provider = crm(engine, address)
    provider.apply("upsert_contact", contacts(1))
    held.write_then_500(path="gdpr-delete")
    erasing = PendingEffect(9, "privacy/e", "erase_contact", key(1), {"key": key(1), "tasks": []}, 1)
    [outcome] = provider.apply("erase_contact", [erasing])
    again = provider.apply("erase_contact", [erasing])
    assert held.objects["contacts"] == {}
    assert again == [Sent({"erased": 0})], outcome
