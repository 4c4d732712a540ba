"""Quarantine in the ops pages: grouped by reason, corrected, released, discarded; by whom, and never twice."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.data.database import authored
from tests.support.pages import Browser, hidden
from tests.support.work import assert_balanced, change, receive, rows, states

pytestmark = pytest.mark.airflow

BODY = {"email": "jane@example", "phone": "089 1234567", "country": "Germany", "message": "Hello"}
FAULTS = [Reason("email.invalid", "“jane@example” is no address.", "email")]


def aside(
    engine: Engine, number: int = 1, *, reasons: list[Reason] | None = None, workflow: str = "lead_to_client",
    source: str = "website", body: dict[str, Any] | None = None,
) -> list[int]:  # fmt: skip
    """Put cases aside at `validate`, each with the same content."""
    ids = receive(engine, [BODY if body is None else body] * number, workflow=workflow, source=source, stage="validate")
    reasons = FAULTS if reasons is None else reasons
    with authored(engine, actor="system:test") as connection:
        result = StepResult(quarantine=dict.fromkeys(ids, reasons))
        store.apply(Work(connection, workflow, "validate", 0, ids, "run-1"), result, None)
    return ids


def corrected_before(engine: Engine, case: int, phone: str) -> None:
    """Let a case have a correction from an earlier time that it was set aside."""
    with authored(engine, actor="user:anna") as connection:
        connection.execute(
            text("insert into corrections (case_id, field, value, actor) values (:case, 'phone', :phone, 'user:anna')"),
            {"case": case, "phone": Jsonb(phone)},
        )


def landed(browser: Browser, answer: httpx.Response) -> str:
    """The page that an action leads to, with what it says was done."""
    assert answer.status_code == 303, answer.text
    address = httpx.URL(answer.headers["location"])
    return html.unescape(browser.text(address.path.removeprefix("/waybill"), **dict(address.params)))


def seen(page: str) -> str:
    """What stands for the case as a page shows it."""
    found = re.search(r'name="seen" value="([^"]+)"', page)
    assert found
    return html.unescape(found[1])


def value(page: str, field: str) -> str:
    """What an input of a page holds."""
    found = re.search(rf'name="field\.{field}"[^>]*?value="([^"]*)"', page)
    assert found, field
    return html.unescape(found[1])


def kinds(engine: Engine, case_id: int) -> list[tuple[str, str]]:
    found = rows(engine, "select kind, actor from events where case_id = :id order by id", id=case_id)
    return [(row["kind"], row["actor"]) for row in found]


# --- what is shown ---


def test_an_address_in_a_key_is_for_those_who_act(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    change(engine, "update cases set key = 'website/id:jane@example.org' where id = :id", id=case)
    assert "website/id:jane@example.org" in log_in("op").text(f"/quarantine/case/{case}")
    page = log_in("viewer").text(f"/quarantine/case/{case}")
    assert "jane" not in page
    assert "[e-mail]" in page


def test_what_is_set_aside_is_grouped_by_workflow_and_reason_with_what_to_do(engine: Engine, log_in: Any) -> None:
    aside(engine, 2)
    aside(engine, 1, reasons=[*FAULTS, Reason("country.unknown", "“Gx” is no country.", "country")])
    aside(engine, 1, workflow="deal_to_client", source="crm", reasons=[Reason("deal.unknown", "?")])
    page = log_in("viewer").text("/quarantine")
    assert re.search(r'quarantine/lead_to_client/email.invalid">email.invalid</a></th><td class="number">3<', page)
    assert re.search(r'quarantine/lead_to_client/country.unknown">country.unknown</a></th><td class="number">1<', page)
    assert re.search(r'quarantine/deal_to_client/deal.unknown">deal.unknown</a></th><td class="number">1<', page)
    assert "The e-mail address is missing or cannot exist" in page
    assert "Correct the address from the raw value" in page
    assert "Revenue operations" in page
    assert "jane" not in page


def test_the_cases_of_a_reason_are_listed_page_by_page(
    engine: Engine, log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("include.monitoring.views.quarantine.PAGE", 2)
    ids = aside(engine, 5)
    seen_ids: list[int] = []
    after = 0
    while True:
        page = log_in("op").text("/quarantine/lead_to_client/email.invalid", after=after)
        seen_ids += [int(each) for each in re.findall(r'name="case" value="(\d+)"', page)]
        following = re.search(r'href="\?after=(\d+)"', page)
        if not following:
            break
        after = int(following[1])
    assert seen_ids == ids


def test_a_case_is_shown_with_its_reasons_and_the_present_values_of_its_fields(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    page = log_in("op").text(f"/quarantine/case/{case}")
    assert "“jane@example” is no address." in page
    assert "Correct the address from the raw value" in page
    assert value(page, "email") == "jane@example"
    assert value(page, "country") == "Germany"
    assert page.index('name="field.email"') < page.index("All other fields") < page.index('name="field.country"')


def test_what_a_contract_lets_a_person_write_is_offered_although_nothing_like_it_was_received(
    engine: Engine, log_in: Any
) -> None:
    reasons = [Reason("match.price", "Line 1 is off.", "lines")]
    (case,) = aside(engine, reasons=reasons, workflow="supplier_invoice", source="invoices", body={})
    page = log_in("op").text(f"/quarantine/case/{case}")
    assert value(page, "accept_difference") == ""
    answer = log_in("op").submit(
        f"/quarantine/case/{case}", f"/quarantine/case/{case}/release",
        **{"seen": seen(page), "field.accept_difference": "freight was agreed"},
    )  # fmt: skip
    assert answer.status_code == 303
    assert rows(engine, "select field, value from corrections") == [
        {"field": "accept_difference", "value": "freight was agreed"}
    ]


def test_who_may_only_look_sees_codes_and_no_personal_data_and_no_buttons(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    corrected_before(engine, case, "089 777")
    for path in ("/quarantine", "/quarantine/lead_to_client/email.invalid", f"/quarantine/case/{case}"):
        page = log_in("viewer").text(path)
        assert "email.invalid" in page
        assert not re.search(r"jane|089|<button|<input", page), path
    assert log_in("op").text(f"/quarantine/case/{case}").count("089 777") == 2
    assert log_in(None).get(f"/quarantine/case/{case}").status_code == 401
    assert log_in("op").get("/quarantine/case/999").status_code == 404


# --- one case ---


def test_a_corrected_case_is_released_and_the_timeline_says_what_changed(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    fields = {"field.email": "jane@example.com", "field.phone": "089 1234567", "field.message": "Hello"}
    answer = olga.submit(path, f"{path}/release", seen=seen(olga.text(path)), **fields)
    assert answer.status_code == 303
    assert states(engine)[case] == ("pending", "capture")
    assert rows(engine, "select field, value, actor from corrections") == [
        {"field": "email", "value": "jane@example.com", "actor": "user:olga"}
    ]
    assert kinds(engine, case)[-2:] == [("released", "user:olga"), ("corrected", "user:olga")]
    page = landed(olga, answer)
    assert f"Case {case} is corrected (email) and released." in page
    row = r"user:olga</td><th scope=\"row\">email</th><td class=\"value\">jane@example</td>"
    assert re.search(row + r"<td class=\"value\">jane@example.com</td>", page)
    assert_balanced(engine)


def test_a_field_is_cleared_and_corrected_again(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    olga.submit(path, f"{path}/release", seen=seen(olga.text(path)), **{"field.phone": ""})
    assert rows(engine, "select field, value from corrections") == [{"field": "phone", "value": None}]
    change(
        engine, "update cases set state = 'quarantined', reasons = :r", r='[{"code": "email.missing", "message": "m"}]'
    )
    page = olga.text(path)
    assert value(page, "phone") == ""
    olga.submit(path, f"{path}/release", seen=seen(page), **{"field.phone": "+49 89 1234567"})
    found = rows(engine, "select value from corrections order by id")
    assert [row["value"] for row in found] == [None, "+49 89 1234567"]


def test_a_value_that_cannot_be_read_is_refused_with_all_that_was_typed_kept(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    fields = {"field.email": "jane(at)example.com", "field.company": "Nordwind", "field.invented": "x"}
    answer = olga.submit(path, f"{path}/release", seen=seen(olga.text(path)), **fields)
    assert answer.status_code == 422
    assert "This is not an e-mail address that can exist" in answer.text
    assert "Invented: The case has no such field." in answer.text
    assert (value(answer.text, "email"), value(answer.text, "company")) == ("jane(at)example.com", "Nordwind")
    assert states(engine)[case] == ("quarantined", "validate")
    assert rows(engine, "select * from corrections") == []


def test_lines_are_corrected_as_a_list(engine: Engine, log_in: Any) -> None:
    reasons = [Reason("line.quantity", "Line 1 has no quantity.", "lines")]
    body = {"order": "PO-1", "lines": [{"order_line": 1, "quantity": "five"}]}
    (case,) = aside(engine, reasons=reasons, workflow="goods_receipt", source="warehouse", body=body)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    page = olga.text(path)
    assert "five" in page
    wrong = olga.submit(path, f"{path}/release", seen=seen(page), **{"field.lines": '[{"quantity": "five"}]'})
    assert "Line 1, quantity" in html.unescape(wrong.text)
    assert wrong.status_code == 422
    right = {"field.lines": '[{"order_line": 1,\r\n "quantity": "5"}]'}
    assert olga.submit(path, f"{path}/release", seen=seen(page), **right).status_code == 303
    assert rows(engine, "select value from corrections") == [{"value": [{"order_line": 1, "quantity": "5"}]}]


def test_a_case_is_discarded_with_a_reason_and_not_without(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    page = olga.text(path)
    assert olga.submit(path, f"{path}/discard", seen=seen(page), reason="  ").status_code == 422
    assert olga.submit(path, f"{path}/discard", seen=seen(page), reason="x" * 201).status_code == 422
    assert states(engine)[case][0] == "quarantined"
    assert olga.submit(path, f"{path}/discard", seen=seen(page), reason="a joke").status_code == 303
    assert rows(engine, "select state, outcome from cases") == [{"state": "rejected", "outcome": "a joke"}]
    assert kinds(engine, case)[-1] == ("rejected", "user:olga")
    assert_balanced(engine)


def test_a_form_that_is_sent_twice_does_nothing_the_second_time(engine: Engine, log_in: Any) -> None:
    one, other = aside(engine, 2)
    olga = log_in("op")
    for case, action, fields in (
        (one, "release", {"field.email": "jane@example.com"}),
        (other, "discard", {"reason": "a joke"}),
    ):
        page = f"/quarantine/case/{case}"
        fields["seen"] = seen(olga.text(page))
        token = re.search(r'name="token" value="([^"]+)"', olga.text(page))
        assert token
        assert olga.post(f"{page}/{action}", token=token[1], **fields).status_code == 303
        before = rows(engine, "select * from events order by id")
        answer = olga.post(f"{page}/{action}", token=token[1], **fields)
        assert answer.status_code == 303
        said = landed(olga, answer)
        assert "Nothing was changed" in said
        assert rows(engine, "select * from events order by id") == before
    assert rows(engine, "select count(*) as n from corrections") == [{"n": 1}]


def test_a_case_that_somebody_else_released_meanwhile_is_left_alone(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), f"/quarantine/case/{case}"
    page, token = olga.text(path), re.search(r'name="token" value="([^"]+)"', olga.text(path))
    assert token
    store.release(engine, [case], first_step="capture", actor="user:anna")
    answer = olga.post(f"{path}/discard", token=token[1], seen=seen(page), reason="a joke")
    said = landed(olga, answer)
    assert f"case {case} is not set aside any more, but pending (released by user:anna" in said
    assert 'class="said bad" role="alert"' in said
    change(engine, "update cases set state = 'waiting'")
    olga.post(f"{path}/discard", token=token[1], seen=seen(page), reason="a joke")
    assert states(engine)[case][0] == "waiting", "what waits for somebody is not discarded here"
    change(engine, "update cases set state = 'quarantined', reasons = :r", r='[{"code": "a.b", "message": "m"}]')
    answer = olga.post(f"{path}/release", token=token[1], seen=seen(page))
    assert "set aside anew" in landed(olga, answer)
    assert states(engine)[case][0] == "quarantined"


# --- many cases ---


def test_the_ticked_cases_are_released_and_those_that_left_meanwhile_are_told(engine: Engine, log_in: Any) -> None:
    a, b, c = aside(engine, 3)
    (elsewhere,) = aside(engine, workflow="deal_to_client", source="crm", reasons=[Reason("deal.unknown", "?")])
    store.release(engine, [b], first_step="capture", actor="user:anna")
    olga, path = log_in("op"), "/quarantine/lead_to_client/email.invalid"
    answer = olga.submit(path, path, case=[a, b, elsewhere], action="release")
    said = landed(olga, answer)
    assert "Released: 1. Left alone, because they changed since you looked: 2." in said
    assert {case: state for case, (state, _) in states(engine).items()} == {
        a: "pending", b: "pending", c: "quarantined", elsewhere: "quarantined",
    }  # fmt: skip
    again = olga.submit(path, path, case=[a], action="release")
    assert '<p class="said bad" role="alert">Released: 0.' in landed(olga, again)
    assert kinds(engine, a).count(("released", "user:olga")) == 1


def returned(engine: Engine, case: int) -> None:
    """Have a colleague correct and release a case, which comes back for the same reason."""
    store.release(engine, [case], first_step="capture", actor="user:anna", corrections={"email": "jane@example.c"})
    change(
        engine,
        "update cases set state = 'quarantined', stage = 'validate', reasons = :r, updated_at = now() where id = :id",
        r='[{"code": "email.invalid", "message": "no address", "field": "email"}]', id=case,
    )  # fmt: skip


def test_a_ticked_case_that_somebody_corrected_and_that_came_back_is_left_alone(engine: Engine, log_in: Any) -> None:
    one, other = aside(engine, 2)
    olga, path = log_in("op"), "/quarantine/lead_to_client/email.invalid"
    form = {"case": [one, other], "action": "discard", **hidden(olga.text(path))}
    returned(engine, one)
    refused = olga.post(path, reason=" ", **form)
    assert refused.status_code == 422
    assert refused.text.count(" checked>") == 4, "both cases, which are meant, and what is done with them"
    answer = olga.post(path, reason="a robot", **form | hidden(refused.text))
    assert "Discarded: 1. Left alone, because they changed since you looked: 1." in landed(olga, answer)
    assert states(engine)[one][0] == "quarantined"
    assert states(engine)[other][0] == "rejected"


def test_all_of_a_reason_are_those_that_were_seen_however_many_there_are_now(engine: Engine, log_in: Any) -> None:
    gone, stays = aside(engine, 2)
    olga, path = log_in("op"), "/quarantine/lead_to_client/email.invalid"
    form = {"which": "all", "counted": "2", "action": "discard", "reason": "a robot"}
    page = olga.text(path)
    store.release(engine, [gone], first_step="capture", actor="user:anna")
    (came,) = aside(engine)
    said = landed(olga, olga.post(path, **form, **hidden(page)))
    assert "as many cases as you saw have the reason email.invalid, but they are others" in said
    assert 'class="said bad" role="alert"' in said
    page = olga.text(path)
    returned(engine, stays)
    assert "or not as they were" in landed(olga, olga.post(path, **form, **hidden(page)))
    assert [states(engine)[case][0] for case in (stays, came)] == ["quarantined", "quarantined"]
    assert "Discarded: 2." in landed(olga, olga.submit(path, path, **form))


def test_all_of_a_reason_are_discarded_only_with_their_number(engine: Engine, log_in: Any) -> None:
    aside(engine, 3)
    (other,) = aside(engine, reasons=[Reason("phone.invalid", "?", "phone")])
    olga, path = log_in("op"), "/quarantine/lead_to_client/email.invalid"
    form = {"which": "all", "action": "discard", "reason": "a robot"}
    for counted in ("", "2", "many"):
        answer = olga.submit(path, path, counted=counted, **form)
        assert "3 cases have the reason email.invalid now" in landed(olga, answer)
    assert {state for state, _ in states(engine).values()} == {"quarantined"}
    answer = olga.submit(path, path, counted="3", **form)
    assert "Discarded: 3." in landed(olga, answer)
    assert [case for case, (state, _) in states(engine).items() if state == "quarantined"] == [other]
    assert_balanced(engine)


def test_many_cases_get_the_same_value_of_a_field_that_they_can_share(engine: Engine, log_in: Any) -> None:
    reasons = [Reason("country.unknown", "“Gx” is no country.", "country")]
    a, b = aside(engine, 2, reasons=reasons)
    olga, path = log_in("op"), "/quarantine/lead_to_client/country.unknown"
    form = {"case": [a, b], "action": "release"}
    for field, typed, message in (
        ("country", "Gx", "This is not a country"),
        ("country", " ", "cleared case by case"),
        ("email", "jane@example.com", "correct it case by case"),
    ):
        answer = olga.submit(path, path, field=field, value=typed, **form)
        assert answer.status_code == 422
        assert message in answer.text
    olga.submit(path, path, field="country", value="AT", **form)
    assert rows(engine, "select case_id, field, value, actor from corrections order by case_id") == [
        {"case_id": case, "field": "country", "value": "AT", "actor": "user:olga"} for case in (a, b)
    ]


def test_many_cases_get_no_field_that_their_reason_is_not_about(engine: Engine, log_in: Any) -> None:
    """Accepting a difference of prices is for who looks at prices, and not at suppliers."""
    reasons = [Reason("supplier.unknown", "Nobody knows it.", "supplier_name")]
    (case,) = aside(engine, reasons=reasons, workflow="supplier_invoice", source="invoices", body={})
    olga, path = log_in("op"), "/quarantine/supplier_invoice/supplier.unknown"
    for which in ({"case": [case]}, {"which": "all", "counted": "1"}):
        answer = olga.submit(path, path, action="release", field="accept_difference", value="freight", **which)
        assert answer.status_code == 422
        assert "supplier.unknown of these cases is not about this field" in answer.text
    assert rows(engine, "select from corrections") == []
    assert states(engine)[case][0] == "quarantined"


def test_who_goes_through_the_cases_of_a_reason_is_led_to_the_next(engine: Engine, log_in: Any) -> None:
    first, second, third = aside(engine, 3)
    olga = log_in("op")
    listed = olga.text("/quarantine/lead_to_client/email.invalid")
    assert f'href="/waybill/quarantine/case/{second}?of=email.invalid"' in listed
    for case, action, following in ((second, "discard", third), (third, "release", first), (first, "discard", None)):
        path = f"/quarantine/case/{case}"
        fields = {"seen": seen(olga.text(path)), "of": "email.invalid", "reason": "a joke"}
        page = landed(olga, olga.submit(f"{path}?of=email.invalid", f"{path}/{action}", **fields))
        assert 'href="/waybill/quarantine/lead_to_client/email.invalid">email.invalid</a>' in page, "the way back"
        if following:
            link = f'href="/waybill/quarantine/case/{following}?of=email.invalid" rel="next">'
            assert f"{link}Next of this reason: case {following}" in page
    assert "No other case is set aside for this reason." in page


def test_a_form_without_cases_without_action_or_without_why_changes_nothing(engine: Engine, log_in: Any) -> None:
    (case,) = aside(engine)
    olga, path = log_in("op"), "/quarantine/lead_to_client/email.invalid"
    assert olga.submit(path, path, action="release").status_code == 422
    assert olga.submit(path, path, case=[case]).status_code == 422
    refused = olga.submit(path, path, case=[case], action="discard", reason=" ")
    assert refused.status_code == 422
    assert f'value="{case}" aria-label="Case {case}" checked' in refused.text
    assert states(engine)[case][0] == "quarantined"


# --- as it is typed ---


@pytest.mark.parametrize(
    ("field", "typed", "reads_as"),
    [
        ("email", "Jane <JANE@example.com>", "jane@example.com"),
        ("phone", "0911 1234567", "+499111234567"),
        ("country", "Deutschland", "DE"),
        ("consent", "ja", "yes"),
        ("company_size", "51-200", "51"),
        ("needed_by", "2026-01-31", "Saturday, 31 January 2026"),
        ("gross", "1234.50", "1,234.50"),
        ("currency", "eur", "EUR"),
        ("email", "", ""),
        ("job_title", "anything", ""),
    ],
)
def test_what_can_be_read_is_told_as_it_is_typed(
    engine: Engine, log_in: Any, field: str, typed: str, reads_as: str
) -> None:
    (case,) = aside(engine)
    form = {"field": field, "value": typed, "country": "DE"}
    answer = log_in("op").submit(f"/quarantine/case/{case}", "/quarantine/check", **form).json()
    assert (answer["fits"], answer["reads_as"]) == (True, reads_as)


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("email", "jane@example"),
        ("phone", "12"),
        ("country", "Gx"),
        ("needed_by", "31.01.2026"),
        ("gross", "1,234"),
        ("quantity", "-1"),
        ("requester", "nobody.here"),
        ("lines", "{}"),
        ("job_title", "x" * 100_001),
    ],
)
def test_what_cannot_be_read_is_told_as_it_is_typed(engine: Engine, log_in: Any, field: str, typed: str) -> None:
    (case,) = aside(engine)
    form = {"field": field, "value": typed}
    answer = log_in("op").submit(f"/quarantine/case/{case}", "/quarantine/check", **form).json()
    assert answer["fits"] is False
    assert answer["message"]


# --- possible duplicates ---


@pytest.fixture
def pair(engine: Engine) -> int:
    """Two contacts that may be one: the older without a phone."""
    (case,) = receive(engine)
    with engine.begin() as connection:
        return int(
            connection.exec_driver_sql(
                """
                with c as (
                    insert into directory_contacts (email, first_name, full_name, phone, country, created_at)
                    values ('ada@example.org', 'Ada', 'Ada Byron', null, 'GB', now() - interval '1 day'),
                           ('ada@byron.org', 'Ada', 'Ada Byron', '+442071234567', 'GB', now()) returning id
                )
                insert into possible_duplicates (contact_a, contact_b, case_id, score, evidence)
                select min(id::text)::uuid, max(id::text)::uuid, %s, 0.8, '{"name": "equal"}' from c returning id""",
                (case,),
            ).scalar_one()
        )


def pair_state(engine: Engine) -> tuple[str, str | None]:
    (row,) = rows(engine, "select state, decided_by from possible_duplicates")
    return row["state"], row["decided_by"]


def test_a_pair_is_shown_side_by_side_with_what_differs(engine: Engine, log_in: Any, pair: int) -> None:
    assert "1 wait for a decision" in log_in("viewer").text("/quarantine")
    assert "Ada Byron" in log_in("op").text("/quarantine/duplicates")
    page = log_in("op").text(f"/quarantine/duplicates/{pair}")
    cells = r"<td>ada@example.org</td><td>ada@byron.org</td><td><strong>≠ differs</strong></td>"
    assert re.search(rf"email</th>{cells}", page), "the older stands first"
    assert re.search(r"first name</th><td>Ada</td><td>Ada</td><td>same</td>", page)
    assert "only one has it" in page
    for path in ("/quarantine/duplicates", f"/quarantine/duplicates/{pair}"):
        seen_by_viewer = log_in("viewer").text(path)
        assert not re.search(r"[Aa]da|Byron|4420|<button", seen_by_viewer)
    assert log_in("op").get("/quarantine/duplicates/99").status_code == 404


def test_a_merge_and_keeping_apart_are_decided_undone_and_harmless_twice(
    engine: Engine, log_in: Any, pair: int
) -> None:
    olga, path = log_in("op"), f"/quarantine/duplicates/{pair}"
    for decision, state, undo in (
        ("merge", "merged", "undo merge"),
        ("keep apart", "kept apart", "undo keep apart"),
    ):
        for said in ("Pair 1 is", "Nothing was changed"):
            answer = olga.submit(path, path, decision=decision)
            assert said in landed(olga, answer)
        assert pair_state(engine) == (state, "user:olga")
        for said in ("Pair 1 is", "Nothing was changed"):
            answer = olga.submit(path, path, decision=undo)
            assert said in landed(olga, answer)
        assert pair_state(engine) == ("open", None)
    found = rows(engine, "select kind, actor from events where kind !~ 'received|effect' order by id")
    assert [row["kind"] for row in found] == ["merged", "merge undone", "kept apart", "keep apart undone"]
    assert {row["actor"] for row in found} == {"user:olga"}


def test_what_somebody_else_decided_otherwise_stays(engine: Engine, log_in: Any, pair: int) -> None:
    olga, path = log_in("op"), f"/quarantine/duplicates/{pair}"
    log_in("op", "anna").submit(path, path, decision="keep apart")
    answer = olga.submit(path, path, decision="merge")
    said = landed(olga, answer)
    assert '<p class="said bad" role="alert">Nothing was changed: pair 1 was kept apart by user:anna' in said
    assert olga.submit(path, path, decision="other").status_code == 422
    assert pair_state(engine) == ("kept apart", "user:anna")


def test_the_page_of_a_pair_says_what_the_crm_is_told_and_what_cannot_be_undone(
    engine: Engine, log_in: Any, pair: int
) -> None:
    olga, path = log_in("op"), f"/quarantine/duplicates/{pair}"
    assert "the CRM merges its two contacts in the same way 60 minutes later, and cannot undo that" in olga.text(path)
    assert "The CRM is told to merge its two contacts after" in landed(olga, olga.submit(path, path, decision="merge"))
    told = "update effects set state = 'sent', sent_at = now(), answer = '{\"merged\": true}'"
    change(engine, told)
    shown = olga.text(path)
    assert "The CRM has merged its two contacts" in shown
    assert "Undo the merge" not in shown
    refused = landed(olga, olga.submit(path, path, decision="undo merge"))
    assert "Nothing was changed: the CRM has merged the two, and cannot part them" in refused
    assert pair_state(engine) == ("merged", "user:olga")
    said = landed(olga, olga.submit(path, path, decision="undo merge, parted in the CRM"))
    assert "two people again" in said
    assert pair_state(engine) == ("open", None)


# --- who may ---


def test_nobody_acts_without_the_role_or_without_the_token(engine: Engine, log_in: Any, pair: int) -> None:
    (case,) = aside(engine)
    reason = "/quarantine/lead_to_client/email.invalid"
    actions: list[tuple[str, dict[str, Any]]] = [
        (f"/quarantine/case/{case}/release", {"seen": seen(log_in("op").text(f"/quarantine/case/{case}"))}),
        (f"/quarantine/case/{case}/discard", {"seen": "x", "reason": "a joke"}),
        (reason, {"case": [case], "action": "release"}),
        (reason, {"which": "all", "counted": "1", "action": "discard", "reason": "a joke"}),
        (f"/quarantine/duplicates/{pair}", {"decision": "merge"}),
        ("/quarantine/check", {"field": "email", "value": "jane@example.com"}),
    ]
    token = re.search(r'name="token" value="([^"]+)"', log_in("op").text(f"/quarantine/case/{case}"))
    assert token
    before = rows(engine, "select * from events order by id")
    for path, fields in actions:
        assert log_in("op").post(path, **fields).status_code == 403, path
        assert log_in("viewer").post(path, token=token[1], **fields).status_code == 403, path
        assert log_in("op", "anna").post(path, token=token[1], **fields).status_code == 403, "not her token"
        assert log_in(None).post(path, token=token[1], **fields).status_code == 401, path
    assert rows(engine, "select * from events order by id") == before
    assert pair_state(engine)[0] == "open"
