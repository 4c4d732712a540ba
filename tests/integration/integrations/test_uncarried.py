"""What no case carries is sent soon after it is due: what was retried by a person most of all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine

from include.approvals import messages
from include.integrations import by_hand, ledger, uncarried
from include.integrations.systems import Effect, Failed, Mode, Provider, Settle
from include.monitoring.alerts import raising
from tests.integration.integrations.test_by_hand import seen
from tests.integration.integrations.test_ledger import position, run
from tests.standins.system import Crash, StandInSystem
from tests.support.work import change, receive, rows

CANCEL = "purchase_approval/{}/cancel/create/PO-1"


@pytest.fixture
def system() -> StandInSystem:
    return StandInSystem(Settle.LOOKUP)


def planned(engine: Engine, key: str, *, case: int | None = None, step: str = "cancel", system: str = "erp") -> int:
    effect = Effect(key, system, "create", case, step, "PO-1", {"key": "PO-1"})
    with engine.begin() as connection:
        ledger.write(connection, [effect], Mode.LIVE)
    return int(rows(engine, "select id from effects where key = :key", key=key)[0]["id"])


def due(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return uncarried.systems_due(connection)


def deliver(engine: Engine, system: StandInSystem) -> dict[str, int]:
    @contextmanager
    def provider(_role: str) -> Iterator[Provider]:
        yield system

    return uncarried.deliver_due(engine, provider)


def state(engine: Engine, effect: int) -> str:
    return str(rows(engine, "select state from effects where id = :id", id=effect)[0]["state"])


@pytest.mark.parametrize(
    ("step", "with_case"), [("cancel", True), ("erase_in_systems", False), ("tell_by_mail", False)]
)
def test_a_retried_effect_that_no_case_carries_is_sent(
    engine: Engine, system: StandInSystem, step: str, with_case: bool
) -> None:
    case = receive(engine, workflow="purchase_approval")[0] if with_case else None
    effect = planned(engine, CANCEL.format(case), case=case, step=step)
    system.fault = lambda _effect: Failed("no such order", permanent=True)
    assert deliver(engine, system) == {"erp": 0}
    assert (state(engine, effect), due(engine)) == ("dead", [])
    system.fault = lambda _effect: None
    by_hand.retry(engine, seen(engine, [effect]), actor="user:anna")
    assert due(engine) == ["erp"]
    assert deliver(engine, system) == {"erp": 1}
    assert (state(engine, effect), due(engine), deliver(engine, system)) == ("sent", [], {})
    assert set(system.has.values()) == {1}


def test_what_a_case_waits_for_goes_with_the_case_only(engine: Engine, system: StandInSystem) -> None:
    receive(engine, 2)
    system.fault = lambda _effect: Failed("503", retry_after=0)
    run(engine, position(engine), system)
    change(engine, "update effects set available_at = now() - interval '1 hour'")
    assert due(engine) == []
    planned(engine, "privacy/x", step="erase_in_systems", system="crm")
    system.fault = lambda _effect: None
    assert deliver(engine, system) == {"crm": 1}
    assert list(system.has) == ["privacy/x"]


def test_what_others_look_after_is_left_to_them(engine: Engine, system: StandInSystem) -> None:
    assert set(uncarried.LOOKED_AFTER) == {raising.STEP, messages.STEP}
    planned(engine, "alerts/1", step="alerts", system="chat")
    planned(engine, "purchase_approval/1/approve", step="approve", case=receive(engine)[0], system="chat")
    assert due(engine) == []
    assert deliver(engine, system) == {}


def test_what_is_to_wait_is_sent_when_its_time_has_come(engine: Engine, system: StandInSystem) -> None:
    effect = planned(engine, "privacy/x", step="erase_in_systems")
    change(engine, "update effects set available_at = now() + interval '1 hour'")
    assert (due(engine), deliver(engine, system)) == ([], {})
    change(engine, "update effects set available_at = now()")
    assert deliver(engine, system) == {"erp": 1}
    assert state(engine, effect) == "sent"


@pytest.mark.parametrize("dies_after_write", [True, False])
def test_a_sender_that_died_is_found_out_about(engine: Engine, system: StandInSystem, dies_after_write: bool) -> None:
    effect = planned(engine, "privacy/x", step="erase_in_systems")
    system.dies_after_write = True
    with pytest.raises(Crash):
        deliver(engine, system)
    system.dies_after_write = False
    if not dies_after_write:
        system.has.clear()
    assert due(engine) == []
    change(engine, "update effects set lease_until = now() - interval '1 second'")
    assert due(engine) == ["erp"]
    deliver(engine, system)
    assert (state(engine, effect), set(system.has.values())) == ("sent", {1})


def test_a_system_that_cannot_be_called_keeps_no_other_from_its_effects(engine: Engine, system: StandInSystem) -> None:
    lost = planned(engine, "reports/1", step="call_webhook", system="webhook")
    sent = planned(engine, "reports/2", step="tell_by_mail", system="zmail")

    @contextmanager
    def provider(role: str) -> Iterator[Provider]:
        if role == "webhook":
            raise KeyError(role)
        yield system

    with pytest.raises(uncarried.NotDelivered, match="webhook"):
        uncarried.deliver_due(engine, provider)
    assert (state(engine, lost), state(engine, sent)) == ("pending", "sent")


def test_the_watcher_wakes_for_what_no_case_carries_and_for_nothing_else(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waybill.triggers import DueEffectsTrigger

    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    system = StandInSystem()
    receive(engine)
    system.fault = lambda _effect: Failed("503", retry_after=0)
    run(engine, position(engine), system)

    async def first() -> Any:
        events = DueEffectsTrigger(poll_interval=0.05).run()
        waiting = asyncio.ensure_future(anext(events))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.5)
        await asyncio.to_thread(planned, engine, "privacy/x", step="erase_in_systems")
        event = await asyncio.wait_for(waiting, 5)
        await events.aclose()
        return event

    assert asyncio.run(first()).payload == {"due": ["erp"]}
