"""Differences between the stock and the ERP: found once, decided by a person, put right on one side."""

from __future__ import annotations

import csv
import itertools
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, text

from include.approvals.delegations import delegate
from include.approvals.people import people
from include.cases import store
from include.cases.model import Step
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.stock_difference import find
from include.domain.stock_difference.book import BOOKING, hand_over_adjustments, log, plan_book
from include.domain.stock_difference.decide import SettleRefused, decide, settle
from include.domain.stock_difference.find import LedgerBroken, Reconciled, reconcile
from include.domain.stock_difference.read_difference import plan_look, read_difference
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.http import Unavailable
from include.integrations.steps import run_effect_step
from include.integrations.systems import Json, Mode, PendingEffect, Sent
from tests.support.stock import FIRST_AND_LAST, approved, move_company, on_hand, prepare, request, state, stock
from tests.support.stock import work as work_requests
from tests.support.work import assert_balanced, change, receive, rows

WORKFLOW = "stock_difference"
RULES: dict[str, Step] = {
    "read_difference": read_difference, "decide": decide, "hand_over": hand_over_adjustments, "log": log,
}  # fmt: skip
EFFECTS = {"look": plan_look, "book": plan_book}
KINDS = {"MAIN": "internal", "COLD": "internal", "SUPPLIER": "supplier"}
LENA, OLAF, SARA = "user:lena.hoffmann", "user:olaf.winter", "user:sara.neumann"
"""Keepers of MAIN and of SHOP, and who is above both."""
_numbers = itertools.count(1)


class Erp(BuiltinErp):
    """The built-in ERP, which a test may switch off, and into whose reading it may step."""

    away = False
    meanwhile: Any = None

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        if self.away:
            raise Unavailable("erp", "it is switched off")
        found = super().read(kind, keys)
        if self.meanwhile:
            self.meanwhile()
        return found


@pytest.fixture
def erp(engine: Engine) -> Erp:
    prepare(engine)
    return Erp(engine)


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path))
    return tmp_path


def theirs(erp: Erp, item: str, quantity: object, location: str = "MAIN", lot: str = "") -> None:
    """Let the ERP have some of an item, or less of it."""
    number, amount = next(_numbers), Decimal(str(quantity))
    ends = [{"code": "SUPPLIER", "kind": "supplier"}, {"code": location, "kind": "internal"}]
    source, destination = ends if amount > 0 else reversed(ends)
    line = {
        "item": item, "title": item, "unit": "pcs", "tracking": "none", "lot": lot, "quantity": f"{abs(amount)}",
        "from": source, "to": destination,
    }  # fmt: skip
    payload = {"key": f"opening-{number}", "kind": "receipt", "moved_on": "2026-01-02", "lines": [line]}
    (outcome,) = erp.apply("move_stock", [PendingEffect(number, f"o/{number}", "move_stock", "t", payload, 1)])
    assert isinstance(outcome, Sent)


def compare(engine: Engine, erp: Erp) -> Reconciled:
    return reconcile(engine, erp, run=f"reconcile-{next(_numbers)}")


def work(engine: Engine, erp: Erp) -> None:
    """Take all pending differences through the steps."""
    steps, run_id = contract(WORKFLOW).step_ids, f"difference-{next(_numbers)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id)
    if claimed is None:
        return
    for step in steps[1:]:
        position = Position(WORKFLOW, steps, step, claimed.id, run_id)
        if step in RULES:
            run_step(engine, position, RULES[step])
        else:
            run_effect_step(engine, position, EFFECTS[step], erp, system="erp", mode=Mode.LIVE)


def found(engine: Engine, erp: Erp) -> list[dict[str, Any]]:
    """Compare, work, and return the cases."""
    compare(engine, erp)
    work(engine, erp)
    return cases(engine)


def cases(engine: Engine) -> list[dict[str, Any]]:
    return rows(
        engine,
        "select id, split_part(key, 'id:', 2) as key, state, stage, owner, outcome from cases"
        " where workflow = 'stock_difference' order by id",
    )


def said(engine: Engine, case_id: int, decision: str, seen: str, **more: str) -> None:
    (case,) = (one for one in cases(engine) if one["id"] == case_id)
    its_keeper = "sara.neumann" if case["owner"] == "warehouse" else case["owner"]
    actor, reason = more.get("actor", f"user:{its_keeper}"), more.get("reason", "counted")
    with authored(engine, actor=actor) as connection:
        settle(connection, case_id=case_id, decision=decision, seen=seen, reason=reason, actor=actor)


def test_what_agrees_is_no_case(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    stock(engine, "FLOUR", "2.500", "COLD", lot="L1")
    theirs(erp, "BOLT-8", 10)
    theirs(erp, "FLOUR", "2.5", "COLD", lot="L1")
    done = compare(engine, erp)
    assert (done.compared, done.differing, done.opened) == (2, 0, 0)
    assert cases(engine) == []


@pytest.mark.parametrize("zone", FIRST_AND_LAST)
def test_it_is_found_on_the_companys_day(
    engine: Engine, erp: Erp, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_company(zone, tmp_path, monkeypatch)
    theirs(erp, "BOLT-8", 12)
    before = datetime.now(ZoneInfo(zone)).date()
    found(engine, erp)
    (difference,) = rows(engine, "select found_on from stock_differences")
    assert before <= difference["found_on"] <= datetime.now(ZoneInfo(zone)).date()


def test_each_place_that_differs_is_one_case_of_its_keeper_however_often_it_is_found(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    stock(engine, "LAMP", 1, "SHOP")
    theirs(erp, "BOLT-8", 12)
    theirs(erp, "SAW", 1, lot="S1")
    theirs(erp, "NOT-OURS", 5)
    first = compare(engine, erp)
    assert (first.compared, first.differing, first.opened, first.foreign) == (3, 3, 3, 1)
    assert compare(engine, erp).opened == 0, "before the cases are read, too"
    work(engine, erp)
    assert compare(engine, erp).opened == 0
    work(engine, erp)
    assert cases(engine) == [
        {"id": cases(engine)[n]["id"], "key": key, "state": "waiting", "stage": "decide", "owner": owner,
         "outcome": None}
        for n, (key, owner) in enumerate(
            [("BOLT-8/MAIN/1", "lena.hoffmann"), ("LAMP/SHOP/1", "olaf.winter"), ("SAW/MAIN/1", "lena.hoffmann")]
        )
    ]  # fmt: skip
    assert rows(engine, "select item, lot, waybill, erp from stock_difference_lines order by item") == [
        {"item": "BOLT-8", "lot": "", "waybill": Decimal(10), "erp": Decimal(12)},
        {"item": "LAMP", "lot": "", "waybill": Decimal(1), "erp": Decimal(0)},
        {"item": "SAW", "lot": "S1", "waybill": Decimal(0), "erp": Decimal(1)},
    ]


def test_comparisons_at_the_same_time_open_a_case_once(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    threads = [threading.Thread(target=compare, args=(engine, erp)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [case["key"] for case in cases(engine)] == ["BOLT-8/MAIN/1"]


def test_what_is_gone_closes_and_may_come_again_as_another_case(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    theirs(erp, "BOLT-8", 8)
    assert found(engine, erp)[0]["state"] == "waiting"
    theirs(erp, "BOLT-8", 1)
    assert compare(engine, erp).changed == 1
    work(engine, erp)
    assert rows(engine, "select erp from stock_difference_lines") == [{"erp": Decimal(9)}]
    theirs(erp, "BOLT-8", 1)
    assert compare(engine, erp).gone == 1
    work(engine, erp)
    assert [(case["state"], case["outcome"]) for case in cases(engine)] == [("finished", "gone")]
    stock(engine, "BOLT-8", 1)
    assert [case["key"] for case in found(engine, erp)] == ["BOLT-8/MAIN/1", "BOLT-8/MAIN/2"]


def test_a_difference_that_is_gone_before_anybody_looked_closes_at_once(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    compare(engine, erp)
    theirs(erp, "BOLT-8", 10)
    work(engine, erp)
    assert [case["outcome"] for case in cases(engine)] == ["gone"]


def test_the_erp_that_is_wrong_is_put_right_once(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    stock(engine, "FLOUR", "2.5", "COLD", lot="L1")
    theirs(erp, "BOLT-8", 12)
    one, other = (case["id"] for case in found(engine, erp))
    said(engine, one, "erp", "2")
    said(engine, other, "erp", "-2.50")
    work(engine, erp)
    assert [(case["state"], case["outcome"]) for case in cases(engine)] == [("finished", "booked in the ERP")] * 2
    stocked = {key: row["quantity"] for key, row in erp.read("stock", ["MAIN", "COLD"]).items()}
    assert stocked == {"BOLT-8|MAIN|": "10", "FLOUR|COLD|L1": "2.5"}
    assert compare(engine, erp).differing == 0


def test_the_stock_that_is_wrong_is_put_right_by_an_adjustment_that_the_case_waits_for(
    engine: Engine, erp: Erp
) -> None:
    stock(engine, "BOLT-8", 10)
    theirs(erp, "BOLT-8", 7)
    (case,) = found(engine, erp)
    said(engine, case["id"], "waybill", "-3", reason="the shelf was counted")
    work(engine, erp)
    assert (cases(engine)[0]["state"], cases(engine)[0]["stage"]) == ("waiting", "hand_over")
    (asked,) = rows(
        engine,
        "select c.id, c.key, convert_from(d.body, 'UTF8')::jsonb as body from cases c"
        " join deliveries d on d.id = c.delivery_id where c.parent_id = :id",
        id=case["id"],
    )
    assert asked["key"] == f"{BOOKING}/id:{case['id']}/1/MAIN"
    assert asked["body"] == {
        "kind": "adjustment", "requester": "lena.hoffmann", "entered_by": "lena.hoffmann", "from": "MAIN",
        "reason": "The ERP is right: the shelf was counted", "reference": f"difference {case['id']}",
        "lines": [{"item": "BOLT-8", "lot": None, "quantity": "-3"}],
    }  # fmt: skip
    assert compare(engine, erp).moving == 1, "what is being put right is no new difference"
    change(engine, "update cases set state = 'finished', outcome = 'posted', closed_at = now() where id = :id",
           id=asked["id"])  # fmt: skip
    work(engine, erp)
    assert (cases(engine)[0]["state"], cases(engine)[0]["outcome"]) == ("finished", "booked in the stock")


def test_an_adjustment_that_is_refused_is_decided_anew(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    (case,) = found(engine, erp)
    said(engine, case["id"], "waybill", "-10")
    work(engine, erp)
    change(engine, "update cases set state = 'rejected', outcome = 'no', closed_at = now() where parent_id = :id",
           id=case["id"])  # fmt: skip
    work(engine, erp)
    work(engine, erp)
    assert (cases(engine)[0]["state"], cases(engine)[0]["stage"]) == ("waiting", "decide")
    said(engine, case["id"], "waybill", "-10")
    work(engine, erp)
    keys = rows(engine, "select key from cases where parent_id = :id order by id", id=case["id"])
    assert [key["key"].rpartition("id:")[2] for key in keys] == [f"{case['id']}/{n}/MAIN" for n in (1, 2)]


def test_what_is_accepted_is_not_shown_again_until_it_is_another_difference(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    (case,) = found(engine, erp)
    said(engine, case["id"], "accept", "-10", reason="the ERP counts them in autumn")
    work(engine, erp)
    assert cases(engine)[0]["outcome"] == "accepted"
    assert compare(engine, erp).opened == 0
    stock(engine, "BOLT-8", 1)
    assert compare(engine, erp).opened == 1


def test_a_decision_is_bound_to_what_was_seen(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    theirs(erp, "BOLT-8", 12)
    (case,) = found(engine, erp)
    for wrong, match in (
        ({"seen": "3"}, "it is 2 now"),
        ({"seen": "many"}, "it is 2 now"),
        ({"reason": " "}, "say why"),
        ({"decision": "both"}, "no decision"),
        ({"case_id": 999_999}, "no difference"),
    ):
        wanted = {"case_id": case["id"], "decision": "erp", "seen": "2", "reason": "x"} | wrong
        with pytest.raises(SettleRefused, match=match), authored(engine, actor=LENA) as connection:
            settle(connection, **wanted, actor=LENA)
    said(engine, case["id"], "erp", "2")
    with pytest.raises(SettleRefused, match="does not wait"):
        said(engine, case["id"], "erp", "2")
    theirs(erp, "BOLT-8", 1)  # somebody books in the ERP before the decision is carried out
    work(engine, erp)
    work(engine, erp)
    assert (cases(engine)[0]["state"], cases(engine)[0]["stage"]) == ("waiting", "decide"), "it is decided anew"
    assert erp.read("stock", ["MAIN"])["BOLT-8|MAIN|"]["quantity"] == "13"
    said(engine, case["id"], "erp", "3")
    work(engine, erp)
    assert erp.read("stock", ["MAIN"])["BOLT-8|MAIN|"]["quantity"] == "10"


def test_a_keeper_settles_what_is_at_their_own_places_only(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    stock(engine, "LAMP", 1, "SHOP")
    main, shop = (case["id"] for case in found(engine, erp))
    for case, seen, actor in ((main, "-10", OLAF), (main, "-10", SARA), (shop, "-1", LENA)):
        with pytest.raises(SettleRefused, match="have them decide, or whoever stands in for them"):
            said(engine, case, "accept", seen, actor=actor)
    for nobody in ("user:x", "user:airflow", "user:admin"):
        with pytest.raises(SettleRefused, match="is no one person's"):
            said(engine, main, "accept", "-10", actor=nobody)
    assert rows(engine, "select decision from stock_differences") == [{"decision": None}] * 2
    with authored(engine, actor=LENA) as connection:
        today = people().by_id["lena.hoffmann"].today(datetime.now(UTC))
        delegate(connection, "lena.hoffmann", "olaf.winter", today, today + timedelta(days=1), "on leave", LENA)
    said(engine, main, "accept", "-10", actor=OLAF)
    said(engine, shop, "accept", "-1", actor=OLAF)


def test_what_several_keep_is_settled_by_whoever_is_above_them(
    engine: Engine, erp: Erp, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MOST", 1)
    stock(engine, "BOLT-8", 10)
    stock(engine, "LAMP", 1, "SHOP")
    (case,) = found(engine, erp)
    with pytest.raises(SettleRefused, match="Olaf Winter keeps"):
        said(engine, case["id"], "accept", "2", actor=LENA)
    said(engine, case["id"], "accept", "2", actor=SARA)


def test_what_is_on_its_way_to_the_erp_is_no_difference_yet(engine: Engine, erp: Erp) -> None:
    (case,) = receive(engine, [{"kind": "issue", "lines": []}], workflow="stock_request", source="stock-requests")
    stock(engine, "BOLT-8", 10)
    change(engine, "insert into stock_movements (key, kind, item, source, destination, quantity, moved_at, case_id)"
                   " values ('k', 'receipt', 'LAMP', 'SUPPLIER', 'MAIN', 1, now(), :id)", id=case)  # fmt: skip
    theirs(erp, "BOLT-8", 10)
    done = compare(engine, erp)
    assert (done.moving, done.opened) == (1, 0)
    change(engine, "update cases set state = 'finished', outcome = 'x', closed_at = now() where id = :id", id=case)
    assert compare(engine, erp).opened == 1, "nobody will tell the ERP any more"


def test_goods_that_the_erp_has_before_the_stock_are_no_difference_yet(engine: Engine, erp: Erp) -> None:
    body = {"kind": "receipt", "to": "MAIN", "lines": [{"item": "LAMP", "quantity": "4"}]}
    (case,) = receive(engine, [body], workflow="stock_request", source="goods-receipt")
    theirs(erp, "LAMP", 4)
    assert compare(engine, erp).moving == 1
    change(engine, "update cases set state = 'rejected', outcome = 'x', closed_at = now() where id = :id", id=case)
    assert compare(engine, erp).opened == 1


def test_what_moves_while_the_erp_is_read_is_left_for_the_next_time(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    theirs(erp, "BOLT-8", 10)

    def move_on_both_sides() -> None:
        erp.meanwhile = None
        stock(engine, "BOLT-8", 5)
        theirs(erp, "BOLT-8", 5)

    erp.meanwhile = move_on_both_sides
    done = compare(engine, erp)
    assert (done.moving, done.opened) == (1, 0)
    assert compare(engine, erp).differing == 0


def test_an_erp_without_lots_is_compared_by_their_sum(engine: Engine, erp: Erp) -> None:
    stock(engine, "FLOUR", "2", "COLD", lot="L1")
    stock(engine, "FLOUR", "3", "COLD", lot="L2")
    theirs(erp, "FLOUR", 5, "COLD")
    assert compare(engine, erp).differing == 0
    theirs(erp, "FLOUR", 1, "COLD")
    compare(engine, erp)
    work(engine, erp)
    assert rows(engine, "select lot, waybill, erp from stock_difference_lines") == [
        {"lot": "", "waybill": Decimal(5), "erp": Decimal(6)}
    ]


def test_an_erp_that_is_away_opens_nothing_and_open_cases_wait(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    erp.away = True
    with pytest.raises(Unavailable):
        compare(engine, erp)
    assert cases(engine) == []
    erp.away = False
    compare(engine, erp)
    erp.away = True
    work(engine, erp)
    (case,) = cases(engine)
    assert (case["state"], case["stage"]) == ("pending", "look")


def test_a_ledger_that_does_not_agree_with_itself_is_not_compared(engine: Engine, erp: Erp) -> None:
    stock(engine, "BOLT-8", 10)
    with engine.begin() as connection:  # around the ledger, as only a superuser can
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("update stock_balances set quantity = 11 where item = 'BOLT-8' and location = 'MAIN'"))
    with pytest.raises(LedgerBroken, match=r"BOLT-8/MAIN.*python -m include\.stock check"):
        compare(engine, erp)
    assert cases(engine) == []


def test_what_is_too_much_for_cases_is_one_case_with_a_list_and_can_be_booked_as_a_whole(
    engine: Engine, erp: Erp, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MOST", 3)
    stock(engine, "LAMP", 2)
    assert [case["key"] for case in found(engine, erp)] == ["LAMP/MAIN/1"]
    stock(engine, "BOLT-8", 10)
    stock(engine, "BOLT-8", 1, "COLD")
    stock(engine, "MYSTERY", 1, "SHOP")
    done = compare(engine, erp)
    assert done.opened == 1
    assert done.file
    assert done.file.parent == lists
    with done.file.open(newline="") as file:
        listed = list(csv.reader(file))
    assert listed == [
        ["item", "location", "lot", "waybill", "erp", "difference"],
        ["BOLT-8", "COLD", "", "1", "0", "-1"],
        ["BOLT-8", "MAIN", "", "10", "0", "-10"],
        ["MYSTERY", "SHOP", "", "1", "0", "-1"],
    ]
    assert compare(engine, erp).opened == 0
    work(engine, erp)
    stock(engine, "OLD-1", 4)
    assert compare(engine, erp).changed == 1, "what comes beyond is part of it"
    work(engine, erp)
    _, for_all = cases(engine)
    assert (for_all["key"], for_all["state"], for_all["owner"]) == ("/many/1", "waiting", "warehouse")
    said(engine, for_all["id"], "erp", "4", reason="the ERP is new")
    work(engine, erp)
    assert cases(engine)[1]["outcome"] == "booked in the ERP"
    done = compare(engine, erp)
    assert (done.differing, done.opened) == (1, 0)


def test_the_case_for_all_ends_when_what_is_left_fits_into_cases(
    engine: Engine, erp: Erp, lists: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "MOST", 2)
    for item in ("BOLT-8", "LAMP", "MYSTERY"):
        stock(engine, item, 1)
    assert [case["key"] for case in found(engine, erp)] == ["/many/1"]
    theirs(erp, "LAMP", 1)
    done = compare(engine, erp)
    assert (done.gone, done.opened) == (1, 2)
    work(engine, erp)
    assert [(case["key"], case["state"]) for case in cases(engine)] == [
        ("/many/1", "finished"), ("BOLT-8/MAIN/1", "waiting"), ("MYSTERY/MAIN/1", "waiting"),
    ]  # fmt: skip


def test_a_comparison_of_many_places_reads_each_side_at_once(engine: Engine, erp: Erp, lists: Path) -> None:
    with authored(engine, actor="system:test") as connection:
        connection.execute(
            text("""
            insert into stock_items (code, title, item_group, base_unit)
            select 'I-' || n, 'Item', 'goods', 'pcs' from generate_series(1, 5000) n""")
        )
        connection.execute(
            text("""
            insert into stock_movements (key, kind, item, source, destination, quantity, moved_at)
            select 'k' || n, 'receipt', 'I-' || n, 'SUPPLIER', 'MAIN', 1, now() from generate_series(1, 5000) n""")
        )
        connection.execute(
            text("""
            insert into erp_stock (location, item, quantity)
            select 'MAIN', 'I-' || n, case when n % 100 = 0 then 2 else 1 end from generate_series(1, 5000) n""")
        )
    done = compare(engine, erp)
    assert (done.compared, done.differing, done.opened) == (5_000, 50, 50)


def test_the_two_workflows_together_end_with_the_same_stock_on_both_sides(engine: Engine, erp: Erp) -> None:
    """Goods come by a stock request, somebody takes five in the ERP, the keeper believes it, and others approve."""
    request(engine, "receipt", {"item": "LAMP", "quantity": 20, "unit_cost": "400"})
    work_requests(engine)
    assert on_hand(engine, "LAMP") == 20
    assert compare(engine, erp).differing == 0
    theirs(erp, "LAMP", -5)
    (case,) = found(engine, erp)
    said(engine, case["id"], "waybill", "-5", reason="the till was down", actor="user:lena.hoffmann")
    work(engine, erp)
    (asked,) = rows(engine, "select id from cases where parent_id = :id", id=case["id"])
    work_requests(engine)
    assert state(engine, asked["id"])[:2] == ("waiting", "approve")
    assert "lena.hoffmann" not in approved(engine, asked["id"]), "nobody approves what they asked for"
    work_requests(engine)
    assert state(engine, asked["id"])[0] == "finished"
    work(engine, erp)
    assert cases(engine)[0]["outcome"] == "booked in the stock"
    assert on_hand(engine, "LAMP") == 15
    assert erp.read("stock", ["MAIN"])["LAMP|MAIN|"]["quantity"] == "15", "the adjustment is not mirrored"
    assert compare(engine, erp).differing == 0
    assert_balanced(engine)
