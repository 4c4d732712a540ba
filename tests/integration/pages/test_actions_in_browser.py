"""What people do on the ops pages, in a real browser: what they then see, and what the timeline says of them.

Quarantine is in test_quarantine_in_browser.py; what comes of each action in test_effects.py and its neighbours.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from include.integrations.systems import Failed, Unknown
from tests.integration.integrations.test_by_hand import in_trouble
from tests.integration.pages.test_alerts_page import raised
from tests.support.approvals import opened
from tests.support.people import ADA, OF_ADA, lead, places_of
from tests.support.work import rows

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

DEAD = Failed("no such pipeline", permanent=True)
LOST = Unknown("no answer came")


def effect_states(engine: Engine) -> list[str]:
    found = rows(engine, "select state from effects where operation = 'create' order by id")
    return [row["state"] for row in found]


class TestEffects:
    def test_one_is_retried(self, engine: Engine, sit_down: Any) -> None:
        [case], [effect], _ = in_trouble(engine, DEAD)
        olga = sit_down()
        page = olga.open(f"/cases/{case}")
        page.get_by_role("link", name=f"effect {effect}", exact=True).click()
        page.get_by_label("What to do", exact=True).select_option("Retry now")
        olga.press("Do it")
        olga.is_told("1 effect retried. 1 case is on the way again.")
        olga.can_use_the_page()
        assert effect_states(engine) == ["pending"]
        expect(page.get_by_role("table", name="Events about this effect")).to_contain_text("user:olga")
        olga.finds_in_timeline(case, "effect retried")

    def test_one_is_settled_with_the_id_that_the_system_gave(self, engine: Engine, sit_down: Any) -> None:
        [case], [effect], _ = in_trouble(engine, LOST)
        olga = sit_down()
        page = olga.open(f"/effects/{effect}")
        page.get_by_label("What to do", exact=True).select_option("It happened")
        page.get_by_label("the id that crm gave").fill("4711")
        olga.press("Do it")
        olga.is_told("1 effect settled: it happened.")
        assert effect_states(engine) == ["sent"]
        expect(page.get_by_text("4711")).to_be_visible()
        olga.finds_in_timeline(case, "effect settled")

    def test_one_is_given_up_with_a_reason_only(self, engine: Engine, sit_down: Any) -> None:
        [case], [effect], _ = in_trouble(engine, DEAD)
        olga = sit_down()
        page = olga.open(f"/effects/{effect}")
        reason = page.get_by_label("To give up: the reason")
        page.get_by_label("What to do", exact=True).select_option("Give up")
        olga.press("Do it")
        assert reason.evaluate("field => field.validity.valueMissing"), "the browser asks for it"
        page.get_by_label("What to do", exact=True).select_option("Retry now")
        assert not reason.evaluate("field => field.required")
        page.get_by_label("What to do", exact=True).select_option("Give up")
        reason.fill("told by phone")
        olga.press("Do it")
        olga.is_told("1 effect given up.")
        olga.finds_in_timeline(case, "effect given up")
        expect(page.locator(".timeline").get_by_text("told by phone").first).to_be_visible()

    def test_all_of_a_page_are_ticked_at_once_and_settled(self, engine: Engine, sit_down: Any) -> None:
        cases, _, _ = in_trouble(engine, LOST, cases=3)
        olga = sit_down()
        page = olga.open("/effects?state=unknown")
        page.get_by_label("All of this page").check()
        page.get_by_label("What to do", exact=True).select_option("It did not happen: send it")
        olga.press("Do it")
        olga.is_told("3 effects settled: it did not happen, and is sent.")
        assert effect_states(engine) == ["pending"] * 3
        olga.finds_in_timeline(cases[0], "effect settled")

    def test_a_refusal_is_an_alert_and_keeps_what_is_ticked(self, engine: Engine, sit_down: Any) -> None:
        _, [first, second], _ = in_trouble(engine, DEAD, cases=2)
        olga = sit_down()
        page = olga.open("/effects?state=dead")
        page.get_by_label(f"Choose effect {second}").check()
        page.get_by_label("What to do", exact=True).select_option("Give up")
        page.get_by_label("To give up: the reason").fill(" ")
        olga.press("Do it")
        expect(page.get_by_role("alert")).to_have_text("Nothing was changed: an effect is given up with a reason.")
        olga.can_use_the_page()
        expect(page.get_by_label(f"Choose effect {first}")).not_to_be_checked()
        expect(page.get_by_label(f"Choose effect {second}")).to_be_checked()
        page.get_by_label("To give up: the reason").fill("told by phone")
        olga.press("Do it")
        olga.is_told("1 effect given up.")

    def test_all_of_a_group_are_retried_when_it_is_confirmed(self, engine: Engine, sit_down: Any) -> None:
        cases, _, _ = in_trouble(engine, DEAD, cases=2)
        olga = sit_down()
        page = olga.open("/effects")
        page.get_by_role("link", name="Show 2 dead effects: crm, create").click()
        page.get_by_role("link", name="All of this group at once").click()
        olga.can_use_the_page()
        page.get_by_label("All 2 of them are meant").check()
        page.get_by_label("What to do", exact=True).select_option("Retry now")
        olga.press("Do it")
        olga.is_told("2 effects retried. 2 cases are on the way again.")
        assert effect_states(engine) == ["pending"] * 2
        olga.finds_in_timeline(cases[1], "effect retried")


class TestApprovals:
    def test_whoever_is_asked_asks_back_and_approves(self, engine: Engine, sit_down: Any) -> None:
        one = opened(engine, "maria.keller", now=datetime.now(UTC))
        maria, anna = sit_down("user", "maria.keller"), sit_down("user", "anna.schmidt")
        page = maria.open("/approvals")
        page.get_by_role("link", name=f"Request {one.case_id}", exact=True).click()
        maria.can_use_the_page()
        page.get_by_label("Comment").fill("Which model?")
        maria.press("Ask for information")
        maria.is_told("Your question is put to the requester.")
        anna.open("/approvals").get_by_role("link", name=f"Request {one.case_id}", exact=True).click()
        expect(anna.page.get_by_text("Maria Keller asks: “Which model?”")).to_be_visible()
        anna.page.get_by_label("Comment").fill("The small one")
        anna.press("Answer")
        anna.is_told("Your answer is given to those who decide.")
        maria.open(f"/approvals/{one.id}")
        expect(page.get_by_text("The small one")).to_be_visible()
        maria.press("Approve")
        maria.is_told("You have approved it.")
        maria.can_use_the_page()
        assert page.get_by_role("button").count() == 0, "nothing is left to answer"
        maria.finds_in_timeline(one.case_id, "approval decided", "user:maria.keller")

    def test_a_rejection_needs_its_reason(self, engine: Engine, sit_down: Any) -> None:
        one = opened(engine, "maria.keller", now=datetime.now(UTC))
        maria = sit_down("user", "maria.keller")
        page = maria.open(f"/approvals/{one.id}")
        page.get_by_label("Comment").fill("too dear")
        maria.press("Reject")
        maria.is_told("You have rejected it.")
        maria.finds_in_timeline(one.case_id, "approval decided", "user:maria.keller")

    def test_the_requester_withdraws(self, engine: Engine, sit_down: Any) -> None:
        one = opened(engine, "maria.keller", now=datetime.now(UTC))
        anna = sit_down("user", "anna.schmidt")
        anna.open(f"/approvals/{one.id}")
        anna.press("Withdraw")
        anna.is_told("You have withdrawn it.")
        anna.finds_in_timeline(one.case_id, "approval decided", "user:anna.schmidt")

    def test_a_deputy_is_named_and_called_back(self, engine: Engine, sit_down: Any) -> None:
        maria = sit_down("user", "maria.keller")
        page = maria.open("/approvals")
        page.get_by_role("link", name="Deputies").click()
        page.get_by_label("Deputy", exact=True).select_option("Tom Berger")
        page.get_by_label("Last day").fill(str(datetime.now(UTC).date() + timedelta(days=2)))
        page.get_by_label("Why").fill("on leave")
        maria.press("Name the deputy")
        maria.is_told("Entered as number 1.")
        maria.can_use_the_page()
        maria.press("End number 1 now")
        maria.is_told("Number 1 is ended.")
        found = rows(engine, "select kind, actor from events where kind like 'delegation%' order by id")
        assert [tuple(row.values()) for row in found] == [
            ("delegation.entered", "user:maria.keller"),
            ("delegation.ended", "user:maria.keller"),
        ]


class TestAlerts:
    @pytest.mark.parametrize(
        ("button", "heading"), [("Acknowledge: I am at it", "Acknowledged: 2"), ("Snooze", "Snoozed: 2")]
    )
    def test_alerts_are_quieted_together_and_told_again(
        self, engine: Engine, sit_down: Any, button: str, heading: str
    ) -> None:
        first, _ = raised(engine, 1), raised(engine, 2)
        olga = sit_down()
        page = olga.open("/alerts")
        page.get_by_label("All of this page").check()
        page.get_by_label("For how long").select_option("4 hours")
        page.get_by_label("Reason").first.fill("the CRM is being upgraded")
        olga.press(button)
        olga.is_told("for 4 hours.")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        page.get_by_label(f"Tell alert {first} again").click()
        olga.is_told("It is told again within a minute.")
        page = olga.open(f"/alerts/{first}")
        expect(page.get_by_text("the CRM is being upgraded")).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("user:olga")
        page = olga.open(f"/alerts/{raised(engine, 3)}")
        page.get_by_label("For how long").select_option("1 hour")
        page.get_by_label("Reason", exact=True).fill("seen where its link leads")
        olga.press(button)
        olga.is_told("1 ")
        expect(page.get_by_role("row", name="seen where its link leads")).to_be_visible()
        olga.press("Tell again")
        olga.is_told("It is told again within a minute.")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Task failed")

    def test_maintenance_is_announced_and_ended(self, engine: Engine, sit_down: Any) -> None:
        olga = sit_down()
        page = olga.open("/alerts")
        page.get_by_label("Of what").select_option("the system crm")
        page.get_by_label("For hours").fill("2")
        page.locator("#window-reason").fill("upgrade of the CRM")
        olga.press("Announce")
        olga.is_told("Maintenance of crm is announced")
        olga.can_use_the_page()
        expect(page.get_by_role("row", name="the system crm")).to_contain_text("user:olga")
        olga.press("End maintenance of crm now")
        olga.is_told("Maintenance is over")
        found = rows(engine, "select action, actor from alert_actions order by id")
        assert {row["actor"] for row in found} == {"user:olga"}
        assert len(found) == 2


class TestPerson:
    @pytest.fixture
    def ada(self, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path / "exports"))
        monkeypatch.setenv("WAYBILL_DATA_DOCS", str(tmp_path / "docs"))
        return lead(engine, ADA)[0]

    def test_what_is_known_is_downloaded(self, ada: int, sit_down: Any) -> None:
        olga = sit_down()
        page = olga.open(f"/cases/{ada}")
        page.get_by_role("link", name="What is known of the person").click()
        olga.can_use_the_page()
        with page.expect_download() as download:
            olga.press("Download the export")
        document = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
        assert document["held"]["leads"]["rows"][0]["last_name"] == "Lovelace"
        olga.finds_in_timeline(ada, "exported")

    def test_a_person_is_erased_for_good(self, engine: Engine, ada: int, sit_down: Any) -> None:
        olga = sit_down()
        page = olga.open(f"/person?case={ada}")
        page.get_by_label("By which letter or ticket").fill("letter 17")
        page.get_by_label("I know that it cannot be undone").check()
        olga.press("Erase this person")
        olga.is_told("Erased: ")
        olga.can_use_the_page()
        assert places_of(engine, OF_ADA) == []
        olga.finds_in_timeline(ada, "erased")
        expect(page.locator(".timeline").get_by_text("letter 17").first).to_be_visible()
