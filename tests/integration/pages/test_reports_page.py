"""The reports in the ops pages: what was told of which interval, to whom, and what was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.reports import at, interval, lead, make, send
from tests.support.work import change, rows

pytestmark = pytest.mark.airflow


def test_the_list_says_what_was_sent_to_whom(engine: Engine, log_in: Any, tmp_path: Path) -> None:
    assert "There is no edition yet" in log_in("viewer").text("/reports")
    lead(engine, at(2, 9))
    make(engine, "leads")
    send(engine, tmp_path)
    make(engine, "spend")
    seen = log_in("viewer").text("/reports")
    assert "Mon 2 Mar 2026" in seen
    assert "#revenue-operations" in seen
    assert "sales@example.com" in seen
    assert str(tmp_path) in seen
    assert "finance@example.com" in seen
    only = log_in("viewer").text("/reports", report="spend", period="daily")
    assert "#finance" in only
    assert "#revenue-operations" not in only
    assert "#finance" not in log_in("viewer").text("/reports", before=2)


def test_an_edition_has_its_tables_and_its_plots(engine: Engine, log_in: Any, tmp_path: Path) -> None:
    lead(engine, at(2, 9), source="<script>alert(1)</script>")
    edition = make(engine, "leads")
    send(engine, tmp_path)
    answer = log_in("viewer").get(f"/reports/{edition.id}")
    assert "<h1>Leads, Mon 2 Mar 2026</h1>" in answer.text
    assert "<dt>Leads</dt><dd>1</dd>" in answer.text
    assert answer.text.count("<svg ") == 3
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "What was sent to whom" in answer.text
    assert log_in("viewer").get("/reports/999").status_code == 404


def test_the_plot_that_the_chat_got_can_be_seen(engine: Engine, log_in: Any, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    edition = make(engine, "leads")
    send(engine, tmp_path)
    assert "<td>chat, plot</td>" in log_in("viewer").text(f"/reports/{edition.id}")
    assert "#revenue-operations, plot" in log_in("viewer").text("/reports")
    (effect,) = rows(engine, "select id from effects where operation = 'post_picture'")
    for role in ("viewer", "op"):
        seen = log_in(role).text(f"/effects/{effect['id']}")
        assert '<img src="data:image/png;base64,iVBOR' in seen
        assert 'alt="Leads, Mon 2 Mar 2026: Funnel by source and campaign"' in seen
        assert "iVBOR" not in seen.split("<pre")[1], "as text it is only its size"


def test_an_edition_can_be_taken_along(engine: Engine, log_in: Any) -> None:
    lead(engine, at(2, 9))
    edition = make(engine, "leads")
    viewer = log_in("viewer")
    for kind, begins in (("pdf", b"%PDF"), ("xlsx", b"PK")):
        assert f'href="/waybill/reports/{edition.id}/{kind}"' in viewer.text(f"/reports/{edition.id}")
        answer = viewer.get(f"/reports/{edition.id}/{kind}")
        assert answer.content.startswith(begins)
        assert answer.headers["Content-Disposition"] == f'attachment; filename="leads-daily-2026-03-02.{kind}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert log_in(None).get(f"/reports/{edition.id}/{kind}").status_code == 401
    assert viewer.get(f"/reports/{edition.id}/docx").status_code == 422
    assert viewer.get("/reports/999/pdf").status_code == 404


def test_a_refused_edition_says_why_and_leads_to_the_good_one(engine: Engine, log_in: Any) -> None:
    lead(engine, at(2, 9))
    good = make(engine, "leads")
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    refused = make(engine, "leads")
    seen = log_in("viewer").text(f"/reports/{refused.id}")
    assert "Not published" in seen
    assert "Take it along" not in seen
    assert log_in("viewer").get(f"/reports/{refused.id}/xlsx").status_code == 404
    assert "leads that were ready before they came: expected 0, found 1." in seen
    assert "cannot be -3600.0" in seen
    assert f'/reports/{good.id}"' in seen
    assert "expected 0, found 1." in log_in("viewer").text("/reports"), "what does not agree comes first"


def test_every_report_can_be_looked_at_when_nothing_happened(engine: Engine, log_in: Any) -> None:
    for name in ("leads", "spend", "stock", "health"):
        edition = make(engine, name, interval())
        assert edition.published, edition.reasons
        assert "Mon 2 Mar 2026" in log_in("viewer").text(f"/reports/{edition.id}")


def test_a_stranger_sees_no_report(log_in: Any) -> None:
    assert log_in(None).get("/reports").status_code == 401
    assert log_in(None).get("/reports/1").status_code == 401


def test_what_a_system_said_of_a_delivery_is_for_those_who_act(engine: Engine, log_in: Any, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    edition = make(engine, "leads")
    send(engine, tmp_path)
    change(engine, "update effects set state = 'dead', sent_at = null, answer = null, "
                   "error = '550 no such user x@y.de' where operation = 'send_mail'")  # fmt: skip
    assert "550 no such user x@y.de" in log_in("op").text(f"/reports/{edition.id}")
    seen = log_in("viewer").text(f"/reports/{edition.id}")
    assert "550" not in seen
    assert "[hidden]" in seen
