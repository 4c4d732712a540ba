"""Owners of cost centres are told once a week, and the same whenever it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.approvals import people
from include.data.database import authored
from include.domain import budgets
from include.domain.purchase_approval.summary import deliver_summaries, standings, write_summaries
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Failed, Mode, Outcome, PendingEffect
from tests.support.orders import add_order
from tests.support.work import change, receive, rows

WEEK = timedelta(days=7)


def _now(engine: Engine) -> datetime:
    [row] = rows(engine, "select clock_timestamp() as now")
    return row["now"].astimezone(UTC)


def _request(engine: Engine, *, cost_centre: str = "4100", supplier: str = "Acme GmbH", stage: str = "approve") -> int:
    """A request that waits for Maria Keller."""
    [case] = receive(engine, workflow="purchase_approval", source="purchase-form")
    change(
        engine,
        """insert into purchase_requests (case_id, number, raw, requester, cost_centre, category, supplier_name, amount,
                                          company_currency)
           values (:id, 'PR-' || :id, '{}', 'anna.schmidt', :cost_centre, 'marketing', :supplier, 1250.5, 'EUR')""",
        id=case,
        cost_centre=cost_centre,
        supplier=supplier,
    )
    change(
        engine, "update cases set state = 'waiting', stage = :stage, owner = 'maria.keller' where id = :id",
        id=case, stage=stage,
    )  # fmt: skip
    return case


def _spend(engine: Engine, committed: str, consumed: str) -> int:
    """A budget of 10,000 for marketing of which a purchase has committed and consumed something."""
    [case] = receive(engine, workflow="purchase_approval", source="purchase-form")
    years = {"starts": "2020-01-01", "ends": "2099-12-31"}
    row = {"cost_centre": "4100", "category": "marketing", "amount": 10_000, **years}
    with authored(engine, actor="system:test") as connection:
        budgets.load_budgets(connection, [row])
        budget = connection.execute(text("select id from budgets where cost_centre = '4100'")).scalar_one()
        budgets.commit(connection, case, budget, Decimal(committed), may_exceed=True)
        budgets.consume(connection, case, Decimal(consumed), key=f"consume/{case}")
    return case


def _told(engine: Engine, until: datetime, owner: str = "maria.keller") -> dict[str, list[str]]:
    with engine.connect() as connection:
        [standing] = [each for each in standings(connection, until - WEEK, until) if each.owner == owner]
    return dict(standing.sections)


def _section(told: dict[str, list[str]], title: str) -> list[str]:
    [lines] = [lines for heading, lines in told.items() if heading.startswith(title)]
    return lines


def test_an_owner_is_told_how_each_budget_stands(engine: Engine) -> None:
    _spend(engine, "4000.00", "1000.00")
    [line] = _section(_told(engine, _now(engine)), "Budget of 4100 Marketing")
    assert "Marketing and advertising" in line
    assert "40 % of 10,000.00 EUR used (1,000.00 EUR booked, 3,000.00 EUR committed), 6,000.00 EUR left" in line
    assert line.endswith("booked this week: 1,000.00 EUR")
    assert _section(_told(engine, _now(engine), "tom.berger"), "Budget of 5200") == ["There is none."]
    _spend(engine, "6000.01", "0.00")
    assert "0.01 EUR BEYOND the budget" in _section(_told(engine, _now(engine)), "Budget of 4100")[0]


def test_what_happens_after_the_week_changes_nothing_that_is_told_of_it(engine: Engine) -> None:
    spent = _spend(engine, "4000.00", "1000.00")
    case = _request(engine)
    order = add_order(engine, {}, cost_centre="4100", category="marketing")
    invoice = _unmatched(engine, order.number)
    until = _now(engine)
    before = _told(engine, until)
    change(engine, "update cases set state = 'finished', outcome = 'booked', closed_at = now() where id = :id", id=case)
    change(engine, "update cases set state = 'pending', reasons = null where id = :id", id=invoice)
    with authored(engine, actor="system:test") as connection:
        budgets.consume(connection, spent, Decimal("500.00"), key="consume/later")
    _request(engine)
    assert _told(engine, until) == before
    after = _told(engine, _now(engine))
    assert after != before
    assert "None." in _section(after, "Invoices that do not match")


def _unmatched(engine: Engine, order_number: str) -> int:
    [invoice] = receive(engine, workflow="supplier_invoice", source="invoices")
    change(
        engine,
        """insert into supplier_invoices (case_id, number, supplier_name, order_number, gross, currency, raw)
           values (:id, 'R-77', 'Acme GmbH', :order_number, 119, 'EUR', '{}')""",
        id=invoice,
        order_number=order_number,
    )
    change(
        engine,
        "update cases set state = 'quarantined', reasons = :reasons, owner = 'jonas.braun' where id = :id",
        id=invoice,
        reasons=Jsonb([{"code": "match.price", "message": "secret detail"}]),
    )
    return invoice


def test_requests_and_exceptions_are_told_to_the_owner_of_their_cost_centre_only(engine: Engine) -> None:
    case, _ = _request(engine), _request(engine, cost_centre="5200")
    order = add_order(engine, {}, cost_centre="4100", category="marketing")
    _unmatched(engine, order.number)
    told = _told(engine, _now(engine))
    assert _section(told, "Waiting for a decision (1)") == [
        f"today: PR-{case} Acme GmbH, 1,250.50 EUR, with Maria Keller"
    ]
    assert _section(told, "Invoices that do not match (1)") == [
        f"today: R-77 of Acme GmbH over 119.00 EUR for {order.number}: match.price, with Jonas Braun"
    ]
    assert _section(_told(engine, _now(engine), "olaf.winter"), "Waiting for a decision (0)") == ["None."]


def test_what_is_open_for_long_is_listed_oldest_first_and_not_without_end(engine: Engine) -> None:
    cases = [_request(engine, stage="receive") for _ in range(25)]
    change(engine, "update cases set created_at = now() - interval '30 days' - make_interval(days => id::int)")
    _request(engine, stage="receive")
    # What the events say must be before the end of the week, so that end is now.
    lines = _section(_told(engine, _now(engine)), "Open for more than 7 days (25)")
    assert lines[0].startswith(f"{30 + cases[-1]} days: PR-{cases[-1]} ")
    assert len(lines) == 21
    assert lines[-1] == "and 5 more"


def test_each_owner_gets_one_mail_and_one_message_a_week_however_often_it_runs(engine: Engine) -> None:
    _request(engine)
    until = _now(engine)
    for _ in range(2):
        write_summaries(engine, until - WEEK, until, Mode.LIVE)
        assert deliver_summaries(engine, LocalMailbox(engine), "mail") == 0
        assert deliver_summaries(engine, ChatLog(engine), "chat") == 0
    mails = rows(engine, 'select "to", subject, message from mailbox order by "to"')
    assert [mail["to"].split("@")[0] for mail in mails] == ["maria.keller", "olaf.winter", "tom.berger"]
    assert "cost centre 4100" in mails[0]["subject"]
    assert "1,250.50 EUR" in mails[0]["message"]["text"]
    assert len(rows(engine, "select 1 from chat_log")) == 3
    assert write_summaries(engine, until, until + WEEK, Mode.LIVE) == 6, "the next week is another one"


def test_what_somebody_wrote_can_neither_call_a_channel_nor_carry_a_script(engine: Engine) -> None:
    _request(engine, supplier="<!channel> <script>alert(1)</script> & Co")
    until = _now(engine)
    write_summaries(engine, until - WEEK, until, Mode.LIVE)
    payloads = rows(engine, "select system, payload from effects where payload::text like '%channel%alert%'")
    for row in payloads:
        shown = row["payload"]["html"] if row["system"] == "mail" else str(row["payload"]["blocks"])
        assert "<!channel>" not in shown
        assert "<script>" not in shown
    assert {row["system"] for row in payloads} == {"mail", "chat"}


class _Away(LocalMailbox):
    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        return [Failed("away", retry_after=0)] * len(effects)


def test_a_summary_that_is_not_taken_is_counted_and_goes_out_later(engine: Engine) -> None:
    until = _now(engine)
    write_summaries(engine, until - WEEK, until, Mode.LIVE)
    assert deliver_summaries(engine, _Away(engine), "mail") == 3
    assert deliver_summaries(engine, LocalMailbox(engine), "mail") == 0


def test_the_summary_of_an_owner_who_has_left_goes_to_whoever_is_above(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = people.FILE.read_text(encoding="utf-8").replace(
        "  maria.keller:\n", "  maria.keller:\n    active: false\n"
    )
    (tmp_path / "people.yaml").write_text(content, encoding="utf-8")
    monkeypatch.setenv(people.VARIABLE, str(tmp_path / "people.yaml"))
    until = _now(engine)
    write_summaries(engine, until - WEEK, until, Mode.LIVE)
    [mail] = rows(engine, "select payload from effects where system = 'mail' and key like '%/maria.keller/%'")
    assert mail["payload"]["to"].startswith("ines.vogt@")
