"""The warehouse in a running Airflow: requests, transfers, counts, replenishment, and the ERP beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from include.monitoring.stock_exceptions.findings import TITLES
from include.samples.retail import rows as retail_rows
from tests.support.stack import Waybill
from tests.support.storing import Storing

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def storing(waybill: Waybill) -> Iterator[Storing]:
    """A warehouse with goods in it, in the running Waybill."""
    found = Storing(waybill)
    found.prepare()
    goods = (("BOLT-8", 5_000), ("LAMP", 60), ("SOLVENT", 40))
    waybill.send([found.body("receipt", item, quantity) for item, quantity in goods], source="stock-requests")
    found.settle()
    assert [found.on_hand(item) for item, _ in goods] == [quantity for _, quantity in goods]
    yield found
    found.assert_true()
    found.desk.close()


def test_goods_go_out_the_erp_knows_and_a_cleared_run_posts_nothing_twice(storing: Storing) -> None:
    waybill, before = storing.waybill, storing.on_hand("BOLT-8")
    case = storing.request("issue", "BOLT-8", 2, unit="box")
    assert storing.ends(case) == "posted"
    assert storing.on_hand("BOLT-8") == before - 200
    told = "select quantity from erp_stock where item = 'BOLT-8' and location = 'MAIN'"
    assert waybill.one(told) == before - 200
    run = waybill.one("select run_id from events where case_id = :id and step = 'post' limit 1", id=case)
    cleared = waybill.api.post(
        "/api/v2/dags/stock_request/clearTaskInstances",
        json={"dry_run": False, "dag_run_id": run, "only_failed": False, "reset_dag_runs": True},
    )
    assert cleared.status_code == 200, cleared.text
    waybill.finish("stock_request", run, seconds=180)
    storing.settle()
    assert storing.on_hand("BOLT-8") == waybill.one(told) == before - 200


def test_a_transfer_is_shipped_waits_for_whoever_receives_it_and_arrives(storing: Storing) -> None:
    case = storing.request("transfer", "LAMP", 10, None, **{"from": "MAIN", "to": "SHOP"})
    assert storing.reaches(case, "receive")["owner"] == "olaf.winter"
    number = storing.waybill.one("select number from stock_transfers where case_id = :id", id=case)
    shop = storing.on_hand("LAMP", "SHOP")
    arrived = storing.request("transfer_receipt", "LAMP", 8, None, to="SHOP", reference=number)
    assert storing.ends(arrived) == "posted"
    assert (storing.on_hand("LAMP", "SHOP") - shop, storing.on_hand("LAMP", "TRANSIT")) == (Decimal(8), Decimal(2))
    why = {"transfer": number, "reason": "two fell off the lorry"}
    by_nobody = storing.waybill.trigger("transfer_close_short", **why)
    run = storing.trigger("olaf.winter", "transfer_close_short", **why)
    storing.waybill.finish("transfer_close_short", by_nobody, "failed")
    storing.waybill.finish("transfer_close_short", run)
    storing.settle()
    (lost,) = storing.waybill.rows(
        "select case_id from stock_requests where kind = 'adjustment' and reference = :number", number=number
    )
    if storing.waybill.rows("select 1 from approval_rounds where case_id = :id", id=lost["case_id"]):
        person, asked = storing.whom(lost["case_id"])
        storing.decide(person, asked, "approve")
    storing.ends(case)
    assert storing.on_hand("LAMP", "TRANSIT") == 0


def test_a_large_write_off_moves_nothing_before_a_person_has_approved_it(storing: Storing) -> None:
    before = storing.on_hand("LAMP")
    case = storing.request("write_off", "LAMP", 5)
    run = storing.asked(case)
    assert storing.on_hand("LAMP") == before
    assert storing.answer("lena.hoffmann", run, "approve").status_code == 403, "nobody approves their own request"
    person, run = storing.whom(case)
    storing.decide(person, run, "approve")
    assert storing.ends(case) == "posted"
    assert storing.on_hand("LAMP") == before - 5


def test_a_back_order_waits_for_goods_and_goes_on_by_itself(storing: Storing) -> None:
    there = storing.on_hand("SOLVENT")
    case = storing.request("issue", "SOLVENT", there + 5)
    storing.ends(case)
    (rest,) = storing.waybill.rows("select id from cases where parent_id = :id", id=case)
    assert storing.reaches(rest["id"], "post")["owner"] == "lena.hoffmann"
    storing.ends(storing.request("receipt", "SOLVENT", 20))
    assert storing.ends(rest["id"]) == "posted"
    assert storing.on_hand("SOLVENT") == 15


def test_a_file_of_invoices_is_posted_once_and_every_row_is_accounted_for(storing: Storing) -> None:
    waybill = storing.waybill
    text = io.StringIO()
    csv.writer(text).writerows(retail_rows(600, seed=7))
    for _ in range(2):
        run = waybill.trigger("retail_import", source="retail-sales", rows=text.getvalue())
        waybill.finish("retail_import", run, seconds=180)
        storing.settle(180)
    moved = waybill.one(
        "select count(*) from stock_movements m join cases c on c.id = m.case_id where c.key like 'retail%'"
    )
    assert moved > 400
    storing.assert_true()


def test_what_runs_short_is_asked_for_once_however_often_it_is_planned(storing: Storing) -> None:
    waybill = storing.waybill
    rules = (
        "item,location,method,from_location,minimum,maximum,requester\nBOLT-8,SHOP,min_max,MAIN,100,500,olaf.winter\n"
    )
    waybill.finish("replenishment_rules", waybill.trigger("replenishment_rules", rows=rules))
    for _ in range(2):
        waybill.finish("replenishment_plan", waybill.trigger("replenishment_plan"), seconds=180)
        storing.settle()
    needs = waybill.rows("select * from replenishment_needs where item = 'BOLT-8' and location = 'SHOP'")
    assert [need["quantity"] for need in needs] == [500]
    transfer = waybill.one("""
        select number from stock_transfers join stock_transfer_lines using (case_id)
        where destination = 'SHOP' and state = 'under way' and item = 'BOLT-8'""")
    arrived = storing.request("transfer_receipt", "BOLT-8", 500, None, to="SHOP", reference=transfer)
    storing.ends(arrived)
    waybill.wait_until(lambda: not waybill.rows("select 1 from replenishment_needs where closed_at is null"), 90)
    assert storing.on_hand("BOLT-8", "SHOP") == 500


def test_a_count_is_compared_with_the_moment_of_counting_and_a_slip_is_put_right(storing: Storing) -> None:
    waybill = storing.waybill
    counted_at = datetime.now(UTC).isoformat()
    counted = storing.on_hand("BOLT-8") - 3
    storing.ends(storing.request("issue", "BOLT-8", 50))
    run = waybill.trigger(
        "stock_count_entry", location="MAIN", counted_at=counted_at, counter="lena.hoffmann",
        lines=f"item,counted\nBOLT-8,{counted:f}\n",
    )  # fmt: skip
    waybill.finish("stock_count_entry", run)
    storing.settle()
    assert storing.on_hand("BOLT-8") == counted - 50


def test_a_difference_from_the_erp_is_one_case_that_its_keeper_settles(storing: Storing) -> None:
    waybill = storing.waybill
    with waybill.engine.begin() as connection:
        connection.exec_driver_sql(
            "update erp_stock set quantity = quantity - 1 where item = 'SOLVENT' and location = 'MAIN'"
        )
    for _ in range(2):
        waybill.finish("stock_reconcile", waybill.trigger("stock_reconcile"), seconds=180)
        storing.settle()
    open_ones = "select id, owner, state from cases where workflow = 'stock_difference' and closed_at is null"
    (case,) = waybill.rows(open_ones)
    assert (case["owner"], case["state"]) == ("lena.hoffmann", "waiting")
    decision = {"case_id": case["id"], "seen": "-1", "decision": "erp", "reason": "the ERP missed a receipt"}
    waybill.pause("stock_difference_settle", False)
    settled = storing.trigger("lena.hoffmann", "stock_difference_settle", **decision)
    waybill.finish("stock_difference_settle", settled)
    storing.ends(case["id"])
    waybill.finish("stock_reconcile", waybill.trigger("stock_reconcile"), seconds=180)
    storing.settle()
    assert waybill.rows(open_ones) == []


def test_what_is_out_of_order_is_told_and_shown(storing: Storing) -> None:
    waybill = storing.waybill
    waybill.finish("stock_exceptions", waybill.trigger("stock_exceptions"), seconds=180)
    told = waybill.rows("select text from chat_log where channel = '#warehouse' and text like 'Stock on %'")
    assert told, "each day once, be it by the clock or by whoever triggers it first"
    page = waybill.api.get("/stock-exceptions/")
    assert page.status_code == 200
    assert "<svg" in page.text
    assert any(title in page.text for title in TITLES.values()), "the page is of the last look"
    assert waybill.api.get("/stock-exceptions/", headers={"Authorization": "Bearer nobody"}).status_code in (401, 403)
