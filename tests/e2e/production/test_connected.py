"""Leads go out to HubSpot's stand-in and a real mail server, each effect once, whatever fails meanwhile.

What the outside systems hold at the end is what counts here; the database is asked for what they should hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from include.cases.store import discard
from tests.support.faults import holds
from tests.support.mix import KnownMix, known_mix
from tests.support.production import Production

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

OURS = "(select id from cases where created_at >= :since and workflow = 'lead_to_client')"


@pytest.fixture(scope="module", autouse=True)
def nothing_stays_aside(production_waybill: Production) -> Iterator[None]:
    """Discard what was set aside, which other tests would be told of too."""
    yield
    waybill = production_waybill.waybill
    aside = [row["id"] for row in waybill.rows("select id from cases where state = 'quarantined'")]
    assert discard(waybill.engine, aside, reason="a test of what goes out", actor="user:test") == len(aside)
    production_waybill.look()


@pytest.fixture
def since(world: Production) -> Any:
    """The instant from which on cases are this test's."""
    world.waybill.settle()
    return world.waybill.one("select clock_timestamp()")


def assert_the_systems_hold_everything_once(world: Production, since: Any, mix: KnownMix) -> None:
    """Fail unless HubSpot holds each object of the mix once, and each mail that was planned arrived once."""
    waybill, crm = world.waybill, world.crm
    waybill.assert_balanced()
    assert waybill.rows(f"select * from effects where case_id in {OURS} and state <> 'sent'", since=since) == []
    finished = f"select count(*) from cases where id in {OURS} and state = 'finished'"
    assert waybill.one(finished, since=since) == mix.finished
    expected = {"companies": mix.people, "contacts": mix.people, "deals": mix.people, "tasks": mix.finished}
    for (operation, kind), number in zip(
        {"upsert_company": "companies", "upsert_contact": "contacts", "upsert_deal": "deals", "create_task": "tasks"}
        .items(),
        expected.values(),
        strict=True,
    ):  # fmt: skip
        keys = {
            row["key"]
            for row in waybill.rows(
                f"""select distinct payload->>'key' as key from effects
                    where case_id in {OURS} and operation = :operation""",
                since=since,
                operation=operation,
            )
        }
        held = Counter(one["waybill_key"] for one in crm.objects[kind].values() if one.get("waybill_key") in keys)
        assert held == dict.fromkeys(keys, 1), f"{kind}: each once"
        assert len(keys) == number, kind
    emails = [one["email"].lower() for one in crm.objects["contacts"].values()]
    assert len(emails) == len(set(emails))
    planned = waybill.rows(
        f"select lower(email) as email, count(*) from leads where case_id in {OURS} and mail = 'planned' group by 1",
        since=since,
    )
    assert planned
    assert {row["email"]: len(world.post.to(row["email"])) for row in planned} == {
        row["email"]: row["count"] for row in planned
    }
    ids = [one["Message-ID"] for one in world.post.mails]
    assert len(ids) == len(set(ids))


def test_leads_reach_the_connected_systems_each_effect_once(world: Production, since: Any) -> None:
    mix = known_mix(60, seed=61)
    assert {answer.status for answer in world.waybill.send(mix.bodies)} == {202}
    world.waybill.settle()
    assert_the_systems_hold_everything_once(world, since, mix)
    assert world.waybill.one("select count(*) from mailbox") == 0, "nothing went to the built-in mailbox"
    assert world.waybill.one("select count(*) from crm_contacts") == 0


def test_a_step_killed_between_sending_and_recording_sends_nothing_twice(world: Production, since: Any) -> None:
    mix = known_mix(40, seed=62)
    with holds(world.waybill) as held:
        held.hold("recording")
        world.waybill.send(mix.bodies)
        held.kill_at("recording", "update_crm")
        for before, step in (("assign", "create_tasks"), ("create_tasks", "send_mail")):
            held.hold(before)
            held.wait(before)
            held.hold("recording")
            held.release(before)
            held.kill_at("recording", step)
    world.waybill.settle()
    assert_the_systems_hold_everything_once(world, since, mix)


def test_what_hubspot_refuses_of_a_batch_is_set_aside_and_the_rest_goes_on(world: Production, since: Any) -> None:
    mix = known_mix(40, seed=63)
    again = {body["email"].lower() for body in mix.bodies[8::10]}
    refused = {body["email"] for body in mix.bodies[:7] if body["email"] not in again}
    world.crm.reject = lambda kind, properties: kind == "contacts" and properties.get("email") in refused
    world.waybill.send(mix.bodies)
    world.waybill.settle()
    world.waybill.assert_balanced()
    set_aside = world.waybill.rows(
        f"""select cases.id, lower(email) as email from cases join leads on leads.case_id = cases.id
            where cases.id in {OURS} and state = 'quarantined' and reasons->0->>'code' = 'effect.crm'""",
        since=since,
    )
    assert {row["email"] for row in set_aside} == refused
    world.look()
    (alert,) = world.posted("given up (crm.upsert_contact)")
    assert f"{len(set_aside)} effects for {len(set_aside)} cases" in alert.text

    world.crm.reject = lambda kind, properties: False
    released = world.waybill.trigger(
        "lead_replay", case_ids=[row["id"] for row in set_aside], reason="effect.crm", dry_run=False
    )
    world.waybill.finish("lead_replay", released)
    world.waybill.settle()
    assert_the_systems_hold_everything_once(world, since, mix)


def test_a_crm_that_is_away_stops_only_what_needs_it_and_everything_resumes_by_itself(
    world: Production, since: Any
) -> None:
    mix = known_mix(60, seed=64)
    world.crm.fail(503, 10_000)
    world.waybill.send(mix.bodies[:40])
    held_up = f"select count(*) from cases where id in {OURS} and state = 'pending' and stage = 'update_crm'"
    first = [body for number, body in enumerate(mix.bodies[:40]) if number % 10 != 9]
    world.waybill.wait_until(lambda: world.waybill.one(held_up, since=since) == len(first))
    assert world.waybill.one(
        f"select count(*) from cases where id in {OURS} and state = 'quarantined'", since=since
    ) == 40 - len(first), "what needs no CRM went on"
    world.waybill.send(mix.bodies[40:])
    world.waybill.wait_until(lambda: world.waybill.one(held_up, since=since) == mix.finished)
    runs = f"select count(distinct run_id) from events where case_id in {OURS} and run_id is not null"
    during = world.waybill.one(runs, since=since)
    assert during < 15, "it is not asked again and again while it is away"
    world.crm.faults.clear()
    world.waybill.settle(180)
    assert_the_systems_hold_everything_once(world, since, mix)
