"""A need is approved as usual, is over when its goods are there, and is not asked again when it was refused."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.replenishment import __main__ as command
from include.domain.replenishment.rules import import_rules
from include.intake.files import ImportRefused
from tests.support import purchases, stock
from tests.support.purchases import answer, case, deliver
from tests.support.replenishment import (
    FETCHED,
    add_rule,
    asked,
    claim,
    needs,
    plan_at,
    prepare,
    short,
    take,
    work,
)
from tests.support.work import assert_balanced, change, rows


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


def reasons(engine: Engine, case_id: int) -> list[str]:
    (row,) = rows(engine, "select reasons from cases where id = :id", id=case_id)
    return sorted(reason["code"] for reason in row["reasons"] or ())


def release(engine: Engine, case_id: int, **corrections: object) -> None:
    first = contract("replenishment").first_stage
    assert store.release(engine, [case_id], first_step=first, actor="user:petra.lang", corrections=corrections) == 1


def test_a_need_becomes_a_purchase_that_is_approved_ordered_and_over_with_its_goods(engine: Engine) -> None:
    short(engine, unit_price="9.90", supplier_item="M8-STEEL")
    plan_at(engine)
    work(engine)
    (need,) = needs(engine)
    (sent,) = asked(engine)
    document = sent["document"]
    assert (sent["workflow"], sent["source"], sent["parent_id"]) == (
        "purchase_approval",
        "replenishment",
        need["case_id"],
    )
    assert (document["requester"], document["supplier"], document["number"]) == (
        "lena.hoffmann", "S-100", f"RN-{need['id']}",
    )  # fmt: skip
    assert document["lines"] == [
        {
            "item": "BOLT-8", "description": "Bolts M8 (the supplier's M8-STEEL)", "quantity": "62", "unit": "pcs",
            "unit_price": "9.9", "tax_rate": "0.19",
        }
    ]  # fmt: skip
    for figure in ("reorder point of 76.", "50 on hand", "5 a day", "10 days (rule)", "95.00%", "62 pcs"):
        assert figure in document["justification"], document["justification"]

    purchases.run(engine)
    assert case(engine, sent["id"]) == ("waiting", "approve", None)
    (row,) = rows(engine, "select requester, net from purchase_requests")
    assert (row["requester"], row["net"]) == ("lena.hoffmann", Decimal("613.80"))
    work(engine)
    assert case(engine, need["case_id"]) == ("waiting", "await_goods", None)
    (owner,) = rows(engine, "select owner from cases where id = :id", id=need["case_id"])
    assert owner == {"owner": "lena.hoffmann"}

    purchases.approved(engine, sent["id"])
    purchases.run(engine)
    assert case(engine, sent["id"]) == ("waiting", "receive", None)
    work(engine)
    assert case(engine, need["case_id"]) == ("waiting", "await_goods", None)

    deliver(engine, sent["id"], book=False)
    purchases.run(engine)
    assert case(engine, sent["id"]) == ("waiting", "match", None), "only the invoice is missing"
    work(engine)
    assert case(engine, need["case_id"]) == ("finished", "log", "replenished")
    (need,) = needs(engine)
    assert need["outcome"] == "replenished"
    assert need["arrived_at"] is not None
    assert need["closed_at"] is not None
    assert plan_at(engine).opened == 1, "these goods never reached the stock, so the place runs short again"
    assert_balanced(engine)


def test_it_is_needed_when_its_lead_time_has_passed_since_the_companys_day(engine: Engine) -> None:
    short(engine, unit_price="9.90")
    plan_at(engine)
    change(engine, "update replenishment_needs set opened_at = '2026-11-20T23:30:00Z'")
    work(engine)
    (sent,) = asked(engine)
    assert sent["document"]["needed_by"] == "2026-12-01"


def refused(engine: Engine) -> int:
    short(engine, unit_price="9.90", review_days="5")
    plan_at(engine)
    work(engine)
    (sent,) = asked(engine)
    purchases.run(engine)
    answer(engine, sent["id"], "olaf.winter", "reject")
    purchases.run(engine)
    assert case(engine, sent["id"])[2] == "rejected"
    work(engine)
    (need,) = needs(engine)
    return int(need["case_id"])


def test_what_was_refused_is_not_asked_again_before_the_review(engine: Engine) -> None:
    assert case(engine, refused(engine)) == ("finished", "log", "refused")
    planned = plan_at(engine)
    assert (planned.short, planned.opened, planned.refused_lately) == (1, 0, 1)
    change(engine, "update replenishment_needs set closed_at = closed_at - interval '5 days'")
    assert plan_at(engine).opened == 1
    assert_balanced(engine)


def test_an_order_of_which_nothing_came_is_asked_again_at_once(engine: Engine) -> None:
    short(engine)
    plan_at(engine)
    work(engine)
    (sent,) = asked(engine)
    purchases.run(engine)
    assert case(engine, sent["id"]) == ("waiting", "receive", None)
    change(engine, "update purchase_order_lines set short_closed = true")
    purchases.wake(engine, sent["id"])
    purchases.run(engine)
    work(engine)
    assert needs(engine, "outcome") == [{"outcome": "not delivered"}]
    assert plan_at(engine).opened == 1


def test_a_purchase_that_is_discarded_refuses_its_need(engine: Engine) -> None:
    short(engine, supplier="S-300")
    plan_at(engine)
    work(engine)
    (sent,) = asked(engine)
    purchases.run(engine)
    assert purchases.codes(engine, sent["id"]) == ["supplier.blocked"]
    store.discard(engine, [sent["id"]], reason="blocked", actor="user:petra.lang")
    work(engine)
    assert needs(engine, "outcome") == [{"outcome": "refused"}]


def test_a_place_is_replenished_from_another_one(engine: Engine) -> None:
    stock.stock(engine, "BOLT-8", 500)
    add_rule(engine, FETCHED)
    plan_at(engine)
    work(engine)
    (need,) = needs(engine)
    (sent,) = asked(engine)
    assert (sent["workflow"], sent["source"]) == ("stock_request", "replenishment-transfer")
    assert {name: sent["document"][name] for name in ("kind", "from", "to", "requester")} == {
        "kind": "transfer", "from": "MAIN", "to": "SHOP", "requester": "lena.hoffmann",
    }  # fmt: skip
    assert sent["document"]["lines"] == [{"item": "BOLT-8", "description": "Bolts M8", "quantity": "60", "unit": "pcs"}]
    stock.work(engine)
    (row,) = rows(engine, "select number from stock_transfers")
    assert case(engine, sent["id"]) == ("waiting", "receive", None)
    work(engine)
    assert case(engine, need["case_id"]) == ("waiting", "await_goods", None)
    assert plan_at(engine).short == 0, "what is under way is as good as there"
    stock.request(
        engine, "transfer_receipt", {"item": "BOLT-8", "quantity": 60}, location=None, to="SHOP",
        reference=row["number"],
    )  # fmt: skip
    stock.work(engine)
    stock.work(engine)
    assert case(engine, sent["id"])[0] == "finished"
    work(engine)
    assert case(engine, need["case_id"]) == ("finished", "log", "replenished")
    assert plan_at(engine).short == 0
    assert_balanced(engine)


def test_a_rule_that_cannot_be_carried_out_sets_its_need_aside_and_keeps_its_place(engine: Engine) -> None:
    short(engine, supplier=None, requester="gone.person")
    plan_at(engine)
    work(engine)
    (need,) = needs(engine)
    assert reasons(engine, need["case_id"]) == ["rule.requester", "rule.supplier"]
    assert plan_at(engine).opened == 0
    release(engine, need["case_id"])
    work(engine)
    assert reasons(engine, need["case_id"]) == ["rule.requester", "rule.supplier"]
    add_rule(engine, requester="olaf.winter", supplier=None)
    release(engine, need["case_id"], supplier="S-200", quantity="70")
    work(engine)
    assert case(engine, need["case_id"]) == ("waiting", "await_goods", None)
    (sent,) = asked(engine)
    assert (sent["document"]["supplier"], sent["document"]["requester"]) == ("S-200", "olaf.winter")
    assert sent["document"]["lines"][0]["quantity"] == "70"


def test_corrections_that_make_no_sense_are_reasons(engine: Engine) -> None:
    short(engine)
    add_rule(engine, method="reorder_point", cost_centre="9999")
    plan_at(engine)
    work(engine)
    (need,) = needs(engine)
    release(engine, need["case_id"], cost_centre="6300", quantity="-5")
    work(engine)
    assert reasons(engine, need["case_id"]) == ["need.quantity"]
    release(engine, need["case_id"], quantity=12, unit_price="cheap")
    work(engine)
    assert reasons(engine, need["case_id"]) == ["rule.unreadable"]
    release(engine, need["case_id"], unit_price="0.45")
    work(engine)
    assert asked(engine)[0]["document"]["lines"][0]["unit_price"] == "0.45"


def test_a_need_whose_rule_went_off_is_set_aside(engine: Engine) -> None:
    short(engine)
    plan_at(engine)
    add_rule(engine, method="off")
    work(engine)
    (need,) = needs(engine)
    assert reasons(engine, need["case_id"]) == ["rule.missing"]
    store.discard(engine, [need["case_id"]], reason="not stocked any more", actor="user:petra.lang")
    assert needs(engine, "outcome") == [{"outcome": "discarded"}]
    add_rule(engine)
    assert plan_at(engine).refused_lately == 1


def test_a_step_that_runs_again_asks_for_nothing_twice(engine: Engine) -> None:
    short(engine)
    plan_at(engine)
    position = claim(engine)
    assert position is not None
    for step in ("read_need", "request"):
        take(engine, position, step)
        take(engine, position, step)
    change(engine, "update claims set lease_until = now() - interval '1 hour'")
    change(engine, "update cases set stage = 'read_need' where workflow = 'replenishment'")
    work(engine)
    assert len(asked(engine)) == 1
    assert case(engine, needs(engine)[0]["case_id"]) == ("waiting", "await_goods", None)


# -- entering rules

HEADER = (
    "item,location,method,from,supplier,unit_price,currency,tax_rate,cost_centre,category,requester,minimum,maximum\n"
)
GOOD = "BOLT-8,MAIN,reorder_point,,S-100,0.50,EUR,19 %,6300,material,lena.hoffmann,,\n"
FROM = "BOLT-8,SHOP,min_max,MAIN,,,,,,,lena.hoffmann,20,60\n"
BAD = (
    "NUT-8,MAIN,reorder_point,,S-100,0.50,EUR,0.19,6300,material,lena.hoffmann,,\n"
    "BOLT-8,COLD,sometimes,,S-100,0.50,EUR,0.19,6300,material,lena.hoffmann,,\n"
    "LAMP,MAIN,reorder_point,,,0.50,EUR,0.19,6300,material,nobody,,\n"
    + GOOD
    + "LAMP,MOON,off,,,,,,,,,,\n"
    + "LAMP,MAIN,off,,,,,,,,,,,one too many\n"
)


def test_rules_are_entered_and_each_faulty_row_is_told(engine: Engine) -> None:
    with authored(engine, actor="user:petra.lang") as connection:
        result = import_rules(connection, HEADER + GOOD + FROM + BAD)
    assert (result.rows, result.changed, result.faulty) == (8, 2, 6)
    said = dict(line.split(": ", 1) for line in result.told)
    assert "NUT-8 is unknown" in said["line 4"]
    assert "method: Input should be" in said["line 5"]
    assert "neither a supplier nor a place" in said["line 6"]
    assert "nobody who can ask" in said["line 6"]
    assert "BOLT-8 at MAIN stands in line 2 already" in said["line 7"]
    assert "MOON is no place" in said["line 8"]
    assert "more values than the header has names" in said["line 9"]
    found = rows(engine, "select item, location, tax_rate, author from replenishment_rules order by location")
    assert [(row["item"], row["location"]) for row in found] == [("BOLT-8", "MAIN"), ("BOLT-8", "SHOP")]
    assert (found[0]["tax_rate"], found[0]["author"]) == (Decimal("0.19"), "user:petra.lang")


def test_the_same_file_again_changes_nothing_and_looking_enters_nothing(engine: Engine) -> None:
    with authored(engine, actor="user:petra.lang") as connection:
        assert import_rules(connection, HEADER + GOOD + FROM, only_look=True).changed == 0
    assert rows(engine, "select 1 from replenishment_rules") == []
    changed = []
    for content in (GOOD + FROM, GOOD + FROM, GOOD.replace("0.50", "0.55") + FROM, "LAMP,SHOP,off" + 10 * "," + "\n"):
        with authored(engine, actor="user:petra.lang") as connection:
            changed.append(import_rules(connection, HEADER + content).changed)
    assert changed == [2, 0, 1, 1]


def test_a_file_that_is_none_is_refused(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="there is no file"), authored(engine, actor="user:x") as connection:
        import_rules(connection, tmp_path / "rules.csv", folder=tmp_path)
    (tmp_path / "rules.csv").write_text(HEADER + GOOD, encoding="utf-8")
    with authored(engine, actor="user:x") as connection:
        assert import_rules(connection, Path("rules.csv"), folder=tmp_path).changed == 1


# -- explaining


def said(engine: Engine, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = command.main(["explain", *arguments], engine)
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_it_is_explained_why_a_need_was_or_was_not_opened(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    short(engine, unit_price="9.90")
    code, told = said(engine, capsys, "BOLT-8", "MAIN")
    assert code == 0
    assert told.startswith("BOLT-8 at MAIN: a need of 62 pcs\n")
    for figure in ("demand mean", "safety stock", "reorder point", "position", "lead time from"):
        assert figure in told
    plan_at(engine)
    work(engine)
    _, told = said(engine, capsys, "BOLT-8", "MAIN")
    assert "no second need: need 1" in told
    assert "waiting at await_goods, with lena.hoffmann; purchase_approval case" in told
    _, told = said(engine, capsys, "BOLT-8", "MAIN", "--day", "2026-02-01")
    assert "at MAIN: no " in told


def test_a_refusal_and_enough_stock_are_explained(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    refused(engine)
    assert "it was refused, and is asked again then" in said(engine, capsys, "BOLT-8", "MAIN")[1]
    stock.stock(engine, "BOLT-8", 500)
    assert "is above the reorder point" in said(engine, capsys, "BOLT-8", "MAIN")[1]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (("NUT-8", "MAIN"), "no item NUT-8"),
        (("BOLT-8", "MOON"), "no location MOON"),
        (("OLD-1", "MAIN"), "not active"),
        (("LAMP", "MAIN"), "has no active rule"),
        (("BOLT-8", "MAIN"), "is off"),
    ],
)
def test_a_place_without_figures_says_why(
    engine: Engine, capsys: pytest.CaptureFixture[str], place: tuple[str, str], why: str
) -> None:
    add_rule(engine, method="off")
    code, told = said(engine, capsys, *place)
    assert code == 1
    assert why in told


def test_every_reason_has_its_instruction() -> None:
    declared = contract("replenishment")
    codes = ("rule.supplier", "rule.unreadable", "item.inactive", "need.quantity", "need.not_asked", "mapping.missing")
    for code in itertools.chain(codes, ("error.read_need",)):
        assert declared.exception(code), code
