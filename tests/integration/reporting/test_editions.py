"""An interval is told once, the same however late it is made; what fails a check is not told at all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from include.integrations.builtin.chat_log import ChatLog
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.ledger import SENDING_LEASE, Scope, deliver
from include.integrations.systems import Outcome
from include.reporting.editions import deliveries
from include.reporting.going_out import CHAT, MAIL, WEBHOOK
from include.reporting.intervals import Period, begun
from include.stock.warehouse import warehouse
from tests.support.reports import at, end_deal, files_of, interval, lead, make, send, totals
from tests.support.work import change, rows


def kept(engine: Engine) -> list[dict[str, Any]]:
    return rows(engine, "select report, revision, state from report_editions order by id")


def told(engine: Engine) -> list[dict[str, Any]]:
    """The messages; their plots are apart."""
    return rows(engine, "select channel, text, blocks from chat_log where key not like '%/plot' order by posted_at")


def test_the_same_interval_twice_is_one_edition_and_told_once(engine: Engine, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    first = make(engine, "leads")
    send(engine, tmp_path)
    again = make(engine, "leads")
    send(engine, tmp_path)
    assert (again.id, again.digest) == (first.id, first.digest)
    (message,) = told(engine)
    assert (message["channel"], message["text"]) == ("#revenue-operations", "Leads, Mon 2 Mar 2026")
    assert "Leads: 1" in str(message["blocks"])
    assert f"/waybill/reports/{first.id}" in str(message["blocks"])
    mails = rows(engine, 'select "to", message from mailbox order by "to"')
    assert [mail["to"].split("@")[0] for mail in mails] == ["marketing", "revenue-operations", "sales"]
    (attached,) = mails[0]["message"]["attachments"]
    assert attached["filename"] == "leads-daily-2026-03-02.pdf"
    assert attached["base64"].startswith("JVBERi")  # %PDF


def test_a_backfill_later_tells_the_same_though_much_has_happened_since(engine: Engine) -> None:
    case = lead(engine, at(2, 9), answered_after=30)
    before = {name: make(engine, name) for name in ("leads", "stock", "spend")}
    week = make(engine, "leads", interval(period=Period.WEEKLY))
    end_deal(engine, case, at(12))
    lead(engine, at(12))
    for name, edition in before.items():
        assert make(engine, name).digest == edition.digest, name
    assert make(engine, "leads", interval(period=Period.WEEKLY)).id == week.id


def test_two_at_the_same_time_make_one_edition(engine: Engine) -> None:
    lead(engine, at(2, 9))
    make(engine, "health")  # Great Expectations is loaded
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(engine, "leads").id, range(4)))
    assert len(set(made)) == 1
    assert len(rows(engine, "select id from report_editions where report = 'leads'")) == 1


def test_what_fails_a_check_is_not_published_and_the_last_good_one_stays(engine: Engine, tmp_path: Path) -> None:
    case = lead(engine, at(2, 9))
    good = make(engine, "leads")
    send(engine, tmp_path)
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    refused = make(engine, "leads")
    send(engine, tmp_path)
    assert refused.reasons is not None
    said = {reason["code"]: reason["message"] for reason in refused.reasons}
    assert said["report.disagrees"] == "leads that were ready before they came: expected 0, found 1."
    assert refused.effects == []
    assert make(engine, "leads").id == refused.id, "the same figures are refused once"
    assert len(told(engine)) == 1
    written = tmp_path / "leads" / "daily" / "2026-03-02"
    assert json.loads((written / "edition.json").read_text())["edition"] == good.id
    change(engine, "update report_lead_facts set processed_at = received_at + interval '1 minute' where case_id = :id",
           id=case)  # fmt: skip
    mended = make(engine, "leads")
    send(engine, tmp_path)
    assert (mended.published, mended.digest, mended.revision) == (True, good.digest, 3)
    assert len(told(engine)) == 1, "the same figures are not told again"
    assert json.loads((written / "edition.json").read_text())["edition"] == mended.id


def test_a_won_deal_without_a_client_refuses_the_report(engine: Engine) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15))
    assert make(engine, "leads").published
    change(engine, "delete from clients")
    refused = make(engine, "leads")
    assert refused.reasons is not None
    assert [reason["message"] for reason in refused.reasons] == ["won deals and their clients: expected 1, found 0."]


def test_work_that_is_missing_refuses_the_report_on_health(engine: Engine) -> None:
    assert make(engine, "health").published
    lead(engine, at(2, 9))
    change(engine, "set session_replication_role = replica; delete from cases")
    refused = make(engine, "health")
    assert refused.reasons is not None
    assert "work that is missing from the books of lead_to_client" in refused.reasons[0]["message"]


def test_files_hold_the_figures_exactly_and_are_the_newest(engine: Engine, tmp_path: Path) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15), amount="1234567890.12")
    make(engine, "leads")
    send(engine, tmp_path)
    folder = tmp_path / "leads" / "daily" / "2026-03-02"
    assert (files_of(folder) / "won_value.csv").read_text().splitlines() == [
        "currency,deals,amount",
        "EUR,1,1234567890.12",
    ]
    assert pq.read_table(files_of(folder) / "won_value.parquet").to_pylist() == [
        {"currency": "EUR", "deals": 1, "amount": Decimal("1234567890.12")}
    ]
    assert pq.read_table(files_of(folder) / "by_day.parquet").to_pylist()[0]["day"] == at(2).date()
    lead(engine, at(2, 10), source="=cmd()")
    make(engine, "leads")
    send(engine, tmp_path)
    assert "'=cmd()" in (files_of(folder) / "by_source.csv").read_text()
    about = json.loads((folder / "edition.json").read_text())
    assert (about["revision"], about["since"]) == (2, "2026-03-01T23:00:00+00:00")


def test_what_was_not_delivered_yet_is_withdrawn_when_the_figures_change(engine: Engine, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    former = make(engine, "leads")
    lead(engine, at(2, 10))
    later = make(engine, "leads")
    send(engine, tmp_path)
    with engine.connect() as connection:
        assert {each.state for each in deliveries(connection, former.effects).values()} == {"dead"}
        assert {each.state for each in deliveries(connection, later.effects).values()} == {"sent"}
    (message,) = told(engine)
    assert message["text"] == "Leads, Mon 2 Mar 2026, put right"
    assert "Leads: 2" in str(message["blocks"])


def test_figures_that_come_back_after_others_are_told_again(engine: Engine, tmp_path: Path) -> None:
    case = lead(engine, at(2, 9))
    for day in (2, 3, 2, 3):
        change(engine, "update report_lead_facts set happened_at = :at where case_id = :id", at=at(day, 9), id=case)
        for _ in range(2):
            make(engine, "leads", connected=[WEBHOOK])
            send(engine, tmp_path)
    right = "Leads, Mon 2 Mar 2026, put right"
    assert [message["text"] for message in told(engine)] == ["Leads, Mon 2 Mar 2026", right, right, right]
    assert ["Leads: 1" in str(message["blocks"]) for message in told(engine)] == [True, False, True, False]
    assert len(rows(engine, "select 1 from mailbox")) == 4 * 3
    calls = rows(engine, "select payload->'data'->'revision' as revision from effects where system = 'webhook'")
    assert [call["revision"] for call in calls] == [1, 2, 3, 4], "each a key, and so an id, of its own"


def test_what_was_told_before_keys_had_numbers_is_not_told_again(engine: Engine, tmp_path: Path) -> None:
    """Former releases had the digest in the key and nothing else."""
    lead(engine, at(2, 9))
    former = make(engine, "leads")
    lead(engine, at(2, 10))
    later = make(engine, "leads")
    for edition in (former, later):
        place = f"reports/leads/daily/2026-03-02/{edition.digest[:16]}"
        assert f"{place}/revenue_operations/post_message" in edition.effects
    send(engine, tmp_path)
    assert make(engine, "leads").effects == later.effects


def test_the_first_that_is_published_puts_nothing_right(engine: Engine, tmp_path: Path) -> None:
    case = lead(engine, at(2, 9))
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    assert not make(engine, "leads").published
    change(engine, "update report_lead_facts set processed_at = received_at + interval '1 minute' where case_id = :id",
           id=case)  # fmt: skip
    assert make(engine, "leads").revision == 2
    send(engine, tmp_path)
    assert [message["text"] for message in told(engine)] == ["Leads, Mon 2 Mar 2026"]


class Crash(BaseException):
    """The process dies."""


class Dying(ChatLog):
    def apply(self, operation: str, effects: Any) -> Any:
        super().apply(operation, effects)
        raise Crash


class DyingMailbox(LocalMailbox):
    def apply(self, operation: str, effects: Any) -> list[Outcome]:
        raise Crash


def test_a_delivery_that_is_killed_is_repeated_and_told_once(engine: Engine, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    make(engine, "leads")
    for provider, system, step in ((Dying(engine), "chat", CHAT), (DyingMailbox(engine), "mail", MAIL)):
        with pytest.raises(Crash):
            deliver(engine, provider, system=system, scope=Scope(step=step))
    make(engine, "leads")
    send(engine, tmp_path)
    assert len(rows(engine, "select 1 from mailbox")) == 0, "the lease of what died is not over"
    change(engine, "update effects set lease_until = now() - cast(:lease as interval) where state = 'sending'",
           lease=SENDING_LEASE)  # fmt: skip
    send(engine, tmp_path)
    assert len(told(engine)) == 1
    assert len(rows(engine, "select 1 from mailbox")) == 3
    assert {row["state"] for row in rows(engine, "select state from effects")} == {"sent"}


def test_a_preview_says_that_it_is_one_and_stands_in_the_way_of_nothing(engine: Engine, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    morning = begun(Period.DAILY, at(2, 10), warehouse().zone)
    preview = make(engine, "leads", morning, connected=[WEBHOOK])
    send(engine, tmp_path)
    assert make(engine, "leads", replace(morning, so_far=at(2, 11))).id == preview.id, "nothing has happened since"
    send(engine, tmp_path)
    (message,) = told(engine)
    assert message["text"] == "Preview: Leads, Mon 2 Mar 2026 so far, until Mon 10:00"
    assert {row["system"] for row in rows(engine, "select system from effects")} == {"chat", "mail", "reporting"}
    assert rows(engine, "select distinct message->'attachments'->0->>'filename' as name from mailbox") == [
        {"name": "preview-leads-daily-2026-03-02.pdf"}
    ]
    about = json.loads((tmp_path / "preview" / "leads" / "daily" / "2026-03-02" / "edition.json").read_text())
    assert (about["preview"], about["until"]) == (True, "2026-03-02T09:00:00+00:00")
    assert not (tmp_path / "leads").exists(), "what reads the final files does not find it"

    final = make(engine, "leads")
    send(engine, tmp_path)
    assert (final.preview, final.revision, final.digest) == (False, 1, preview.digest), "no revision of the preview"
    assert told(engine)[1]["text"] == "Leads, Mon 2 Mar 2026"
    assert json.loads((tmp_path / "leads" / "daily" / "2026-03-02" / "edition.json").read_text())["preview"] is False


def test_the_final_edition_takes_a_preview_back_and_not_the_other_way(engine: Engine) -> None:
    morning = begun(Period.DAILY, at(2, 10), warehouse().zone)
    lead(engine, at(2, 9))
    preview = make(engine, "leads", morning)
    lead(engine, at(2, 11))
    final = make(engine, "leads")
    lead(engine, at(2, 9, 30))
    late = make(engine, "leads", morning)
    with engine.connect() as connection:
        for edition, state in ((preview, "dead"), (final, "pending"), (late, "pending")):
            assert {each.state for each in deliveries(connection, edition.effects).values()} == {state}
    assert [totals(edition)["leads"] for edition in (preview, final, late)] == [1, 2, 2]


def test_an_edition_is_neither_changed_nor_deleted(engine: Engine) -> None:
    make(engine, "leads")
    make(engine, "leads", begun(Period.DAILY, at(2, 10), warehouse().zone))
    for statement in (
        "update report_editions set digest = repeat('0', 64)",
        "update report_editions set preview = false",
        "delete from report_editions",
    ):
        with pytest.raises(DBAPIError, match="edition"):
            change(engine, statement)


def test_an_edition_is_of_an_interval_by_the_companys_clock(engine: Engine) -> None:
    spring = interval(at(29).date())  # the clocks are put forward
    assert spring.until - spring.since == timedelta(hours=24)  # the same zone: by the wall clock
    assert (spring.until.timestamp() - spring.since.timestamp()) == 23 * 3600
    lead(engine, at(29, 23, 30))
    assert totals(make(engine, "leads", spring))["leads"] == 1
    assert kept(engine) == [{"report": "leads", "revision": 1, "state": "published"}]
