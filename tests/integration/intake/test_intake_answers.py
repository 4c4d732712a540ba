"""Every answer that a sender can get, over real HTTP and a real database."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from sqlalchemy import text

from include.data.database import authored
from include.intake.sources import Source
from tests.integration.intake.conftest import SECRET, Intake

LEAD = b'{"email": "ada@example.com", "name": "Ada"}'


def problem(response: httpx.Response, status: int, code: str) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = response.json()
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:waybill:problem:{code}"
    assert document["title"]
    assert document["detail"]
    return document


def change(intake: Intake, name: str, **changes: object) -> Source:
    intake.known[name] = intake.known[name].model_copy(update=changes)
    return intake.known[name]


def test_a_new_delivery_is_a_case_by_the_time_it_is_acknowledged(intake: Intake) -> None:
    response = intake.post("website", LEAD, message_id="msg_1")
    assert response.status_code == 202
    receipt = response.json()["receipt"]
    assert response.json() == {"receipt": receipt, "status": "accepted"}
    assert response.headers["location"] == f"/intake/receipts/{receipt}"
    assert intake.rows("select id, source, workflow, key, body, content_type from deliveries") == [
        (UUID(receipt), "website", "lead_to_client", "id:msg_1", LEAD, "application/json")
    ]
    assert intake.rows("select workflow, key, state, stage, owner, delivery_id from cases") == [
        ("lead_to_client", "website/id:msg_1", "pending", "capture", "sales", UUID(receipt))
    ]
    assert intake.rows("select kind, actor from events") == [("received", "system:intake")]


def test_the_same_delivery_twice_is_one_case(intake: Intake) -> None:
    first, second = (intake.post("website", LEAD, message_id="msg_1") for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["receipt"] == second.json()["receipt"]
    assert second.json()["status"] == "repeated"
    assert (intake.count(), intake.count("cases")) == (1, 1)


@pytest.mark.parametrize("message_id", ["msg_1", None])
def test_the_same_delivery_five_times_at_once_is_one_case(intake: Intake, message_id: str | None) -> None:
    source = "website" if message_id else "typeform"
    for turn in range(5):
        body = json.dumps({"email": f"ada{turn}@example.com"}).encode()
        with ThreadPoolExecutor(5) as pool:
            sent = [
                pool.submit(intake.post, source, body, message_id=f"{message_id}_{turn}" if message_id else None)
                for _ in range(5)
            ]
        responses = [each.result() for each in sent]
        assert sorted(response.status_code for response in responses) == [200, 200, 200, 200, 202]
        assert len({response.json()["receipt"] for response in responses}) == 1
        assert (intake.count(), intake.count("cases"), intake.count("events")) == (turn + 1,) * 3


def test_the_same_id_with_another_body_is_a_conflict_and_the_first_stays(intake: Intake) -> None:
    first = intake.post("website", LEAD, message_id="msg_1")
    document = problem(intake.post("website", b'{"email":"b@example.com"}', message_id="msg_1"), 409, "id.conflict")
    assert document["receipt"] == first.json()["receipt"]
    assert intake.rows("select body from deliveries") == [(LEAD,)]
    assert intake.refusals("website", "id.conflict") == 1


def test_without_an_id_header_the_senders_own_id_in_the_body_counts(intake: Intake) -> None:
    body = b'{"event_id": "LtWX", "form_response": {}}'
    assert [intake.post("typeform", body).status_code for _ in range(2)] == [202, 200]
    problem(intake.post("typeform", b'{"event_id": "LtWX", "form_response": {"a": 1}}'), 409, "id.conflict")
    assert intake.rows("select key from deliveries") == [("id:LtWX",)]


def test_without_any_id_an_equal_body_is_the_same_delivery_within_the_window_only(intake: Intake) -> None:
    change(intake, "typeform", dedupe_seconds=1)
    first, second = intake.post("typeform", LEAD), intake.post("typeform", LEAD)
    assert (first.status_code, second.status_code) == (202, 200)
    time.sleep(1.1)
    third, fourth = intake.post("typeform", LEAD), intake.post("typeform", LEAD)
    assert (third.status_code, fourth.status_code) == (202, 200)
    assert first.json()["receipt"] == second.json()["receipt"] != third.json()["receipt"] == fourth.json()["receipt"]
    assert intake.count("cases") == 2
    assert intake.post("typeform", LEAD.replace(b" ", b"")).status_code == 202


def test_two_sources_may_use_the_same_id(intake: Intake) -> None:
    assert intake.post("website", LEAD, message_id="1").status_code == 202
    assert intake.post("partner", b'{"lead":{"email":"a@example.com"}}', message_id="1").status_code == 202


@pytest.mark.parametrize("source", ["website", "typeform", "hubspot", "partner", "crm", "import"])
def test_each_source_takes_its_own_signature_and_no_other(intake: Intake, source: str) -> None:
    body = b'[{"eventId":1}]' if source == "hubspot" else b'{"id": 7}'
    assert intake.post(source, body, message_id="m1").status_code == 202
    others = {
        "x-hub-signature-256": "sha256=" + "0" * 64,
        "typeform-signature": "sha256=AAAA",
        "x-hubspot-signature-v3": "AAAA",
        "webhook-signature": "v1,AAAA",
    }
    stored = intake.count()
    problem(intake.post(source, body + b" ", message_id="m2", headers={**others}), 401, "signature.wrong")
    nothing = dict.fromkeys(others)
    refused = intake.post(source, body + b" ", message_id="m3", headers={**nothing})
    problem(refused, 401, "signature.missing")
    assert refused.headers["www-authenticate"].startswith("Signature ")
    assert intake.count() == stored


def test_refused_signatures_are_counted_and_the_body_is_not_stored(intake: Intake) -> None:
    for _ in range(3):
        problem(intake.post("website", LEAD, headers={"webhook-signature": "v1,AAAA"}), 401, "signature.wrong")
    stale = str(int(time.time()) - 3600)
    problem(intake.post("website", LEAD, headers={"webhook-timestamp": stale}), 401, "timestamp.stale")
    assert intake.refusals("website", "timestamp.stale") == 1
    assert intake.refusals("website", "signature.wrong") == 3
    assert intake.count() == 0


def test_a_secret_can_be_changed_without_losing_a_delivery(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_SECRET_WEBSITE", f"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD {SECRET}")
    assert intake.post("website", LEAD).status_code == 202
    monkeypatch.setenv("WAYBILL_SECRET_WEBSITE", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
    problem(intake.post("website", LEAD), 401, "signature.wrong")


@pytest.mark.parametrize("value", [None, "", "whsec_not base64!"])
def test_a_source_whose_secret_is_missing_or_unusable_accepts_nothing_and_asks_to_come_back(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("WAYBILL_SECRET_WEBSITE")
    else:
        monkeypatch.setenv("WAYBILL_SECRET_WEBSITE", value)
    response = intake.post("website", LEAD)
    assert response.status_code in (401, 503)
    assert intake.count() == 0
    if not value:
        problem(response, 503, "source.unready")
        assert int(response.headers["retry-after"]) > 0
        assert "website" in httpx.get(f"{intake.url}/health", trust_env=False).json()["unready"]


def test_an_unsigned_source_is_refused_the_moment_the_environment_is_not_development(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert intake.post("try-it", LEAD).status_code == 202
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "production")
    problem(intake.post("try-it", LEAD), 503, "source.unready")
    assert intake.count() == 1


def test_a_source_whose_workflow_has_no_contract_is_not_ready(intake: Intake) -> None:
    change(intake, "website", workflow="undeclared")
    problem(intake.post("website", LEAD), 503, "source.unready")


def test_what_is_not_there_is_a_problem_document_too(intake: Intake) -> None:
    problem(httpx.post(f"{intake.url}/webiste", json={}, trust_env=False), 404, "source.unknown")
    problem(httpx.post(f"{intake.url}/website/x/y", json={}, trust_env=False), 404, "path.unknown")
    problem(httpx.get(f"{intake.url}/receipts/none", trust_env=False), 404, "receipt.unknown")
    problem(httpx.get(f"{intake.url}/receipts/{uuid4()}", trust_env=False), 404, "receipt.unknown")
    response = httpx.get(f"{intake.url}/website", trust_env=False)
    problem(response, 405, "method")
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"content-type": "text/plain"}, "content.type"),
        ({"content-type": None}, "content.type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "content.type"),
        ({"content-type": "application/x-ndjson"}, "content.type"),
        ({"content-type": "application/json; charset=iso-8859-1"}, "content.charset"),
        ({"content-encoding": "gzip"}, "content.encoding"),
    ],
)
def test_other_kinds_of_content_are_refused(intake: Intake, headers: dict[str, str | None], code: str) -> None:
    problem(intake.post("website", LEAD, headers=headers), 415, code)
    assert intake.count() == 0


@pytest.mark.parametrize(
    "kind", ["application/json;charset=UTF-8", 'Application/JSON; charset="utf-8"', "application/cloudevents+json"]
)
def test_other_ways_to_say_json_are_taken(intake: Intake, kind: str) -> None:
    assert intake.post("website", LEAD, headers={"content-type": kind}).status_code == 202


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "body.not_json"),
        (b"email=a", "body.not_json"),
        (b'{"a":"\x00"}', "body.not_json"),
        (b'{"a":"\xff\xfe"}', "body.not_json"),
        (b'{"a":NaN}', "body.not_json"),
        (b"[1]", "body.not_an_object"),
        (b"null", "body.not_an_object"),
        (b'{"a":' + b"[" * 500_000, "body.too_deep"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "body.too_deep"),
    ],
)
def test_what_is_not_a_json_object_is_refused(intake: Intake, body: bytes, code: str) -> None:
    problem(intake.post("website", body), 400, code)
    assert intake.count() == 0
    assert intake.refusals("website", code) == 1


@pytest.mark.parametrize(
    "payload",
    [
        {"email": "ada@example.com", "name": "Ærøskøbing 🚚👩‍🚀", "message": "\u202eمرحبا\u202c שלום"},
        {f"field {n} ä": None if n % 3 else str(n) for n in range(200)},
        {"email": None, "phone": None},
        {"email": 5, "company_size": "0012", "score": "1e3", "consent": "no"},
        {"name": "a\0b", "email": "a@example.com"},
        {"email": {"not": ["a", "text"]}},
        {},
        {"a": {"b": [[[[[1]]]]]}},
        {"message": "x" * 900_000},
    ],
)
def test_a_senders_field_mistake_does_not_lose_a_lead(intake: Intake, payload: dict[str, object]) -> None:
    body = json.dumps(payload, ensure_ascii=False).encode()
    assert intake.post("website", body).status_code == 202
    assert intake.rows("select body from deliveries") == [(body,)]


@pytest.mark.parametrize("name", ["ünï-🚚", "a b", "x" * 200])
def test_unusual_ids_are_kept_as_they_are(intake: Intake, name: str) -> None:
    body = json.dumps({"event_id": name}).encode()
    assert [intake.post("typeform", body).status_code for _ in range(2)] == [202, 200]
    assert intake.rows("select key from deliveries") == [(f"id:{name}",)]


def test_an_id_that_cannot_be_kept_is_refused_in_a_header_and_passed_over_in_a_body(intake: Intake) -> None:
    problem(intake.post("website", LEAD, message_id="x" * 201), 400, "id.unusable")
    assert intake.post("typeform", json.dumps({"event_id": "x" * 201}).encode()).status_code == 202
    assert intake.rows("select left(key, 7) from deliveries") == [("sha256:",)]


def test_ten_megabytes_are_refused_without_reading_them(intake: Intake) -> None:
    body = json.dumps({"message": "x" * 10_000_000}).encode()
    problem(intake.post("website", body), 413, "body.too_large")
    assert intake.count() == 0


def test_ten_megabytes_are_taken_where_the_source_allows_them(intake: Intake) -> None:
    change(intake, "website", max_bytes=16 * 2**20)
    body = json.dumps({"message": "ü" * 5_000_000}, ensure_ascii=False).encode()
    assert intake.post("website", body).status_code == 202
    assert intake.rows("select length(body) from deliveries") == [(len(body),)]


def test_of_a_body_without_a_length_no_more_than_the_limit_is_read(intake: Intake) -> None:
    """The body is endless: only a server that stops reading can answer at all."""
    host, port = intake.url.removeprefix("http://").split("/")[0].split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /intake/website HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        sent, answer = 0, b""
        connection.settimeout(0.05)
        while not answer and sent < 64 * 2**20:
            try:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
            except (ConnectionError, TimeoutError):
                pass
            try:
                answer = connection.recv(65536)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert sent < 8 * 2**20


def test_a_limit_is_exact(intake: Intake) -> None:
    change(intake, "website", max_bytes=len(LEAD))
    assert intake.post("website", LEAD).status_code == 202
    problem(intake.post("website", LEAD + b" "), 413, "body.too_large")


def test_an_event_of_hubspot_is_a_delivery_of_its_own_and_its_next_attempt_is_the_same(intake: Intake) -> None:
    def events(attempt: int) -> bytes:
        return json.dumps(
            [
                {
                    "eventId": 5,
                    "subscriptionId": 1,
                    "objectId": n,
                    "occurredAt": 17,
                    "attemptNumber": attempt,
                    "subscriptionType": "deal.propertyChange",
                    "propertyName": "dealstage",
                    "propertyValue": "closedwon",
                }
                for n in range(3)
            ]
        ).encode()

    first, second = intake.post("hubspot", events(0)), intake.post("hubspot", events(1))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["accepted"] == 3
    assert [item["receipt"] for item in first.json()["items"]] == [item["receipt"] for item in second.json()["items"]]
    assert intake.rows("select distinct workflow from cases") == [("deal_to_client",)]
    assert intake.count("cases") == 3
    problem(intake.post("hubspot", b'{"eventId":1}'), 400, "body.not_an_array")
    problem(intake.post("hubspot", b'[{"eventId":1}, 2]'), 400, "body.not_an_object")
    assert intake.count("cases") == 3


# -- batches


def batch(intake: Intake, body: bytes, kind: str = "application/json") -> httpx.Response:
    return intake.post("website", body, path="/batch", headers={"content-type": kind})


def test_a_batch_is_stored_item_by_item_with_the_bytes_of_each(intake: Intake) -> None:
    response = batch(intake, b'[ {"id": 1,  "email":"a@example.com"},\n{"id":2} ]')
    assert response.status_code == 202
    document = response.json()
    assert (document["accepted"], document["repeated"]) == (2, 0)
    assert [item["status"] for item in document["items"]] == [202, 202]
    stored = intake.rows("select id::text, key, body from deliveries order by key")
    assert [row[1:] for row in stored] == [("id:1", b'{"id": 1,  "email":"a@example.com"}'), ("id:2", b'{"id":2}')]
    assert [item["receipt"] for item in document["items"]] == [row[0] for row in stored]
    assert intake.count("cases") == 2


def test_a_batch_of_lines_sent_again_with_more_lines_adds_only_those(intake: Intake) -> None:
    lines = [json.dumps({"email": f"p{n}@example.com"}).encode() for n in range(5)]
    assert batch(intake, b"\n".join(lines[:3]), "application/x-ndjson").status_code == 202
    second = batch(intake, b"\n".join(lines), "application/x-ndjson")
    assert [item["status"] for item in second.json()["items"]] == [200, 200, 200, 202, 202]
    third = batch(intake, b"\r\n".join(lines) + b"\n\n", "application/x-ndjson")
    assert third.status_code == 200
    assert intake.count("cases") == 5


def test_the_same_item_twice_in_a_batch_is_one_case(intake: Intake) -> None:
    response = batch(intake, b'[{"email":"a"},{"email":"a"},{"id":3},{"id":3}]')
    assert [item["status"] for item in response.json()["items"]] == [202, 200, 202, 200]
    assert intake.count("cases") == 2


def test_of_a_batch_with_a_conflict_nothing_is_stored(intake: Intake) -> None:
    batch(intake, b'[{"id":1,"email":"a"}]')
    response = batch(intake, b'[{"id":1,"email":"b"},{"id":2},{"id":1,"email":"a"}]')
    document = problem(response, 409, "id.conflict")
    assert [item["status"] for item in document["items"]] == [409, 424, 200]  # type: ignore[attr-defined]
    assert intake.count() == 1


@pytest.mark.parametrize("body", [b'[{"id":1}, "two"]', b'[{"id":1}, {]'])
def test_of_a_batch_with_an_unreadable_item_nothing_is_stored(intake: Intake, body: bytes) -> None:
    assert batch(intake, body).status_code == 400
    assert intake.count() == 0


def test_an_empty_batch_is_fine(intake: Intake) -> None:
    assert batch(intake, b"[]").json() == {"status": "repeated", "accepted": 0, "repeated": 0, "items": []}


def test_a_large_batch_is_quick_and_the_same_batch_at_once_is_stored_once(intake: Intake) -> None:
    body = json.dumps([{"id": n, "email": f"p{n}@example.com"} for n in range(3000)]).encode()
    backwards = json.dumps([{"id": n, "email": f"p{n}@example.com"} for n in reversed(range(3000))]).encode()
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda each: batch(intake, each), [body, backwards, body, backwards]))
    assert {response.status_code for response in responses} <= {200, 202}
    assert sum(response.json()["accepted"] for response in responses) == 3000
    assert intake.count("cases") == 3000


def test_too_many_items_or_one_too_large_are_refused(intake: Intake) -> None:
    problem(batch(intake, b"{}\n" * 10_001, "application/x-ndjson"), 413, "items.too_many")
    change(intake, "website", max_bytes=20)
    problem(batch(intake, b'[{"id":1},{"id":2,"message":"too long"}]'), 413, "item.too_large")
    assert intake.count() == 0


# -- receipts


def test_a_sender_can_ask_what_became_of_its_delivery(intake: Intake) -> None:
    receipt = intake.post("website", LEAD, message_id="m").json()["receipt"]
    found = intake.ask(receipt, "website")
    assert found.status_code == 200
    document = found.json()
    assert (document["state"], document["stage"], document["outcome"], document["reasons"]) == (
        "pending",
        "capture",
        None,
        [],
    )
    with authored(intake.engine, actor="user:anna") as connection:
        connection.execute(
            text("update cases set state = 'quarantined', reasons = cast(:reasons as jsonb)"),
            {
                "reasons": json.dumps(
                    [{"code": "phone.invalid", "field": "phone", "message": "+49 30 secret is no phone"}]
                )
            },
        )
    document = intake.ask(receipt, "website").json()
    assert document["state"] == "quarantined"
    assert document["reasons"] == [{"code": "phone.invalid", "field": "phone"}]
    assert "secret" not in json.dumps(document)
    assert "ada@example.com" not in json.dumps(document)


def test_only_the_sender_is_told(intake: Intake) -> None:
    receipt = intake.post("website", LEAD, message_id="m").json()["receipt"]
    problem(intake.ask(receipt, "website", headers={}), 401, "signature.missing")
    problem(intake.ask(receipt, "partner"), 401, "signature.missing")
    other = intake.post("website", b'{"email":"b"}', message_id="n").json()["receipt"]
    url = f"{intake.url}/receipts/{other}"
    headers = intake.headers("website", other.encode(), url, message_id="a", method="GET")
    problem(intake.ask(receipt, "website", headers=headers), 401, "signature.wrong")
    assert intake.refusals("website", "receipt.signature.wrong") == 1


# -- the watchers


def test_watchers_are_told_once_for_many_deliveries(intake: Intake) -> None:
    dsn = intake.dsn[0]
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("listen waybill_cases")
        batch(intake, json.dumps([{"id": n} for n in range(50)]).encode())
        heard = [note.payload for note in listener.notifies(timeout=1)]
    assert heard == ["lead_to_client"]


# -- the database away


def quickly_503(intake: Intake) -> None:
    began = time.monotonic()
    response = intake.post("website", LEAD, message_id="m")
    problem(response, 503, "database.away")
    assert int(response.headers["retry-after"]) > 0
    assert time.monotonic() - began < 4


def test_while_the_database_is_away_nothing_is_acknowledged_and_afterwards_it_works_again(intake: Intake) -> None:
    good, intake.dsn[0] = intake.dsn[0], "postgresql://nobody@127.0.0.1:1/none"
    quickly_503(intake)
    problem(batch(intake, b'[{"id":1}]'), 503, "database.away")
    problem(httpx.get(f"{intake.url}/health", trust_env=False), 503, "database.away")
    problem(httpx.get(f"{intake.url}/receipts/{uuid4()}", trust_env=False), 503, "database.away")
    intake.dsn[0] = good
    assert intake.post("website", LEAD, message_id="m").status_code == 202
    assert httpx.get(f"{intake.url}/health", trust_env=False).json()["status"] == "ok"


def test_a_database_that_accepts_but_never_answers_is_away_too(intake: Intake) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        intake.dsn[0] = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none"
        quickly_503(intake)


def test_a_locked_table_is_answered_in_time_and_the_delivery_is_taken_later(intake: Intake) -> None:
    assert intake.post("website", LEAD, message_id="before").status_code == 202
    with intake.engine.begin() as connection:
        connection.execute(text("lock table deliveries in access exclusive mode"))
        quickly_503(intake)
    assert intake.post("website", LEAD, message_id="m").status_code in (200, 202)
    assert intake.count("cases") == 2


def test_a_connection_that_was_cut_is_opened_again_without_the_sender_noticing(intake: Intake) -> None:
    for turn in range(3):
        assert intake.post("website", LEAD, message_id=f"m{turn}").status_code == 202
        with intake.engine.connect() as connection:
            connection.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'waybill-intake'"
                    " and datname = current_database()"
                )
            )
    assert intake.count("cases") == 3


def test_nothing_that_was_acknowledged_is_missing_however_many_send(intake: Intake) -> None:
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda n: intake.post("website", LEAD, message_id=f"m{n}"), range(200)))
    assert {response.status_code for response in responses} == {202}
    assert intake.rows("select received, in_progress, difference from balance") == [(200, 200, 0)]
