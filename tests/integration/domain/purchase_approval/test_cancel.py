"""An order of which nothing came is cancelled once, everywhere, and its money is free again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.data.database import authored
from include.domain import budgets
from include.domain.purchase_approval.cancel import (
    Cancelled,
    CancelRefused,
    NotTaken,
    NotToldYet,
    cancel,
    tell,
)
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Failed, Mode, Outcome, PendingEffect, Provider
from include.monitoring.alerts.raising import Alerts
from include.monitoring.watching.look import look
from tests.support import orders
from tests.support.purchases import add, case, claim, codes, count, deliver, prepare, request, run, take
from tests.support.work import assert_balanced, change, rows

Providers = Callable[[str], AbstractContextManager[Provider]]


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


class AwayErp(BuiltinErp):
    """Answers nobody."""

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        return [Failed("away", retry_after=0)] * len(effects)


class StrictErp(BuiltinErp):
    """Refuses for good."""

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        return [Failed("not this one", permanent=True)] * len(effects)


def systems(engine: Engine, erp: Provider | None = None) -> Providers:
    @contextmanager
    def provider(system: str) -> Iterator[Provider]:
        yield (erp or BuiltinErp(engine)) if system == "erp" else LocalMailbox(engine)

    return provider


def ordered(engine: Engine, supplier: str = "S-100") -> int:
    (a,) = add(engine, request("50.00", "2", supplier=supplier))
    run(engine)
    assert case(engine, a) == ("waiting", "receive", None)
    return a


def cancels(engine: Engine, case_id: int, account: str = "anna.schmidt", *, dry_run: bool = False) -> Cancelled:
    return cancel(
        engine, f"PR-{case_id}", reason="not needed", account=account, actor=f"user:{account}", dry_run=dry_run
    )


def refused(engine: Engine, case_id: int, account: str = "anna.schmidt") -> str:
    with pytest.raises(CancelRefused) as told:
        cancels(engine, case_id, account)
    return str(told.value)


def number(engine: Engine) -> str:
    return str(rows(engine, "select number from purchase_orders")[0]["number"])


def erp_orders(engine: Engine) -> list[str]:
    return [row["state"] for row in rows(engine, "select state from erp_purchase_orders order by key")]


def mails(engine: Engine) -> list[str]:
    subjects = (row["message"]["subject"] for row in rows(engine, "select message from mailbox"))
    return sorted((subject.split()[0] for subject in subjects), reverse=True)


def committed(engine: Engine) -> Decimal:
    return Decimal(rows(engine, "select sum(committed) as n from budgets")[0]["n"])


def test_it_frees_the_budget_and_tells_erp_and_supplier_once(engine: Engine) -> None:
    a = ordered(engine)
    assert committed(engine) == 100
    done = cancels(engine, a)
    assert (done.freed, done.changed, list(done.told)) == (Decimal(100), True, ["erp", "mail"])
    assert committed(engine) == 0
    tell(engine, a, systems(engine))
    assert erp_orders(engine) == ["cancelled"]
    assert mails(engine) == ["Purchase", "Cancelled:"]
    run(engine)
    assert case(engine, a) == ("finished", "receive", "cancelled")
    assert rows(engine, "select outcome, booked from report_purchase_facts") == [
        {"outcome": "cancelled", "booked": Decimal(0)}
    ]
    (order,) = rows(engine, "select state, closed_why, closed_at from purchase_orders")
    assert (order["state"], order["closed_why"]) == ("cancelled", "not needed")
    assert order["closed_at"] is not None

    again = cancels(engine, a, "petra.lang")
    tell(engine, a, systems(engine))
    assert (again.freed, again.changed) == (Decimal(100), False)
    assert rows(engine, "select count(*) as n from effects where step = 'cancel'") == [{"n": 2}]
    assert len(mails(engine)) == 2
    assert rows(engine, "select closed_why from purchase_orders") == [{"closed_why": "not needed"}]
    with engine.connect() as connection:
        assert budgets.differences(connection) == []
    assert_balanced(engine)


def test_a_supplier_who_was_not_mailed_is_not_mailed(engine: Engine) -> None:
    a = ordered(engine, "S-200")
    assert list(cancels(engine, a).told) == ["erp"]
    tell(engine, a, systems(engine))
    assert mails(engine) == []


def test_looking_only_changes_nothing(engine: Engine) -> None:
    a = ordered(engine)
    done = cancels(engine, a, dry_run=True)
    assert (done.freed, done.changed) == (Decimal(100), True)
    assert committed(engine) == 100
    assert case(engine, a) == ("waiting", "receive", None)
    assert rows(engine, "select count(*) as n from effects where step = 'cancel'") == [{"n": 0}]


@pytest.mark.parametrize("account", ["petra.lang", "frank.weber", "anna.schmidt"])
def test_requester_procurement_and_finance_may(engine: Engine, account: str) -> None:
    a = ordered(engine)
    assert cancels(engine, a, account).changed


@pytest.mark.parametrize(
    ("account", "why"), [("ben.fischer", "not by"), ("maria.keller", "not by"), ("admin", "no one"), ("x", "no one")]
)
def test_others_and_shared_accounts_may_not(engine: Engine, account: str, why: str) -> None:
    a = ordered(engine)
    assert why in refused(engine, a, account)
    assert committed(engine) == 100


def test_what_came_or_was_invoiced_is_not_cancelled(engine: Engine) -> None:
    a = ordered(engine)
    orders.receipt(engine, number(engine), {"order_line": 1, "quantity": 1})
    orders.work(engine, "goods_receipt")
    assert "receipt_close_short" in refused(engine, a)
    change(engine, "update purchase_order_lines set received = 0, invoiced = 1")
    assert "invoiced already" in refused(engine, a)
    deliver(engine, a)
    run(engine)
    assert "closed already" in refused(engine, a)
    assert erp_orders(engine) == ["confirmed"]


def test_it_needs_a_number_a_reason_and_an_order(engine: Engine) -> None:
    (a,) = add(engine, request("600.00", "2"))
    run(engine)
    assert "not ordered yet" in refused(engine, a)
    for reference, reason, why in (
        ("12x", "r", "no number"),
        ("PO-1999-000001", "r", "no order"),
        (f"PR-{a}", " ", "reason"),
    ):
        with pytest.raises(CancelRefused, match=why):
            cancel(engine, reference, reason=reason, account="petra.lang", actor="user:petra.lang")


def test_goods_that_come_for_a_cancelled_order_do_not_count(engine: Engine) -> None:
    a = ordered(engine)
    late, later = (orders.receipt(engine, number(engine), {"order_line": 1, "quantity": 2}) for _ in range(2))
    change(engine, "update cases set available_at = now() + interval '1 day' where id = :id", id=later)
    orders.work(engine, "goods_receipt", until="check_receipt")  # it fits; and now the order is cancelled
    cancels(engine, a)
    position = rows(engine, "select claim_id, stage from cases where id = :id", id=late)[0]
    assert position["stage"] == "record_receipt"
    change(engine, "update claims set lease_until = now() - interval '1 second'")
    change(engine, "update cases set available_at = now() where id = :id", id=later)
    orders.work(engine, "goods_receipt")
    assert orders.state(engine, late) == orders.state(engine, later) == ("quarantined", "order.cancelled")
    assert rows(engine, "select received from purchase_order_lines") == [{"received": Decimal(0)}]


def test_an_invoice_that_waits_for_the_goods_is_set_aside(engine: Engine) -> None:
    order = orders.add_order(engine)
    waiting = orders.invoice(engine, order)
    orders.work(engine, "supplier_invoice")
    assert orders.state(engine, waiting)[0] == "waiting"
    cancels(engine, order.id, "lena.hoffmann")
    late = orders.invoice(engine, order)
    orders.work(engine, "supplier_invoice")
    assert orders.state(engine, waiting) == orders.state(engine, late) == ("quarantined", "order.cancelled")


def test_a_process_that_dies_before_telling_is_made_up_for_by_the_next_try(engine: Engine) -> None:
    a = ordered(engine)
    cancels(engine, a)  # and here it dies
    run(engine)
    assert case(engine, a)[2] == "cancelled"
    assert erp_orders(engine) == ["confirmed"]
    again = cancels(engine, a)
    assert (again.freed, again.changed) == (Decimal(100), False)
    tell(engine, a, systems(engine))
    assert erp_orders(engine) == ["cancelled"]
    assert len(mails(engine)) == 2


def test_a_system_that_is_away_is_told_later_and_one_that_refuses_when_a_person_tries_again(engine: Engine) -> None:
    a = ordered(engine)
    cancels(engine, a)
    with pytest.raises(NotToldYet):
        tell(engine, a, systems(engine, AwayErp(engine)))
    assert mails(engine) == ["Purchase", "Cancelled:"]  # the other one does not wait for it
    with pytest.raises(NotTaken, match="not this one"):
        tell(engine, a, systems(engine, StrictErp(engine)))
    cancels(engine, a)
    tell(engine, a, systems(engine))
    assert erp_orders(engine) == ["cancelled"]


def test_an_order_that_the_erp_did_not_take_never_leaves(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run_to_order(engine, AwayErp(engine))
    assert case(engine, a)[:2] == ("pending", "order")
    assert list(cancels(engine, a).told) == []
    tell(engine, a, systems(engine))
    assert committed(engine) == 0
    run(engine)
    assert case(engine, a) == ("finished", "receive", "cancelled")
    assert count(engine, "effects where state = 'dead'") == count(engine, "effects") == 1
    assert count(engine, "erp_purchase_orders") == 0


def test_nobody_is_alerted_about_what_was_withdrawn(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run_to_order(engine, AwayErp(engine))
    cancels(engine, a)
    look(Alerts(engine, mode=Mode.CAPTURE))
    assert rows(engine, "select kind from alerts where kind = 'effects_dead'") == []


def run_to_order(engine: Engine, erp: Provider) -> None:
    position = claim(engine)
    for step in position.steps[1:]:
        take(engine, position, step, erp=erp if step == "order" else None)
        if step == "order":
            break


def test_an_order_that_the_erp_refused_gives_its_money_back(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run_to_order(engine, StrictErp(engine))
    assert codes(engine, a) == ["effect.erp"]
    cancels(engine, a)
    assert committed(engine) == 0
    store.release(engine, [a], first_step="capture", actor="user:petra.lang")
    run(engine)
    assert case(engine, a) == ("finished", "receive", "cancelled")
    assert count(engine, "erp_purchase_orders") == 0


def test_a_discarded_purchase_gives_its_money_back_and_stays_closed(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run_to_order(engine, StrictErp(engine))
    store.discard(engine, [a], reason="a mistake", actor="user:petra.lang")
    assert committed(engine) == 100
    cancels(engine, a)
    assert committed(engine) == 0
    assert case(engine, a)[0] == "rejected"


def test_while_it_is_on_its_way_out_it_is_not_cancelled(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run_to_order(engine, BuiltinErp(engine))
    assert case(engine, a)[:2] == ("running", "send_order")
    assert "at this moment" in refused(engine, a)

    change(engine, "update cases set state = 'pending', claim_id = null, stage = 'order' where id = :id", id=a)
    with authored(engine, actor="system:test") as connection:
        connection.exec_driver_sql(
            "update effects set state = 'unknown', sent_at = null, answer = null, error = 'no answer'"
        )
    assert "on its way out" in refused(engine, a)
    assert committed(engine) == 100
