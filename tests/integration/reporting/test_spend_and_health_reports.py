"""The figures on spending and on the workflows, against facts that were reckoned by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.cases import store
from include.data.database import authored
from include.domain import budgets
from include.reporting.intervals import Period
from include.stock.warehouse import FILE, VARIABLE, warehouse
from tests.support.orders import add_order, invoice, work
from tests.support.reports import at, interval, make, table, totals
from tests.support.work import change, receive


def book(engine: Engine, day: datetime, centre: str, amount: str) -> int:
    """An invoice of which the journal has an expense and a payable."""
    (case,) = receive(engine, workflow="supplier_invoice", source="invoices")
    change(
        engine,
        "insert into supplier_invoices (case_id, raw, invoice_date) values (:case, '{}', :day)",
        case=case,
        day=day.date(),
    )
    change(
        engine,
        """insert into journal_lines (case_id, line, booked_on, document, supplier, account, cost_centre, debit,
               credit, currency, document_amount, document_currency, text) values
           (:case, 1, :day, 'R', 'acme', '4000', :centre, :amount, 0, 'EUR', :amount, 'EUR', ''),
           (:case, 2, :day, 'R', 'acme', '1600', null, 0, :amount, 'EUR', -cast(:amount as numeric), 'EUR', '')""",
        case=case,
        day=day.date(),
        centre=centre,
        amount=amount,
    )
    return case


def set_aside(engine: Engine, when: datetime, *codes: str) -> None:
    change(
        engine,
        """insert into events (at, case_id, workflow, kind, stage, state, actor, detail)
           select :at, id, workflow, 'quarantined', 'match', 'quarantined', 'system:test', :detail from cases
           where workflow = 'supplier_invoice' order by id limit 1""",
        at=when,
        detail=Jsonb({"reasons": [{"code": code} for code in codes]}),
    )


def decide(
    engine: Engine, opened: datetime, decided: datetime, *, answer: str = "approve", rule: str = "manager"
) -> None:
    """A round of one stage that somebody decided."""
    (case,) = receive(engine, workflow="purchase_approval", source="purchase-form")
    change(
        engine,
        """with r as (insert into approval_rounds (case_id, workflow, number, requester, title, shown, digest, policy,
                                                   run_id, opened_at)
                      values (:case, 'purchase_approval', 1, 'anna.schmidt', 't', '{}', repeat('0', 64), 'p',
                              'r' || :case, :opened) returning id),
                s as (insert into approval_stages (round_id, number, rule, why, needed, within, state, opened_at,
                                                   due_at)
                      select id, 1, :rule, 'w', 1, '1 hour', 'open', :opened,
                             cast(:opened as timestamptz) + interval '1 hour' from r returning id)
           insert into approval_seats (stage_id, place, person, via) select id, 1, 'maria.keller', 'policy' from s""",
        case=case,
        opened=opened,
        rule=rule,
    )
    change(
        engine,
        """insert into approval_decisions (round_id, stage_id, person, seat, answer, route, account, comment, digest,
                                           at)
           select r.id, s.id, 'maria.keller', 'maria.keller', :answer, 'page', 'maria', 'because', repeat('0', 64), :at
           from approval_rounds r join approval_stages s on s.round_id = r.id where r.case_id = :case""",
        case=case,
        answer=answer,
        at=decided,
    )
    change(engine, "update approval_stages set state = 'approved' where state = 'open'")


def test_money_counts_on_the_day_of_its_booking(engine: Engine) -> None:
    book(engine, at(2), "4100", "100.00")
    book(engine, at(2), "4100", "20.50")
    book(engine, at(3), "5200", "7.00")
    monday = make(engine, "spend")
    assert monday.published, monday.reasons
    assert table(monday, "by_cost_centre") == [{"cost_centre": "4100", "amount": "120.50", "documents": 2}]
    week = make(engine, "spend", interval(period=Period.WEEKLY))
    assert (totals(week)["amount"], totals(week)["documents"]) == ("127.50", 3)
    book(engine, at(2), "4100", "1.00")
    late = make(engine, "spend")
    assert (late.revision, totals(late)["amount"]) == (2, "121.50")


def test_an_invoice_of_last_month_counts_on_the_company_s_day_on_which_it_is_booked(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A zone in which it is another day than in UTC now.
    zone = "Pacific/Kiritimati" if datetime.now(UTC).hour >= 10 else "Pacific/Pago_Pago"
    there = tmp_path / "warehouse.yaml"
    there.write_text(FILE.read_text().replace("zone: Europe/Berlin", f"zone: {zone}"))
    monkeypatch.setenv(VARIABLE, str(there))
    today = warehouse().day_of(datetime.now(UTC))
    last_month = today.replace(day=1) - timedelta(days=1)
    order = add_order(engine, {"received": 10})
    invoice(engine, order, invoice_date=last_month.isoformat())
    work(engine, "supplier_invoice")
    told = make(engine, "spend", interval(today))
    assert told.published, told.reasons
    assert table(told, "by_day") == [{"day": today.isoformat(), "amount": "25.00"}]
    assert table(told, "by_month") == [{"month": f"{last_month:%Y-%m}", "amount": "25.00", "documents": 1}]
    assert totals(make(engine, "spend", interval(last_month)))["amount"] == "0.00"


def test_an_order_that_is_changed_commits_what_it_is_more_or_less(engine: Engine) -> None:
    order = add_order(engine, {"quantity": 1, "unit_price": "100"}, cost_centre="4100", category="marketing")
    today = warehouse().day_of(datetime.now(UTC))
    for amount in ("120", "90"):
        with authored(engine, actor="system:test") as connection:
            (budget,) = connection.execute(text("select id from budgets")).scalars()
            assert budgets.commit(connection, order.id, budget, Decimal(amount), may_exceed=False)
        assert totals(make(engine, "spend", interval(today)))["committed"] == f"{amount}.00"
    change(
        engine,
        """set session_replication_role = replica;
           update budget_entries set at = at - interval '40 days' where id = (select min(id) from budget_entries)""",
    )
    told = make(engine, "spend", interval(today))
    assert told.published, told.reasons
    assert totals(told)["committed"] == "-10.00", "the order is of another month"


def test_budgets_stand_as_they_did_at_the_end(engine: Engine) -> None:
    add_order(engine, {"quantity": 100, "unit_price": "500"}, cost_centre="4100", category="marketing")
    moment = at(2).isoformat()
    change(engine, f"set session_replication_role = replica; update budget_entries set at = '{moment}'")
    (budget,) = table(make(engine, "spend"), "budgets")
    assert (budget["cost_centre"], budget["amount"], budget["committed"]) == ("4100", "100000.00", "50000.00")
    assert budget["used"] == 0.5
    (before,) = table(make(engine, "spend", interval(at(1).date())), "budgets")
    assert (before["committed"], before["used"]) == ("0.00", 0.0)
    change(engine, "update budgets set amount = 40000")
    assert totals(make(engine, "spend"))["over_budget"] == 1


def test_decisions_are_counted_when_they_were_made_and_by_their_stage(engine: Engine) -> None:
    decide(engine, at(1, 12), at(2, 12))
    decide(engine, at(2, 12), at(2, 12, 30))
    decide(engine, at(2, 12), at(2, 13), answer="reject", rule="finance")
    decide(engine, at(2, 12), at(3, 12))
    stages = {row["rule"]: row for row in table(make(engine, "spend"), "approvals")}
    manager = stages["manager"]
    assert (manager["decided"], manager["late"], manager["took"]) == (2, 1, (86_400 + 1_800) / 2)
    assert (stages["finance"]["decided"], stages["finance"]["rejected"]) == (1, 1)


def test_what_did_not_match_is_counted_by_reason(engine: Engine) -> None:
    book(engine, at(2), "4100", "1.00")
    set_aside(engine, at(2), "match.price", "match.quantity")
    set_aside(engine, at(2, 15), "match.price")
    set_aside(engine, at(3), "match.price")
    monday = make(engine, "spend")
    assert [(row["code"], row["times"], row["cases"]) for row in table(monday, "exceptions")] == [
        ("match.price", 2, 1),
        ("match.quantity", 1, 1),
    ]
    assert totals(monday)["exceptions"] == 1


def test_a_budget_that_is_not_the_sum_of_its_entries_refuses_the_report(engine: Engine) -> None:
    add_order(engine, {}, cost_centre="4100", category="marketing")
    with pytest.raises(DBAPIError):
        change(engine, "update budgets set committed = committed + 1")
    change(engine, "set session_replication_role = replica; update budgets set committed = committed + 1")
    refused = make(engine, "spend")
    assert refused.reasons is not None
    assert refused.reasons[0]["message"].startswith("budgets and the sum of their entries")


def test_cases_count_when_they_came_and_when_they_ended(engine: Engine) -> None:
    cases = receive(engine, 4)
    for case, came, ended, state in (
        (cases[0], at(1), at(2), "finished"),
        (cases[1], at(2, 9), at(2, 10), "finished"),
        (cases[2], at(2, 9), at(3), "rejected"),
        (cases[3], at(2, 9), None, "pending"),
    ):
        change(
            engine,
            """update cases set created_at = :came, closed_at = :ended, state = :state,
                                outcome = case when cast(:ended as timestamptz) is null then null else 'done' end
               where id = :id""",
            id=case,
            came=came,
            ended=ended,
            state=state,
        )
    change(
        engine,
        """insert into service_levels (case_id, workflow, visit, started_at, ended_at, stopped, missed_at, on_case)
           values (:id, 'lead_to_client', 1, :came, :at, '0', :at, true)""",
        id=cases[2],
        came=at(2, 9),
        at=at(2, 20),
    )
    monday = make(engine, "health")
    assert monday.published, monday.reasons
    told = totals(monday)
    assert [told[name] for name in ("came", "finished", "rejected", "late", "left_open")] == [3, 2, 0, 1, 2]
    assert told["took"] == (86_400 + 3_600) / 2
    assert totals(make(engine, "health", interval(at(3).date())))["rejected"] == 1
    assert [(row["came"], row["ended"]) for row in table(make(engine, "health", interval(period=Period.WEEKLY)),
                                                         "by_day")][:3] == [(3, 2), (0, 1), (0, 0)]  # fmt: skip
    (level,) = table(monday, "service_levels")
    assert (level["step"], level["met"], level["missed"], level["met_share"]) == ("the whole case", 0, 1, 0.0)


def test_a_case_that_is_sent_through_again_has_ended_when_it_did_so_first(engine: Engine) -> None:
    cases = receive(engine, 2)
    change(
        engine,
        """update cases set created_at = :came, state = 'finished', outcome = 'done',
                            closed_at = case id when :late then cast(:next as timestamptz) else :soon end""",
        came=at(2),
        soon=at(2, 13),
        late=cases[1],
        next=at(3),
    )
    days = [at(day).date() for day in (2, 3, 4)]
    before = [make(engine, "health", interval(day)).digest for day in days]
    told = totals(make(engine, "health", interval(days[0])))
    assert (told["finished"], told["left_open"], told["took"]) == (1, 1, 3600)
    assert store.reopen(
        engine, workflow="lead_to_client", first_step="capture", since=at(1), until=at(3), actor="user:anna"
    ) == len(cases)  # fmt: skip
    assert [make(engine, "health", interval(day)).digest for day in days] == before, "while they go through again"
    change(engine, "update cases set state = 'quarantined', reasons = '[{\"code\": \"email.invalid\"}]'")
    store.discard(engine, cases, reason="no lead", actor="user:anna")
    assert [make(engine, "health", interval(day)).digest for day in days] == before, "whatever they come to now"
    today = warehouse().day_of(datetime.now(UTC))
    assert totals(make(engine, "health", interval(today)))["rejected"] == 0


def test_errors_and_runs_are_counted_from_the_events(engine: Engine) -> None:
    case = receive(engine, 1)[0]
    for when, kind, step, run in (
        (at(2), "quarantined", "validate", "run-1"),
        (at(2), "quarantined", "validate", "run-2"),
        (at(2), "effect dead", "send_mail", "run-2"),
        (at(2), "advanced", "validate", "run-3"),
        (at(3), "quarantined", "validate", "run-4"),
    ):
        change(
            engine,
            """insert into events (at, case_id, workflow, kind, actor, step, run_id)
               values (:at, :case, 'lead_to_client', :kind, 'system:test', :step, :run)""",
            at=when,
            case=case,
            kind=kind,
            step=step,
            run=run,
        )
    monday = make(engine, "health")
    assert [(row["step"], row["kind"], row["times"], row["cases"]) for row in table(monday, "errors")] == [
        ("validate", "quarantined", 2, 1),
        ("send_mail", "effect dead", 1, 1),
    ]
    assert table(monday, "runs") == [{"workflow": "lead to client", "runs": 3, "cases": 1}]
