"""Search and case: found by what people know, over all workflows; one case's whole story, masked by role."""

from __future__ import annotations

import base64
import html
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from include.cases import store
from include.cases.steps import Position, run_step
from include.contracts.registry import contract, contracts
from include.data.database import authored
from include.domain.lead_to_client.assignment import assign
from include.domain.lead_to_client.crm import plan_crm
from include.domain.lead_to_client.duplicates import find_duplicates
from include.domain.lead_to_client.mail import plan_mail
from include.domain.lead_to_client.normalise import normalise
from include.domain.lead_to_client.segments import segment
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode
from include.monitoring.service_levels.facts import keep_up
from include.monitoring.views.case import MOST_RELATED
from tests.support import leads, orders, purchases, stock
from tests.support.histories import cases_with
from tests.support.pages import column_of
from tests.support.work import change, receive, rows
from waybill.pages import visitor

pytestmark = pytest.mark.airflow

WORKFLOW = "lead_to_client"
ANNA = {
    "id": "form-7",
    "full_name": "Anna Keller",
    "email": "Anna.Keller@nordlicht-logistik.example",
    "phone": "030 23125 017",
    "company": "Nordlicht Logistik GmbH",
    "country": "Germany",
    "city": "Hamburg",
    "job_title": "Head of Sales",
    "message": "Please call me before Friday.",
    "consent": True,
}
"""One of the sample people."""
WITHOUT_CASES = ("alerts", "approvals", "ledger", "privacy", "reports")
SERVICE_LEVELS = "Service levels of case {}, the whole first"
PERSONAL = ("Anna", "Keller", "keller@", "23125", "+4930", "Head of Sales", "before Friday", "Hamburg")
RUN = "asset_triggered__2026-11-21T08:00:00+00:00_x1"


def normalised(engine: Engine, *bodies: dict[str, Any]) -> list[int]:
    """Receive leads, and normalise them."""
    ids = receive(engine, list(bodies))
    leads.take(engine, leads.claim(engine), "normalise", normalise)
    return ids


def followed(engine: Engine, body: dict[str, Any]) -> int:
    """Receive a lead, and take it as far as its answer, in a run that Airflow could have named."""
    (case,) = receive(engine, [body])
    steps = contract(WORKFLOW).step_ids
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=RUN)
    assert claimed is not None

    def at(step: str) -> Position:
        return Position(WORKFLOW, steps, step, claimed.id, RUN)

    run_step(engine, at("normalise"), normalise)
    change(engine, "update cases set stage = 'find_duplicates'")
    run_step(engine, at("find_duplicates"), find_duplicates)
    run_effect_step(engine, at("update_crm"), plan_crm, BuiltinCrm(engine), system="crm", mode=Mode.LIVE)
    run_step(engine, at("segment"), segment)
    run_step(engine, at("assign"), assign)
    change(engine, "update cases set stage = 'send_mail'")
    run_effect_step(engine, at("send_mail"), plan_mail, LocalMailbox(engine), system="mail", mode=Mode.LIVE)
    return case


def hits(answer: httpx.Response) -> list[int]:
    """The cases that a page lists, or the one that it leads to."""
    assert answer.status_code == 200, answer.text
    if one := re.fullmatch(r"/waybill/cases/(\d+)", answer.url.path):
        return [int(one[1])]
    return [int(found) for found in re.findall(r'<th scope="row"><a href="/waybill/cases/(\d+)"', answer.text)]


def searched(log_in: Any, query: object, role: str = "op", **filters: str) -> httpx.Response:
    """The answer to a search, at the address to which the form leads."""
    browser = log_in(role)
    leads_to = browser.post("/cases", q=str(query), **filters)
    assert leads_to.status_code == 303, leads_to.text
    address = httpx.URL(leads_to.headers["location"])
    return browser.get(address.path.removeprefix("/waybill"), **dict(address.params))


def found(log_in: Any, query: object, role: str = "op", **filters: str) -> list[int]:
    """The cases that a search finds."""
    return hits(searched(log_in, query, role, **filters))


def plain(page: str) -> str:
    """What a page says, without its markup."""
    return html.unescape(re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize(
    "query",
    [
        "anna.keller@NORDLICHT-logistik.example",
        "anna.keller+fair@nordlicht-logistik.example",
        "030 23125-017",
        "+49 30 23125017",
        "0049 (30) 23125 017",
        "+49 (0)30 23125017",
        "0049 (0) 30 / 23125-017",
        "Nordlicht Logistik",
        "nordlicht",
    ],
)
def test_a_lead_is_found_by_what_somebody_knows_of_it(engine: Engine, log_in: Any, query: str) -> None:
    other = {**ANNA, "email": "paul@havelblick.example", "phone": "030 23125 025", "company": "Havelblick"}
    anna, paul = normalised(engine, ANNA, other)
    assert found(log_in, query) == [anna]
    assert found(log_in, f"#{paul}") == found(log_in, f"Case {paul}") == [paul]
    assert found(log_in, "nobody@example.org") == []


@pytest.mark.parametrize("query", ["form-7", "website/id:form-7"])
def test_a_case_is_found_by_its_senders_own_id(engine: Engine, log_in: Any, query: str) -> None:
    case, _ = receive(engine, 2)
    change(engine, "update cases set key = 'website/id:form-7' where id = :id", id=case)
    assert found(log_in, query) == [case]


def test_an_address_that_cannot_be_read_is_found_as_it_was_sent(engine: Engine, log_in: Any) -> None:
    (case,) = normalised(engine, {**ANNA, "email": "anna@@nordlicht"})
    assert found(log_in, "Anna@@nordlicht") == [case]


def test_a_person_is_found_under_every_address_that_they_have(engine: Engine, log_in: Any) -> None:
    kept = leads.contact(engine, "ada@example.org")
    other = leads.contact(engine, "ada@lovelace.example", merged_into=kept)
    for address, contact in (("ada@example.org", kept), ("ada@lovelace.example", other)):
        change(engine, "insert into contact_keys values ('email', :a, :c)", a=address, c=contact)
    ids = leads.add_leads(
        engine,
        {"contact_id": kept, "email": "ada@example.org", "email_key": "ada@example.org"},
        {"contact_id": other, "email": "ada@lovelace.example", "email_key": "ada@lovelace.example"},
    )
    assert found(log_in, "ada@lovelace.example") == found(log_in, "ada@example.org") == ids[::-1]


def test_the_papers_of_a_purchase_are_found_by_their_numbers(engine: Engine, log_in: Any) -> None:
    purchases.prepare(engine)
    (request,) = purchases.add(engine, purchases.request())
    purchases.run(engine, until="validate")
    order = orders.add_order(engine)
    receipt = orders.receipt(engine, order, number="LS 4711")
    invoice = orders.invoice(engine, order, number="R-2026/77", supplier_name="Acme GmbH")
    stray = orders.invoice(engine, None, number="R-1", order="PO-1999-000001")
    for workflow in ("goods_receipt", "supplier_invoice"):
        orders.work(engine, workflow)
    assert found(log_in, f"pr-{request}") == [request]
    assert found(log_in, order.number) == [invoice, receipt, order.id]
    assert found(log_in, order.number, workflow="goods_receipt") == [receipt]
    assert found(log_in, "ls4711") == [receipt]
    assert found(log_in, "r-2026/77") == [invoice]
    assert found(log_in, "PO-1999-000001") == [stray]
    assert found(log_in, "anna.schmidt") == found(log_in, "Anna Schmidt") == [request]
    page = log_in("op").text(f"/cases/{order.id}")
    assert f'/waybill/cases/{receipt}">' in page
    assert f'/waybill/cases/{invoice}">' in page
    assert "order of" in log_in("op").text(f"/cases/{receipt}")


def test_a_supplier_is_found_however_the_letters_of_its_name_are_written(engine: Engine, log_in: Any) -> None:
    order = orders.add_order(engine)
    names = ("Škoda s.r.o.", "SKODA Parts", "Ærøskøbing Sejl", "Łódź Press", "Skonto AG")
    cases = {
        name: orders.invoice(engine, order, number=f"R-{place}", supplier_name=name) for place, name in enumerate(names)
    }
    orders.work(engine, "supplier_invoice")
    skodas = [cases["SKODA Parts"], cases["Škoda s.r.o."]]
    for typed in ("skoda", "Škoda", "ŠKODA", "s\u030ckoda"):
        assert found(log_in, typed) == skodas, typed
    assert found(log_in, "škoda s.r") == [cases["Škoda s.r.o."]]
    assert found(log_in, "lodz") == [cases["Łódź Press"]]
    assert found(log_in, "ærøsk") == [cases["Ærøskøbing Sejl"]]


def test_stock_is_found_by_the_numbers_on_its_papers(engine: Engine, log_in: Any) -> None:
    (request, sheet) = (
        receive(engine, workflow=workflow, source=source)[0]
        for workflow, source in (("stock_request", "scanner"), ("stock_count", "count-plan"))
    )
    change(engine, "insert into stock_requests (case_id, number, reference, requester) "
                   "values (:id, 'ST-9', 'Job 12', 'olaf.winter')", id=request)  # fmt: skip
    change(engine, "insert into count_sheets (case_id, number, location, counter, planned_for, due_at) "
                   "values (:id, 'CS-MAIN-1', 'MAIN', 'olaf.winter', current_date, now())", id=sheet)  # fmt: skip
    assert found(log_in, "st-9") == found(log_in, "job 12") == found(log_in, "olaf.winter") == [request]
    assert found(log_in, "cs-main-1") == [sheet]


def test_a_delivery_is_found_by_the_receipt_that_its_sender_got(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine, [ANNA])
    page = log_in("op").text(f"/cases/{case}")
    delivery = re.search(r"Delivery ([0-9a-f-]{36})", page)
    assert delivery is not None
    assert found(log_in, delivery[1]) == [case]


def test_what_is_looked_for_is_in_no_address(engine: Engine, log_in: Any) -> None:
    normalised(engine, ANNA, {**ANNA, "id": "form-8"})
    answer = searched(log_in, ANNA["email"])
    assert len(hits(answer)) == 2
    assert 'method="post"' in answer.text
    assert f'value="{ANNA["email"]}"' in answer.text, "what was typed stays in the form"
    assert not re.search(r'(?:href|action)="[^"]*keller', answer.text, re.IGNORECASE)
    assert "keller" not in str(answer.url).lower()
    assert "keller" not in base64.urlsafe_b64decode(answer.url.params["sought"]).decode("latin-1").lower()


def test_the_address_of_the_hits_is_for_who_looked_for_them_and_for_a_shift(
    engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalised(engine, ANNA, {**ANNA, "id": "form-8"})
    address = dict(searched(log_in, ANNA["email"]).url.params)
    assert len(hits(log_in("op").get("/cases", **address))) == 2
    for browser, sought in ((log_in("op", "otto"), address["sought"]), (log_in("op"), "made up")):
        page = browser.text("/cases", sought=sought)
        assert "type it again" in page
        assert ANNA["email"] not in page
    monkeypatch.setattr(visitor, "TOKEN_LASTS", -1)
    assert "type it again" in log_in("op").text("/cases", **address)


@pytest.mark.parametrize(
    "query", ["%", "'", "\\", "a" * 300, "1" * 19, "-1", "\x00", "佐藤", "@", "+", "0" * 40, "<b>x"]
)
def test_anything_may_be_typed(engine: Engine, log_in: Any, query: str) -> None:
    receive(engine, 2)
    assert searched(log_in, query, "viewer").status_code == 200
    assert log_in("viewer").post("/cases", q="x" * 301).status_code == 422


def test_cases_are_listed_by_where_they_stand_and_who_has_them(engine: Engine, log_in: Any) -> None:
    first, second, third = receive(engine, 3)
    (bought,) = receive(engine, workflow="purchase_approval", stage="approve")
    change(engine, "update cases set state = 'waiting', owner = 'maria.keller' where id = :id", id=bought)
    change(engine, "update cases set state = 'finished', outcome = 'done', closed_at = now() where id = :id", id=first)

    def listing(**filters: str) -> list[int]:
        return hits(log_in("viewer").get("/cases", **filters))

    assert listing() == [bought, third, second, first]
    assert listing(workflow=WORKFLOW) == [third, second, first]
    assert listing(state="waiting") == listing(owner="maria.keller") == listing(step="approve") == [bought]
    assert listing(state="open") == [bought, third, second]
    assert listing(workflow=WORKFLOW, state="finished") == [first]
    assert listing(owner="Maria Keller") == listing(owner=" maria keller ") == [bought]
    assert listing(owner="Revenue operations") == listing(owner="revenue_operations") == [third, second]
    assert listing(workflow=WORKFLOW, owner="maria.keller") == []
    assert listing(owner="revenue_operations", state="pending", step="capture") == [third, second]
    assert listing(state="finished", step="capture") == []
    assert "No case stands there" in log_in("viewer").text("/cases", state="rejected")


def test_a_form_without_words_leads_to_an_address_that_can_be_kept(log_in: Any) -> None:
    answer = log_in("viewer").post("/cases", q=" ", state="waiting", owner="")
    assert (answer.status_code, answer.headers["location"]) == (303, "/waybill/cases?state=waiting")


@pytest.mark.parametrize("query", ["", "nordlicht"])
def test_long_lists_are_paged_by_key(engine: Engine, log_in: Any, query: str) -> None:
    ids = normalised(engine, *({**ANNA, "id": f"form-{n}", "email": f"a{n}@x.example"} for n in range(120)))
    seen: list[int] = []
    answer = searched(log_in, query, workflow=WORKFLOW)
    while True:
        seen += hits(answer)
        more = re.search(r'href="/waybill(/cases\?[^"]+)" rel="next"', answer.text)
        if more is None:
            break
        assert "nordlicht" not in more[1]
        answer = log_in("op").get(html.unescape(more[1]))
    assert seen == ids[::-1]


def test_a_case_tells_everything_to_who_acts(engine: Engine, log_in: Any) -> None:
    case = followed(engine, ANNA)
    page = log_in("op").text(f"/cases/{case}")
    said = plain(page)
    assert json.dumps(ANNA) in said, "the body is shown as it was received"
    for expected in ("received", "advanced", "decided", "rule", "crm: upsert contact", "mail: send mail", "sent"):
        assert expected in said
    assert '"to": "anna.keller@nordlicht-logistik.example"' in said
    assert "+493023125017" in said
    address = "http://127.0.0.1:8080/dags/lead_to_client/runs/asset_triggered__2026-11-21T08%3A00%3A00%2B00%3A00_x1"
    assert f'href="{address}" target="_top"' in page
    assert f'href="{address}/tasks/segment" target="_top"' in page
    for link in [*re.findall(r'href="/waybill(/effects/\d+)"', page), f"/person?case={case}"]:
        path, _, query = link.partition("?case=")
        assert log_in("op").get(path, **({"case": query} if query else {})).status_code == 200, link


def test_who_may_only_look_sees_nothing_of_the_person(engine: Engine, log_in: Any) -> None:
    case = followed(engine, ANNA)
    change(
        engine,
        "update cases set state = 'quarantined', claim_id = null, reasons = :r where id = :id",
        r='[{"code": "email.invalid", "message": "Anna cannot exist"}]',
        id=case,
    )
    store.discard(engine, [case], reason="Anna Keller asked us to", actor="user:olga")
    change(engine, "update effects set error = 'Anna Keller is unknown', state = 'dead', sent_at = null, answer = null "
                   "where operation = 'send_mail'")  # fmt: skip
    browser = log_in("viewer")
    for page in (browser.text(f"/cases/{case}"), browser.text("/cases").partition("</form>")[2]):
        seen = plain(page)
        for personal in PERSONAL:
            assert personal.lower() not in seen.lower(), personal
    seen = plain(browser.text(f"/cases/{case}"))
    for left in ("[hidden]", "Nordlicht Logistik GmbH", "crm: upsert contact", "decided", "rule", "your role may look"):
        assert left in seen
    assert "Anna Keller asked us to" in plain(log_in("op").text(f"/cases/{case}"))


def test_addresses_and_numbers_in_a_name_are_for_those_who_act_also_in_lists(engine: Engine, log_in: Any) -> None:
    normalised(
        engine, *({**ANNA, "id": f"f-{n}", "company": "Anna Keller, anna@x.example, 030 23125 017"} for n in "12")
    )
    for role, named in (
        ("viewer", "Anna Keller, [e-mail], [telephone]"),
        ("op", "Anna Keller, anna@x.example, 030 23125 017"),
    ):
        for answer in (log_in(role).get("/cases"), searched(log_in, "Anna Keller", role)):
            assert hits(answer) == [2, 1]
            assert answer.text.count(f"<td>{named}</td>") == 2, role


def won_deal(engine: Engine, company: str) -> tuple[int, int, int]:
    """A lead of a company whose deal was won: its case, the deal's, and the one that sets the client up."""
    key = company.lower()
    (lead,) = leads.add_leads(engine, {"company": company, "company_key": key})
    (won,) = receive(engine, workflow="deal_to_client", source="hubspot")
    for statement in (
        "insert into directory_companies (name, name_key) values (:name, :key)",
        """update deals set company_id = (select id from directory_companies where name = :name)
           where case_id = :lead""",
        """insert into deal_changes (case_id, deal_id, stage, occurred_at)
           select :won, deal_id, 'won', now() from leads where case_id = :lead""",
        """insert into clients (deal_id, contact_id, company_id, case_id, since)
           select id, contact_id, company_id, :won, now() from deals where case_id = :lead""",
    ):
        change(engine, statement, name=company, key=key, lead=lead, won=won)
    with authored(engine, actor="system:test") as connection:
        store.hand_over(
            connection, to="client_billing_setup", stage="received", owner="finance", case_ids=[won], waits=True
        )
    return lead, won, won + 1


def test_a_deal_and_its_client_are_found_by_the_company(engine: Engine, log_in: Any) -> None:
    won_deal(engine, "Havelblick")
    lead, won, billing = won_deal(engine, "Nordlicht Logistik")
    assert found(log_in, "Nordlicht Logistik GmbH") == found(log_in, "nordl") == [billing, won, lead]
    assert "clients" in log_in("op").text(f"/cases/{billing}").partition("What is known now:")[2][:20]


def test_the_cases_of_every_workflow_say_what_they_are_about(engine: Engine, log_in: Any) -> None:
    lead, won, billing = won_deal(engine, "Nordlicht Logistik")
    about = dict.fromkeys((lead, won, billing), "Nordlicht Logistik")
    purchases.prepare(engine)
    (request,) = purchases.add(engine, purchases.request())
    purchases.run(engine, until="validate")
    order = orders.add_order(engine)
    receipt, invoice = orders.receipt(engine, order, number="LS 4711"), orders.invoice(engine, order, number="R-77")
    for workflow in ("goods_receipt", "supplier_invoice"):
        orders.work(engine, workflow)
    stock.prepare(engine)
    asked, sheet, need, place, everywhere = (
        receive(engine, workflow=workflow, source=workflow.replace("_", "-"))[0]
        for workflow in ("stock_request", "stock_count", "replenishment", "stock_difference", "stock_difference")
    )
    change(engine, "insert into stock_requests (case_id, number) values (:id, 'ST-9')", id=asked)
    change(engine, "insert into count_sheets (case_id, number, location, counter, planned_for, due_at) "
                   "values (:id, 'CS-1', 'MAIN', 'olaf.winter', current_date, now())", id=sheet)  # fmt: skip
    change(engine, "insert into replenishment_needs (case_id, item, location, on_day, quantity, figures) "
                   "values (:id, 'LAMP', 'MAIN', current_date, 9, '{}')", id=need)  # fmt: skip
    for case, key in ((place, "BOLT-8/MAIN/2"), (everywhere, "/many/1")):
        change(engine, "update cases set key = 'stock-difference/id:' || :key where id = :id", id=case, key=key)
    about |= {request: "PR-", receipt: "LS 4711", invoice: "R-77", asked: "ST-9", sheet: "CS-1"}
    about |= {need: "LAMP · MAIN", place: "BOLT-8 · MAIN", everywhere: "many places"}
    page = log_in("op").text("/cases")
    said = dict(re.findall(r'<a href="/waybill/cases/(\d+)">\d+</a></th><td>([^<]*)</td>', page))
    for case, words in about.items():
        assert words in said[str(case)], case
    workflows = {row["workflow"] for row in rows(engine, "select workflow from cases")}
    assert workflows == {name for name in contracts() if name not in WITHOUT_CASES}


def test_which_service_level_is_late_and_since_when_is_told_of_the_case_and_in_the_list(
    engine: Engine, log_in: Any
) -> None:
    """One case is late at its step and not as a whole, and one is set aside, so that its clocks stand."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    begun = [
        (start, "received", "capture", "pending"),
        (start + timedelta(seconds=9), "claimed", "normalise", "running"),
    ]
    aside = (start + timedelta(seconds=70), "quarantined", "normalise", "quarantined")
    late, stopped = cases_with(engine, begun, [*begun, aside])
    keep_up(engine)
    since = f"late since {start + timedelta(seconds=129):%Y-%m-%d %H:%M:%S} UTC"
    whole = f"{start + timedelta(minutes=15):%Y-%m-%d %H:%M:%S} UTC"
    step = "Bring the fields into one form"
    browser = log_in("viewer")

    def said(page: str) -> str:
        return " ".join(plain(page).split())

    listing = said(browser.text("/cases"))
    assert listing.count("late since") == 1
    assert f"{since} {step}" in listing
    page = browser.text(f"/cases/{late}")
    assert f"due {since} {step}" in said(page)
    standing = dict(zip(column_of(page, SERVICE_LEVELS.format(late), "Of"),
                        column_of(page, SERVICE_LEVELS.format(late), "How it stands"), strict=True))  # fmt: skip
    assert {name: how.split(",")[0] for name, how in standing.items()} == {
        "the whole case": "open", "Claim pending leads": "met", step: since,
    }  # fmt: skip
    assert column_of(page, SERVICE_LEVELS.format(late), "Due")[0] == whole
    page = browser.text(f"/cases/{stopped}")
    standing_at = f"its clock stands since {aside[0]:%Y-%m-%d %H:%M:%S} UTC"
    assert [how.strip() for how in column_of(page, SERVICE_LEVELS.format(stopped), "How it stands")][::2] == [
        standing_at,
        standing_at,
    ]
    assert "late since" not in said(page)


def test_what_a_correction_changed_is_told_with_before_and_after(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine, [{**ANNA, "phone": "0171", "country": "Germania"}])
    for country, phone in (("Germany", "0171 1"), ("DE", "+49 171 1234567")):
        change(
            engine,
            "update cases set state = 'quarantined', reasons = :r where id = :id",
            r='[{"code": "phone.invalid", "message": "0171 is no number", "field": "phone"}]',
            id=case,
        )
        page = log_in("op").text(f"/cases/{case}")
        assert "0171 is no number" in plain(page)
        assert f'href="/waybill/quarantine/case/{case}"' in page
        corrections = {"phone": phone, "country": country}
        assert store.release(engine, [case], first_step="capture", actor="user:olga", corrections=corrections) == 1
    said = " ".join(plain(log_in("op").text(f"/cases/{case}")).split())
    for expected in ("0171 → 0171 1", "0171 1 → +49 171 1234567", "Germania → Germany", "Germany → DE", "user:olga"):
        assert expected in said
    seen = " ".join(plain(log_in("viewer").text(f"/cases/{case}")).split())
    assert "0171" not in seen
    assert "[hidden] → [hidden]" in seen
    assert "Germany → DE" in seen


def test_which_rule_decided_is_told_with_why_and_by_whom(engine: Engine, log_in: Any) -> None:
    purchases.prepare(engine)
    (case,) = purchases.add(engine, purchases.request("900.00", "2", justification="For Anna's new office"))
    purchases.run(engine, until="approve")
    (asked,) = rows(engine, "select owner from cases where id = :id", id=case)
    purchases.answer(engine, case, asked["owner"], "reject", "Anna has one already")
    said = " ".join(plain(log_in("op").text(f"/cases/{case}")).split())
    for expected in ("routed", "policy", "approval opened", "stage 1", "approval decided", "Anna has one already"):
        assert expected in said
    seen = " ".join(plain(log_in("viewer").text(f"/cases/{case}")).split())
    assert "approval decided" in seen
    assert "has one already" not in seen
    assert "new office" not in seen


def test_handoffs_are_followed_both_ways(engine: Engine, log_in: Any) -> None:
    (parent,) = receive(engine, workflow="deal_to_client", source="hubspot")
    with authored(engine, actor="system:test") as connection:
        store.hand_over(
            connection, to="client_billing_setup", stage="set_up", owner="finance", case_ids=[parent], waits=True
        )
    child = parent + 1
    browser = log_in("viewer")
    assert f'<a href="/waybill/cases/{child}">{child}</a></th><td>handed over</td>' in browser.text(f"/cases/{parent}")
    page = browser.text(f"/cases/{child}")
    assert f'<a href="/waybill/cases/{parent}">{parent}</a></th><td>handed over by</td>' in page
    assert "handed over by another case" in page


def test_a_long_story_is_paged_and_nothing_is_told_twice(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine)
    for number in range(450):
        change(engine, "update cases set owner = :o where id = :id", o=f"owner-{number}", id=case)
    pages = [log_in("viewer").text(f"/cases/{case}")]
    while more := re.search(r"\?before=(\d+)", pages[-1]):
        pages.append(log_in("viewer").text(f"/cases/{case}", before=more[1]))
    assert len(pages) == 3
    owners = [
        owner for page in pages for owner in re.findall(r"<dd>(owner-\d+)</dd>", page.partition('class="timeline"')[2])
    ]
    assert owners == [f"owner-{number}" for number in reversed(range(450))]


def test_of_many_effects_at_one_time_every_one_is_reached(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine)
    change(
        engine,
        """insert into effects (key, system, operation, case_id, step, target, payload, mode)
           select 'many/' || n, 'mail', 'send_mail', :id, 'send_mail', 'somebody', '{}', 'live'
           from generate_series(1, 450) n""",
        id=case,
    )
    pages = [log_in("viewer").text(f"/cases/{case}")]
    while more := re.search(r"\?effects=(\d+)", pages[-1]):
        pages.append(log_in("viewer").text(f"/cases/{case}", effects=more[1]))
    assert len(pages) == 3
    seen = [int(effect) for page in pages for effect in re.findall(r">effect (\d+)</a>", page)]
    assert seen == [row["id"] for row in rows(engine, "select id from effects order by id desc")]


def test_of_many_cases_that_belong_to_one_the_newest_are_told_and_where_it_came_from(
    engine: Engine, log_in: Any
) -> None:
    (parent,) = receive(engine, workflow="deal_to_client", source="hubspot")
    case, *children = receive(engine, MOST_RELATED + 6)
    change(engine, "update cases set parent_id = :p where id = :id", p=parent, id=case)
    change(engine, "update cases set parent_id = :p where id = any(:ids)", p=case, ids=children)
    page = log_in("viewer").text(f"/cases/{case}")
    told = [int(each) for each in column_of(page, f"Cases that belong to case {case}", "Case")]
    assert told == [parent, *sorted(children, reverse=True)[: MOST_RELATED - 1]]
    assert f"The newest {MOST_RELATED} are shown." in page


def test_a_run_that_may_be_of_any_dag_leads_to_the_list_of_runs(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine)
    change(engine, "update cases set state = 'waiting' where id = :id", id=case)
    store.discard(engine, [case], reason="no", actor="user:olga", run="manual__2026-11-21")
    assert "http://127.0.0.1:8080/dag_runs?run_id_pattern=manual__2026-11-21" in log_in("op").text(f"/cases/{case}")


def test_a_stranger_sees_nothing_and_what_is_not_there_is_not_found(engine: Engine, log_in: Any) -> None:
    (case,) = receive(engine, [ANNA])
    for path in ("/cases", f"/cases/{case}"):
        assert log_in(None).get(path).status_code == 401
    assert log_in(None).post("/cases", q="anna").status_code == 401
    for path in ("/cases/0", "/cases/999", f"/cases/{2**63}"):
        assert log_in("op").get(path).status_code == 404
    assert log_in("op").get("/cases/x").status_code == 422
