"""The page of the ledger: what is in trouble, the systems, and what a person does about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import Engine

from include.integrations import by_hand
from include.integrations.http import RateLimit
from include.integrations.http.circuits import Circuit, CircuitPolicy
from include.integrations.http.limits import RateLimiter
from include.integrations.systems import Failed, Outcome, Unknown
from tests.integration.integrations.test_by_hand import in_trouble, numbers, seen
from tests.support.pages import GLANCE, Browser, column_of, hidden
from tests.support.work import change, rows, states

pytestmark = pytest.mark.airflow

SECRETIVE = Failed('the contact "Jane Doe" <jane@example.com> is refused with 422', permanent=True)


def add(engine: Engine, count: int, state: str = "dead", error: str | None = "no such channel", **more: Any) -> None:
    values = {"system": "chat", "operation": "post_message", "step": "alerts", "number": 0, **more}
    change(
        engine,
        """insert into effects (key, system, operation, step, target, payload, mode, state, error, available_at)
           select 'alerts/alert/' || :number || '/' || n || :state || coalesce(:error, ''), :system, :operation, :step,
                  '#ops', '{}', 'live', :state, :error, now() - interval '1 hour'
           from generate_series(1, :count) n""",
        count=count, state=state, error=error, **values,
    )  # fmt: skip


def follow(browser: Browser, address: str) -> str:
    """Open what a link or a redirect leads to."""
    parts = urlsplit(unescape(address))
    return browser.text(parts.path.removeprefix("/waybill"), **dict(parse_qsl(parts.query)))


def text_of(html: str) -> str:
    """What a person reads of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_trouble_is_shown_by_system_operation_and_error_with_how_much_and_since_when(
    engine: Engine, log_in: Any
) -> None:
    add(engine, 3, error="channel C123 is archived")
    add(engine, 2, error="channel C987 is archived", number=1)
    add(engine, 1, "failed", "503 at 12:00")
    add(engine, 4, "pending", None)
    add(engine, 1, error="withdrawn: told by phone")
    change(engine, "update effects set created_at = now() - interval '5 hours' where state = 'dead'")
    seen = text_of(log_in("op").text("/effects"))
    assert re.search(r"dead chat post_message channel C\d+ is archived 5 5 h", seen), "one cause, whatever the channel"
    assert "failed chat post_message 503 at 12:00 1" in seen
    assert "waiting chat post_message 4" in seen
    assert "told by phone" not in seen, "what was given up is nobody's trouble"
    assert "told by phone" in log_in("op").text("/effects", state="given_up")


def test_nothing_in_trouble_is_said_in_words(log_in: Any) -> None:
    assert "No effect is in trouble" in log_in("viewer").text("/effects")


def test_the_list_is_filtered_and_goes_on_by_key(engine: Engine, log_in: Any) -> None:
    add(engine, 60)
    add(engine, 3, "failed", "503", system="erp", operation="move_stock")
    olga = log_in("op")
    first = olga.text("/effects", state="dead", system="chat", operation="post_message")
    assert first.count('name="ids"') == 50
    older = re.search(r'href="/waybill/effects\?([^"]+)" rel="next"', first)
    assert older
    rest = follow(olga, f"/waybill/effects?{older[1]}")
    assert rest.count('name="ids"') == 10
    assert 'rel="next"' not in rest
    assert olga.text("/effects", system="erp").count('name="ids"') == 3
    assert olga.text("/effects", state="waiting").count('name="ids"') == 0
    assert olga.get("/effects", state="nonsense").status_code == 422


def test_a_group_leads_to_the_effects_of_its_cause_alone(engine: Engine, log_in: Any) -> None:
    add(engine, 3, error="404 from the channel")
    add(engine, 2, error="503 from the channel")
    olga = log_in("op")
    links = re.findall(r'href="(/waybill/effects\?[^"]*cause=[^"]*)"', olga.text("/effects"))
    counts = [follow(olga, each).count('name="ids"') for each in links]
    assert counts == [3, 2]


def test_the_state_of_each_system_is_shown(engine: Engine, log_in: Any) -> None:
    circuit = Circuit(engine, "waybill_crm", "waybill_crm at api.hubapi.com", CircuitPolicy(threshold=2))
    circuit.failed()
    circuit.failed()
    limiter = RateLimiter(engine, "waybill_crm", (RateLimit(100, 1000),))
    for _ in range(4):
        limiter.take(patience=0)
    change(
        engine,
        """insert into credentials (name, seed, access_token, expires_at)
           values ('waybill_crm', sha256('x'), 'x', '2030-01-02 03:04:05Z'),
                  ('waybill_erp', sha256('y'), null, null)""",
    )
    change(engine, "update credentials set refusal = 'refused (400)' where name = 'waybill_erp'")
    add(engine, 7, "pending", None, system="crm", operation="upsert_contact")
    add(engine, 2, "failed", "503", system="crm", operation="upsert_contact")
    in_trouble_table = text_of(log_in("viewer").text("/effects"))
    crm = re.search(r"crm open after 2 failures .*?(?= erp )", in_trouble_table)
    assert crm, in_trouble_table
    assert "api.hubapi.com" in crm[0]
    assert re.search(r"[67] of 10 free now 100 in 1000 s", crm[0])
    assert "until 2030-01-02 03:04:05 UTC" in crm[0]
    assert "9 (2 failed)" in crm[0]
    assert "never" in crm[0]
    assert re.search(r"erp none none refused since", in_trouble_table)


@pytest.mark.parametrize("used", [0, 1, 9, 10])
def test_what_is_left_of_a_rate_limit_is_what_may_go(engine: Engine, used: int) -> None:
    limit = RateLimit(100, 1000)
    limiter = RateLimiter(engine, "waybill_crm", (limit,))
    for _ in range(used):
        limiter.take(patience=0)
    due = rows(engine, "select name, due_at from rate_limits")
    due_in = (due[0]["due_at"] - datetime.now(UTC)).total_seconds() if due else 0.0
    assert RateLimit.named(limit.name) == limit
    assert limit.left(due_in) == 10 - used


def test_only_who_acts_sees_personal_data_and_errors(engine: Engine, log_in: Any) -> None:
    _, (effect,), _ = in_trouble(engine, SECRETIVE)
    change(
        engine,
        """update effects set payload = '{"email": "jane@example.com", "last_name": "Doe"}',
                              target = 'jane@example.com'""",
    )
    for path in ("/effects", f"/effects/{effect}", "/effects?state=dead"):
        seen = log_in("viewer").text(path)
        assert "jane" not in seen.lower(), path
        assert "Doe" not in seen, path
    assert "[hidden]" in log_in("viewer").text(f"/effects/{effect}")
    for part in ("jane@example.com", "Doe", "is refused with 422"):
        assert part in log_in("op").text(f"/effects/{effect}")


def test_one_effect_is_shown_with_its_case_its_attempts_and_who_did_what(engine: Engine, log_in: Any) -> None:
    (case,), (effect,), _ = in_trouble(engine, Unknown("timed out"))
    olga = log_in("op")
    olga.submit(f"/effects/{effect}", f"/effects/{effect}", action="happened", theirs="D-77")
    html = olga.text(f"/effects/{effect}")
    seen = text_of(html)
    assert f'href="/waybill/cases/{case}"' in html
    assert "Attempts 1" in seen
    assert "D-77" in html
    assert "effect unknown system:ledger attempt 1" in seen
    assert "effect settled user:olga it happened" in seen
    assert olga.get("/effects/999999").status_code == 404


def test_a_retry_has_an_event_with_its_author_and_again_does_nothing(engine: Engine, log_in: Any) -> None:
    cases, effects, _ = in_trouble(engine, Failed("no such pipeline", permanent=True), cases=3)
    olga = log_in("op")
    for done in (2, 0):
        answer = olga.submit("/effects?state=dead", "/effects", action="retry", ids=effects[:2])
        assert answer.status_code == 303
        assert f"{done} effects retried." in follow(olga, answer.headers["location"])
    events = rows(engine, "select case_id, actor from events where kind = :kind order by id", kind=by_hand.RETRIED)
    assert events == [{"case_id": case, "actor": "user:olga"} for case in cases[:2]]
    assert [states(engine)[case][0] for case in cases] == ["pending", "pending", "quarantined"]


def test_an_unknown_effect_that_did_not_happen_is_sent(engine: Engine, log_in: Any) -> None:
    _, (effect,), _ = in_trouble(engine, Unknown("timed out"))
    olga = log_in("op")
    olga.submit("/effects", f"/effects/{effect}", action="not_happened")
    assert rows(engine, "select state from effects where id = :id", id=effect) == [{"state": "pending"}]


def test_an_effect_is_given_up_with_a_reason_only(engine: Engine, log_in: Any) -> None:
    (case,), (effect,), _ = in_trouble(engine, Failed("503", retry_after=3600))
    olga = log_in("op")
    refused = olga.submit("/effects", "/effects", action="give_up", ids=[effect], reason=" ")
    assert refused.status_code == 422
    assert "given up with a reason" in refused.text
    assert states(engine)[case][0] == "pending"
    olga.submit("/effects", "/effects", action="give_up", ids=[effect], reason="no client any more")
    assert states(engine)[case][0] == "quarantined"
    assert "no client any more" in olga.text(f"/effects/{effect}")
    assert "no client any more" not in log_in("viewer").text(f"/effects/{effect}")


def test_what_was_given_up_is_no_trouble_on_the_board(engine: Engine, log_in: Any) -> None:
    _, effects, _ = in_trouble(engine, Failed("503", retry_after=3600), cases=2)
    assert column_of(log_in("viewer").text("/board"), GLANCE, "Effects in trouble") == ["2"]
    by_hand.give_up(engine, seen(engine, effects[:1]), reason="no client any more", actor="user:olga")
    assert column_of(log_in("viewer").text("/board"), GLANCE, "Effects in trouble") == ["1"]


def test_a_number_of_the_board_leads_to_the_effects_of_its_workflow_alone(engine: Engine, log_in: Any) -> None:
    in_trouble(engine, Failed("503", retry_after=3600), cases=2)
    add(engine, 3, number=7)
    olga = log_in("op")
    board = olga.text("/board")
    assert column_of(board, GLANCE, "Effects in trouble") == ["3", "2"], "what no case carries is on the board, too"
    links = dict.fromkeys(re.findall(r'href="(/waybill/effects\?workflow=[^"]*)"', board))
    assert [follow(olga, each).count('name="ids"') for each in links] == [3, 2]
    whole = follow(olga, re.findall(r'href="(/waybill/effects/all\?[^"]*)"', follow(olga, next(iter(links))))[0])
    assert "3 effects: failed, dead or unknown, Alerts" in text_of(whole)


def test_all_of_a_group_are_handled_as_many_as_were_confirmed(engine: Engine, log_in: Any) -> None:
    add(engine, 120)
    add(engine, 5, "failed", "503")
    olga = log_in("op")
    page = olga.text("/effects/all", state="dead")
    assert "All 120 of them are meant" in page
    fields = {"state": "dead", "action": "retry", **hidden(page)}
    unsure = olga.post("/effects/all", **fields)
    assert unsure.status_code == 422
    assert "say that you are sure" in unsure.text
    add(engine, 10, number=2)
    change(engine, "update effects set state = 'unknown' where id <= 20")
    change(engine, "update effects set state = 'dead' where state = 'failed'")
    answer = olga.post("/effects/all", **fields | hidden(unsure.text), sure="true")
    said = follow(olga, answer.headers["location"])
    assert "100 effects retried. 20 left as it is: changed meanwhile" in said
    assert len(numbers(engine, "state = 'dead'")) == 15, "what came to it after the confirmation is left"
    assert len(numbers(engine, "state = 'unknown'")) == 20


def test_what_became_unknown_since_the_page_was_loaded_is_not_given_up_with_the_rest(
    engine: Engine, log_in: Any
) -> None:
    """Giving up what nobody knows of is a person's word that it did not happen, which nobody gave here."""
    _, (one, other), _ = in_trouble(engine, Failed("503", retry_after=3600), cases=2)
    olga = log_in("op")
    page = olga.text("/effects")
    change(engine, "update effects set state = 'unknown', attempts = attempts + 1 where id = :id", id=one)
    form = {"action": "give_up", "reason": "not wanted", **hidden(page)}
    answer = olga.post("/effects", ids=[one, other], **form)
    assert "1 effect given up. 1 case is set aside. 1 left as it is" in follow(olga, answer.headers["location"])
    assert numbers(engine, "state = 'unknown'") == [one]
    again = olga.post("/effects", ids=[one], **form)
    assert '<p class="said bad" role="alert">0 effects given up. 1 left' in follow(olga, again.headers["location"])


def test_what_was_sent_again_since_its_page_was_loaded_is_not_sent_once_more(engine: Engine, log_in: Any) -> None:
    _, (effect,), _ = in_trouble(engine, Unknown("timed out"))
    olga, path = log_in("op"), f"/effects/{effect}"
    page = olga.text(path)
    log_in("op", "ben").submit(path, path, action="not_happened")
    lost = "update effects set state = 'unknown', attempts = attempts + 1, error = 'no answer' where id = :id"
    change(engine, lost, id=effect)
    answer = olga.post(path, action="not_happened", **hidden(page))
    said = follow(olga, answer.headers["location"])
    assert "0 effects settled: it did not happen, and is sent. 1 left as it is" in said
    assert numbers(engine, "state = 'unknown'") == [effect]
    answer = olga.submit(path, path, action="not_happened")
    assert "1 effect settled" in follow(olga, answer.headers["location"]), "who looks again may say so"


def test_a_refused_form_is_an_alert_and_keeps_what_was_ticked_and_written(engine: Engine, log_in: Any) -> None:
    add(engine, 60)
    olga = log_in("op")
    page = "/effects?state=dead&before=31"
    ticked = {"ids": [7, 9], "before": 31, "state": "dead", "action": "give_up"}
    refused = olga.submit(page, "/effects", **ticked, reason=" ")
    assert refused.status_code == 422
    assert '<p class="said bad" role="alert">Nothing was changed: an effect is given up with a reason.' in refused.text
    assert re.findall(r'name="ids" value="(\d+)"[^>]*checked', refused.text) == ["9", "7"]
    assert '<option value="give_up" selected>' in refused.text
    change(engine, "update effects set attempts = attempts + 1 where id = 7")
    answer = olga.post("/effects", **ticked | hidden(refused.text), reason="not wanted")
    said = follow(olga, answer.headers["location"])
    assert "1 effect given up. 1 left as it is" in said, "bound to what was seen first"
    empty = olga.submit(page, "/effects", state="dead", before=31, action="give_up", reason="not wanted")
    assert "choose at least one effect" in empty.text
    assert 'name="reason" maxlength="500" value="not wanted"' in empty.text
    for path in ("/effects/1", "/effects/all"):
        again = olga.submit(path, path, action="give_up", reason=" ", sure="true")
        assert '<option value="give_up" selected>' in again.text


def test_a_form_that_does_not_say_what_was_seen_does_nothing(engine: Engine, log_in: Any) -> None:
    add(engine, 1)
    olga = log_in("op")
    for seen_by_nobody in ("", "x"):
        answer = olga.submit("/effects", "/effects/1", action="retry", seen=seen_by_nobody)
        assert answer.status_code == 403
        assert "load the page again" in answer.text
    assert numbers(engine, "state = 'dead'") == [1]


@pytest.mark.parametrize("path", ["/effects", "/effects/all", "/effects/1"])
def test_nobody_acts_without_the_role_or_without_the_form(engine: Engine, log_in: Any, path: str) -> None:
    add(engine, 1)
    fields = {"action": "retry", "ids": 1, "sure": "true"}
    assert log_in("viewer").submit("/effects", path, **fields).status_code == 403
    assert log_in("op").post(path, **fields).status_code == 403
    assert log_in(None).post(path, **fields).status_code == 401
    assert numbers(engine, "state = 'dead'") == [1]


def test_who_only_looks_is_offered_nothing_to_do(engine: Engine, log_in: Any) -> None:
    add(engine, 1)
    for path in ("/effects", "/effects/1", "/effects/all"):
        seen = log_in("viewer").text(path)
        assert 'name="action"' not in seen, path
        assert 'name="ids"' not in seen, path
        assert log_in(None).get(path).status_code == 401


@pytest.mark.parametrize(
    ("outcome", "offered"),
    [
        (Failed("503", retry_after=3600), ["retry", "give_up"]),
        (SECRETIVE, ["retry", "happened", "give_up"]),
        (Unknown("timed out"), ["happened", "not_happened", "give_up"]),
        (None, []),
    ],
)
def test_only_what_can_be_done_is_offered(
    engine: Engine, log_in: Any, outcome: Outcome | None, offered: list[str]
) -> None:
    _, (effect,), _ = in_trouble(engine, outcome)
    olga = log_in("op")
    seen = olga.text(f"/effects/{effect}")
    assert re.findall(r'<option value="(\w+)">', seen) == offered
    if "give_up" in offered:
        olga.submit("/effects", f"/effects/{effect}", action="give_up", reason="not wanted")
        assert re.findall(r'<option value="(\w+)">', olga.text(f"/effects/{effect}")) == ["happened"]


def test_the_page_is_quick_with_many_effects_in_trouble(engine: Engine, log_in: Any) -> None:
    add(engine, 20_000)
    change(engine, "analyze effects")
    viewer = log_in("viewer")
    viewer.text("/effects")
    began = datetime.now(UTC)
    viewer.text("/effects", state="dead")
    assert (datetime.now(UTC) - began).total_seconds() < 2
